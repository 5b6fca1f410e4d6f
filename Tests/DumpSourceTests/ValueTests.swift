import Bytes
import DumpSource
import Tables
import TestSupport
import Testing

/// Values as YDB's dumps write them.
@Suite struct ValueTests {
    /// What a field is as CSV; nil if it is refused.
    private func shown(_ field: String, _ type: ColumnType) throws -> String? {
        let column = ColumnVector(type.layout)
        let bytes = [UInt8](field.utf8)
        guard DumpValue().append(bytes.span, type, to: column) else {
            #expect(column.count == 0)
            return nil
        }
        let schema = try TableSchema(
            columns: [Column(id: 1, name: "a", type: type)], key: [0])
        let text = ByteBuffer()
        CSVRenderer(schema).render(RowBatch(columns: [column]), 0..<1, into: text)
        return String(String(decoding: text.array, as: UTF8.self).dropLast())
    }

    @Test(arguments: [
        (ColumnType.bool, "1", "true"), (.bool, "0", "false"), (.bool, "7", "true"),
        (.int8, "-128", "-128"), (.uint64, "18446744073709551615", "18446744073709551615"),
        (.int64, "-9223372036854775808", "-9223372036854775808"),
        (.float, "-6531.12", "-6531.12"), (.float, "inf", "inf"), (.double, "nan", "nan"),
        (.double, "-5012.231232", "-5012.231232"), (.double, "1e+30", "1e+30"),
        (.decimal(precision: 22, scale: 9), "3.25", "3.25"),
        (.decimal(precision: 22, scale: 9), "-inf", "-inf"),
        (.decimal(precision: 22, scale: 9), "nan", "nan"),
        (.dyNumber, ".149e4", ".149e4"),
        (.date, "2019-03-11T00:00:00.000000Z", "2019-03-11"), (.date, "2019-03-11", "2019-03-11"),
        (.datetime, "2019-03-11T16:30:44.000000Z", "2019-03-11T16:30:44Z"),
        (.datetime, "2019-03-11T16:30", "2019-03-11T16:30:00Z"),
        (.timestamp, "2019-03-11T16:30:44.314382Z", "2019-03-11T16:30:44.314382Z"),
        (.timestamp, "2019-03-11T16:30:44.3Z", "2019-03-11T16:30:44.300000Z"),
        (.interval, "-5", "-5"), (.date32, "-1", "1969-12-31"),
        (.datetime64, "-1", "1969-12-31T23:59:59Z"),
        (.timestamp64, "-1", "1969-12-31T23:59:59.999999Z"), (.interval64, "12", "12"),
        (.uuid, "e85bfcdd-0227-EEB7-b9d7-d01f5769da05", "e85bfcdd-0227-eeb7-b9d7-d01f5769da05"),
        (
            .uuid, "\"e85bfcdd-0227-eeb7-b9d7-d01f5769da05\"",
            "e85bfcdd-0227-eeb7-b9d7-d01f5769da05"
        ),
        (.utf8, "\"null\"", "null"), (.utf8, "\"\"", "\"\""), (.utf8, "\"a+b%2Bc\"", "a b+c"),
        (.utf8, "\"~Allowed.symbols_string;!*@$%5E/\"", "~Allowed.symbols_string;!*@$^/"),
        (.utf8, "\"50%\"", "50%"), (.string, "\"%ff%00\"", "\\xff00"),
        (.tzDate, "\"2020-01-01%2CEurope/Moscow\"", "\"2020-01-01,Europe/Moscow\""),
        (.pg("int4"), "\"42\"", "42"), (.json, "\"%7B%7D\"", "{}"),
    ])
    func `a value reads as what was written`(type: ColumnType, field: String, csv: String) throws {
        #expect(try shown(field, type) == csv)
    }

    @Test(arguments: [
        (ColumnType.bool, "yes"), (.int8, "128"), (.uint8, "-1"), (.int32, ""), (.int32, "-"),
        (.int64, "9223372036854775808"), (.int64, "1.0"), (.double, "0x10"), (.double, ""),
        (.decimal(precision: 5, scale: 2), "1000"), (.decimal(precision: 5, scale: 2), "1.001"),
        (.decimal(precision: 5, scale: 2), "1.2.3"), (.decimal(precision: 5, scale: 2), "."),
        (.date, "2019-02-29"), (.date, "2019-03-11T01:00:00Z"), (.date, "1969-12-31"),
        (.datetime, "2019-03-11T24:00:00Z"), (.datetime, "2019-03-11T16:30:44.5Z"),
        (.timestamp, "2019-03-11T16:30:44.3143821Z"), (.timestamp, "2019-03-11T16:30:44Zx"),
        (.timestamp, "2019-13-01"), (.uuid, "e85bfcdd-0227-eeb7-b9d7-d01f5769da0"),
        (.uuid, "e85bfcdd-0227-eeb7-b9d7+d01f5769da05"), (.utf8, "text"), (.utf8, "\"a"),
        (.utf8, "\"a\"b\""), (.utf8, "\"%FF\""), (.json, "\"%C3\""), (.string, "\""),
        (.dyNumber, ""),
    ])
    func `what the type doesn't have is refused`(type: ColumnType, field: String) throws {
        #expect(try shown(field, type) == nil)
    }

    @Test func `decimals of any digits read as they are`() throws {
        var random = SeededGenerator(seed: 35)
        for _ in 0..<2000 {
            let scale = random.below(36)
            let precision = max(1, scale + random.below(36 - scale))
            let type = ColumnType.decimal(precision: precision, scale: scale)
            let whole = (0..<random.below(precision - scale + 1))
                .map { _ in String(random.below(10)) }.joined()
            let fraction = (0..<random.below(scale + 1))
                .map { _ in String(random.below(10)) }.joined()
            func trimmed(_ text: String, _ side: (inout String) -> Void) -> String {
                var text = text
                side(&text)
                return text
            }
            let first = trimmed(whole) { while $0.hasPrefix("0") { $0.removeFirst() } }
            let last = trimmed(fraction) { while $0.hasSuffix("0") { $0.removeLast() } }
            let plain = (first.isEmpty ? "0" : first) + (last.isEmpty ? "" : "." + last)
            let field = (whole.isEmpty ? "0" : whole) + (fraction.isEmpty ? "" : "." + fraction)
            #expect(try shown(field, type) == plain, "\(field) \(type.name)")
            let negative = plain == "0" ? "0" : "-" + plain
            #expect(try shown("-" + field, type) == negative, "-\(field) \(type.name)")
        }
    }

    @Test func `no bytes in a field do worse than being refused`() throws {
        var random = SeededGenerator(seed: 5)
        let types = ColumnType.all + [.decimal(precision: 35, scale: 10), .pg("text")]
        let alphabet = [UInt8]("0123456789-+.:TZeinfa\"% ,null\u{e9}".utf8) + [0, 0xFF]
        for _ in 0..<20_000 {
            let type = random.pick(types)
            let bytes = (0..<random.below(30)).map { _ in random.pick(alphabet) }
            let column = ColumnVector(type.layout)
            let isTaken = DumpValue().append(bytes.span, type, to: column)
            #expect(column.count == (isTaken ? 1 : 0))
            guard isTaken else { continue }
            let schema = try TableSchema(
                columns: [Column(id: 1, name: "a", type: type)], key: [0])
            let text = ByteBuffer()
            let renderer = CSVRenderer(schema)
            let batch = RowBatch(columns: [column])
            renderer.render(batch, 0..<1, into: text)
            #expect(renderer.byteCount(batch, 0..<1) == UInt64(text.count))
        }
    }
}
