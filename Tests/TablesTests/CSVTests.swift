import Bytes
import Tables
import TestSupport
import Testing

/// The CSV rules, checked by Python: `csv` parses back, `repr`, `datetime`, `uuid` and `decimal`
/// say how values should look.
@Suite struct CSVTests {
    private static func render(_ batch: RowBatch, _ schema: TableSchema) -> [UInt8] {
        let output = ByteBuffer()
        let renderer = CSVRenderer(schema)
        output.append(renderer.header)
        renderer.render(batch, 0..<batch.count, into: output)
        return output.array
    }

    /// The CSV of one column without NULLs, behind a column of its bytes as hexadecimal digits.
    private static func check(_ column: ColumnVector, _ type: ColumnType, _ expected: String) throws
    {
        let schema = try TableSchema(types: [.utf8, type])
        let batch = RowBatch(schema)
        for row in 0..<column.count {
            let digits = column.bytes(row).map {
                String($0 >> 4, radix: 16) + String($0 & 15, radix: 16)
            }
            batch.columns[0].append(text: "x" + digits.joined())
            batch.columns[1].append(column, row: row)
        }
        try Python.withDirectory { directory in
            let path = directory + "/t.csv"
            try Python.write(render(batch, schema), to: path)
            let report = try Python.run(
                """
                import csv, sys, struct, decimal, datetime, uuid
                csv.field_size_limit(1 << 30)
                def civil(days):
                    # Shifts by whole 400-year cycles into the years that datetime knows.
                    cycles = days // 146097
                    date = datetime.date(2000, 1, 1) + datetime.timedelta(days - 10957 - cycles * 146097 + 146097)
                    year = date.year + (cycles - 1) * 400
                    return ('-' if year < 0 else '') + '%04d' % abs(year) + date.strftime('-%m-%d')
                def seconds(s):
                    return civil(s // 86400) + 'T%02d:%02d:%02d' % (s // 3600 % 24, s // 60 % 60, s % 60)
                def microseconds(s):
                    return seconds(s // 1000000) + '.%06d' % (s % 1000000)
                def shortest(b):
                    value = struct.unpack('<f', b)[0]
                    if value != value or value in (float('inf'), float('-inf')): return repr(value)
                    exact = decimal.Decimal(value)
                    for digits in range(1, 10):
                        near = decimal.Decimal('%.*e' % (digits - 1, value))
                        step = decimal.Decimal(1).scaleb(near.adjusted() - digits + 1)
                        fits = []
                        for candidate in (near, near - step, near + step):
                            try:
                                if struct.pack('<f', float(candidate)) == b:
                                    fits.append(candidate)
                            except OverflowError:
                                pass
                        if fits:
                            return repr(float(min(fits, key=lambda c: abs(c - exact))))
                def binary(b):
                    try:
                        if not b.startswith(b'\\\\x'): return b.decode()
                    except UnicodeDecodeError:
                        pass
                    return '\\\\x' + b.hex()
                number = lambda b, signed: int.from_bytes(b, 'little', signed=signed)
                def expected(b):
                    return \(expected)
                rows = list(csv.reader(open(sys.argv[1], newline='', encoding='utf-8')))
                assert rows[0] == ['c0', 'c1'], rows[0]
                for line in rows[1:]:
                    want = expected(bytes.fromhex(line[0][1:]))
                    if line[1] != want:
                        print('%s: %r, should be %r' % (line[0], line[1], want))
                print(len(rows) - 1)
                """, [path])
            #expect(report == "\(batch.count)\n")
        }
    }

    private static func column(
        _ type: ColumnType, _ count: Int, seed: UInt64
    ) -> ColumnVector {
        var random = SeededGenerator(seed: seed)
        let column = ColumnVector(type.layout)
        for _ in 0..<count { column.appendRandom(type, &random) }
        return column
    }

    @Test func `doubles look as Python's repr`() throws {
        let column = Self.column(.double, 100_000, seed: 1)
        var random = SeededGenerator(seed: 2)
        // Numbers as people write them, whole ones, and the edges of the notation.
        for _ in 0..<40_000 {
            let digits = Double(Int64.random(in: -99_999_999...99_999_999, using: &random))
            column.append(digits / [1, 10, 100, 1000, 1e6, 1e8].randomElement(using: &random)!)
            column.append(Double.random(in: -1000...1000, using: &random))
            column.append(
                Double(
                    sign: .plus, exponent: Int.random(in: -1074...1023, using: &random),
                    significand: 1))
        }
        for exponent in -25...25 {
            let power = (0..<abs(exponent)).reduce(1.0) { product, _ in product * 10 }
            let value = exponent < 0 ? 1 / power : power
            for edge in [value, value.nextUp, value.nextDown, value * 1.5, -value, value - 1] {
                column.append(edge)
            }
        }
        for value in [
            Double.leastNonzeroMagnitude, .leastNormalMagnitude, .greatestFiniteMagnitude,
            9_007_199_254_740_992, 123_456_789_012_345_680,
            9_999_999_999_999_998, 0.0001, 0.000_099_999, 1.0, 0.1, 0.3, 2.0 / 3.0,
        ] {
            column.append(value)
            column.append(-value)
            column.append(value.nextUp)
        }
        try Self.check(column, .double, "repr(struct.unpack('<d', b)[0])")
    }

    @Test func `floats look as the shortest decimal that is no other float`() throws {
        let column = Self.column(.float, 30_000, seed: 3)
        for exponent in -149...127 {
            column.append(Float(sign: .plus, exponent: exponent, significand: 1))
        }
        for value in [
            Float.leastNonzeroMagnitude, .greatestFiniteMagnitude, 0.1, 16_777_216, 1e10, 1e16,
            1e15, 0.0001, 0.000_01,
        ] {
            column.append(value)
            column.append(value.nextUp)
            column.append(value.nextDown)
        }
        try Self.check(column, .float, "shortest(b)")
    }

    @Test func `whole numbers, dates, uuids and booleans look as Python writes them`() throws {
        let cases: [(ColumnType, String)] = [
            (.bool, "'true' if b[0] else 'false'"), (.int8, "str(number(b, True))"),
            (.int32, "str(number(b, True))"), (.int64, "str(number(b, True))"),
            (.interval, "str(number(b, True))"), (.uint8, "str(number(b, False))"),
            (.uint32, "str(number(b, False))"), (.uint64, "str(number(b, False))"),
            (.date, "civil(number(b, False))"), (.date32, "civil(number(b, True))"),
            (.datetime, "seconds(number(b, False)) + 'Z'"),
            (.datetime64, "seconds(number(b, True)) + 'Z'"),
            (.timestamp, "microseconds(number(b, False)) + 'Z'"),
            (.timestamp64, "microseconds(number(b, True)) + 'Z'"),
            (.uuid, "str(uuid.UUID(bytes=b))"),
        ]
        for (type, expected) in cases {
            let column = Self.column(type, 4000, seed: 4)
            if type.layout == .fixed(8) {
                // Every number of digits, from both sides.
                for digits in 0..<19 {
                    let power = (0..<digits).reduce(Int64(1)) { product, _ in product * 10 }
                    if type == .timestamp || type == .timestamp64, digits > 17 { break }
                    if type == .datetime64, digits > 12 { break }
                    column.append(power)
                    column.append(power - 1)
                    if type != .uint64, type != .timestamp { column.append(-power) }
                }
            }
            try Self.check(column, type, expected)
        }
    }

    @Test(arguments: everyType) func `bytes are counted as they are rendered`(
        type: ColumnType
    ) throws {
        var random = SeededGenerator(seed: 6)
        let schema = try TableSchema(types: [.int64, type])
        let renderers = [CSVRenderer(schema), CSVRenderer(dumping: schema.columns)]
        let batch = RowBatch(schema)
        let powers = (0..<19).map { Int64(repeating: 10, power: $0) }
        let edges = powers.flatMap { [$0, $0 - 1, -$0, 1 - $0] }
        for row in 0..<3000 {
            // Numbers of every length beside.
            batch.columns[0].append(row < edges.count ? edges[row] : 1 << (row % 63))
            if row % 7 == 0 {
                batch.columns[1].appendNull()
            } else {
                batch.columns[1].appendRandom(type, &random)
            }
        }
        func check(_ rows: Range<Int>) {
            for renderer in renderers {
                let output = ByteBuffer()
                renderer.render(batch, rows, into: output)
                let counted = renderer.byteCount(batch, rows)
                #expect(counted == output.count, "rows \(rows): \(output.array)")
            }
        }
        for row in 0..<batch.count { check(row..<row + 1) }
        for _ in 0..<100 {
            let start = Int.random(in: 0..<batch.count, using: &random)
            check(start..<Int.random(in: start...batch.count, using: &random))
        }
    }

    @Test func `numbers of time that no type allows are rendered all the same`() throws {
        for type in [ColumnType.datetime64, .timestamp64, .timestamp] {
            let column = ColumnVector(type.layout)
            for value in [Int64.min, .min + 1, .max, .max - 1] { column.append(value) }
            let form = type == .datetime64 ? "seconds" : "microseconds"
            try Self.check(column, type, "\(form)(number(b, True)) + 'Z'")
        }
        let days = ColumnVector(.fixed(4))
        for value in [Int32.min, .max] { days.append(value) }
        try Self.check(days, .date32, "civil(number(b, True))")
    }

    @Test(arguments: [(22, 9), (35, 0), (35, 35), (1, 0), (18, 4)])
    func `decimals are plain, without zeros at the end`(precision: Int, scale: Int) throws {
        let type = ColumnType.decimal(precision: precision, scale: scale)
        let column = Self.column(type, 3000, seed: 5)
        let infinite = (0..<35).reduce(Int128(1)) { product, _ in product * 10 }
        for value in [
            0, 1, -1, 10, 100, infinite - 1, 1 - infinite, infinite, -infinite, infinite + 1,
        ] {
            withUnsafeBytes(of: value.bigEndian) { column.append(bytes: $0) }
        }
        try Self.check(
            column, type,
            """
            (lambda n: {10**35: 'inf', -10**35: '-inf', 10**35 + 1: 'nan'}.get(n) or \
            (lambda t: t.rstrip('0').rstrip('.') if '.' in t else t)(\
            ('-' if n < 0 else '') + (lambda d: d[:len(d) - \(scale)] + '.' + d[len(d) - \(scale):])\
            (str(abs(n)).rjust(\(scale) + 1, '0'))).rstrip('.'))(int.from_bytes(b, 'big', signed=True))
            """)
    }

    @Test func `bytes are themselves if UTF-8, else hexadecimal`() throws {
        let column = Self.column(.string, 5000, seed: 6)
        for text in ["", "\\x", "\\x41", "\\", "\\y", "ok", "ä", " \\x", "a,b", "\n"] {
            column.append(text: text)
        }
        // Overlong forms, surrogates, beyond U+10FFFF, cut sequences; at all places of a word.
        let wrong: [[UInt8]] = [
            [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82], [0xFF],
            [0x80],
            [0xF0, 0x80, 0x80, 0x80], [0xE0, 0x80, 0x80],
        ]
        for bytes in wrong {
            for front in 0...9 {
                column.append(bytes: Array(repeating: 97, count: front) + bytes)
                column.append(bytes: bytes + Array(repeating: 97, count: front))
            }
        }
        try Self.check(column, .string, "binary(b)")
    }

    @Test func `texts are quoted where they must be, and nowhere else`() throws {
        let schema = try TableSchema(types: [.utf8])
        let cases: [(String?, String)] = [
            (nil, ""), ("", "\"\""), (" ", "\" \""), (" a", "\" a\""), ("a ", "\"a \""),
            ("a b", "a b"), ("a,b", "\"a,b\""), ("\"", "\"\"\"\""), ("a\"b", "\"a\"\"b\""),
            ("\n", "\"\n\""), ("\r", "\"\r\""), ("\t", "\t"), (";", ";"), ("'", "'"), ("\0", "\0"),
            ("\\.", "\"\\.\""), ("\\", "\\"), (".", "."), ("\\..", "\\.."), (".\\", ".\\"),
            (" \\.", "\" \\.\""), ("\\.\n", "\"\\.\n\""), ("\\x", "\\x"), ("a\\.", "a\\."),
        ]
        for (text, expected) in cases {
            let batch = RowBatch(schema)
            if let text {
                batch.columns[0].append(text: text)
            } else {
                batch.columns[0].appendNull()
            }
            #expect(Self.render(batch, schema) == [UInt8]("c0\n\(expected)\n".utf8))
            let counted = CSVRenderer(schema).byteCount(batch, 0..<1)
            #expect(counted == expected.utf8.count + 1, "\(expected)")
        }
        // Bytes that are text look the same, and so does a column's name.
        let bytes = try TableSchema(types: [.string])
        let batch = RowBatch(bytes)
        for text in ["\\.", "\\x.", "\\."] { batch.columns[0].append(text: text) }
        #expect(Self.render(batch, bytes) == [UInt8]("c0\n\"\\.\"\n\\x5c782e\n\"\\.\"\n".utf8))
        #expect(CSVRenderer(bytes).byteCount(batch, 0..<3) == 5 + 9 + 5)
        let line = ByteBuffer()
        line.append(csvField: "\\.")
        #expect(line.array == [UInt8](#""\.""#.utf8))
        // A special character at every place of texts of every length around a word's.
        for length in 1...40 {
            for place in 0..<length {
                for special in [",", "\"", "\n", "\r", "x", "\u{7F}", "+", "-"] {
                    var characters = Array(repeating: "a", count: length)
                    characters[place] = special
                    let text = characters.joined()
                    let quoted =
                        "\""
                        + text.split(
                            separator: "\"", omittingEmptySubsequences: false
                        ).joined(separator: "\"\"") + "\""
                    let batch = RowBatch(schema)
                    batch.columns[0].append(text: text)
                    let isSpecial = [",", "\"", "\n", "\r"].contains(special)
                    #expect(
                        Self.render(batch, schema)
                            == [UInt8]("c0\n\(isSpecial ? quoted : text)\n".utf8))
                }
            }
        }
    }

    @Test func `every type at once parses back to the cells of single columns`() throws {
        var random = SeededGenerator(seed: 12)
        let schema = try TableSchema(types: everyType)
        let batch = schema.randomRows(300, &random)
        let whole = Self.render(batch, schema)
        // Any split of the rows gives the same bytes, and a row alone as well.
        let pieces = ByteBuffer()
        let renderer = CSVRenderer(schema)
        pieces.append(renderer.header)
        var row = 0
        while row < batch.count {
            let end = min(batch.count, row + Int.random(in: 1...4, using: &random))
            renderer.render(batch, row..<end, into: pieces)
            row = end
        }
        #expect(pieces.array == whole)
        try Python.withDirectory { directory in
            try Python.write(whole, to: directory + "/whole.csv")
            for (index, type) in everyType.enumerated() {
                let single = try TableSchema(types: [.int64, type])
                let column = RowBatch(single)
                for row in 0..<batch.count {
                    column.columns[0].append(Int64(row))
                    column.columns[1].append(batch.columns[index], row: row)
                }
                try Python.write(Self.render(column, single), to: directory + "/\(index).csv")
            }
            let report = try Python.run(
                """
                import csv, sys
                read = lambda name: list(csv.reader(open(sys.argv[1] + '/' + name, newline='')))[1:]
                whole = read('whole.csv')
                for index in range(\(everyType.count)):
                    assert [line[index] for line in whole] == [line[1] for line in read('%d.csv' % index)], index
                print(len(whole))
                """, [directory])
            #expect(report == "\(batch.count)\n")
        }
    }
}
