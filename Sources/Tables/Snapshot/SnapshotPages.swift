import Bytes

/// The rows of a snapshot in key order, page by page, as batches or what is made of them. Other
/// threads read ahead, a few pages at most.
///
/// Large pages come in several batches, each read when it is asked for, and large rows alone.
package final class SnapshotPages<Rows: Sendable> {
    /// Pages that were read and not yet asked for.
    private final class Ready {
        var pages: [Rows] = []
    }

    private let pipeline: OrderedPipeline<WantedPage, Rows>
    private let ready = Ready()
    private let nextPage: () throws -> WantedPage?
    /// The next page, if it is a large one, and the one that is being handed out.
    private var large: WantedPage?
    private var open: (rows: PageRows, page: WantedPage)?
    /// Whether nobody else has what was handed out last, as it is with large pages.
    private(set) var areOwn = false
    private let begin: (WantedPage) throws -> PageRows
    private let finish: @Sendable (RowBatch, WantedPage) -> Rows

    /// - Parameters:
    ///   - schema: the columns that rows are to have, if not the snapshot's own. Those that it hasn't
    ///     need stand-ins.
    ///   - ranges: the keys whose rows are wanted, if not all. Pages that have none of them give empty
    ///     batches or aren't read at all.
    ///   - make: called on any thread. The batch belongs to many: it is not to be changed.
    convenience init(
        _ snapshot: Snapshot, as schema: TableSchema? = nil, ranges: KeyRanges? = nil,
        make: @escaping @Sendable (RowBatch) -> Rows
    ) {
        let schema = schema ?? snapshot.schema
        var walk = PageWalk(snapshot, schema: schema, ranges: ranges)
        let filter = ranges.map { RangeFilter($0, schema: schema) }
        self.init(
            snapshot.pool, schema: schema, nextPage: { try walk.next() },
            make: { page, rows in
                page.ranges.map { make(filter!.rows(of: rows, in: $0)) } ?? make(rows)
            })
    }

    /// The rows of the pages that are handed out, of slices of one collection.
    ///
    /// - Parameter make: called more than once for a large page.
    init(
        _ pool: FilePool, schema: TableSchema, nextPage: @escaping () throws -> WantedPage?,
        make: @escaping @Sendable (WantedPage, RowBatch) -> Rows
    ) {
        self.nextPage = nextPage
        let merged = { @Sendable (page: WantedPage) throws -> MergedPage in
            let reader = SliceReader(
                page.slice, schema: schema, pool: pool, isSequential: page.isSequential)
            if let shown = page.shown {
                return try reader.merged(page: page.number, showing: shown)
            }
            return try reader.merged(page: page.number)
        }
        finish = { make($1, $0) }
        begin = { PageRows(try merged($0), schema, pool) }
        pipeline = OrderedPipeline(
            threads: 2, capacity: 6,
            transform: { make($0, try merged($0).rows(schema, pool)) },
            consume: { [ready] in ready.pages.append($0) })
    }

    deinit { pipeline.close() }

    /// What the next page holds, nil at the end.
    package func next() throws -> Rows? {
        while ready.pages.isEmpty {
            if let rows = try open?.rows.next() {
                areOwn = true
                return finish(rows, open!.page)
            }
            open = nil
            if let page = large {
                open = (try begin(page), page)
                large = nil
            } else if let page = try nextPage() {
                if page.slice.pages[page.number].isLarge {
                    large = page
                    try pipeline.finish()
                } else {
                    try pipeline.submit(page)
                }
            } else {
                try pipeline.finish()
                if ready.pages.isEmpty { return nil }
            }
        }
        areOwn = false
        return ready.pages.removeFirst()
    }
}

extension SnapshotPages where Rows == RowBatch {
    /// Batches that belong to many: they are not to be changed.
    package convenience init(_ snapshot: Snapshot) { self.init(snapshot) { $0 } }
}
