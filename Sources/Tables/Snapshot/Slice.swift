import Bytes

/// What is known of a rendered page without rendering it, and of slices, blocks and tables by
/// addition.
///
/// A *rendered page* is one stored page's rows within a slice, with the inserts at p in the page
/// that holds row p (at n: the last). Every slice has at least one, possibly without rows.
package struct PageSums: Sendable, Hashable {
    /// Rows of the stored page that lie in the slice, dead ones included.
    package var baseRows: UInt64 = 0
    /// Rows at the point.
    package var rows: UInt64 = 0
    /// Bytes as CSV, without the header line.
    package var csvBytes: UInt64 = 0
    /// Edits in the page.
    package var edits: UInt64 = 0

    package init(baseRows: UInt64 = 0, rows: UInt64 = 0, csvBytes: UInt64 = 0, edits: UInt64 = 0) {
        self.baseRows = baseRows
        self.rows = rows
        self.csvBytes = csvBytes
        self.edits = edits
    }

    package static func += (a: inout PageSums, b: PageSums) {
        a.baseRows += b.baseRows
        a.rows += b.rows
        a.csvBytes += b.csvBytes
        a.edits += b.edits
    }

    /// False, and nothing is changed, if there isn't so much.
    mutating func subtract(_ b: PageSums) -> Bool {
        let isEnough = Self.series.allSatisfy { b[keyPath: $0.path] <= self[keyPath: $0.path] }
        guard isEnough else { return false }
        baseRows -= b.baseRows
        rows -= b.rows
        csvBytes -= b.csvBytes
        edits -= b.edits
        return true
    }

    /// The stored numbers of the series. Further formats add series; a reader skips what it doesn't
    /// know.
    static let series: [(id: UInt32, path: any WritableKeyPath<PageSums, UInt64> & Sendable)] = [
        (1, \.baseRows), (2, \.rows), (3, \.csvBytes), (4, \.edits),
    ]
}

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

    package var sums: PageSums { pages.reduce(into: PageSums()) { $0 += $1 } }

    /// Positions of a page's base rows within the slice.
    package func positions(ofPage page: Int) -> Range<Int> {
        let start = pages[..<page].reduce(0) { $0 + Int($1.baseRows) }
        return start..<start + Int(pages[page].baseRows)
    }

    /// The page that holds a position; the last one for position n.
    package func page(ofPosition position: Int) -> Int {
        var start = 0
        for (index, page) in pages.enumerated() {
            start += Int(page.baseRows)
            if position < start { return index }
        }
        return pages.count - 1
    }

    /// The edits of a page, in order.
    package func edits(ofPage page: Int) -> ArraySlice<Edit> {
        let positions = positions(ofPage: page)
        let start = edits.firstIndex(at: positions.lowerBound)
        if page == pages.count - 1 { return edits[start...] }
        return edits[start..<edits.firstIndex(at: positions.upperBound)]
    }
}

/// Where an object lies in an index file, and its XXH3 there.
package struct BlockReference: Sendable, Hashable, Codable {
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
    package var sums: PageSums

    package init(reference: BlockReference, lowerBound: [UInt8], sums: PageSums) {
        self.reference = reference
        self.lowerBound = lowerBound
        self.sums = sums
    }
}
