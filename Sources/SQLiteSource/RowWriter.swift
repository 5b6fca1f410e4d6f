import Bytes
import CSQLite
import Tables

/// Inserts rows of batches by a statement: the row loop, and all of its unsafe code.
struct RowWriter {
    private enum Kind { case integer, real, text, blob, literal }

    /// Of the statement's parameters, in order: the column of the batch, and what it holds.
    private let columns: [(index: Int, kind: Kind)]
    /// Turns bytes into text, whatever the database's encoding and however broken.
    private let cast: Statement

    /// - Parameter columns: indices into the schema's columns, one for each parameter of the
    ///   statement.
    init(
        _ schema: TableSchema, columns: [Int], table: String, connection: Connection
    ) throws {
        cast = try connection.prepare("SELECT CAST(?1 AS TEXT)")
        self.columns = try columns.map { index in
            let column = schema.columns[index]
            switch (column.type, column.isLiteral) {
            case (.utf8, true): return (index, .literal)
            case (.int64, false): return (index, .integer)
            case (.double, false): return (index, .real)
            case (.utf8, false): return (index, .text)
            case (.string, false): return (index, .blob)
            default:
                throw Failure(
                    .unsupported,
                    "column \(column.name) of \(table): SQLite has no \(column.type.name)")
            }
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
                        try bind(
                            handle, CInt(truncatingIfNeeded: position + 1), $0, row,
                            columns[position].kind)
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
        _ statement: OpaquePointer, _ parameter: CInt, _ vector: ColumnVector, _ row: Int,
        _ kind: Kind
    ) throws {
        if vector.isNull(row) {
            sqlite3_bind_null(statement, parameter)
            return
        }
        switch kind {
        case .integer:
            sqlite3_bind_int64(statement, parameter, vector.value(row, as: Int64.self))
        case .real:
            sqlite3_bind_double(statement, parameter, vector.value(row, as: Double.self))
        case .text: vector.withBytes(row) { bind(statement, parameter, text: $0) }
        case .blob: vector.withBytes(row) { bind(statement, parameter, blob: $0) }
        case .literal:
            // Rare, so that it may take its time.
            try vector.withBytes(row) { bytes in
                try SQLLiteral(bytes).bind(statement, parameter, cast: cast)
            }
        }
    }

    @inline(__always)
    private func bind(
        _ statement: OpaquePointer, _ parameter: CInt, text: UnsafeRawBufferPointer
    ) {
        sqlite3_bind_text64(
            statement, parameter, text.baseAddress?.assumingMemoryBound(to: CChar.self),
            UInt64(text.count), nil, UInt8(truncatingIfNeeded: SQLITE_UTF8))
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
    /// Text that is not well-formed: its bytes in the encoding of the database it came from.
    case brokenText([UInt8])

    init(_ bytes: UnsafeRawBufferPointer) throws {
        let cast = (begin: Array("CAST(".utf8), end: Array(" AS TEXT)".utf8))
        if bytes.first == UInt8(ascii: "'"), bytes.count >= 2 {
            self = .text(Self.unquoted(bytes.dropFirst().dropLast()))
        } else if bytes.first == UInt8(ascii: "X"), let blob = Self.unhexed(bytes[...]) {
            self = .blob(blob)
        } else if bytes.starts(with: cast.begin), bytes.count > cast.begin.count + cast.end.count,
            let blob = Self.unhexed(bytes.dropFirst(cast.begin.count).dropLast(cast.end.count))
        {
            self = .brokenText(blob)
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

    func bind(_ statement: OpaquePointer, _ parameter: CInt, cast: Statement) throws {
        switch self {
        case .integer(let value): sqlite3_bind_int64(statement, parameter, value)
        case .real(let value): sqlite3_bind_double(statement, parameter, value)
        case .text(let bytes):
            sqlite3_bind_text64(
                statement, parameter, bytes.map { CChar(bitPattern: $0) } + [0],
                UInt64(bytes.count), transientBytes, UInt8(truncatingIfNeeded: SQLITE_UTF8))
        case .blob(let bytes):
            sqlite3_bind_blob64(
                statement, parameter, bytes + [0], UInt64(bytes.count), transientBytes)
        case .brokenText(let bytes):
            cast.reset()
            let handle = try cast.open()
            sqlite3_bind_blob64(handle, 1, bytes + [0], UInt64(bytes.count), transientBytes)
            _ = try cast.step()
            sqlite3_bind_value(statement, parameter, sqlite3_column_value(handle, 0))
        }
    }
}
