import Bytes

/// Writes a Parquet file of the layout that `ParquetFile` has, of rows whose sizes aren't known before:
/// a row group at a time is held in memory.
final class ParquetWriter {
    private static let groupRows = 65_536
    private static let groupBytes = 8 << 20

    private let schema: TableSchema
    private let forms: [ParquetForm]
    private let sink: any ByteSink
    private var groups: [ParquetFooter.RowGroup] = []
    /// By column, the pages of the row group.
    private var pages: [[ByteBuffer]]
    private var nulls: [UInt64]
    private var rows = 0
    private var bytes = 0

    init(_ schema: TableSchema, _ sink: any ByteSink) throws {
        self.schema = schema
        self.sink = sink
        forms = schema.visibleColumns.map { ParquetForm($0.type) }
        pages = forms.map { _ in [] }
        nulls = forms.map { _ in 0 }
        let magic = ByteBuffer(capacity: 4)
        magic.append("PAR1")
        try sink.append(magic)
    }

    /// Adds rows as a page of each column.
    func append(_ batch: RowBatch) throws {
        for (index, form) in forms.enumerated() {
            let column = form.convert(batch.columns[index])
            let body = ByteBuffer(capacity: column.byteCount + 64)
            PageCodec.encode(column, optional: true, into: body)
            guard body.count < Int32.max - 64 else {
                throw Failure(
                    .unsupported, "Parquet has no pages of \(body.count) bytes: read the CSV")
            }
            let header = ByteBuffer(capacity: 64)
            ParquetForm.writeHeader(
                rows: batch.count, bodyBytes: body.count, into: header)
            pages[index] += [header, body]
            nulls[index] += UInt64(column.nullCount)
            bytes += body.count
        }
        rows += batch.count
        if rows >= Self.groupRows || bytes >= Self.groupBytes { try endGroup() }
    }

    private func endGroup() throws {
        if rows == 0 { return }
        var chunks: [(offset: UInt64, bytes: UInt64, nulls: UInt64)] = []
        for index in forms.indices {
            let start = sink.position
            for part in pages[index] { try sink.append(part) }
            chunks.append((start, sink.position - start, nulls[index]))
            pages[index] = []
            nulls[index] = 0
        }
        groups.append(ParquetFooter.RowGroup(rows: UInt64(rows), chunks: chunks))
        (rows, bytes) = (0, 0)
    }

    /// Writes what is left, and the footer.
    func finish() throws {
        try endGroup()
        try sink.append(ParquetFooter(schema).render(groups))
    }
}
