import Bytes

extension RowFormat {
    package static let csv = RowFormat(
        id: "csv", name: "CSV", version: CSVRenderer.version, bytes: CSVFile.bytes,
        file: { CSVFile($0) },
        writeChanges: { try ChangeFiles.writeCSV($0, schema: $0.schema, to: $1) })
}

/// `TABLE.csv`: a header line, and the rendered pages of all slices.
package struct CSVFile: RenderedFile {
    package let snapshot: Snapshot
    private let renderer: CSVRenderer
    private let header: ByteBuffer
    /// The columns to be read.
    private let shown: TableSchema

    package init(_ snapshot: Snapshot) {
        self.snapshot = snapshot
        shown = snapshot.schema.shown
        renderer = CSVRenderer(shown)
        header = ByteBuffer(capacity: renderer.header.count)
        header.append(renderer.header)
    }

    /// Bytes of the file of a table.
    static func bytes(_ sums: SliceSums, _ schema: TableSchema) -> UInt64 {
        sums.pages.csvBytes + UInt64(CSVRenderer(schema).header.count)
    }

    package func part(at offset: UInt64) throws -> FilePart? {
        let first = UInt64(header.count)
        if offset < first { return FilePart(place: .begin, offset: 0, bytes: first) }
        let root = try snapshot.root()
        try root.require(.csv)
        var rest = offset - first
        if rest >= root.sums.pages.csvBytes { return nil }
        let block = root.csvStarts.lastIndex(notAbove: rest)
        rest -= root.csvStarts[block]
        let starts = try snapshot.pool.block(
            root.blocks[block].reference, schema: snapshot.schema
        ).csvStarts
        let place = SlicePlace(block: block, slice: starts.lastIndex(notAbove: rest))
        rest -= starts[place.slice]
        let decoded = try snapshot.slice(place)
        let page = decoded.csvStarts.lastIndex(notAbove: rest)
        rest -= decoded.csvStarts[page]
        let bytes = decoded.slice.pages[page].csvBytes
        guard rest < bytes else { throw Snapshot.contradiction }
        return FilePart(
            place: .page(place, page: page, column: 0), offset: offset - rest, bytes: bytes)
    }

    package func next(after page: FilePart) throws -> (slice: SlicePlace, columns: [Column])? {
        guard case .page(let place, _, _) = page.place else { return nil }
        return try snapshot.place(after: place).map { ($0, shown.columns) }
    }

    package func key(_ part: FilePart) -> SharedCache.Key? {
        guard case .page(let place, let page, _) = part.place else { return nil }
        return snapshot.key(.csvPage, UInt64(place.block), UInt64(place.slice) << 32 | UInt64(page))
    }

    package func render(_ part: FilePart, isSequential: Bool) throws -> ByteBuffer {
        guard case .page(let place, let page, _) = part.place, let key = key(part) else {
            return header
        }
        // Some room more: the renderer wants it for a field before it writes one.
        return try snapshot.renderedPage(
            key, of: place, bytes: part.bytes, room: 1024
        ) { slice, output in
            let reader = SliceReader(
                slice, schema: shown, pool: snapshot.pool, isSequential: isSequential)
            let rows = try reader.merged(page: page)
            renderer.render(
                try rows.sources(shown, snapshot.pool), rows.pieces, into: output)
            if isSequential { rows.forgetPassed(shown.columns, snapshot.pool) }
        }
    }

    package func open(_ part: FilePart) throws -> any PartStream {
        guard case .page(let place, let page, _) = part.place else { throw Snapshot.contradiction }
        let reader = SliceReader(
            try snapshot.slice(place).slice, schema: shown, pool: snapshot.pool, isSequential: true)
        let rows = PageRows(try reader.merged(page: page), shown, snapshot.pool)
        snapshot.pool.count { $0.pagesRendered += 1 }
        return CSVStream(rows, renderer)
    }
}

/// A page as CSV: no more of it is in memory than a large row as it is stored, and a piece of its text.
private final class CSVStream: PartStream, @unchecked Sendable {
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
