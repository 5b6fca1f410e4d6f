import Glibc

/// A temporary file without a name, for what doesn't fit into memory: gone when the last reference
/// is, or with the process, however that ends.
///
/// Bytes are appended by one thread; what was flushed may be read by others meanwhile.
package final class SpillFile: @unchecked Sendable {
    private let descriptor: Int32
    private let directory: String
    private let pending: ByteBuffer
    /// Bytes in the file, without those pending.
    private var written = 0

    package init(in directory: String) throws {
        self.directory = directory
        descriptor = try Self.openNameless(in: directory)
        pending = ByteBuffer(capacity: 1 << 20)
    }

    deinit { close(descriptor) }

    /// Where SQLite has its temporary files too.
    package static var defaultDirectory: String {
        let named = ["SQLITE_TMPDIR", "TMPDIR"].compactMap(PathText.environment)
        return (named + ["/var/tmp", "/usr/tmp", "/tmp"]).first {
            var status = stat()
            return stat($0, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
                && access($0, W_OK | X_OK) == 0
        } ?? "."
    }

    /// A new file without a name, for reading and writing; to be closed.
    ///
    /// - Parameter setting: what names another directory.
    package static func openNameless(
        in directory: String, setting: String = tmpdirSetting
    ) throws -> Int32 {
        let nameless = Bytes.open(directory, temporary | O_RDWR | O_CLOEXEC, 0o600)
        if nameless >= 0 { return nameless }
        // Not every file system can do that.
        guard [EOPNOTSUPP, EISDIR, EINVAL].contains(errno) else {
            throw failure("can't make a temporary file", in: directory, setting)
        }
        var path = PathText.cString("\(directory)/ydbfs-XXXXXX")
        let named = mkstemp(&path)
        guard named >= 0 else {
            throw failure("can't make a temporary file", in: directory, setting)
        }
        unlink(path)
        _ = fcntl(named, F_SETFD, FD_CLOEXEC)
        return named
    }

    /// `O_TMPFILE`, a macro that Swift doesn't see.
    private static let temporary: Int32 = 0o20_000_000 | O_DIRECTORY

    package static let tmpdirSetting = "let TMPDIR name a directory that has more"

    package static func failure(
        _ what: String, in directory: String, _ setting: String = tmpdirSetting,
        errno: Errno = .current
    ) -> Failure {
        let failure = Failure("\(what) in \(directory)", errno: errno)
        guard failure.code == .noSpace else { return failure }
        return Failure(.noSpace, "\(failure.message); make room there, or \(setting)")
    }

    /// Where the next byte will lie.
    var end: Int { written + Int(pending.count) }

    func append(_ bytes: UnsafeRawBufferPointer) throws {
        if pending.count + bytes.count > pending.capacity { try flush() }
        if bytes.count < pending.capacity { pending.append(bytes) } else { try write(bytes) }
    }

    /// Makes all that was appended readable.
    func flush() throws {
        try pending.withBytes { try write($0) }
        pending.removeAll()
    }

    private func write(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while rest.count > 0 {
            let count = pwrite(descriptor, rest.baseAddress, rest.count, written)
            if count < 0 {
                if errno == EINTR { continue }
                throw Self.failure("can't sort", in: directory)
            }
            rest = rest.from(count)
            written += count
        }
    }

    /// Reads bytes that were flushed.
    func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
        var done = 0
        while done < buffer.count {
            let count = pread(
                descriptor, buffer.baseAddress! + done, buffer.count - done, offset + Int(done))
            if count < 0 && errno == EINTR { continue }
            if count < 0 { throw Self.failure("can't read what was sorted", in: directory) }
            if count == 0 {
                throw Failure(.system, "a temporary file in \(directory) has become shorter")
            }
            done += count
        }
    }
}

/// Reads a part of a `SpillFile` from its beginning on.
struct SpillReader {
    private let file: SpillFile
    private var offset: Int
    private let end: Int
    private let buffer = ByteBuffer(capacity: 1 << 16)
    private var used = 0

    init(_ file: SpillFile, _ range: Range<Int>) {
        self.file = file
        offset = range.lowerBound
        end = range.upperBound
    }

    /// Reads as many bytes as `target` has room for, large ones directly.
    mutating func read(into target: UnsafeMutableRawBufferPointer) throws {
        var rest = target
        while rest.count > 0 {
            if used == buffer.count {
                guard rest.count < buffer.capacity else {
                    try file.read(at: offset, into: rest)
                    offset += Int(rest.count)
                    return
                }
                try fill()
            }
            let count = min(rest.count, buffer.count - used)
            rest.baseAddress!.copyMemory(from: buffer.base + used, byteCount: count)
            used += count
            rest = UnsafeMutableRawBufferPointer(rebasing: rest[count...])
        }
    }

    mutating func read<T: BitwiseCopyable>(_ type: T.Type) throws -> T {
        try withUnsafeTemporaryAllocation(byteCount: MemoryLayout<T>.size, alignment: 16) {
            try read(into: $0)
            return $0.load(as: type)
        }
    }

    private mutating func fill() throws {
        let count = min(buffer.capacity, end - offset)
        precondition(count > 0)
        buffer.removeAll()
        used = 0
        let (file, offset) = (file, offset)
        try buffer.append(room: count) { room in
            try file.read(at: offset, into: room)
            return count
        }
        self.offset += count
    }
}
