import Bytes

/// Changes of a part of one slice's key range.
struct EditTask: Sendable {
    /// With its edits.
    let slice: Slice
    /// In key order.
    let changes: [ChangeRows]
    /// Whether keys behind all others of the table may be among them.
    let isTableEnd: Bool
}

/// A row that differs from before, where it comes from and where it belongs.
struct PlacedChange: Sendable {
    /// Index into the task's changes, and row of the batch there.
    let source: Int
    let row: Int
    let operation: RunOperation
    /// The edit's row isn't known yet.
    let splice: Splice
}

/// What the changes of a task come to.
struct EditedPart: Sendable {
    var changes: [PlacedChange] = []
    /// Index of the first of `changes` that, like all after it, is an insert behind every row and
    /// edit that the table had.
    var tail = Int.max
    /// What pages gain and lose; pages may come more than once. The tail is left out …
    var pages: [(page: Int, gain: PageSums, loss: PageSums)] = []
    /// … and is here.
    var tailGain = PageSums()
    /// How many runs the slice's edits lay in.
    var oldRuns = 0
    var hash = ContentHash()
}

/// Works out what changes do to a slice: which rows differ, where they belong, and how sums and hash
/// change. Writes nothing and depends on nothing else, so that slices are worked on side by side.
struct SliceEditor: Sendable {
    private let schema: TableSchema
    private let pool: FilePool
    private let hasher: RowHasher
    private let measure: RowMeasure
    /// Old rows are looked at together when they are so many bytes.
    private let maxOldBytes = 1 << 20

    init(_ schema: TableSchema, pool: FilePool) {
        self.schema = schema
        self.pool = pool
        hasher = RowHasher(schema)
        measure = RowMeasure(schema)
    }

    func edit(_ task: EditTask) throws -> EditedPart {
        guard let first = task.changes.first else { return EditedPart() }
        // With so many changes nearly every page is touched.
        let isDense = task.changes.reduce(0) { $0 + $1.rows.count } > task.slice.pages.count
        if isDense { try pool.willNeed(task.slice) }
        var base = try BaseRows(
            task.slice, schema: schema, pool: pool, isSequential: isDense)
        var reader = SliceReader(
            task.slice, schema: schema, pool: pool, isSequential: isDense)
        let start = try base.position(of: first.keys, first.rows.lowerBound).position
        var walker = EditWalker(task.slice.edits, from: UInt32(start))
        var tally = Tally(schema, hasher, measure, maxOldBytes: maxOldBytes)
        var part = EditedPart()
        let scratch = ByteBuffer(capacity: 256)
        for (source, changes) in task.changes.enumerated() {
            for row in changes.rows {
                let (position, hit) = try base.position(of: changes.keys, row)
                let found = try walker.seek(position: UInt32(position), hitsBase: hit) {
                    let (batch, index) = try reader.row($0)
                    scratch.removeAll()
                    NormalizedKey.append(batch, row: index, schema: schema, to: scratch)
                    return -changes.keys.compare(row, scratch)
                }
                let old: (batch: RowBatch, index: Int)? =
                    switch found?.kind {
                    case .delete, .clear: nil
                    case .replace, .insert: try reader.row(found!.row)
                    case nil: hit ? try base.row(at: position) : nil
                    }
                let isPresent = changes.present[row]
                if isSame(old, changes.batch, row, isPresent: isPresent) {
                    walker.keep()
                    continue
                }
                let page = base.page(ofPosition: position)
                if part.tail == .max, task.isTableEnd, position == task.slice.count, !hit,
                    isPresent, walker.isAtEnd
                {
                    part.tail = part.changes.count
                    tally.endPage(into: &part)
                }
                tally.turn(to: part.tail == .max ? page : Tally.tail, into: &part)
                let outcome = EditWalker.outcome(
                    position: UInt32(position), hitsBase: hit,
                    row: isPresent ? RunRow(file: 0, row: 0) : nil)
                tally.edits(added: outcome == nil ? 0 : 1, removed: found == nil ? 0 : 1)
                if let old { tally.lose(old.batch, old.index) }
                if isPresent { tally.gain(changes.batch, row) }
                let operation: RunOperation =
                    old == nil ? .insert : isPresent ? .update : .delete
                let splice = outcome.map { walker.put($0) } ?? walker.remove()
                part.changes.append(
                    PlacedChange(source: source, row: row, operation: operation, splice: splice))
            }
            tally.endRows()
        }
        tally.endPage(into: &part)
        part.oldRuns = task.slice.edits.runs
        part.hash = tally.hash
        return part
    }

    private func isSame(
        _ old: (batch: RowBatch, index: Int)?, _ batch: RowBatch, _ row: Int, isPresent: Bool
    ) -> Bool {
        guard let old else { return !isPresent }
        return isPresent && RowBatch.identical(old.batch, old.index, batch, row)
    }
}

/// Adds up what pages gain and lose, many rows at a time.
private struct Tally {
    /// Stands for the page of what comes behind the table's end.
    static let tail = -2

    private let hasher: RowHasher
    private let measure: RowMeasure
    private let maxOldBytes: Int
    private var page = -1
    private var gain = PageSums()
    private var loss = PageSums()
    /// Copies of old rows that aren't counted yet.
    private let old: RowBatch
    /// New rows that aren't counted yet.
    private var new: (batch: RowBatch, rows: Range<Int>)?
    private(set) var hash = ContentHash()

    init(_ schema: TableSchema, _ hasher: RowHasher, _ measure: RowMeasure, maxOldBytes: Int) {
        self.hasher = hasher
        self.measure = measure
        self.maxOldBytes = maxOldBytes
        old = RowBatch(schema)
    }

    /// What follows belongs to a page.
    mutating func turn(to page: Int, into part: inout EditedPart) {
        if page == self.page { return }
        endPage(into: &part)
        self.page = page
    }

    mutating func endPage(into part: inout EditedPart) {
        endOld()
        endRows()
        if page == Self.tail {
            part.tailGain += gain
        } else if page >= 0 {
            part.pages.append((page, gain, loss))
        }
        gain = PageSums()
        loss = PageSums()
        page = -1
    }

    mutating func edits(added: UInt64, removed: UInt64) {
        gain.edits += added
        loss.edits += removed
    }

    mutating func lose(_ batch: RowBatch, _ row: Int) {
        old.append(batch, row: row)
        if old.byteCount >= maxOldBytes { endOld() }
    }

    mutating func gain(_ batch: RowBatch, _ row: Int) {
        if let rows = new?.rows, rows.upperBound == row {
            new!.rows = rows.lowerBound..<row + 1
        } else {
            endRows()
            new = (batch, row..<row + 1)
        }
    }

    private mutating func endOld() {
        if old.count == 0 { return }
        let rows = 0..<old.count
        hash = hash - hasher.hash(old, rows)
        measure.add(old, rows, to: &loss)
        old.removeAll()
    }

    /// Rows of another batch follow.
    mutating func endRows() {
        guard let (batch, rows) = new else { return }
        hash += hasher.hash(batch, rows)
        measure.add(batch, rows, to: &gain)
        new = nil
    }
}
