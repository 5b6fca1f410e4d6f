import Bytes

/// The rows of a rendered page: where they lie, in key order. Nothing is copied to know it, nor
/// decoded: the same for every column. Safe for concurrent use.
///
/// It may lie in the cache, and thus must not hold it: who asks brings the pool.
final class MergedPage: Sendable {
    /// Consecutive rows of one source.
    typealias Piece = RowPiece

    /// The stored page that holds the base rows; nil if there are none.
    struct Base: Sendable {
        let file: RowFile
        let rowGroup: Int
        let page: Int
    }

    let base: Base?
    /// Where rows of edits lie: in one piece for the whole slice, or in the pages of runs.
    private let edited: EditedRows?
    private let runs: [RunPage]
    /// In order. Sources are the base page if there is one, then the edited rows or the pages of runs.
    let pieces: [Piece]
    /// Pages of runs that no page behind this one needs.
    private let passed: [SharedCache.Key]
    /// Whether no page of the slice follows.
    private let isLast: Bool

    fileprivate init(
        base: Base?, edited: EditedRows?, runs: [RunPage], passed: [SharedCache.Key],
        pieces: [Piece], isLast: Bool
    ) {
        self.base = base
        self.edited = edited
        self.runs = runs
        self.passed = passed
        self.pieces = pieces
        self.isLast = isLast
    }

    /// Bytes of memory in use, the pages of runs left out: they are known to the cache themselves.
    var byteCount: Int {
        256 + pieces.capacity * MemoryLayout<Piece>.stride
            + runs.count * MemoryLayout<Int>.stride
            + passed.count * MemoryLayout<SharedCache.Key>.stride
    }

    /// What pieces refer to, in one column.
    func sources(_ column: Column, _ pool: FilePool) throws -> [ColumnVector] {
        var sources: [ColumnVector] = []
        sources.reserveCapacity(runs.count + 1)
        if let base { sources += try pool.page(base, columns: [column]) }
        if let edited { sources.append(try edited.column(column, pool)) }
        for run in runs { sources.append(try run.column(column, pool)) }
        return sources
    }

    /// Appends the body of a Parquet page with one column's rows, if they are just those of a stored
    /// page and stored alike: undoing its compression makes it. Else answers false.
    func appendStoredBody(
        _ column: Column, _ pool: FilePool, into output: ByteBuffer
    ) throws -> Bool {
        guard let base, pieces.count == 1, pieces[0].source == 0,
            try pieces[0].rows == 0..<base.file.rowCount(rowGroup: base.rowGroup, page: base.page),
            let place = try base.file.place(of: column)
        else { return false }
        let start = output.count
        guard
            let bytes = try base.file.appendBody(
                rowGroup: base.rowGroup, page: base.page, column: place, into: output)
        else { return false }
        pool.count(pages: 1, readBytes: bytes, decodedBytes: output.count - start)
        return true
    }

    /// What pieces refer to, in all columns of a schema.
    func sources(_ schema: TableSchema, _ pool: FilePool) throws -> [RowBatch] {
        let count = (base == nil ? 0 : 1) + (edited == nil ? 0 : 1) + runs.count
        return try (0..<count).map { try source($0, schema, pool) }
    }

    func source(_ number: Int, _ schema: TableSchema, _ pool: FilePool) throws -> RowBatch {
        if number == 0, let base {
            return RowBatch(columns: try pool.page(base, columns: schema.columns))
        }
        if let edited { return try edited.batch(schema, pool) }
        return try runs[base == nil ? number : number - 1].batch(schema, pool)
    }

    /// A sequential reader has passed this page in some columns, or in the last of all: what nobody
    /// needs behind it leaves the cache, so that its memory, still in the processor's, serves what
    /// comes next.
    func forgetPassed(_ columns: [Column], isLastColumn: Bool = true, _ pool: FilePool) {
        if isLast, let edited {
            for column in columns { edited.forget(column, pool) }
            if isLastColumn { edited.forget(pool) }
        }
        if isLastColumn { for key in passed { pool.cache.forget(key) } }
    }

    /// The rows in one batch; copied unless they are all of one source. Not for large pages (`PageRows`).
    func rows(_ schema: TableSchema, _ pool: FilePool) throws -> RowBatch {
        let sources = try sources(schema, pool)
        if pieces.count == 1, pieces[0].rows == 0..<sources[pieces[0].source].count {
            return sources[pieces[0].source]
        }
        let result = RowBatch(schema)
        for (index, column) in result.columns.enumerated() {
            let columns = sources.map { $0.columns[index] }
            for piece in pieces {
                let source = columns[piece.source]
                guard column.byteCount + source.byteCount < ColumnVector.maxBytes else {
                    throw Failure(.corrupt, "edits show more bytes than a page can have")
                }
                column.append(source, rows: piece.rows)
            }
        }
        return result
    }

    // MARK: Finding

    /// Walks the edits of a page and finds each row once.
    struct Builder {
        /// The page of a run that its last row was in: rows of a run come in order.
        private struct Cursor {
            let file: UInt64
            var rows: Range<Int>
            var source: Int
        }
        private var base: Base?
        private let edited: EditedRows?
        private var places: [RunPlace] = []
        private var passed: [SharedCache.Key] = []
        private var cursors: [Cursor] = []
        private var pieces: [Piece] = []
        private let pool: FilePool

        /// - Parameter edited: the rows of the slice's edits, if they have been gathered.
        init(base: Base?, edited: EditedRows?, pool: FilePool, edits: Int) {
            self.base = base
            self.edited = edited
            self.pool = pool
            pieces.reserveCapacity(2 * edits + 1)
        }

        mutating func append(base rows: Range<Int>) {
            if !rows.isEmpty { pieces.append(Piece(source: 0, rows: rows)) }
        }

        /// A row that replaces or was inserted, and the index of its edit.
        mutating func append(_ row: RunRow, edit: Int) throws {
            if edited != nil {
                append(edit, of: base == nil ? 0 : 1)
                return
            }
            let number = Int(row.row)
            for index in cursors.indices where cursors[index].file == row.file {
                if !cursors[index].rows.contains(number) {
                    let place = try pool.runPlace(of: row)
                    let left = cursors[index].source - (base == nil ? 0 : 1)
                    passed.append(places[left].key(pool))
                    cursors[index].rows = place.rows
                    cursors[index].source = add(place)
                }
                append(number - cursors[index].rows.lowerBound, of: cursors[index].source)
                return
            }
            let place = try pool.runPlace(of: row)
            let source = add(place)
            cursors.append(Cursor(file: row.file, rows: place.rows, source: source))
            append(number - place.rows.lowerBound, of: source)
        }

        private mutating func add(_ place: RunPlace) -> Int {
            places.append(place)
            return places.count - 1 + (base == nil ? 0 : 1)
        }

        private mutating func append(_ index: Int, of source: Int) {
            if let last = pieces.last, last.source == source, last.rows.upperBound == index {
                pieces[pieces.count - 1] = Piece(
                    source: source, rows: last.rows.lowerBound..<index + 1)
            } else {
                pieces.append(Piece(source: source, rows: index..<index + 1))
            }
        }

        /// Reads the pages of runs. Those that aren't in memory are asked for all at once before,
        /// unless the reader is sequential: then the system reads ahead by itself.
        ///
        /// - Parameter isLast: whether no page of the slice follows.
        func finish(isSequential: Bool, isLast: Bool) throws -> MergedPage {
            var (base, pieces) = (base, pieces)
            if base != nil, pieces.allSatisfy({ $0.source > 0 }) {
                // None of its rows is left, be they large or not.
                base = nil
                pieces = pieces.map { Piece(source: $0.source - 1, rows: $0.rows) }
            }
            if !isSequential, places.count > 1 {
                for place in places where !pool.cache.contains(place.key(pool)) {
                    try place.willNeed()
                }
            }
            return MergedPage(
                base: base, edited: edited, runs: try places.map { try pool.runPage($0) },
                passed: isLast ? places.map { $0.key(pool) } : passed, pieces: pieces,
                isLast: isLast)
        }
    }
}

extension FilePool {
    /// Some columns of a base page.
    func page(_ base: MergedPage.Base, columns: [Column]) throws -> [ColumnVector] {
        try page(base.file, rowGroup: base.rowGroup, page: base.page, columns: columns)
    }
}
