import ArgumentParser
import Bytes
import FoundationEssentials

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show collections, backup points, and what went wrong last.",
        discussion: """
            Reads only, needs neither a mount nor the database. The exit status is 1 if something \
            is damaged.

            --json prints one object: source, location, database, source_error, mounts, damage, \
            collections. A collection has name, tables, database (true if it is a whole one), \
            incremental, bytes, newest, running, last_error, damage, points; an operation (running, \
            last_error) id, statement, state, started, ended, error; a point name, kind, parent, \
            cut, tables, rows, inserted, updated, deleted, bytes, uid, not_backed_up, verified (time, \
            level, damage). Times are ISO 8601 in UTC. Keys without a value are left out.
            """)

    @Argument(
        help: ArgumentHelp(
            "A SQLite database, a repository, or the mount point of one.", valueName: "SOURCE"))
    var source: String

    @Argument(help: ArgumentHelp("Only this collection.", valueName: "COLLECTION"))
    var collection: String?

    @Option(
        help: ArgumentHelp(
            "Where the backups are (default: SOURCE.backups).", valueName: "LOCATION"))
    var repository: String?

    @Flag(help: "For programs.")
    var json = false

    func run() throws {
        let argument = try SourceArgument(source, repository: repository)
        let report = try StatusReport(argument, only: collection)
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            Output.print(String(decoding: try encoder.encode(report), as: UTF8.self))
        } else {
            Output.print(report.text)
        }
        if report.isDamaged { throw ExitCode(ExitStatus.failure) }
    }
}
