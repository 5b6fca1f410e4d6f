/// Single values as text, appended to a buffer.
extension ByteBuffer {
    @inline(__always)
    private func write(room: Int = TextWriter.room, _ body: (inout TextWriter) -> Void) {
        reserve(room)
        var writer = TextWriter(base + count)
        body(&writer)
        count = writer.next - base
    }

    package func append(decimal value: Int64) { write { $0.decimal(value) } }

    package func append(decimal value: UInt64) { write { $0.decimal(value) } }

    package func append(hex bytes: UnsafeRawBufferPointer) {
        write(room: bytes.count * 2) { $0.hex(bytes) }
    }

    package func append(hex bytes: [UInt8]) { bytes.withUnsafeBytes { append(hex: $0) } }

    package func append(csvField text: String) {
        var text = text
        text.withUTF8 { append(csvField: UnsafeRawBufferPointer($0)) }
    }

    /// A CSV field as RFC 4180 has it, quoted only where it must be, or where it is empty, begins or
    /// ends with a space, or is `\.`.
    package func append(csvField bytes: UnsafeRawBufferPointer) {
        write(room: TextWriter.fieldRoom(bytes.count)) { $0.field(bytes) }
    }
}
