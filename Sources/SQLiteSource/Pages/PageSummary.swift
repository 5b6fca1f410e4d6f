import Bytes

/// What is kept of a page: enough to walk tables later and to tell, block by block, whether their
/// rows are what they were.
///
/// A *block* is some consecutive rows of a table, about `PageRules.blockRows` of them. Where one
/// begins depends on nothing but the row it begins with: in a rowid table on the rowid, in a WITHOUT
/// ROWID table on the row's content. So the blocks stay the same wherever rows lie. A *segment* is a
/// block, or what one page holds of it. Its sum, modulo 2¹²⁸, is over the hashes of its rows; of rows
/// that go on in overflow pages the hash of what lies here is kept aside until the walk.
/// ```
/// record     u8 kind, then as it says:
/// other      u32 next page | u128 hash               overflow pages look so; also what is anything else
/// leaf       u16 segments | segment …
/// interior   u16 cells | u32 rightmost child | (u32 child | segment of one row if an index's) …
/// segment    u8 flags | u16 rows | u16 overflowing | key first | key last | u128 sum
///            | (u128 hash | u32 first page | u32 pages) …
/// key        i64 of rowid tables; u16 bytes | bytes of others: as `RecordKey` says
/// ```
/// The numbers are the machine's own: nothing of this outlives the process.
struct PageSummary {
    enum Kind: UInt8 {
        case other, tableLeaf, tableInterior, indexLeaf, indexInterior
    }

    enum Flags {
        /// A block begins here.
        static let starts: UInt8 = 1
    }

    private let hash: KeyedHash
    private let rules: PageRules
    /// The most columns that a key of a WITHOUT ROWID table has; 0: index pages tell nothing.
    private let keyColumns: Int

    init(hash: KeyedHash, rules: PageRules, keyColumns: Int) {
        self.hash = hash
        self.rules = rules
        self.keyColumns = keyColumns
    }

    /// Adds the record of a page; never of page 1, which holds no rows of tables.
    func add(_ page: PageBytes, number: Int, to log: PageLog) throws {
        let bytes: Int?
        switch page.kind {
        case PageBytes.Kind.tableLeaf: bytes = try tableLeaf(page, log)
        case PageBytes.Kind.tableInterior: bytes = try tableInterior(page, log)
        case PageBytes.Kind.indexLeaf where keyColumns > 0: bytes = try indexLeaf(page, log)
        case PageBytes.Kind.indexInterior where keyColumns > 0:
            bytes = try indexInterior(page, log)
        default: bytes = nil
        }
        try log.end(bytes ?? other(page, log), page: number)
    }

    private func other(_ page: PageBytes, _ log: PageLog) throws -> Int {
        var record = RecordWriter(try log.begin(32))
        record.append(Kind.other.rawValue)
        record.append(page.u32(0) ?? 0)
        record.append(hash(page[4..<page.count]))
        return record.count
    }

    // MARK: Rowid tables

    private static let rowSegmentBytes = 1 + 2 + 2 + 8 + 8 + 16
    private static let overflowBytes = 16 + 4 + 4

    private func tableLeaf(_ page: PageBytes, _ log: PageLog) throws -> Int? {
        guard let cells = page.cells(headerBytes: 8) else { return nil }
        let most = 3 + cells.count * (Self.rowSegmentBytes + Self.overflowBytes)
        var record = RecordWriter(try log.begin(most))
        record.append(Kind.tableLeaf.rawValue)
        record.append(UInt16(0))
        var segments: UInt16 = 0
        var segment = OpenSegment()
        var last = Int64.min
        for cell in 0..<cells.count {
            guard let start = page.start(of: cell, cells),
                let (size, rowStart) = page.varint(start),
                let (bits, body) = page.varint(rowStart),
                let payload = page.payload(size: size, cell: start, body: body, isTable: true)
            else { return nil }
            let rowID = Int64(bitPattern: bits)
            if cell > 0, rowID <= last { return nil }
            let starts = rules.startsBlock(rowID: rowID)
            if cell == 0 || starts {
                segment.end(&record)
                segments += 1
                segment.begin(&record, starts: starts)
                record.append(rowID)
                segment.lastOffset = record.count
                record.append(rowID)
                segment.beginSum(&record)
            }
            last = rowID
            record.replace(at: segment.lastOffset, with: rowID)
            segment.add(hash(page[payload.range]), payload, &record)
        }
        segment.end(&record)
        record.replace(at: 1, with: segments)
        return record.count
    }

    private func tableInterior(_ page: PageBytes, _ log: PageLog) throws -> Int? {
        guard let cells = page.cells(headerBytes: 12), let rightmost = page.u32(8) else {
            return nil
        }
        var record = RecordWriter(try log.begin(7 + cells.count * 4))
        record.append(Kind.tableInterior.rawValue)
        record.append(UInt16(truncatingIfNeeded: cells.count))
        record.append(rightmost)
        for cell in 0..<cells.count {
            guard let start = page.start(of: cell, cells), let child = page.u32(start) else {
                return nil
            }
            record.append(child)
        }
        return record.count
    }

    // MARK: WITHOUT ROWID tables, and indexes

    private static let keySegmentBytes = 1 + 2 + 2 + 2 + 2 + 16

    private func indexLeaf(_ page: PageBytes, _ log: PageLog) throws -> Int? {
        guard let cells = page.cells(headerBytes: 8) else { return nil }
        var record = RecordWriter(try log.begin(indexRecordBytes(page, cells)))
        record.append(Kind.indexLeaf.rawValue)
        record.append(UInt16(0))
        var segments: UInt16 = 0
        var row: IndexRow?
        var segment = OpenSegment()
        var previous: IndexRow?
        for cell in 0..<cells.count {
            guard let start = page.start(of: cell, cells) else { return nil }
            row = indexRow(page, start)
            guard let row else { return nil }
            if cell == 0 || row.starts {
                close(&segment, last: previous, page, &record)
                segments += 1
                open(&segment, row, page, &record)
            }
            segment.hold(row.hash, row.payload)
            previous = row
        }
        close(&segment, last: previous, page, &record)
        record.replace(at: 1, with: segments)
        return record.count
    }

    private func indexInterior(_ page: PageBytes, _ log: PageLog) throws -> Int? {
        guard let cells = page.cells(headerBytes: 12), let rightmost = page.u32(8) else {
            return nil
        }
        var record = RecordWriter(
            try log.begin(indexRecordBytes(page, cells) + 4 + 4 * cells.count))
        record.append(Kind.indexInterior.rawValue)
        record.append(UInt16(truncatingIfNeeded: cells.count))
        record.append(rightmost)
        for cell in 0..<cells.count {
            guard let start = page.start(of: cell, cells), let child = page.u32(start),
                let row = indexRow(page, start + 4)
            else { return nil }
            record.append(child)
            var segment = OpenSegment()
            open(&segment, row, page, &record)
            segment.hold(rules.countsInteriorRows ? row.hash : 0, row.payload)
            close(&segment, last: row, page, &record)
        }
        return record.count
    }

    private func indexRecordBytes(_ page: PageBytes, _ cells: PageBytes.Cells) -> Int {
        // Keys twice, and of each the number of its columns.
        3 + 2 * page.count + cells.count * (Self.keySegmentBytes + Self.overflowBytes + 2)
    }

    private struct IndexRow {
        var payload: PageBytes.Payload
        /// Where the record begins.
        var body: Int
        var hash: UInt128
        var starts: Bool
    }

    /// The row whose cell begins at `start`; the child page of an interior cell lies before it.
    private func indexRow(_ page: PageBytes, _ start: Int) -> IndexRow? {
        guard let (size, body) = page.varint(start),
            let payload = page.payload(size: size, cell: start, body: body, isTable: false)
        else { return nil }
        let hash = hash(page[payload.range])
        return IndexRow(
            payload: payload, body: body, hash: hash, starts: rules.startsBlock(hash: hash))
    }

    private func open(
        _ segment: inout OpenSegment, _ row: IndexRow, _ page: PageBytes,
        _ record: inout RecordWriter
    ) {
        segment.begin(&record, starts: row.starts)
        appendKey(row, page, &record)
    }

    private func close(
        _ segment: inout OpenSegment, last: IndexRow?, _ page: PageBytes,
        _ record: inout RecordWriter
    ) {
        guard segment.isOpen, let last else { return }
        appendKey(last, page, &record)
        segment.beginSum(&record)
        segment.release(&record)
        segment.end(&record)
    }

    private func appendKey(
        _ row: IndexRow, _ page: PageBytes, _ record: inout RecordWriter
    ) {
        let size = record.count
        record.append(UInt16(0))
        let end = row.payload.range.upperBound
        RecordKey.append(page[row.body..<end], columns: keyColumns, to: &record)
        record.replace(at: size, with: UInt16(truncatingIfNeeded: record.count - size - 2))
    }

    // MARK: Segments

    /// A segment that is being written.
    private struct OpenSegment {
        private(set) var isOpen = false
        private var rowsOffset = 0
        private var rows: UInt16 = 0
        private var overflowing: UInt16 = 0
        private var sumOffset = 0
        private var sum: UInt128 = 0
        /// Those whose place in the record isn't known before the last key.
        private var held: [(UInt128, PageBytes.Payload)] = []
        /// Of a rowid table's segment.
        var lastOffset = 0

        mutating func begin(_ record: inout RecordWriter, starts: Bool) {
            isOpen = true
            rows = 0
            overflowing = 0
            sum = 0
            record.append(starts ? Flags.starts : 0)
            rowsOffset = record.count
            record.append(UInt32(0))
        }

        mutating func beginSum(_ record: inout RecordWriter) {
            sumOffset = record.count
            record.append(UInt128(0))
        }

        @inline(__always)
        mutating func add(
            _ hash: UInt128, _ payload: PageBytes.Payload, _ record: inout RecordWriter
        ) {
            rows += 1
            if payload.overflow == 0 { sum &+= hash } else { append(hash, payload, &record) }
        }

        private mutating func append(
            _ hash: UInt128, _ payload: PageBytes.Payload, _ record: inout RecordWriter
        ) {
            overflowing += 1
            record.append(hash)
            record.append(payload.overflow)
            record.append(payload.overflowPages)
        }

        mutating func hold(_ hash: UInt128, _ payload: PageBytes.Payload) {
            rows += 1
            if payload.overflow == 0 { sum &+= hash } else { held.append((hash, payload)) }
        }

        mutating func release(_ record: inout RecordWriter) {
            for (hash, payload) in held { append(hash, payload, &record) }
            held.removeAll(keepingCapacity: true)
        }

        mutating func end(_ record: inout RecordWriter) {
            guard isOpen else { return }
            isOpen = false
            record.replace(at: rowsOffset, with: rows)
            record.replace(at: rowsOffset + 2, with: overflowing)
            record.replace(at: sumOffset, with: sum)
        }
    }
}

/// Writes a record into room that is known to be large enough.
struct RecordWriter {
    private let base: UnsafeMutableRawPointer
    private(set) var count = 0

    init(_ base: UnsafeMutableRawPointer) { self.base = base }

    @inline(__always)
    mutating func append<T: BitwiseCopyable>(_ value: T) {
        base.storeBytes(of: value, toByteOffset: count, as: T.self)
        count += MemoryLayout<T>.size
    }

    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress else { return }
        (base + count).copyMemory(from: source, byteCount: bytes.count)
        count += bytes.count
    }

    @inline(__always)
    func replace<T: BitwiseCopyable>(at offset: Int, with value: T) {
        base.storeBytes(of: value, toByteOffset: offset, as: T.self)
    }
}
