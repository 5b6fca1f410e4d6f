import Bytes

/// Consecutive changes of one batch of a source, in key order.
struct ChangeRows: Sendable {
    let batch: RowBatch
    /// For each row of the batch whether it exists now.
    let present: [Bool]
    let keys: KeyList
    var rows: Range<Int>
}

/// Changed keys as a source tells them, checked for order and handed out by ranges of keys.
struct ChangeStream {
    private let cursor: any ChangeCursor
    private let schema: TableSchema
    private let table: String
    private var current: ChangeRows?
    private var isDone = false
    private static let batchRows = 2048
    private static let batchBytes = 1 << 20

    init(_ cursor: any ChangeCursor, schema: TableSchema, table: String) {
        self.cursor = cursor
        self.schema = schema
        self.table = table
    }

    /// True if there is a change left with a key before `bound` (nil: any key).
    mutating func hasKey(before bound: [UInt8]?) throws -> Bool {
        try refill()
        guard let current, !current.rows.isEmpty else { return false }
        return bound.map { current.keys.compare(current.rows.lowerBound, $0) < 0 } ?? true
    }

    /// The next changes with keys before `bound`, at least one and at most about `maxRows` rows and
    /// `maxBytes` bytes; none if there are none.
    mutating func next(before bound: [UInt8]?, maxRows: Int, maxBytes: Int) throws -> [ChangeRows] {
        var result: [ChangeRows] = []
        var rows = 0
        var bytes = 0
        while rows < maxRows, bytes < maxBytes, try hasKey(before: bound) {
            var part = current!
            let first = part.rows.lowerBound
            let end = bound.map { part.keys.lowerBound($0, from: first) } ?? part.rows.upperBound
            part.rows = first..<min(end, first + maxRows - rows)
            result.append(part)
            rows += part.rows.count
            bytes += part.batch.byteCount * part.rows.count / part.batch.count
            current!.rows = part.rows.upperBound..<current!.rows.upperBound
        }
        return result
    }

    private mutating func refill() throws {
        if isDone || current.map({ !$0.rows.isEmpty }) ?? false { return }
        // What was handed out isn't kept while more is read: both may be large.
        let last = current.map { $0.keys[$0.keys.count - 1] }
        current = nil
        let batch = RowBatch(schema)
        var present: [Bool] = []
        present.reserveCapacity(Self.batchRows)
        while batch.count == 0, !isDone {
            isDone = try !cursor.next(
                into: batch, present: &present, maxRows: Self.batchRows, maxBytes: Self.batchBytes)
        }
        guard present.count == batch.count else {
            preconditionFailure("a source's change cursor forgot to say what is present")
        }
        let keys = KeyList(batch, schema: schema)
        guard keys.isIncreasing(after: last) else {
            throw Failure(.corrupt, "\(table): the source gave changes out of key order")
        }
        if batch.count > 0 {
            current = ChangeRows(batch: batch, present: present, keys: keys, rows: 0..<batch.count)
        }
    }
}
