import Bytes
import Tables
import TestSupport
import Testing

extension RenderedFile {
    /// All parts in order, checked to lie one behind the other.
    func whole() throws -> [UInt8] {
        let whole = ByteBuffer()
        while let part = try part(at: UInt64(whole.count)) {
            #expect(part.offset == UInt64(whole.count) && part.bytes > 0)
            try willRead(part)
            let bytes = try render(part, isSequential: true)
            #expect(UInt64(bytes.count) == part.bytes)
            whole.append(bytes, from: 0, count: bytes.count)
        }
        #expect(try part(at: UInt64(whole.count)) == nil)
        return whole.array
    }

    /// Checks that any byte is found in the part that holds it.
    func expectParts(of whole: [UInt8], _ random: inout SeededGenerator) throws {
        for _ in 0..<5 where !whole.isEmpty {
            let offset = Int.random(in: 0..<whole.count, using: &random)
            let part = try #require(try part(at: UInt64(offset)))
            #expect(part.offset <= UInt64(offset) && UInt64(offset) < part.offset + part.bytes)
            let start = Int(part.offset)
            let bytes = try render(part, isSequential: false).array
            #expect(bytes.elementsEqual(whole[start..<start + bytes.count]))
        }
    }
}

extension Snapshot {
    /// Reads the Parquet file strictly and compares it with the rows that it must hold.
    func expectParquet(_ rows: RowBatch, bytes: UInt64, _ random: inout SeededGenerator) throws {
        let file = ParquetFile(self)
        let whole = try file.whole()
        #expect(UInt64(whole.count) == bytes)
        try file.expectParts(of: whole, &random)
        var reader = try ParquetReader(whole)
        try reader.read(schema)
        #expect(reader.rows == rows.count)
        for (index, column) in schema.columns.enumerated() {
            let expected = ParquetReader.converted(rows.columns[index], column.type)
            #expect(reader.columns[index].count == rows.count)
            let isSame = (0..<rows.count).allSatisfy {
                ColumnVector.identical(expected, $0, reader.columns[index], $0)
            }
            #expect(isSame, "column \(column.name) of type \(column.type.name)")
        }
        try reader.expectBounds(schema)
    }
}

extension Snapshot {
    /// Reads the data files of a dump, of several sizes, and compares them with what they must be.
    func expectDump(_ expected: [UInt8], _ random: inout SeededGenerator) throws {
        let table = try dumpTable()
        for limit in [1, UInt64.random(in: 2...1000, using: &random), .max] {
            let ranges = try dumpFiles(table, limit: limit)
            var whole: [UInt8] = []
            for (index, range) in ranges.enumerated() {
                let file = DumpFile(self, table, range: range)
                let bytes = try file.whole()
                #expect(range == UInt64(whole.count)..<UInt64(whole.count + bytes.count))
                try file.expectParts(of: bytes, &random)
                whole += bytes
                if ranges.count == 1 { break }
                #expect(!bytes.isEmpty)
                // It ends with the page that reaches the limit, and only there.
                let last = try #require(try file.part(at: UInt64(bytes.count - 1)))
                #expect(last.offset < limit)
                #expect(index == ranges.count - 1 || UInt64(bytes.count) >= limit)
            }
            #expect(whole == expected)
        }
    }
}

/// Reads a Parquet file of the one layout that points have, and takes offence at any other.
struct ParquetReader {
    struct Chunk {
        var values = 0
        var bytes = 0
        var offset = 0
        var nulls = -1
        var least: [UInt8]?
        var greatest: [UInt8]?
        var exactMarks = 0
    }

    private var file: ByteBuffer
    private var footerStart: Int
    private(set) var rows = 0
    private(set) var groups: [(rows: Int, bytes: Int, chunks: [Chunk])] = []
    private(set) var columns: [ColumnVector] = []
    private var schemaElements = 0
    private var orders = 0

    init(_ bytes: [UInt8]) throws {
        file = ByteBuffer(capacity: max(bytes.count, 1))
        file.append(bytes)
        try #require(bytes.count > 12 && bytes.prefix(4) == [80, 65, 82, 49])
        try #require(bytes.suffix(4) == [80, 65, 82, 49])
        footerStart = bytes.count - 8 - Int(file.load(at: bytes.count - 8, as: UInt32.self))
        try #require(footerStart >= 4)
        var footer = ThriftReader(file, from: footerStart)
        var read = self
        try footer.structure { (reader, id, _) throws(Failure) in
            switch id {
            case 2:
                try reader.list { (reader) throws(Failure) in
                    read.schemaElements += 1
                    try reader.structure { (_, _, _) throws(Failure) in false }
                }
            case 3: read.rows = try reader.size()
            case 4: try reader.list { (reader) throws(Failure) in try read.group(&reader) }
            case 7:
                try reader.list { (reader) throws(Failure) in
                    read.orders += 1
                    try reader.structure { (_, _, _) throws(Failure) in false }
                }
            default: return false
            }
            return true
        }
        self = read
        #expect(footer.position == bytes.count - 8)
    }

    private mutating func group(_ reader: inout ThriftReader) throws(Failure) {
        var group = (rows: 0, bytes: 0, chunks: [Chunk]())
        try reader.structure { (reader, id, _) throws(Failure) in
            switch id {
            case 1:
                try reader.list { (reader) throws(Failure) in
                    var chunk = Chunk()
                    try reader.structure { (reader, id, _) throws(Failure) in
                        if id == 3 { try Self.metadata(&reader, &chunk) }
                        return id == 3
                    }
                    group.chunks.append(chunk)
                }
            case 2: group.bytes = try reader.size()
            case 3: group.rows = try reader.size()
            default: return false
            }
            return true
        }
        groups.append(group)
    }

    private static func metadata(
        _ reader: inout ThriftReader, _ chunk: inout Chunk
    ) throws(Failure) {
        var read = chunk
        try reader.structure { (reader, id, _) throws(Failure) in
            switch id {
            case 5: read.values = try reader.size()
            case 6: #expect(try reader.size() >= 0)
            case 7: read.bytes = try reader.size()
            case 9: read.offset = try reader.size()
            case 12:
                try reader.structure { (reader, id, kind) throws(Failure) in
                    switch id {
                    case 3: read.nulls = try reader.size()
                    case 5: read.greatest = try reader.bytes()
                    case 6: read.least = try reader.bytes()
                    case 7, 8: read.exactMarks += kind == 1 ? 1 : 0
                    default: return false
                    }
                    return true
                }
            default: return false
            }
            return true
        }
        chunk = read
    }

    /// Decodes all pages; `columns` then has the values.
    mutating func read(_ schema: TableSchema) throws {
        #expect(schemaElements == schema.columns.count + 1 && orders == schema.columns.count)
        columns = schema.columns.map {
            ColumnVector(Self.converted(ColumnVector($0.type.layout), $0.type).layout)
        }
        var position = 4
        for group in groups {
            #expect(group.rows > 0 && group.chunks.count == schema.columns.count)
            #expect(group.bytes == group.chunks.reduce(0) { $0 + $1.bytes })
            for (index, chunk) in group.chunks.enumerated() {
                #expect(chunk.offset == position && chunk.values == group.rows)
                let before = columns[index].nullCount
                try readChunk(chunk, into: columns[index])
                #expect(chunk.nulls == columns[index].nullCount - before)
                position += chunk.bytes
            }
        }
        #expect(position == footerStart)
        #expect(groups.reduce(0) { $0 + $1.rows } == rows)
    }

    private func readChunk(_ chunk: Chunk, into column: ColumnVector) throws {
        var position = chunk.offset
        var rest = chunk.values
        while position < chunk.offset + chunk.bytes {
            var header = (bytes: 0, compressed: 0, values: 0, encodings: [Int]())
            var reader = ThriftReader(file, from: position)
            try reader.structure { (reader, id, _) throws(Failure) in
                switch id {
                case 2: header.bytes = try reader.size()
                case 3: header.compressed = try reader.size()
                case 4: #expect(Bool(false), "no checksums")
                case 5:
                    try reader.structure { (reader, id, _) throws(Failure) in
                        let value = try reader.size()
                        if id == 1 { header.values = value } else { header.encodings.append(value) }
                        return true
                    }
                default: return false
                }
                return true
            }
            #expect(header.bytes == header.compressed && header.encodings == [0, 3, 3])
            #expect(header.values > 0)
            let body = ByteBuffer(capacity: max(header.bytes, 1))
            body.append(file, from: reader.position, count: header.bytes)
            let page = try PageCodec.decode(
                body, rows: header.values, layout: column.layout, optional: true)
            for row in 0..<page.count { column.append(page, row: row) }
            position = reader.position + header.bytes
            rest -= header.values
        }
        #expect(position == chunk.offset + chunk.bytes && rest == 0)
    }

    /// Checks the bounds of the leading key column against its values, and that no other has some.
    func expectBounds(_ schema: TableSchema) throws {
        var first = 0
        let leading = columns[schema.key[0]]
        let hasBounds = groups.allSatisfy { $0.chunks[schema.key[0]].least != nil }
        #expect(hasBounds || groups.allSatisfy { $0.chunks[schema.key[0]].least == nil })
        for group in groups {
            for (index, chunk) in group.chunks.enumerated() where index != schema.key[0] {
                #expect(chunk.least == nil && chunk.greatest == nil)
            }
            let chunk = group.chunks[schema.key[0]]
            let type = schema.columns[schema.key[0]].type
            #expect((chunk.least == nil) == (chunk.greatest == nil))
            #expect(chunk.exactMarks == (hasBounds ? 2 : 0))
            let last = first + group.rows - 1
            if let least = chunk.least, let greatest = chunk.greatest {
                #expect(least == leading.bytes(first) && greatest == leading.bytes(last))
                #expect(least.count <= 64 && greatest.count <= 64 && chunk.nulls == 0)
            } else if type == .int64 || type == .uuid || type == .bool {
                #expect(leading.nullCount > 0)
            }
            first += group.rows
        }
    }

    /// A column's values as they are to look in the file.
    static func converted(_ column: ColumnVector, _ type: ColumnType) -> ColumnVector {
        let converted: ColumnVector
        switch type {
        case .datetime, .datetime64: converted = ColumnVector(.fixed(8))
        case .uuid: converted = ColumnVector(.variable)
        default: return column
        }
        for row in 0..<column.count {
            if column.isNull(row) {
                converted.appendNull()
            } else if type == .datetime {
                converted.append(Int64(column.value(row, as: UInt32.self)) * 1000)
            } else if type == .datetime64 {
                converted.append(column.value(row, as: Int64.self) * 1000)
            } else {
                var text = ""
                for (index, byte) in column.bytes(row).enumerated() {
                    if [4, 6, 8, 10].contains(index) { text += "-" }
                    text += String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
                }
                converted.append(text: text)
            }
        }
        return converted
    }
}
