import Bytes

/// A row that a slice shows: one of its base rows, by position, or that of an edit, by index.
enum ShownRow: Sendable, Hashable {
    case base(UInt32)
    case edit(Int32)

    var isBase: Bool {
        if case .base = self { true } else { false }
    }
}

/// Reads the rows of one slice at a point, all columns of a schema or some. Used by one thread.
struct SliceReader {
    let slice: Slice
    /// What the slice is in the cache; nil if it isn't from there.
    private let decoded: DecodedSlice?
    private let schema: TableSchema
    private let pool: FilePool
    private let isSequential: Bool
    /// The run pages last used: edits of one run go through its pages in order.
    private var runPages: [(page: RunPage, batch: RowBatch)] = []
    /// Pages beyond this number are forgotten, to bound memory.
    private static let maxRunPages = 256

    /// - Parameter isSequential: whether all pages are read, one after another: the system reads ahead
    ///   then. Otherwise what a page needs from several places is asked for at once.
    init(_ slice: Slice, schema: TableSchema, pool: FilePool, isSequential: Bool) {
        self.slice = slice
        decoded = nil
        self.schema = schema
        self.pool = pool
        self.isSequential = isSequential
    }

    /// As above. The rows of edits are gathered for a sequential reader.
    init(_ decoded: DecodedSlice, schema: TableSchema, pool: FilePool, isSequential: Bool) {
        slice = decoded.slice
        self.decoded = decoded
        self.schema = schema
        self.pool = pool
        self.isSequential = isSequential
    }

    /// A row that replaces or was inserted.
    mutating func row(_ row: RunRow) throws -> (batch: RowBatch, index: Int) {
        let number = Int(row.row)
        var known = runPages.firstIndex { $0.page.file == row.file }
        if let known, runPages[known].page.rows.contains(number) {
            return (runPages[known].batch, number - runPages[known].page.rows.lowerBound)
        }
        letGo()
        known = runPages.firstIndex { $0.page.file == row.file }
        let page = try pool.runPage(pool.runPlace(of: row))
        let batch = try page.batch(schema, pool)
        if let known {
            runPages[known] = (page, batch)
        } else {
            if runPages.count >= Self.maxRunPages { runPages = [] }
            runPages.append((page, batch))
        }
        return (batch, number - page.rows.lowerBound)
    }

    /// Keeps no large row any longer.
    mutating func letGo() { runPages.removeAll { $0.batch.byteCount > RowBatch.largeBytes } }

    /// The stored page with the base rows of a rendered page, and which of its rows they are; nil if
    /// there are none.
    private func place(
        ofPage page: Int, _ positions: Range<Int>
    ) throws -> (base: MergedPage.Base, rows: Range<Int>)? {
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
            MergedPage.Base(file: file, rowGroup: slice.rowGroup, page: stored),
            start..<start + positions.count
        )
    }

    /// The base rows of a rendered page: a batch, and which of its rows; nil if there are none.
    func base(ofPage page: Int) throws -> (batch: RowBatch, rows: Range<Int>)? {
        try base(ofPage: page, columns: schema.columns).map { (RowBatch(columns: $0), $1) }
    }

    /// As above, some columns alone.
    func base(
        ofPage page: Int, columns: [Column]
    ) throws -> (columns: [ColumnVector], rows: Range<Int>)? {
        guard let place = try place(ofPage: page, slice.positions(ofPage: page)) else { return nil }
        try willNeed(place.base, columns)
        return (try pool.page(place.base, columns: columns), place.rows)
    }

    private func willNeed(_ base: MergedPage.Base, _ columns: [Column]) throws {
        if isSequential { return }
        try base.file.willNeed(
            rowGroup: base.rowGroup, page: base.page,
            columns: columns.compactMap { try base.file.place(of: $0) })
    }

    /// The rows of a rendered page, in key order.
    func merged(page: Int) throws -> MergedPage {
        let positions = slice.positions(ofPage: page)
        let place = try place(ofPage: page, positions)
        if let place { try willNeed(place.base, schema.columns) }
        var next = place?.rows.lowerBound ?? 0
        let shift = next - positions.lowerBound
        let edits = slice.edits(ofPage: page)
        var merged = MergedPage.Builder(
            base: place?.base, edited: try edits.isEmpty ? nil : editedRows(), pool: pool,
            edits: edits.count)
        for (index, edit) in zip(edits.indices, edits) {
            let position = Int(edit.position) + shift
            merged.append(base: next..<position)
            next = position
            if edit.kind != .delete { try merged.append(edit.row, edit: index) }
            if edit.kind != .insert { next += 1 }
        }
        merged.append(base: next..<positions.upperBound + shift)
        return try merged.finish(
            isSequential: isSequential, isLast: page == slice.pages.count - 1)
    }

    /// Some rows of a rendered page, in the order in which they are given.
    func merged(page: Int, showing rows: [ShownRow]) throws -> MergedPage {
        let positions = slice.positions(ofPage: page)
        let place = rows.contains(where: \.isBase) ? try place(ofPage: page, positions) : nil
        if let place { try willNeed(place.base, schema.columns) }
        let shift = (place?.rows.lowerBound ?? 0) - positions.lowerBound
        var merged = MergedPage.Builder(
            base: place?.base, edited: nil, pool: pool, edits: rows.count)
        for row in rows {
            switch row {
            case .base(let position):
                let row = Int(position) + shift
                merged.append(base: row..<row + 1)
            case .edit(let index):
                try merged.append(slice.edits[Int(index)].row, edit: Int(index))
            }
        }
        return try merged.finish(isSequential: isSequential, isLast: false)
    }

    private func editedRows() throws -> EditedRows? {
        guard isSequential, let decoded else { return nil }
        return try pool.editedRows(decoded)
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
