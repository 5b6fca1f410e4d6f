import Bytes

/// Makes the next snapshot of a table from its parent and a stream of changed keys.
///
/// Changes only say which keys *may* have changed, and what is there now: a row that is the same as
/// before leaves no trace, a deletion of what wasn't there neither. Positions are resolved here,
/// once, so that readers never compare keys.
///
/// One thread reads the source and divides the changes among the slices; others work out what they
/// do to each slice; the first then puts the results, in key order, into the run and the index.
///
/// The run holds what changed and nothing else. Slices that have too many edits (`RewritePlan`) get
/// row files of their own beside it, as a full backup's are.
package final class IncrementalWriter {
    /// The changes of a slice, or of a part of it if there are many.
    private struct Part: Sendable {
        let block: BlockDescriptor
        let place: SlicePlace
        let changes: [ChangeRows]
        let isTableEnd: Bool
        let isFirst: Bool
        let isLast: Bool
        var isUntouched: Bool { isFirst && isLast && changes.isEmpty }
    }
    /// What is put into the new snapshot, in key order.
    private enum Step: Sendable {
        /// A block in whose key range nothing may have changed.
        case keep(BlockDescriptor)
        case edit(Part)
        case endBlock(BlockDescriptor)
    }
    private enum Outcome: Sendable {
        case keep(BlockDescriptor)
        case edit(Part, Slice, EditedPart)
        case endBlock(BlockDescriptor)
    }

    private let parent: Snapshot
    private let limits: FormatLimits
    private let files: any FileFactory
    private let editor: SliceEditor
    private let builder: SnapshotBuilder
    private let run: RunWriter
    private let gatherer: RunWriter
    private let parentChanges: UInt64
    private let plan: RewritePlan
    private let makeRewriter: () -> SliceRewriter
    private var rewriter: SliceRewriter?
    private var result: TableResult
    /// Taken over once something follows that did change: nothing is written for nothing.
    private var unchanged: [BlockDescriptor] = []
    /// The new slices of the present block, and whether they differ from the parent's.
    private var slices: [Slice] = []
    private var isBlockChanged = false
    private var open: OpenSlice?

    private init(
        _ parent: Snapshot, hash: ContentHash, parentChanges: UInt64, deadFiles: [UInt64: UInt64],
        table: String, files: any FileFactory, limits: FormatLimits
    ) throws {
        // The sizes of what changes are added to those of what doesn't. A table that was backed up
        // before dumps were counted goes on without.
        let root = try parent.root()
        try root.require(.csv, .parquet)
        self.parent = parent
        self.limits = limits
        self.files = files
        let schema = parent.schema
        let measure = RowMeasure(schema, lacking: root.lacking)
        editor = SliceEditor(measure, schema: schema, pool: parent.pool, limits: limits)
        builder = SnapshotBuilder(
            files, schema: schema, limits: limits, lacking: root.lacking)
        run = RunWriter(.run, measure, schema: schema, table: table, files: files, limits: limits)
        gatherer = RunWriter(
            .gathered, measure, schema: schema, table: table, files: files, limits: limits)
        self.parentChanges = parentChanges
        plan = try RewritePlan(
            parent, parentChanges: parentChanges, deadFiles: deadFiles, dice: hash.low,
            limits: limits)
        makeRewriter = {
            SliceRewriter(parent, measure, table: table, files: files, limits: limits)
        }
        result = TableResult(
            snapshot: BlockReference(file: 0, offset: 0, length: 0, hash: 0), sums: PageSums(),
            sizes: [:], contentHash: hash)
    }

    /// Answers nil if nothing changed; what was written then, if anything, is of no use.
    /// - Parameters:
    ///   - parentChanges: how many rows the parent inserted, updated and deleted.
    ///   - deadFiles: files that the new snapshot should rather do without, with their dead rows.
    package static func write(
        parent: Snapshot, hash: ContentHash, parentChanges: UInt64,
        deadFiles: [UInt64: UInt64] = [:],
        changes: any ChangeCursor, table: String, files: any FileFactory, limits: FormatLimits
    ) throws -> TableResult? {
        var changes = ChangeStream(changes, schema: parent.schema, table: table)
        guard try changes.hasKey(before: nil) else { return nil }
        let writer = try IncrementalWriter(
            parent, hash: hash, parentChanges: parentChanges, deadFiles: deadFiles, table: table,
            files: files, limits: limits)
        defer { writer.rewriter?.close() }
        try writer.work(through: changes)
        return try writer.finish()
    }

    // MARK: Dividing the work

    private func work(through changes: ChangeStream) throws {
        var changes = changes
        let pipeline = OrderedPipeline<Step, Outcome>(
            threads: 2, capacity: 8,
            transform: { [parent, plan, editor] step in
                switch step {
                case .keep(let block): return .keep(block)
                case .endBlock(let block): return .endBlock(block)
                case .edit(let part):
                    if part.isUntouched, plan.slices[part.place] == nil {
                        let slice = try parent.bareSlice(part.place.slice, of: part.block)
                        return .edit(part, slice, EditedPart())
                    }
                    let slice = try parent.slice(part.place.slice, of: part.block)
                    let task = EditTask(slice: slice, changes: part.changes)
                    return .edit(part, slice, try editor.edit(task))
                }
            },
            consume: { [unowned self] in try consume($0) })
        defer { pipeline.close() }
        let blocks = try parent.root().blocks
        for (index, block) in blocks.enumerated() {
            let upper = index + 1 < blocks.count ? blocks[index + 1].lowerBound : nil
            guard try changes.hasKey(before: upper) || plan.blocks.contains(index) else {
                try pipeline.submit(.keep(block))
                continue
            }
            let bounds = try parent.lowerBounds(of: block)
            for slice in bounds.indices {
                let end = slice + 1 < bounds.count ? bounds[slice + 1] : upper
                var isFirst = true
                var isLast = false
                while !isLast {
                    let rows = try changes.next(
                        before: end, maxRows: limits.editRows, maxBytes: limits.editBytes)
                    // Before more is read: that may be large as well.
                    let isLarge = rows.contains { $0.batch.byteCount > RowBatch.largeBytes }
                    isLast = try !isLarge && !changes.hasKey(before: end)
                    let part = Part(
                        block: block, place: SlicePlace(block: index, slice: slice),
                        changes: rows, isTableEnd: end == nil, isFirst: isFirst, isLast: isLast)
                    if isLarge { try pipeline.finish() }
                    try pipeline.submit(.edit(part))
                    if isLarge { try pipeline.finish() }
                    isFirst = false
                }
            }
            try pipeline.submit(.endBlock(block))
        }
        try pipeline.finish()
    }

    // MARK: Putting together

    private func consume(_ outcome: Outcome) throws {
        switch outcome {
        case .keep(let block): unchanged.append(block)
        case .endBlock(let block): try endBlock(block)
        case .edit(let part, let slice, let edited):
            if part.isFirst { try begin(part, slice, edited) }
            open!.runs = max(open!.runs, edited.oldRuns + 1)
            try record(part, edited)
            result.contentHash += edited.hash
            if part.isLast { try endSlice() }
            try files.progress(rows: 0)
        }
    }

    private func begin(_ part: Part, _ slice: Slice, _ edited: EditedPart) throws {
        let isRewritten = try shouldRewrite(slice, part, edited)
        open = OpenSlice(slice, isRewritten: isRewritten, isTableEnd: part.isTableEnd)
        if isRewritten {
            let rewriter = rewriter ?? makeRewriter()
            self.rewriter = rewriter
            rewriter.begin(slice)
            isBlockChanged = true
        } else {
            try endRewritten()
        }
    }

    /// Whether the slice is due, or becomes so by changes that pay for it.
    private func shouldRewrite(_ slice: Slice, _ part: Part, _ edited: EditedPart) throws -> Bool {
        switch plan.slices[part.place] {
        case .edits:
            result.upkeep.rebased += 1
            return true
        case .smallNeighbours:
            result.upkeep.joined += 1
            return true
        case .deadFiles:
            result.upkeep.salvaged += 1
            return true
        case nil: break
        }
        var sums = slice.sums
        var pages = slice.pages
        for stretch in edited.stretches where !mayBeSlices(stretch, of: slice, part, edited) {
            try sums.replace(stretch.loss, by: stretch.gain)
            try pages[stretch.page].replace(stretch.loss, by: stretch.gain)
        }
        let budget = limits.rebaseBudget(forChanges: UInt64(edited.changes.count))
        if limits.isOverdue(sums) || limits.isDue(sums) && budget >= sums.rows {
            result.upkeep.rebased += 1
            return true
        }
        let isFat =
            zip(pages, slice.pages).contains { $0 != $1 && limits.isFat($0) }
            || !edited.changes.isEmpty && slice.pages.contains(where: limits.isHeavy)
        result.upkeep.thinned += isFat ? 1 : 0
        return isFat
    }

    private func mayBeSlices(
        _ stretch: Stretch, of slice: Slice, _ part: Part, _ edited: EditedPart
    ) -> Bool {
        guard let place = stretch.place else { return false }
        if limits.fillSlice(rows: stretch.changes.count, bytes: stretch.gain.valueBytes) {
            return true
        }
        let goesOn = !part.isLast && stretch.changes.upperBound == edited.changes.count
        return goesOn || part.isTableEnd && place == slice.end
    }

    private func record(_ part: Part, _ edited: EditedPart) throws {
        for stretch in edited.stretches {
            let rows = PlacedRows(
                stretch: stretch, changes: edited.changes[stretch.changes], sources: part.changes)
            if open!.newRows?.place != stretch.place { try endNewRows() }
            if let place = stretch.place {
                var new = open!.newRows ?? NewRows(place: place, page: stretch.page)
                new.hold(rows)
                open!.newRows = new
                if limits.fillSlice(rows: new.count, bytes: new.valueBytes) {
                    try writeNewRows()
                }
            } else {
                try put(rows)
            }
        }
        if edited.changes.isEmpty { return }
        isBlockChanged = true
        open!.isChanged = true
    }

    /// Records changes as edits, or in the slices that are written anew.
    private func put(_ rows: PlacedRows) throws {
        if open!.isHeavy(rows.stretch, limit: limits.heavyPageBytes) { try cut(before: rows) }
        for change in rows.changes {
            let batch = rows.sources[change.source].batch
            var splice = change.splice
            // Also where no edit is left: the run records the deletion.
            let row = try write(change, batch)
            splice.edit?.row = row
            if open!.isRewritten {
                let isPresent = change.operation != .delete
                try rewriter!.put(splice, new: isPresent ? (batch, change.row) : nil)
            } else {
                open!.put(splice)
            }
        }
        try open!.count(rows.stretch)
    }

    /// Cuts the slice in two in front of changes, so that its page isn't made too large by them.
    private func cut(before rows: PlacedRows) throws {
        let first = rows.changes[rows.changes.startIndex]
        let index = first.splice.index
        let place = InsertPlace(
            position: first.splice.edit?.position ?? open!.parent.edits[index].position, edit: index
        )
        let batch = rows.sources[first.source].batch
        try cut(
            at: place, page: rows.stretch.page,
            rest: editor.rest(of: open!.parent, page: rows.stretch.page, from: place),
            lowerBound: NormalizedKey.of(batch, row: first.row, schema: parent.schema))
    }

    /// Puts what lies in front of a place into the snapshot.
    ///
    /// - Parameters:
    ///   - rest: what lies behind in its page, nil for nothing; its keys begin at `lowerBound`, if not
    ///     at its first one's.
    private func cut(
        at place: InsertPlace, page: Int, rest: Slice?, lowerBound: [UInt8]? = nil
    ) throws {
        var rest = rest ?? open!.parent.rest(ofPage: page, from: place)
        rest.lowerBound = lowerBound ?? rest.lowerBound
        let front = try open!.cut(at: place, page: page, rest: rest)
        try store(front)
        result.upkeep.slicesSplit += front.count > 0 && rest.count > 0 ? 1 : 0
    }

    private func write(_ change: PlacedChange, _ batch: RowBatch) throws -> RunRow {
        switch change.operation {
        case .insert: result.inserted += 1
        case .update: result.updated += 1
        case .delete: result.deleted += 1
        }
        return try run.append(batch, change.row, operation: change.operation)
    }

    private func endSlice() throws {
        try endNewRows()
        try run.endSlice()
        if open!.isRewritten {
            try rewriter!.endSlice()
        } else if open!.isChanged {
            try store(open!.finish())
        } else {
            slices.append(open!.parent)
        }
        open = nil
    }

    /// Adds the slice, or part of it, as it is now. If no row is left, its keys fall to the slice
    /// before it.
    private func store(_ part: Slice) throws {
        if part.sums.rows == 0 {
            result.upkeep.slicesDropped += part.count > 0 ? 1 : 0
            return
        }
        var slice = part
        result.upkeep.pagesDropped += UInt64(slice.dropDeadPages())
        if shouldGather(slice, runs: open!.runs) { try gather(&slice) }
        let hasPositions = slice.count == open!.parent.count
        try builder.store(
            slice.edits, of: &slice, old: hasPositions ? open!.parent.edits : nil, parent: parent,
            &result.upkeep)
        slices.append(slice)
    }

    // MARK: New rows as slices

    /// Writes the new rows held so far as slices of their own.
    private func writeNewRows() throws {
        if !open!.newRows!.areSlices { try run.beginSlices() }
        open!.newRows!.areSlices = true
        for rows in open!.newRows!.held {
            for change in rows.changes {
                _ = try write(change, rows.sources[change.source].batch)
            }
        }
        open!.newRows!.held = []
    }

    /// Something else follows the new rows, if there are any.
    private func endNewRows() throws {
        guard let new = open!.newRows else { return }
        let pilesUp = open!.pilesUp(new, limit: limits.insertedSliceRows)
        if pilesUp { try writeNewRows() }
        open!.newRows = nil
        if new.areSlices || pilesUp {
            try letIn(new)
        } else {
            for rows in new.held { try put(rows) }
        }
    }

    /// Puts the slices of new rows in their place, between the two parts of the open slice.
    private func letIn(_ new: NewRows) throws {
        let inserted = try run.endSlices()
        let rest = try editor.rest(of: open!.parent, page: new.page, from: new.place)
        if open!.isRewritten {
            slices += try rewriter!.cut(at: new.place, lowerBound: rest?.lowerBound)
        } else {
            try cut(at: new.place, page: new.page, rest: rest)
        }
        slices += inserted
        result.upkeep.slicesInserted += UInt64(inserted.count)
    }

    // MARK: Runs

    /// Whether a slice's edits lie in so many runs that reading a page of it means looking into many
    /// files; unless it has so many that it will be written anew soon.
    private func shouldGather(_ slice: Slice, runs: Int) -> Bool {
        if runs <= limits.maxRuns { return false }
        if limits.isDue(slice.sums), runs <= 2 * limits.maxRuns { return false }
        let rows = result.upkeep.rowsGathered + UInt64(slice.edits.count)
        let budget = parentChanges * UInt64(limits.gatherRunFactor)
        return result.upkeep.rowsGathered == 0 || rows <= budget || runs > 2 * limits.maxRuns
    }

    /// Copies the rows that a slice's edits show from older runs into one file of this point.
    private func gather(_ slice: inout Slice) throws {
        var reader = SliceReader(
            slice, schema: parent.schema, pool: parent.pool, isSequential: true)
        for index in slice.edits.indices where slice.edits[index].kind != .delete {
            let row = slice.edits[index].row
            if run.numbers.contains(row.file) { continue }
            let (batch, source) = try reader.row(row)
            slice.edits[index].row = try gatherer.append(batch, source)
            result.upkeep.rowsGathered += 1
        }
        try gatherer.endSlice()
        result.upkeep.gathered += 1
    }

    /// Puts the slices written anew in their place.
    private func endRewritten() throws {
        if let rewriter { slices += try rewriter.endSlices() }
    }

    private func endBlock(_ block: BlockDescriptor) throws {
        try endRewritten()
        if isBlockChanged {
            if block.lowerBound.isEmpty { beginTable() }
            for block in unchanged { try builder.append(block) }
            unchanged = []
            for slice in slices { try builder.append(slice) }
            try builder.endBlock()
        } else {
            unchanged.append(block)
        }
        slices = []
        isBlockChanged = false
    }

    /// The first slice has the first keys, whether it was the first one before or not; a table
    /// without rows has a slice too.
    private func beginTable() {
        if slices.isEmpty { slices = [.empty] }
        slices[0].lowerBound = []
    }

    private func finish() throws -> TableResult? {
        if result.changes == 0 { return nil }
        for block in unchanged { try builder.append(block) }
        try run.finish()
        try gatherer.finish()
        try rewriter?.finish()
        result.upkeep.rowsRewritten = rewriter?.rows ?? 0
        let (snapshot, totals) = try builder.finish()
        result.snapshot = snapshot
        result.sums = totals.pages
        result.sizes = RowFormat.sizes(totals, parent.schema, lacking: builder.lacking)
        return result
    }
}
