import Bytes
import CSQLite
import Glibc

/// What our connections add to SQLite: `ydbfs_literal(x)`, the SQL literal of a value as bytes.
///
/// A literal is what SQLite's `quote()` says, but for values that would not come back: `quote()`
/// ends text at the first NUL, writes infinity as a bare word and drops the sign of -0.0.
/// ```
/// 42   -0.0   0.1   3.33333333333333314829e-01   9.0e+999   'it''s'   X'00FF'
/// CAST(X'610062' AS TEXT)                   text that holds NUL: its bytes in UTF-8, whatever the
///                                           encoding of the database
/// CAST(X'00D8' AS TEXT /* UTF-16le */)      text that is not well-formed: its bytes in the encoding of
///                                           the database, which is said (UTF-8, UTF-16le, UTF-16be)
/// ```
final class LiteralMaker {
    /// UTF-8 databases have 1 here, UTF-16 ones 2 or 3 (`SQLITE_UTF8`, `UTF16LE`, `UTF16BE`).
    private let encoding: CInt
    private unowned let quote: Statement
    private let buffer = ByteBuffer(capacity: 256)

    private init(encoding: CInt, quote: Statement) {
        self.encoding = encoding
        self.quote = quote
    }

    static func install(on connection: Connection, encoding: CInt) throws {
        let quote = try connection.keepQuoteStatement()
        try connection.sync { handle in
            let maker = Unmanaged.passRetained(LiteralMaker(encoding: encoding, quote: quote))
            let function = sqlite3_create_function_v2(
                handle, "ydbfs_literal", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, maker.toOpaque(),
                { context, _, arguments in
                    guard let context, let value = arguments?[0] else { return }
                    let maker = Unmanaged<LiteralMaker>.fromOpaque(sqlite3_user_data(context))
                    maker.takeUnretainedValue().answer(context, value)
                }, nil, nil, { Unmanaged<LiteralMaker>.fromOpaque($0!).release() })
            guard function == SQLITE_OK else {
                throw connection.failure("can't prepare to read")
            }
        }
    }

    private func answer(_ context: OpaquePointer, _ value: OpaquePointer) {
        buffer.removeAll()
        switch sqlite3_value_type(value) {
        case SQLITE_NULL: return sqlite3_result_null(context)
        case SQLITE_INTEGER: buffer.append(String(sqlite3_value_int64(value)))
        case SQLITE_FLOAT: buffer.append(real(sqlite3_value_double(value)))
        case SQLITE_BLOB:
            let start = sqlite3_value_blob(value)
            hexadecimal(
                UnsafeRawBufferPointer(start: start, count: Int(sqlite3_value_bytes(value))))
        default: text(value)
        }
        buffer.withBytes { bytes in
            sqlite3_result_blob64(
                context, bytes.baseAddress, sqlite3_uint64(bytes.count), transientBytes)
        }
    }

    /// `quote()`'s digits if they give the same bits back, else the shortest that do.
    private func real(_ value: Double) -> String {
        if value.isInfinite { return value > 0 ? "9.0e+999" : "-9.0e+999" }
        quote.reset()
        quote.bind(1, value)
        if (try? quote.step()) == true {
            let digits = quote.text(0)
            if let back = Double(digits), back.bitPattern == value.bitPattern { return digits }
        }
        return value.description
    }

    private func text(_ value: OpaquePointer) {
        if encoding != SQLITE_UTF8 {
            // Looked at before SQLite converts it.
            let raw = utf16(value)
            if !isWellFormedUTF16(raw, bigEndian: encoding == 3) { return cast(raw, encoding) }
        }
        let start = sqlite3_value_text(value)
        let bytes = UnsafeRawBufferPointer(start: start, count: Int(sqlite3_value_bytes(value)))
        guard isPlainText(bytes) else {
            let isWellFormed = bytes.split(separator: 0).allSatisfy {
                isPlainText(UnsafeRawBufferPointer(rebasing: $0))
            }
            return cast(bytes, isWellFormed ? nil : encoding)
        }
        buffer.append(byte: UInt8(ascii: "'"))
        var rest = bytes[...]
        while let mark = rest.firstIndex(of: UInt8(ascii: "'")) {
            buffer.append(UnsafeRawBufferPointer(rebasing: rest[...mark]))
            buffer.append(byte: UInt8(ascii: "'"))
            rest = rest[(mark + 1)...]
        }
        buffer.append(UnsafeRawBufferPointer(rebasing: rest))
        buffer.append(byte: UInt8(ascii: "'"))
    }

    private func utf16(_ value: OpaquePointer) -> UnsafeRawBufferPointer {
        let start = encoding == 2 ? sqlite3_value_text16le(value) : sqlite3_value_text16be(value)
        return UnsafeRawBufferPointer(start: start, count: Int(sqlite3_value_bytes16(value)))
    }

    /// - Parameter encoding: nil if the text is well-formed, and the bytes are UTF-8.
    private func cast(_ bytes: UnsafeRawBufferPointer, _ encoding: CInt?) {
        buffer.append(CastLiteral.begin)
        hexadecimal(bytes)
        buffer.append(CastLiteral.end(encoding))
    }

    private func hexadecimal(_ bytes: UnsafeRawBufferPointer) {
        buffer.append("X'")
        for byte in bytes {
            for digit in [byte >> 4, byte & 15] {
                buffer.append(byte: digit < 10 ? 48 + digit : 55 + digit)
            }
        }
        buffer.append(byte: UInt8(ascii: "'"))
    }
}

/// What stands around the hexadecimal digits of text that no quotes can hold.
enum CastLiteral {
    static let begin = "CAST("

    /// - Parameter encoding: SQLite's number for that of text which is not well-formed.
    static func end(_ encoding: CInt?) -> String {
        encoding.map { " AS TEXT /* \(encodingName($0)) */)" } ?? " AS TEXT)"
    }
}

/// SQLite's name for its number of an encoding.
func encodingName(_ encoding: CInt) -> String {
    switch encoding {
    case 2: "UTF-16le"
    case 3: "UTF-16be"
    default: "UTF-8"
    }
}
