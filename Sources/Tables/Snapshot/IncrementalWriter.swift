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
        self.parent = parent
        self.limits = limits
        self.files = files
        builder = SnapshotBuilder(files, schema: parent.schema, limits: limits)
        let schema = parent.schema
        run = RunWriter(.run, schema: schema, table: table, files: files, limits: limits)
        gatherer = RunWriter(
            .gathered, schema: schema, table: table, files: files, limits: limits)
        self.parentChanges = parentChanges
        plan = try RewritePlan(
            parent, parentChanges: parentChanges, deadFiles: deadFiles, dice: hash.low,
            limits: limits)
        makeRewriter = { SliceRewriter(parent, table: table, files: files, limits: limits) }
        result = TableResult(
            snapshot: BlockReference(file: 0, offset: 0, length: 0, hash: 0), sums: PageSums(),
            csvBytes: 0, parquetBytes: 0, contentHash: hash)
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
        let editor = SliceEditor(parent.schema, pool: parent.pool)
        let pipeline = OrderedPipeline<Step, Outcome>(
            threads: 2, capacity: 8,
            transform: { [parent, plan] step in
                switch step {
                case .keep(let block): return .keep(block)
                case .endBlock(let block): return .endBlock(block)
                case .edit(let part):
                    if part.isUntouched, plan.slices[part.place] == nil {
                        let slice = try parent.bareSlice(part.place.slice, of: part.block)
                        return .edit(part, slice, EditedPart())
                    }
                    let slice = try parent.slice(part.place.slice, of: part.block)
                    let task = EditTask(
                        slice: slice, changes: part.changes, isTableEnd: part.isTableEnd)
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
                    isLast = try !changes.hasKey(before: end)
                    let part = Part(
                        block: block, place: SlicePlace(block: index, slice: slice),
                        changes: rows, isTableEnd: end == nil, isFirst: isFirst, isLast: isLast)
                    try pipeline.submit(.edit(part))
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
        open = OpenSlice(slice, isRewritten: isRewritten, limits: limits)
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
        var isFat = false
        for (page, gain, loss) in edited.pages {
            try sums.replace(loss, by: gain)
            var page = slice.pages[page]
            try page.replace(loss, by: gain)
            isFat = isFat || limits.isFat(page)
        }
        let budget = limits.rebaseBudget(forChanges: UInt64(edited.changes.count))
        if limits.isOverdue(sums) || limits.isDue(sums) && budget >= sums.rows {
            result.upkeep.rebased += 1
            return true
        }
        result.upkeep.thinned += isFat ? 1 : 0
        return isFat
    }

    private func record(_ part: Part, _ edited: EditedPart) throws {
        let tail = open!.tailStart(edited, isLast: part.isLast)
        for (index, change) in edited.changes.enumerated() {
            switch change.operation {
            case .insert: result.inserted += 1
            case .update: result.updated += 1
            case .delete: result.deleted += 1
            }
            if index >= tail, !open!.hasTail {
                try run.beginSlices()
                open!.hasTail = true
            }
            let batch = part.changes[change.source].batch
            var splice = change.splice
            // Also where no edit is left: the run records the deletion.
            let row = try run.append(batch, change.row, operation: change.operation)
            splice.edit?.row = row
            if index >= tail {
                open!.append(splice)
            } else if open!.isRewritten {
                let isPresent = change.operation != .delete
                try rewriter!.put(splice, new: isPresent ? (batch, change.row) : nil)
            } else {
                open!.splicer.put(splice)
            }
        }
        if edited.changes.isEmpty { return }
        isBlockChanged = true
        open!.isChanged = true
        for (page, gain, loss) in edited.pages {
            try open!.slice.pages[page].replace(loss, by: gain)
        }
        open!.tailSums += edited.tailGain
    }

    private func endSlice() throws {
        let appended = open!.hasTail ? try run.endSlices() : []
        try run.endSlice()
        if open!.isRewritten {
            try rewriter!.endSlice()
            if !appended.isEmpty { try endRewritten() }
            slices += appended
            result.upkeep.slicesAppended += UInt64(appended.count)
        } else if open!.isChanged {
            slices += try endEdited(&open!, appended)
        } else {
            slices.append(open!.slice)
        }
        open = nil
    }

    /// The slices as they are now. `appended` are made of the rows behind all others.
    private func endEdited(_ open: inout OpenSlice, _ appended: [Slice]) throws -> [Slice] {
        var appended = appended
        open.endTail(&appended)
        result.upkeep.slicesAppended += UInt64(appended.count)
        var slice = open.slice
        if slice.sums.rows == 0 {
            // Its keys fall to the slice before it, if there is one.
            result.upkeep.slicesDropped += 1
            if !slice.lowerBound.isEmpty { return appended }
            if appended.isEmpty { return [Slice.empty] }
            appended[0].lowerBound = []
            return appended
        }
        let old = slice.edits
        slice.edits = open.splicer.finish()
        let dropped = slice.dropDeadPages()
        result.upkeep.pagesDropped += UInt64(dropped)
        if shouldGather(slice, runs: open.runs) { try gather(&slice) }
        try builder.store(
            slice.edits, of: &slice, old: dropped > 0 ? nil : old, parent: parent, &result.upkeep)
        return [slice] + appended
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
        result.csvBytes = CSVFile.bytes(totals, parent.schema)
        result.parquetBytes = ParquetFile.bytes(totals, parent.schema)
        return result
    }
}

/// A slice whose changes are being put in.
private struct OpenSlice {
    var slice: Slice
    let isRewritten: Bool
    var isChanged = false
    /// Runs that its edits lie in.
    var runs = 0
    var splicer: EditSplicer
    private let limits: FormatLimits
    /// New rows behind everything that the table had: edits while they are few, slices of their own
    /// when they are many, so that a growing table doesn't pile up in one page.
    private var tail: [Splice] = []
    var hasTail = false
    var tailSums = PageSums()

    init(_ slice: Slice, isRewritten: Bool, limits: FormatLimits) {
        self.slice = slice
        self.isRewritten = isRewritten
        self.limits = limits
        splicer = EditSplicer(slice.edits)
    }

    /// Index of the first change of a part that may go to slices of new rows. A slice that is
    /// written anew takes few of them in.
    func tailStart(_ edited: EditedPart, isLast: Bool) -> Int {
        let isShort = edited.changes.count - edited.tail < limits.appendedSliceRows
        return isRewritten && isLast && !hasTail && isShort ? .max : edited.tail
    }

    /// Takes a row behind all others.
    mutating func append(_ splice: Splice) {
        if tail.count < limits.appendedSliceRows { tail.append(splice) }
    }

    /// Puts in the rows behind all others, unless they are better off as the slices `appended`.
    mutating func endTail(_ appended: inout [Slice]) {
        guard hasTail else { return }
        // Also when few rows were appended at each of many points: edits don't pile up in a page.
        let last = slice.pages.count - 1
        let limit = UInt64(limits.appendedSliceRows)
        if tailSums.rows < limit, slice.pages[last].edits + tailSums.rows <= limit {
            for splice in tail { splicer.put(splice) }
            slice.pages[last] += tailSums
            appended = []
        }
    }
}
