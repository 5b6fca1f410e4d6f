import Bytes
import Synchronization

/// Opens the files of a collection by their numbers.
package protocol FileOpener: Sendable {
    func open(file number: UInt64) throws -> any RandomAccess
}

/// The row and index files of one collection, opened when needed, with decoded parts in a shared
/// cache. Safe for concurrent use.
package final class FilePool: Sendable {
    /// Kinds of what is cached; the last ones are `CSVFile`'s and `ParquetFile`'s.
    enum CacheKind: UInt8 {
        case rowFile, root, block, slice, runPage
        case csvPage, parquetLayout, parquetPage, parquetFooter
        case blockFiles
    }

    /// Work done, for tests and `metrics`.
    package struct Figures: Sendable {
        package var pagesDecoded: UInt64 = 0
        /// Bytes of row files that were read for them, and what they came to in memory.
        package var bytesRead: UInt64 = 0
        package var bytesDecoded: UInt64 = 0
        package var pagesRendered: UInt64 = 0
        package var rowFilesOpened: UInt64 = 0

        package init() {}

        package static func + (a: Figures, b: Figures) -> Figures {
            var sum = a
            sum.pagesDecoded += b.pagesDecoded
            sum.bytesRead += b.bytesRead
            sum.bytesDecoded += b.bytesDecoded
            sum.pagesRendered += b.pagesRendered
            sum.rowFilesOpened += b.rowFilesOpened
            return sum
        }
    }

    let cache: SharedCache
    let owner: UInt64
    private let opener: any FileOpener
    private let counters = Mutex(Figures())

    package init(_ opener: any FileOpener, cache: SharedCache) {
        self.opener = opener
        self.cache = cache
        owner = cache.newOwner()
    }

    package var figures: Figures { counters.withLock { $0 } }

    func count(_ body: (inout sending Figures) -> Void) { counters.withLock { body(&$0) } }

    func key(_ kind: CacheKind, _ a: UInt64, _ b: UInt64 = 0, _ c: UInt64 = 0) -> SharedCache.Key {
        SharedCache.Key(owner: owner, kind: kind.rawValue, a, b, c)
    }

    package func rowFile(_ number: UInt64) throws -> RowFile {
        try cache.value(key(.rowFile, number)) {
            count { $0.rowFilesOpened += 1 }
            let file = try RowFile(opener.open(file: number))
            return (file, bytes: 4096 + file.groups.count * 2048)
        }
    }

    /// A block of slices, its bodies not yet decoded.
    func block(_ reference: BlockReference, schema: TableSchema) throws -> IndexBlock {
        try cache.value(key(.block, reference.file, reference.offset)) {
            let file = try opener.open(file: reference.file)
            let content = try IndexCodec.open(reference, in: file)
            let block = try IndexBlock(content, schema: schema, name: file.name)
            let perSlice = 128 + schema.columns.count * 24
            return (block, bytes: content.count + block.slices.count * perSlice)
        }
    }

    /// One slice of a block, decoded.
    func slice(
        _ reference: BlockReference, _ index: Int, schema: TableSchema
    ) throws -> DecodedSlice {
        try cache.value(key(.slice, reference.file, reference.offset, UInt64(index))) {
            var bare = try block(reference, schema: schema).slice(index)
            for tier in bare.tiers.dropFirst() {
                let reference = tier.reference
                try opener.open(file: reference.file).willNeed(
                    at: reference.offset, count: Int(reference.length))
            }
            bare.edits = try .merging(bare.tiers.map { try tier($0, schema: schema) })
            guard bare.edits.isValid(sliceRows: bare.count),
                bare.sums.edits == UInt64(bare.edits.count)
            else {
                throw Failure(.corrupt, "index \(try name(reference.file)) is damaged")
            }
            let slice = DecodedSlice(bare)
            let perPage = 96 + schema.columns.count * 16
            return (
                slice,
                bytes: 256 + slice.slice.pages.count * perPage + slice.slice.edits.count * 24
            )
        }
    }

    /// One tier of a slice's edits; not cached.
    func tier(_ tier: EditTier, schema: TableSchema) throws -> [Edit] {
        let file = try opener.open(file: tier.reference.file)
        let content = try IndexCodec.open(tier.reference, in: file)
        var reader = try IndexReader(content, tag: "E", schema: schema, name: file.name)
        return try reader.tier()
    }

    private func name(_ file: UInt64) throws -> String { try opener.open(file: file).name }

    func root(_ reference: BlockReference, schema: TableSchema) throws -> SnapshotRoot {
        try cache.value(key(.root, reference.file, reference.offset)) {
            let file = try opener.open(file: reference.file)
            let content = try IndexCodec.open(reference, in: file)
            let root = try SnapshotRoot(content, schema: schema, name: file.name)
            return (root, bytes: 2 * content.count + root.blocks.count * 128)
        }
    }

    /// Some columns of a page, decoded; not cached.
    func page(
        _ file: RowFile, rowGroup: Int, page: Int, columns: [Column]
    ) throws -> [ColumnVector] {
        let positions = try file.positions(of: columns)
        try file.willNeed(rowGroup: rowGroup, page: page, columns: positions)
        let vectors = try file.readPage(rowGroup: rowGroup, page: page, columns: positions)
        let bytes = try file.storedBytes(rowGroup: rowGroup, page: page, columns: positions)
        let decoded = vectors.reduce(0) { $0 + $1.byteCount }
        count {
            $0.pagesDecoded += UInt64(vectors.count)
            $0.bytesRead += UInt64(bytes)
            $0.bytesDecoded += UInt64(decoded)
        }
        return vectors
    }

    /// The page of a run that holds `row`, the columns of `schema` alone. If it has to be decoded,
    /// the pages of the rows that `next` answers, which are wanted soon, are fetched with it.
    func runPage(
        of row: RunRow, schema: TableSchema, before next: () -> some Sequence<RunRow>
    ) throws -> RunPage {
        let place = try runPlace(of: row, schema: schema)
        return try cache.value(place.key) {
            try willNeed(next(), schema: schema)
            let batch = RowBatch(
                columns: try page(
                    place.file, rowGroup: place.rowGroup, page: place.page,
                    columns: schema.columns))
            return (
                RunPage(batch, firstRow: place.rows.lowerBound), bytes: batch.byteCount + 512
            )
        }
    }

    func runPage(of row: RunRow, schema: TableSchema) throws -> RunPage {
        try runPage(of: row, schema: schema, before: { EmptyCollection() })
    }

    private struct RunPlace {
        var file: RowFile
        var rowGroup: Int
        var page: Int
        /// The page's, counted from the file's begin.
        var rows: Range<Int>
        var key: SharedCache.Key
    }

    private func runPlace(of row: RunRow, schema: TableSchema) throws -> RunPlace {
        let file = try rowFile(row.file)
        let (group, rowInGroup) = try file.rowGroup(of: Int(row.row))
        let (page, rows) = try file.page(of: rowInGroup, rowGroup: group)
        let start = Int(row.row) - rowInGroup
        let columns = schema.columns.reduce(0) { ($0 ^ UInt64($1.id)) &* 0x9E37_79B9_7F4A_7C15 }
        return RunPlace(
            file: file, rowGroup: group, page: page,
            rows: start + rows.lowerBound..<start + rows.upperBound,
            key: key(.runPage, row.file, UInt64(group) << 32 | UInt64(page), columns))
    }

    /// Few missing pages, as a sequential reader meets them, are not worth the asking.
    private static let fewPages = 8

    private func willNeed(_ rows: some Sequence<RunRow>, schema: TableSchema) throws {
        var seen: [UInt64: Range<Int>] = [:]
        var missing: [RunPlace] = []
        for row in rows where seen[row.file]?.contains(Int(row.row)) != true {
            let place = try runPlace(of: row, schema: schema)
            seen[row.file] = place.rows
            if !cache.contains(place.key) { missing.append(place) }
        }
        if missing.count < Self.fewPages { return }
        for place in missing {
            try place.file.willNeed(
                rowGroup: place.rowGroup, page: place.page,
                columns: place.file.positions(of: schema.columns))
        }
    }
}

/// A decoded page of a run.
final class RunPage: Sendable {
    let batch: RowBatch
    /// Counted from the file's begin.
    let firstRow: Int

    init(_ batch: RowBatch, firstRow: Int) {
        self.batch = batch
        self.firstRow = firstRow
    }

    func index(of row: RunRow) -> Int? {
        let index = Int(row.row) - firstRow
        return index >= 0 && index < batch.count ? index : nil
    }
}

final class DecodedSlice: Sendable {
    let slice: Slice
    /// Bytes of CSV before each page, counted from the slice's begin.
    let csvStarts: [UInt64]

    init(_ slice: Slice) {
        self.slice = slice
        csvStarts = prefixSums(slice.pages.lazy.map(\.csvBytes))
    }
}

/// For each number, the sum of those before it.
func prefixSums(_ numbers: some Sequence<UInt64>) -> [UInt64] {
    var sum: UInt64 = 0
    return numbers.map { number in
        defer { sum += number }
        return sum
    }
}

extension [UInt64] {
    /// Index of the last element that isn't greater than `value`; the first one must not be.
    func lastIndex(notAbove value: UInt64) -> Int {
        var low = 0
        var high = count
        while high - low > 1 {
            let middle = (low + high) / 2
            if self[middle] <= value { low = middle } else { high = middle }
        }
        return low
    }
}

/// A block's content with its directory read.
final class IndexBlock: Sendable {
    let slices: [(offset: Int, sums: SliceSums)]
    /// Bytes of CSV before each slice, counted from the block's begin.
    let csvStarts: [UInt64]
    private let reader: IndexReader

    init(_ content: ByteBuffer, schema: TableSchema, name: String) throws {
        var reader = try IndexReader(content, tag: "B", schema: schema, name: name)
        slices = try reader.blockDirectory()
        csvStarts = prefixSums(slices.lazy.map(\.sums.pages.csvBytes))
        self.reader = reader
    }

    func lowerBound(_ index: Int) throws -> [UInt8] {
        var reader = reader
        return try reader.lowerBound(at: slices[index].offset)
    }

    /// A slice without its edits.
    func slice(_ index: Int) throws -> Slice {
        var reader = reader
        return try reader.body(at: slices[index].offset)
    }
}

final class SnapshotRoot: Sendable {
    let blocks: [BlockDescriptor]
    /// Bytes of CSV before each block, without the header line.
    let csvStarts: [UInt64]
    let sums: SliceSums

    init(_ content: ByteBuffer, schema: TableSchema, name: String) throws {
        var reader = try IndexReader(content, tag: "R", schema: schema, name: name)
        blocks = try reader.root()
        csvStarts = prefixSums(blocks.lazy.map(\.sums.pages.csvBytes))
        sums = blocks.reduce(into: SliceSums()) { $0 += $1.sums }
    }
}

extension RowFile {
    /// Where columns of a table are in this file.
    func positions(of columns: [Column]) throws -> [(index: Int, layout: ColumnVector.Layout)] {
        try columns.map { column in
            guard let index = fieldIDs.firstIndex(of: Int(column.id)) else {
                throw Failure(.corrupt, "row file \(name) has no column \(column.name)")
            }
            return (index, column.type.layout)
        }
    }
}
