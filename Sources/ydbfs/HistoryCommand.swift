import ArgumentParser
import Bytes
import Engine
import Repository
import Tables

struct HistoryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history",
        abstract: "Show a row through all backup points: when it appeared, changed, vanished.",
        discussion: """
            KEY is the row's key, a word for each of its columns, as in CSV: text as it is, NULL as \
            nothing (''), the empty string as '""'. A table without a key goes by its rowid. Prints \
            CSV: _point, _change_type (insert, update_postimage, delete), and the row; a deleted one \
            as it was.

              ydbfs history shop.db shop orders 42
              ydbfs history shop.db shop order_lines 42 7
            """)

    @Argument(
        help: ArgumentHelp(
            "A SQLite database, a repository, or the mount point of one.", valueName: "SOURCE"))
    var source: String

    @Argument(help: ArgumentHelp(valueName: "COLLECTION"))
    var collection: String

    @Argument(help: ArgumentHelp(valueName: "TABLE"))
    var table: String

    @Option(
        help: ArgumentHelp(
            "Where the backups are (default: SOURCE.backups).", valueName: "LOCATION"))
    var repository: String?

    // Numbers may be negative.
    @Argument(parsing: .allUnrecognized, help: ArgumentHelp(valueName: "KEY"))
    var key: [String]

    func run() throws {
        let stored = try StoredTables(
            SourceArgument(source, repository: repository), operation: "history \(table)")
        let state = try stored.collection(collection)
        let records = state.points.map { state.table(path: table, at: $0.sequence) }
        guard let newest = records.last(where: { $0 != nil }) ?? nil else {
            let names = Set(state.points.flatMap { state.paths(at: $0.sequence).map(\.path) })
            throw Failure(
                .notFound,
                "no point of \(state.name) has a table \(table)" + StoredTables.list(names.sorted())
            )
        }
        let key = try TableKey(words: key, of: newest.schema)
        let history = try RowHistory(
            of: key, through: records.map { $0.map { stored.snapshot($0, of: state) } },
            areOneTable: Set(records.compactMap { $0?.id }).count == 1,
            checkpoint: stored.operation.checkpoint)
        guard !history.changes.isEmpty else {
            throw Failure(
                .notFound,
                "\(table) has no row \(key.fields.joined(separator: ",")) at any of "
                    + "\(state.points.count) points")
        }
        try OutputSink().append(history.csv(points: state.points.map(\.name)))
    }
}
