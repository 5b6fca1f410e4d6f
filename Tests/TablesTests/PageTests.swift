import Bytes
import Tables
import TestSupport
import Testing

/// Columns in memory, page bodies, LEB128 and Thrift's compact protocol.
@Suite struct PageTests {
    enum Nulls: CaseIterable { case none, all, some, first, last }

    private static func column(
        _ type: ColumnType, rows: Int, _ nulls: Nulls, _ random: inout SeededGenerator
    ) -> ColumnVector {
        let column = ColumnVector(type.layout)
        for row in 0..<rows {
            let isNull =
                switch nulls {
                case .none: false
                case .all: true
                case .some: Bool.random(using: &random)
                case .first: row == 0
                case .last: row == rows - 1
                }
            if isNull { column.appendNull() } else { column.appendRandom(type, &random) }
        }
        return column
    }

    struct Form: Sendable {
        var type: ColumnType
        var encoding = PageCodec.Encoding.plain
        static let all =
            [ColumnType.bool, .int32, .double, .uuid, .utf8].map { Form(type: $0) }
            + [.int8, .int32, .uint32, .int64, .uint64].map { Form(type: $0, encoding: .delta) }
    }

    @Test(arguments: Form.all, Nulls.allCases)
    func `a page body reads as it was written`(form: Form, nulls: Nulls) throws {
        let type = form.type
        var random = SeededGenerator(seed: 7)
        for rows in [0, 1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 500, 2048] {
            let column = Self.column(type, rows: rows, nulls, &random)
            for optional in [true, false] where optional || column.nullCount == 0 {
                let body = ByteBuffer()
                PageCodec.encode(column, optional: optional, as: form.encoding, into: body)
                let bytes = body.array
                if optional, form.encoding == .plain {
                    let nulls = column.nullCount(in: 0..<rows)
                    let valueBytes =
                        type.layout == .variable ? column.valueBytes(in: 0..<rows) : 0
                    let size = PageCodec.bodyBytes(
                        rows: UInt64(rows), nulls: UInt64(nulls), layout: type.layout,
                        valueBytes: UInt64(valueBytes))
                    #expect(size == UInt64(bytes.count))
                }
                let read = try PageCodec.decode(
                    body, rows: rows, layout: type.layout, optional: optional, as: form.encoding)
                #expect(read.count == rows && read.nullCount == column.nullCount)
                for row in 0..<rows {
                    #expect(read.isNull(row) == column.isNull(row))
                    #expect(ColumnVector.identical(read, row, column, row))
                }
                // What was decoded can be encoded again, and copied row by row.
                let again = ByteBuffer()
                PageCodec.encode(read, optional: optional, as: form.encoding, into: again)
                #expect(again.array == bytes)
                let copy = ColumnVector(type.layout)
                for row in 0..<rows { copy.append(read, row: row) }
                #expect((0..<rows).allSatisfy { ColumnVector.identical(copy, $0, column, $0) })
            }
        }
    }

    @Test(arguments: [ColumnType.bool, .int32, .double, .uuid, .utf8])
    func `rows are gathered from several columns in any order`(type: ColumnType) throws {
        var random = SeededGenerator(seed: 5)
        for round in 0..<50 {
            let sources = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                let rows = Int.random(in: 1...300, using: &random)
                return Self.column(type, rows: rows, Nulls.allCases[round % 5], &random)
            }
            let count = Int.random(in: sources.isEmpty ? 0...3 : 1...500, using: &random)
            // Where each row comes from; some come from nowhere.
            let origins = (0..<count).map { _ -> (source: Int, row: Int)? in
                guard let source = sources.indices.randomElement(using: &random),
                    Int.random(in: 0..<8, using: &random) > 0
                else { return nil }
                return (source, Int.random(in: 0..<sources[source].count, using: &random))
            }
            let parts = sources.enumerated().map { number, vector in
                let rows = origins.indices.filter { origins[$0]?.source == number }.shuffled(
                    using: &random)
                return (vector, rows.map { RowMove(from: origins[$0]!.row, to: $0) }[...])
            }
            let gathered = try ColumnVector.gathering(parts, layout: type.layout, count: count)
            let expected = ColumnVector(type.layout)
            for origin in origins {
                if let origin {
                    expected.append(sources[origin.source], row: origin.row)
                } else if case .fixed(let width) = type.layout {
                    expected.append(bytes: [UInt8](repeating: 0, count: width))
                } else {
                    expected.append(bytes: [])
                }
            }
            #expect(gathered.count == count && gathered.nullCount == expected.nullCount)
            // Whole ranges at once, too: values lie in the order of their rows.
            #expect(ColumnVector.identical(gathered, 0..<count, expected, from: 0))
            let copy = ColumnVector(type.layout)
            copy.append(gathered, rows: count / 3..<count)
            #expect(
                (0..<copy.count).allSatisfy {
                    ColumnVector.identical(copy, $0, expected, count / 3 + $0)
                })
        }
    }

    @Test(arguments: Form.all, [true, false])
    func `a damaged page body is refused or read, never trapped over`(
        form: Form, optional: Bool
    ) {
        let type = form.type
        var random = SeededGenerator(seed: 11)
        for round in 0..<3000 {
            let rows = Int.random(in: 0...40, using: &random)
            let column = Self.column(type, rows: rows, optional ? .some : .none, &random)
            let body = ByteBuffer()
            PageCodec.encode(column, optional: optional, as: form.encoding, into: body)
            var bytes = body.array
            switch round % 3 {
            case 0: bytes = Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &random)))
            case 1 where !bytes.isEmpty:
                let bit = Int.random(in: 0..<bytes.count * 8, using: &random)
                bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            default:
                bytes = bytes.map { _ in UInt8.random(in: 0...255, using: &random) }
            }
            let damaged = ByteBuffer()
            damaged.append(bytes)
            let claimed = round % 2 == 0 ? rows : Int.random(in: -1...1 << 40, using: &random)
            guard
                let read = try? PageCodec.decode(
                    damaged, rows: claimed, layout: type.layout, optional: optional,
                    as: form.encoding)
            else { continue }
            #expect(read.count == claimed)
            for row in 0..<min(read.count, 100) { _ = read.bytes(row) }
        }
    }

    @Test func `differences take few bits, and every width of them is read`() throws {
        var random = SeededGenerator(seed: 5)
        for width in 0...64 {
            let column = ColumnVector(.fixed(8))
            var value: Int64 = .min
            for _ in 0..<300 {
                column.append(value)
                value &+= width == 0 ? 7 : Int64(bitPattern: random.next() >> UInt64(64 - width))
            }
            let body = ByteBuffer()
            PageCodec.encode(column, optional: false, as: .delta, into: body)
            #expect(body.count <= 30 + 3 * 14 + 384 * width / 8)
            let read = try PageCodec.decode(
                body, rows: 300, layout: .fixed(8), optional: false, as: .delta)
            #expect((0..<300).allSatisfy { ColumnVector.identical(read, $0, column, $0) })
        }
    }

    @Test func `what is stored as it is reads like any zstd frame`() throws {
        for size in [0, 1, 1000, 128 << 10, 128 << 10 + 1, 1 << 20] {
            let content = ByteBuffer()
            content.append(byte: 7, repeated: size)
            let frame = ByteBuffer()
            content.withBytes { Zstd.store($0, into: frame) }
            let read = try frame.withBytes { try Zstd.decompress($0, size: size) }
            #expect(read.array == content.array)
        }
    }

    @Test func `LEB128 numbers read as they were written, cut ones don't`() {
        var random = SeededGenerator(seed: 3)
        var numbers: [UInt64] = [0, 1, 127, 128, 16_383, 16_384, .max, .max - 1, 1 << 63]
        for shift in 0..<64 { numbers.append(random.next() >> UInt64(shift)) }
        for number in numbers {
            let buffer = ByteBuffer()
            Varint.append(number, to: buffer)
            #expect(buffer.count == max(1, (70 - number.leadingZeroBitCount) / 7))
            var position = 0
            #expect(Varint.read(buffer, at: &position, end: buffer.count) == number)
            #expect(position == buffer.count)
            for end in 0..<buffer.count {
                var position = 0
                #expect(Varint.read(buffer, at: &position, end: end) == nil)
            }
        }
        let endless = ByteBuffer()
        endless.append(byte: 0x80, repeated: 100)
        var position = 0
        #expect(Varint.read(endless, at: &position, end: 100) == nil)
        #expect(position == 10)
    }

    @Test func `a column keeps NULLs and values apart, and can be emptied`() {
        for type in everyType {
            let column = ColumnVector(type.layout)
            var random = SeededGenerator(seed: 1)
            for _ in 0..<2 {
                column.appendRandom(type, &random)
                column.appendNull()
                column.appendRandom(type, &random)
                #expect(column.count == 3 && column.nullCount == 1)
                #expect([0, 1, 2].map { column.isNull($0) } == [false, true, false])
                #expect(column.byteCount > 0)
                column.removeAll()
                #expect(column.count == 0 && column.nullCount == 0 && column.byteCount == 0)
            }
        }
        for type in everyType {
            var random = SeededGenerator(seed: 2)
            let column = Self.column(type, rows: 50, .some, &random)
            for start in 0...50 {
                let rows = start..<Int.random(in: start...50, using: &random)
                #expect(column.nullCount(in: rows) == rows.count { column.isNull($0) })
                if type.layout == .variable {
                    let bytes = rows.reduce(0) { $0 + column.bytes($1).count }
                    #expect(column.valueBytes(in: rows) == bytes)
                }
            }
        }
        let text = ColumnVector(.variable)
        text.append(text: "")
        text.appendNull()
        #expect(!ColumnVector.identical(text, 0, text, 1), "the empty text is no NULL")
        let numbers = ColumnVector(.fixed(8))
        numbers.append(0.0)
        numbers.append(-0.0)
        numbers.appendNull()
        #expect(!ColumnVector.identical(numbers, 0, numbers, 1), "zeros differ in a bit")
        #expect(!ColumnVector.identical(numbers, 0, numbers, 2), "zero is no NULL")
    }

    // MARK: Thrift

    /// Reads a struct of anything, as deep as it goes.
    private static func walk(_ reader: inout ThriftReader, depth: Int = 0) throws(Failure) {
        try reader.structure { (reader, id, kind) throws(Failure) in
            guard depth < 8 else { return false }
            switch (id % 4, kind) {
            case (0, 12): try walk(&reader, depth: depth + 1)
            case (1, 8): _ = try reader.text()
            case (2, 9):
                try reader.list { (reader) throws(Failure) in
                    try walk(&reader, depth: depth + 1)
                }
            case (3, 6): _ = try reader.size()
            default: return false
            }
            return true
        }
    }

    @Test func `random bytes read as Thrift end in time, without a trap`() {
        var random = SeededGenerator(seed: 21)
        for round in 0..<100_000 {
            let likely: [UInt8] = [
                0x1C, 0x19, 0x18, 0x16, 0x15, 0x2C, 0x00, 0xFF, 0x0C, 0x1B, 0x80,
            ]
            let buffer = ByteBuffer()
            for _ in 0..<Int.random(in: 0...60, using: &random) {
                buffer.append(
                    byte: round % 2 == 0
                        ? UInt8.random(in: 0...255, using: &random)
                        : likely.randomElement(using: &random)!)
            }
            var reader = ThriftReader(buffer)
            try? Self.walk(&reader)
            #expect(reader.position <= buffer.count)
        }
    }

    @Test func `a list that promises too much is refused at once`() {
        let buffer = ByteBuffer()
        buffer.append([0x19, 0xFC])
        Varint.append(1 << 40, to: buffer)
        buffer.append(byte: 0, repeated: 100)
        var reader = ThriftReader(buffer)
        #expect(throws: Failure.self) { try Self.walk(&reader) }
    }
}
