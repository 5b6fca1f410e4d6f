import Bytes

/// Scan-and-diff: what is different between a snapshot and all rows that are there now.
///
/// Always right, whatever happened in between; costs reading both.
package final class Diff: ChangeCursor {
    private let parent: MergedRows
    private let live: any RowCursor
    private let schema: TableSchema
    private var batch: RowBatch
    private var keys: KeyList
    private var index = 0
    private var isDone = false
    private let table: String
    private var lastKey: [UInt8]?
    private let progress: (UInt64) throws -> Void

    /// `progress` is told of every batch of live rows.
    package init(
        parent: Snapshot, live: any RowCursor, table: String,
        progress: @escaping (UInt64) throws -> Void
    ) {
        schema = parent.schema
        self.parent = MergedRows(parent)
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
            if !hasLive && !hasOld { return false }
            if hasLive && hasOld {
                passEqual()
                if index == batch.count || parent.index == parent.batch.count { continue }
            }
            let order = !hasLive ? 1 : !hasOld ? -1 : compareHeads()
            if order > 0 {
                output.append(parent.batch, row: parent.index)
                present.append(false)
            } else {
                output.append(batch, row: index)
                present.append(true)
            }
            if order <= 0 { index += 1 }
            if order >= 0 { parent.index += 1 }
            if output.count >= maxRows || output.byteCount >= maxBytes { return true }
        }
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
        if isDone { return false }
        if batch.count > 0 { lastKey = keys[batch.count - 1] }
        batch = RowBatch(schema)
        index = 0
        while batch.count == 0, !isDone {
            isDone = try !live.next(into: batch, maxRows: 2048, maxBytes: 1 << 20)
        }
        keys = KeyList(batch, schema: schema)
        guard keys.isIncreasing(after: lastKey) else {
            throw Failure(.corrupt, "\(table): the source gave rows out of key order")
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

    private let pages: SnapshotPages<Rows>
    /// Rows of the present page, merged.
    private(set) var batch: RowBatch
    /// Their normalized keys.
    private(set) var keys: KeyList
    /// The present row in `batch`.
    var index = 0

    init(_ snapshot: Snapshot) {
        let schema = snapshot.schema
        batch = RowBatch(schema)
        keys = KeyList(batch, schema: schema)
        pages = SnapshotPages(snapshot) {
            Rows(batch: $0, keys: KeyList($0, schema: schema))
        }
    }

    /// Makes sure that there is a row at `index`; false at the end.
    func load() throws -> Bool {
        while index >= batch.count {
            guard let rows = try pages.next() else { return false }
            batch = rows.batch
            keys = rows.keys
            index = 0
        }
        return true
    }
}
