import Bytes
import Tables

/// Values as SQLite's literals in a text that the `sqlite3` program reads, line by line.
struct ValueLiteral {
    private let column: Column

    init(_ column: Column) throws {
        switch column.type {
        case .int64, .double, .utf8, .string: self.column = column
        default:
            throw Failure(
                .unsupported, "column \(column.name): SQLite has no \(column.type.name)")
        }
    }

    func append(_ values: ColumnVector, _ row: Int, to output: ByteBuffer) {
        if values.isNull(row) { return output.append("NULL") }
        switch (column.type, column.isLiteral) {
        case (.int64, _): output.append(decimal: values.value(row, as: Int64.self))
        case (.double, _): output.append(Self.real(values.value(row, as: Double.self)))
        case (.string, _):
            output.append("X'")
            output.append(hex: values.bytes(row))
            output.append("'")
        case (_, true): values.withBytes(row) { Self.append(literal: $0, to: output) }
        default: values.withBytes(row) { Self.append(text: $0, to: output) }
        }
    }

    /// The shortest digits that are this number again; SQLite's NULL for what is none.
    private static func real(_ value: Double) -> String {
        if value.isNaN { return "NULL" }
        if value.isInfinite { return value > 0 ? "9.0e+999" : "-9.0e+999" }
        return value.description
    }

    /// What SQLite's own function wrote, but for text that holds what the program's lines can't: it takes
    /// a CR from a line's end.
    private static func append(literal bytes: UnsafeRawBufferPointer, to output: ByteBuffer) {
        guard bytes.first == UInt8(ascii: "'"), bytes.contains(where: isControl) else {
            return output.append(bytes)
        }
        let inner = String(decoding: bytes.dropFirst().dropLast(), as: UTF8.self)
        var text = inner.replacingBytes("''", with: "'")
        text.withUTF8 { append(text: UnsafeRawBufferPointer($0), to: output) }
    }

    private static func isControl(_ byte: UInt8) -> Bool { byte < 32 && byte != 9 && byte != 10 }

    /// In quotes; control characters by their numbers.
    static func append(text: UnsafeRawBufferPointer, to output: ByteBuffer) {
        let isPlain = !text.contains(where: isControl)
        output.append(isPlain ? "'" : "('")
        for byte in text {
            if isControl(byte) {
                output.append("'||char(\(byte))||'")
            } else {
                if byte == UInt8(ascii: "'") { output.append(byte: byte) }
                output.append(byte: byte)
            }
        }
        output.append(isPlain ? "'" : "')")
    }
}
