import Bytes

/// A table's rows as CSV, by the rules of RFC 4180 and of the README: header line, LF, NULL as
/// nothing, the empty string as `""`.
///
/// The bytes of a row depend on nothing but the row, so that sizes can be added and subtracted.
package struct CSVRenderer: Sendable {
    /// Changes whenever the same rows would give other bytes; stored with every sum.
    package static let version = 2

    private let forms: [CSVForm]
    package let header: [UInt8]

    package init(_ schema: TableSchema) {
        forms = schema.visibleColumns.map(\.type.csvForm)
        let line = ByteBuffer()
        for (index, column) in schema.visibleColumns.enumerated() {
            if index > 0 { line.append(byte: UInt8(ascii: ",")) }
            line.append(csvField: column.name)
        }
        line.append(byte: UInt8(ascii: "\n"))
        header = line.array
    }

    package func render(_ batch: RowBatch, _ rows: Range<Int>, into output: ByteBuffer) {
        output.append(csv: CSVRows(shown(batch), forms: forms), rows)
    }

    /// The same of one row, to be written in parts.
    func longRow(_ batch: RowBatch) -> CSVLongRow { CSVLongRow(shown(batch), forms: forms) }

    /// How many bytes `render` makes of rows.
    package func byteCount(_ batch: RowBatch, _ rows: Range<Int>) -> UInt64 {
        CSVRows(shown(batch), forms: forms).byteCount(rows)
    }

    /// Hidden columns stand behind the others.
    private func shown(_ batch: RowBatch) -> [ColumnVector] {
        batch.columns.count == forms.count
            ? batch.columns : Array(batch.columns.prefix(forms.count))
    }

    func render(_ sources: [RowBatch], _ pieces: [RowPiece], into output: ByteBuffer) {
        output.append(csv: sources.map { CSVRows(shown($0), forms: forms) }, pieces)
    }
}

extension ColumnType {
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
