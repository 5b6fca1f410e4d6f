import Bytes

/// Writes slices anew: the rows that they have at the point, changes included, as base rows of a row
/// file of this point.
final class SliceRewriter {
    private let schema: TableSchema
    private let pool: FilePool
    private let limits: FormatLimits
    private let writer: SliceWriter
    private var copier: SliceCopier?
    private var page: RowBatch
    /// Where the slices begin that are being written; nil if none is.
    private var lowerBound: [UInt8]?
    private(set) var rows: UInt64 = 0

    init(
        _ parent: Snapshot, _ measure: RowMeasure, table: String, files: any FileFactory,
        limits: FormatLimits
    ) {
        schema = parent.schema
        pool = parent.pool
        self.limits = limits
        writer = SliceWriter(
            schema, measure, kind: .rebase, table: table, files: files, limits: limits,
            progress: { _ in try files.progress(rows: 0) })
        page = writer.emptyPage()
    }

    func close() { writer.close() }

    /// Begins with a slice; its rows join those of the slice before unless `endSlices` was called.
    func begin(_ slice: Slice) {
        copier = SliceCopier(slice, schema: schema, pool: pool)
        if lowerBound != nil { return }
        lowerBound = slice.lowerBound
        writer.begin(lowerBound: slice.lowerBound)
    }

    /// Puts in a change of the slice; `new` is the row that is there now, if any. Splices come in
    /// order.
    func put(_ splice: Splice, new: (batch: RowBatch, row: Int)?) throws {
        try copier!.copy(upTo: splice) { try append($0, $1) }
        if let new { try append(new.batch, new.row..<new.row + 1) }
    }

    /// The slices made in front of a place. What follows, from the present slice first, makes others
    /// with keys from `lowerBound` on; nil: nothing of it is left.
    func cut(at place: InsertPlace, lowerBound: [UInt8]?) throws -> [Slice] {
        let splice = Splice(
            index: place.edit, removes: false, edit: Edit(.insert, at: place.position))
        try put(splice, new: nil)
        let slices = try endSlices()
        self.lowerBound = lowerBound
        if let lowerBound { writer.begin(lowerBound: lowerBound) }
        return slices
    }

    /// The slice gets no further changes.
    func endSlice() throws {
        try copier!.copyRest { try append($0, $1) }
        copier = nil
    }

    private func append(_ batch: RowBatch, _ rows: Range<Int>) throws {
        if batch.isLargeRow {
            try endPage()
            self.rows += 1
            return try writer.append(batch)
        }
        var rows = rows
        let rowBytes = max(batch.byteCount / max(batch.count, 1), 1)
        while !rows.isEmpty {
            let room = min(
                limits.pageRows - page.count, max((limits.pageBytes - page.byteCount) / rowBytes, 1)
            )
            let part = rows.prefix(room)
            page.append(batch, rows: part)
            rows = part.upperBound..<rows.upperBound
            self.rows += UInt64(part.count)
            if page.count >= limits.pageRows || page.byteCount >= limits.pageBytes { try endPage() }
        }
    }

    private func endPage() throws {
        try writer.append(page)
        page = writer.emptyPage()
    }

    /// The slices made since the last call; other slices follow.
    func endSlices() throws -> [Slice] {
        if lowerBound == nil { return [] }
        lowerBound = nil
        try endPage()
        try writer.endSlices()
        return writer.finished()
    }

    /// Completes the files.
    func finish() throws { try writer.finish() }
}

/// Copies the rows of a slice at a point, in key order, and lets changes be put in between.
private struct SliceCopier {
    private var reader: SliceReader
    private let edits: [Edit]
    private let starts: [Int]
    private var nextEdit = 0
    private var position = 0
    private var page = 0
    private var base: (page: Int, batch: RowBatch, rows: Range<Int>)?

    init(_ slice: Slice, schema: TableSchema, pool: FilePool) {
        reader = SliceReader(slice, schema: schema, pool: pool, isSequential: true)
        edits = slice.edits
        starts = slice.pageStarts
    }

    /// Hands on the rows in front of a splice, and skips what it takes away.
    mutating func copy(
        upTo splice: Splice, _ body: (RowBatch, Range<Int>) throws -> Void
    ) throws {
        try copyEdits(upTo: splice.index, body)
        let removed = splice.removes ? edits[splice.index] : nil
        guard let place = splice.edit ?? removed else { return }
        try copyBase(upTo: Int(place.position), body)
        if splice.removes { nextEdit = splice.index + 1 }
        if place.kind != .insert { position = Int(place.position) + 1 }
    }

    /// Hands on all rows that are left.
    mutating func copyRest(_ body: (RowBatch, Range<Int>) throws -> Void) throws {
        try copyEdits(upTo: edits.count, body)
        try copyBase(upTo: reader.slice.count, body)
    }

    private mutating func copyEdits(
        upTo end: Int, _ body: (RowBatch, Range<Int>) throws -> Void
    ) throws {
        while nextEdit < end {
            let edit = edits[nextEdit]
            try copyBase(upTo: Int(edit.position), body)
            if edit.kind != .delete {
                let (batch, index) = try reader.row(edit.row)
                try body(batch, index..<index + 1)
                reader.letGo()
            }
            if edit.kind != .insert { position = Int(edit.position) + 1 }
            nextEdit += 1
        }
    }

    private mutating func copyBase(
        upTo end: Int, _ body: (RowBatch, Range<Int>) throws -> Void
    ) throws {
        while position < end {
            while position >= starts[page + 1] { page += 1 }
            if base?.page != page {
                guard let (batch, rows) = try reader.base(ofPage: page) else {
                    throw Failure(.corrupt, "a slice has an empty page")
                }
                base = (page, batch, rows)
            }
            let stop = min(end, starts[page + 1])
            let first = base!.rows.lowerBound - starts[page]
            try body(base!.batch, first + position..<first + stop)
            position = stop
        }
    }
}
