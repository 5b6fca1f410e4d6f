import Bytes

/// Consecutive rows of one row group, and how they differ at a point.
///
/// The slices of a table cover the key space without gaps: a slice holds the keys from its lower
/// bound (the first one's is −∞, written as the empty key) up to the next one's.
package struct Slice: Sendable {
    /// Number of the row file; 0 if the slice has no base rows.
    package var file: UInt64
    package var rowGroup: Int
    package var firstRow: Int
    package var count: Int
    package var lowerBound: [UInt8]
    package var pages: [PageSums]
    /// Where its edits are stored, oldest first.
    package var tiers: [EditTier] = []
    /// All tiers merged, once they were read.
    package var edits: [Edit]

    package init(
        file: UInt64, rowGroup: Int, firstRow: Int, count: Int, lowerBound: [UInt8],
        pages: [PageSums], edits: [Edit] = []
    ) {
        self.file = file
        self.rowGroup = rowGroup
        self.firstRow = firstRow
        self.count = count
        self.lowerBound = lowerBound
        self.pages = pages
        self.edits = edits
    }

    /// A slice of no rows at all: what an empty table consists of.
    package static var empty: Slice {
        Slice(file: 0, rowGroup: 0, firstRow: 0, count: 0, lowerBound: [], pages: [PageSums()])
    }

    /// The pages' sums; `RowMeasure` knows what else a slice comes to.
    package var sums: PageSums { pages.reduce(into: PageSums()) { $0 += $1 } }

    /// Position of each page's first base row, and behind the last one's end.
    var pageStarts: [Int] {
        var starts = [0]
        starts.reserveCapacity(pages.count + 1)
        for page in pages { starts.append(starts[starts.count - 1] + Int(page.baseRows)) }
        return starts
    }

    /// Cuts off pages at both ends that have no row left; answers how many. Positions change then.
    mutating func dropDeadPages() -> Int {
        let before = pages.count
        let dead = { (page: PageSums) in page.rows == 0 && page.baseRows > 0 }
        while pages.count > 1, dead(pages[pages.count - 1]) {
            count -= Int(pages.removeLast().baseRows)
        }
        edits.removeAll { $0.position >= count && $0.kind != .insert }
        var first = 0
        while pages.count > 1, dead(pages[0]) { first += Int(pages.removeFirst().baseRows) }
        firstRow += first
        count -= first
        if first > 0 {
            edits.removeAll { $0.position < first }
            edits = edits.shifted(by: first)
        }
        return before - pages.count
    }

    /// The place behind all rows.
    var end: InsertPlace { InsertPlace(position: UInt32(count), edit: edits.count) }

    /// What lies behind a place in its page, as a slice that isn't measured yet.
    func rest(ofPage page: Int, from place: InsertPlace) -> Slice {
        let position = Int(place.position)
        var rest = self
        rest.firstRow += position
        rest.count = positions(ofPage: page).upperBound - position
        rest.edits = Array(edits(ofPage: page)[place.edit...]).shifted(by: position)
        rest.pages = [PageSums(baseRows: UInt64(rest.count), edits: UInt64(rest.edits.count))]
        return rest
    }

    /// Positions of a page's base rows within the slice.
    package func positions(ofPage page: Int) -> Range<Int> {
        let start = pages[..<page].reduce(0) { $0 + Int($1.baseRows) }
        return start..<start + Int(pages[page].baseRows)
    }

    /// The edits of a page, in order.
    package func edits(ofPage page: Int) -> ArraySlice<Edit> {
        let positions = positions(ofPage: page)
        let start = edits.firstIndex(at: positions.lowerBound)
        if page == pages.count - 1 { return edits[start...] }
        return edits[start..<edits.firstIndex(at: positions.upperBound)]
    }
}

/// Edits of one slice as some points in a row recorded them.
package struct EditTier: Sendable, Hashable {
    package var reference: BlockReference
    /// 0 as one point wrote it, n + 1 if it was merged of tiers of level n.
    package var level: Int

    package init(reference: BlockReference, level: Int) {
        self.reference = reference
        self.level = level
    }
}

/// Where an object lies in an index file, and its XXH3 there.
package struct BlockReference: Sendable, Hashable {
    package var file: UInt64
    package var offset: UInt64
    package var length: UInt64
    package var hash: UInt64

    package init(file: UInt64, offset: UInt64, length: UInt64, hash: UInt64) {
        self.file = file
        self.offset = offset
        self.length = length
        self.hash = hash
    }
}

/// A block of slices, as the root of a snapshot names it.
package struct BlockDescriptor: Sendable {
    package var reference: BlockReference
    package var lowerBound: [UInt8]
    package var sums: SliceSums

    package init(reference: BlockReference, lowerBound: [UInt8], sums: SliceSums) {
        self.reference = reference
        self.lowerBound = lowerBound
        self.sums = sums
    }
}
