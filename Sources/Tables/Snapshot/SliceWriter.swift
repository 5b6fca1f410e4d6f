import Bytes

/// Writes rows into row files of the table's columns alone, and says which slices they make.
///
/// Pages come in key order; they are encoded on other threads.
final class SliceWriter {
    /// What rows are, as the row files' metadata has it.
    enum Kind: String {
        /// Every row of a source.
        case full
        /// The rows of slices that had too many edits, as of this point.
        case rebase
    }

    private struct Page: Sendable {
        var encoded: EncodedPage
        var sums: PageSums
        var hash: ContentHash
        var keys: KeyList
        /// What the page was made of, to be filled again.
        var batch: RowBatch
    }

    private let spare: SpareBatches
    private let assembler: Assembler
    /// Larger pages, of a few long values, are written before others are taken.
    private let largeBytes: Int
    private let pipeline: OrderedPipeline<RowBatch, Page>

    /// `progress` is told of every page's rows.
    init(
        _ schema: TableSchema, _ measure: RowMeasure, kind: Kind, table: String,
        files: any FileFactory, limits: FormatLimits, progress: @escaping (UInt64) throws -> Void
    ) {
        let spare = SpareBatches(schema, maxBytes: 2 * limits.pageBytes)
        let assembler = Assembler(
            schema, kind: kind, table: table, files: files, limits: limits)
        let stored = FullWriter.storedColumns(schema)
        let hasher = RowHasher(schema)
        self.spare = spare
        self.assembler = assembler
        largeBytes = 2 * limits.pageBytes
        pipeline = OrderedPipeline(
            threads: 2, capacity: 8,
            transform: { batch in
                var sums = measure.measure(batch, 0..<batch.count)
                sums.baseRows = sums.rows
                return Page(
                    encoded: try EncodedPage(
                        batch.columns, stored: stored, level: limits.compressionLevel),
                    sums: sums, hash: hasher.hash(batch), keys: KeyList(batch, schema: schema),
                    batch: batch)
            },
            consume: { page in
                try assembler.append(page)
                spare.give(page.batch)
                try progress(page.sums.rows)
            })
    }

    /// Ends the threads. To be called once, also after errors.
    func close() { pipeline.close() }

    /// The sum over all rows so far.
    var hash: ContentHash { assembler.hash }

    /// An empty batch to be filled and handed to `append`.
    func emptyPage() -> RowBatch { spare.take() }

    /// Takes over a page's rows, or none.
    func append(_ batch: RowBatch) throws {
        if batch.count == 0 {
            spare.give(batch)
            return
        }
        for page in batch.splitBeforeLargeRow() {
            let isLarge = page.byteCount > largeBytes
            if isLarge { try pipeline.finish() }
            try pipeline.submit(page)
            if isLarge { try pipeline.finish() }
        }
    }

    /// The slices that follow hold keys from `lowerBound` on.
    func begin(lowerBound: [UInt8]) { assembler.lowerBound = lowerBound }

    /// What follows belongs to other slices. Waits until all pages are written.
    func endSlices() throws {
        try pipeline.finish()
        assembler.endSlice()
    }

    /// The slices that were completed since the last call.
    func finished() -> [Slice] {
        defer { assembler.slices = [] }
        return assembler.slices
    }

    /// Completes the files.
    func finish() throws {
        try endSlices()
        try assembler.endFile()
    }

    /// Puts pages, which come in order, into row files and slices.
    private final class Assembler {
        private let schema: TableSchema
        private let kind: Kind
        private let table: String
        private let files: any FileFactory
        private let limits: FormatLimits
        private var writer: RowFileWriter?
        private var file: UInt64 = 0
        private var slice: Slice?
        private var lastKey: [UInt8]?
        private(set) var hash = ContentHash()
        var slices: [Slice] = []
        /// Where the next slice begins, if not at its first key.
        var lowerBound: [UInt8]?

        init(
            _ schema: TableSchema, kind: Kind, table: String, files: any FileFactory,
            limits: FormatLimits
        ) {
            self.schema = schema
            self.kind = kind
            self.table = table
            self.files = files
            self.limits = limits
        }

        func append(_ page: Page) throws {
            guard page.keys.isIncreasing(after: lastKey) else {
                throw Failure(
                    .corrupt,
                    kind == .full
                        ? "\(table): the source gave rows out of key order"
                        : "\(table): stored rows are out of key order")
            }
            if writer?.isFull == true { try endFile() }
            let writer = try currentFile()
            if slice == nil {
                slice = Slice(
                    file: file, rowGroup: writer.currentRowGroup,
                    firstRow: writer.currentRowGroupRows, count: 0,
                    lowerBound: lowerBound ?? page.keys[0], pages: [])
                lowerBound = nil
            }
            slice!.count += page.keys.count
            slice!.pages.append(page.sums)
            lastKey = page.keys[page.keys.count - 1]
            hash += page.hash
            if try writer.append(page.encoded) { endSlice() }
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

        func endSlice() {
            if let slice { slices.append(slice) }
            slice = nil
        }

        func endFile() throws {
            guard let writer else { return }
            endSlice()
            try writer.finish(metadata: [
                ("ydbfs.table", table), ("ydbfs.kind", kind.rawValue),
            ])
            try files.finishRowFile(file, rows: UInt64(writer.rows))
            self.writer = nil
        }
    }
}
