import Bytes

/// `data_NN.csv` of a dump: the lines of some pages that follow one another.
package struct DumpFile: RenderedFile {
    package let snapshot: Snapshot
    /// Which of the table's bytes.
    private let range: Range<UInt64>
    private let table: DumpTable
    private let pages: TextPages

    /// - Parameter range: begins and ends where pages do.
    package init(_ snapshot: Snapshot, _ table: DumpTable, range: Range<UInt64>) {
        self.snapshot = snapshot
        self.table = table
        self.range = range
        pages = TextPages(
            snapshot, TableSchema(shown: table.columns), CSVRenderer(dumping: table.columns))
    }

    package func part(at offset: UInt64) throws -> FilePart? {
        guard offset < UInt64(range.count) else { return nil }
        let page = try snapshot.dumpPage(at: range.lowerBound + offset, table)
        guard page.start >= range.lowerBound, page.end <= range.upperBound else {
            throw Snapshot.contradiction
        }
        return FilePart(
            place: .page(page.place, page: page.page, column: 0),
            offset: page.start - range.lowerBound, bytes: page.end - page.start)
    }

    package func next(after page: FilePart) throws -> (slice: SlicePlace, columns: [Column])? {
        guard case .page(let place, _, _) = page.place else { return nil }
        return try snapshot.place(after: place).map { ($0, pages.shown.columns) }
    }

    package func key(_ part: FilePart) -> SharedCache.Key? {
        guard case .page(let place, let page, _) = part.place else { return nil }
        // The same rows may have rowids in front where the table's key is said to be another one.
        return snapshot.key(
            .dumpPage, UInt64(place.block) << 1 | (table.hasRowID ? 1 : 0),
            UInt64(place.slice) << 32 | UInt64(page))
    }

    package func render(_ part: FilePart, isSequential: Bool) throws -> ByteBuffer {
        guard case .page(let place, let page, _) = part.place, let key = key(part) else {
            throw Snapshot.contradiction
        }
        return try pages.render(key, place, page, bytes: part.bytes, isSequential: isSequential)
    }

    package func open(_ part: FilePart) throws -> any PartStream {
        guard case .page(let place, let page, _) = part.place else { throw Snapshot.contradiction }
        return try pages.open(place, page)
    }
}

/// Where the data files of a table begin and end: found by sums alone.
private final class DumpLayout: Sendable {
    let files: [Range<UInt64>]

    /// - Parameter limit: a file ends with the page that reaches it.
    init(_ snapshot: Snapshot, _ table: DumpTable, limit: UInt64) throws {
        let total = table.bytes(try snapshot.root().sums.pages)
        var files: [Range<UInt64>] = []
        var start: UInt64 = 0
        repeat {
            var end = total
            if total - start > limit {
                end = try snapshot.dumpPage(at: start + max(limit, 1) - 1, table).end
            }
            guard end > start || total == 0, end <= total else { throw Snapshot.contradiction }
            files.append(start..<end)
            start = end
        } while start < total
        self.files = files
    }
}

extension Snapshot {
    /// Which of the table's bytes each of its data files has; at least one.
    package func dumpFiles(_ table: DumpTable, limit: UInt64) throws -> [Range<UInt64>] {
        try root().require(.dump)
        return try pool.cache.value(key(.dumpLayout, limit, table.hasRowID ? 1 : 0)) {
            let layout = try DumpLayout(self, table, limit: limit)
            return (layout, bytes: 64 + layout.files.count * 16)
        }.files
    }

    /// The page that holds a byte of the table, and where it begins and ends.
    fileprivate func dumpPage(
        at offset: UInt64, _ table: DumpTable
    ) throws -> (place: SlicePlace, page: Int, start: UInt64, end: UInt64) {
        let root = try root()
        try root.require(.dump)
        var start: UInt64 = 0
        /// Which of several holds the byte; `start` goes to where that begins.
        func find(_ sums: some Sequence<PageSums>) throws -> Int {
            for (index, sums) in sums.enumerated() {
                let bytes = table.bytes(sums)
                if offset - start < bytes { return index }
                start += bytes
            }
            throw Snapshot.contradiction
        }
        let block = try find(root.blocks.lazy.map(\.sums.pages))
        let content = try pool.block(root.blocks[block].reference, schema: schema)
        let slice = try find(content.slices.lazy.map(\.sums.pages))
        let place = SlicePlace(block: block, slice: slice)
        let pages = try self.slice(place).slice.pages
        let page = try find(pages)
        return (place, page, start, start + table.bytes(pages[page]))
    }
}
