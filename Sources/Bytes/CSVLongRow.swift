/// One row as CSV, some bytes at a time: for rows whose text isn't to be in memory as a whole.
package struct CSVLongRow {
    private enum Style { case plain, quoted, hexadecimal, escaped }

    private let columns: [ColumnVector]
    private let forms: [CSVForm]
    private let null: CSVNull
    /// The column that is being written, how, and how many bytes of its value have been.
    private var column = 0
    private var style: Style?
    private var written = 0

    /// Values of less are written at once.
    private static let longBytes = 64 << 10

    /// - Parameter columns: of one row.
    package init(_ columns: [ColumnVector], forms: [CSVForm], null: CSVNull = .nothing) {
        precondition(columns.count == forms.count && columns.allSatisfy { $0.count == 1 })
        self.null = null
        self.columns = columns
        self.forms = forms
    }

    /// Appends about so many bytes; false if they are the last ones.
    package mutating func append(about count: Int, to output: ByteBuffer) -> Bool {
        let end = output.count + count
        while column < columns.count, output.count < end {
            let values = columns[column]
            if values.layout == .variable, values.byteCount(ofRow: 0) > Self.longBytes {
                values.withBytes(0) { appendPart(of: $0, end - output.count, to: output) }
            } else {
                output.append(
                    csv: CSVRows([values], forms: [forms[column]], null: null), 0..<1)
                output.count -= 1
                endField(output)
            }
        }
        return column < columns.count
    }

    private mutating func endField(_ output: ByteBuffer) {
        column += 1
        output.append(byte: UInt8(ascii: column == columns.count ? "\n" : ","))
        style = nil
        written = 0
    }

    private mutating func appendPart(
        of bytes: UnsafeRawBufferPointer, _ count: Int, to output: ByteBuffer
    ) {
        let quote = UInt8(ascii: "\"")
        let style = self.style ?? Self.style(of: bytes, forms[column])
        if self.style == nil {
            self.style = style
            if style == .quoted || style == .escaped { output.append(byte: quote) }
            if style == .hexadecimal { output.append("\\x") }
        }
        let part = UnsafeRawBufferPointer(
            rebasing: bytes[written..<min(bytes.count, written + max(count, 1))])
        switch style {
        case .plain: output.append(part)
        case .hexadecimal:
            output.append(room: 2 * part.count) { room in
                var writer = TextWriter(room.baseAddress!)
                writer.hex(part)
                return 2 * part.count
            }
        case .escaped:
            output.append(room: TextWriter.escapedRoom(part.count)) { room in
                var writer = TextWriter(room.baseAddress!)
                writer.escapedContent(part)
                return writer.next - room.baseAddress!
            }
        case .quoted:
            output.append(room: 2 * part.count) { room in
                var writer = TextWriter(room.baseAddress!)
                for byte in part {
                    if byte == quote { writer.byte(quote) }
                    writer.byte(byte)
                }
                return writer.next - room.baseAddress!
            }
        }
        written += part.count
        if written < bytes.count { return }
        if style == .quoted || style == .escaped { output.append(byte: quote) }
        endField(output)
    }

    /// As `TextWriter.field`, `binary` and `escaped` have it.
    private static func style(of bytes: UnsafeRawBufferPointer, _ form: CSVForm) -> Style {
        if form == .escaped { return .escaped }
        if form == .escapedNumber { return TextWriter.isNumber(bytes) ? .plain : .escaped }
        if form == .bytes, !TextWriter.isPlain(bytes) { return .hexadecimal }
        return TextWriter.isQuoted(long: bytes) ? .quoted : .plain
    }
}

extension TextWriter {
    /// Whether `field` quotes a value of at least eight bytes.
    fileprivate static func isQuoted(long bytes: UnsafeRawBufferPointer) -> Bool {
        let space = UInt8(ascii: " ")
        if bytes[0] == space || bytes[bytes.count - 1] == space { return true }
        var special = specials(
            bytes.loadUnaligned(fromByteOffset: bytes.count - 8, as: UInt64.self))
        for index in stride(from: 0, to: bytes.count - 7, by: 8) {
            special |= specials(bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self))
        }
        return special & 0x8080_8080_8080_8080 != 0
    }
}
