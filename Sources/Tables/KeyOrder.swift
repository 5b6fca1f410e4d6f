import Bytes

/// The one order of keys, whatever a source's collations are: NULL first; numbers by value; text by
/// its UTF-8 bytes; blobs by bytes; Uuid by its text; composite keys column by column.
///
/// A *normalized key* is a byte string that compares, byte by byte, as the key does. Keys that are
/// equal in this order are the same key.
/// ```
/// NULL       00
/// integer    01 | big-endian, sign bit flipped if signed
/// float      01 | big-endian IEEE bits: sign flipped, all bits if negative; -0 as 0; NaN last
/// bytes      01 | bytes, 00 written as 00 FF | 00 00
/// ```
package enum NormalizedKey {
    /// Appends the normalized key of one row; `key` gives the columns in key order.
    static func append(
        _ batch: RowBatch, row: Int, schema: TableSchema, to output: ByteBuffer
    ) {
        for index in schema.key {
            append(batch.columns[index], row: row, type: schema.columns[index].type, to: output)
        }
    }

    package static func of(_ batch: RowBatch, row: Int, schema: TableSchema) -> [UInt8] {
        let buffer = ByteBuffer(capacity: 64)
        append(batch, row: row, schema: schema, to: buffer)
        return buffer.array
    }

    /// Appends the part of one column.
    static func append(
        _ column: ColumnVector, row: Int, type: ColumnType, to output: ByteBuffer
    ) {
        if column.isNull(row) {
            output.append(byte: 0)
            return
        }
        output.append(byte: 1)
        switch type {
        case .bool: output.append(byte: column.value(row, as: UInt8.self))
        case .int8, .int16, .int32, .date32:
            let value = column.value(row, as: UInt32.self) ^ 1 << 31
            output.append(fixed: value.bigEndian)
        case .uint8, .uint16, .uint32, .date, .datetime:
            output.append(fixed: column.value(row, as: UInt32.self).bigEndian)
        case .int64, .interval, .datetime64, .timestamp64, .interval64:
            let value = column.value(row, as: UInt64.self) ^ 1 << 63
            output.append(fixed: value.bigEndian)
        case .uint64, .timestamp:
            output.append(fixed: column.value(row, as: UInt64.self).bigEndian)
        case .float:
            output.append(fixed: order(Double(column.value(row, as: Float.self))).bigEndian)
        case .double:
            output.append(fixed: order(column.value(row, as: Double.self)).bigEndian)
        case .decimal:
            let start = output.count
            output.append(bytesOf: column, row: row)
            output.replace(at: start, with: output.load(at: start, as: UInt8.self) ^ 0x80)
        case .uuid: output.append(bytesOf: column, row: row)
        case .tzDate, .tzDatetime, .tzTimestamp, .string, .utf8, .json, .jsonDocument, .yson,
            .dyNumber, .pg:
            output.append(escapedBytesOf: column, row: row)
        }
    }

    /// Appends the part of an integer.
    package static func append(_ value: Int64, to output: ByteBuffer) {
        output.append(byte: 1)
        output.append(fixed: (UInt64(bitPattern: value) ^ 1 << 63).bigEndian)
    }

    /// Appends the part of a floating-point number.
    package static func append(_ value: Double, to output: ByteBuffer) {
        output.append(byte: 1)
        output.append(fixed: order(value).bigEndian)
    }

    /// Appends the part of text or bytes.
    package static func append(bytes: UnsafeRawBufferPointer, to output: ByteBuffer) {
        output.append(byte: 1)
        output.append(escaped: bytes)
    }

    private static func order(_ value: Double) -> UInt64 {
        if value.isNaN { return .max }
        let bits = (value == 0 ? 0 : value).bitPattern
        return bits >> 63 == 1 ? ~bits : bits | 1 << 63
    }
}

/// The normalized keys of consecutive rows.
package struct KeyList: Sendable {
    private let buffer: ByteBuffer
    private let ends: [Int]

    package init(_ batch: RowBatch, schema: TableSchema) {
        buffer = ByteBuffer(capacity: max(64, batch.count * 10))
        var ends: [Int] = []
        ends.reserveCapacity(batch.count)
        for row in 0..<batch.count {
            NormalizedKey.append(batch, row: row, schema: schema, to: buffer)
            ends.append(buffer.count)
        }
        self.ends = ends
    }

    /// Keys that lie one behind the other in a buffer that nobody changes.
    init(_ buffer: ByteBuffer, ends: [Int]) {
        self.buffer = buffer
        self.ends = ends
    }

    /// One key.
    init(_ key: [UInt8]) {
        buffer = ByteBuffer(capacity: max(key.count, 1))
        buffer.append(key)
        ends = [key.count]
    }

    package var count: Int { ends.count }

    private func range(_ index: Int) -> Range<Int> {
        (index == 0 ? 0 : ends[index - 1])..<ends[index]
    }

    package subscript(index: Int) -> [UInt8] {
        let range = range(index)
        return buffer.withBytes { [UInt8]($0[range]) }
    }

    /// Negative, zero or positive, as the key at `index` is before, equal to or after another list's.
    package func compare(_ index: Int, _ other: KeyList, _ otherIndex: Int) -> Int {
        buffer.compare(range(index), other.buffer, other.range(otherIndex))
    }

    /// Negative, zero or positive, as the key at `index` is before, equal to or after `key`.
    package func compare(_ index: Int, _ key: [UInt8]) -> Int {
        buffer.compare(range(index), key)
    }

    /// Negative, zero or positive, as the key at `index` is before, equal to or after `key`.
    package func compare(_ index: Int, _ key: ByteBuffer) -> Int {
        buffer.compare(range(index), key, 0..<key.count)
    }

    /// True if each key is after the one before it, the first after `previous`.
    package func isIncreasing(after previous: [UInt8]?) -> Bool {
        if count == 0 { return true }
        if let previous, compare(0, previous) <= 0 { return false }
        return (1..<max(count, 1)).allSatisfy {
            buffer.compare(range($0 - 1), buffer, range($0)) < 0
        }
    }

    /// Index of the first key that isn't before `key`, searched from `start`.
    package func lowerBound(_ key: [UInt8], from start: Int = 0) -> Int {
        var low = start
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if compare(middle, key) < 0 { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

package func isBefore(_ a: [UInt8], _ b: [UInt8]) -> Bool { ByteOrder.compare(a, b) < 0 }
