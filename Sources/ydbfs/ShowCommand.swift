import ArgumentParser
import Bytes
import Engine
import Repository
import Tables

struct ShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show a collection's points, a point's tables, a table, or one row.",
        discussion: """
            A row is printed as JSON. KEY is its key, as the names of files in by-key have it: \
            values as in CSV, with commas in between; in them %, / and , are written %25, %2F and \
            %2C. If several rows have it (keys that hold NULL), all are printed.

              ydbfs show shop.db                     the collections
              ydbfs show shop.db shop
              ydbfs show shop.db shop/latest         or latest-full, previous, oldest, -2h
              ydbfs show shop.db shop/yesterday/orders
              ydbfs show shop.db shop/yesterday/orders/42
            """,
        aliases: ["list"])

    @Argument(
        help: ArgumentHelp(
            "A SQLite database, a repository, or the mount point of one.", valueName: "SOURCE"))
    var source: String

    @Argument(help: ArgumentHelp(valueName: "COLLECTION[/POINT[/TABLE[/KEY]]]"))
    var target: String?

    @Option(
        help: ArgumentHelp(
            "Where the backups are (default: SOURCE.backups).", valueName: "LOCATION"))
    var repository: String?

    @OptionGroup var options: ShownOptions

    func run() throws {
        let stored = try StoredTables(
            SourceArgument.given(source, repository: repository),
            operation: "show \(target ?? "collections")")
        guard let target else {
            return show(.collections(stored.repository.collections))
        }
        let (collection, rest) = try split(target, in: stored.repository)
        let state = try stored.collection(collection)
        guard let rest else {
            var answer = Answer.backups(of: state)
            if let last = options.last { answer.rows = answer.rows.suffix(last) }
            return show(answer)
        }
        let parts = rest.unicodeScalars.split(
            separator: "/", maxSplits: 1, omittingEmptySubsequences: false
        ).map { String(String.UnicodeScalarView($0)) }
        let point = try Moment(parts[0], of: state.name, in: stored.repository).point(
            in: state)
        guard parts.count > 1, !parts[1].isEmpty else { return show(point, of: state) }
        try show(parts[1], at: point, of: state, stored)
    }

    private func show(_ answer: Answer) {
        for line in options.shown.lines(answer) { Output.print(line) }
    }

    /// The collection, whose name may hold slashes, and what stands behind it.
    private func split(
        _ target: String, in repository: Repository
    ) throws -> (collection: String, rest: String?) {
        let names = repository.collections.map(\.name)
        let found = names.filter { "\(target)/".utf8.starts(with: "\($0)/".utf8) }.max {
            $0.utf8.count < $1.utf8.count
        }
        guard let found else { throw repository.missing(collection: target) }
        let rest = String(target.unicodeScalars.dropFirst(found.unicodeScalars.count + 1))
        return (found, rest.isEmpty ? nil : rest)
    }

    private func show(_ point: BackupPoint, of state: CollectionState) {
        var rows = [["TABLE", "ROWS", "COLUMNS", "CSV BYTES"]]
        for table in state.tables(at: point.sequence) {
            rows.append([
                table.path, "\(table.rows)", "\(table.schema.visibleColumns.count)",
                table.sizes["csv"].map { options.shown.size($0) } ?? "-",
            ])
        }
        for line in Output.aligned(rows, leftColumns: [0]) { Output.print(line) }
        for table in point.notBackedUp { Output.print("not backed up: \(table.line)") }
    }

    /// A table, or a row of one, whose name may hold slashes too.
    private func show(
        _ rest: String, at point: BackupPoint, of state: CollectionState, _ stored: StoredTables
    ) throws {
        if let table = state.table(path: rest, at: point.sequence) {
            for line in table.sql.split(separator: "\n") { Output.data(String(line)) }
            let key = table.schema.lookupKey.map { table.schema.columns[$0].name }
            return Output.print(
                "-- \(table.rows) rows at \(point.name), known by "
                    + key.map(oneLine).joined(separator: ", "))
        }
        guard let slash = rest.utf8.lastIndex(of: UInt8(ascii: "/")) else {
            _ = try StoredTables.table(rest, of: state, at: point)
            return
        }
        let record = try StoredTables.table(String(rest[..<slash]), of: state, at: point)
        let name = String(rest[slash...].unicodeScalars.dropFirst())
        guard let key = TableKey(pathName: name), key.values(in: record.schema) != nil else {
            let columns = record.schema.lookupKey.map { record.schema.columns[$0] }
            throw Failure(
                .invalid,
                "\(name) is no key of \(record.path): it has "
                    + columns.map { "\($0.name) (\($0.type.name))" }.joined(separator: ", "))
        }
        let rows = try RowFinder(key, checkpoint: stored.operation.checkpoint).rows(
            of: stored.snapshot(record, of: state))
        guard rows.count > 0 else {
            throw Failure(.notFound, "\(record.path) has no row \(name) at \(point.name)")
        }
        try OutputSink().append(RowJSON(record.schema).document(rows))
    }
}
