import Bytes

/// A table's rows as CSV, by the rules of RFC 4180 and of the README: header line, LF, NULL as
/// nothing, the empty string as `""`. Or as the lines of YDB's dumps, which have other rules: no header,
/// NULL as `null`, text escaped.
///
/// The bytes of a row depend on nothing but the row, so that sizes can be added and subtracted.
package struct CSVRenderer: Sendable {
    /// Changes whenever the same rows would give other bytes; stored with every sum.
    package static let version = 2

    let forms: [CSVForm]
    let null: CSVNull
    package let header: [UInt8]

    package init(_ schema: TableSchema) {
        forms = schema.visibleColumns.map(\.type.csvForm)
        null = .nothing
        let line = ByteBuffer()
        for (index, column) in schema.visibleColumns.enumerated() {
            if index > 0 { line.append(byte: UInt8(ascii: ",")) }
            line.append(csvField: column.name)
        }
        line.append(byte: UInt8(ascii: "\n"))
        header = line.array
    }

    /// Lines of a dump with these columns.
    package init(dumping columns: some Sequence<Column>) {
        forms = columns.map(\.type.dumpForm)
        null = .word
        header = []
    }

    package func render(_ batch: RowBatch, _ rows: Range<Int>, into output: ByteBuffer) {
        output.append(csv: CSVRows(shown(batch), forms: forms, null: null), rows)
    }

    /// The same of one row, to be written in parts.
    func longRow(_ batch: RowBatch) -> CSVLongRow {
        CSVLongRow(shown(batch), forms: forms, null: null)
    }

    /// How many bytes `render` makes of rows.
    package func byteCount(_ batch: RowBatch, _ rows: Range<Int>) -> UInt64 {
        let columns = shown(batch)
        return forms.indices.reduce(UInt64(rows.count * forms.count)) { sum, index in
            let nulls = null == .nothing ? 0 : columns[index].nullCount(in: rows)
            return sum + columns[index].byteCount(rows, as: forms[index])
                + UInt64(nulls * null.bytes)
        }
    }

    /// Hidden columns stand behind the others.
    private func shown(_ batch: RowBatch) -> [ColumnVector] {
        batch.columns.count == forms.count
            ? batch.columns : Array(batch.columns.prefix(forms.count))
    }

    func render(_ sources: [RowBatch], _ pieces: [RowPiece], into output: ByteBuffer) {
        output.append(csv: sources.map { CSVRows(shown($0), forms: forms, null: null) }, pieces)
    }
}

extension ColumnType {
    /// How values look in YDB's dumps, as whose reader takes them; numbers as many digits as it takes to
    /// tell them apart, where YDB's own writer cuts them.
    fileprivate var dumpForm: CSVForm {
        switch self {
        case .bool: .bit
        case .date: .dateTime
        case .datetime: .secondsTime
        case .date32: .int32
        case .datetime64, .timestamp64: .int64
        case .dyNumber: .escapedNumber
        case .string, .yson, .utf8, .json, .jsonDocument, .tzDate, .tzDatetime, .tzTimestamp, .pg:
            .escaped
        case .int8, .int16, .int32, .int64, .uint8, .uint16, .uint32, .uint64, .float, .double,
            .decimal, .timestamp, .interval, .interval64, .uuid:
            csvForm
        }
    }

    /// How values look as CSV.
    fileprivate var csvForm: CSVForm {
        switch self {
        case .bool: .bool
        case .int8, .int16, .int32: .int32
        case .uint8, .uint16, .uint32: .uint32
        case .int64, .interval, .interval64: .int64
        case .uint64: .uint64
        case .float: .float
        case .double: .double
        case .decimal(_, let scale): .decimal(scale: scale)
        case .date: .unsignedDate
        case .date32: .date
        case .datetime: .unsignedSeconds
        case .datetime64: .seconds
        case .timestamp, .timestamp64: .microseconds
        case .uuid: .uuid
        case .string, .yson: .bytes
        case .utf8, .json, .jsonDocument, .dyNumber, .tzDate, .tzDatetime, .tzTimestamp, .pg: .text
        }
    }
}
