import Bytes

/// Where a backup writes: row files under new numbers, and one index file for all its tables.
package protocol FileFactory: AnyObject {
    /// Begins a row file; slices and edits refer to it by `number`.
    func createRowFile() throws -> (number: UInt64, sink: any ByteSink)
    /// The row file is complete: makes it durable.
    func finishRowFile(_ number: UInt64, rows: UInt64) throws
    /// The index file, begun at first use.
    func indexFile() throws -> (number: UInt64, sink: any ByteSink)
    /// Called now and then while rows are processed; throws to stop the backup.
    func progress(rows: UInt64) throws
}

/// What a backup made of one table.
package struct TableResult: Sendable {
    package var snapshot: BlockReference
    package var sums: PageSums
    package var csvBytes: UInt64
    package var parquetBytes: UInt64
    package var contentHash: ContentHash
    package var inserted: UInt64 = 0
    package var updated: UInt64 = 0
    package var deleted: UInt64 = 0
}

/// Writes blocks and the root of a snapshot into the index file, slices in key order.
final class SnapshotBuilder {
    private let files: any FileFactory
    private let schema: TableSchema
    private let limits: FormatLimits
    private let measure: RowMeasure
    private var blocks: [BlockDescriptor] = []
    private var pending: [Slice] = []

    init(_ files: any FileFactory, schema: TableSchema, limits: FormatLimits) {
        self.files = files
        self.schema = schema
        self.limits = limits
        measure = RowMeasure(schema)
    }

    /// Takes over a block that didn't change.
    func append(_ block: BlockDescriptor) throws {
        try endBlock()
        blocks.append(block)
    }

    func append(_ slice: Slice) throws {
        pending.append(slice)
        if pending.count >= limits.blockSlices { try endBlock() }
    }

    func endBlock() throws {
        if pending.isEmpty { return }
        let sums = pending.map { measure.sums(ofSlice: $0.pages) }
        let block = IndexCodec.encodeBlock(pending, sums: sums, schema: schema)
        blocks.append(
            BlockDescriptor(
                reference: try write(block), lowerBound: pending[0].lowerBound,
                sums: sums.reduce(into: SliceSums()) { $0 += $1 }))
        pending = []
    }

    private func write(_ content: ByteBuffer) throws -> BlockReference {
        let object = try IndexCodec.seal(content, level: limits.compressionLevel)
        let (number, sink) = try files.indexFile()
        if sink.position == 0 {
            let magic = ByteBuffer()
            magic.append(IndexCodec.magic)
            try sink.append(magic)
        }
        let reference = BlockReference(
            file: number, offset: sink.position, length: UInt64(object.count),
            hash: Checksum.xxh3(object))
        try sink.append(object)
        return reference
    }

    /// Writes the root.
    func finish() throws -> (snapshot: BlockReference, sums: SliceSums) {
        try endBlock()
        precondition(!blocks.isEmpty && blocks[0].lowerBound.isEmpty)
        let sums = blocks.reduce(into: SliceSums()) { $0 += $1.sums }
        return (try write(IndexCodec.encodeRoot(blocks, schema: schema)), sums)
    }
}

/// Writes whole tables: every row of a cursor, in key order.
package enum FullWriter {
    private struct Page: Sendable {
        var encoded: EncodedPage
        var sums: PageSums
        var hash: ContentHash
        var keys: KeyList
        /// What the page was made of, to be filled again.
        var batch: RowBatch
    }

    /// Batches that were used and can be filled again, by the thread that reads the source.
    private final class SpareBatches {
        private var batches: [RowBatch] = []
        private let schema: TableSchema
        /// Larger ones are given back to the system.
        private let maxBytes: Int

        init(_ schema: TableSchema, maxBytes: Int) {
            self.schema = schema
            self.maxBytes = maxBytes
        }

        func take() -> RowBatch { batches.popLast() ?? RowBatch(schema) }

        func give(_ batch: RowBatch) {
            if batch.byteCount > maxBytes { return }
            batch.removeAll()
            batches.append(batch)
        }
    }

    /// The columns of a full's row files.
    static func storedColumns(_ schema: TableSchema) -> [StoredColumn] {
        schema.columns.map {
            StoredColumn(name: $0.name, type: $0.type, fieldID: Int($0.id), optional: true)
        }
    }

    /// Writes all rows of `cursor`. Throws `Misfit` and `Failure`s of the cursor as they are, and
    /// `Failure(.corrupt)` if rows don't come in strictly increasing key order.
    package static func write(
        _ cursor: any RowCursor, schema: TableSchema, table: String, files: any FileFactory,
        limits: FormatLimits
    ) throws -> TableResult {
        let assembler = Assembler(schema: schema, table: table, files: files, limits: limits)
        let level = limits.compressionLevel
        let stored = storedColumns(schema)
        let measure = RowMeasure(schema)
        let hasher = RowHasher(schema)
        let spare = SpareBatches(schema, maxBytes: 2 * limits.pageBytes)
        let pipeline = OrderedPipeline<RowBatch, Page>(
            threads: 2, capacity: 8,
            transform: { batch in
                var sums = measure.measure(batch, 0..<batch.count)
                sums.baseRows = sums.rows
                return Page(
                    encoded: try EncodedPage(batch.columns, stored: stored, level: level),
                    sums: sums, hash: hasher.hash(batch), keys: KeyList(batch, schema: schema),
                    batch: batch)
            },
            consume: { page in
                try assembler.append(page)
                spare.give(page.batch)
            })
        defer { pipeline.close() }
        while true {
            let batch = spare.take()
            let more = try cursor.next(
                into: batch, maxRows: limits.pageRows, maxBytes: limits.pageBytes)
            if batch.count > 0 { try pipeline.submit(batch) } else { spare.give(batch) }
            if !more { break }
        }
        try pipeline.finish()
        return try assembler.finish()
    }

    /// Puts pages, which come in order, into row files and slices.
    private final class Assembler {
        private let schema: TableSchema
        private let table: String
        private let files: any FileFactory
        private let limits: FormatLimits
        private let builder: SnapshotBuilder
        private var writer: RowFileWriter?
        private var file: UInt64 = 0
        private var slice: Slice?
        private var lastKey: [UInt8]?
        private var hash = ContentHash()
        private var isFirstSlice = true

        init(schema: TableSchema, table: String, files: any FileFactory, limits: FormatLimits) {
            self.schema = schema
            self.table = table
            self.files = files
            self.limits = limits
            builder = SnapshotBuilder(files, schema: schema, limits: limits)
        }

        func append(_ page: Page) throws {
            guard page.keys.isIncreasing(after: lastKey) else {
                throw Failure(.corrupt, "\(table): the source gave rows out of key order")
            }
            if writer?.isFull == true { try endFile() }
            let writer = try currentFile()
            if slice == nil {
                slice = Slice(
                    file: file, rowGroup: writer.currentRowGroup, firstRow: 0, count: 0,
                    lowerBound: isFirstSlice ? [] : page.keys[0], pages: [])
                isFirstSlice = false
            }
            slice!.count += page.keys.count
            slice!.pages.append(page.sums)
            lastKey = page.keys[page.keys.count - 1]
            hash += page.hash
            if try writer.append(page.encoded) { try endSlice() }
            try files.progress(rows: page.sums.rows)
        }

        private func currentFile() throws -> RowFileWriter {
            if let writer { return writer }
            let (number, sink) = try files.createRowFile()
            let created = try RowFileWriter(
                sink, columns: FullWriter.storedColumns(schema), limits: limits)
            file = number
            writer = created
            return created
        }

        private func endSlice() throws {
            if let slice { try builder.append(slice) }
            slice = nil
        }

        private func endFile() throws {
            guard let writer else { return }
            try endSlice()
            try writer.finish(metadata: [("ydbfs.table", table), ("ydbfs.kind", "full")])
            try files.finishRowFile(file, rows: UInt64(writer.rows))
            self.writer = nil
        }

        func finish() throws -> TableResult {
            try endFile()
            if isFirstSlice { try builder.append(Slice.empty) }
            let (snapshot, sums) = try builder.finish()
            return TableResult(
                snapshot: snapshot, sums: sums.pages,
                csvBytes: CSVFile.bytes(sums, schema),
                parquetBytes: ParquetFile.bytes(sums, schema), contentHash: hash,
                inserted: sums.pages.rows)
        }
    }
}
