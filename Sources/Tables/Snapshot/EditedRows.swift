import Bytes

/// The rows that the edits of a slice show, gathered from their runs: row n is that of edit n, empty
/// where the edit only deletes. Safe for concurrent use.
///
/// It is for those who read a slice from end to end: runs and their pages are looked for once a slice
/// instead of once a page, and the rows lie in the order in which they are shown. It may lie in the
/// cache, and thus must not hold it.
final class EditedRows: Sendable {
    private struct Part: Sendable {
        let page: RunPage
        let moves: [RowMove]
    }

    private let parts: [Part]
    private let count: Int
    /// What the slice is in the cache.
    private let slice: SharedCache.Key
    /// Pages of runs that the slices behind this one have no rows in, but where a run ends.
    private let passed: [SharedCache.Key]

    init(_ slice: DecodedSlice, _ pool: FilePool) throws {
        self.slice = slice.key
        let edits = slice.slice.edits
        count = edits.count
        var finder = Finder(pool)
        for (index, edit) in edits.enumerated() where edit.kind.hasRow {
            try finder.add(edit.row, index)
        }
        passed = finder.passed.map { $0.key(pool) }
        for found in finder.found where !pool.cache.contains(found.place.key(pool)) {
            try found.place.file.willNeed(rowGroup: found.place.rowGroup)
        }
        parts = try finder.found.map { found in
            Part(page: try pool.runPage(found.place), moves: found.moves)
        }
    }

    /// Bytes of memory in use, the pages of runs included.
    var byteCount: Int {
        256 + parts.reduce(0) { $0 + $1.page.byteCount + $1.moves.count * 8 + 64 }
    }

    /// One value for each edit.
    func column(_ column: Column, _ pool: FilePool) throws -> ColumnVector {
        try pool.cache.value(key(column)) {
            let sources = try parts.map { (try $0.page.column(column, pool), $0.moves) }
            let vector = ColumnVector.gathering(sources, layout: column.type.layout, count: count)
            return (vector, bytes: vector.byteCount + 256)
        }
    }

    /// All columns of a schema.
    func batch(_ schema: TableSchema, _ pool: FilePool) throws -> RowBatch {
        RowBatch(columns: try schema.columns.map { try column($0, pool) })
    }

    private func key(_ column: Column) -> SharedCache.Key {
        var key = slice
        key.kind = FilePool.CacheKind.editedColumn.rawValue
        key.c |= UInt64(column.id) << 32
        return key
    }

    /// A sequential reader needs a column of this slice no more.
    func forget(_ column: Column, _ pool: FilePool) { pool.cache.forget(key(column)) }

    /// A sequential reader needs the slice no more.
    func forget(_ pool: FilePool) {
        for key in passed { pool.cache.forget(key) }
        pool.cache.forget(slice.editedRows)
    }

    // MARK: Finding

    /// Finds the page of each row. Those of a run come in order.
    private struct Finder {
        struct Found {
            let place: RunPlace
            var moves: [RowMove]
        }
        private(set) var found: [Found] = []
        private(set) var passed: [RunPlace] = []
        /// The last page of each run, by its index in `found`.
        private var cursors: [(file: UInt64, last: Int)] = []
        private let pool: FilePool

        init(_ pool: FilePool) { self.pool = pool }

        mutating func add(_ row: RunRow, _ edit: Int) throws {
            let number = Int(row.row)
            if let cursor = cursors.firstIndex(where: { $0.file == row.file }) {
                let last = cursors[cursor].last
                if !found[last].place.rows.contains(number) {
                    passed.append(found[last].place)
                    cursors[cursor].last = found.count
                    try begin(row)
                }
                append(number, edit, to: cursors[cursor].last)
            } else {
                cursors.append((row.file, found.count))
                try begin(row)
                append(number, edit, to: found.count - 1)
            }
        }

        private mutating func begin(_ row: RunRow) throws {
            let place = try pool.runPlace(of: row)
            found.append(Found(place: place, moves: []))
            found[found.count - 1].moves.reserveCapacity(place.rows.count)
        }

        private mutating func append(_ number: Int, _ edit: Int, to index: Int) {
            let from = number - found[index].place.rows.lowerBound
            found[index].moves.append(RowMove(from: from, to: edit))
        }
    }
}

extension SharedCache.Key {
    /// Of the edited rows of the slice that this is the key of.
    fileprivate var editedRows: SharedCache.Key {
        var key = self
        key.kind = FilePool.CacheKind.editedRows.rawValue
        return key
    }
}

extension FilePool {
    /// The edited rows of a slice in one piece; nil if they are too many bytes to be held at once.
    func editedRows(_ slice: DecodedSlice) throws -> EditedRows? {
        let sums = slice.sums
        let rowBytes = sums.csvBytes / max(sums.rows, 1) + 64
        if sums.edits * rowBytes > UInt64(min(cache.maxBytes / 16, 8 << 20)) { return nil }
        return try cache.value(slice.key.editedRows) {
            let rows = try EditedRows(slice, self)
            return (rows, bytes: rows.byteCount)
        }
    }
}
