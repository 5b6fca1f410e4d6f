import Bytes

/// What is different between a snapshot and the rows that are there now, found by comparing them.
///
/// Comparing all rows is always right, whatever happened in between; it costs reading both sides. With
/// ranges of keys only the rows inside of them are compared, on both sides: right if the others are
/// those of the snapshot, which is believed no further than counting them tells.
package final class Diff: ChangeCursor {
    /// Where rows may differ, and how many the snapshot has elsewhere.
    package struct Scope: Sendable {
        package let ranges: KeyRanges
        package let unchangedRows: UInt64

        package init(_ ranges: KeyRanges, unchangedRows: UInt64) {
            self.ranges = ranges
            self.unchangedRows = unchangedRows
        }
    }

    private let parent: MergedRows
    private let live: any RowCursor
    private let schema: TableSchema
    private var batch: RowBatch
    private var keys: KeyList
    private var index = 0
    /// A large row that was read with those before it.
    private var largeRow: RowBatch?
    private var isDone = false
    private let table: String
    private var lastKey: [UInt8]?
    private let scope: Scope?
    /// Rows that the snapshot must have in the ranges.
    private let expectedRows: UInt64
    private var places: RangeWalk?
    private let progress: (UInt64) throws -> Void

    /// - Parameters:
    ///   - live: the rows that are there now, those inside the ranges if there is a scope.
    ///   - scope: throws `DoubtfulChanges`, now or at a later row, where it can't be right.
    ///   - progress: is told of every batch of live rows.
    package init(
        parent: Snapshot, live: any RowCursor, table: String, scope: Scope? = nil,
        progress: @escaping (UInt64) throws -> Void
    ) throws {
        schema = parent.schema
        self.parent = MergedRows(parent, ranges: scope?.ranges)
        self.scope = scope
        let rows = try parent.root().sums.pages.rows
        let unchanged = scope?.unchangedRows ?? 0
        guard unchanged <= rows else {
            throw DoubtfulChanges("\(unchanged) of \(rows) rows can't be unchanged")
        }
        expectedRows = rows - unchanged
        places = scope.map { RangeWalk($0.ranges) }
        self.live = live
        self.table = table
        self.progress = progress
        batch = RowBatch(schema)
        keys = KeyList(batch, schema: schema)
    }

    package func next(
        into output: RowBatch, present: inout [Bool], maxRows: Int, maxBytes: Int
    ) throws -> Bool {
        while true {
            let hasLive = try refill()
            let hasOld = try parent.load()
            if !hasLive && !hasOld {
                try checkCount()
                return false
            }
            if hasLive && hasOld {
                passEqual()
                // What is read next may be large as well.
                letGo()
                if index == batch.count || parent.index == parent.batch.count { continue }
            }
            let order = !hasLive ? 1 : !hasOld ? -1 : compareHeads()
            // A large row is handed on alone, so that it needn't be copied.
            if order <= 0, batch.isLargeRow, output.count > 0 { return true }
            if order > 0 { append(old: parent.index, to: output) }
            if order >= 0 { parent.index += 1 }
            if order <= 0 {
                if batch.isLargeRow {
                    output.exchange(with: batch)
                } else {
                    output.append(batch, row: index)
                }
                index += 1
            }
            letGo()
            present.append(order <= 0)
            if output.count >= maxRows || output.byteCount >= maxBytes { return true }
        }
    }

    /// A row that is gone. Only its key counts: of a large one nothing else that is large is copied.
    private func append(old row: Int, to output: RowBatch) {
        if !parent.batch.isLargeRow { return output.append(parent.batch, row: row) }
        for (index, column) in output.columns.enumerated() {
            let old = parent.batch.columns[index]
            if schema.key.contains(index) || old.byteCount <= RowBatch.largeBytes {
                column.append(old, row: row)
            } else {
                column.appendNull()
            }
        }
    }

    /// Large rows aren't kept any longer than they are needed.
    private func letGo() {
        if index >= batch.count, batch.byteCount > RowBatch.largeBytes { batch = RowBatch(schema) }
        if index >= batch.count { index = batch.count }
        parent.letGo()
    }

    /// Both sides have ended: what was passed by must be what was said to be unchanged.
    private func checkCount() throws {
        guard scope != nil, parent.count != expectedRows else { return }
        throw DoubtfulChanges(
            "the last point has \(parent.count) rows there instead of \(expectedRows)")
    }

    /// Rows that are compared together.
    private static let stride = 16

    /// Passes rows that are the same on both sides, as most are, many at a time.
    private func passEqual() {
        let old = parent.batch
        let end = index + min(batch.count - index, old.count - parent.index)
        while index < end {
            let rows = index..<min(index + Self.stride, end)
            guard RowBatch.identical(batch, rows, old, from: parent.index) else { break }
            index += rows.count
            parent.index += rows.count
        }
        while index < end, RowBatch.identical(batch, index, old, parent.index) {
            index += 1
            parent.index += 1
        }
    }

    /// Which of the two rows comes first: negative if the live one does.
    private func compareHeads() -> Int { keys.compare(index, parent.keys, parent.index) }

    /// Makes sure that there is a live row at `index`; false at the end.
    private func refill() throws -> Bool {
        if index < batch.count { return true }
        if isDone, largeRow == nil { return false }
        if keys.count > 0 { lastKey = keys[keys.count - 1] }
        index = 0
        batch = largeRow ?? RowBatch(schema)
        largeRow = nil
        while batch.count == 0, !isDone {
            isDone = try !live.next(into: batch, maxRows: 2048, maxBytes: 1 << 20)
            let parts = batch.splitBeforeLargeRow()
            batch = parts[0]
            if parts.count > 1 { largeRow = parts[1] }
        }
        keys = KeyList(batch, schema: schema)
        guard keys.isIncreasing(after: lastKey) else {
            throw Failure(.corrupt, "\(table): the source gave rows out of key order")
        }
        if places?.contains(keys) == false {
            throw DoubtfulChanges("the source gave rows outside of the ranges")
        }
        try progress(UInt64(batch.count))
        return batch.count > 0
    }
}

/// The rows of a snapshot in key order, with their keys. Other threads read ahead.
final class MergedRows {
    private struct Rows: Sendable {
        let batch: RowBatch
        let keys: KeyList
    }

    private let schema: TableSchema
    private let pages: SnapshotPages<Rows>
    /// Rows of the present page, merged.
    private(set) var batch: RowBatch
    /// Their normalized keys.
    private(set) var keys: KeyList
    /// The present row in `batch`.
    var index = 0
    /// How many rows were handed out, those of the present page included.
    private(set) var count: UInt64 = 0
    /// Whether nobody else has the present page's rows.
    private(set) var areOwn = false

    /// - Parameter ranges: the keys whose rows are wanted, if not all.
    convenience init(_ snapshot: Snapshot, ranges: KeyRanges? = nil) {
        let schema = snapshot.schema
        self.init(
            schema,
            SnapshotPages(snapshot, ranges: ranges) {
                Rows(batch: $0, keys: KeyList($0, schema: schema))
            })
    }

    /// The rows of some pages of a snapshot, which are handed out in key order.
    convenience init(_ snapshot: Snapshot, _ nextPage: @escaping () throws -> WantedPage?) {
        let schema = snapshot.schema
        self.init(
            schema,
            SnapshotPages(
                snapshot.pool, schema: schema, nextPage: nextPage,
                make: { Rows(batch: $1, keys: KeyList($1, schema: schema)) }))
    }

    private init(_ schema: TableSchema, _ pages: SnapshotPages<Rows>) {
        self.schema = schema
        self.pages = pages
        batch = RowBatch(schema)
        keys = KeyList(batch, schema: schema)
    }

    /// A large page isn't kept any longer than it is needed.
    func letGo() {
        guard index >= batch.count, batch.byteCount > RowBatch.largeBytes else { return }
        batch = RowBatch(schema)
        index = 0
    }

    /// Moves the rows of the present page, if nobody else has them.
    func take(into output: RowBatch) {
        precondition(areOwn && index == 0)
        output.exchange(with: batch)
        index = 0
    }

    /// Makes sure that there is a row at `index`; false at the end.
    func load() throws -> Bool {
        while index >= batch.count {
            guard let rows = try pages.next() else { return false }
            batch = rows.batch
            areOwn = pages.areOwn
            keys = rows.keys
            count += UInt64(batch.count)
            index = 0
        }
        return true
    }
}
