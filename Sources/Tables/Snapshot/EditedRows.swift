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
        let moves: ArraySlice<RowMove>
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
        var finder = Finder(pool, edits: edits.count)
        for (index, edit) in edits.enumerated() where edit.kind.hasRow {
            try finder.add(edit.row, edit: index)
        }
        passed = finder.passed.map { $0.key(pool) }
        for place in finder.places where !pool.cache.contains(place.key(pool)) {
            try place.file.willNeed(rowGroup: place.rowGroup)
        }
        parts = try zip(finder.places, finder.moves()).map {
            Part(page: try pool.runPage($0), moves: $1)
        }
    }

    /// Bytes of memory in use, the pages of runs included.
    var byteCount: Int {
        256 + passed.count * MemoryLayout<SharedCache.Key>.stride
            + parts.reduce(0) { $0 + $1.page.byteCount + $1.moves.count * 8 + 64 }
    }

    /// One value for each edit.
    func column(_ column: Column, _ pool: FilePool) throws -> ColumnVector {
        try pool.cache.value(key(column)) {
            let sources = try parts.map { (try $0.page.column(column, pool), $0.moves) }
            let vector = try ColumnVector.gathering(
                sources, layout: column.type.layout, count: count)
            return (vector, bytes: vector.memoryBytes)
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
        // Two schemas may give one id to columns with other stand-ins (`RunPage`).
        if let standIn = column.standIn {
            var hasher = Hasher()
            hasher.combine(column.type)
            hasher.combine(standIn)
            key.b ^= UInt64(UInt32(truncatingIfNeeded: hasher.finalize())) << 32
        }
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
        /// The page of a run that its last row was in.
        private struct Cursor {
            let file: UInt64
            var rows: Range<Int>
            var place: Int
        }
        private(set) var places: [RunPlace] = []
        private(set) var passed: [RunPlace] = []
        /// Rows found in each place, and for each row the place and where it is there.
        private var counts: [Int] = []
        private var rows: [(place: Int32, move: RowMove)] = []
        private var cursors: [Cursor] = []
        private let pool: FilePool

        init(_ pool: FilePool, edits: Int) {
            self.pool = pool
            rows.reserveCapacity(edits)
        }

        mutating func add(_ row: RunRow, edit: Int) throws {
            let number = Int(row.row)
            var index = 0
            while index < cursors.count, cursors[index].file != row.file { index += 1 }
            if index == cursors.count {
                let rows = try begin(row)
                cursors.append(Cursor(file: row.file, rows: rows, place: places.count - 1))
            } else if !cursors[index].rows.contains(number) {
                passed.append(places[cursors[index].place])
                cursors[index].rows = try begin(row)
                cursors[index].place = places.count - 1
            }
            let cursor = cursors[index]
            counts[cursor.place] += 1
            let move = RowMove(from: number - cursor.rows.lowerBound, to: edit)
            rows.append((Int32(cursor.place), move))
        }

        private mutating func begin(_ row: RunRow) throws -> Range<Int> {
            let place = try pool.runPlace(of: row)
            places.append(place)
            counts.append(0)
            return place.rows
        }

        /// The moves of each place's rows, place by place.
        func moves() -> [ArraySlice<RowMove>] {
            var next = prefixSums(counts.lazy.map(UInt64.init)).map { Int($0) }
            let starts = next
            var moves = [RowMove](repeating: RowMove(from: 0, to: 0), count: rows.count)
            for (place, move) in rows {
                moves[next[Int(place)]] = move
                next[Int(place)] += 1
            }
            return zip(starts, counts).map { moves[$0..<$0 + $1] }
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
        // The average says little where rows differ so much.
        if slice.slice.pages.contains(where: \.isLarge) { return nil }
        let sums = slice.sums
        let values = sums.columns.reduce(0) { $0 + $1.valueBytes }
        let rowBytes = max(sums.csvBytes, values) / max(sums.rows, 1) + 64
        if sums.edits * rowBytes > UInt64(min(cache.maxBytes / 16, 8 << 20)) { return nil }
        return try cache.value(slice.key.editedRows) {
            let rows = try EditedRows(slice, self)
            return (rows, bytes: rows.byteCount)
        }
    }
}
