import Bytes
import CSQLite
import Tables

/// Appends rows of a statement to batches: the row loop, and all of its unsafe code.
///
/// The statement's columns `first`… are those of the schema, in order.
struct RowReader {
    private enum Kind {
        case integer, real, text, utf16, blob, literal
        /// A real number, or an integer that stands for one: SQLite stores no number without fraction
        /// as a real one in such a column.
        case numeric
    }

    let schema: TableSchema
    private let kinds: [Kind]
    private let isKey: [Bool]
    private let table: String
    /// A column that is computed as it is read, and may fail to be; nil if there is none.
    fileprivate let computed: String?

    /// - Parameters:
    ///   - encoding: SQLite's number for the database's encoding (1 = UTF-8).
    ///   - affinities: of the table's columns, in the schema's order.
    init(
        schema: TableSchema, table: String, encoding: CInt, affinities: [Affinity],
        computed: String? = nil
    ) throws {
        self.schema = schema
        self.table = table
        self.computed = computed
        kinds = try zip(schema.columns, affinities).map { column, affinity in
            switch (column.type, column.isLiteral) {
            case (.utf8, true): .literal
            case (.int64, false): .integer
            case (.double, false): affinity.turnsWholeToIntegers ? .numeric : .real
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
    ///
    /// - Parameter rowID: the name by which the table's rowid can be reached.
    static func expressions(_ schema: TableSchema, rowID: String?) -> [String] {
        schema.columns.map { column in
            if column.isHidden { return rowID ?? quoted(column.name) }
            return column.isLiteral ? "ydbfs_literal(\(quoted(column.name)))" : quoted(column.name)
        }
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
        case .numeric:
            if storage == SQLITE_INTEGER {
                let integer = sqlite3_value_int64(value)
                guard integer.magnitude <= 1 << 53 else { throw misfit(column) }
                vector.append(Double(integer))
                return 8
            }
            guard storage == SQLITE_FLOAT else { throw misfit(column) }
            let real = sqlite3_value_double(value)
            if isWhole(real) { throw misfit(column) }
            vector.append(real)
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

    @inline(never)
    private func misfit(_ column: Int) -> Misfit { Misfit(column: schema.columns[column].name) }
}

/// A UTF-16 value is looked at before SQLite converts it, because that hides broken surrogates.
private func isWellFormed(_ value: OpaquePointer?) -> Bool {
    // The C interface answers in the machine's byte order.
    let start = sqlite3_value_text16(value)
    let units = UnsafeRawBufferPointer(start: start, count: Int(sqlite3_value_bytes16(value)))
    return isWellFormedUTF16(units, bigEndian: 1.bigEndian == 1)
}

/// Whether SQLite stores the number as an integer where it has the choice.
private func isWhole(_ real: Double) -> Bool {
    real.rounded(.towardZero) == real && real.magnitude < 0x1p63
}

extension StoredClasses {
    /// - Parameter encoding: SQLite's number for the database's encoding.
    init(_ value: OpaquePointer?, encoding: CInt) {
        switch sqlite3_value_type(value) {
        case SQLITE_NULL: self = []
        case SQLITE_INTEGER:
            self = sqlite3_value_int64(value).magnitude <= 1 << 53 ? .integer : .largeInteger
        case SQLITE_FLOAT: self = isWhole(sqlite3_value_double(value)) ? .wholeReal : .real
        case SQLITE_BLOB: self = .blob
        default:
            if encoding != 1, !isWellFormed(value) {
                self = .otherText
                return
            }
            let start = sqlite3_value_text(value)
            let text = UnsafeRawBufferPointer(start: start, count: Int(sqlite3_value_bytes(value)))
            self = isPlainText(text) ? .text : .otherText
        }
    }
}

/// Why a table can't be backed up whose key holds NULL.
func nullInKey(_ table: String, _ column: String) -> Failure {
    Failure(.unsupported, nullInKeyWords(table, column))
}

func nullInKeyWords(_ table: String, _ column: String) -> String {
    "table \(table) holds rows whose key column \(column) is NULL: give them a key "
        + "(UPDATE … WHERE \(quoted(column)) IS NULL) and declare the column NOT NULL"
}

/// All rows of a query.
final class ScanCursor: RowCursor {
    private let connection: Connection
    private var statement: Statement
    private let reader: RowReader
    private let ordered: RangeQuery?
    private var isAtEnd = false

    /// - Parameter ordered: the same rows behind a key, if they come in key order: then no large one is
    ///   kept.
    init(
        _ connection: Connection, sql: String, reader: RowReader, ordered: RangeQuery? = nil
    ) throws {
        self.connection = connection
        self.reader = reader
        self.ordered = ordered
        statement = try connection.prepare(sql)
    }

    func next(into batch: RowBatch, maxRows: Int, maxBytes: Int) throws -> Bool {
        try connection.sync { _ in
            let start = batch.count
            var count = start
            var bytes = batch.byteCount
            let handle = try statement.open()
            let targets = RowReader.Targets(batch)
            var rowBytes = 0
            while count < maxRows, bytes <= maxBytes, !isAtEnd {
                guard try step() else {
                    isAtEnd = true
                    break
                }
                rowBytes = try reader.appendRow(of: handle, to: targets)
                bytes += rowBytes
                count += 1
            }
            if rowBytes > RowBatch.largeBytes, let ordered { try letGo(of: batch, ordered) }
            return withExtendedLifetime(batch) { count > start || !isAtEnd }
        }
    }

    /// SQLite keeps a row's values until the statement is reset: the rows behind it are asked for anew.
    private func letGo(of batch: RowBatch, _ ordered: RangeQuery) throws {
        statement.reset()
        let key = NormalizedKey.of(batch, row: batch.count - 1, schema: reader.schema)
        if let rest = try ordered.statement(behind: key, to: nil, connection) {
            statement = rest
        } else {
            isAtEnd = true
        }
    }

    /// True if there is a row. A computed column that can't be computed doesn't fit.
    private func step() throws -> Bool {
        do {
            return try statement.step()
        } catch let failure as Failure where failure.code == .system {
            guard let column = reader.computed else { throw failure }
            throw Misfit(column: column)
        }
    }
}
