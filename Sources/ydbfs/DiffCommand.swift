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
            A and B are points as status shows them, latest, or times; B may leave out the \
            collection. Needs neither a mount nor the database.

            summary (the default) has a line for each table that differs: rows inserted, updated \
            and deleted. csv has every changed row of one table: _change_type (insert, delete, \
            update_preimage, update_postimage), then the columns; rows of one key are an update. \
            sql has the statements that turn what A has into what B has, in one transaction: apply \
            them to a database that A was restored into.

              ydbfs diff shop.db shop/yesterday latest
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
    var source: String

    @Argument(help: ArgumentHelp("The older point.", valueName: "COLLECTION/POINT"))
    var from: String

    @Argument(help: ArgumentHelp("The newer point.", valueName: "[COLLECTION/]POINT"))
    var to: String

    @Option(help: ArgumentHelp("Only this table.", valueName: "T"))
    var table: String?

    @Option(help: "summary, csv or sql.")
    var format = Format.summary

    @Option(
        help: ArgumentHelp(
            "Where the backups are (default: SOURCE.backups).", valueName: "LOCATION"))
    var repository: String?

    func run() throws {
        let stored = try StoredTables(
            SourceArgument(source, repository: repository), operation: "diff \(from) \(to)")
        let diff = try PointDiff(stored, from: from, to: to, table: table)
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
    private typealias Pair = (path: String, old: TableRecord?, new: TableRecord?)

    private let stored: StoredTables
    private let old: Side
    private let new: Side
    private let pairs: [Pair]
    private let isSome: Bool

    init(_ stored: StoredTables, from: String, to: String, table: String?) throws {
        self.stored = stored
        let first = try PointArgument(from, in: stored.repository)
        old = try first.find(in: stored.repository)
        // A point of the same collection, unless it is another one's.
        if let moment = try? Moment(to, of: old.state.name, in: stored.repository) {
            new = (old.state, try moment.point(in: old.state))
        } else {
            new = try PointArgument(to, in: stored.repository).find(in: stored.repository)
        }
        isSome = table != nil
        let (old, new) = (old, new)
        var paths = Set(new.state.tables(at: new.point.sequence).map(\.path))
        paths.formUnion(old.state.tables(at: old.point.sequence).map(\.path))
        var pairs: [Pair] = paths.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }.map {
            path in
            (
                path, old.state.table(path: path, at: old.point.sequence),
                new.state.table(path: path, at: new.point.sequence)
            )
        }
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

    private var areOneCollection: Bool { old.state.id == new.state.id }

    private func areSame(_ old: TableRecord, _ new: TableRecord) -> Bool {
        areOneCollection && old.snapshot == new.snapshot && old.schema == new.schema
    }

    private func diff(_ before: TableRecord?, _ after: TableRecord?) throws -> SnapshotDiff {
        try SnapshotDiff(
            old: before.map { stored.snapshot($0, of: old.state) },
            new: after.map { stored.snapshot($0, of: new.state) },
            areOneTable: areOneCollection && before?.id == after?.id,
            checkpoint: stored.operation.checkpoint)
    }

    // MARK: Formats

    func printSummary() throws {
        var rows = [["TABLE", "INSERTED", "UPDATED", "DELETED", ""]]
        var same = 0
        for pair in pairs {
            let words = changes(of: pair)
            var counts = ChangeCounts()
            if pair.old.map({ old in pair.new.map { areSame(old, $0) } ?? false }) != true {
                let diff = try diff(pair.old, pair.new)
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

    /// What is different of a table but its rows.
    private func changes(of pair: Pair) -> [String] {
        guard let before = pair.old else { return ["new table"] }
        guard let after = pair.new else { return ["table is gone"] }
        let (olds, news) = (before.schema.visibleColumns, after.schema.visibleColumns)
        var words: [String] = []
        for column in news {
            if let same = olds.first(where: { $0.id == column.id }) {
                if same.name != column.name {
                    words.append("column \(same.name) is now \(column.name)")
                }
            } else if olds.contains(where: { $0.name == column.name }) {
                words.append("column \(column.name) is another one")
            } else {
                words.append("column \(column.name) is new")
            }
        }
        for column in olds
        where !news.contains(where: { $0.id == column.id || $0.name == column.name }) {
            words.append("column \(column.name) is gone")
        }
        if words.isEmpty, !before.sql.hasSameBytes(as: after.sql) {
            words.append("its definition changed")
        }
        return words
    }

    func printCSV() throws {
        let differing = pairs.filter { pair in
            guard let old = pair.old, let new = pair.new else { return true }
            return !areSame(old, new)
        }
        let candidates = isSome ? pairs : differing.isEmpty ? Array(pairs.prefix(1)) : differing
        guard candidates.count == 1, let pair = candidates.first else {
            throw Failure(
                .invalid,
                "CSV holds one table: say --table" + StoredTables.list(candidates.map(\.path)))
        }
        let rows = try ChangesCursor(diff(pair.old, pair.new))
        try ChangeFiles.writeCSV(rows, schema: rows.schema, to: OutputSink())
    }

    /// Answers what the statements don't do.
    func printSQL() throws -> [String] {
        let (olds, news) = (pairs.compactMap(\.old), pairs.compactMap(\.new))
        let sink = OutputSink()
        let script = ChangeScript(
            ChangeScript.Rows(
                areSame: { before, after in
                    guard let old = olds.first(where: { $0.path.hasSameBytes(as: before.path) }),
                        let new = news.first(where: { $0.path.hasSameBytes(as: after.path) })
                    else { return false }
                    return areSame(old, new)
                },
                changes: { before, after in
                    try diff(
                        before.flatMap { before in
                            olds.first { $0.path.hasSameBytes(as: before.path) }
                        },
                        news.first { $0.path.hasSameBytes(as: after.path) })
                })
        ) { try sink.append($0) }
        try script.run(from: scriptPoint(old, olds), to: scriptPoint(new, news))
        return script.omissions
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
