import ArgumentParser
import Bytes
import Engine
import Repository
import SQLiteSource
import Tables

struct DiffCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Show what changed between two backup points.",
        discussion: """
            A and B are points as status shows them, latest, latest-full, previous, oldest, or \
            times; B may leave out the collection. Needs neither a mount nor the database.

            summary (the default) has a line for each table that differs: rows inserted, updated \
            and deleted. csv has every changed row of one table: _change_type (insert, delete, \
            update_preimage, update_postimage), then the columns; rows of one key are an update. \
            sql has the statements that turn what A has into what B has, in one transaction: apply \
            them to a database that A was restored into.

              ydbfs diff shop.db shop/yesterday latest
              ydbfs diff shop.db shop/previous -2h
              ydbfs diff shop.db shop/20261120000000Z_full latest --table orders --format csv
              ydbfs diff shop.db shop/latest yesterday --format sql | sqlite3 restored.db

            Exit status: 0 done, whether or not something differs, 1 failed, 2 wrong usage, 3 sql \
            doesn't do everything (a line each on standard error).
            """)

    enum Format: String, ExpressibleByArgument, CaseIterable {
        case summary, csv, sql
    }

    @Argument(
        help: ArgumentHelp(
            "A SQLite database, a repository, or the mount point of one.", valueName: "SOURCE"))
    var source: DashedWord

    @Argument(help: ArgumentHelp("The older point.", valueName: "COLLECTION/POINT"))
    var from: DashedWord

    @Argument(help: ArgumentHelp("The newer point.", valueName: "[COLLECTION/]POINT"))
    var to: DashedWord

    @Option(help: ArgumentHelp("Only this table.", valueName: "T"))
    var table: DashedWord?

    @Option(help: "summary, csv or sql.")
    var format = Format.summary

    @Option(
        help: ArgumentHelp(
            "Where the backups are (default: SOURCE.backups).", valueName: "LOCATION"))
    var repository: String?

    func run() throws {
        let stored = try StoredTables(
            SourceArgument.given(source.text, repository: repository),
            operation: "diff \(from.text) \(to.text)")
        let diff = try PointDiff(stored, from: from.text, to: to.text, table: table?.text)
        switch format {
        case .summary: try diff.printSummary()
        case .csv: try diff.printCSV()
        case .sql:
            let omissions = try diff.printSQL()
            for line in omissions { Output.error("not done: \(line)") }
            if !omissions.isEmpty { throw ExitCode(ExitStatus.incomplete) }
        }
    }
}

/// Two points, and the tables of them that are to be compared.
private struct PointDiff {
    private typealias Side = (state: CollectionState, point: BackupPoint)

    private let stored: StoredTables
    private let old: Side
    private let new: Side
    private let pairs: [TablePair]
    private let isSome: Bool

    init(_ stored: StoredTables, from: String, to: String, table: String?) throws {
        self.stored = stored
        let first = try PointArgument(from, in: stored.repository)
        old = try first.find(in: stored.repository)
        // No name of a point and no time holds a slash.
        if to.contains("/") || stored.repository.collection(to) != nil {
            new = try PointArgument(to, in: stored.repository).find(in: stored.repository)
        } else {
            let moment = try Moment(to, of: old.state.name, in: stored.repository)
            new = (old.state, try moment.point(in: old.state))
        }
        isSome = table != nil
        var pairs = TablePair.all(
            old.state.tables(at: old.point.sequence), new.state.tables(at: new.point.sequence),
            areOneCollection: old.state.id == new.state.id)
        if let table {
            let names = pairs.map(\.path)
            pairs = pairs.filter { $0.path.hasSameBytes(as: table) }
            guard !pairs.isEmpty else {
                throw Failure(
                    .notFound,
                    "neither point has a table \(table)" + StoredTables.list(names))
            }
        }
        self.pairs = pairs
    }

    /// - Parameter isNew: whether all of its rows are to be insertions.
    private func diff(_ pair: TablePair, isNew: Bool = false) throws -> SnapshotDiff {
        try SnapshotDiff(
            old: (isNew ? nil : pair.old).map { stored.snapshot($0, of: old.state) },
            new: pair.new.map { stored.snapshot($0, of: new.state) },
            areOneTable: pair.isOneTable, checkpoint: stored.operation.checkpoint)
    }

    // MARK: Formats

    func printSummary() throws {
        var rows = [["TABLE", "INSERTED", "UPDATED", "DELETED", ""]]
        var same = 0
        for pair in pairs {
            let words = pair.notes
            var counts = ChangeCounts()
            if !pair.isStoredOnce {
                let diff = try diff(pair)
                while let changed = try diff.next() { counts.add(changed.types) }
            }
            if counts.isEmpty && words.isEmpty {
                same += 1
                continue
            }
            let numbers = [counts.inserted, counts.updated, counts.deleted].map { "\($0)" }
            rows.append([pair.path] + numbers + [words.joined(separator: ", ")])
        }
        Output.print(
            "\(old.state.name)/\(old.point.name) → \(new.state.name)/\(new.point.name)")
        if rows.count > 1 {
            for line in Output.aligned(rows, leftColumns: [0, 4]) { Output.print(line) }
        }
        if same > 0 || rows.count == 1 {
            Output.print("\(same) \(same == 1 ? "table is" : "tables are") the same")
        }
    }

    func printCSV() throws {
        let differing = pairs.filter { !$0.isStoredOnce }
        let candidates = isSome ? pairs : differing.isEmpty ? Array(pairs.prefix(1)) : differing
        guard candidates.count == 1, let pair = candidates.first else {
            throw Failure(
                .invalid,
                "CSV holds one table: say --table" + StoredTables.list(candidates.map(\.path)))
        }
        let rows = try ChangesCursor(diff(pair))
        try ChangeFiles.writeCSV(rows, schema: rows.schema, to: OutputSink())
    }

    /// Answers what the statements don't do.
    func printSQL() throws -> [String] {
        let (olds, news) = (pairs.compactMap(\.old), pairs.compactMap(\.new))
        let sink = OutputSink()
        let script = ChangeScript(
            ChangeScript.Rows(
                areSame: { pair(of: $1).isStoredOnce },
                changes: { try diff(pair(of: $1), isNew: $0 == nil) })
        ) { try sink.append($0) }
        try script.run(from: scriptPoint(old, olds), to: scriptPoint(new, news))
        return script.omissions
    }

    private func pair(of table: ScriptTable) -> TablePair {
        pairs.first { $0.path.hasSameBytes(as: table.path) }!
    }

    private func scriptPoint(_ side: Side, _ records: [TableRecord]) -> ScriptPoint {
        ScriptPoint(
            name: "\(side.state.name)/\(side.point.name)",
            tables: records.map {
                ScriptTable(
                    path: $0.path, schema: $0.schema, sql: $0.sql, sequence: $0.sequence,
                    shadowOf: $0.shadowOf)
            }, views: isSome ? "" : side.point.views, facts: isSome ? nil : side.point.facts)
    }
}

extension TablePair {
    /// What is different of the table but its rows.
    fileprivate var notes: [String] {
        guard let old else { return ["new table"] }
        guard let new else { return ["table is gone"] }
        let (olds, news) = (old.schema.visibleColumns, new.schema.visibleColumns)
        // Where ids tell nothing a column is known by its name.
        func isSame(_ a: Column, _ b: Column) -> Bool {
            isOneTable
                ? a.id == b.id : a.name == b.name && a.type == b.type && a.isLiteral == b.isLiteral
        }
        var words: [String] = []
        var places: [Int] = []
        for column in news {
            if let place = olds.firstIndex(where: { isSame($0, column) }) {
                places.append(place)
                if olds[place].name != column.name {
                    words.append("column \(olds[place].name) is now \(column.name)")
                }
            } else if olds.contains(where: { $0.name == column.name }) {
                words.append("column \(column.name) is another one")
            } else {
                words.append("column \(column.name) is new")
            }
        }
        for column in olds
        where !news.contains(where: { isSame(column, $0) || $0.name == column.name }) {
            words.append("column \(column.name) is gone")
        }
        if places != places.sorted() { words.append("its columns are in another order") }
        if words.isEmpty, !hasSameText { words.append("its definition changed") }
        return words
    }
}
