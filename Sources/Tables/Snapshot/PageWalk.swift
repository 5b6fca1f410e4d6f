import Bytes

/// A page of a snapshot that is to be read.
struct WantedPage: Sendable {
    let slice: Slice
    let number: Int
    /// Whether all pages of the slice are read, one after another.
    let isSequential: Bool
    /// Which of the ranges its rows may lie in; nil: all of its rows are wanted.
    var ranges: Range<Int>?
    /// The rows that are wanted; nil: all of them.
    var shown: [ShownRow]?
}

/// The pages of a snapshot in key order: all of them, or those that may have rows in ranges of keys.
///
/// Blocks and slices are found by their lower bounds. Pages have none: the key column of a few of them
/// is read to find the ends of a range, unless there are so many ranges that most pages are wanted.
struct PageWalk {
    /// The keys of a slice or a block: from its lower bound to the next one's, which is nil at the end.
    private struct Keys {
        let lower: [UInt8]
        let upper: [UInt8]?
    }
    private let snapshot: Snapshot
    private let schema: TableSchema
    private let ranges: KeyRanges?
    private let bounds: KeyList
    /// The first range that ends behind what was passed.
    private var range = 0
    private var block = 0
    /// The block that is open, the lower bounds of its slices, and where it ends.
    private var open: (block: BlockDescriptor, lowerBounds: [[UInt8]], upper: [UInt8]?)?
    private var slice = 0
    /// Found and not yet handed out, the next one last.
    private var found: [WantedPage] = []

    /// With so many ranges for each page of a slice, most pages are wanted.
    private static let denseRanges = 2

    init(_ snapshot: Snapshot, schema: TableSchema, ranges: KeyRanges?) {
        self.snapshot = snapshot
        self.schema = schema
        self.ranges = ranges
        bounds = (ranges ?? KeyRanges()).bounds
    }

    /// Nil at the end.
    mutating func next() throws -> WantedPage? {
        while found.isEmpty { guard try findPages() else { return nil } }
        return found.removeLast()
    }

    /// Looks at the next slice; false if there is none.
    private mutating func findPages() throws -> Bool {
        guard let open, slice < open.lowerBounds.count else { return try openBlock() }
        let next = slice + 1 < open.lowerBounds.count ? open.lowerBounds[slice + 1] : open.upper
        let keys = Keys(lower: open.lowerBounds[slice], upper: next)
        defer { slice += 1 }
        let reaching = rangesReaching(into: keys)
        if ranges != nil, reaching == nil { return true }
        let slice = try snapshot.slice(self.slice, of: open.block)
        let pages =
            if let reaching {
                try self.pages(of: slice, keys, in: reaching)
            } else {
                allPages(of: slice, in: nil)
            }
        found = pages.reversed()
        if found.first?.isSequential == true { try snapshot.pool.willNeed(slice) }
        return true
    }

    private mutating func openBlock() throws -> Bool {
        let blocks = try snapshot.root().blocks
        while block < blocks.count {
            let next = block + 1 < blocks.count ? blocks[block + 1].lowerBound : nil
            let keys = Keys(lower: blocks[block].lowerBound, upper: next)
            block += 1
            if ranges != nil, rangesReaching(into: keys) == nil { continue }
            let lowerBounds = try snapshot.lowerBounds(of: blocks[block - 1])
            open = (blocks[block - 1], lowerBounds, next)
            slice = 0
            return true
        }
        return false
    }

    /// The ranges that may have keys in common with these; nil if there are none. Keys are asked for
    /// in their order.
    private mutating func rangesReaching(into keys: Keys) -> Range<Int>? {
        guard let ranges else { return nil }
        range = ranges.firstIndex(endingBehind: keys.lower, from: range)
        guard let upper = keys.upper else {
            return range < ranges.count ? range..<ranges.count : nil
        }
        let end = ranges.firstIndex(beginningAt: upper, from: range)
        return range < end ? range..<end : nil
    }

    // MARK: Pages of a slice

    private func allPages(of slice: Slice, in ranges: Range<Int>?) -> [WantedPage] {
        slice.pages.indices.map {
            WantedPage(slice: slice, number: $0, isSequential: true, ranges: ranges)
        }
    }

    private func pages(
        of slice: Slice, _ keys: Keys, in ranges: Range<Int>
    ) throws -> [WantedPage] {
        if ranges.count == 1, covers(ranges.lowerBound, keys) {
            return allPages(of: slice, in: nil)
        }
        if ranges.count >= Self.denseRanges * slice.pages.count {
            return allPages(of: slice, in: ranges)
        }
        var numbers: [Int] = []
        var base = try BaseRows(slice, schema: schema, pool: snapshot.pool, isSequential: false)
        for range in ranges {
            let pages = try self.pages(of: slice, keys, range, &base)
            numbers += pages.drop { $0 <= numbers.last ?? -1 }
        }
        let isSequential = numbers.count == slice.pages.count
        return numbers.map {
            WantedPage(slice: slice, number: $0, isSequential: isSequential, ranges: ranges)
        }
    }

    /// The pages that may have rows of one range.
    private func pages(
        of slice: Slice, _ keys: Keys, _ range: Int, _ base: inout BaseRows
    ) throws -> Range<Int> {
        var first = 0
        var last = slice.pages.count - 1
        if beginsInside(range, keys) {
            let (position, isHit) = try base.position(of: bounds, 2 * range)
            first = base.page(ofPosition: isHit ? position + 1 : position)
        }
        if endsInside(range, keys) {
            let position = try base.position(of: bounds, 2 * range + 1).position
            last = base.page(ofPosition: position)
        }
        return first..<max(first, last + 1)
    }

    private func beginsInside(_ range: Int, _ keys: Keys) -> Bool {
        bounds.compare(2 * range, keys.lower) >= 0 && !bounds[2 * range].isEmpty
    }

    private func endsInside(_ range: Int, _ keys: Keys) -> Bool {
        guard let upper = keys.upper else { return ranges![range].upper != nil }
        return bounds.compare(2 * range + 1, upper) < 0
    }

    private func covers(_ range: Int, _ keys: Keys) -> Bool {
        !beginsInside(range, keys) && !endsInside(range, keys)
    }
}
