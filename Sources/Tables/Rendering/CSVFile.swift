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
    private let pages: TextPages
    private let header: ByteBuffer

    package init(_ snapshot: Snapshot) {
        self.snapshot = snapshot
        let shown = snapshot.schema.shown
        let renderer = CSVRenderer(shown)
        pages = TextPages(snapshot, shown, renderer)
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
        return try snapshot.place(after: place).map { ($0, pages.shown.columns) }
    }

    package func key(_ part: FilePart) -> SharedCache.Key? {
        guard case .page(let place, let page, _) = part.place else { return nil }
        return snapshot.key(.csvPage, UInt64(place.block), UInt64(place.slice) << 32 | UInt64(page))
    }

    package func render(_ part: FilePart, isSequential: Bool) throws -> ByteBuffer {
        guard case .page(let place, let page, _) = part.place, let key = key(part) else {
            return header
        }
        return try pages.render(key, place, page, bytes: part.bytes, isSequential: isSequential)
    }

    package func open(_ part: FilePart) throws -> any PartStream {
        guard case .page(let place, let page, _) = part.place else { throw Snapshot.contradiction }
        return try pages.open(place, page)
    }
}
