import Bytes

/// One table at one backup point: its rows, and what they come to. Safe for concurrent use.
package final class Snapshot: Sendable {
    package let schema: TableSchema
    let pool: FilePool
    let reference: BlockReference

    package init(_ reference: BlockReference, schema: TableSchema, pool: FilePool) {
        self.reference = reference
        self.schema = schema
        self.pool = pool
    }

    func root() throws -> SnapshotRoot { try pool.root(reference, schema: schema) }

    static var contradiction: Failure {
        Failure(.corrupt, "the sums of a snapshot contradict each other")
    }

    /// Names something of this snapshot in the cache.
    func key(_ kind: FilePool.CacheKind, _ b: UInt64 = 0, _ c: UInt64 = 0) -> SharedCache.Key {
        pool.key(kind, reference.file << 40 ^ reference.offset, b, c)
    }

    /// A slice, with its edits.
    func slice(_ place: SlicePlace) throws -> DecodedSlice {
        try pool.slice(root().blocks[place.block].reference, place.slice, schema: schema)
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

/// Which slice of a snapshot.
struct SlicePlace: Sendable, Hashable {
    var block: Int
    var slice: Int
}

/// Reads the rows of one slice at a point, all columns of a schema or some. Used by one thread.
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
        var hasAsked = false
        for (index, edit) in zip(edits.indices, edits) {
            let position = Int(edit.position) + shift
            merged.append(base: next..<position)
            next = position
            if edit.kind != .delete {
                if !merged.append(edit.row) {
                    let page = try pool.runPage(of: edit.row, schema: schema) {
                        // Asked for once: all that follow are on their way then.
                        let rest = edits[(hasAsked ? edits.endIndex : index)...]
                        hasAsked = true
                        return rest.lazy.filter { $0.kind != .delete }.map(\.row)
                    }
                    try merged.append(edit.row, in: page)
                }
            }
            if edit.kind != .insert { next += 1 }
        }
        merged.append(base: next..<positions.upperBound + shift)
        return merged
    }

    /// The first or the last row of a rendered page that has rows. Decodes no page of other rows.
    mutating func edge(
        ofPage page: Int, isLast: Bool
    ) throws -> (batch: RowBatch, index: Int) {
        enum Row {
            case base(Int)
            case edited(RunRow)
        }
        let positions = slice.positions(ofPage: page)
        var next = positions.lowerBound
        var first: Row?
        var last: Row?
        func pass(_ row: Row) {
            first = first ?? row
            last = row
        }
        func pass(basesTo end: Int) {
            guard end > next else { return }
            pass(.base(next))
            pass(.base(end - 1))
        }
        for edit in slice.edits(ofPage: page) {
            pass(basesTo: Int(edit.position))
            next = Int(edit.position)
            if edit.kind != .delete { pass(.edited(edit.row)) }
            if edit.kind != .insert { next += 1 }
        }
        pass(basesTo: positions.upperBound)
        switch isLast ? last : first {
        case .base(let position):
            guard let base = try base(ofPage: page) else { throw Snapshot.contradiction }
            return (base.batch, base.rows.lowerBound + position - positions.lowerBound)
        case .edited(let edited): return try row(edited)
        case nil: throw Snapshot.contradiction
        }
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

    /// The values of a column, one behind the other; copied unless they are all of one batch.
    func column(_ index: Int) -> ColumnVector {
        if pieces.count == 1 {
            let column = batches[pieces[0].batch].columns[index]
            if pieces[0].rows == 0..<column.count { return column }
        }
        let merged = ColumnVector(batches[0].columns[index].layout)
        for piece in pieces {
            merged.append(batches[piece.batch].columns[index], rows: piece.rows)
        }
        return merged
    }

    private mutating func append(_ index: Int, of batch: Int) {
        if let last = pieces.last, last.batch == batch, last.rows.upperBound == index {
            pieces[pieces.count - 1].rows = last.rows.lowerBound..<index + 1
        } else {
            pieces.append(Piece(batch: batch, rows: index..<index + 1))
        }
    }
}
