import Bytes
import Tables
import TestSupport
import Testing

/// Key order as the design has it, against comparisons made in the simplest way.
@Suite struct KeyTests {
    /// Negative, zero, positive: the documented order of two values of a type, NULL first.
    private static func order(
        _ a: ColumnVector, _ i: Int, _ b: ColumnVector, _ j: Int, _ type: ColumnType
    ) -> Int {
        if a.isNull(i) || b.isNull(j) { return (a.isNull(i) ? 0 : 1) - (b.isNull(j) ? 0 : 1) }
        func compare<T: Comparable & BitwiseCopyable>(_: T.Type) -> Int {
            let (x, y) = (a.value(i, as: T.self), b.value(j, as: T.self))
            return x < y ? -1 : x > y ? 1 : 0
        }
        func compare<T: BinaryFloatingPoint & BitwiseCopyable>(float _: T.Type) -> Int {
            let (x, y) = (a.value(i, as: T.self), b.value(j, as: T.self))
            if x.isNaN || y.isNaN { return (x.isNaN ? 1 : 0) - (y.isNaN ? 1 : 0) }
            return x < y ? -1 : x > y ? 1 : 0
        }
        func number(_ bytes: [UInt8]) -> Int128 {
            Int128(bitPattern: bytes.reduce(UInt128(0)) { $0 << 8 | UInt128($1) })
        }
        switch type {
        case .bool: return compare(UInt8.self)
        case .int8, .int16, .int32, .date32: return compare(Int32.self)
        case .uint8, .uint16, .uint32, .date, .datetime: return compare(UInt32.self)
        case .int64, .interval, .interval64, .datetime64, .timestamp64: return compare(Int64.self)
        case .uint64, .timestamp: return compare(UInt64.self)
        case .float: return compare(float: Float.self)
        case .double: return compare(float: Double.self)
        case .decimal:
            let (x, y) = (number(a.bytes(i)), number(b.bytes(j)))
            return x < y ? -1 : x > y ? 1 : 0
        default:
            let (x, y) = (a.bytes(i), b.bytes(j))
            return x.lexicographicallyPrecedes(y) ? -1 : x == y ? 0 : 1
        }
    }

    @Test(arguments: everyType) func `normalized keys order as values do`(type: ColumnType) throws {
        var random = SeededGenerator(seed: 99)
        let schema = try TableSchema(types: [type])
        let batch = RowBatch(schema)
        for _ in 0..<150 {
            if Int.random(in: 0..<10, using: &random) == 0 {
                batch.columns[0].appendNull()
            } else {
                batch.columns[0].appendRandom(type, &random)
            }
        }
        let column = batch.columns[0]
        let keys = (0..<batch.count).map { NormalizedKey.of(batch, row: $0, schema: schema) }
        for i in 0..<batch.count {
            for j in 0..<batch.count {
                let expected = Self.order(column, i, column, j, type)
                #expect(isBefore(keys[i], keys[j]) == (expected < 0))
                #expect((keys[i] == keys[j]) == (expected == 0))
            }
        }
    }

    @Test(arguments: 0..<60) func `composite keys order column by column`(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let types = (0..<3).map { _ in everyType.randomElement(using: &random)! }
        // The key's order is not that of the columns.
        var schema = try TableSchema(types: types)
        schema.key = [2, 0, 1]
        let batch = RowBatch(schema)
        for _ in 0..<60 {
            for (column, type) in zip(batch.columns, types) {
                switch Int.random(in: 0..<4, using: &random) {
                case 0: column.appendNull()
                case 1 where column.count > 0: column.append(column, row: column.count - 1)
                default: column.appendRandom(type, &random)
                }
            }
        }
        let keys = (0..<batch.count).map { NormalizedKey.of(batch, row: $0, schema: schema) }
        for i in 0..<batch.count {
            for j in 0..<batch.count {
                let expected =
                    schema.key.lazy.map {
                        Self.order(batch.columns[$0], i, batch.columns[$0], j, types[$0])
                    }.first { $0 != 0 } ?? 0
                #expect(isBefore(keys[i], keys[j]) == (expected < 0), "seed \(seed)")
                #expect((keys[i] == keys[j]) == (expected == 0), "seed \(seed)")
            }
        }
    }

    @Test func `texts with NUL and prefixes order by bytes, also in front of another column`()
        throws
    {
        let schema = try TableSchema(types: [.utf8, .utf8], keys: 2)
        let texts = [
            "", "\0", "\0\0", "\0a", "a", "a\0", "a\0\0", "a\0\u{1}", "a\u{1}", "aa", "b", "ÿ",
        ]
        let batch = RowBatch(schema)
        for first in texts {
            for second in texts {
                batch.columns[0].append(text: first)
                batch.columns[1].append(text: second)
            }
        }
        let keys = KeyList(batch, schema: schema)
        #expect(keys.isIncreasing(after: nil))
        #expect(keys.isIncreasing(after: []))
        #expect(!keys.isIncreasing(after: keys[0]))
    }

    @Test func `zeros are one key, and so are all that are not a number`() throws {
        for type in [ColumnType.float, .double] {
            let schema = try TableSchema(types: [type])
            let batch = RowBatch(schema)
            let values: [Double] = [-.infinity, -1, -0.0, 0.0, 1, .infinity, .nan, -.nan]
            for value in values {
                if type == .float {
                    batch.columns[0].append(Float(value))
                } else {
                    batch.columns[0].append(value)
                }
            }
            let keys = (0..<values.count).map { NormalizedKey.of(batch, row: $0, schema: schema) }
            #expect(keys[2] == keys[3] && keys[6] == keys[7])
            for (a, b) in [(0, 1), (1, 2), (3, 4), (4, 5), (5, 6)] {
                #expect(isBefore(keys[a], keys[b]))
            }
        }
    }

    @Test func `a list of keys is searched as an array would be`() throws {
        var random = SeededGenerator(seed: 8)
        let schema = try TableSchema(types: [.utf8])
        let batch = schema.randomRows(200, &random)
        let keys = KeyList(batch, schema: schema)
        #expect(keys.count == batch.count && keys.isIncreasing(after: nil))
        let all = (0..<keys.count).map { keys[$0] }
        for probe in all + [[], [0], [1], [2], [1, 97, 0]] {
            for start in [0, 3, keys.count] {
                let expected =
                    all[start...].firstIndex { !isBefore($0, probe) } ?? max(all.count, start)
                #expect(keys.lowerBound(probe, from: start) == expected)
            }
        }
        let empty = KeyList(RowBatch(schema), schema: schema)
        #expect(empty.isIncreasing(after: [9]) && empty.lowerBound([1]) == 0)
    }

    // MARK: Content hash

    @Test(arguments: everyType) func `the content hash sees every change of a cell`(
        type: ColumnType
    ) throws {
        var random = SeededGenerator(seed: 31)
        let schema = try TableSchema(types: [.int64, type, type])
        let hasher = RowHasher(schema)
        let rows = schema.randomRows(100, &random)
        let whole = hasher.hash(rows)
        // Any order, and any split, give the same sum.
        var sum = ContentHash()
        for row in (0..<rows.count).shuffled(using: &random) { sum += hasher.hash(rows, row: row) }
        #expect(sum == whole)
        #expect(ContentHash(hex: whole.description) == whole)
        for row in 0..<rows.count {
            let changed = RowBatch(schema)
            changed.columns[0].append(rows.columns[0], row: row)
            // The two cells are swapped: the same values, in the other columns.
            changed.columns[1].append(rows.columns[2], row: row)
            changed.columns[2].append(rows.columns[1], row: row)
            let new = hasher.hash(changed, row: 0)
            let old = hasher.hash(rows, row: row)
            #expect((new == old) == RowBatch.identical(changed, 0, rows, row))
            let moved = whole - old + new
            #expect(moved - new + old == whole)
        }
    }

    @Test func `the content hash knows a column by id and type, not by place`() throws {
        func hash(_ columns: [Column], _ order: [Int]) throws -> ContentHash {
            let schema = try TableSchema(columns: order.map { columns[$0] }, key: [0])
            let batch = RowBatch(schema)
            for index in order { batch.columns[order.firstIndex(of: index)!].append(Int64(index)) }
            return RowHasher(schema).hash(batch)
        }
        let columns = [
            Column(id: 1, name: "a", type: .int64), Column(id: 2, name: "b", type: .int64),
        ]
        let base = try hash(columns, [0, 1])
        #expect(try hash(columns, [1, 0]) == base)
        for change: (inout Column) -> Void in [
            { $0.id = 3 }, { $0.type = .interval }, { $0.isLiteral = true },
        ] {
            var changed = columns
            change(&changed[1])
            #expect(try hash(changed, [0, 1]) != base)
        }
        #expect(ContentHash(hex: "12") == nil && ContentHash(hex: "zz") == nil)
        for wrong in ["g", "F", "+", "é"] {
            #expect(ContentHash(hex: wrong + String(repeating: "0", count: 31)) == nil)
        }
    }
}
