import Bytes

/// The usable bytes of a database page, and SQLite's ways to write numbers in them
/// (sqlite.org/fileformat2.html §1.6). Whatever they say is believed only as far as they reach: every
/// answer is nil that would need bytes beyond the end.
struct PageBytes {
    let base: UnsafeRawPointer
    /// The page's size without its reserved bytes.
    let count: Int

    /// Kinds of b-tree pages, by their first byte.
    enum Kind {
        static let indexInterior: UInt8 = 2
        static let tableInterior: UInt8 = 5
        static let indexLeaf: UInt8 = 10
        static let tableLeaf: UInt8 = 13
    }

    var kind: UInt8 { base.load(as: UInt8.self) }

    @inline(__always)
    func u16(_ offset: Int) -> Int? {
        guard offset >= 0, offset <= count - 2 else { return nil }
        return Int(UInt16(bigEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt16.self)))
    }

    @inline(__always)
    func u32(_ offset: Int) -> UInt32? {
        guard offset >= 0, offset <= count - 4 else { return nil }
        return UInt32(bigEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    /// A number of 1 to 9 bytes, and where it ends.
    @inline(__always)
    func varint(_ offset: Int) -> (value: UInt64, end: Int)? {
        Self.varint(base, offset, count)
    }

    @inline(__always)
    static func varint(
        _ base: UnsafeRawPointer, _ offset: Int, _ limit: Int
    ) -> (value: UInt64, end: Int)? {
        guard offset >= 0 else { return nil }
        var value: UInt64 = 0
        for index in 0..<8 {
            guard offset + index < limit else { return nil }
            let byte = base.load(fromByteOffset: offset + index, as: UInt8.self)
            value = value << 7 | UInt64(byte & 0x7f)
            if byte < 0x80 { return (value, offset + index + 1) }
        }
        guard offset + 8 < limit else { return nil }
        return (
            value << 8 | UInt64(base.load(fromByteOffset: offset + 8, as: UInt8.self)), offset + 9
        )
    }

    /// Where each cell of a b-tree page begins, in key order: the pointers behind a header of
    /// `headerBytes`.
    struct Cells {
        let count: Int
        fileprivate let first: Int
    }

    /// Nil if the page can't hold as many cells as it says.
    @inline(__always)
    func cells(headerBytes: Int) -> Cells? {
        // A pointer, and the smallest cell that SQLite writes.
        guard let number = u16(3), headerBytes + 6 * number <= count else { return nil }
        return Cells(count: number, first: headerBytes)
    }

    @inline(__always)
    func start(of cell: Int, _ cells: Cells) -> Int? {
        guard let start = u16(cells.first + 2 * cell), start >= cells.first + 2 * cells.count
        else { return nil }
        return start
    }

    /// What a cell keeps of a row, and what it has elsewhere.
    struct Payload {
        /// Of the cell's bytes that belong to the row: from its first on.
        var range: Range<Int>
        /// First page of the rest; 0: there is none.
        var overflow: UInt32
        /// Pages that the rest fills.
        var overflowPages: UInt32
    }

    /// Bytes of a row of `size` bytes that a cell keeps (sqlite.org/fileformat2.html §1.6).
    @inline(__always)
    private func localBytes(_ size: Int, isTable: Bool) -> Int {
        let most = isTable ? count - 35 : (count - 12) * 64 / 255 - 23
        if size <= most { return size }
        let least = (count - 12) * 32 / 255 - 23
        let local = least + (size - least) % (count - 4)
        return local <= most ? local : least
    }

    /// - Parameters:
    ///   - cell: where the cell's own bytes begin that count as the row's.
    ///   - body: where the payload begins.
    @inline(__always)
    func payload(size: UInt64, cell: Int, body: Int, isTable: Bool) -> Payload? {
        // More than SQLite itself takes.
        guard size <= 0x7FFF_FFFF else { return nil }
        let size = Int(size)
        let local = localBytes(size, isTable: isTable)
        guard body + local <= count else { return nil }
        var payload = Payload(range: cell..<body + local, overflow: 0, overflowPages: 0)
        if local < size {
            guard let page = u32(body + local), page > 0 else { return nil }
            payload.overflow = page
            let perPage = count - 4
            payload.overflowPages = UInt32((size - local + perPage - 1) / perPage)
        }
        return payload
    }

    @inline(__always)
    subscript(range: Range<Int>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count)
    }
}
