import Bytes

/// A table's rows as CSV, by the rules of RFC 4180 and of the README: header line, LF, NULL as
/// nothing, the empty string as `""`.
///
/// The bytes of a row depend on nothing but the row, so that sizes can be added and subtracted.
package struct CSVRenderer: Sendable {
    /// Changes whenever the same rows would give other bytes; stored with every sum.
    package static let version = 1

    private let types: [ColumnType]
    private let kinds: [CSVKind]
    package let header: [UInt8]

    package init(_ schema: TableSchema) {
        types = schema.columns.map(\.type)
        kinds = types.map(\.csvKind)
        let line = ByteBuffer()
        for (index, column) in schema.columns.enumerated() {
            if index > 0 { line.append(byte: UInt8(ascii: ",")) }
            var name = column.name
            name.withUTF8 { line.append(csvField: UnsafeRawBufferPointer($0)) }
        }
        line.append(byte: UInt8(ascii: "\n"))
        header = line.array
    }

    package func render(_ batch: RowBatch, _ rows: Range<Int>, into output: ByteBuffer) {
        output.append(csvRows: rows, of: batch.columns, kinds: kinds) { column, row in
            Self.renderOther(batch.columns[column], row, types[column], into: output)
        }
    }

    private static func renderOther(
        _ column: ColumnVector, _ row: Int, _ type: ColumnType, into output: ByteBuffer
    ) {
        switch type {
        case .bool: output.append(column.value(row, as: UInt8.self) != 0 ? "true" : "false")
        case .float: output.append(python: column.value(row, as: Float.self))
        case .decimal(_, let scale):
            column.withBytes(row) { bytes in
                let value = bytes.reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
                output.append(decimal: Int128(bitPattern: value), scale: scale)
            }
        case .date: output.append(days: Int64(column.value(row, as: UInt32.self)))
        case .date32: output.append(days: Int64(column.value(row, as: Int32.self)))
        case .datetime:
            output.append(seconds: Int64(column.value(row, as: UInt32.self)))
            output.append(byte: UInt8(ascii: "Z"))
        case .datetime64:
            output.append(seconds: column.value(row, as: Int64.self))
            output.append(byte: UInt8(ascii: "Z"))
        case .timestamp, .timestamp64:
            output.append(microseconds: column.value(row, as: Int64.self))
            output.append(byte: UInt8(ascii: "Z"))
        case .uuid: column.withBytes(row) { output.append(uuid: $0) }
        default: preconditionFailure("\(type) is rendered above")
        }
    }
}

extension ColumnType {
    fileprivate var csvKind: CSVKind {
        switch self {
        case .int8, .int16, .int32: .int32
        case .uint8, .uint16, .uint32: .uint32
        case .int64, .interval, .interval64: .int64
        case .uint64: .uint64
        case .double: .double
        case .utf8, .json, .jsonDocument, .dyNumber, .tzDate, .tzDatetime, .tzTimestamp, .pg: .text
        case .string, .yson: .binary
        case .bool, .float, .decimal, .date, .datetime, .timestamp, .date32, .datetime64,
            .timestamp64, .uuid:
            .other
        }
    }
}

extension ByteBuffer {
    /// `5b99a330-04ef-4f1a-9b64-ba6d5f44eafe`
    fileprivate func append(uuid bytes: UnsafeRawBufferPointer) {
        var start = 0
        for length in [4, 2, 2, 2, 6] {
            if start > 0 { append(byte: UInt8(ascii: "-")) }
            append(hex: UnsafeRawBufferPointer(rebasing: bytes[start..<start + length]))
            start += length
        }
    }

    /// `value` / 10^`scale` without zeros at the end; YDB's ±10³⁵ and 10³⁵+1 as `inf` and `nan`.
    fileprivate func append(decimal value: Int128, scale: Int) {
        let infinite = (0..<35).reduce(Int128(1)) { power, _ in power * 10 }
        if value.magnitude >= infinite.magnitude {
            append(value == infinite ? "inf" : value == -infinite ? "-inf" : "nan")
            return
        }
        if value < 0 { append(byte: UInt8(ascii: "-")) }
        var digits = [UInt8](String(value.magnitude).utf8)
        if digits.count <= scale {
            digits = [UInt8](repeating: 48, count: scale + 1 - digits.count) + digits
        }
        var fraction = digits.suffix(scale)
        append(Array(digits.dropLast(scale)))
        while fraction.last == 48 { fraction.removeLast() }
        if !fraction.isEmpty {
            append(byte: UInt8(ascii: "."))
            append(Array(fraction))
        }
    }
}
