import Bytes

/// The rows of a page in key order, some at a time: for large pages, of which no more is in memory than
/// must be. A large row comes alone, as it was decoded, and nobody else has it.
struct PageRows {
    private let page: MergedPage
    private let schema: TableSchema
    private let pool: FilePool
    /// The piece that the next row is of, and which of its rows.
    private var piece = 0
    private var row = 0
    /// Sources that are decoded, as long as pieces refer to them.
    private var sources: [Int: RowBatch] = [:]
    private let lastPieces: [Int: Int]

    /// Batches end when they have so many bytes.
    private static let batchBytes = 1 << 20

    init(_ page: MergedPage, _ schema: TableSchema, _ pool: FilePool) {
        self.page = page
        self.schema = schema
        self.pool = pool
        lastPieces = Dictionary(
            page.pieces.enumerated().map { ($1.source, $0) }, uniquingKeysWith: max)
        row = page.pieces.first?.rows.lowerBound ?? 0
    }

    /// Nil at the end.
    mutating func next() throws -> RowBatch? {
        let rows = RowBatch(schema)
        while piece < page.pieces.count, rows.byteCount < Self.batchBytes {
            let source = try source(page.pieces[piece].source)
            if source.isLargeRow {
                if rows.count > 0 { break }
                pass()
                return source
            }
            if rows.count > 0, source.byteCount(ofRow: row) > RowBatch.largeBytes { break }
            rows.append(source, row: row)
            pass()
        }
        return rows.count > 0 ? rows : nil
    }

    private mutating func source(_ number: Int) throws -> RowBatch {
        if let known = sources[number] { return known }
        let source = try page.source(number, schema, pool)
        sources[number] = source
        return source
    }

    private mutating func pass() {
        row += 1
        if row < page.pieces[piece].rows.upperBound { return }
        let source = page.pieces[piece].source
        if lastPieces[source] == piece { sources[source] = nil }
        piece += 1
        if piece < page.pieces.count { row = page.pieces[piece].rows.lowerBound }
    }
}
