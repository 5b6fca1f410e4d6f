import Bytes
import CSQLite
import Glibc

/// Which file a database is: another file put in its place has another inode.
struct FileIdentity: Hashable {
    var device: UInt64
    var inode: UInt64

    /// Throws `.notFound` if there is no file, `.invalid` if it can't be a database.
    init(path: String) throws {
        var status = stat()
        guard stat(path, &status) == 0 else { throw Failure("can't open \(path)") }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw Failure(.invalid, "\(path) is no file, so it can't be a SQLite database")
        }
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
    }
}

/// One instant of a database file, held for reading until `close`.
///
/// A WAL database is read through one long read transaction, which blocks no writer. With a rollback
/// journal a reader blocks writers: then `copy` makes a private copy under the SHARED lock, which ends
/// with it, in a temporary file without a name (where `SQLITE_TMPDIR`, `TMPDIR` or `/var/tmp` say), and
/// what is left to read is read from there.
///
/// The database file is never written. SQLite's readers of a WAL database need its `-wal` and `-shm`
/// files though, and create them, empty, if no other program has the database open; `close` lets
/// SQLite remove them again. Where they can't be created (a read-only medium), the file is read without
/// locks: it must be copied, and its size and time tell whether somebody wrote to it elsewhere meanwhile.
final class Snapshot {
    private(set) var connection: Connection
    /// Microseconds since 1970, UTC.
    let instant: Int64
    /// SQLite's number: 1 = UTF-8, 2 and 3 = UTF-16 little and big-endian.
    let encoding: CInt
    /// How the file is held as long as there is no copy of it.
    let hold: Hold
    /// What a writer that died had left was rolled back for it.
    let isRecovered: Bool
    var path: String { source.path }
    private let source: SourceFile
    private let stamp: [Int]
    private let createdWAL: Bool

    enum Hold {
        /// Nobody notices.
        case log
        /// Nobody else can commit.
        case lock
        /// Nobody is kept from writing.
        case nothing
        /// Nobody writes.
        case still
    }

    init(_ source: SourceFile) throws {
        let identity = try FileIdentity(path: source.path)
        let isNewWAL = !source.hasFile("-wal")
        var isRecovered = false
        let reader = try source.openReader { isRecovered = true }
        connection = reader
        self.isRecovered = isRecovered
        self.source = source
        do {
            stamp = source.stamp
            try reader.execute("BEGIN")
            // The first read: from here on it is this instant.
            _ = try reader.integer("PRAGMA main.schema_version")
            instant = Self.now()
            encoding = try reader.encoding()
            let isWAL = try reader.text("PRAGMA main.journal_mode") == "wal"
            guard try FileIdentity(path: source.path) == identity else {
                throw Failure(
                    .busy, "\(source.path) was replaced while it was being opened; try again")
            }
            createdWAL = isWAL && isNewWAL
            hold = reader.access == .readImmutable ? .nothing : isWAL ? .log : .lock
            try LiteralMaker.install(on: reader, encoding: encoding)
        } catch {
            reader.close()
            throw error
        }
    }

    /// A database that nobody writes to, such as a copy of another: it is read where it lies.
    ///
    /// - Parameters:
    ///   - path: for messages.
    ///   - instant: that it shows.
    init(still connection: Connection, path: String, instant: Int64) throws {
        self.connection = connection
        self.instant = instant
        source = SourceFile(path: path, busyTimeout: 0)
        (hold, stamp, isRecovered, createdWAL) = (.still, [], false, false)
        try connection.execute("BEGIN")
        _ = try connection.integer("PRAGMA main.schema_version")
        encoding = try connection.encoding()
        try LiteralMaker.install(on: connection, encoding: encoding)
    }

    /// Copies the database and lets go of it: from now on the copy is read.
    ///
    /// - Parameter request: what is wanted of a look at the pages meanwhile.
    /// - Returns: what was seen of them; nil if nothing was wanted, or something was odd.
    func copy(_ request: PagePass.Request?) throws -> PagePass? {
        let (copy, pass) = try PagePass.copy(of: connection, request)
        connection.close()
        connection = copy
        if hold == .nothing, source.stamp != stamp {
            throw Failure(.busy, "\(source.path) was written as it was being read; try again")
        }
        try copy.execute("BEGIN")
        try LiteralMaker.install(on: copy, encoding: encoding)
        return pass
    }

    func close() {
        connection.close()
        if createdWAL { source.removeEmptyWAL() }
    }

    private static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }
}

/// The database file as it lies on disk, and how it is opened.
///
/// As long as a connection is open nobody in this process opens the file otherwise than by SQLite: closing
/// it would drop the locks that SQLite holds.
struct SourceFile: Sendable {
    let path: String
    /// Seconds to wait for locks of other programs.
    let busyTimeout: Double
    /// The file isn't written to even for SQLite's own repair.
    var isReadOnly = false

    func hasFile(_ suffix: String) -> Bool { access(path + suffix, F_OK) == 0 }

    /// Reads by a connection of its own. What SQLite's readers make beside a WAL database is removed
    /// again.
    func reading<R>(
        recovered: () -> Void = {}, _ body: (Connection) throws -> R
    ) throws -> R {
        let hadWAL = hasFile("-wal")
        defer { if !hadWAL { removeEmptyWAL() } }
        let reader = try openReader(recovered: recovered)
        defer { reader.close() }
        return try body(reader)
    }

    /// Size and time of change: other ones mean that somebody wrote.
    var stamp: [Int] {
        var status = stat()
        guard stat(path, &status) == 0 else { return [] }
        return [Int(status.st_size), status.st_mtim.tv_sec, status.st_mtim.tv_nsec]
    }

    /// Opens the file for reading. The last writer may have died within a transaction: then SQLite
    /// completes its rollback for whoever may write, which a connection is opened for, and until then
    /// there is nothing consistent to read.
    ///
    /// - Parameter recovered: called if that was so.
    func openReader(recovered: () -> Void = {}) throws -> Connection {
        _ = try FileIdentity(path: path)
        do {
            return try Connection(path: path, access: .read, busyTimeout: busyTimeout)
        } catch let failure as Failure where failure.code == .denied || failure.code == .readOnly {
            guard access(path, R_OK) == 0 else { throw failure }
            if isWritable {
                if isReadOnly { throw isHot ? Self.unfinished(path) : failure }
                try Connection(path: path, access: .write, busyTimeout: busyTimeout).close()
                recovered()
                return try Connection(path: path, access: .read, busyTimeout: busyTimeout)
            }
            guard size(of: "-wal") ?? 0 == 0, size(of: "-journal") == nil else { throw failure }
            return try Connection(path: path, access: .readImmutable, busyTimeout: busyTimeout)
        }
    }

    /// There is a journal whose transaction wasn't ended.
    private var isHot: Bool { size(of: "-journal") ?? 0 > 0 || size(of: "-wal") ?? 0 > 0 }

    private static func unfinished(_ path: String) -> Failure {
        Failure(
            .readOnly,
            "\(path): the last program that wrote to it died within a transaction, and what it left must "
                + "be rolled back before anybody can read, which -o ro doesn't allow: let a program that "
                + "may write open it, as sqlite3 does with PRAGMA schema_version")
    }

    func openWriter() throws -> Connection {
        _ = try FileIdentity(path: path)
        guard access(path, W_OK) == 0 else { throw Failure("can't write \(path)") }
        return try Connection(path: path, access: .write, busyTimeout: busyTimeout)
    }

    /// Lets SQLite remove the `-wal` and `-shm` that it made for a reader, if no program uses them:
    /// what the last connection that may write does as it closes. There is nothing to checkpoint in
    /// an empty log, so that the database file stays as it is.
    func removeEmptyWAL() {
        guard size(of: "-wal") == 0, isWritable else { return }
        // If another program holds the files, they are in use, and stay.
        try? Connection(path: path, access: .writeAndTidy, busyTimeout: 0).close()
    }

    private var isWritable: Bool {
        access(path, W_OK) == 0 && access(PathText.parent(path), W_OK) == 0
    }

    func size(of suffix: String) -> Int? {
        var status = stat()
        return stat(path + suffix, &status) == 0 ? Int(status.st_size) : nil
    }
}
