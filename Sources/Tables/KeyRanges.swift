import Bytes

/// Open intervals of normalized keys, in key order and disjoint: where rows may have changed.
///
/// A bound is never inside: it is the key of a row that is known to be unchanged. One interval may
/// thus end where the next begins.
/// ```
/// bytes   lower, upper, lower, upper …      no lower bound: no bytes, before every key
/// ends    of each bound in `bytes`          no upper bound: the byte FF, behind every key
/// ```
package struct KeyRanges: Sendable {
    private var bytes = ByteBuffer()
    private var ends: [Int] = []

    package init() {}

    /// All keys.
    package static var everything: KeyRanges {
        var ranges = KeyRanges()
        ranges.add([], Self.behindAll)
        return ranges
    }

    /// Adds the keys between two others; nil: no bound. Throws if that isn't behind all that was added
    /// before, or has room for no key.
    package mutating func append(after lower: [UInt8]?, before upper: [UInt8]?) throws(Failure) {
        let (lower, upper) = (lower ?? [], upper ?? Self.behindAll)
        guard isBefore(lower, upper), isEmpty || bytes.compare(lastBound, lower) <= 0 else {
            throw Failure(.corrupt, "ranges of keys are empty, overlap or stand in no order")
        }
        add(lower, upper)
    }

    private var lastBound: Range<Int> { ends[ends.count - 2]..<ends[ends.count - 1] }

    /// Keys begin with 00 or 01.
    private static let behindAll: [UInt8] = [0xFF]

    private mutating func add(_ lower: [UInt8], _ upper: [UInt8]) {
        if !isKnownUniquelyReferenced(&bytes) {
            let copy = ByteBuffer(capacity: 2 * Swift.max(bytes.count, 128))
            copy.append(bytes, from: 0, count: bytes.count)
            bytes = copy
        }
        for bound in [lower, upper] {
            bytes.append(bound)
            ends.append(bytes.count)
        }
    }

    /// The bounds one after another, two of each range.
    var bounds: KeyList { KeyList(bytes, ends: ends) }

    /// Bytes of memory in use.
    package var byteCount: Int { bytes.capacity + ends.count * MemoryLayout<Int>.stride }

    package func contains(_ key: [UInt8]) -> Bool {
        let index = firstIndex(endingBehind: key)
        return index < count && bounds.compare(2 * index, key) < 0
    }

    /// Index of the first range that ends behind `key`: the only one that may contain it.
    ///
    /// - Parameter start: ranges before it are known to end sooner.
    func firstIndex(endingBehind key: [UInt8], from start: Int = 0) -> Int {
        let bounds = bounds
        var low = start
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if bounds.compare(2 * middle + 1, key) <= 0 { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Index of the first range that begins at `key` or behind it, searched from `start`.
    func firstIndex(beginningAt key: [UInt8], from start: Int) -> Int {
        let bounds = bounds
        var low = start
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if bounds.compare(2 * middle, key) < 0 { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

extension KeyRanges: RandomAccessCollection {
    package var startIndex: Int { 0 }
    package var endIndex: Int { ends.count / 2 }

    /// The bounds of a range, neither of them inside; nil: unbounded.
    package subscript(index: Int) -> (lower: [UInt8]?, upper: [UInt8]?) {
        let (lower, upper) = (bounds[2 * index], bounds[2 * index + 1])
        return (lower.isEmpty ? nil : lower, upper == Self.behindAll ? nil : upper)
    }
}

/// Holds keys that come in order against ranges.
struct RangeWalk {
    private let bounds: KeyList
    /// The upper bound of the first range that doesn't end before the last key.
    private var upper = 1

    init(_ ranges: KeyRanges) { bounds = ranges.bounds }

    /// Whether all of these keys, which are behind those before, lie in the ranges.
    mutating func contains(_ keys: KeyList) -> Bool {
        for index in 0..<keys.count where !contains(keys, index) { return false }
        return true
    }

    /// Whether a key that isn't before the last one lies in the ranges.
    mutating func contains(_ keys: KeyList, _ index: Int) -> Bool {
        while upper < bounds.count, bounds.compare(upper, keys, index) <= 0 { upper += 2 }
        return upper < bounds.count && bounds.compare(upper - 1, keys, index) < 0
    }
}
