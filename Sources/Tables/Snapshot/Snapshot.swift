import Bytes

/// One table at one backup point: where every byte of it is, and how to render it.
///
/// Nothing is merged to know a size; a read at an offset finds its page by binary search over sums
/// and renders that page alone. Safe for concurrent use.
package final class Snapshot: Sendable {
    package let schema: TableSchema
    let pool: FilePool
    private let reference: BlockReference
    private let csv: CSVRenderer

    package init(_ reference: BlockReference, schema: TableSchema, pool: FilePool) {
        self.reference = reference
        self.schema = schema
        self.pool = pool
        csv = CSVRenderer(schema)
    }

    func root() throws -> SnapshotRoot { try pool.root(reference, schema: schema) }

    /// A rendered page's place in the table, and where its CSV begins in the file.
    package struct PageAddress: Sendable, Hashable {
        package var block: Int
        package var slice: Int
        package var page: Int
        package var offset: UInt64
        package var bytes: UInt64
    }

    /// The page that holds byte `offset` of the CSV file (behind the header line); nil at the end.
    package func page(atCSVOffset offset: UInt64) throws -> PageAddress? {
        let header = UInt64(csv.header.count)
        precondition(offset >= header)
        let root = try root()
        if offset - header >= root.sums.pages.csvBytes { return nil }
        var rest = offset - header
        let block = root.csvStarts.lastIndex(notAbove: rest)
        rest -= root.csvStarts[block]
        let reference = root.blocks[block].reference
        let starts = try pool.block(reference, schema: schema).csvStarts
        let slice = starts.lastIndex(notAbove: rest)
        rest -= starts[slice]
        let decoded = try pool.slice(reference, slice, schema: schema)
        let page = decoded.csvStarts.lastIndex(notAbove: rest)
        rest -= decoded.csvStarts[page]
        let bytes = decoded.slice.pages[page].csvBytes
        guard rest < bytes else {
            throw Failure(.corrupt, "the sums of a snapshot contradict each other")
        }
        return PageAddress(
            block: block, slice: slice, page: page, offset: offset - rest, bytes: bytes)
    }

    /// The header line of the CSV file, which stands before the first page.
    package var csvHeader: [UInt8] { csv.header }

    /// True if the page is in the cache, or somebody is rendering it.
    package func isRendered(_ address: PageAddress) -> Bool {
        pool.cache.contains(csvKey(address))
    }

    /// Drops a rendered page from the cache.
    package func forget(_ address: PageAddress) { pool.cache.forget(csvKey(address)) }

    private func csvKey(_ address: PageAddress) -> SharedCache.Key {
        pool.key(
            .csvPage, reference.file << 40 ^ reference.offset,
            UInt64(address.block), UInt64(address.slice) << 32 | UInt64(address.page))
    }

    /// The CSV of one page: rendered now, or by somebody else just before.
    package func csvPage(_ address: PageAddress) throws -> ByteBuffer {
        try pool.cache.value(csvKey(address)) {
            // Some more than the bytes: the renderer wants room for a field before it writes one.
            let output = ByteBuffer(capacity: Int(address.bytes) + 1024)
            let reference = try root().blocks[address.block].reference
            let slice = try pool.slice(reference, address.slice, schema: schema).slice
            try renderCSV(slice, page: address.page, into: output)
            guard UInt64(output.count) == address.bytes else {
                let name = slice.file == 0 ? "a run" : try pool.rowFile(slice.file).name
                throw Failure(
                    .corrupt,
                    "\(name): a page has \(output.count) bytes of CSV where \(address.bytes) are "
                        + "recorded")
            }
            return (output, bytes: output.capacity + 256)
        }
    }

    private func renderCSV(_ slice: Slice, page: Int, into output: ByteBuffer) throws {
        pool.count { $0.pagesRendered += 1 }
        let reader = SliceReader(slice, schema: schema, pool: pool)
        csv.render(try reader.merged(page: page), into: output)
    }

    /// A slice of a block, without its edits.
    func bareSlice(_ index: Int, of block: BlockDescriptor) throws -> Slice {
        try pool.block(block.reference, schema: schema).slice(index)
    }

    /// A slice of a block, with its edits.
    func slice(_ index: Int, of block: BlockDescriptor) throws -> Slice {
        try pool.slice(block.reference, index, schema: schema).slice
    }

    func sliceSums(of block: BlockDescriptor) throws -> [SliceSums] {
        try pool.block(block.reference, schema: schema).slices.map(\.sums)
    }

    /// Where the key range of each slice of a block begins.
    func lowerBounds(of block: BlockDescriptor) throws -> [[UInt8]] {
        let content = try pool.block(block.reference, schema: schema)
        return try content.slices.indices.map { try content.lowerBound($0) }
    }

    /// All slices, in key order: for looking at what a point is made of.
    package func slices() throws -> [Slice] {
        try root().blocks.flatMap { block in
            try sliceSums(of: block).indices.map { try slice($0, of: block) }
        }
    }
}

/// Reads the rows of one slice at a point. Used by one thread.
struct SliceReader {
    let slice: Slice
    private let schema: TableSchema
    private let pool: FilePool
    /// The run pages last used, by file: edits of one run go through its pages in order.
    private var runPages: [UInt64: RunPage] = [:]
    /// Pages beyond this number are forgotten, to bound memory.
    private static let maxRunPages = 256

    init(_ slice: Slice, schema: TableSchema, pool: FilePool) {
        self.slice = slice
        self.schema = schema
        self.pool = pool
    }

    /// A row that replaces or was inserted.
    mutating func row(_ row: RunRow) throws -> (batch: RowBatch, index: Int) {
        if let page = runPages[row.file], let index = page.index(of: row) {
            return (page.batch, index)
        }
        let page = try pool.runPage(of: row, schema: schema)
        guard let index = page.index(of: row) else {
            throw Failure(.corrupt, "a run has no row \(row.row)")
        }
        if runPages.count >= Self.maxRunPages { runPages = [:] }
        runPages[row.file] = page
        return (page.batch, index)
    }

    /// The base rows of a rendered page: a batch, and which of its rows; nil if there are none.
    func base(ofPage page: Int) throws -> (batch: RowBatch, rows: Range<Int>)? {
        try base(ofPage: page, columns: schema.columns).map { (RowBatch(columns: $0), $1) }
    }

    /// As above, some columns alone.
    func base(
        ofPage page: Int, columns: [Column]
    ) throws -> (columns: [ColumnVector], rows: Range<Int>)? {
        let positions = slice.positions(ofPage: page)
        if positions.isEmpty { return nil }
        let file = try pool.rowFile(slice.file)
        let first = slice.firstRow + positions.lowerBound
        guard slice.rowGroup < file.groups.count else {
            throw Failure(.corrupt, "row file \(file.name) has no row group \(slice.rowGroup)")
        }
        let (stored, rows) = try file.page(of: first, rowGroup: slice.rowGroup)
        guard first + positions.count <= rows.upperBound else {
            throw Failure(.corrupt, "row file \(file.name): its pages aren't where the index says")
        }
        let start = first - rows.lowerBound
        return (
            try pool.page(file, rowGroup: slice.rowGroup, page: stored, columns: columns),
            start..<start + positions.count
        )
    }

    /// The rows of a rendered page, in key order.
    func merged(page: Int) throws -> MergedPage {
        let positions = slice.positions(ofPage: page)
        var merged = MergedPage()
        var next = 0
        var shift = 0
        if let base = try base(ofPage: page) {
            next = base.rows.lowerBound
            shift = base.rows.lowerBound - positions.lowerBound
            merged.batches.append(base.batch)
        }
        let edits = slice.edits(ofPage: page)
        for (index, edit) in zip(edits.indices, edits) {
            let position = Int(edit.position) + shift
            merged.append(base: next..<position)
            next = position
            if edit.kind != .delete {
                if !merged.append(edit.row) {
                    let rest = edits[index...].lazy.filter { $0.kind != .delete }.map(\.row)
                    let page = try pool.runPage(of: edit.row, schema: schema, before: rest)
                    try merged.append(edit.row, in: page)
                }
            }
            if edit.kind != .insert { next += 1 }
        }
        merged.append(base: next..<positions.upperBound + shift)
        return merged
    }
}

/// The rows of a rendered page: where they lie, in key order. Nothing is copied to know it.
struct MergedPage {
    /// Consecutive rows of one batch.
    struct Piece {
        var batch: Int
        var rows: Range<Int>
    }
    /// A page of a run: which rows of the run's file it holds, and its place among the batches.
    private struct Run {
        var file: UInt64
        var rows: Range<Int>
        var batch: Int
    }

    /// The base page, if the slice has base rows there, and pages of runs.
    fileprivate(set) var batches: [RowBatch] = []
    private(set) var pieces: [Piece] = []
    private var runs: [Run] = []

    fileprivate mutating func append(base rows: Range<Int>) {
        if !rows.isEmpty { pieces.append(Piece(batch: 0, rows: rows)) }
    }

    /// A row that replaces or was inserted; false if its page isn't here.
    fileprivate mutating func append(_ row: RunRow) -> Bool {
        let number = Int(row.row)
        for run in runs where run.file == row.file && run.rows.contains(number) {
            append(number - run.rows.lowerBound, of: run.batch)
            return true
        }
        return false
    }

    fileprivate mutating func append(_ row: RunRow, in page: RunPage) throws {
        let rows = page.firstRow..<page.firstRow + page.batch.count
        runs.append(Run(file: row.file, rows: rows, batch: batches.count))
        batches.append(page.batch)
        guard append(row) else { throw Failure(.corrupt, "a run has no row \(row.row)") }
    }

    private mutating func append(_ index: Int, of batch: Int) {
        if let last = pieces.last, last.batch == batch, last.rows.upperBound == index {
            pieces[pieces.count - 1].rows = last.rows.lowerBound..<index + 1
        } else {
            pieces.append(Piece(batch: batch, rows: index..<index + 1))
        }
    }
}
