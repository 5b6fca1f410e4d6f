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
}

extension String {
    /// Whether both are the same name. Swift's `==` also takes names for equal that only look alike,
    /// such as an é of one and of two characters; databases and file systems don't.
    package func hasSameBytes(as other: String) -> Bool { utf8.elementsEqual(other.utf8) }
}
