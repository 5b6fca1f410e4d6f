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
            let isEqual: Bool
            let hasLive = try refill()
            let hasOld = try parent.load()
            if !hasLive && !hasOld { return false }
            let order = !hasLive ? 1 : !hasOld ? -1 : compareHeads()
            if order > 0 {
                output.append(parent.batch, row: parent.index)
                present.append(false)
                isEqual = false
            } else {
                isEqual =
                    order == 0
                    && RowBatch.identical(batch, index, parent.batch, parent.index)
                if !isEqual {
                    output.append(batch, row: index)
                    present.append(true)
                }
            }
            if order <= 0 { index += 1 }
            if order >= 0 { parent.index += 1 }
            if !isEqual, output.count >= maxRows || output.byteCount >= maxBytes { return true }
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

/// The rows of a snapshot in key order, page by page. Other threads read ahead.
final class MergedRows {
    private struct Page: Sendable {
        let slice: Slice
        let number: Int
    }
    private struct Rows: Sendable {
        let batch: RowBatch
        let keys: KeyList
    }
    /// Pages that were read and not yet asked for.
    private final class Ready {
        var pages: [Rows] = []
    }

    private let snapshot: Snapshot
    private let pipeline: OrderedPipeline<Page, Rows>
    private let ready = Ready()
    private var block = 0
    private var sliceCount = 0
    private var nextSlice = 0
    private var slice: Slice?
    private var page = 0
    /// Rows of the present page, merged.
    private(set) var batch: RowBatch
    /// Their normalized keys.
    private(set) var keys: KeyList
    /// The present row in `batch`.
    var index = 0

    init(_ snapshot: Snapshot) {
        self.snapshot = snapshot
        let schema = snapshot.schema
        batch = RowBatch(schema)
        keys = KeyList(batch, schema: schema)
        pipeline = OrderedPipeline(
            threads: 2, capacity: 6,
            transform: { page in
                let batch = try SliceReader(page.slice, schema: schema, pool: snapshot.pool)
                    .merged(page: page.number).rows(schema)
                return Rows(batch: batch, keys: KeyList(batch, schema: schema))
            },
            consume: { [ready] in ready.pages.append($0) })
    }

    deinit { pipeline.close() }

    /// Makes sure that there is a row at `index`; false at the end.
    func load() throws -> Bool {
        while index >= batch.count {
            guard let rows = try nextRows() else { return false }
            batch = rows.batch
            keys = rows.keys
            index = 0
        }
        return true
    }

    private func nextRows() throws -> Rows? {
        while ready.pages.isEmpty {
            if let page = try nextPage() {
                try pipeline.submit(page)
            } else {
                try pipeline.finish()
                if ready.pages.isEmpty { return nil }
            }
        }
        return ready.pages.removeFirst()
    }

    private func nextPage() throws -> Page? {
        while slice == nil || page >= slice!.pages.count {
            let blocks = try snapshot.root().blocks
            if nextSlice >= sliceCount {
                guard block < blocks.count else { return nil }
                sliceCount = try snapshot.sliceSums(of: blocks[block]).count
                nextSlice = 0
                block += 1
            }
            slice = try snapshot.slice(nextSlice, of: blocks[block - 1])
            nextSlice += 1
            page = 0
        }
        page += 1
        return Page(slice: slice!, number: page - 1)
    }
}

extension MergedPage {
    /// The rows in one batch.
    func rows(_ schema: TableSchema) -> RowBatch {
        if pieces.count == 1, pieces[0].rows == 0..<batches[pieces[0].batch].count {
            return batches[pieces[0].batch]
        }
        let result = RowBatch(schema)
        for piece in pieces { result.append(batches[piece.batch], rows: piece.rows) }
        return result
    }
}
