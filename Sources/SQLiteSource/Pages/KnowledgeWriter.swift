import Bytes

/// What one cut keeps for the next: of each table the blocks of its rows, as hashes. A cache, which may be
/// lost; without it everything is compared. It holds the secret of its hashes, so that only those may
/// read it who may read the database.
/// ```
/// file        "ydbfscap" | u32 format 1 | u32 block rows | 192 bytes secret | table … | directory | end
/// table       block …                               at `offset` of its directory entry
/// block       varint bytes of the first key that the one before has too | varint bytes that follow
///             | these bytes | varint rows | u128 sum of the rows' hashes
/// directory   entry …
/// entry       u32 bytes | path | u128 fingerprint | u64 rows | u64 blocks | u64 offset | u64 bytes
///             | u64 checksum
/// end         u64 offset of the directory | u64 entries | u64 checksum | "pacsfbdy"
/// ```
/// Numbers are little-endian, varints of 7 bits a byte, lowest first. Keys are normalized storage keys. A
/// *fingerprint* is of all that decides what a table's records mean (`PageCapture`). A checksum begins as
/// 0; each 64 KiB of what it is over, then the rest, make it the XXH3 of itself and their XXH3: a table's
/// of its blocks, the end's of all before the first table, the directory and the end's first 16 bytes.
enum Knowledge {
    static let magic = Array("ydbfscap".utf8)
    static let endMagic = Array("pacsfbdy".utf8)
    static let format: UInt32 = 1
    static let headerBytes = 8 + 4 + 4 + KeyedHash.secretBytes
    static let endBytes = 32
    static let pieceBytes = 1 << 16

    struct Table {
        var path: String
        var fingerprint: UInt128
        var rows: UInt64
        var blocks: UInt64 = 0
        var offset: UInt64 = 0
        var bytes: UInt64 = 0
        var checksum: UInt64 = 0
    }

    static func checksum(_ before: UInt64, and bytes: UnsafeRawBufferPointer) -> UInt64 {
        withUnsafeBytes(of: (before.littleEndian, Checksum.xxh3(bytes).littleEndian)) {
            Checksum.xxh3($0)
        }
    }
}

/// Writes the file, table by table, with little memory.
struct KnowledgeWriter {
    private let sink: any ByteSink
    private let directory = ByteBuffer()
    private var entries: UInt64 = 0
    private let piece = ByteBuffer(capacity: Knowledge.pieceBytes + 4096)
    private var headChecksum: UInt64

    init(to sink: any ByteSink, hash: KeyedHash, rules: PageRules) throws {
        self.sink = sink
        let header = ByteBuffer(capacity: Knowledge.headerBytes)
        header.append(Knowledge.magic)
        header.append(fixed: Knowledge.format.littleEndian)
        header.append(fixed: UInt32(truncatingIfNeeded: rules.blockRows).littleEndian)
        header.append(hash.stored)
        headChecksum = header.withBytes { Knowledge.checksum(0, and: $0) }
        try sink.append(header)
    }

    /// Adds a table, unless its pages are odd: that one is compared whole the next time.
    mutating func add(path: String, fingerprint: UInt128, _ walk: () throws -> BlockWalk) throws {
        var table = Knowledge.Table(path: path, fingerprint: fingerprint, rows: 0)
        table.offset = sink.position
        piece.removeAll()
        do {
            var walk = try walk()
            let previous = ByteBuffer(capacity: 64)
            while try walk.next() {
                append(walk, after: previous)
                table.rows += walk.rows
                table.blocks += 1
                while piece.count >= Knowledge.pieceBytes {
                    try flush(Knowledge.pieceBytes, &table)
                }
                previous.removeAll()
                previous.append(walk.first, from: 0, count: walk.first.count)
            }
        } catch is OddPages {
            return
        }
        try flush(piece.count, &table)
        append(table)
    }

    private func append(_ walk: BlockWalk, after previous: ByteBuffer) {
        let key = walk.first
        var shared = 0
        let most = min(previous.count, key.count)
        previous.withBytes { old in
            key.withBytes { new in while shared < most, old[shared] == new[shared] { shared += 1 } }
        }
        append(varint: UInt64(shared))
        append(varint: UInt64(key.count - shared))
        piece.append(key, from: shared, count: key.count - shared)
        append(varint: walk.rows)
        piece.append(fixed: walk.sum.littleEndian)
    }

    private func append(varint value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            piece.append(byte: UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        piece.append(byte: UInt8(truncatingIfNeeded: rest))
    }

    private func flush(_ count: Int, _ table: inout Knowledge.Table) throws {
        if count == 0 { return }
        let out = ByteBuffer(capacity: count)
        out.append(piece, from: 0, count: count)
        let rest = ByteBuffer(capacity: max(1, piece.count - count))
        rest.append(piece, from: count, count: piece.count - count)
        piece.removeAll()
        piece.append(rest, from: 0, count: rest.count)
        table.checksum = out.withBytes { Knowledge.checksum(table.checksum, and: $0) }
        table.bytes += UInt64(count)
        try sink.append(out)
    }

    private mutating func append(_ table: Knowledge.Table) {
        entries += 1
        directory.append(fixed: UInt32(table.path.utf8.count).littleEndian)
        directory.append(table.path)
        directory.append(fixed: table.fingerprint.littleEndian)
        for number in [table.rows, table.blocks, table.offset, table.bytes, table.checksum] {
            directory.append(fixed: number.littleEndian)
        }
    }

    /// Writes what makes the file complete.
    func finish() throws {
        let end = ByteBuffer(capacity: Knowledge.endBytes)
        end.append(fixed: sink.position.littleEndian)
        end.append(fixed: entries.littleEndian)
        var checksum = headChecksum
        directory.withBytes { bytes in
            for start in stride(from: 0, to: bytes.count, by: Knowledge.pieceBytes) {
                let count = min(Knowledge.pieceBytes, bytes.count - start)
                checksum = Knowledge.checksum(
                    checksum, and: UnsafeRawBufferPointer(rebasing: bytes[start..<start + count]))
            }
        }
        checksum = end.withBytes { Knowledge.checksum(checksum, and: $0) }
        end.append(fixed: checksum.littleEndian)
        end.append(Knowledge.endMagic)
        try sink.append(directory)
        try sink.append(end)
    }
}
