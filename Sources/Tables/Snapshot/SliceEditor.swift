import Bytes

/// Changes of a part of one slice's key range.
struct EditTask: Sendable {
    /// With its edits.
    let slice: Slice
    /// In key order.
    let changes: [ChangeRows]
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

/// Consecutive changes in one page, and what it gains and loses by them.
struct Stretch: Sendable {
    let changes: Range<Int>
    let page: Int
    let gain: PageSums
    let loss: PageSums
    /// Where they all belong, if they are inserts at one place and may be, with those of other tasks,
    /// so many that they become slices.
    let place: InsertPlace?
}

/// What the changes of a task come to.
struct EditedPart: Sendable {
    var changes: [PlacedChange] = []
    /// All of them, in order.
    var stretches: [Stretch] = []
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
    private let limits: FormatLimits

    init(_ measure: RowMeasure, schema: TableSchema, pool: FilePool, limits: FormatLimits) {
        self.schema = schema
        self.pool = pool
        self.limits = limits
        self.measure = measure
        hasher = RowHasher(schema)
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
        var tally = Tally(
            task.changes, schema, hasher, measure, minInserts: limits.insertedSliceRows)
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
                let outcome = EditWalker.outcome(
                    position: UInt32(position), hitsBase: hit,
                    row: isPresent ? RunRow(file: 0, row: 0) : nil)
                let operation: RunOperation =
                    old == nil ? .insert : isPresent ? .update : .delete
                let splice = outcome.map { walker.put($0) } ?? walker.remove()
                tally.add(
                    PlacedChange(source: source, row: row, operation: operation, splice: splice),
                    page: base.page(ofPosition: position), old: old)
            }
        }
        var part = tally.finish()
        part.oldRuns = task.slice.edits.runs
        return part
    }

    /// What a slice has behind a place in a page, as a slice of its own with the bound of its keys;
    /// nil if that is nothing.
    func rest(of slice: Slice, page: Int, from place: InsertPlace) throws -> Slice? {
        var rest = slice.rest(ofPage: page, from: place)
        var reader = SliceReader(rest, schema: schema, pool: pool, isSequential: true)
        let first: (batch: RowBatch, index: Int)
        if let edit = rest.edits.first, edit.position == 0, edit.kind == .insert {
            first = try reader.row(edit.row)
        } else if let base = try reader.base(ofPage: 0) {
            first = (base.batch, base.rows.lowerBound)
        } else {
            return nil
        }
        rest.lowerBound = NormalizedKey.of(first.batch, row: first.index, schema: schema)
        var rows = PageRows(try reader.merged(page: 0), schema, pool)
        while let some = try rows.next() { measure.add(some, 0..<some.count, to: &rest.pages[0]) }
        return rest
    }

    private func isSame(
        _ old: (batch: RowBatch, index: Int)?, _ batch: RowBatch, _ row: Int, isPresent: Bool
    ) -> Bool {
        guard let old else { return !isPresent }
        return isPresent && RowBatch.identical(old.batch, old.index, batch, row)
    }
}

/// Divides changes into stretches and counts what those come to, many rows at a time.
private struct Tally {
    private let sources: [ChangeRows]
    private let hasher: RowHasher
    private let measure: RowMeasure
    private let minInserts: Int
    private var part = EditedPart()
    /// Page of the last change.
    private var page = 0
    /// How many changes lie in stretches.
    private var counted = 0
    /// The first of the last changes that may all be inserts at one place.
    private var first = 0
    /// Copies of old rows that aren't counted yet, and the sums of those that are.
    private let old: RowBatch
    private var loss = PageSums()
    /// Old rows are counted together when they are so many bytes.
    private static let maxOldBytes = 1 << 20

    /// - Parameter minInserts: so many inserts at one place are a stretch; fewer only where they may
    ///   go on in another task.
    init(
        _ sources: [ChangeRows], _ schema: TableSchema, _ hasher: RowHasher, _ measure: RowMeasure,
        minInserts: Int
    ) {
        self.sources = sources
        self.hasher = hasher
        self.measure = measure
        self.minInserts = minInserts
        old = RowBatch(schema)
    }

    mutating func add(
        _ change: PlacedChange, page: Int, old row: (batch: RowBatch, index: Int)?
    ) {
        let place = change.splice.insertPlace
        if place == nil || place != part.changes.last?.splice.insertPlace {
            endInserts(mayGoOn: first == 0)
            if page != self.page { endStretch(at: part.changes.count) }
            first = part.changes.count
        }
        self.page = page
        part.changes.append(change)
        guard let (batch, index) = row else { return }
        if batch.byteCount > RowBatch.largeBytes { return count(old: batch, index..<index + 1) }
        old.append(batch, row: index)
        if old.byteCount >= Self.maxOldBytes { endOld() }
    }

    mutating func finish() -> EditedPart {
        endInserts(mayGoOn: true)
        endStretch(at: part.changes.count)
        return part
    }

    /// Something else follows the last changes, if those were inserts at one place.
    private mutating func endInserts(mayGoOn: Bool) {
        guard let place = part.changes.last?.splice.insertPlace,
            mayGoOn || part.changes.count - first >= minInserts
        else { return }
        endStretch(at: first)
        endStretch(at: part.changes.count, place: place)
    }

    private mutating func endStretch(at end: Int, place: InsertPlace? = nil) {
        if end == counted { return }
        endOld()
        let gain = gain(of: counted..<end)
        for change in part.changes[counted..<end] where change.splice.removes { loss.edits += 1 }
        part.stretches.append(
            Stretch(changes: counted..<end, page: page, gain: gain, loss: loss, place: place))
        loss = PageSums()
        counted = end
    }

    private mutating func endOld() {
        if old.count == 0 { return }
        count(old: old, 0..<old.count)
        old.removeAll()
    }

    private mutating func count(old rows: RowBatch, _ range: Range<Int>) {
        part.hash = part.hash - hasher.hash(rows, range)
        measure.add(rows, range, to: &loss)
    }

    /// What new rows come to; also puts them into the hash.
    private mutating func gain(of changes: Range<Int>) -> PageSums {
        var gain = PageSums()
        var next = changes.lowerBound
        while next < changes.upperBound {
            let change = part.changes[next]
            if change.splice.edit != nil { gain.edits += 1 }
            next += 1
            if change.operation == .delete { continue }
            var rows = change.row..<change.row + 1
            while next < changes.upperBound, follows(part.changes[next], change, rows) {
                rows = rows.lowerBound..<rows.upperBound + 1
                gain.edits += 1
                next += 1
            }
            let batch = sources[change.source].batch
            part.hash += hasher.hash(batch, rows)
            measure.add(batch, rows, to: &gain)
        }
        return gain
    }

    /// Whether a change puts in the row right behind others of a batch.
    private func follows(
        _ change: PlacedChange, _ first: PlacedChange, _ rows: Range<Int>
    ) -> Bool {
        change.source == first.source && change.row == rows.upperBound
            && change.operation != .delete
    }
}
