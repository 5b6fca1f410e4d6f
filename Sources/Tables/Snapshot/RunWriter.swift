import Bytes

/// What an incremental did to a key, as runs record it.
package enum RunOperation: Int32, Sendable {
    case insert = 1
    case update = 2
    case delete = 3
}

/// Writes the runs of one table: the rows that an incremental changed, by key.
///
/// Columns: `__ydbfs_op` (Int8, as `RunOperation`), the table's columns, and YDB's
/// `__ydb_incrBackupImpl_deleted`; field ids of the first and the last are beyond those of tables'
/// columns. Of a deleted row there are the key and NULLs.
///
/// Also writes rows gathered from several runs, which are the table's columns alone.
final class RunWriter {
    enum Kind: String {
        case run, gathered
    }

    private let kind: Kind
    private let schema: TableSchema
    private let table: String
    private let files: any FileFactory
    private let limits: FormatLimits
    private let columns: [StoredColumn]
    private var writer: RowFileWriter?
    private var number: UInt64 = 0
    /// The files written so far.
    private(set) var numbers: Set<UInt64> = []
    private var operations = ColumnVector(.fixed(4))
    private var deleted = ColumnVector(.fixed(1))
    private var batch: RowBatch
    private var firstKey: [UInt8]?
    private var lastKey: [UInt8] = []
    private let measure: RowMeasure
    /// Slices whose base are rows of the run.
    private var slices: [Slice] = []
    /// Whether rows go to them.
    private var makesSlices = false

    init(
        _ kind: Kind, _ measure: RowMeasure, schema: TableSchema, table: String,
        files: any FileFactory, limits: FormatLimits
    ) {
        self.kind = kind
        self.schema = schema
        self.table = table
        self.files = files
        self.limits = limits
        batch = RowBatch(schema)
        self.measure = measure
        columns =
            kind == .run ? Self.storedColumns(schema) : FullWriter.storedColumns(schema)
    }

    static let operationFieldID = 1_000_001
    static let deletedFieldID = 1_000_002

    static func storedColumns(_ schema: TableSchema) -> [StoredColumn] {
        /// A name of ours, made different from any column of the user's.
        func free(_ name: String) -> String {
            schema.columns.contains { $0.name == name } ? free(name + "_") : name
        }
        let operation = StoredColumn(
            name: free("__ydbfs_op"), type: .int8, fieldID: operationFieldID, optional: false)
        let deleted = StoredColumn(
            name: free("__ydb_incrBackupImpl_deleted"), type: .bool, fieldID: deletedFieldID,
            optional: false)
        return [operation] + FullWriter.storedColumns(schema) + [deleted]
    }

    /// Records a row's change; answers where the row lies.
    ///
    /// - Parameter operation: of no meaning for gathered rows, which are there.
    func append(
        _ source: RowBatch, _ index: Int, operation: RunOperation = .insert
    ) throws -> RunRow {
        // Pages of slices are read whole, the others for a few rows each.
        let pageRows = makesSlices ? limits.pageRows : limits.runPageRows
        let isLarge = source.count == 1 && source.byteCount > RowBatch.largeBytes
        if isLarge || batch.count >= pageRows || batch.byteCount >= limits.pageBytes {
            try endPage()
        }
        let writer = try currentFile()
        let row = RunRow(file: number, row: UInt32(writer.rows + batch.count))
        operations.append(operation.rawValue)
        deleted.append(UInt8(operation == .delete ? 1 : 0))
        if operation == .delete {
            for (column, vector) in batch.columns.enumerated() {
                if schema.key.contains(column) {
                    vector.append(source.columns[column], row: index)
                } else {
                    vector.appendNull()
                }
            }
        } else if isLarge {
            // Written at once, as it lies.
            batch = source
            try endPage()
        } else {
            batch.append(source, row: index)
        }
        return row
    }

    /// The rows that follow belong to another slice: pages that hold rows of two slices are read for
    /// both, and still when one of them is written anew.
    func endSlice() throws {
        if !makesSlices, batch.count * 2 >= limits.runPageRows { try endPage() }
    }

    // MARK: New rows as slices

    /// The rows that follow, all inserts, may be slices of their own.
    func beginSlices() throws {
        try endPage()
        try writer?.endRowGroup()
        makesSlices = true
    }

    /// The slices of the rows since `beginSlices`.
    func endSlices() throws -> [Slice] {
        try endPage()
        try writer?.endRowGroup()
        defer { slices = [] }
        makesSlices = false
        return slices
    }

    /// Adds rows of the present page to the slices, before it is written.
    private func extendSlices(_ writer: RowFileWriter) {
        if !makesSlices { return }
        let group = writer.currentRowGroup
        if slices.last?.file != number || slices.last?.rowGroup != group {
            slices.append(
                Slice(
                    file: number, rowGroup: group, firstRow: writer.currentRowGroupRows,
                    count: 0, lowerBound: NormalizedKey.of(batch, row: 0, schema: schema),
                    pages: []))
        }
        var sums = measure.measure(batch, 0..<batch.count)
        sums.baseRows = sums.rows
        slices[slices.count - 1].count += batch.count
        slices[slices.count - 1].pages.append(sums)
    }

    // MARK: Pages and files

    private func currentFile() throws -> RowFileWriter {
        if let writer, !(writer.isFull && batch.count == 0) { return writer }
        try endFile()
        let (number, sink) = try files.createRowFile()
        let created = try RowFileWriter(sink, columns: columns, limits: limits)
        self.number = number
        numbers.insert(number)
        writer = created
        return created
    }

    private func endPage() throws {
        guard let writer, batch.count > 0 else { return }
        extendSlices(writer)
        if firstKey == nil { firstKey = NormalizedKey.of(batch, row: 0, schema: schema) }
        lastKey = NormalizedKey.of(batch, row: batch.count - 1, schema: schema)
        let page = try EncodedPage(
            kind == .run ? [operations] + batch.columns + [deleted] : batch.columns,
            stored: columns, level: limits.compressionLevel)
        _ = try writer.append(page, groupRows: makesSlices ? nil : limits.runGroupRows)
        operations.removeAll()
        deleted.removeAll()
        if batch.byteCount > RowBatch.largeBytes {
            batch = RowBatch(schema)
        } else {
            batch.removeAll()
        }
    }

    private func endFile() throws {
        try endPage()
        guard let writer else { return }
        func hex(_ bytes: [UInt8]) -> String {
            let text = ByteBuffer()
            text.append(hex: bytes)
            return String(decoding: text.array, as: UTF8.self)
        }
        try writer.finish(metadata: [
            ("ydbfs.table", table), ("ydbfs.kind", kind.rawValue),
            ("ydbfs.first_key", hex(firstKey ?? [])), ("ydbfs.last_key", hex(lastKey)),
        ])
        try files.finishRowFile(number, rows: UInt64(writer.rows))
        self.writer = nil
        firstKey = nil
    }

    func finish() throws { try endFile() }
}
