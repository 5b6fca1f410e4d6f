import ArgumentParser
import Bytes
import Engine
import Repository
import Tables

struct FindCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "find",
        abstract: "Find rows by a value, at all backup points.",
        discussion: """
            CONDITION is TABLE.COLUMN = VALUE, where VALUE is text in single quotes, a number or \
            x'00ff', or TABLE.COLUMN IS NULL. Text also finds what looks so as CSV, such as numbers and \
            times. Prints CSV: _points, the first and the last point that show the row, then the \
            row. What points have in common is read once.

              ydbfs find shop.db "orders.email = 'anna@example.org'"
              ydbfs find shop.db shop "orders.total = 42"
            """)

    @Argument(
        help: ArgumentHelp(
            "A SQLite database, a repository, or the mount point of one.", valueName: "SOURCE"))
    var source: String

    @Argument(
        help: ArgumentHelp(
            "The collection may be left out if there is only one.",
            valueName: "[COLLECTION] CONDITION"))
    var words: [String]

    @Option(
        help: ArgumentHelp(
            "Where the backups are (default: SOURCE.backups).", valueName: "LOCATION"))
    var repository: String?

    func validate() throws {
        if words.isEmpty || words.count > 2 {
            throw ValidationError("expected [COLLECTION] \"TABLE.COLUMN = VALUE\"")
        }
    }

    func run() throws {
        let condition = try SearchCondition(words.last!)
        let stored = try StoredTables(
            SourceArgument.given(source, repository: repository), operation: "find \(words.last!)")
        let state = try collection(stored)
        let past = try stored.past(condition.table, of: state)
        let search = RowSearch(
            column: condition.column, value: condition.value,
            checkpoint: stored.operation.checkpoint)
        for (index, snapshot) in past.snapshots(stored.engine).enumerated() {
            if let snapshot { try search.search(snapshot, point: index) }
        }
        guard search.hasColumn else {
            throw Failure(
                .notFound,
                "\(condition.table) has no column \(condition.column)"
                    + StoredTables.list(past.newest.schema.visibleColumns.map(\.name)))
        }
        try print(
            search.hits, points: state.points.map(\.name),
            areOneTable: past.areOneTable)
    }

    private func collection(_ stored: StoredTables) throws -> CollectionState {
        if words.count == 2 { return try stored.collection(words[0]) }
        let names = stored.repository.collections.map(\.name)
        guard names.count == 1 else {
            throw Failure(.invalid, "name a collection" + StoredTables.list(names))
        }
        return try stored.collection(names[0])
    }

    private func print(
        _ hits: [RowSearch.Hit], points: [String], areOneTable: Bool
    ) throws {
        if hits.isEmpty { return Output.remark("no row at any of \(points.count) points") }
        var schemas: [TableSchema] = []
        for hit in hits.reversed() where !schemas.contains(hit.schema) {
            schemas.append(hit.schema)
        }
        let joined = JoinedColumns(schemas, byName: !areOneTable)
        let shown = joined.columns.prefix { !$0.isHidden }
        let id = shown.map(\.id).max()! + 1
        let schema = try TableSchema(
            columns: [Column(id: id, name: "_points", type: .utf8)] + shown, key: [0])
        let batch = RowBatch(schema)
        for hit in hits {
            let ranges = hit.points.map { range in
                range.count == 1
                    ? points[range.lowerBound]
                    : "\(points[range.lowerBound])..\(points[range.upperBound])"
            }
            batch.columns[0].append(text: ranges.joined(separator: " "))
            let places = joined.places[schemas.firstIndex(of: hit.schema)!]
            for (column, place) in zip(batch.columns.dropFirst(), places) {
                if let place {
                    column.append(hit.row.columns[place], row: 0)
                } else {
                    column.appendNull()
                }
            }
        }
        let renderer = CSVRenderer(schema)
        let output = ByteBuffer(capacity: 1 << 16)
        output.append(renderer.header)
        renderer.render(batch, 0..<batch.count, into: output)
        try OutputSink().append(output)
    }
}

/// `TABLE.COLUMN = VALUE` or `TABLE.COLUMN IS NULL`. Names may stand in double quotes or back-quotes.
package struct SearchCondition: Sendable, Equatable {
    package let table: String
    package let column: String
    package let value: SearchedValue

    package init(_ text: String) throws(Failure) {
        var rest = Array(text.utf8)[...]
        var names: [(text: [UInt8], isQuoted: Bool)] = [([], false)]
        let marks = [UInt8]("=\"`. ".utf8)
        while let byte = rest.first, byte != marks[0], !Self.beginsWithIs(rest) {
            rest = rest.dropFirst()
            if byte == marks[1] || byte == marks[2] {
                while let next = rest.popFirst() {
                    if next == byte {
                        if rest.first != byte { break }
                        rest = rest.dropFirst()
                    }
                    names[names.count - 1].text.append(next)
                }
                names[names.count - 1].isQuoted = true
            } else if Self.otherOperators.contains(byte) {
                throw Failure(
                    .invalid, "\(text): find looks for equal values only: TABLE.COLUMN = VALUE")
            } else if byte == marks[3] {
                names.append(([], false))
            } else if byte != marks[4] {
                names[names.count - 1].text.append(byte)
            }
        }
        // A bare table's name may hold points itself.
        let parts = names.map { String(decoding: $0.text, as: UTF8.self) }
        guard parts.count > 1, !rest.isEmpty, parts.allSatisfy({ !$0.isEmpty }) else {
            throw Self.refusal(text)
        }
        table = parts.dropLast().joined(separator: ".")
        column = parts[parts.count - 1]
        let isNull = rest.first != marks[0]
        let words = String(decoding: rest.dropFirst(isNull ? 0 : 1), as: UTF8.self)
        guard let value = isNull ? Self.null(words) : Self.value(words) else {
            throw Self.refusal(text)
        }
        self.value = value
    }

    /// Of comparisons that others know.
    private static let otherOperators = [UInt8]("!<>~".utf8)

    private static func refusal(_ text: String) -> Failure {
        Failure(
            .invalid,
            "\(text): expected TABLE.COLUMN = VALUE, VALUE being 'text', a number or x'00ff', or "
                + "TABLE.COLUMN IS NULL")
    }

    private static func beginsWithIs(_ bytes: ArraySlice<UInt8>) -> Bool {
        String(decoding: bytes.prefix(4), as: UTF8.self).lowercased() == " is "
    }

    private static func null(_ words: String) -> SearchedValue? {
        words.split(separator: " ").map { $0.lowercased() } == ["is", "null"] ? .null : nil
    }

    private static func value(_ words: String) -> SearchedValue? {
        var text = Substring(words)
        while text.hasPrefix(" ") { text = text.dropFirst() }
        while text.hasSuffix(" ") { text = text.dropLast() }
        if let inner = String(text).unwrapped(from: "'") { return .text(inner) }
        if text.utf8.first == UInt8(ascii: "x") || text.utf8.first == UInt8(ascii: "X"),
            let digits = String(Substring(text.utf8.dropFirst())).unwrapped(from: "'")
        {
            return [UInt8](hex: digits.utf8).map { .bytes($0) }
        }
        return Double(text) != nil ? .number(String(text)) : nil
    }
}
