import Bytes
import Tables
import TestSupport

/// Every type that tables can have: all without parameters, decimals, and PostgreSQL's.
let everyType: [ColumnType] =
    ColumnType.all + [
        .decimal(precision: 22, scale: 9), .decimal(precision: 35, scale: 0), .pg("text"),
    ]

extension ColumnVector {
    /// Appends a random value of a type, now and then an extreme one.
    func appendRandom(_ type: ColumnType, _ random: inout SeededGenerator) {
        let extreme = Int.random(in: 0..<4, using: &random) == 0
        func pick<T: FixedWidthInteger>(_ range: ClosedRange<T>) -> T {
            extreme
                ? [range.lowerBound, range.upperBound, T(1)].randomElement(using: &random)!
                : T.random(in: range, using: &random)
        }
        switch type {
        case .bool: append(UInt8.random(in: 0...1, using: &random))
        case .int8: append(pick(Int32(Int8.min)...Int32(Int8.max)))
        case .int16: append(pick(Int32(Int16.min)...Int32(Int16.max)))
        case .int32: append(pick(Int32.min...Int32.max))
        case .uint8: append(pick(0...UInt32(UInt8.max)))
        case .uint16: append(pick(0...UInt32(UInt16.max)))
        case .uint32, .datetime: append(pick(UInt32.min...UInt32.max))
        case .date: append(pick(UInt32(0)...49_672))
        case .date32: append(pick(Int32(-53_375_809)...53_375_807))
        case .int64, .interval, .interval64: append(pick(Int64.min...Int64.max))
        case .uint64: append(pick(UInt64.min...UInt64.max))
        case .timestamp: append(pick(UInt64(0)...4_291_747_199_999_999))
        case .datetime64: append(pick(Int64(-4_611_669_897_600)...4_611_669_811_199))
        case .timestamp64:
            append(pick(Int64(-4_611_669_897_600_000_000)...4_611_669_811_199_999_999))
        case .float:
            append(
                extreme
                    ? [0, -0.0, .infinity, -.infinity, .nan, 1e16, 0.1].randomElement(
                        using: &random)!
                    : Float(bitPattern: UInt32(truncatingIfNeeded: random.next())))
        case .double:
            append(
                extreme
                    ? [0, -0.0, .infinity, -.infinity, .nan, 1e16, 0.1].randomElement(
                        using: &random)! : Double(bitPattern: random.next()))
        case .decimal(let precision, _):
            let limit = (0..<min(precision, 18)).reduce(Int64(1)) { power, _ in power * 10 }
            let value = Int128(pick(1 - limit...limit - 1)).bigEndian
            withUnsafeBytes(of: value) { append(bytes: $0) }
        case .uuid:
            append(bytes: (0..<16).map { _ in UInt8.random(in: 0...255, using: &random) })
        case .string, .yson:
            append(
                bytes: (0..<Int.random(in: 0...20, using: &random)).map { _ in
                    UInt8.random(in: extreme ? 32...126 : 0...255, using: &random)
                })
        default:
            let parts = [
                "", " ", "a", ",", "\"", "\n", "\r", "ä", "€", "\u{0}", "plain words", "😀",
            ]
            let text = (0..<Int.random(in: 0...6, using: &random)).map { _ in
                parts.randomElement(using: &random)!
            }
            append(text: text.joined())
        }
    }
}

extension TableSchema {
    /// A table with `types` as columns c0, c1 …, the first `keys` of them being the key.
    init(types: [ColumnType], keys: Int = 1) throws {
        try self.init(
            columns: types.enumerated().map {
                Column(id: UInt32($0.offset + 1), name: "c\($0.offset)", type: $0.element)
            }, key: Array(0..<keys))
    }

    /// Up to `count` random rows in key order, every key once.
    func randomRows(
        _ count: Int, _ random: inout SeededGenerator, nulls: Int = 5, nullKeys: Bool = false
    ) -> RowBatch {
        let draft = RowBatch(self)
        for _ in 0..<count {
            for (index, column) in columns.enumerated() {
                let mayBeNull = nullKeys || !key.contains(index)
                if mayBeNull, Int.random(in: 0..<nulls, using: &random) == 0 {
                    draft.columns[index].appendNull()
                } else {
                    draft.columns[index].appendRandom(column.type, &random)
                }
            }
        }
        return sorted(draft)
    }

    /// The rows of a batch in key order, every key once.
    func sorted(_ draft: RowBatch) -> RowBatch {
        var byKey: [[UInt8]: Int] = [:]
        for row in 0..<draft.count {
            byKey[NormalizedKey.of(draft, row: row, schema: self)] = row
        }
        let result = RowBatch(self)
        for key in byKey.keys.sorted(by: { isBefore($0, $1) }) {
            result.append(draft, row: byKey[key]!)
        }
        return result
    }
}

extension RowBatch {
    static func same(_ a: RowBatch, _ b: RowBatch) -> Bool {
        a.count == b.count && (0..<a.count).allSatisfy { identical(a, $0, b, $0) }
    }
}

/// Hands on rows in batches of random sizes, now and then none at all.
final class StutteringCursor: RowCursor {
    private let batch: RowBatch
    private var next = 0
    private var random: SeededGenerator

    init(_ batch: RowBatch, seed: Int) {
        self.batch = batch
        random = SeededGenerator(seed: UInt64(seed))
    }

    func next(into output: RowBatch, maxRows: Int, maxBytes: Int) -> Bool {
        for _ in 0..<Int.random(in: 0...min(maxRows, 5), using: &random) where next < batch.count {
            output.append(batch, row: next)
            next += 1
        }
        return next < batch.count
    }
}
