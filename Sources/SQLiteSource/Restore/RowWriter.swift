import Bytes
import CSQLite
import Tables

/// Inserts rows of batches by a statement: the row loop, and all of its unsafe code.
struct RowWriter {
    private enum Kind {
        case integer, real, text, blob, literal
        /// A real number, stored as an integer if it is one: what SQLite does in such a column.
        case numeric
    }

    /// Of the statement's parameters, in order: the column of the batch, and what it holds.
    private let columns: [(index: Int, name: String, kind: Kind)]
    private let encoding: CInt

    /// - Parameters:
    ///   - columns: indices into the schema's columns, one for each parameter of the statement.
    ///   - affinities: of the schema's columns, by their types in the table that is restored.
    ///   - encoding: SQLite's number for the database's encoding.
    init(
        _ schema: TableSchema, columns: [Int], affinities: [Affinity], encoding: CInt
    ) throws {
        self.encoding = encoding
        self.columns = try columns.map { index in
            let column = schema.columns[index]
            let kind: Kind =
                switch (column.type, column.isLiteral) {
                case (.utf8, true): .literal
                case (.int64, false): .integer
                case (.double, false): affinities[index].turnsWholeToIntegers ? .numeric : .real
                case (.utf8, false): .text
                case (.string, false): .blob
                default:
                    throw Failure(
                        .unsupported, "column \(column.name): SQLite has no \(column.type.name)")
                }
            return (index, column.name, kind)
        }
    }

    /// To be called inside `Connection.sync`.
    func insert(_ batch: RowBatch, by statement: Statement) throws {
        let handle = try statement.open()
        try withExtendedLifetime(batch) {
            let vectors = columns.map { Unmanaged.passUnretained(batch.columns[$0.index]) }
            for row in 0..<batch.count {
                for position in columns.indices {
                    try vectors[position]._withUnsafeGuaranteedRef {
                        try bind(handle, position, $0, row)
                    }
                }
                _ = try statement.step()
                sqlite3_reset(handle)
            }
        }
    }

    /// Text and bytes aren't copied: they lie still in the batch until the row is inserted.
    @inline(__always)
    private func bind(
        _ statement: OpaquePointer, _ position: Int, _ vector: ColumnVector, _ row: Int
    ) throws {
        let parameter = CInt(truncatingIfNeeded: position + 1)
        if vector.isNull(row) {
            sqlite3_bind_null(statement, parameter)
            return
        }
        switch columns[position].kind {
        case .integer:
            sqlite3_bind_int64(statement, parameter, vector.value(row, as: Int64.self))
        case .real:
            sqlite3_bind_double(statement, parameter, vector.value(row, as: Double.self))
        case .numeric: bind(statement, parameter, numeric: vector.value(row, as: Double.self))
        case .text: vector.withBytes(row) { bind(statement, parameter, text: $0) }
        case .blob: vector.withBytes(row) { bind(statement, parameter, blob: $0) }
        case .literal:
            // Rare, so that it may take its time.
            try vector.withBytes(row) { try bind(statement, position, literal: SQLLiteral($0)) }
        }
    }

    /// Beyond 2⁵³ a real number doesn't tell integers apart, and none of them was one.
    private func bind(_ statement: OpaquePointer, _ parameter: CInt, numeric value: Double) {
        let isInteger =
            value.rounded(.towardZero) == value && value.magnitude <= 0x1p53
            && !(value == 0 && value.sign == .minus)
        if isInteger {
            sqlite3_bind_int64(statement, parameter, Int64(value))
        } else {
            sqlite3_bind_double(statement, parameter, value)
        }
    }

    private func bind(
        _ statement: OpaquePointer, _ position: Int, literal: SQLLiteral
    ) throws {
        let parameter = CInt(truncatingIfNeeded: position + 1)
        switch literal {
        case .integer(let value): sqlite3_bind_int64(statement, parameter, value)
        case .real(let value): sqlite3_bind_double(statement, parameter, value)
        case .text(let bytes):
            let isOdd = encoding != 1 && bytes.withUnsafeBytes(holdsNoncharacter)
            guard isOdd else { return bind(statement, parameter, text: bytes, encoding: 1) }
            bytes.withUnsafeBytes { bind(statement, parameter, text: $0) }
        case .blob(let bytes):
            sqlite3_bind_blob64(
                statement, parameter, bytes + [0], UInt64(bytes.count), transientBytes)
        case .brokenText(let bytes, let written):
            guard written == encoding else {
                throw Failure(
                    .unsupported,
                    "column \(columns[position].name) holds text that is no well-formed "
                        + "\(encodingName(written)), and the database is \(encodingName(encoding)), "
                        + "where there is no such text: restore into a new file")
            }
            bind(statement, parameter, text: bytes, encoding: encoding)
        }
    }

    @inline(__always)
    private func bind(
        _ statement: OpaquePointer, _ parameter: CInt, text: UnsafeRawBufferPointer
    ) {
        if encoding != 1, holdsNoncharacter(text) {
            let units = String(decoding: text, as: UTF8.self).utf16
            let bytes = units.flatMap { unit in
                [unit >> 8, unit & 0xFF].map { UInt8(truncatingIfNeeded: $0) }
            }
            return bind(statement, parameter, text: bytes, encoding: 3)
        }
        sqlite3_bind_text64(
            statement, parameter, text.baseAddress?.assumingMemoryBound(to: CChar.self),
            UInt64(text.count), nil, UInt8(truncatingIfNeeded: SQLITE_UTF8))
    }

    /// Whether SQLite would turn a character of well-formed UTF-8 into another one (U+FFFD) on the way to
    /// UTF-16: it does so with U+FFFE and U+FFFF.
    private func holdsNoncharacter(_ text: UnsafeRawBufferPointer) -> Bool {
        guard var rest = text.isEmpty ? nil : text[...] else { return false }
        while let first = rest.firstIndex(of: 0xEF) {
            rest = rest[(first + 1)...]
            if rest.count >= 2, rest[first + 1] == 0xBF, rest[first + 2] >= 0xBE { return true }
        }
        return false
    }

    /// Text by the bytes of an encoding, which are copied.
    private func bind(
        _ statement: OpaquePointer, _ parameter: CInt, text: [UInt8], encoding: CInt
    ) {
        // SQLite takes a byte order mark off, which may be the text's own.
        let mark: [UInt8] = encoding == 1 ? [] : encoding == 2 ? [0xFF, 0xFE] : [0xFE, 0xFF]
        let text = (mark + text).map { CChar(bitPattern: $0) }
        sqlite3_bind_text64(
            statement, parameter, text + [0], UInt64(text.count), transientBytes,
            UInt8(truncatingIfNeeded: encoding))
    }

    /// SQLite takes bytes that lie nowhere for NULL.
    @inline(__always)
    private func bind(
        _ statement: OpaquePointer, _ parameter: CInt, blob: UnsafeRawBufferPointer
    ) {
        if blob.isEmpty {
            sqlite3_bind_zeroblob(statement, parameter, 0)
        } else {
            sqlite3_bind_blob64(statement, parameter, blob.baseAddress, UInt64(blob.count), nil)
        }
    }
}

/// A value that `LiteralMaker` wrote, read again.
private enum SQLLiteral {
    case integer(Int64)
    case real(Double)
    case text([UInt8])
    case blob([UInt8])
    /// Text that is not well-formed: its bytes, and the encoding of the database it came from.
    case brokenText([UInt8], encoding: CInt)

    init(_ bytes: UnsafeRawBufferPointer) throws {
        if bytes.first == UInt8(ascii: "'"), bytes.count >= 2 {
            self = .text(Self.unquoted(bytes.dropFirst().dropLast()))
        } else if bytes.first == UInt8(ascii: "X"), let blob = Self.unhexed(bytes[...]) {
            self = .blob(blob)
        } else if let cast = Self.uncast(bytes) {
            self = cast
        } else {
            let word = String(decoding: bytes, as: UTF8.self)
            if let integer = Int64(word) {
                self = .integer(integer)
            } else if let real = Double(word), !real.isNaN {
                self = .real(real)
            } else {
                throw Failure(.corrupt, "a stored literal is none: \(word.prefix(40))")
            }
        }
    }

    /// `CAST(X'…' AS TEXT)`, with or without an encoding.
    private static func uncast(_ bytes: UnsafeRawBufferPointer) -> SQLLiteral? {
        guard bytes.starts(with: CastLiteral.begin.utf8) else { return nil }
        let rest = bytes.dropFirst(CastLiteral.begin.utf8.count)
        for encoding in [nil, 1, 2, 3] as [CInt?] {
            let end = CastLiteral.end(encoding)
            guard rest.count > end.utf8.count, rest.suffix(end.utf8.count).elementsEqual(end.utf8),
                let blob = unhexed(rest.dropLast(end.utf8.count))
            else { continue }
            return encoding.map { .brokenText(blob, encoding: $0) } ?? .text(blob)
        }
        return nil
    }

    private static func unquoted(_ inner: UnsafeRawBufferPointer.SubSequence) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(inner.count)
        var isSecond = false
        for byte in inner {
            isSecond = byte == UInt8(ascii: "'") && !isSecond
            if !isSecond { result.append(byte) }
        }
        return result
    }

    /// The bytes of `X'00FF'`.
    private static func unhexed(_ literal: UnsafeRawBufferPointer.SubSequence) -> [UInt8]? {
        guard literal.count >= 3, literal.count % 2 == 1, literal.first == UInt8(ascii: "X"),
            literal.last == UInt8(ascii: "'")
        else { return nil }
        func digit(_ byte: UInt8) -> UInt8? {
            switch byte {
            case 48...57: byte - 48
            case 65...70: byte - 55
            default: nil
            }
        }
        var result: [UInt8] = []
        result.reserveCapacity(literal.count / 2)
        var high: UInt8?
        for byte in literal.dropFirst(2).dropLast() {
            guard let digit = digit(byte) else { return nil }
            if let first = high {
                result.append(first << 4 | digit)
                high = nil
            } else {
                high = digit
            }
        }
        return result
    }
}
