import ArgumentParser
import Bytes
import Engine
import Repository

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show collections, backup points, and what went wrong last.",
        discussion: """
            Reads only, needs neither a mount nor the database. The exit status is 1 if something \
            is damaged, if the newest backup of a collection failed, or if one was due a minute ago \
            and wasn't taken; with --max-age also if a collection's newest backup is older than that, \
            or if there is none.

            --json prints one object: source, location, database, source_error, leftovers (SQL that \
            removes what earlier versions wrote into the database), mounts, damage, collections. A collection has name, tables, database (true if it is a whole one), \
            incremental, bytes, newest, running, last_success, last_success_age (seconds), last_failure, failing, schedule (next_full, \
            next_incremental, overdue_since, …), last_error, last_incomplete, damage, points; an \
            operation (running, last_…) id, statement, state, started, ended, error, incomplete, \
            left_out; a point name, kind, parent, cut, tables, incomplete, rows, inserted, updated, \
            deleted, bytes, uid, not_backed_up (reasons by path), verified (time, level, damage). Times are ISO 8601 in UTC. Keys without a value are left out.

            --sql prints SQL for DuckDB that reads the repository's row files and gives a point's             tables as they were, without ydbfs: the newest whole backup of each table, and the             changes recorded since. It is refused where files of dropped points that it would need             are gone; ydbfs export needs none of them.
              duckdb -c "$(ydbfs status shop.db --sql shop/latest --table orders)"
            """)

    @Argument(
        help: ArgumentHelp(
            "A SQLite database, a dump of YDB, copies of databases, a repository, or a mount point.",
            valueName: "SOURCE"
        ))
    var source: String

    @Argument(help: ArgumentHelp("Only this collection.", valueName: "COLLECTION"))
    var collection: String?

    @Option(
        help: ArgumentHelp(
            "Where the backups are (default: SOURCE.backups).", valueName: "LOCATION"))
    var repository: String?

    @Option(
        help: ArgumentHelp(
            "End with 1 if a collection's newest backup is older: 26h.", valueName: "PERIOD"))
    var maxAge: String?

    @Flag(help: "For programs.")
    var json = false

    @OptionGroup var options: ShownOptions

    @Option(
        help: ArgumentHelp(
            "Print the DuckDB query that merges the tables of a point.",
            valueName: "COLLECTION/POINT"))
    var sql: String?

    @Option(
        help: ArgumentHelp(
            "With --sql: this table alone, without a semicolon at the end.", valueName: "T"))
    var table: String?

    func validate() throws {
        if sql != nil, json || collection != nil {
            throw ValidationError("--sql takes no other collection and no --json")
        }
        if sql == nil, table != nil { throw ValidationError("--table goes with --sql") }
    }

    private func maximumAge() throws -> Period? {
        guard let maxAge else { return nil }
        guard let period = Period(maxAge), period.seconds > 0 else {
            throw ValidationError("--max-age \(maxAge): expected a period such as 26h or 7d")
        }
        return period
    }

    func run() throws {
        let maxAge = try maximumAge()
        let argument = try SourceArgument.given(source, repository: repository)
        try argument.importPoints()
        if let sql { return try printQuery(of: sql, argument) }
        let report = try StatusReport(argument, only: collection)
        if json {
            try Output.json(report.withPoints(last: options.last), isPretty: true)
        } else {
            Output.print(
                report.text(maxAge: maxAge, last: options.last, shown: options.shown))
        }
        if report.isDamaged || !report.troubles(maxAge: maxAge).isEmpty {
            throw ExitCode(ExitStatus.failure)
        }
    }

    private func printQuery(of target: String, _ argument: SourceArgument) throws {
        let repository = try Repository.open(argument.location)
        let (state, point) = try PointArgument(target, in: repository).find(in: repository)
        let query = MergeQuery(repository, state, point)
        if let table {
            guard let record = state.table(path: table, at: point.sequence) else {
                throw point.missing(table)
            }
            return Output.data(try query.text(of: record))
        }
        for record in state.tables(at: point.sequence) {
            Output.print("-- \(oneLine(record.path)): \(record.rows) rows")
            Output.data(try query.text(of: record) + ";\n")
        }
    }
}
