import Bytes

/// Rows as JSON objects, a member for each column that users see: NULL as `null`, numbers and booleans
/// as such, everything else as text that looks as in CSV. In a column of literals the values that they
/// stand for.
package struct RowJSON: Sendable {
    private let columns: [Column]

    package init(_ schema: TableSchema) { columns = Array(schema.visibleColumns) }

    /// One row as an object, several or none as an array of objects; ends in a newline.
    package func document(_ rows: RowBatch) -> ByteBuffer {
        let output = ByteBuffer(capacity: 1024)
        if rows.count == 1 {
            append(rows, 0, indent: "", to: output)
        } else {
            output.append("[")
            for row in 0..<rows.count {
                output.append(row == 0 ? "\n  " : ",\n  ")
                append(rows, row, indent: "  ", to: output)
            }
            output.append(rows.count == 0 ? "]" : "\n]")
        }
        output.append("\n")
        return output
    }

    private func append(_ rows: RowBatch, _ row: Int, indent: String, to output: ByteBuffer) {
        output.append("{")
        for (index, column) in columns.enumerated() {
            output.append((index == 0 ? "\n" : ",\n") + indent + "  ")
            output.append(jsonString: [UInt8](column.name.utf8))
            output.append(": ")
            append(rows.columns[index], row, index, to: output)
        }
        output.append("\n\(indent)}")
    }

    private func append(_ values: ColumnVector, _ row: Int, _ index: Int, to output: ByteBuffer) {
        if values.isNull(row) { return output.append("null") }
        let column = columns[index]
        let type = column.isLiteral ? LiteralValue(values.bytes(row)).type : column.type
        switch type {
        case .utf8 where column.isLiteral: break
        case .utf8, .json, .jsonDocument, .dyNumber, .tzDate, .tzDatetime, .tzTimestamp, .pg:
            return output.append(jsonString: values.bytes(row))
        default: break
        }
        let text = ValueText.field(of: values, row, in: column)
        switch type {
        case .bool, .int8, .int16, .int32, .int64, .uint8, .uint16, .uint32, .uint64, .interval,
            .interval64:
            output.append(text)
        case .float, .double:
            let isFinite = text.utf8.allSatisfy { "0123456789+-.e".utf8.contains($0) }
            isFinite ? output.append(text) : output.append(jsonString: [UInt8](text.utf8))
        default:
            let content = ValueText.content(ofField: text) ?? ""
            output.append(jsonString: [UInt8](content.utf8))
        }
    }
}

extension ByteBuffer {
    /// Text in quotes. What is no UTF-8 is replaced.
    fileprivate func append(jsonString bytes: [UInt8]) {
        append("\"")
        for byte in String(decoding: bytes, as: UTF8.self).utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                append("\\")
                append(byte: byte)
            case 0x0A: append("\\n")
            case 0x09: append("\\t")
            case 0..<0x20:
                append(byte < 16 ? "\\u000" : "\\u00")
                append(String(byte, radix: 16))
            default: append(byte: byte)
            }
        }
        append("\"")
    }
}
