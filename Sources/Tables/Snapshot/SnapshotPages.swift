import Bytes

/// The rows of a snapshot in key order, page by page, as batches or what is made of them. Other
/// threads read ahead, a few pages at most.
package final class SnapshotPages<Rows: Sendable> {
    private struct Page: Sendable {
        let slice: Slice
        let number: Int
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

    /// - Parameters:
    ///   - schema: the columns that rows are to have, if not the snapshot's own. Those that it hasn't
    ///     need stand-ins.
    ///   - make: called on any thread. The batch belongs to many: it is not to be changed.
    init(
        _ snapshot: Snapshot, as schema: TableSchema? = nil,
        make: @escaping @Sendable (RowBatch) -> Rows
    ) {
        self.snapshot = snapshot
        let schema = schema ?? snapshot.schema
        pipeline = OrderedPipeline(
            threads: 2, capacity: 6,
            transform: { page in
                let reader = SliceReader(
                    page.slice, schema: schema, pool: snapshot.pool, isSequential: true)
                return make(try reader.merged(page: page.number).rows(schema, snapshot.pool))
            },
            consume: { [ready] in ready.pages.append($0) })
    }

    deinit { pipeline.close() }

    /// What the next page holds, nil at the end.
    package func next() throws -> Rows? {
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
            try snapshot.pool.willNeed(slice!)
            nextSlice += 1
            page = 0
        }
        page += 1
        return Page(slice: slice!, number: page - 1)
    }
}

extension SnapshotPages where Rows == RowBatch {
    /// Batches that belong to many: they are not to be changed.
    package convenience init(_ snapshot: Snapshot) { self.init(snapshot) { $0 } }
}
