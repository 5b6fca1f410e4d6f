import Bytes
import CSQLite
import Tables

/// Appends rows of a statement to batches: the row loop, and all of its unsafe code.
///
/// The statement's columns `first`… are those of the schema, in order.
struct RowReader {
    private enum Kind {
        case integer, real, text, utf16, blob, literal
    }

    private let schema: TableSchema
    private let kinds: [Kind]
    private let isKey: [Bool]
    private let table: String
    private let bigEndian: Bool

    /// - Parameter encoding: SQLite's number for the database's encoding (1 = UTF-8).
    init(schema: TableSchema, table: String, encoding: CInt) throws {
        self.schema = schema
        self.table = table
        bigEndian = encoding == 3
        kinds = try schema.columns.map { column in
            switch (column.type, column.isLiteral) {
            case (.utf8, true): .literal
            case (.int64, false): .integer
            case (.double, false): .real
            case (.utf8, false): encoding == 1 ? .text : .utf16
            case (.string, false): .blob
            default:
                throw Failure(
                    .invalid,
                    "column \(column.name) of \(table): SQLite has no \(column.type.name)")
            }
        }
        isKey = schema.columns.indices.map { schema.key.contains($0) }
    }

    /// What a query selects for each column, in order.
    static func expressions(_ schema: TableSchema) -> [String] {
        schema.columns.map { $0.isLiteral ? "ydbfs_literal(\(quoted($0.name)))" : quoted($0.name) }
    }

    /// The order of keys, as terms of ORDER BY for the expressions given, those of the key columns.
    ///
    /// Where SQLite's own order is the same, the terms are such that it finds its index.
    static func order(_ schema: TableSchema, _ expressions: [String], encoding: CInt) -> String {
        zip(schema.key, expressions).map { column, expression in
            let column = schema.columns[column]
            if column.isLiteral || column.type != .utf8 { return expression }
            return "\(expression) COLLATE \(encoding == 1 ? "BINARY" : "ydbfs_bytes")"
        }.joined(separator: ", ")
    }

    /// The vectors that rows are appended to, as the row loop wants them: not counted as used again
    /// for every value. Whoever passes them keeps the batch.
    struct Targets {
        fileprivate let vectors: [Unmanaged<ColumnVector>]

        init(_ batch: RowBatch) { vectors = batch.columns.map { .passUnretained($0) } }
    }

    /// Appends the statement's present row; returns its bytes.
    @inline(__always)
    func appendRow(of statement: OpaquePointer, to targets: Targets) throws -> Int {
        var bytes = 0
        for column in kinds.indices {
            bytes += try targets.vectors[column]._withUnsafeGuaranteedRef {
                try append(statement, CInt(truncatingIfNeeded: column), into: $0, column)
            }
        }
        return bytes
    }

    /// Appends a row that is gone: the key from the statement's columns, the rest NULL.
    func appendKey(of statement: OpaquePointer, to vectors: [ColumnVector]) throws -> Int {
        var bytes = 0
        for column in kinds.indices {
            if let position = schema.key.firstIndex(of: column) {
                bytes += try append(
                    statement, CInt(truncatingIfNeeded: position), into: vectors[column], column)
            } else {
                vectors[column].appendNull()
            }
        }
        return bytes
    }

    /// True if the key in the statement's first columns fits the types of the key columns.
    func keyFits(_ statement: OpaquePointer) -> Bool {
        let scratch = schema.columns.map { ColumnVector($0.type.layout) }
        return schema.key.enumerated().allSatisfy { position, column in
            let index = CInt(truncatingIfNeeded: position)
            return (try? append(statement, index, into: scratch[column], column)) != nil
        }
    }

    /// Appends one value of the statement's row; returns about how many bytes it takes.
    @inline(__always)
    private func append(
        _ statement: OpaquePointer, _ index: CInt, into vector: ColumnVector, _ column: Int
    ) throws -> Int {
        // The value itself, looked up once: the column functions look it up and look for errors at
        // every call. Not protected by SQLite's mutex, but by `Connection.sync`.
        let value = sqlite3_column_value(statement, index)
        let storage = sqlite3_value_type(value)
        if storage == SQLITE_NULL {
            if isKey[column] { throw nullInKey(table, schema.columns[column].name) }
            vector.appendNull()
            return 8
        }
        switch kinds[column] {
        case .integer:
            guard storage == SQLITE_INTEGER else { throw misfit(column) }
            vector.append(sqlite3_value_int64(value))
            return 8
        case .real:
            guard storage == SQLITE_FLOAT else { throw misfit(column) }
            vector.append(sqlite3_value_double(value))
            return 8
        case .text, .utf16:
            guard storage == SQLITE_TEXT else { throw misfit(column) }
            if kinds[column] == .utf16, !isWellFormed(value) { throw misfit(column) }
            let start = sqlite3_value_text(value)
            let text = UnsafeRawBufferPointer(
                start: start, count: Int(sqlite3_value_bytes(value)))
            guard isPlainText(text) else { throw misfit(column) }
            vector.append(bytes: text)
            return text.count + 8
        case .blob, .literal:
            guard storage == SQLITE_BLOB else { throw misfit(column) }
            let start = sqlite3_value_blob(value)
            let blob = UnsafeRawBufferPointer(
                start: start, count: Int(sqlite3_value_bytes(value)))
            vector.append(bytes: blob)
            return blob.count + 8
        }
    }

    /// A UTF-16 value is looked at before SQLite converts it, because that hides broken surrogates.
    private func isWellFormed(_ value: OpaquePointer?) -> Bool {
        // The C interface answers in the machine's byte order.
        let start = sqlite3_value_text16(value)
        let units = UnsafeRawBufferPointer(
            start: start, count: Int(sqlite3_value_bytes16(value)))
        return isWellFormedUTF16(units, bigEndian: 1.bigEndian == 1)
    }

    @inline(never)
    private func misfit(_ column: Int) -> Misfit { Misfit(column: schema.columns[column].name) }
}

/// Why a table can't be backed up whose key holds NULL.
func nullInKey(_ table: String, _ column: String) -> Failure {
    Failure(.unsupported, nullInKeyWords(table, column))
}

func nullInKeyWords(_ table: String, _ column: String) -> String {
    "table \(table) holds rows whose key column \(column) is NULL: give them a key "
        + "(UPDATE … WHERE \(quoted(column)) IS NULL) and declare the column NOT NULL"
}

/// All rows of a query in key order.
final class ScanCursor: RowCursor {
    private let connection: Connection
    private let statement: Statement
    private let reader: RowReader
    private var isAtEnd = false

    init(_ connection: Connection, sql: String, reader: RowReader) throws {
        self.connection = connection
        self.reader = reader
        statement = try connection.prepare(sql)
    }

    func next(into batch: RowBatch, maxRows: Int, maxBytes: Int) throws -> Bool {
        try connection.sync { _ in
            let start = batch.count
            var count = start
            var bytes = batch.byteCount
            let handle = try statement.open()
            let targets = RowReader.Targets(batch)
            while count < maxRows, bytes <= maxBytes, !isAtEnd {
                guard try statement.step() else {
                    isAtEnd = true
                    break
                }
                bytes += try reader.appendRow(of: handle, to: targets)
                count += 1
            }
            return withExtendedLifetime(batch) { count > start || !isAtEnd }
        }
    }
}
