import Bytes

/// A table's content as one number: the sum, modulo 2¹²⁸, of the XXH3-128 of each row.
///
/// A sum does not depend on the order of rows and is kept up by adding and subtracting, so that an
/// incremental knows the new table's hash without reading it.
package struct ContentHash: Sendable, Hashable, CustomStringConvertible {
    private var sum: UInt128

    package init() { sum = 0 }

    package init?(hex: String) {
        guard hex.utf8.count == 32 else { return nil }
        sum = 0
        for byte in hex.utf8 {
            // Not by `UInt128(_:radix:)`, which takes a hundred times as long.
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                sum = sum << 4 | UInt128(byte - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"):
                sum = sum << 4 | UInt128(byte - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
    }

    /// 32 hexadecimal digits.
    package var description: String {
        let digits = String(sum, radix: 16)
        return String(repeating: "0", count: 32 - digits.utf8.count) + digits
    }

    package static func + (a: ContentHash, b: ContentHash) -> ContentHash {
        var result = a
        result.sum &+= b.sum
        return result
    }

    package static func - (a: ContentHash, b: ContentHash) -> ContentHash {
        var result = a
        result.sum &-= b.sum
        return result
    }

    package static func += (a: inout ContentHash, b: ContentHash) { a = a + b }

    /// The lower half.
    var low: UInt64 { UInt64(truncatingIfNeeded: sum) }

    fileprivate init(sum: UInt128) { self.sum = sum }
}

/// Hashes rows of one schema.
///
/// A row is hashed as, for each column that isn't NULL, `u32 column id | u8 length of the type's
/// name | type's name | u8 literal | u64 length | value`, all little-endian, values as `ColumnType`
/// describes them. Columns count in the order of their ids, so that moving one changes nothing.
package struct RowHasher: Sendable {
    private let sum: RowSum

    package init(_ schema: TableSchema) {
        sum = RowSum(
            columns: schema.columns.enumerated().sorted { $0.element.id < $1.element.id }.map {
                index, column in
                let head = ByteBuffer()
                head.append(fixed: column.id)
                let name = [UInt8](column.type.name.utf8)
                head.append(byte: UInt8(truncatingIfNeeded: name.count))
                head.append(name)
                head.append(byte: column.isLiteral ? 1 : 0)
                return (index, head.array)
            })
    }

    package func hash(_ batch: RowBatch, row: Int) -> ContentHash {
        ContentHash(sum: sum(batch.columns, row..<row + 1))
    }

    package func hash(_ batch: RowBatch, _ rows: Range<Int>) -> ContentHash {
        ContentHash(sum: sum(batch.columns, rows))
    }

    package func hash(_ batch: RowBatch) -> ContentHash { hash(batch, 0..<batch.count) }
}
