import Bytes
import Synchronization

/// A stored row file, opened for reading: its footer, and any page of any row group.
///
/// Everything is checked against what the file says of itself; damage is `Failure(.corrupt)` with
/// the file's name. Safe for concurrent use.
package final class RowFile: Sendable {
    struct Chunk: Sendable {
        var indexOffset = 0
        var indexLength = 0
        var codec = 0
    }
    struct RowGroup: Sendable {
        var rows = 0
        var firstRow = 0
        var chunks: [Chunk] = []
    }
    /// Where the pages of one row group lie.
    struct PageIndex: Sendable {
        var firstRows: [Int]
        /// By column, by page.
        var offsets: [[Int]]
        var sizes: [[Int]]
    }

    /// Where a column's values are in the file, and how they lie in memory.
    package struct ColumnPlace: Sendable {
        let index: Int
        let layout: ColumnVector.Layout

        package init(index: Int, layout: ColumnVector.Layout) {
            self.index = index
            self.layout = layout
        }
    }

    let file: any RandomAccess
    let groups: [RowGroup]
    package let rows: Int
    /// Column names and Parquet field ids, in file order.
    package let columnNames: [String]
    package let fieldIDs: [Int?]
    /// Key-value metadata of the footer.
    package let metadata: [String: String]
    let optional: [Bool]
    private let indexes = Mutex<[Int: PageIndex]>([:])
    /// The row group that was last asked for as a whole.
    let fetched = Mutex(-1)

    private static let tailBytes = 64 << 10
    /// That of a file of thousands of columns in tens of row groups stays below it.
    private static let maxFooterBytes: UInt64 = 1 << 29

    package var name: String { file.name }

    package init(_ file: any RandomAccess) throws {
        self.file = file
        do {
            let footer = try Self.readFooter(file)
            var parser = FooterParser()
            try parser.parse(footer)
            groups = parser.groups
            rows = parser.groups.last.map { $0.firstRow + $0.rows } ?? 0
            columnNames = parser.names
            fieldIDs = parser.fieldIDs
            metadata = parser.metadata
            optional = parser.optional
        } catch let failure as Failure where failure.code == .corrupt {
            throw Failure(.corrupt, "row file \(file.name) is damaged: \(failure.message)")
        }
    }

    private static func readFooter(_ file: any RandomAccess) throws -> ByteBuffer {
        guard file.sizeBytes >= 12 else { throw Failure(.corrupt, "it is too short") }
        let size = min(UInt64(tailBytes), file.sizeBytes)
        let tail = ByteBuffer(capacity: Int(size))
        try file.read(at: file.sizeBytes - size, count: Int(size), into: tail)
        guard tail.load(at: tail.count - 4, as: UInt32.self) == 0x3152_4150 else {
            throw Failure(.corrupt, "it doesn't end as a Parquet file does")
        }
        let length = UInt64(tail.load(at: tail.count - 8, as: UInt32.self))
        guard length + 20 <= file.sizeBytes, length <= maxFooterBytes else {
            throw Failure(.corrupt, "its footer is cut")
        }
        let start = file.sizeBytes - 8 - length
        let check = ByteBuffer()
        try file.read(at: start - 8, count: 8, into: check)
        let footer = ByteBuffer(capacity: max(Int(length), 1))
        try file.read(at: start, count: Int(length), into: footer)
        guard Checksum.xxh3(footer) == check.load(at: 0, as: UInt64.self) else {
            throw Failure(.corrupt, "its footer's checksum is wrong")
        }
        return footer
    }

    /// Bytes of memory in use once all page indexes are read, about.
    var memoryBytes: Int {
        let ofChunks = groups.reduce(0) { sum, group in
            group.chunks.reduce(sum) { $0 + 128 + min($1.indexLength, 1 << 28) * 2 }
        }
        return 2048 + columnNames.count * 64 + groups.count * 128 + min(ofChunks, 1 << 40)
    }

    /// The row group that holds a row counted from the file's begin.
    package func rowGroup(of row: Int) throws -> (group: Int, row: Int) {
        guard row >= 0, row < rows else { throw damaged("row \(row) of \(rows)") }
        var low = 0
        var high = groups.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if groups[middle].firstRow <= row { low = middle } else { high = middle }
        }
        return (low, row - groups[low].firstRow)
    }

    /// The page of a row of a row group: its number, and the rows that it holds.
    package func page(of row: Int, rowGroup: Int) throws -> (page: Int, rows: Range<Int>) {
        let index = try pageIndex(rowGroup)
        guard row >= 0, row < groups[rowGroup].rows else { throw damaged("row \(row)") }
        var low = 0
        var high = index.firstRows.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if index.firstRows[middle] <= row { low = middle } else { high = middle }
        }
        let end = high < index.firstRows.count ? index.firstRows[high] : groups[rowGroup].rows
        return (low, index.firstRows[low]..<end)
    }

    /// Where a column of a table is; nil if the file is older than the column, which has a stand-in
    /// then.
    func place(of column: Column) throws -> ColumnPlace? {
        if let index = fieldIDs.firstIndex(of: Int(column.id)) {
            return ColumnPlace(index: index, layout: column.type.layout)
        }
        if column.standIn != nil { return nil }
        throw Failure(.corrupt, "row file \(name) has no column \(column.name)")
    }

    /// Rows of a page of a row group.
    func rowCount(rowGroup: Int, page: Int) throws -> Int {
        let starts = try pageIndex(rowGroup).firstRows
        guard starts.indices.contains(page) else { throw damaged("page \(page)") }
        let end = page + 1 < starts.count ? starts[page + 1] : groups[rowGroup].rows
        return end - starts[page]
    }

    func pageIndex(_ rowGroup: Int) throws -> PageIndex {
        guard groups.indices.contains(rowGroup) else { throw damaged("row group \(rowGroup)") }
        if let known = indexes.withLock({ $0[rowGroup] }) { return known }
        // The indexes of all row groups lie together: of small ones all are read at once.
        var wanted = rowGroup..<rowGroup + 1
        if let all = indexRange(groups.indices), all.count <= Self.smallIndexBytes {
            wanted = groups.indices
        }
        guard let range = indexRange(wanted), range.upperBound <= Int(file.sizeBytes),
            range.count < 1 << 28
        else { throw damaged("its page index") }
        let buffer = ByteBuffer(capacity: max(range.count, 1))
        try file.read(at: UInt64(range.lowerBound), count: range.count, into: buffer)
        let read = try wanted.map {
            ($0, try parseIndex(of: groups[$0], buffer, from: range.lowerBound))
        }
        indexes.withLock { $0.merge(read) { $1 } }
        return read[rowGroup - wanted.lowerBound].1
    }

    private static let smallIndexBytes = 256 << 10

    /// Where the page indexes of row groups lie; nil if that can't be.
    private func indexRange(_ wanted: Range<Int>) -> Range<Int>? {
        var start = Int.max
        var end = 0
        for chunk in groups[wanted].lazy.flatMap(\.chunks) {
            start = min(start, chunk.indexOffset)
            end = max(end, chunk.indexOffset + chunk.indexLength)
        }
        return start <= end ? start..<end : nil
    }

    private func parseIndex(
        of group: RowGroup, _ buffer: ByteBuffer, from start: Int
    ) throws -> PageIndex {
        var result = PageIndex(firstRows: [], offsets: [], sizes: [])
        for (number, chunk) in group.chunks.enumerated() {
            guard
                let pages = try? Self.parseOffsetIndex(buffer, from: chunk.indexOffset - start)
            else { throw damaged("its page index") }
            let firstRows = pages.map(\.firstRow)
            if number == 0 { result.firstRows = firstRows }
            guard firstRows == result.firstRows, firstRows.first == 0,
                zip(firstRows, firstRows.dropFirst() + [group.rows]).allSatisfy({
                    $0 < $1 && $1 - $0 <= PageCodec.maxRows
                }),
                zip(pages, pages.dropFirst()).allSatisfy({ $0.offset + $0.size <= $1.offset }),
                UInt64(pages.last!.offset + pages.last!.size) <= file.sizeBytes
            else { throw damaged("its page index") }
            result.offsets.append(pages.map(\.offset))
            result.sizes.append(pages.map(\.size))
        }
        return result
    }

    private static func parseOffsetIndex(
        _ buffer: ByteBuffer, from position: Int
    ) throws(Failure) -> [(offset: Int, size: Int, firstRow: Int)] {
        var pages: [(offset: Int, size: Int, firstRow: Int)] = []
        var reader = ThriftReader(buffer, from: position)
        try reader.structure { (reader, id, _) throws(Failure) in
            guard id == 1 else { return false }
            try reader.list { (reader) throws(Failure) in
                var page = (offset: 0, size: 0, firstRow: 0)
                try reader.structure { (reader, id, _) throws(Failure) in
                    switch id {
                    case 1: page.offset = try reader.size()
                    case 2: page.size = try reader.size()
                    case 3: page.firstRow = try reader.size()
                    default: return false
                    }
                    return true
                }
                pages.append(page)
            }
            return true
        }
        return pages
    }

    func damaged(_ what: String) -> Failure {
        Failure(.corrupt, "row file \(file.name) is damaged: \(what) isn't there")
    }
}
