import Bytes

/// A page of all columns as it is stored; columns are decoded when they are asked for.
struct StoredPage: Sendable {
    private let file: RowFile
    let bytes: ByteBuffer
    /// Where each column's page begins in `bytes`, and where the last one ends.
    let starts: [Int]
    let rowGroup: Int
    /// Counted from the row group's begin.
    let rows: Range<Int>

    init(
        file: RowFile, bytes: ByteBuffer, starts: [Int], rowGroup: Int, rows: Range<Int>
    ) {
        self.file = file
        self.bytes = bytes
        self.starts = starts
        self.rowGroup = rowGroup
        self.rows = rows
    }

    /// Bytes as stored, and what decoding all columns comes to.
    func byteCounts() throws -> (stored: Int, decoded: Int) {
        var decoded = 0
        for (column, start) in starts.dropLast().enumerated() {
            var header = PageHeader()
            do {
                _ = try header.parse(bytes, from: start)
            } catch let failure as Failure {
                throw file.damaged(failure, column, rows, rowGroup)
            }
            // Variable values get marks of four bytes each, fixed ones with NULLs of one.
            decoded += header.uncompressedBytes + 4 * rows.count
        }
        return (bytes.count, decoded)
    }

    func decode(_ column: Column) throws -> ColumnVector {
        guard let place = try file.place(of: column) else {
            return ColumnVector(standIn: column, rows: rows.count)
        }
        return try file.decode(self, column: place.index, layout: place.layout)
    }
}

/// What stands before a page of one column.
struct PageHeader {
    var uncompressedBytes = -1
    var compressedBytes = -1
    var crc: UInt32?
    var values = -1
    var encoding = -1

    /// Answers where the body begins.
    mutating func parse(_ buffer: ByteBuffer, from position: Int) throws -> Int {
        var reader = ThriftReader(buffer, from: position)
        var header = self
        try reader.structure { (reader, id, _) throws(Failure) in
            switch id {
            case 2: header.uncompressedBytes = try reader.size()
            case 3: header.compressedBytes = try reader.size()
            case 4: header.crc = UInt32(truncatingIfNeeded: try reader.integer())
            case 5:
                try reader.structure { (reader, id, _) throws(Failure) in
                    switch id {
                    case 1: header.values = try reader.size()
                    case 2: header.encoding = try reader.size()
                    default: return false
                    }
                    return true
                }
            default: return false
            }
            return true
        }
        guard (0..<1 << 32).contains(header.uncompressedBytes) else {
            throw Failure(.corrupt, "a page's header has no size")
        }
        self = header
        return reader.position
    }

    /// Holds it against what the index says of the page; answers how its values are written.
    func check(rows: Int, bodyBytes: Int, codec: Int) throws(Failure) -> PageCodec.Encoding {
        guard values == rows, bodyBytes == compressedBytes, codec == 6,
            let encoding = PageCodec.Encoding(rawValue: encoding)
        else { throw Failure(.corrupt, "a page's header contradicts the index") }
        return encoding
    }

    static var wrongChecksum: Failure { Failure(.corrupt, "a page's checksum is wrong") }
}
