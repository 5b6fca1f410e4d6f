import Bytes

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
}
