import Bytes

/// Finds keys among the base rows of a slice, dead ones included.
///
/// Reads of each page the key columns when a key may be there, the other columns once a row is
/// asked for; each at most once as long as keys come in order.
struct BaseRows {
    /// The base rows of a page: the columns read so far, and which of their rows.
    private struct Page {
        let number: Int
        let keys: RowBatch
        let rows: Range<Int>
    }

    let slice: Slice
    private let schema: TableSchema
    /// The key columns alone.
    private let keySchema: TableSchema
    private let otherColumns: [Column]
    private let reader: SliceReader
    /// Position of each page's first row, and behind the last one's end.
    private let starts: [Int]
    /// The page that the last key was in, and one that was looked at while searching.
    private var current: Page?
    private var probed: [Int: Page] = [:]
    /// All columns of a page.
    private var full: (page: Int, batch: RowBatch, rows: Range<Int>)?
    /// Index in the current page from which on keys are searched.
    private var from = 0
    private let scratch = ByteBuffer(capacity: 256)

    init(
        _ slice: Slice, schema: TableSchema, pool: FilePool, isSequential: Bool
    ) throws {
        self.slice = slice
        self.schema = schema
        keySchema = schema.ofKey
        otherColumns = schema.columns.indices.filter { !schema.key.contains($0) }.map {
            schema.columns[$0]
        }
        reader = SliceReader(slice, schema: schema, pool: pool, isSequential: isSequential)
        starts = slice.pageStarts
    }

    private mutating func page(_ number: Int) throws -> Page {
        if let current, current.number == number { return current }
        if let known = probed[number] { return known }
        guard let (columns, rows) = try reader.base(ofPage: number, columns: keySchema.columns)
        else { throw Failure(.corrupt, "a slice has an empty page") }
        let page = Page(number: number, keys: RowBatch(columns: columns), rows: rows)
        probed[number] = page
        return page
    }

    /// Compares the key of a page's row with a change's: negative if it is before.
    private func compare(_ page: Page, _ row: Int, _ list: KeyList, _ key: Int) -> Int {
        scratch.removeAll()
        NormalizedKey.append(page.keys, row: row, schema: keySchema, to: scratch)
        return -list.compare(key, scratch)
    }

    /// Makes the page current that holds the key, or the place where it would be. Gallops from the
    /// present one.
    private mutating func turn(to list: KeyList, _ key: Int) throws {
        let last = slice.pages.count - 1
        var low = try current ?? page(0)
        if compare(low, low.rows.upperBound - 1, list, key) < 0 {
            var high = last + 1
            var step = 1
            while low.number + step < high {
                let next = try page(low.number + step)
                if compare(next, next.rows.lowerBound, list, key) <= 0 {
                    low = next
                    step *= 2
                } else {
                    high = next.number
                }
            }
            while high - low.number > 1 {
                let middle = try page((low.number + high) / 2)
                if compare(middle, middle.rows.lowerBound, list, key) <= 0 {
                    low = middle
                } else {
                    high = middle.number
                }
            }
        }
        if current?.number == low.number { return }
        current = low
        from = low.rows.lowerBound
        probed = probed.filter { $0.key > low.number }
    }

    /// The position of the first base row whose key isn't before a key of `list`, and whether it is
    /// this key. Keys are to be asked for in their order.
    mutating func position(of list: KeyList, _ key: Int) throws -> (position: Int, hit: Bool) {
        if slice.count == 0 { return (0, false) }
        try turn(to: list, key)
        let page = current!
        // The next key is most often close behind the last.
        var low = from
        var high = page.rows.upperBound
        var step = 1
        while low < high {
            let probe = min(low + step, high) - 1
            if compare(page, probe, list, key) >= 0 {
                high = probe
                break
            }
            low = probe + 1
            step *= 2
        }
        while low < high {
            let middle = (low + high) / 2
            if compare(page, middle, list, key) < 0 { low = middle + 1 } else { high = middle }
        }
        from = low
        let hit = low < page.rows.upperBound && compare(page, low, list, key) == 0
        return (starts[page.number] + low - page.rows.lowerBound, hit)
    }

    /// The page that holds a position that was just found; the last one for position n.
    func page(ofPosition position: Int) -> Int {
        guard let current else { return 0 }
        let isBehind = position >= starts[current.number + 1]
        return isBehind && current.number + 1 < slice.pages.count
            ? current.number + 1 : current.number
    }

    /// The base row at a position that `position` just found.
    mutating func row(at position: Int) throws -> (batch: RowBatch, index: Int) {
        let page = current!
        let index = position - starts[page.number]
        if let full, full.page == page.number { return (full.batch, full.rows.lowerBound + index) }
        guard let (others, _) = try reader.base(ofPage: page.number, columns: otherColumns) else {
            throw Failure(.corrupt, "a slice has an empty page")
        }
        var next = 0
        let columns = schema.columns.indices.map { column in
            if let key = schema.key.firstIndex(of: column) { return page.keys.columns[key] }
            next += 1
            return others[next - 1]
        }
        guard columns.allSatisfy({ $0.count == page.keys.count }) else {
            throw Failure(.corrupt, "columns of a page differ in length")
        }
        let batch = RowBatch(columns: columns)
        full = (page.number, batch, page.rows)
        return (batch, page.rows.lowerBound + index)
    }
}
