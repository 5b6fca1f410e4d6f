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
    var source: DashedWord

    @Argument(help: ArgumentHelp(valueName: "COLLECTION"))
    var collection: DashedWord

    @Argument(help: ArgumentHelp(valueName: "TABLE"))
    var table: DashedWord

    @Option(
        help: ArgumentHelp(
            "Where the backups are (default: SOURCE.backups).", valueName: "LOCATION"))
    var repository: String?

    // It may begin with a dash.
    @Argument(parsing: .allUnrecognized, help: ArgumentHelp(valueName: "KEY"))
    var key: [DashedWord]

    func run() throws {
        let table = table.text
        let stored = try StoredTables(
            SourceArgument.given(source.text, repository: repository), operation: "history \(table)"
        )
        let state = try stored.collection(collection.text)
        let past = try stored.past(table, of: state)
        let key = try TableKey(words: key.map(\.text), of: past.newest.schema)
        let history = try past.history(
            of: key, stored.engine, checkpoint: stored.operation.checkpoint)
        guard !history.changes.isEmpty else {
            throw Failure(
                .notFound,
                "\(table) has no row \(key.fields.joined(separator: ",")) at any of "
                    + "\(state.points.count) points")
        }
        try OutputSink().append(history.csv(points: state.points.map(\.name)))
    }
}
