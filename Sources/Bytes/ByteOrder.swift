import Glibc

/// The order of byte strings: byte by byte, a prefix first.
package enum ByteOrder {
    /// Negative, zero or positive, as `a` is before, equal to or after `b`.
    @inline(__always)
    package static func compare(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Int {
        let common = min(a.count, b.count)
        if common > 0 {
            let order = memcmp(a.baseAddress!, b.baseAddress!, common)
            if order != 0 { return Int(order) }
        }
        return a.count - b.count
    }

    package static func compare(_ a: [UInt8], _ b: [UInt8]) -> Int {
        a.withUnsafeBytes { left in b.withUnsafeBytes { compare(left, $0) } }
    }
}

extension UnsafeRawBufferPointer {
    /// The bytes from `index` to the end.
    package func from(_ index: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: self[index...])
    }
}

extension ByteBuffer {
    /// Compares a part with a part of another buffer, as `ByteOrder` does.
    package func compare(_ range: Range<Int>, _ other: ByteBuffer, _ otherRange: Range<Int>) -> Int
    {
        precondition(range.upperBound <= count && otherRange.upperBound <= other.count)
        precondition(range.lowerBound >= 0 && otherRange.lowerBound >= 0)
        return ByteOrder.compare(
            UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count),
            UnsafeRawBufferPointer(
                start: other.base + otherRange.lowerBound, count: otherRange.count)
        )
    }
    /// Compares a part with a byte string.
    package func compare(_ range: Range<Int>, _ bytes: [UInt8]) -> Int {
        precondition(range.lowerBound >= 0 && range.upperBound <= count)
        let part = UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count)
        return bytes.withUnsafeBytes { ByteOrder.compare(part, $0) }
    }

    /// Appends the bytes of a column's value.
    package func append(bytesOf column: ColumnVector, row: Int) {
        column.withBytes(row) { append($0) }
    }

    /// Appends the bytes of a column's value, `escaped`.
    package func append(escapedBytesOf column: ColumnVector, row: Int) {
        column.withBytes(row) { append(escaped: $0) }
    }

    /// Appends bytes so that what follows doesn't disturb their order: 00 is written as 00 FF, and 00 00
    /// ends them.
    package func append(escaped bytes: UnsafeRawBufferPointer) {
        var rest = bytes
        while rest.count > 0, let zero = memchr(rest.baseAddress!, 0, rest.count) {
            let length = UnsafeRawPointer(zero) - rest.baseAddress! + 1
            append(UnsafeRawBufferPointer(rebasing: rest[..<length]))
            append(byte: 0xFF)
            rest = rest.from(length)
        }
        append(rest)
        append(fixed: UInt16(0))
    }
}

extension String {
    /// Whether both are the same name. Swift's `==` also takes names for equal that only look alike,
    /// such as an é of one and of two characters; databases and file systems don't.
    package func hasSameBytes(as other: String) -> Bool { utf8.elementsEqual(other.utf8) }
}
