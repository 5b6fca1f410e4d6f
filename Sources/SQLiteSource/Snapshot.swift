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
/// journal a reader blocks writers, so the file is copied under its SHARED lock to a private
/// temporary database (without a name; SQLite puts it where `SQLITE_TMPDIR`, `TMPDIR` or `/var/tmp`
/// say), and the copy is read.
///
/// The database file is never written. SQLite's readers of a WAL database need its `-wal` and `-shm`
/// files though, and create them, empty, if no other program has the database open; `close` lets
/// SQLite remove them again. Where they can't be created (a read-only medium), the file is copied
/// without locks, and its size and time tell whether somebody wrote to it elsewhere meanwhile.
final class Snapshot: Sendable {
    let connection: Connection
    /// Microseconds since 1970, UTC.
    let instant: Int64
    /// SQLite's number: 1 = UTF-8, 2 and 3 = UTF-16 little and big-endian.
    let encoding: CInt
    private let source: SourceFile
    private let createdWAL: Bool

    /// - Parameter copies: whether a database with a rollback journal is copied; without, its
    ///   SHARED lock is held until `close`, which is right for a short look.
    init(_ source: SourceFile, copies: Bool) throws {
        let identity = try FileIdentity(path: source.path)
        let isNewWAL = !source.hasFile("-wal")
        var reader = try source.openReader()
        self.source = source
        do {
            try reader.execute("BEGIN")
            // The first read: from here on it is this instant.
            _ = try reader.integer("PRAGMA main.schema_version")
            instant = Self.now()
            encoding =
                switch try reader.text("PRAGMA main.encoding") ?? "" {
                case "UTF-16le": 2
                case "UTF-16be": 3
                default: 1
                }
            let isWAL = try reader.text("PRAGMA main.journal_mode") == "wal"
            guard try FileIdentity(path: source.path) == identity else {
                throw Failure(
                    .busy, "\(source.path) was replaced while it was being opened; try again")
            }
            createdWAL = isWAL && isNewWAL
            if copies && (!isWAL || reader.access == .readImmutable) {
                let stamp = source.stamp
                let copy = try Self.copy(of: reader, busyTimeout: source.busyTimeout)
                let isSafe = reader.access != .readImmutable || source.stamp == stamp
                reader.close()
                guard isSafe else {
                    copy.close()
                    throw Failure(
                        .busy, "\(source.path) was written as it was being read; try again")
                }
                reader = copy
                try reader.execute("BEGIN")
            }
            try LiteralMaker.install(on: reader, encoding: encoding)
            self.connection = reader
        } catch {
            reader.close()
            throw error
        }
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

    /// Copies the snapshot that `reader` holds.
    private static func copy(of reader: Connection, busyTimeout: Double) throws -> Connection {
        let copy = try Connection(path: reader.path, access: .temporary, busyTimeout: busyTimeout)
        do {
            try reader.sync { from in
                try copy.sync { to in
                    guard let backup = sqlite3_backup_init(to, "main", from, "main") else {
                        throw copy.failure("can't copy")
                    }
                    sqlite3_backup_step(backup, -1)
                    guard sqlite3_backup_finish(backup) == SQLITE_OK else {
                        throw copy.failure("can't copy")
                    }
                }
            }
        } catch {
            copy.close()
            throw error
        }
        return copy
    }
}

/// The database file as it lies on disk, and how it is opened.
struct SourceFile: Sendable {
    let path: String
    /// Seconds to wait for locks of other programs.
    let busyTimeout: Double

    func hasFile(_ suffix: String) -> Bool { access(path + suffix, F_OK) == 0 }

    /// Size and time of change: other ones mean that somebody wrote.
    var stamp: [Int] {
        var status = stat()
        guard stat(path, &status) == 0 else { return [] }
        return [Int(status.st_size), status.st_mtim.tv_sec, status.st_mtim.tv_nsec]
    }

    /// Throws if there is no readable database. Looks at its header only.
    func check() throws {
        let hadWAL = hasFile("-wal")
        try openReader().close()
        if !hadWAL { removeEmptyWAL() }
    }

    func openReader() throws -> Connection {
        _ = try FileIdentity(path: path)
        do {
            return try Connection(path: path, access: .read, busyTimeout: busyTimeout)
        } catch let failure as Failure where failure.code == .denied || failure.code == .readOnly {
            guard access(path, R_OK) == 0 else { throw failure }
            if isWritable {
                // The last writer died within a transaction. SQLite completes the rollback for
                // whoever may write, and until then there is nothing consistent to read.
                try Connection(path: path, access: .write, busyTimeout: busyTimeout).close()
                return try Connection(path: path, access: .read, busyTimeout: busyTimeout)
            }
            guard size(of: "-wal") ?? 0 == 0, size(of: "-journal") == nil else { throw failure }
            return try Connection(path: path, access: .readImmutable, busyTimeout: busyTimeout)
        }
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
        let end = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        let directory = end.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        return access(path, W_OK) == 0 && access(directory, W_OK) == 0
    }

    private func size(of suffix: String) -> Int? {
        var status = stat()
        return stat(path + suffix, &status) == 0 ? Int(status.st_size) : nil
    }
}
