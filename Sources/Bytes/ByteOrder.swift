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

    package static func compare(
        _ a: Slice<UnsafeRawBufferPointer>, _ b: UnsafeRawBufferPointer
    ) -> Int {
        compare(UnsafeRawBufferPointer(rebasing: a), b)
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
}

extension String {
    /// Whether both are the same name. Swift's `==` also takes names for equal that only look alike,
    /// such as an é of one and of two characters; databases and file systems don't.
    package func hasSameBytes(as other: String) -> Bool { utf8.elementsEqual(other.utf8) }
}
