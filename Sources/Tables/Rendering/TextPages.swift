import Bytes

/// Renders pages of a snapshot as lines of text.
struct TextPages: Sendable {
    private let snapshot: Snapshot
    /// The columns to be read.
    let shown: TableSchema
    private let renderer: CSVRenderer

    init(_ snapshot: Snapshot, _ shown: TableSchema, _ renderer: CSVRenderer) {
        self.snapshot = snapshot
        self.shown = shown
        self.renderer = renderer
    }

    func render(
        _ key: SharedCache.Key, _ place: SlicePlace, _ page: Int, bytes: UInt64, isSequential: Bool
    ) throws -> ByteBuffer {
        // Some room more: the renderer wants it for a field before it writes one.
        try snapshot.renderedPage(key, of: place, bytes: bytes, room: 1024) { slice, output in
            let reader = SliceReader(
                slice, schema: shown, pool: snapshot.pool, isSequential: isSequential)
            let rows = try reader.merged(page: page)
            renderer.render(
                try rows.sources(shown, snapshot.pool), rows.pieces, into: output)
            if isSequential { rows.forgetPassed(shown.columns, snapshot.pool) }
        }
    }

    /// For a long page.
    func open(_ place: SlicePlace, _ page: Int) throws -> any PartStream {
        let reader = SliceReader(
            try snapshot.slice(place).slice, schema: shown, pool: snapshot.pool, isSequential: true)
        let rows = PageRows(try reader.merged(page: page), shown, snapshot.pool)
        snapshot.pool.count { $0.pagesRendered += 1 }
        return TextStream(rows, renderer)
    }
}

/// A page as text: no more of it is in memory than a large row as it is stored, and a piece of its text.
private final class TextStream: PartStream, @unchecked Sendable {
    private var rows: PageRows
    private let renderer: CSVRenderer
    /// The large row that is being written.
    private var row: CSVLongRow?

    private static let pieceBytes = 1 << 20

    init(_ rows: PageRows, _ renderer: CSVRenderer) {
        self.rows = rows
        self.renderer = renderer
    }

    func next(into output: ByteBuffer) throws -> Bool {
        if row == nil {
            guard let batch = try rows.next() else { return false }
            if !batch.isLargeRow {
                renderer.render(batch, 0..<batch.count, into: output)
                return true
            }
            row = renderer.longRow(batch)
        }
        if row?.append(about: Self.pieceBytes, to: output) != true { row = nil }
        return true
    }
}
