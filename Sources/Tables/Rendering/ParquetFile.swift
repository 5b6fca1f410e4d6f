import Bytes
import Synchronization

extension RowFormat {
    package static let parquet = RowFormat(
        id: "parquet", name: "Parquet", version: ParquetFile.version, bytes: ParquetFile.bytes,
        file: { ParquetFile($0) },
        writeChanges: { try ChangeFiles.writeParquet($0, schema: $0.schema, to: $1) })
}

/// `TABLE.parquet`: PLAIN and uncompressed, rows in key order, a page of each column for each
/// rendered page of the snapshot.
///
/// ```
/// PAR1 | row groups, each: a chunk for each column, each: its pages | footer
/// ```
/// Every reader known takes files of this layout; `ParquetForm` says how values look in them.
package final class ParquetFile: RenderedFile {
    /// Changes whenever the same rows would give other bytes; stored with every size.
    package static let version = 1

    package let snapshot: Snapshot
    private let footer: ParquetFooter
    private let measure: RowMeasure
    private let forms: [ParquetForm]
    /// Each visible column as a table of its own, to be read alone.
    private let columns: [TableSchema]
    /// Kept while the file is open: every read needs it, and it is 16 bytes a column chunk.
    private let foundLayout = Mutex<ParquetLayout?>(nil)

    package init(_ snapshot: Snapshot) {
        self.snapshot = snapshot
        footer = ParquetFooter(snapshot.schema)
        measure = RowMeasure(snapshot.schema)
        forms = snapshot.schema.visibleColumns.map { ParquetForm($0.type) }
        columns = snapshot.schema.visibleColumns.map { TableSchema(column: $0) }
    }

    /// Bytes of the file of a table.
    static func bytes(_ sums: SliceSums, _ schema: TableSchema) -> UInt64 {
        let footer = ParquetFooter(schema)
        let groups = footer.groups(filledSlices: sums.filledSlices).count
        return sums.parquetBytes.reduce(ParquetLayout.magicBytes, +)
            + UInt64(footer.bytes(groups: groups))
    }

    // MARK: Finding

    private func layout() throws -> ParquetLayout {
        if let layout = foundLayout.withLock(\.self) { return layout }
        try snapshot.root().require(.parquet)
        let layout = try snapshot.pool.cache.value(snapshot.key(.parquetLayout)) {
            let layout = try ParquetLayout(snapshot, footer: footer)
            return (layout, bytes: layout.byteCount)
        }
        foundLayout.withLock { $0 = layout }
        return layout
    }

    package func part(at offset: UInt64) throws -> FilePart? {
        if offset < ParquetLayout.magicBytes {
            return FilePart(place: .begin, offset: 0, bytes: ParquetLayout.magicBytes)
        }
        let layout = try layout()
        if offset < layout.end { return try page(at: offset, layout) }
        let size = UInt64(footer.bytes(groups: layout.groups.count))
        if offset >= layout.end + size { return nil }
        return FilePart(place: .end, offset: layout.end, bytes: size)
    }

    private func page(at offset: UInt64, _ layout: ParquetLayout) throws -> FilePart {
        let (group, column, start) = layout.chunk(at: offset)
        var rest = offset - start
        let place = try slice(at: &rest, from: layout.groups[group].first, column)
        let slice = try snapshot.slice(place)
        let index = slice.parquetStarts[column].lastIndex(notAbove: rest)
        rest -= slice.parquetStarts[column][index]
        let bytes = measure.parquetBytes(slice.slice.pages[index], column: column)
        guard rest < bytes else { throw Snapshot.contradiction }
        return FilePart(
            place: .page(place, page: index, column: column), offset: offset - rest, bytes: bytes)
    }

    /// The slice that holds byte `rest` of a chunk that begins at the slice `first`; counts `rest`
    /// from the slice's begin then.
    private func slice(
        at rest: inout UInt64, from first: SlicePlace, _ column: Int
    ) throws -> SlicePlace {
        let root = try snapshot.root()
        for number in first.block..<root.blocks.count {
            let reference = root.blocks[number].reference
            let slices = try snapshot.pool.block(reference, schema: snapshot.schema).slices
            for index in (number == first.block ? first.slice : 0)..<slices.count {
                let bytes = slices[index].sums.parquetBytes[column]
                if rest < bytes { return SlicePlace(block: number, slice: index) }
                rest -= bytes
            }
        }
        throw Snapshot.contradiction
    }

    package func next(after page: FilePart) throws -> (slice: SlicePlace, columns: [Column])? {
        guard case .page(let place, _, let column) = page.place else { return nil }
        let layout = try layout()
        let group = layout.chunk(at: page.offset).group
        if place != layout.groups[group].last {
            return try snapshot.place(after: place).map { ($0, columns[column].columns) }
        }
        if column + 1 < columns.count {
            return (layout.groups[group].first, columns[column + 1].columns)
        }
        if group + 1 == layout.groups.count { return nil }
        return (layout.groups[group + 1].first, columns[0].columns)
    }

    // MARK: Rendering

    package func key(_ part: FilePart) -> SharedCache.Key? {
        switch part.place {
        case .begin: nil
        case .page(let place, let page, let column):
            snapshot.key(
                .parquetPage, UInt64(place.block) << 32 | UInt64(column),
                UInt64(place.slice) << 32 | UInt64(page))
        case .end:
            // Points that differ in nothing but names share all else.
            snapshot.key(
                .parquetFooter,
                UInt64(bitPattern: Int64(snapshot.schema.visibleColumns.map(\.name).hashValue)))
        }
    }

    package func render(_ part: FilePart, isSequential: Bool) throws -> ByteBuffer {
        guard let key = key(part) else { return Self.magic }
        guard case .page(let place, let page, let column) = part.place else {
            return try snapshot.pool.cache.value(key) {
                let footer = try renderedFooter()
                return (footer, bytes: footer.capacity + 256)
            }
        }
        return try snapshot.renderedPage(key, of: place, bytes: part.bytes) { decoded, output in
            let rows = try rows(decoded, place, page, column, isSequential: isSequential)
            try write(rows, column, of: part, decoded.slice.pages[page], into: output)
            if isSequential {
                let isLastColumn = column == columns.count - 1
                rows.forgetPassed(
                    columns[column].columns, isLastColumn: isLastColumn, snapshot.pool)
                if isLastColumn { snapshot.pool.cache.forget(rowsKey(place, page)) }
            }
        }
    }

    package func open(_ part: FilePart) throws -> any PartStream {
        guard case .page(let place, let page, let column) = part.place else {
            throw Snapshot.contradiction
        }
        let slice = try snapshot.slice(place)
        let rows = try rows(slice, place, page, column, isSequential: false)
        snapshot.pool.count { $0.pagesRendered += 1 }
        // The number may be wrong: more is taken as it is needed.
        let output = ByteBuffer(capacity: min(try size(part), 1 << 30))
        try write(rows, column, of: part, slice.slice.pages[page], into: output)
        return OnePiece(output)
    }

    private static var magic: ByteBuffer {
        let magic = ByteBuffer(capacity: 4)
        magic.append("PAR1")
        return magic
    }

    private func size(_ part: FilePart) throws -> Int {
        guard part.bytes <= Int32.max else {
            throw Failure(.unsupported, "Parquet has no pages of \(part.bytes) bytes: read the CSV")
        }
        return Int(part.bytes)
    }

    /// Where the rows of a page lie. A sequential reader asks for all columns of it, one after another.
    private func rows(
        _ decoded: DecodedSlice, _ place: SlicePlace, _ page: Int, _ column: Int, isSequential: Bool
    ) throws -> MergedPage {
        let reader = SliceReader(
            decoded, schema: columns[column], pool: snapshot.pool, isSequential: isSequential)
        if decoded.slice.edits(ofPage: page).isEmpty { return try reader.merged(page: page) }
        return try snapshot.pool.cache.value(rowsKey(place, page)) {
            let merged = try reader.merged(page: page)
            return (merged, bytes: merged.byteCount)
        }
    }

    private func rowsKey(_ place: SlicePlace, _ page: Int) -> SharedCache.Key {
        snapshot.key(.parquetRows, UInt64(place.block), UInt64(place.slice) << 32 | UInt64(page))
    }

    private func write(
        _ rows: MergedPage, _ column: Int, of part: FilePart, _ page: PageSums,
        into output: ByteBuffer
    ) throws {
        ParquetForm.writeHeader(rows: Int(page.rows), bytes: try size(part), into: output)
        let isConverted = forms[column].conversion != .none
        if !isConverted,
            try rows.appendStoredBody(snapshot.schema.columns[column], snapshot.pool, into: output)
        {
            return
        }
        var sources = try rows.sources(snapshot.schema.columns[column], snapshot.pool)
        if isConverted { sources = sources.map { forms[column].convert($0) } }
        try PageCodec.encode(sources, rows.pieces, into: output)
    }

    private func renderedFooter() throws -> ByteBuffer {
        let layout = try layout()
        var groups = layout.groups.indices.map { layout.rowGroup($0) }
        for index in groups.indices {
            groups[index].bounds = try bounds(layout.groups[index], groups[index])
            if groups[index].bounds == nil {
                // All have bounds or none: DataFusion answers MIN and MAX from those that are there.
                for index in groups.indices { groups[index].bounds = nil }
                break
            }
        }
        return footer.render(groups)
    }

    /// The least and the greatest value of the storage key's leading column, if they can be told exactly: those
    /// of the first and the last row.
    private func bounds(
        _ group: ParquetLayout.Group, _ rowGroup: ParquetFooter.RowGroup
    ) throws -> (least: [UInt8], greatest: [UInt8])? {
        let column = snapshot.schema.key[0]
        if snapshot.schema.columns[column].isHidden { return nil }
        if rowGroup.chunks[column].nulls > 0 { return nil }
        guard let least = try bound(group.first, column, isLast: false),
            let greatest = try bound(group.last, column, isLast: true)
        else { return nil }
        return (least, greatest)
    }

    private func bound(_ place: SlicePlace, _ column: Int, isLast: Bool) throws -> [UInt8]? {
        let slice = try snapshot.slice(place).slice
        let hasRows = { (page: PageSums) in page.rows > 0 }
        let page =
            isLast
            ? slice.pages.lastIndex(where: hasRows) : slice.pages.firstIndex(where: hasRows)
        guard let page else { throw Snapshot.contradiction }
        var reader = SliceReader(
            slice, schema: columns[column], pool: snapshot.pool, isSequential: false)
        let (batch, row) = try reader.edge(ofPage: page, isLast: isLast)
        return forms[column].bound(batch.columns[0], row: row)
    }
}

/// A part that is rendered as a whole.
private final class OnePiece: PartStream, @unchecked Sendable {
    private var piece: ByteBuffer?

    init(_ piece: ByteBuffer) { self.piece = piece }

    func next(into output: ByteBuffer) throws -> Bool {
        guard let piece else { return false }
        output.exchange(with: piece)
        self.piece = nil
        return true
    }
}
