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
package final class IncrementalWriter {
    private let parent: Snapshot
    private let schema: TableSchema
    private let files: any FileFactory
    private let limits: FormatLimits
    private let builder: SnapshotBuilder
    private let run: RunWriter
    private let hasher: RowHasher
    private let measure: RowMeasure
    private var changes: ChangeStream
    private var result: TableResult
    private var changed: UInt64 { result.inserted + result.updated + result.deleted }
    /// Inserts at one page above which the table is carried whole.
    private var maxPageEdits: Int { max(8 * limits.pageRows, 64) }

    private init(
        _ parent: Snapshot, hash: ContentHash, changes: any ChangeCursor, table: String,
        files: any FileFactory, limits: FormatLimits
    ) throws {
        self.parent = parent
        schema = parent.schema
        self.files = files
        self.limits = limits
        builder = SnapshotBuilder(files, schema: schema, limits: limits)
        run = RunWriter(schema: schema, table: table, files: files, limits: limits)
        hasher = RowHasher(schema)
        measure = RowMeasure(schema)
        self.changes = ChangeStream(changes, schema: schema, table: table)
        result = TableResult(
            snapshot: BlockReference(file: 0, offset: 0, length: 0, hash: 0), sums: PageSums(),
            csvBytes: 0, parquetBytes: 0, contentHash: hash)
    }

    /// Answers nil if nothing changed; nothing was written then. Throws `ResetAdvised` if the table
    /// should be carried whole; what was written is of no use then.
    package static func write(
        parent: Snapshot, hash: ContentHash, changes: any ChangeCursor, table: String,
        files: any FileFactory, limits: FormatLimits
    ) throws -> TableResult? {
        let writer = try IncrementalWriter(
            parent, hash: hash, changes: changes, table: table, files: files, limits: limits)
        return try writer.write()
    }

    private func write() throws -> TableResult? {
        let blocks = try parent.root().blocks
        // Taken over once something follows that did change: nothing is written for nothing.
        var unchanged: [BlockDescriptor] = []
        for (index, block) in blocks.enumerated() {
            let upper = index + 1 < blocks.count ? blocks[index + 1].lowerBound : nil
            guard try changes.hasKey(before: upper) else {
                unchanged.append(block)
                continue
            }
            let before = changed
            var edited: [Slice] = []
            let slices = try parent.slices(ofBlock: block)
            for (number, slice) in slices.enumerated() {
                let end = number + 1 < slices.count ? slices[number + 1].lowerBound : upper
                edited += try changes.hasKey(before: end) ? edit(slice, upper: end) : [slice]
            }
            if changed == before {
                unchanged.append(block)
                continue
            }
            for block in unchanged { try builder.append(block) }
            unchanged = []
            for slice in edited { try builder.append(slice) }
            try builder.endBlock()
        }
        if changed == 0 { return nil }
        for block in unchanged { try builder.append(block) }
        try run.finish()
        let (snapshot, totals) = try builder.finish()
        let sums = totals.pages
        if sums.edits > UInt64(limits.pageRows),
            sums.edits * 100 > sums.rows * UInt64(limits.resetPercent)
        {
            throw ResetAdvised(reason: "\(sums.edits) of \(sums.rows) rows differ from the base")
        }
        result.snapshot = snapshot
        result.sums = sums
        result.csvBytes = CSVFile.bytes(totals, schema)
        result.parquetBytes = ParquetFile.bytes(totals, schema)
        return result
    }

    // MARK: One slice

    /// Applies the changes of a slice's key range; more slices than one if rows were appended.
    private func edit(_ slice: Slice, upper: [UInt8]?) throws -> [Slice] {
        var base = try BaseRows(slice, schema: schema, pool: parent.pool)
        var reader = SliceReader(slice, schema: schema, pool: parent.pool)
        var walker = EditWalker(slice.edits)
        var edited = slice
        var tail = AppendedRows(measure, limits: limits)
        while let change = try changes.next(before: upper) {
            let (position, hit) = try base.position(of: change.key)
            let found = try walker.seek(position: UInt32(position), hitsBase: hit) { row in
                let (batch, index) = try reader.row(row)
                let key = NormalizedKey.of(batch, row: index, schema: schema)
                return isBefore(key, change.key) ? -1 : key == change.key ? 0 : 1
            }
            let old: (batch: RowBatch, index: Int)? =
                switch found?.kind {
                case .delete: nil
                case .replace, .insert: try reader.row(found!.row)
                case nil: hit ? try base.row(at: position) : nil
                }
            if isSame(old, change) {
                walker.keep()
                continue
            }
            let address = try record(change, old: old)
            account(change, old: old)
            let isTail = upper == nil && position == slice.count && !hit && walker.isAtEnd
            if isTail, change.isPresent {
                tail.append(change, at: address)
                continue
            }
            let outcome = EditWalker.outcome(
                position: UInt32(position), hitsBase: hit,
                row: change.isPresent ? address.row : nil)
            let page = slice.page(ofPosition: position)
            if let old { try measure.subtract(old.batch, old.index, from: &edited.pages[page]) }
            if change.isPresent {
                measure.add(change.batch, change.index, to: &edited.pages[page])
            }
            if outcome != nil { edited.pages[page].edits += 1 }
            if found != nil {
                guard edited.pages[page].edits > 0 else {
                    throw Failure(.corrupt, "the sums of a snapshot contradict its edits")
                }
                edited.pages[page].edits -= 1
            }
            if let outcome { walker.put(outcome) } else { walker.remove() }
            if edited.pages[page].edits > slice.pages[page].baseRows + UInt64(maxPageEdits) {
                throw ResetAdvised(reason: "many rows were inserted at one place")
            }
        }
        edited.edits = walker.finish()
        let appended = tail.finish(into: &edited)
        return [edited] + appended
    }

    private func isSame(_ old: (batch: RowBatch, index: Int)?, _ change: ChangeStream.Change)
        -> Bool
    {
        guard let old else { return !change.isPresent }
        return change.isPresent
            && RowBatch.identical(old.batch, old.index, change.batch, change.index)
    }

    private func record(
        _ change: ChangeStream.Change, old: (batch: RowBatch, index: Int)?
    ) throws -> RunWriter.Address {
        let operation: RunOperation =
            switch (old != nil, change.isPresent) {
            case (false, _): .insert
            case (true, true): .update
            case (true, false): .delete
            }
        switch operation {
        case .insert: result.inserted += 1
        case .update: result.updated += 1
        case .delete: result.deleted += 1
        }
        return try run.append(
            change.batch, change.index, key: change.key, operation: operation)
    }

    /// Keeps up the content hash.
    private func account(_ change: ChangeStream.Change, old: (batch: RowBatch, index: Int)?) {
        if let old {
            result.contentHash = result.contentHash - hasher.hash(old.batch, row: old.index)
        }
        if change.isPresent {
            result.contentHash += hasher.hash(change.batch, row: change.index)
        }
    }
}

/// Changed keys one by one, with their order checked.
struct ChangeStream {
    struct Change {
        var key: [UInt8]
        var isPresent: Bool
        var batch: RowBatch
        var index: Int
    }

    private let cursor: any ChangeCursor
    private let schema: TableSchema
    private let table: String
    private var batch: RowBatch
    private var present: [Bool] = []
    private var index = 0
    private var isDone = false
    private var head: Change?
    private var lastKey: [UInt8]?

    init(_ cursor: any ChangeCursor, schema: TableSchema, table: String) {
        self.cursor = cursor
        self.schema = schema
        self.table = table
        batch = RowBatch(schema)
    }

    /// True if there is a change left with a key before `bound` (nil: any key).
    mutating func hasKey(before bound: [UInt8]?) throws -> Bool {
        if head == nil { try advance() }
        guard let head else { return false }
        return bound.map { isBefore(head.key, $0) } ?? true
    }

    mutating func next(before bound: [UInt8]?) throws -> Change? {
        guard try hasKey(before: bound) else { return nil }
        defer { head = nil }
        return head
    }

    private mutating func advance() throws {
        if index == batch.count {
            if isDone { return }
            batch = RowBatch(schema)
            present = []
            index = 0
            while batch.count == 0, !isDone {
                isDone = try !cursor.next(
                    into: batch, present: &present, maxRows: 2048, maxBytes: 1 << 20)
            }
            guard present.count == batch.count else {
                preconditionFailure("a source's change cursor forgot to say what is present")
            }
            if batch.count == 0 { return }
        }
        let key = NormalizedKey.of(batch, row: index, schema: schema)
        if let lastKey, !isBefore(lastKey, key) {
            throw Failure(.corrupt, "\(table): the source gave changes out of key order")
        }
        lastKey = key
        head = Change(key: key, isPresent: present[index], batch: batch, index: index)
        index += 1
    }
}

/// Finds keys among the base rows of a slice, dead ones included. Decodes a page only when a key
/// falls into it, or to find the page.
struct BaseRows {
    private let slice: Slice
    private let schema: TableSchema
    /// The key columns alone: what finding a page needs.
    private let keySchema: TableSchema
    private var reader: SliceReader
    private var keyReader: SliceReader
    /// Keys of the pages that were looked at; a slice has few pages.
    private var keys: [Int: (list: KeyList, rows: Range<Int>)] = [:]
    /// The page that the last key was in: most often the next one is in it too, or close behind.
    private var lastPage = 0
    private var current: (page: Int, batch: RowBatch, rows: Range<Int>)?

    init(_ slice: Slice, schema: TableSchema, pool: FilePool) throws {
        self.slice = slice
        self.schema = schema
        keySchema = try TableSchema(
            columns: schema.key.map { schema.columns[$0] }, key: Array(schema.key.indices))
        reader = SliceReader(slice, schema: schema, pool: pool)
        keyReader = SliceReader(slice, schema: keySchema, pool: pool)
    }

    private mutating func keys(ofPage page: Int) throws -> (list: KeyList, rows: Range<Int>) {
        if let known = keys[page] { return known }
        guard let (batch, rows) = try keyReader.base(ofPage: page) else {
            throw Failure(.corrupt, "a slice has an empty page")
        }
        let found = (list: KeyList(batch, schema: keySchema), rows: rows)
        keys[page] = found
        return found
    }

    /// Whether the page's first key is `key` or before it.
    private mutating func begins(_ page: Int, notAfter key: [UInt8]) throws -> Bool {
        let keys = try keys(ofPage: page)
        return keys.list.compare(keys.rows.lowerBound, key) <= 0
    }

    /// The page that holds `key`, or the place where it would be. Gallops from the last one.
    private mutating func page(of key: [UInt8]) throws -> Int {
        var low = try begins(lastPage, notAfter: key) ? lastPage : 0
        let keys = try keys(ofPage: low)
        if keys.list.compare(keys.rows.upperBound - 1, key) >= 0 { return low }
        var high = slice.pages.count
        var step = 1
        while low + step < high {
            if try begins(low + step, notAfter: key) {
                low += step
                step *= 2
            } else {
                high = low + step
            }
        }
        while high - low > 1 {
            let middle = (low + high) / 2
            if try begins(middle, notAfter: key) { low = middle } else { high = middle }
        }
        return low
    }

    /// The position of the first base row whose key isn't before `key`, and whether it is this key.
    mutating func position(of key: [UInt8]) throws -> (position: Int, hit: Bool) {
        if slice.count == 0 { return (0, false) }
        lastPage = try page(of: key)
        let (list, rows) = try keys(ofPage: lastPage)
        let index = min(list.lowerBound(key, from: rows.lowerBound), rows.upperBound)
        let position = slice.positions(ofPage: lastPage).lowerBound + index - rows.lowerBound
        return (position, index < rows.upperBound && list.compare(index, key) == 0)
    }

    /// The base row at a position that `position` just found.
    mutating func row(at position: Int) throws -> (batch: RowBatch, index: Int) {
        let page = slice.page(ofPosition: position)
        if current?.page != page {
            guard let (batch, rows) = try reader.base(ofPage: page) else {
                throw Failure(.corrupt, "a slice has an empty page")
            }
            current = (page, batch, rows)
        }
        let start = slice.positions(ofPage: page).lowerBound
        return (current!.batch, current!.rows.lowerBound + position - start)
    }
}

/// New rows behind everything that a table had: edits while they are few, slices of their own when
/// they are many, so that a growing table doesn't pile up in one page.
private struct AppendedRows {
    private let measure: RowMeasure
    private let limits: FormatLimits
    private var edits: [RunRow] = []
    private var rows = 0
    private var slices: [Slice] = []
    private var lastPage = -1

    init(_ measure: RowMeasure, limits: FormatLimits) {
        self.measure = measure
        self.limits = limits
    }

    mutating func append(_ change: ChangeStream.Change, at address: RunWriter.Address) {
        rows += 1
        if rows < limits.appendedSliceRows {
            edits.append(address.row)
        } else {
            edits = []
        }
        if slices.last?.file != address.row.file || slices.last?.rowGroup != address.rowGroup {
            slices.append(
                Slice(
                    file: address.row.file, rowGroup: address.rowGroup,
                    firstRow: address.rowInGroup, count: 0, lowerBound: change.key, pages: []))
            lastPage = -1
        }
        let last = slices.count - 1
        if address.page != lastPage {
            slices[last].pages.append(PageSums())
            lastPage = address.page
        }
        slices[last].count += 1
        let page = slices[last].pages.count - 1
        slices[last].pages[page].baseRows += 1
        measure.add(change.batch, change.index, to: &slices[last].pages[page])
    }

    /// Puts few rows into `slice` as inserts behind its last row; answers slices for many.
    func finish(into slice: inout Slice) -> [Slice] {
        if rows == 0 { return [] }
        // Also when few rows were appended at each of many points: edits don't pile up in a page.
        let last = slice.pages[slice.pages.count - 1]
        if rows >= limits.appendedSliceRows
            || last.edits + UInt64(rows) > UInt64(limits.appendedSliceRows)
        {
            return slices
        }
        slice.edits += edits.map { Edit(.insert, at: UInt32(slice.count), row: $0) }
        var sums = slices.reduce(into: PageSums()) { $0 += $1.sums }
        sums.baseRows = 0
        sums.edits = UInt64(rows)
        slice.pages[slice.pages.count - 1] += sums
        return []
    }
}
