import Bytes
import Tables

/// A table of the source that can't be read, for a reason that lies in the table: the others can.
struct UnreadableTable: Error {
    var path: String
    var reason: String

    init(path: String, reason: String) {
        self.path = path
        self.reason = reason
    }

    /// Nil if the failure has nothing to do with the table: whoever goes on meets it again.
    init?(_ path: String, _ failure: Failure) {
        switch failure.code {
        case .corrupt, .unsupported, .notFound, .invalid, .system: break
        case .exists, .busy, .denied, .noData, .queueFull, .unreachable, .timedOut, .noSpace,
            .readOnly, .tooLong, .stale, .cancelled:
            return nil
        }
        self.init(path: path, reason: failure.message)
    }
}

/// A cut that tells failures which lie in one table of the source from all others, by throwing them as
/// `UnreadableTable`: then a damaged page of the database isn't taken for one of the repository.
final class AttributedCut: SourceCut {
    private let cut: any SourceCut

    init(_ cut: any SourceCut) { self.cut = cut }

    var instant: Int64 { cut.instant }
    var views: String { cut.views }
    var notes: [String] { cut.notes }
    var roomCheck: (@Sendable () throws -> Void)? { cut.roomCheck }
    var facts: DatabaseFacts? { get throws { try cut.facts } }

    func listTables() throws -> [SourceTable] { try cut.listTables() }

    func describe(
        _ path: String, parent: TableSchema?, nextColumnID: UInt32, exactly: Bool
    ) throws -> TableDescription {
        try attributed(path) {
            try cut.describe(path, parent: parent, nextColumnID: nextColumnID, exactly: exactly)
        }
    }

    func countRows(_ path: String) throws -> UInt64 {
        try attributed(path) { try cut.countRows(path) }
    }

    func scan(
        _ path: String, schema: TableSchema, checkpoint: @escaping () throws -> Void
    ) throws -> any RowCursor {
        try attributed(path) {
            AttributedRows(
                path, try cut.scan(path, schema: schema, checkpoint: checkpoint))
        }
    }

    func rows(
        _ path: String, schema: TableSchema
    ) throws -> (rows: any RowCursor, inKeyOrder: Bool) {
        try attributed(path) {
            let (rows, inKeyOrder) = try cut.rows(path, schema: schema)
            return (AttributedRows(path, rows), inKeyOrder)
        }
    }

    func changes(_ path: String, schema: TableSchema, parentRows: UInt64) throws -> Changes {
        let changes = try attributed(path) {
            try cut.changes(path, schema: schema, parentRows: parentRows)
        }
        guard case .ranges(let ranges, let rows, let unchanged) = changes else { return changes }
        return .ranges(ranges, rows: AttributedRows(path, rows), unchangedRows: unchanged)
    }

    func delta(
        _ path: String, schema: TableSchema, checkpoint: @escaping () throws -> Void
    ) throws -> (any RowCursor)? {
        try attributed(path) {
            try cut.delta(path, schema: schema, checkpoint: checkpoint)
                .map { AttributedRows(path, $0) }
        }
    }

    func findings(_ path: String) -> [String] { cut.findings(path) }

    func checkIndexes(
        _ path: String, isCancelled: @escaping @Sendable () -> Bool
    ) throws -> [String] {
        try attributed(path) { try cut.checkIndexes(path, isCancelled: isCancelled) }
    }

    func confirm() throws { try cut.confirm() }

    func writeKnowledge(to sink: any ByteSink) throws { try cut.writeKnowledge(to: sink) }

    func close() { cut.close() }
}

private final class AttributedRows: RowCursor {
    private let path: String
    private let rows: any RowCursor

    init(_ path: String, _ rows: any RowCursor) {
        self.path = path
        self.rows = rows
    }

    func next(into batch: RowBatch, maxRows: Int, maxBytes: Int) throws -> Bool {
        try attributed(path) {
            try rows.next(into: batch, maxRows: maxRows, maxBytes: maxBytes)
        }
    }
}

private func attributed<R>(_ path: String, _ body: () throws -> R) throws -> R {
    do {
        return try body()
    } catch let failure as Failure {
        throw UnreadableTable(path, failure) ?? failure
    }
}
