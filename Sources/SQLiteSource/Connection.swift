import Bytes
import CSQLite
import Glibc

/// A connection to a database file, through SQLite's own interface: rows are read by the million, and
/// a library between would only be opened and passed by.
///
/// All work happens inside `sync`, so that cursors on several threads may share a connection.
/// `close` ends open statements first: whoever steps one afterwards gets a `Failure`.
final class Connection: @unchecked Sendable {
    enum Access: Equatable {
        /// Never writes to the file; may create the empty `-wal` and `-shm` of a WAL database.
        case read
        /// Nothing is created, no locks are taken: for WAL databases that lie where no `-shm` can, and for
        /// copies that nobody writes to.
        case readImmutable
        /// Closing it leaves the write-ahead log as it is.
        case write
        /// Closing it checkpoints and removes the write-ahead log, if it is the last.
        case writeAndTidy
        /// A new file, which must not be there yet.
        case new
        /// The file of a `PageSink`, by its name.
        case pages(String)
    }

    let path: String
    let access: Access
    private let lock = RecursiveLock()
    /// Nil once closed.
    private var handle: OpaquePointer?
    private var statements: [ObjectIdentifier: Unmanaged<Statement>] = [:]
    private var quote: Statement?
    private var question: Question?

    /// - Parameter busyTimeout: seconds to wait for other programs' locks.
    init(path: String, access: Access, busyTimeout: Double) throws {
        self.path = path
        self.access = access
        let (name, flags) =
            switch access {
            case .read: (Self.uri(path, "mode=ro"), SQLITE_OPEN_READONLY)
            case .readImmutable: (Self.uri(path, "mode=ro&immutable=1"), SQLITE_OPEN_READONLY)
            case .write, .writeAndTidy: (Self.uri(path, "mode=rw"), SQLITE_OPEN_READWRITE)
            case .new: (Self.uri(path, "mode=rwc"), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)
            case .pages(let name): (name, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)
            }
        var vfs: String?
        if case .pages = access { vfs = PageFiles.vfsName }
        // `sync` does what SQLite's own mutex would.
        let code = sqlite3_open_v2(
            name, &handle, flags | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, vfs)
        do {
            guard code == SQLITE_OK, let handle else {
                throw handle == nil
                    ? Self.failure(code, "", path, "can't open") : failure("can't open")
            }
            sqlite3_extended_result_codes(handle, 1)
            sqlite3_busy_timeout(handle, CInt(busyTimeout * 1000))
            try configure(handle)
            // Opening looks at no byte: an encrypted file or a picture would be found out later.
            // This reads the header and, unlike a query, none of 10,000 tables' definitions.
            _ = try integer("PRAGMA main.schema_version")
        } catch {
            close()
            throw error
        }
    }

    private func configure(_ handle: OpaquePointer) throws {
        // Old schemas have strings in double quotes, and SQLite reads them all at once.
        var options = [(SQLITE_DBCONFIG_DQS_DDL, true), (SQLITE_DBCONFIG_DQS_DML, true)]
        if access != .writeAndTidy { options.append((SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)) }
        for (option, isOn) in options {
            let code = ydbfs_sqlite_config(handle, CInt(option), isOn ? 1 : 0)
            guard code == SQLITE_OK else { throw Self.failure(code, "", path, "can't open") }
        }
        // Collations of the application's own: rows are read as they lie, and never compared by them.
        if access != .write && access != .new {
            sqlite3_collation_needed(handle, nil) { _, handle, _, name in
                _ = ydbfs_sqlite_compare_bytes(handle, name)
            }
        }
    }

    deinit { sqlite3_close_v2(handle) }

    /// Runs `body` alone on this connection; may be nested.
    func sync<R>(_ body: (OpaquePointer?) throws -> R) rethrows -> R {
        try lock.withLock { try body(handle) }
    }

    var isOpen: Bool { sync { $0 != nil } }

    /// False outside of one, and if SQLite has undone it after an error.
    var isInTransaction: Bool { sync { sqlite3_get_autocommit($0) == 0 } }

    func close() {
        sync { handle in
            for statement in statements.values { statement.takeUnretainedValue().finalize() }
            statements = [:]
            quote = nil
            sqlite3_close_v2(handle)
            self.handle = nil
        }
    }

    // MARK: Statements

    /// Whether SQLite itself has the collation.
    static func isBuiltIn(collation: String) -> Bool {
        ["BINARY", "NOCASE", "RTRIM"].contains(collation.uppercased())
    }

    /// A collation that only the application has, by which the statement would compare; nil if there is
    /// none. The program that SQLite makes of the statement tells (sqlite.org/opcode.html): comparisons
    /// name their collation in P4, indexes and sorters all of theirs, `k(2,unicase,B)`.
    func foreignCollation(in sql: String) throws -> String? {
        let steps = try rows("EXPLAIN \(sql)") { (opcode: $0.text(1), p4: $0.text(5)) }
        // Known by now: making the program has asked for them.
        let foreign = try rows("SELECT name FROM pragma_collation_list") { $0.text(0) }
            .filter { !Self.isBuiltIn(collation: $0) }
        let shownBytes = 18
        return foreign.first { name in
            steps.contains { step in
                if step.opcode.hasPrefix("String") { return false }
                return step.p4.hasPrefix("k(")
                    ? step.p4.contains(name) : step.p4.hasPrefix(name.prefix(shownBytes) + "-")
            }
        }
    }

    func prepare(_ sql: String) throws -> Statement { try Statement(self, sql) }

    func execute(_ sql: String) throws {
        try sync { _ in
            let statement = try prepare(sql)
            while try statement.step() {}
        }
    }

    /// Every row of a query, read by `read`.
    func rows<R>(_ sql: String, _ read: (Statement) throws -> R) throws -> [R] {
        try sync { _ in
            let statement = try prepare(sql)
            var result: [R] = []
            while try statement.step() { result.append(try read(statement)) }
            return result
        }
    }

    func integer(_ sql: String) throws -> Int64? { try rows(sql) { $0.integer(0) }.first }

    func text(_ sql: String) throws -> String? { try rows(sql) { $0.text(0) }.first }

    fileprivate func register(_ statement: Statement) throws {
        guard handle != nil else { throw Failure(.cancelled, "\(path) is no longer being read") }
        statements[ObjectIdentifier(statement)] = Unmanaged.passUnretained(statement)
    }

    fileprivate func forget(_ statement: Statement) {
        statements[ObjectIdentifier(statement)] = nil
    }

    /// A statement kept until the connection closes: what literals of REAL values are made by.
    func keepQuoteStatement() throws -> Statement {
        if let quote { return quote }
        let statement = try prepare("SELECT quote(?1)")
        quote = statement
        return statement
    }

    /// SQLite's number for the database's encoding: UTF-8, UTF-16 with the low byte first, or the high one.
    func encoding() throws -> CInt {
        switch try text("PRAGMA main.encoding") ?? "" {
        case "UTF-16le": 2
        case "UTF-16be": 3
        default: 1
        }
    }

    /// Whether what is written sets off triggers.
    func runTriggers(_ areOn: Bool) throws {
        try sync { handle in
            let code = ydbfs_sqlite_config(
                handle, CInt(SQLITE_DBCONFIG_ENABLE_TRIGGER), areOn ? 1 : 0)
            guard code == SQLITE_OK else { throw failure("can't write") }
        }
    }

    /// Lets `PRAGMA writable_schema` do what it says, however SQLite was built.
    func allowSchemaWrites() throws {
        try sync { handle in
            guard ydbfs_sqlite_config(handle, CInt(SQLITE_DBCONFIG_DEFENSIVE), 0) == SQLITE_OK
            else {
                throw failure("can't write")
            }
        }
    }

    /// Has SQLite ask now and then, within statements that take long, whether to stop. The first
    /// statement that is stopped throws `.cancelled`.
    func stop(when isCancelled: @escaping @Sendable () -> Bool) {
        let question = Question(isCancelled)
        self.question = question
        let steps: CInt = 20_000
        sync { handle in
            sqlite3_progress_handler(
                handle, steps,
                { Unmanaged<Question>.fromOpaque($0!).takeUnretainedValue().ask() ? 1 : 0 },
                Unmanaged.passUnretained(question).toOpaque())
        }
    }

    /// What the progress handler refers to; kept until the connection ends.
    private final class Question {
        let ask: @Sendable () -> Bool
        init(_ ask: @escaping @Sendable () -> Bool) { self.ask = ask }
    }

    // MARK: Names and errors

    /// SQLite's URI of a file.
    private static func uri(_ path: String, _ options: String) -> String {
        var text = path.hasPrefix("/") ? "file://" : "file:"
        for byte in PathText.bytes(path) {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "/"), UInt8(ascii: "."),
                UInt8(ascii: "-"), UInt8(ascii: "_"):
                text.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let digits = String(byte, radix: 16)
                text += digits.count == 1 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return "\(text)?\(options)"
    }

    func failure(_ what: String) -> Failure {
        sync { handle in
            let message = String(cString: sqlite3_errmsg(handle))
            let writer = ydbfs_sqlite_writer(handle)
            if message.hasPrefix("malformed database schema"), writer > sqlite3_libversion_number()
            {
                return Failure(
                    .unsupported,
                    "\(what) \(path): SQLite \(Self.version(writer)) wrote it, with definitions "
                        + "that SQLite \(Self.version(sqlite3_libversion_number())) here doesn't "
                        + "know (\(message)): install the newer libsqlite3")
            }
            return Self.failure(sqlite3_extended_errcode(handle), message, path, what)
        }
    }

    /// `3.45.1`, from SQLite's number of it.
    private static func version(_ number: CInt) -> String {
        "\(number / 1_000_000).\(number / 1000 % 1000).\(number % 1000)"
    }

    /// Words for a result code of SQLite (sqlite.org/rescode.html).
    static func failure(
        _ code: CInt, _ message: String, _ path: String, _ what: String
    ) -> Failure {
        switch code & 0xff {
        case SQLITE_BUSY, SQLITE_LOCKED:
            Failure(
                .busy,
                "\(what) \(path): another program keeps it locked; try again later, or when it is "
                    + "closed if it uses locking_mode = EXCLUSIVE")
        case SQLITE_READONLY:
            Failure(.readOnly, "\(what) \(path): it can't be written (\(message))")
        case SQLITE_CORRUPT:
            Failure(
                .corrupt,
                "\(what) \(path): the database is damaged (\(message)); "
                    + "look with PRAGMA integrity_check, repair with sqlite3's .recover")
        case SQLITE_NOTADB:
            Failure(.invalid, "\(what) \(path): it is no SQLite database, or an encrypted one")
        case SQLITE_FULL: Failure(.noSpace, "\(what) \(path): no room left on the disk")
        case SQLITE_CANTOPEN, SQLITE_PERM, SQLITE_AUTH:
            Failure(.denied, "\(what) \(path): \(message); check who may read the file")
        case SQLITE_INTERRUPT: Failure(.cancelled, "\(what) \(path): stopped")
        default: Failure(.system, "\(what) \(path): \(message) (SQLite error \(code))")
        }
    }
}

/// A prepared statement. Used inside `Connection.sync` only, but for its end.
final class Statement {
    private let connection: Connection
    private(set) var handle: OpaquePointer?

    fileprivate init(_ connection: Connection, _ sql: String) throws {
        self.connection = connection
        try connection.sync { database in
            try connection.register(self)
            guard sqlite3_prepare_v2(database, sql, -1, &handle, nil) == SQLITE_OK else {
                throw connection.failure("can't read")
            }
        }
    }

    deinit {
        connection.sync { _ in
            connection.forget(self)
            finalize()
        }
    }

    fileprivate func finalize() {
        sqlite3_finalize(handle)
        handle = nil
    }

    /// The statement, if the connection is still open.
    func open() throws -> OpaquePointer {
        guard let handle else { throw Failure(.cancelled, "\(connection.path) was closed") }
        return handle
    }

    /// True if there is a row.
    @inline(__always)
    func step() throws -> Bool {
        switch sqlite3_step(try open()) {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        default: throw connection.failure("can't go on with")
        }
    }

    func reset() { sqlite3_reset(handle) }

    func bind(_ index: CInt, _ value: Int64) { sqlite3_bind_int64(handle, index, value) }

    func bindNull(_ index: CInt) { sqlite3_bind_null(handle, index) }

    func bind(_ index: CInt, _ value: Double) { sqlite3_bind_double(handle, index, value) }

    func bind(_ index: CInt, _ value: String) {
        sqlite3_bind_text(handle, index, value, CInt(value.utf8.count), transientBytes)
    }

    func bind(_ index: CInt, text: [UInt8]) {
        text.withUnsafeBufferPointer { bytes in
            bytes.withMemoryRebound(to: CChar.self) {
                _ = sqlite3_bind_text64(
                    handle, index, $0.baseAddress ?? Self.noText, sqlite3_uint64($0.count),
                    transientBytes, UInt8(SQLITE_UTF8))
            }
        }
    }

    func bind(_ index: CInt, blob: [UInt8]) {
        if blob.isEmpty {
            sqlite3_bind_zeroblob(handle, index, 0)
        } else {
            sqlite3_bind_blob64(handle, index, blob, sqlite3_uint64(blob.count), transientBytes)
        }
    }

    /// Where the empty text lies: without an address, it would be NULL.
    nonisolated(unsafe) private static let noText = UnsafePointer(strdup("")!)

    /// Binds the value in a column of another statement's row, storage class and all.
    func bind(_ index: CInt, column: CInt, of other: Statement) {
        sqlite3_bind_value(handle, index, sqlite3_column_value(other.handle, column))
    }

    func integer(_ column: CInt) -> Int64 { sqlite3_column_int64(handle, column) }

    func text(_ column: CInt) -> String {
        sqlite3_column_text(handle, column).map { String(cString: $0) } ?? ""
    }

    func isNull(_ column: CInt) -> Bool { sqlite3_column_type(handle, column) == SQLITE_NULL }
}

/// SQLite copies the bytes before the call returns (`SQLITE_TRANSIENT`, a macro with a cast).
var transientBytes: sqlite3_destructor_type {
    unsafeBitCast(-1, to: sqlite3_destructor_type.self)
}

/// `name` as an identifier in SQL.
func quoted(_ name: String) -> String { name.wrapped(in: "\"") }

/// `value` as a text literal in SQL.
func literal(_ value: String) -> String { value.wrapped(in: "'") }
