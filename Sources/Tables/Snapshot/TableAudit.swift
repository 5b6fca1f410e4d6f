import Bytes

/// Something in a snapshot that isn't as recorded, and the rows that it concerns: those with keys
/// between two others.
package struct TableFault: Sendable, Hashable {
    /// Names the file.
    package var message: String
    /// The key of the last right row before, as CSV; nil: there is none.
    package var after: String?
    /// The key of the first right row behind.
    package var before: String?
}

/// Merges whole snapshots of one table, and compares what they come to with what their indexes say:
/// rows, NULLs and bytes of every page, slice and block, and the order of keys.
///
/// Snapshots of a table share most of their slices. A slice that is the same as in the snapshot
/// before isn't read again.
package final class TableAudit {
    package struct Outcome: Sendable {
        package var rows: UInt64 = 0
        /// Bytes of the table's files, by format.
        package var sizes: [String: UInt64] = [:]
        package var contentHash = ContentHash()
        package var faults: [TableFault] = []
    }

    private enum Step: Sendable {
        case beginBlock(index: String, lacking: Set<SizedFormat>)
        /// With the sums that its block has of it.
        case read(Slice, SliceSums, number: Int, BlockReference)
        case slice(Slice, SliceSums, [PageFinding])
        case fault(String)
        case endBlock(SliceSums, lacking: Set<SizedFormat>)
    }

    private let pool: FilePool
    private let progress: (UInt64) throws -> Void
    private var schema: TableSchema?
    /// By slice, what was found in the snapshot before.
    private var known: [SliceIdentity: [PageFinding]] = [:]

    /// `progress` is told of rows as they are done with; it may throw to end the audit.
    package init(_ pool: FilePool, progress: @escaping (UInt64) throws -> Void) {
        self.pool = pool
        self.progress = progress
    }

    /// Throws only what `progress` throws: damage is in the outcome.
    package func audit(_ root: BlockReference, schema: TableSchema) throws -> Outcome {
        if self.schema != schema { known = [:] }
        self.schema = schema
        var found: [SliceIdentity: [PageFinding]] = [:]
        let summary = Summary(schema)
        let auditor = SliceAuditor(schema, pool: pool)
        let pipeline = OrderedPipeline<Step, Step>(
            threads: 2, capacity: 4,
            transform: { step in
                guard case .read(let slice, let sums, let number, let block) = step else {
                    return step
                }
                return .slice(slice, sums, auditor.audit(slice, number, of: block))
            },
            consume: { [progress] step in
                switch step {
                case .read: return
                case .beginBlock(let index, let lacking):
                    summary.index = index
                    summary.lacking = lacking
                case .slice(let slice, let sums, let pages):
                    found[SliceIdentity(slice)] = pages
                    summary.add(slice, sums, pages)
                    try progress(slice.sums.rows)
                case .fault(let message): summary.fail(message)
                case .endBlock(let recorded, let lacking): summary.endBlock(recorded, lacking)
                }
            })
        defer { pipeline.close() }
        try submit(root, schema, to: pipeline)
        try pipeline.finish()
        known = found
        return summary.finish()
    }

    private func submit(
        _ root: BlockReference, _ schema: TableSchema, to pipeline: OrderedPipeline<Step, Step>
    ) throws {
        let top: SnapshotRoot
        do {
            top = try pool.root(root, schema: schema)
        } catch {
            return try pipeline.submit(.fault(Self.message(error)))
        }
        let blocks = top.blocks
        if !blocks[0].lowerBound.isEmpty {
            try pipeline.submit(.fault("a snapshot doesn't begin with the first key"))
        }
        for block in blocks {
            do {
                let content = try pool.block(block.reference, schema: schema)
                let index = try pool.name(block.reference.file)
                guard content.lacking.isSubset(of: top.lacking) else {
                    throw Failure(.corrupt, "index \(index) lacks sizes that the snapshot has")
                }
                try pipeline.submit(.beginBlock(index: index, lacking: content.lacking))
                for index in content.slices.indices {
                    try pipeline.submit(step(index, of: content, block, schema))
                }
                try pipeline.submit(.endBlock(block.sums, lacking: top.lacking))
            } catch let failure as Failure where failure.code == .corrupt {
                try pipeline.submit(.fault(failure.message))
            }
        }
    }

    private func step(
        _ index: Int, of content: IndexBlock, _ block: BlockDescriptor, _ schema: TableSchema
    ) -> Step {
        do {
            let slice = try content.slice(index)
            if index == 0, slice.lowerBound != block.lowerBound {
                return .fault("a block doesn't begin where the snapshot says")
            }
            let sums = content.slices[index].sums
            if let pages = known[SliceIdentity(slice)] { return .slice(slice, sums, pages) }
            return .read(slice, sums, number: index, block.reference)
        } catch {
            return .fault(Self.message(error))
        }
    }

    fileprivate static func message(_ error: any Error) -> String {
        (error as? Failure)?.message ?? "\(error)"
    }
}

/// Keys as people read them: the columns of the declared key as CSV, or of the storage key where
/// none is declared.
package struct KeyText: Sendable {
    private let key: [Int]
    private let renderer: CSVRenderer

    package init(_ schema: TableSchema) {
        key = schema.primaryKey.isEmpty ? schema.key : schema.primaryKey
        var columns = schema
        columns.columns = key.map { index in
            var column = schema.columns[index]
            column.isHidden = false
            return column
        }
        renderer = CSVRenderer(columns)
    }

    package func text(of rows: RowBatch, _ row: Int) -> String {
        let line = ByteBuffer(capacity: 64)
        renderer.render(RowBatch(columns: key.map { rows.columns[$0] }), row..<row + 1, into: line)
        return String(decoding: line.array.dropLast(), as: UTF8.self)
    }
}

/// A rendered page as it was counted anew.
private struct PageFinding: Sendable {
    /// A key, to compare and to show.
    struct Key: Sendable {
        var normalized: [UInt8]
        var text: String
    }

    var sums = PageSums()
    var hash = ContentHash()
    /// Keys of its first and its last row, if it has rows.
    var first: Key?
    var last: Key?
    /// Why it can't be read; the rest says nothing then.
    var failure: String?
}

/// Merges the pages of slices. Used by several threads.
private struct SliceAuditor: Sendable {
    private let schema: TableSchema
    private let pool: FilePool
    private let measure: RowMeasure
    private let hasher: RowHasher
    private let keyTexts: KeyText

    init(_ schema: TableSchema, pool: FilePool) {
        self.schema = schema
        self.pool = pool
        measure = RowMeasure(schema)
        hasher = RowHasher(schema)
        keyTexts = KeyText(schema)
    }

    func audit(_ bare: Slice, _ index: Int, of block: BlockReference) -> [PageFinding] {
        do {
            let slice = try pool.slice(block, index, schema: schema).slice
            return slice.pages.indices.map { audit(page: $0, of: slice) }
        } catch {
            var finding = PageFinding()
            finding.failure = TableAudit.message(error)
            return bare.pages.map { _ in finding }
        }
    }

    private func audit(page: Int, of slice: Slice) -> PageFinding {
        var finding = PageFinding()
        do {
            let reader = SliceReader(slice, schema: schema, pool: pool, isSequential: true)
            let merged = try reader.merged(page: page)
            if slice.pages[page].isLarge {
                var rows = PageRows(merged, schema, pool)
                while let some = try rows.next() { try add(some, to: &finding) }
            } else {
                try add(merged.rows(schema, pool), to: &finding)
            }
            finding.sums.baseRows = UInt64(slice.positions(ofPage: page).count)
            finding.sums.edits = UInt64(slice.edits(ofPage: page).count)
        } catch {
            finding.failure = TableAudit.message(error)
        }
        return finding
    }

    private func add(_ rows: RowBatch, to finding: inout PageFinding) throws {
        if rows.count == 0 { return }
        let keys = KeyList(rows, schema: schema)
        guard keys.isIncreasing(after: finding.last?.normalized) else {
            throw Failure(.corrupt, "rows of a page are out of key order")
        }
        measure.add(rows, 0..<rows.count, to: &finding.sums)
        finding.hash += hasher.hash(rows)
        finding.first = finding.first ?? key(0, of: rows, keys)
        finding.last = key(rows.count - 1, of: rows, keys)
    }

    private func key(_ row: Int, of rows: RowBatch, _ keys: KeyList) -> PageFinding.Key {
        PageFinding.Key(normalized: keys[row], text: keyTexts.text(of: rows, row))
    }
}

/// What a snapshot comes to, page by page in key order, and where that isn't what is recorded.
private final class Summary {
    private let schema: TableSchema
    private let measure: RowMeasure
    private var outcome = TableAudit.Outcome()
    private var totals = SliceSums()
    /// Of the present block, and whether all of it could be read.
    private var block = SliceSums()
    private var isBlockWhole = true
    /// The last key so far.
    private var last: PageFinding.Key?
    /// The faults from this one on don't know yet which row comes behind them.
    private var open = 0

    /// More than a reader wants to see of one table.
    private static let maxFaults = 100

    /// Name of the index that has the present block, and what that doesn't record.
    var index = ""
    var lacking: Set<SizedFormat> = []

    init(_ schema: TableSchema) {
        self.schema = schema
        measure = RowMeasure(schema)
    }

    /// The index says what isn't so of something behind the last key.
    private func contradict(_ message: String) { fail("index \(index): \(message)") }

    /// Something behind the last key is wrong.
    func fail(_ message: String) {
        isBlockWhole = false
        let faults = outcome.faults
        if faults.count > open, faults.last?.message == message { return }
        if faults.count >= Self.maxFaults { return }
        outcome.faults.append(TableFault(message: message, after: last?.text))
    }

    private func meet(_ key: PageFinding.Key) {
        for index in open..<outcome.faults.count { outcome.faults[index].before = key.text }
        open = outcome.faults.count
    }

    func add(_ slice: Slice, _ sums: SliceSums, _ pages: [PageFinding]) {
        if measure.sums(ofSlice: slice.pages).filled(schema, lacking)
            != sums.filled(schema, lacking)
        {
            contradict("the sums of a slice aren't those of its pages")
        }
        if let last, !isBefore(last.normalized, slice.lowerBound) {
            contradict("rows before \(last.text) lie in a slice of later keys")
        }
        var isFirst = true
        for (page, recorded) in zip(pages, slice.pages) {
            if let failure = page.failure {
                fail(failure)
                continue
            }
            if let first = page.first {
                meet(first)
                let bound = isFirst ? slice.lowerBound : last?.normalized ?? []
                let isBehind =
                    isFirst
                    ? !isBefore(first.normalized, bound) : isBefore(bound, first.normalized)
                if !isBehind { contradict("rows from \(first.text) on are out of key order") }
                isFirst = false
            }
            if page.sums.filled(schema, lacking) != recorded.filled(schema, lacking) {
                contradict(Self.difference(page.sums, recorded))
            }
            outcome.contentHash += page.hash
            last = page.last ?? last
        }
        block += measure.sums(ofSlice: pages.map(\.sums))
    }

    private static func difference(_ found: PageSums, _ recorded: PageSums) -> String {
        "a page has \(found.rows) rows, \(found.csvBytes) bytes of CSV, "
            + "\(found.columns.reduce(0) { $0 + $1.nulls }) NULLs and \(found.edits) edits where "
            + "\(recorded.rows), \(recorded.csvBytes), "
            + "\(recorded.columns.reduce(0) { $0 + $1.nulls }) and \(recorded.edits) are recorded, "
            + "or other bytes of its values"
    }

    func endBlock(_ recorded: SliceSums, _ lacking: Set<SizedFormat>) {
        if isBlockWhole, block.filled(schema, lacking) != recorded.filled(schema, lacking) {
            contradict("the sums of a block aren't those of its slices")
        }
        totals += block
        block = SliceSums()
        isBlockWhole = true
    }

    func finish() -> TableAudit.Outcome {
        let totals = totals.filled(schema, [])
        outcome.rows = totals.pages.rows
        outcome.sizes = RowFormat.sizes(totals, schema)
        return outcome
    }
}

extension PageSums {
    /// With a number for each column, and without those that an index lacks, so that equal sums are
    /// equal.
    fileprivate func filled(_ schema: TableSchema, _ lacking: Set<SizedFormat>) -> PageSums {
        var sums = self
        sums.fill(schema.visibleColumns.count)
        if lacking.contains(.csv) { sums.csvBytes = 0 }
        if lacking.contains(.dump) { (sums.dumpBytes, sums.rowIDBytes) = (0, 0) }
        return sums
    }
}

extension SliceSums {
    fileprivate func filled(_ schema: TableSchema, _ lacking: Set<SizedFormat>) -> SliceSums {
        var sums = self
        if lacking.contains(.parquet) { sums.parquetBytes = [] }
        sums.fill(schema.visibleColumns.count)
        sums.pages = sums.pages.filled(schema, lacking)
        return sums
    }
}
