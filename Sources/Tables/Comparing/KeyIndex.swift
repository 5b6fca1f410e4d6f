import Bytes

/// Which pages of some row groups may hold a key: for tables that are stored by another key. Made by
/// reading the key's columns once, shared by all points.
///
/// ```
/// entries   for each row: the upper bits of its key's hash, the page's number in as many lower bits
///           as are needed; sorted
/// ```
/// Four bytes a row. Of thousands of rows a few have the same upper bits: who asks looks into the page.
final class KeyIndex: Sendable {
    private let entries: [UInt32]
    private let pageBits: Int

    init(_ hashes: [(page: Int, hash: UInt32)], pages: Int) {
        let pageBits = Int.bitWidth - max(pages - 1, 0).leadingZeroBitCount
        self.pageBits = pageBits
        entries = hashes.map { Self.entry($0.hash, pageBits) | UInt32($0.page) }.sorted()
    }

    private static func entry(_ hash: UInt32, _ pageBits: Int) -> UInt32 {
        (hash >> pageBits) << pageBits
    }

    var byteCount: Int { entries.count * 4 + 64 }

    /// The pages that may hold keys of this hash, in order.
    func pages(_ hash: UInt32) -> [Int] {
        let first = Self.entry(hash, pageBits)
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle] < first { low = middle + 1 } else { high = middle }
        }
        var pages: [Int] = []
        while low < entries.count, Self.entry(entries[low], pageBits) == first {
            let page = Int(entries[low] - first)
            if pages.last != page { pages.append(page) }
            low += 1
        }
        return pages
    }
}

/// Finds rows of a row file by their declared key.
struct KeyedFile {
    private let number: UInt64
    private let file: RowFile
    private let pool: FilePool
    private let key: TableSchema
    private let storage: TableSchema

    /// Row groups that have an index in common: some of small ones.
    private static let indexedRows = 65_536

    init(_ number: UInt64, _ schema: TableSchema, _ pool: FilePool) throws {
        self.number = number
        self.pool = pool
        file = try pool.rowFile(number)
        key = schema.ofLookupKey
        storage = schema.ofKey
    }

    /// The storage keys of all rows of the file that have a key, those that no point shows included.
    ///
    /// - Parameter checkpoint: called for each page that is read; throws to stop.
    func storageKeys(
        of wanted: [UInt8], hash: UInt32, checkpoint: () throws -> Void
    ) throws -> Set<[UInt8]> {
        var found = Set<[UInt8]>()
        for groups in parts {
            let pages = try pages(of: groups)
            for page in try index(of: groups, pages, checkpoint).pages(hash) {
                guard page < pages.count else { continue }
                try checkpoint()
                let columns = try pool.page(
                    file, rowGroup: pages[page].group, page: pages[page].page,
                    columns: key.columns + storage.columns)
                let keys = key.groups(Array(columns.prefix(key.columns.count)))
                let others = RowBatch(columns: Array(columns.dropFirst(key.columns.count)))
                let list = KeyList(keys, schema: key)
                for row in 0..<keys.count where list.compare(row, wanted) == 0 {
                    found.insert(NormalizedKey.of(others, row: row, schema: storage))
                }
            }
        }
        return found
    }

    /// The file's row groups, in parts that are indexed.
    private var parts: [Range<Int>] {
        var parts: [Range<Int>] = []
        var first = 0
        while first < file.groups.count {
            var end = first + 1
            var rows = file.groups[first].rows
            while end < file.groups.count, rows + file.groups[end].rows <= Self.indexedRows {
                rows += file.groups[end].rows
                end += 1
            }
            parts.append(first..<end)
            first = end
        }
        return parts
    }

    private func pages(of groups: Range<Int>) throws -> [(group: Int, page: Int)] {
        try groups.flatMap { group in
            try file.pageIndex(group).firstRows.indices.map { (group, $0) }
        }
    }

    private func index(
        of groups: Range<Int>, _ pages: [(group: Int, page: Int)], _ checkpoint: () throws -> Void
    ) throws -> KeyIndex {
        // Two versions of a table may have other keys, or the same with other stand-ins.
        var hasher = Hasher()
        hasher.combine(key)
        let place = pool.key(
            .keyIndex, number, UInt64(groups.lowerBound),
            UInt64(UInt(bitPattern: hasher.finalize())))
        return try pool.cache.value(place) {
            var hashes: [(page: Int, hash: UInt32)] = []
            hashes.reserveCapacity(groups.reduce(0) { $0 + file.groups[$1].rows })
            let buffer = ByteBuffer(capacity: 256)
            for (number, page) in pages.enumerated() {
                try checkpoint()
                let keys = key.groups(
                    try pool.page(
                        file, rowGroup: page.group, page: page.page, columns: key.columns))
                for row in 0..<keys.count {
                    buffer.removeAll()
                    NormalizedKey.append(keys, row: row, schema: key, to: buffer)
                    hashes.append((number, Self.hash(buffer)))
                }
            }
            let index = KeyIndex(hashes, pages: pages.count)
            return (index, bytes: index.byteCount)
        }
    }

    /// Of a normalized key.
    static func hash(_ key: ByteBuffer) -> UInt32 { UInt32(Checksum.xxh3(key) >> 32) }
}
