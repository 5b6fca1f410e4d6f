import Bytes

/// Limits of what is written. Readers take them from the files, so that any value may be used;
/// tests use tiny ones.
package struct FormatLimits: Sendable {
    /// A page ends when it has this many rows …
    package var pageRows = 2048
    /// … or at least this many bytes.
    package var pageBytes = 1 << 20
    /// Pages of runs, whose rows are read singly, and row groups of them: so small that what a page
    /// has of all columns lies close together and is read at once.
    package var runPageRows = 384
    package var runGroupRows = 1024
    package var rowGroupRows = 65_536
    package var rowGroupBytes = 64 << 20
    /// A row file ends with the row group that reaches this size.
    package var fileBytes = 256 << 20
    /// Slices of an index block.
    package var blockSlices = 64
    /// Changes that are worked on at a time, in rows and bytes.
    package var editRows = 4096
    package var editBytes = 4 << 20
    /// New rows, with none of before between them, that become slices of their own.
    package var insertedSliceRows = 4096
    /// Tiers of equal age of a slice's edits that are merged into one.
    package var equalTiers = 4
    /// Edits of a slice, in percent of its base rows, above which it is written anew as soon as the
    /// budget of a point allows, and above which it is in any case; if they are more than some.
    package var rebasePercent = 12
    package var rebaseAlwaysPercent = 60
    package var rebaseMinEdits = 256
    /// The budget: how many rows are written anew for each row that changed, in percent.
    package var rebaseBudget = 330
    /// Runs that a slice's edits may lie in before their rows are gathered in one file, as soon as
    /// the budget allows, and if they are twice as many in any case; and that budget: rows gathered
    /// for each row that changed; at least one slice's.
    package var maxRuns = 32
    package var gatherRunFactor = 1
    /// Pages' worth of rows in one page, inserts included, above which its slice is written anew.
    package var fatPages = 4
    /// Bytes of values that changes put into one page; before more its slice is cut in two.
    package var heavyPageBytes = 64 << 20
    /// Small neighbouring slices that are joined, even if they don't make half a row group.
    package var joinSlices = 16
    package var compressionLevel = 1

    package init() {}
}

/// A column of a row file: one of the table's, or one of ours that says what a run's row is.
package struct StoredColumn: Sendable {
    package var name: String
    package var type: ColumnType
    /// Every column has one: other readers match columns by id only where none is without.
    package var fieldID: Int
    package var optional: Bool
}

/// Pages of one batch, ready to be stored: what can be made on any thread.
package struct EncodedPage: Sendable {
    struct Part: Sendable {
        let header: ByteBuffer
        let body: ByteBuffer
        var count: Int { header.count + body.count }
    }

    let rows: Int
    /// For each column: page header and compressed body.
    let columns: [Part]
    let uncompressedBytes: [Int]

    /// Encodes and compresses all rows of `columns`.
    package init(_ columns: [ColumnVector], stored: [StoredColumn], level: Int) throws {
        rows = columns[0].count
        precondition(columns.count == stored.count && rows > 0)
        var pages: [Part] = []
        var uncompressedBytes: [Int] = []
        for (column, stored) in zip(columns, stored) {
            let body = try PageBody(column, stored, level: level)
            let header = ByteBuffer(capacity: 64)
            body.writeHeader(rows: rows, into: header)
            uncompressedBytes.append(header.count + body.uncompressedBytes)
            pages.append(Part(header: header, body: body.kept))
        }
        self.columns = pages
        self.uncompressedBytes = uncompressedBytes
    }
}

/// One column's values of a page, in the encoding that suits them.
private struct PageBody {
    let encoding: PageCodec.Encoding
    let uncompressedBytes: Int
    let compressed: ByteBuffer

    /// What is larger isn't copied if that can be helped.
    private static let largeBytes = 4 << 20

    init(_ column: ColumnVector, _ stored: StoredColumn, level: Int) throws {
        if column.layout == .variable, column.byteCount > Self.largeBytes {
            try self.init(large: column, stored, level: level)
            return
        }
        let plain = ByteBuffer(capacity: column.byteCount + 64)
        guard stored.type.isStoredAsInteger else {
            PageCodec.encode(column, optional: stored.optional, into: plain)
            try self.init(plain, .plain, level: level)
            return
        }
        let delta = ByteBuffer(capacity: column.byteCount / 2 + 64)
        PageCodec.encode(column, optional: stored.optional, as: .delta, into: delta)
        // Where differences need many bits, compression may find more in the values themselves.
        let differences = try PageBody(delta, .delta, level: level)
        if delta.count * 8 <= column.byteCount * 5 {
            self = differences
            return
        }
        PageCodec.encode(column, optional: stored.optional, into: plain)
        let values = try PageBody(plain, .plain, level: level)
        self = values.compressed.count < differences.compressed.count ? values : differences
    }

    private init(_ body: ByteBuffer, _ encoding: PageCodec.Encoding, level: Int) throws {
        self.encoding = encoding
        uncompressedBytes = body.count
        compressed = ByteBuffer(capacity: body.count / 2 + 64)
        try body.withBytes { try Zstd.compress($0, level: level, into: compressed) }
        // Undoing a compression that hardly saves anything is what costs readers most.
        if compressed.count * 16 > body.count * 15 {
            compressed.removeAll()
            body.withBytes { Zstd.store($0, into: compressed) }
        }
    }

    /// Compresses values where they lie.
    private init(large column: ColumnVector, _ stored: StoredColumn, level: Int) throws {
        let levels = ByteBuffer()
        if stored.optional { PageCodec.encodeLevels(column, into: levels) }
        encoding = .plain
        (uncompressedBytes, compressed) = try levels.withBytes { levels in
            try column.withPacked { values in
                let size = levels.count + values.count
                let compressed = ByteBuffer(capacity: Zstd.mostBytes(of: size))
                try Zstd.compress(levels, values, level: level, into: compressed)
                if compressed.count > size / 16 * 15 {
                    compressed.removeAll()
                    Zstd.store(levels, values, into: compressed)
                }
                return (size, compressed)
            }
        }
    }

    /// The compressed body in memory of its size: pages wait until their row group is complete.
    var kept: ByteBuffer {
        if compressed.count > Self.largeBytes { return compressed }
        let kept = ByteBuffer(capacity: max(1, compressed.count))
        kept.append(compressed, from: 0, count: compressed.count)
        return kept
    }

    func writeHeader(rows: Int, into page: ByteBuffer) {
        var writer = ThriftWriter(into: page)
        writer.element {
            $0.int32(1, 0)
            $0.int32(2, uncompressedBytes)
            $0.int32(3, compressed.count)
            $0.int32(4, Int(Int32(bitPattern: compressed.withBytes { Checksum.crc32($0) })))
            $0.structure(5) {
                $0.int32(1, rows)
                $0.int32(2, encoding.rawValue)
                $0.int32(3, 3)
                $0.int32(4, 3)
            }
        }
    }
}

/// Writes one row file: an ordinary Parquet file, zstd pages with right CRCs, all columns cut into
/// pages at the same rows, an OffsetIndex for each column so that any page can be read alone, and
/// in front of the footer 8 bytes that no other reader looks at: the footer's XXH3. (Parquet has no
/// checksum for it, and a flipped bit in a field id would swap columns.)
package final class RowFileWriter {
    private struct Chunk {
        var offset = 0
        var bytes = 0
        var uncompressedBytes = 0
        var index = (offset: 0, length: 0)
    }
    private struct RowGroup {
        var rows = 0
        var chunks: [Chunk]
        /// First row and, for each column, size of every page.
        var pages: [(firstRow: Int, sizes: [Int])] = []
    }

    private let sink: any ByteSink
    private let columns: [StoredColumn]
    private let limits: FormatLimits
    private var pending: [EncodedPage] = []
    private var pendingRows = 0
    private var pendingBytes = 0
    private var groups: [RowGroup] = []
    /// Rows of finished row groups and of pages that wait for their row group's end.
    package private(set) var rows = 0

    package init(_ sink: any ByteSink, columns: [StoredColumn], limits: FormatLimits) throws {
        self.sink = sink
        self.columns = columns
        self.limits = limits
        try sink.append(Self.magic)
    }

    private static var magic: ByteBuffer {
        let buffer = ByteBuffer()
        buffer.append("PAR1")
        return buffer
    }

    /// True when the file has its full size and should be finished.
    package var isFull: Bool { pending.isEmpty && sink.position >= UInt64(limits.fileBytes) }

    /// Index of the row group that the next page will go to.
    package var currentRowGroup: Int { groups.count }

    /// Rows of that row group so far.
    package var currentRowGroupRows: Int { pendingRows }

    /// Adds a page; true if it ended its row group.
    ///
    /// - Parameter groupRows: rows that end the row group.
    package func append(_ page: EncodedPage, groupRows: Int? = nil) throws -> Bool {
        pending.append(page)
        pendingRows += page.rows
        pendingBytes += page.uncompressedBytes.reduce(0, +)
        rows += page.rows
        let groupRows = groupRows ?? limits.rowGroupRows
        guard pendingRows >= groupRows || pendingBytes >= limits.rowGroupBytes else { return false }
        try endRowGroup()
        return true
    }

    /// Ends the row group; nothing if it has no rows.
    package func endRowGroup() throws {
        if pending.isEmpty { return }
        var group = RowGroup(rows: pendingRows, chunks: [])
        var firstRow = 0
        for page in pending {
            group.pages.append((firstRow, page.columns.map(\.count)))
            firstRow += page.rows
        }
        for column in columns.indices {
            var chunk = Chunk(offset: Int(sink.position))
            for page in pending {
                try sink.append(page.columns[column].header)
                try sink.append(page.columns[column].body)
                chunk.bytes += page.columns[column].count
                chunk.uncompressedBytes += page.uncompressedBytes[column]
            }
            group.chunks.append(chunk)
        }
        groups.append(group)
        pending = []
        pendingRows = 0
        pendingBytes = 0
    }

    /// Writes what is pending and the footer. `metadata` are key-value pairs for other readers.
    package func finish(metadata: [(String, String)]) throws {
        try endRowGroup()
        try writeOffsetIndexes()
        let footer = ByteBuffer()
        var writer = ThriftWriter(into: footer)
        writer.element { writer in
            writer.int32(1, 1)
            writer.schema(
                columns.map { ($0.name, ParquetType($0.type), $0.fieldID, $0.optional) })
            writer.int64(3, rows)
            writer.list(4, of: .structure, count: groups.count)
            for group in groups { writeRowGroup(group, &writer) }
            writer.list(5, of: .structure, count: metadata.count)
            for (key, value) in metadata { writer.pair(key, value) }
            writer.text(6, ParquetType.createdBy)
        }
        let check = ByteBuffer()
        check.append(fixed: Checksum.xxh3(footer))
        try sink.append(check)
        footer.append(fixed: UInt32(footer.count))
        footer.append("PAR1")
        try sink.append(footer)
    }

    private func writeOffsetIndexes() throws {
        for group in groups.indices {
            for column in columns.indices {
                let buffer = ByteBuffer()
                var writer = ThriftWriter(into: buffer)
                var offset = groups[group].chunks[column].offset
                writer.element { writer in
                    writer.list(1, of: .structure, count: groups[group].pages.count)
                    for page in groups[group].pages {
                        writer.element {
                            $0.int64(1, offset)
                            $0.int32(2, page.sizes[column])
                            $0.int64(3, page.firstRow)
                        }
                        offset += page.sizes[column]
                    }
                }
                groups[group].chunks[column].index = (Int(sink.position), buffer.count)
                try sink.append(buffer)
            }
        }
    }

    private func writeRowGroup(_ group: RowGroup, _ writer: inout ThriftWriter) {
        writer.element { writer in
            writer.list(1, of: .structure, count: columns.count)
            for (column, chunk) in zip(columns, group.chunks) {
                writer.element {
                    $0.int64(2, 0)
                    $0.structure(3) { writeChunk(column, chunk, rows: group.rows, &$0) }
                    $0.int64(4, chunk.index.offset)
                    $0.int32(5, chunk.index.length)
                }
            }
            writer.int64(2, group.chunks.reduce(0) { $0 + $1.uncompressedBytes })
            writer.int64(3, group.rows)
        }
    }

    private func writeChunk(
        _ column: StoredColumn, _ chunk: Chunk, rows: Int, _ writer: inout ThriftWriter
    ) {
        writer.int32(1, ParquetType(column.type).physical.rawValue)
        let encodings = column.type.isStoredAsInteger ? [0, 3, 5] : [0, 3]
        writer.list(2, of: .int32, count: encodings.count)
        for encoding in encodings { writer.varint(encoding) }
        writer.list(3, of: .binary, count: 1)
        writer.text(column.name)
        writer.int32(4, 6)
        writer.int64(5, rows)
        writer.int64(6, chunk.uncompressedBytes)
        writer.int64(7, chunk.bytes)
        writer.int64(9, chunk.offset)
    }
}
