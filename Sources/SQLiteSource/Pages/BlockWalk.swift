import Bytes
import Tables

/// Why what pages say of a table can't be used. No harm: the table is compared whole.
struct OddPages: Error {
    let reason: String

    init(_ reason: String) { self.reason = reason }
}

/// The b-tree that holds a table's rows.
struct TableTree {
    enum Kind {
        case rowID
        /// A WITHOUT ROWID table in our key order, and the types of its key's columns.
        case key([ColumnType])
    }

    var root: UInt32
    var kind: Kind
}

/// The blocks of a table in key order, from what is kept of its pages. Throws `OddPages` for trees that
/// aren't such as SQLite makes them: nothing is claimed of those.
struct BlockWalk {
    /// Normalized keys of the block's first and last row.
    let first = ByteBuffer(capacity: 64)
    let last = ByteBuffer(capacity: 64)
    private(set) var rows: UInt64 = 0
    private(set) var sum: UInt128 = 0

    private let pages: PagePass
    private let tree: TableTree
    private let isRowID: Bool
    private var stack: [Place] = []
    /// A segment that was read and belongs to the block after the present one.
    private var ahead: Segment?
    private var isAtEnd = false
    private var visited = 0
    private var overflowLeft: Int
    private let scratch = ByteBuffer(capacity: 256)
    /// Its normalized keys; of rowid tables, these are made for whole blocks only.
    private let firstAhead = ByteBuffer(capacity: 64)
    private let lastAhead = ByteBuffer(capacity: 64)
    private var lastRowID: Int64?

    /// The next of a page's items: segments of a leaf, children of an interior page.
    private struct Place {
        var next: RecordReader
        var left: Int
        var kind: PageSummary.Kind
        /// The child after all cells of an interior page.
        var rightmost: UInt32 = 0
        /// In an index, a cell's row comes after its child.
        var isAtRow = false
    }

    /// No deeper tree fits the page numbers there are.
    private static let maxDepth = 40

    init(_ pages: PagePass, _ tree: TableTree) throws {
        self.pages = pages
        self.tree = tree
        if case .rowID = tree.kind { isRowID = true } else { isRowID = false }
        overflowLeft = pages.pageCount
        try enter(tree.root)
        ahead = try nextSegment()
    }

    /// Moves to the next block; false if there is none.
    mutating func next() throws -> Bool {
        guard var segment = ahead else { return false }
        try setKey(first, segment.first, known: firstAhead)
        rows = 0
        sum = 0
        while true {
            rows += UInt64(segment.rows)
            sum &+= segment.sum
            if !isRowID { Self.copy(lastAhead, to: last) }
            ahead = try nextSegment()
            guard let following = ahead, !following.starts else {
                if isRowID { try normalize(segment.last, into: last) }
                return true
            }
            segment = following
        }
    }

    private func setKey(
        _ key: ByteBuffer, _ stored: UnsafeRawBufferPointer, known: ByteBuffer
    ) throws {
        if isRowID { try normalize(stored, into: key) } else { Self.copy(known, to: key) }
    }

    /// The rows of the whole table, counted to its end.
    mutating func countAll() throws -> UInt64 {
        var count: UInt64 = 0
        while try next() { count += rows }
        return count
    }

    // MARK: Pages

    private mutating func enter(_ page: UInt32) throws {
        guard stack.count < Self.maxDepth else { throw OddPages("its b-tree is too deep") }
        guard let record = pages.log.record(ofPage: page) else {
            throw OddPages("its b-tree has a page that isn't there")
        }
        visited += 1
        guard visited <= pages.pageCount else { throw OddPages("its b-tree goes round in circles") }
        // What was walked through isn't needed soon.
        if visited % 4096 == 0 { pages.log.relax() }
        var reader = RecordReader(record)
        let kind = PageSummary.Kind(rawValue: reader.next())
        let count = Int(reader.next() as UInt16)
        switch (kind, tree.kind) {
        case (.tableLeaf?, .rowID), (.indexLeaf?, .key):
            if count == 0, visited > 1 { throw OddPages("its b-tree has an empty page") }
            stack.append(Place(next: reader, left: count, kind: kind!))
        case (.tableInterior?, .rowID), (.indexInterior?, .key):
            let rightmost: UInt32 = reader.next()
            guard rightmost > 0 else { throw OddPages("its b-tree ends in nothing") }
            stack.append(Place(next: reader, left: count, kind: kind!, rightmost: rightmost))
        default: throw OddPages("its b-tree has a page of another kind")
        }
    }

    private mutating func nextSegment() throws -> Segment? {
        while let place = stack.indices.last {
            switch stack[place].kind {
            case .tableLeaf, .indexLeaf:
                if stack[place].left == 0 {
                    stack.removeLast()
                    continue
                }
                stack[place].left -= 1
                return try segment(place)
            default:
                if stack[place].isAtRow {
                    stack[place].isAtRow = false
                    return try segment(place)
                }
                try enter(nextChild(place))
            }
        }
        return nil
    }

    private mutating func nextChild(_ place: Int) throws -> UInt32 {
        if stack[place].left > 0 {
            stack[place].left -= 1
            stack[place].isAtRow = stack[place].kind == .indexInterior
            return stack[place].next.next()
        }
        // The page's last child takes its place.
        return stack.removeLast().rightmost
    }

    // MARK: Segments

    private struct Segment {
        var starts: Bool
        var rows: UInt16
        var sum: UInt128
        /// As they were stored.
        var first: UnsafeRawBufferPointer
        var last: UnsafeRawBufferPointer
    }

    private mutating func segment(_ place: Int) throws -> Segment {
        var reader = stack[place].next
        let flags: UInt8 = reader.next()
        let rows: UInt16 = reader.next()
        let overflowing: UInt16 = reader.next()
        let first = reader.bytes(isRowID ? 8 : Int(reader.next() as UInt16))
        let last = reader.bytes(isRowID ? 8 : Int(reader.next() as UInt16))
        var sum: UInt128 = reader.next()
        for _ in 0..<overflowing {
            let hash: UInt128 = reader.next()
            let page: UInt32 = reader.next()
            sum &+= try overflowHash(hash, page, pages: reader.next())
        }
        stack[place].next = reader
        try checkOrder(first, last)
        return Segment(
            starts: flags & PageSummary.Flags.starts != 0, rows: rows, sum: sum, first: first,
            last: last)
    }

    /// Keys rise over the whole tree.
    private mutating func checkOrder(
        _ first: UnsafeRawBufferPointer, _ last: UnsafeRawBufferPointer
    ) throws {
        if isRowID {
            // Within a page they were found to rise.
            let rowID = first.loadUnaligned(as: Int64.self)
            guard lastRowID.map({ $0 < rowID }) ?? true else {
                throw OddPages("its keys stand in no order")
            }
            lastRowID = last.loadUnaligned(as: Int64.self)
            return
        }
        try normalize(first, into: firstAhead)
        guard lastAhead.count == 0 || Self.isOrdered(lastAhead, firstAhead, strictly: true) else {
            throw OddPages("its keys stand in no order")
        }
        try normalize(last, into: lastAhead)
        guard Self.isOrdered(firstAhead, lastAhead, strictly: false) else {
            throw OddPages("its keys stand in no order")
        }
    }

    private static func isOrdered(_ a: ByteBuffer, _ b: ByteBuffer, strictly: Bool) -> Bool {
        let order = a.compare(0..<a.count, b, 0..<b.count)
        return order < 0 || order == 0 && !strictly
    }

    private static func copy(_ from: ByteBuffer, to: ByteBuffer) {
        to.removeAll()
        to.append(from, from: 0, count: from.count)
    }

    private func normalize(_ stored: UnsafeRawBufferPointer, into key: ByteBuffer) throws {
        key.removeAll()
        switch tree.kind {
        case .rowID: NormalizedKey.append(stored.loadUnaligned(as: Int64.self), to: key)
        case .key(let types):
            guard RecordKey.normalize(stored, types: types, into: key) else {
                throw OddPages("a key isn't stored as its type says, or is very long")
            }
        }
    }

    /// The hash of a row with all that it has in other pages.
    private mutating func overflowHash(
        _ local: UInt128, _ page: UInt32, pages count: UInt32
    ) throws -> UInt128 {
        guard pages.rules.countsOverflow else { return local }
        scratch.removeAll()
        scratch.append(fixed: local)
        var page = page
        for _ in 0..<count {
            overflowLeft -= 1
            guard overflowLeft >= 0, page > 0, let record = pages.log.record(ofPage: page) else {
                throw OddPages("a row's overflow pages aren't all there")
            }
            var reader = RecordReader(record)
            guard PageSummary.Kind(rawValue: reader.next()) == .other else {
                throw OddPages("a row's overflow pages are used otherwise")
            }
            page = reader.next()
            scratch.append(fixed: reader.next() as UInt128)
        }
        guard page == 0 else { throw OddPages("a row has more overflow pages than it needs") }
        return pages.hash(scratch)
    }
}

/// Reads a record as it was written.
struct RecordReader {
    private var at: UnsafeRawPointer

    init(_ start: UnsafeRawPointer) { at = start }

    @inline(__always)
    mutating func next<T: BitwiseCopyable>() -> T {
        defer { at += MemoryLayout<T>.size }
        return at.loadUnaligned(as: T.self)
    }

    @inline(__always)
    mutating func bytes(_ count: Int) -> UnsafeRawBufferPointer {
        defer { at += count }
        return UnsafeRawBufferPointer(start: at, count: count)
    }
}
