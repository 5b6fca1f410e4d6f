import Bytes

/// Thrown by `IncrementalWriter` when the table is better carried whole: too much of it changed.
package struct ResetAdvised: Error, Sendable {
    package let reason: String
}

/// Makes the next snapshot of a table from its parent and a stream of changed keys.
///
/// Changes only say which keys *may* have changed, and what is there now: a row that is the same as
/// before leaves no trace, a deletion of what wasn't there neither. Positions are resolved here,
/// once, so that readers never compare keys.
///
/// One thread reads the source and divides the changes among the slices; others work out what they
/// do to each slice; the first then puts the results, in key order, into the run and the index.
package final class IncrementalWriter {
    /// The changes of a slice, or of a part of it if there are many.
    private struct Part: Sendable {
        let block: BlockDescriptor
        let slice: Int
        let changes: [ChangeRows]
        let isTableEnd: Bool
        let isFirst: Bool
        let isLast: Bool
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
    private var result: TableResult
    private var changed: UInt64 { result.inserted + result.updated + result.deleted }
    /// Taken over once something follows that did change: nothing is written for nothing.
    private var unchanged: [BlockDescriptor] = []
    /// The new slices of the present block, and what had changed before it.
    private var slices: [Slice] = []
    private var changedBefore: UInt64 = 0
    private var open: OpenSlice?
    /// Inserts at one page above which the table is carried whole.
    private var maxPageEdits: Int { max(8 * limits.pageRows, 64) }

    private init(
        _ parent: Snapshot, hash: ContentHash, table: String, files: any FileFactory,
        limits: FormatLimits
    ) {
        self.parent = parent
        self.limits = limits
        self.files = files
        builder = SnapshotBuilder(files, schema: parent.schema, limits: limits)
        run = RunWriter(schema: parent.schema, table: table, files: files, limits: limits)
        result = TableResult(
            snapshot: BlockReference(file: 0, offset: 0, length: 0, hash: 0), sums: PageSums(),
            csvBytes: 0, contentHash: hash)
    }

    /// Answers nil if nothing changed; nothing was written then. Throws `ResetAdvised` if the table
    /// should be carried whole; what was written is of no use then.
    package static func write(
        parent: Snapshot, hash: ContentHash, changes: any ChangeCursor, table: String,
        files: any FileFactory, limits: FormatLimits
    ) throws -> TableResult? {
        let writer = IncrementalWriter(
            parent, hash: hash, table: table, files: files, limits: limits)
        try writer.work(through: ChangeStream(changes, schema: parent.schema, table: table))
        return try writer.finish()
    }

    // MARK: Dividing the work

    private func work(through changes: ChangeStream) throws {
        var changes = changes
        let editor = SliceEditor(parent.schema, pool: parent.pool)
        let pipeline = OrderedPipeline<Step, Outcome>(
            threads: 2, capacity: 8,
            transform: { [parent] step in
                switch step {
                case .keep(let block): return .keep(block)
                case .endBlock(let block): return .endBlock(block)
                case .edit(let part):
                    let slice = try parent.slice(part.slice, of: part.block)
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
            guard try changes.hasKey(before: upper) else {
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
                        block: block, slice: slice, changes: rows, isTableEnd: end == nil,
                        isFirst: isFirst, isLast: isLast)
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
            if part.isFirst { open = OpenSlice(slice, limits: limits) }
            try record(edited, part.changes)
            for (page, gain, loss) in edited.pages {
                try open!.slice.pages[page].replace(loss, by: gain)
                let sums = open!.slice.pages[page]
                if sums.edits > sums.baseRows + UInt64(maxPageEdits) {
                    throw ResetAdvised(reason: "many rows were inserted at one place")
                }
            }
            open!.tailSums += edited.tailGain
            result.contentHash += edited.hash
            if part.isLast { slices += try open!.finish(run) }
            try files.progress(rows: 0)
        }
    }

    private func record(_ edited: EditedPart, _ changes: [ChangeRows]) throws {
        for (index, change) in edited.changes.enumerated() {
            switch change.operation {
            case .insert: result.inserted += 1
            case .update: result.updated += 1
            case .delete: result.deleted += 1
            }
            if index >= edited.tail, !open!.hasTail {
                run.beginSlices()
                open!.hasTail = true
            }
            let row = try run.append(
                changes[change.source].batch, change.row, operation: change.operation)
            var splice = change.splice
            splice.edit?.row = row
            if index < edited.tail { open!.splicer.put(splice) } else { open!.append(splice) }
        }
    }

    private func endBlock(_ block: BlockDescriptor) throws {
        if changed == changedBefore {
            unchanged.append(block)
        } else {
            for block in unchanged { try builder.append(block) }
            unchanged = []
            for slice in slices { try builder.append(slice) }
            try builder.endBlock()
        }
        slices = []
        changedBefore = changed
    }

    private func finish() throws -> TableResult? {
        if changed == 0 { return nil }
        for block in unchanged { try builder.append(block) }
        try run.finish()
        let (snapshot, sums) = try builder.finish()
        if sums.pages.edits > UInt64(limits.pageRows),
            sums.pages.edits * 100 > sums.pages.rows * UInt64(limits.resetPercent)
        {
            throw ResetAdvised(
                reason: "\(sums.pages.edits) of \(sums.pages.rows) rows differ from the base")
        }
        result.snapshot = snapshot
        result.sums = sums.pages
        result.csvBytes = sums.pages.csvBytes + UInt64(CSVRenderer(parent.schema).header.count)
        return result
    }
}

/// A slice whose changes are being put in.
private struct OpenSlice {
    var slice: Slice
    var splicer: EditSplicer
    private let limits: FormatLimits
    /// New rows behind everything that the table had: edits while they are few, slices of their own
    /// when they are many, so that a growing table doesn't pile up in one page.
    private var tail: [Splice] = []
    var hasTail = false
    var tailSums = PageSums()

    init(_ slice: Slice, limits: FormatLimits) {
        self.slice = slice
        self.limits = limits
        splicer = EditSplicer(slice.edits)
    }

    /// Takes a row behind all others.
    mutating func append(_ splice: Splice) {
        if tail.count < limits.appendedSliceRows { tail.append(splice) }
    }

    /// The slice as it is now, and those behind it.
    mutating func finish(_ run: RunWriter) throws -> [Slice] {
        var appended: [Slice] = []
        if hasTail {
            appended = try run.endSlices()
            // Also when few rows were appended at each of many points: edits don't pile up in a page.
            let last = slice.pages.count - 1
            let limit = UInt64(limits.appendedSliceRows)
            if tailSums.rows < limit, slice.pages[last].edits + tailSums.rows <= limit {
                for splice in tail { splicer.put(splice) }
                slice.pages[last] += tailSums
                appended = []
            }
        }
        slice.edits = splicer.finish()
        return [slice] + appended
    }
}
