import Bytes

/// What is known of a rendered page without rendering it. All of it adds up, row by row and page by
/// page; `RowMeasure` says what a row adds.
///
/// A *rendered page* is one stored page's rows within a slice, with the inserts at p in the page
/// that holds row p (at n: the last). Every slice has at least one, possibly without rows.
package struct PageSums: Sendable, Hashable {
    /// Rows of the stored page that lie in the slice, dead ones included.
    package var baseRows: UInt64 = 0
    /// Rows at the point.
    package var rows: UInt64 = 0
    /// Bytes as CSV, without the header line.
    package var csvBytes: UInt64 = 0
    /// Bytes as lines of a dump of the visible columns; 0 where dumps aren't counted.
    package var dumpBytes: UInt64 = 0
    /// What a dump's lines have more if they begin with the hidden rowid.
    package var rowIDBytes: UInt64 = 0
    /// Edits in the page.
    package var edits: UInt64 = 0
    /// Of the visible columns, in the schema's order; none at all instead of nothing but zeros.
    package var columns: [ColumnSums] = []

    package init(
        baseRows: UInt64 = 0, rows: UInt64 = 0, csvBytes: UInt64 = 0, edits: UInt64 = 0,
        columns: [ColumnSums] = []
    ) {
        self.baseRows = baseRows
        self.rows = rows
        self.csvBytes = csvBytes
        self.edits = edits
        self.columns = columns
    }

    /// Bytes of values of variable length.
    var valueBytes: UInt64 { columns.reduce(0) { $0 + $1.valueBytes } }

    /// Whether the rows are so many bytes that they aren't put together in memory.
    var isLarge: Bool { valueBytes > UInt64(RowBatch.largeBytes) }

    package static func += (a: inout PageSums, b: PageSums) {
        a.baseRows += b.baseRows
        a.rows += b.rows
        a.csvBytes += b.csvBytes
        a.dumpBytes += b.dumpBytes
        a.rowIDBytes += b.rowIDBytes
        a.edits += b.edits
        if b.columns.isEmpty { return }
        a.fill(b.columns.count)
        for index in b.columns.indices { a.columns[index] += b.columns[index] }
    }

    /// Takes rows and edits away and adds others; base rows stay. Throws if the sums have never held
    /// what goes: they contradict their rows then.
    mutating func replace(_ loss: PageSums, by gain: PageSums) throws(Failure) {
        func take(_ amount: UInt64, from number: inout UInt64) throws(Failure) {
            guard amount <= number else {
                throw Failure(.corrupt, "the sums of a snapshot contradict its rows")
            }
            number -= amount
        }
        try take(loss.rows, from: &rows)
        try take(loss.csvBytes, from: &csvBytes)
        try take(loss.dumpBytes, from: &dumpBytes)
        try take(loss.rowIDBytes, from: &rowIDBytes)
        try take(loss.edits, from: &edits)
        if !loss.columns.isEmpty { fill(loss.columns.count) }
        for index in loss.columns.indices {
            try take(loss.columns[index].nulls, from: &columns[index].nulls)
            try take(loss.columns[index].valueBytes, from: &columns[index].valueBytes)
        }
        self += gain
    }

    /// Makes room for the numbers of `count` columns.
    mutating func fill(_ count: Int) {
        if columns.isEmpty { columns = Array(repeating: ColumnSums(), count: count) }
        precondition(columns.count == count)
    }
}

/// One column's part in a page.
package struct ColumnSums: Sendable, Hashable {
    package var nulls: UInt64 = 0
    /// Bytes of the values, if they are of variable length; else 0.
    package var valueBytes: UInt64 = 0

    package init(nulls: UInt64 = 0, valueBytes: UInt64 = 0) {
        self.nulls = nulls
        self.valueBytes = valueBytes
    }

    package static func += (a: inout ColumnSums, b: ColumnSums) {
        a.nulls += b.nulls
        a.valueBytes += b.valueBytes
    }
}

/// What is known of a slice, a block or a table: its pages' sums, and what pages come to one by one.
package struct SliceSums: Sendable, Hashable {
    package var pages = PageSums()
    /// Slices that have rows.
    package var filledSlices: UInt64 = 0
    /// For each visible column, bytes of its pages as Parquet, headers included; none instead of zeros.
    package var parquetBytes: [UInt64] = []

    package init() {}

    package static func += (a: inout SliceSums, b: SliceSums) {
        a.pages += b.pages
        a.filledSlices += b.filledSlices
        if b.parquetBytes.isEmpty { return }
        a.fill(b.parquetBytes.count)
        for index in b.parquetBytes.indices { a.parquetBytes[index] += b.parquetBytes[index] }
    }

    /// Makes room for the numbers of `count` columns.
    mutating func fill(_ count: Int) {
        if parquetBytes.isEmpty { parquetBytes = Array(repeating: 0, count: count) }
        precondition(parquetBytes.count == count)
    }
}

/// A format of files whose sizes indexes hold. One that doesn't is readable in the other formats.
package enum SizedFormat: String, Sendable {
    case csv = "CSV"
    case parquet = "Parquet"
    /// Older indexes lack it, and those of incrementals on them.
    case dump
}

/// A kind of number that an index holds, of pages or of slices and what is above them.
///
/// Columns are counted in the schema's order here, and named by their ids in files.
enum Series: Hashable {
    case baseRows, rows, csvBytes, edits, filledSlices, dumpBytes, rowIDBytes
    case nulls(Int)
    case valueBytes(Int)
    case parquetBytes(Int)

    /// What is stored of each page, but for formats that are `lacking`.
    static func ofPages(_ schema: TableSchema, lacking: Set<SizedFormat> = []) -> [Series] {
        let columns = schema.visibleColumns.indices
        let all: [Series] =
            [.baseRows, .rows, .csvBytes, .edits] + columns.map { .nulls($0) }
            + columns.filter { schema.columns[$0].type.layout == .variable }.map { .valueBytes($0) }
            + [.dumpBytes] + (schema.hiddenRowID == nil ? [] : [.rowIDBytes])
        return lacking.isEmpty ? all : all.filter { !$0.isOf(lacking) }
    }

    /// What is stored of each slice and block.
    static func ofSlices(_ schema: TableSchema, lacking: Set<SizedFormat> = []) -> [Series] {
        let own: [Series] =
            [.filledSlices] + schema.visibleColumns.indices.map { .parquetBytes($0) }
        return ofPages(schema, lacking: lacking) + own.filter { !$0.isOf(lacking) }
    }

    private func isOf(_ formats: Set<SizedFormat>) -> Bool { format.map(formats.contains) ?? false }

    /// The format that alone needs it; nil if every snapshot has it.
    var format: SizedFormat? {
        switch self {
        case .csvBytes: .csv
        case .parquetBytes: .parquet
        case .dumpBytes, .rowIDBytes: .dump
        default: nil
        }
    }

    /// Its number in the index format, and that of its column, or 0.
    func name(_ schema: TableSchema) -> (id: UInt32, column: UInt32) {
        switch self {
        case .baseRows: (1, 0)
        case .rows: (2, 0)
        case .csvBytes: (3, 0)
        case .edits: (4, 0)
        case .filledSlices: (5, 0)
        case .nulls(let index): (6, schema.columns[index].id)
        case .valueBytes(let index): (7, schema.columns[index].id)
        case .parquetBytes(let index): (8, schema.columns[index].id)
        case .dumpBytes: (9, 0)
        case .rowIDBytes: (10, 0)
        }
    }
}

extension PageSums {
    /// A series' number; columns must have been filled to set one.
    subscript(series: Series) -> UInt64 {
        get {
            switch series {
            case .baseRows: baseRows
            case .rows: rows
            case .csvBytes: csvBytes
            case .dumpBytes: dumpBytes
            case .rowIDBytes: rowIDBytes
            case .edits: edits
            case .nulls(let index): columns.isEmpty ? 0 : columns[index].nulls
            case .valueBytes(let index): columns.isEmpty ? 0 : columns[index].valueBytes
            case .filledSlices, .parquetBytes: preconditionFailure("no number of a page")
            }
        }
        set {
            switch series {
            case .baseRows: baseRows = newValue
            case .rows: rows = newValue
            case .csvBytes: csvBytes = newValue
            case .dumpBytes: dumpBytes = newValue
            case .rowIDBytes: rowIDBytes = newValue
            case .edits: edits = newValue
            case .nulls(let index): columns[index].nulls = newValue
            case .valueBytes(let index): columns[index].valueBytes = newValue
            case .filledSlices, .parquetBytes: preconditionFailure("no number of a page")
            }
        }
    }
}

extension SliceSums {
    subscript(series: Series) -> UInt64 {
        get {
            switch series {
            case .filledSlices: filledSlices
            case .parquetBytes(let index): parquetBytes.isEmpty ? 0 : parquetBytes[index]
            default: pages[series]
            }
        }
        set {
            switch series {
            case .filledSlices: filledSlices = newValue
            case .parquetBytes(let index): parquetBytes[index] = newValue
            default: pages[series] = newValue
            }
        }
    }
}
