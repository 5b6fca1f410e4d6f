import Bytes
import Glibc

/// Opens a copy of a database without a trace beside it: where it lies if it is whole and plain, else as
/// unpacked to where SQLite has its temporary files.
///
/// What is unpacked has no name, and is gone with the process. Only a database with a log needs names,
/// for as long as SQLite opens them.
struct CopyOpening {
    private let copy: DatabaseCopy
    private let isCancelled: @Sendable () -> Bool

    private static let pieceBytes = 1 << 20

    init(_ copy: DatabaseCopy, _ isCancelled: @escaping @Sendable () -> Bool) {
        self.copy = copy
        self.isCancelled = isCancelled
    }

    func connection() throws -> Connection {
        if !copy.logs.isEmpty { return try withLogs() }
        if copy.file.isPacked { return try nameless() }
        return try Connection(path: copy.file.path, access: .readImmutable, busyTimeout: 0)
    }

    private func nameless() throws -> Connection {
        let directory = SpillFile.defaultDirectory
        let descriptor = try SpillFile.openNameless(in: directory)
        let size: Int64
        do {
            size = try unpack(copy.file, to: descriptor, in: directory)
            // Of a database with a write-ahead log that has none.
            if size > 19 {
                try write([1, 1], at: 18, to: descriptor, in: directory, ifThere: [2, 2])
            }
        } catch {
            close(descriptor)
            throw error
        }
        let sink = PageSink(nameless: descriptor, size: size)
        defer { sink.end() }
        guard PageFiles.isRegistered else {
            throw Failure(.system, "SQLite takes no other file system")
        }
        let connection = try Connection(
            path: copy.file.path, access: .pages(sink.name), busyTimeout: 0)
        try connection.execute("PRAGMA query_only = on")
        return connection
    }

    /// Whoever wrote it last may have ended within a transaction: SQLite completes that in the private copy.
    private func withLogs() throws -> Connection {
        let folder = try PrivateFolder(in: SpillFile.defaultDirectory)
        defer { folder.remove() }
        let place = folder.path + "/" + PrivateFolder.database
        for (ending, file) in copy.logs.map({ ($0, $1) }) + [("", copy.file)] {
            let descriptor = open(place + ending, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
            guard descriptor >= 0 else { throw SpillFile.failure("can't unpack", in: folder.path) }
            defer { close(descriptor) }
            _ = try unpack(file, to: descriptor, in: folder.path)
        }
        // The log is open from here on.
        return try SourceFile(path: place, busyTimeout: 0).openReader()
    }

    /// Answers how many bytes it was.
    private func unpack(
        _ file: CopyFile, to descriptor: Int32, in directory: String
    ) throws -> Int64 {
        let input = try file.open()
        var size: Int64 = 0
        var bytes: [UInt8] = []
        while try input.read(into: &bytes, atMost: Self.pieceBytes) {
            if isCancelled() { throw Failure(.cancelled, "cancelled on request") }
            if let room = DiskRoom(at: directory), !room.has(UInt64(bytes.count)) {
                throw Failure(
                    .noSpace,
                    "\(directory) has only \(byteWords(room.freeBytes)) free, and \(file.path) is to be "
                        + "unpacked there: make room, or \(SpillFile.tmpdirSetting)")
            }
            try write(bytes, at: size, to: descriptor, in: directory)
            size += Int64(bytes.count)
            bytes.removeAll(keepingCapacity: true)
        }
        return size
    }

    /// - Parameter known: nothing is written where something else lies.
    private func write(
        _ bytes: [UInt8], at offset: Int64, to descriptor: Int32, in directory: String,
        ifThere known: [UInt8]? = nil
    ) throws {
        if let known {
            var there = [UInt8](repeating: 0, count: known.count)
            guard pread(descriptor, &there, there.count, Int(offset)) == there.count, there == known
            else { return }
        }
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                pwrite(descriptor, $0.baseAddress! + done, $0.count - done, Int(offset) + done)
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw SpillFile.failure("can't unpack \(copy.file.path)", in: directory)
            }
            done += count
        }
    }
}

/// A folder for a database and its log, while they are being opened. Who holds it locks it, so that what a
/// killed process has left can be told from what is in use.
private struct PrivateFolder: ~Copyable {
    static let database = "copy.db"
    private static let prefix = "ydbfs-copy-"

    let path: String
    private let descriptor: Int32

    init(in directory: String) throws {
        Self.removeLeftovers(in: directory)
        let attempts = 3
        for _ in 0..<attempts {
            var name = Array("\(directory)/\(Self.prefix)XXXXXX".utf8CString)
            guard mkdtemp(&name) != nil else {
                throw SpillFile.failure("can't make a folder", in: directory)
            }
            let path = String(
                decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
            // Another process may take it for a leftover until it is locked.
            if let descriptor = Self.lock(path) {
                (self.path, self.descriptor) = (path, descriptor)
                return
            }
        }
        throw Failure(.busy, "can't keep a folder in \(directory): try again")
    }

    deinit { close(descriptor) }

    func remove() { Self.remove(path) }

    private static func remove(_ path: String) {
        for ending in [""] + CopyFile.companions { unlink("\(path)/\(database)\(ending)") }
        rmdir(path)
    }

    /// Nil if it isn't ours, or somebody holds it.
    private static func lock(_ path: String) -> Int32? {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        if descriptor < 0 { return nil }
        var status = stat()
        if fstat(descriptor, &status) == 0, status.st_uid == geteuid(),
            flock(descriptor, LOCK_EX | LOCK_NB) == 0
        {
            return descriptor
        }
        close(descriptor)
        return nil
    }

    private static func removeLeftovers(in directory: String) {
        guard let stream = opendir(directory) else { return }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let bytes = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            let name = String(decoding: bytes, as: UTF8.self)
            guard name.hasPrefix(prefix), let descriptor = lock("\(directory)/\(name)") else {
                continue
            }
            remove("\(directory)/\(name)")
            close(descriptor)
        }
    }
}
