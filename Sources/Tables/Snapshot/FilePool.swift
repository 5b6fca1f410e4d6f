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
        case csvPage, parquetLayout, parquetRows, parquetPage, parquetFooter
        case blockFiles, editedRows, editedColumn, keyIndex
        case dumpPage, dumpLayout
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
            return (file, bytes: file.memoryBytes)
        }
    }

    /// A block of slices, its bodies not yet decoded.
    func block(_ reference: BlockReference, schema: TableSchema) throws -> IndexBlock {
        try cache.value(key(.block, reference.file, reference.offset)) {
            let file = try opener.open(file: reference.file)
            let content = try IndexCodec.open(reference, in: file)
            let block = try IndexBlock(content, schema: schema, name: file.name)
            let perSlice = 176 + schema.columns.count * 24
            return (block, bytes: content.count + block.slices.count * perSlice)
        }
    }

    /// One slice of a block, decoded.
    func slice(
        _ reference: BlockReference, _ index: Int, schema: TableSchema
    ) throws -> DecodedSlice {
        let key = key(.slice, reference.file, reference.offset, UInt64(index))
        return try cache.value(key) {
            var bare = try block(reference, schema: schema).slice(index)
            for tier in bare.tiers.dropFirst() {
                let reference = tier.reference
                try opener.open(file: reference.file).willNeed(
                    at: reference.offset, count: Int(clamping: reference.length))
            }
            bare.edits = try .merging(bare.tiers.map { try tier($0, schema: schema) })
            guard bare.edits.isValid(sliceRows: bare.count),
                bare.sums.edits == UInt64(bare.edits.count)
            else {
                throw Failure(.corrupt, "index \(try name(reference.file)) is damaged")
            }
            let slice = DecodedSlice(bare, key: key, RowMeasure(schema))
            return (slice, bytes: slice.memoryBytes(columns: schema.columns.count))
        }
    }

    /// One tier of a slice's edits; not cached.
    func tier(_ tier: EditTier, schema: TableSchema) throws -> [Edit] {
        let file = try opener.open(file: tier.reference.file)
        let content = try IndexCodec.open(tier.reference, in: file)
        var reader = try IndexReader(content, tag: "E", schema: schema, name: file.name)
        return try reader.tier()
    }

    func name(_ file: UInt64) throws -> String { try opener.open(file: file).name }

    func root(_ reference: BlockReference, schema: TableSchema) throws -> SnapshotRoot {
        try cache.value(key(.root, reference.file, reference.offset)) {
            let file = try opener.open(file: reference.file)
            let content = try IndexCodec.open(reference, in: file)
            let root = try SnapshotRoot(content, schema: schema, name: file.name)
            return (root, bytes: 512 + 2 * content.count + root.blocks.count * 192)
        }
    }

    /// Some columns of a page, decoded; not cached.
    func page(
        _ file: RowFile, rowGroup: Int, page: Int, columns: [Column]
    ) throws -> [ColumnVector] {
        let places = try columns.map { try file.place(of: $0) }
        let stored = places.compactMap { $0 }
        let vectors = try file.readPage(rowGroup: rowGroup, page: page, columns: stored)
        count(
            pages: vectors.count,
            readBytes: try file.storedBytes(rowGroup: rowGroup, page: page, columns: stored),
            decodedBytes: vectors.reduce(0) { $0 + $1.byteCount })
        if vectors.count == columns.count { return vectors }
        let rows = try file.rowCount(rowGroup: rowGroup, page: page)
        var next = vectors.makeIterator()
        return zip(columns, places).map { column, place in
            place == nil ? ColumnVector(standIn: column, rows: rows) : next.next()!
        }
    }

    /// Has all base pages of a slice fetched at once.
    func willNeed(_ slice: Slice) throws {
        if slice.count == 0 { return }
        let file = try rowFile(slice.file)
        guard slice.rowGroup < file.groups.count else { return }
        try file.willNeed(
            rowGroup: slice.rowGroup, rows: slice.firstRow..<slice.firstRow + slice.count)
    }

    func count(pages: Int = 0, readBytes: Int = 0, decodedBytes: Int = 0) {
        count {
            $0.pagesDecoded += UInt64(pages)
            $0.bytesRead += UInt64(readBytes)
            $0.bytesDecoded += UInt64(decodedBytes)
        }
    }
}

final class DecodedSlice: Sendable {
    let slice: Slice
    let sums: PageSums
    /// What it is in the cache.
    let key: SharedCache.Key
    /// Bytes of CSV before each page, counted from the slice's begin.
    let csvStarts: [UInt64]
    /// For each column, bytes of its Parquet pages before each page.
    let parquetStarts: [[UInt64]]

    init(_ slice: Slice, key: SharedCache.Key, _ measure: RowMeasure) {
        self.slice = slice
        self.key = key
        sums = slice.sums
        csvStarts = prefixSums(slice.pages.lazy.map(\.csvBytes))
        parquetStarts = measure.columns.map { column in
            prefixSums(slice.pages.lazy.map { measure.parquetBytes($0, column: column) })
        }
    }

    /// Bytes of memory in use, about.
    func memoryBytes(columns: Int) -> Int {
        let ofPage = 112 + columns * 24
        return 512 + columns * 48 + slice.pages.count * ofPage + slice.edits.capacity * 24
            + slice.tiers.count * 48 + slice.lowerBound.count
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

    var lacking: Set<SizedFormat> { reader.lacking }

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
    let lacking: Set<SizedFormat>

    init(_ content: ByteBuffer, schema: TableSchema, name: String) throws {
        var reader = try IndexReader(content, tag: "R", schema: schema, name: name)
        blocks = try reader.root()
        csvStarts = prefixSums(blocks.lazy.map(\.sums.pages.csvBytes))
        sums = blocks.reduce(into: SliceSums()) { $0 += $1.sums }
        lacking = reader.lacking
    }

    /// Throws if the index doesn't hold the sizes of a format.
    func require(_ formats: SizedFormat...) throws {
        for format in formats where lacking.contains(format) {
            throw Failure(
                .corrupt, "the index of the table has no sizes as \(format.rawValue)")
        }
    }
}
