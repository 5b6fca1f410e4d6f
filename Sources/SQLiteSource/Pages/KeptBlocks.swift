import Bytes

/// What an earlier cut kept (`Knowledge`), opened. Whatever is wrong with it throws, and then it is as if
/// there were none.
struct KeptKnowledge {
    let hash: KeyedHash
    let blockRows: UInt64
    private let file: any RandomAccess
    private var tables: [String: Knowledge.Table] = [:]

    /// Reads all but the blocks.
    init(_ file: any RandomAccess) throws {
        self.file = file
        let size = file.sizeBytes
        let (headerBytes, endBytes) = (Knowledge.headerBytes, Knowledge.endBytes)
        guard size >= UInt64(headerBytes + endBytes) else { throw Self.damage(file) }
        let header = ByteBuffer(capacity: headerBytes)
        try file.read(at: 0, count: headerBytes, into: header)
        let end = ByteBuffer(capacity: endBytes)
        try file.read(at: size - UInt64(endBytes), count: endBytes, into: end)
        let offset = UInt64(littleEndian: end.load(at: 0, as: UInt64.self))
        let entries = UInt64(littleEndian: end.load(at: 8, as: UInt64.self))
        guard Array(header.array[..<8]) == Knowledge.magic,
            UInt32(littleEndian: header.load(at: 8, as: UInt32.self)) == Knowledge.format,
            Array(end.array[24...]) == Knowledge.endMagic, offset >= UInt64(headerBytes),
            offset <= size - UInt64(endBytes)
        else { throw Self.damage(file) }
        blockRows = UInt64(UInt32(littleEndian: header.load(at: 12, as: UInt32.self)))
        hash = try KeyedHash(secret: Array(header.array[16...]))
        let directory = ByteBuffer()
        var checksum = header.withBytes { Knowledge.checksum(0, and: $0) }
        var at = offset
        while at < size - UInt64(endBytes) {
            let count = Int(min(UInt64(Knowledge.pieceBytes), size - UInt64(endBytes) - at))
            let start = directory.count
            try file.read(at: at, count: count, into: directory)
            checksum = directory.withBytes { Knowledge.checksum(checksum, and: $0.from(start)) }
            at += UInt64(count)
        }
        checksum = end.withBytes {
            Knowledge.checksum(checksum, and: UnsafeRawBufferPointer(rebasing: $0[..<16]))
        }
        guard checksum == UInt64(littleEndian: end.load(at: 16, as: UInt64.self)) else {
            throw Self.damage(file)
        }
        try readDirectory(directory, entries: entries, before: offset)
    }

    private mutating func readDirectory(
        _ directory: ByteBuffer, entries: UInt64, before end: UInt64
    ) throws {
        var at = 0
        for _ in 0..<entries {
            guard directory.count - at >= 4 else { throw Self.damage(file) }
            let length = Int(UInt32(littleEndian: directory.load(at: at, as: UInt32.self)))
            at += 4
            guard directory.count - at >= length + 56,
                let path = directory.text(at..<at + length)
            else { throw Self.damage(file) }
            at += length
            let fingerprint = UInt128(littleEndian: directory.load(at: at, as: UInt128.self))
            let numbers = (0..<5).map {
                UInt64(littleEndian: directory.load(at: at + 16 + 8 * $0, as: UInt64.self))
            }
            at += 56
            let table = Knowledge.Table(
                path: path, fingerprint: fingerprint, rows: numbers[0], blocks: numbers[1],
                offset: numbers[2], bytes: numbers[3], checksum: numbers[4])
            guard table.offset <= end, table.bytes <= end - table.offset,
                tables.updateValue(table, forKey: path) == nil
            else { throw Self.damage(file) }
        }
        guard at == directory.count else { throw Self.damage(file) }
    }

    /// What is known of a table; nil if there is nothing.
    func table(_ path: String) -> Knowledge.Table? { tables[path] }

    /// All that is known, for tests that use it wrongly.
    var all: [Knowledge.Table] { Array(tables.values) }

    func blocks(of table: Knowledge.Table) -> KeptBlocks { KeptBlocks(file, table) }

    fileprivate static func damage(_ file: any RandomAccess) -> OddPages {
        OddPages("what the last backup kept in \(file.name) is damaged")
    }
}

/// The blocks of a table as they were kept, in key order.
struct KeptBlocks {
    /// Normalized key of the block's first row.
    let first = ByteBuffer(capacity: 64)
    private(set) var rows: UInt64 = 0
    private(set) var sum: UInt128 = 0

    private let file: any RandomAccess
    private let table: Knowledge.Table
    private var left: UInt64
    private var rowsLeft: UInt64
    private var checksum: UInt64 = 0
    /// Bytes of the table that were read.
    private var read: UInt64 = 0
    private let buffer = ByteBuffer(capacity: 2 * Knowledge.pieceBytes)
    private var at = 0
    private let before = ByteBuffer(capacity: 64)

    fileprivate init(_ file: any RandomAccess, _ table: Knowledge.Table) {
        self.file = file
        self.table = table
        left = table.blocks
        rowsLeft = table.rows
    }

    /// Moves to the next block; false if there is none, and all were what was written.
    mutating func next() throws -> Bool {
        guard left > 0 else {
            guard at == buffer.count, read == table.bytes, checksum == table.checksum, rowsLeft == 0
            else { throw KeptKnowledge.damage(file) }
            return false
        }
        left -= 1
        let shared = try varint()
        let length = try varint()
        guard shared <= UInt64(first.count), length <= table.bytes else {
            throw KeptKnowledge.damage(file)
        }
        before.removeAll()
        before.append(first, from: 0, count: first.count)
        first.removeAll()
        first.append(before, from: 0, count: Int(shared))
        try take(Int(length), into: first)
        guard before.count == 0 || before.compare(0..<before.count, first, 0..<first.count) < 0
        else { throw KeptKnowledge.damage(file) }
        rows = try varint()
        guard rows > 0, rows <= rowsLeft else { throw KeptKnowledge.damage(file) }
        rowsLeft -= rows
        try need(16)
        sum = UInt128(littleEndian: buffer.load(at: at, as: UInt128.self))
        at += 16
        return true
    }

    private mutating func varint() throws -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: 0, to: 63, by: 7) {
            try need(1)
            let byte = buffer.load(at: at, as: UInt8.self)
            at += 1
            value |= UInt64(byte & 0x7f) << UInt64(shift)
            if byte < 0x80 { return value }
        }
        throw KeptKnowledge.damage(file)
    }

    private mutating func take(_ count: Int, into output: ByteBuffer) throws {
        var left = count
        while left > 0 {
            try need(1)
            let some = min(left, buffer.count - at)
            output.append(buffer, from: at, count: some)
            at += some
            left -= some
        }
    }

    /// At least so many bytes are in the buffer; no more than a piece.
    private mutating func need(_ count: Int) throws {
        while buffer.count - at < count {
            let some = Int(min(UInt64(Knowledge.pieceBytes), table.bytes - read))
            guard some > 0 else { throw KeptKnowledge.damage(file) }
            let rest = buffer.array[at...]
            buffer.removeAll()
            buffer.append(Array(rest))
            at = 0
            let start = buffer.count
            try file.read(at: table.offset + read, count: some, into: buffer)
            checksum = buffer.withBytes { Knowledge.checksum(checksum, and: $0.from(start)) }
            read += UInt64(some)
        }
    }
}
