import Bytes
import Glibc

/// A file among copies of databases, as it lies there: it is only ever read, and nothing is opened that is no
/// regular file.
struct CopyFile: Sendable {
    enum Content: Sendable {
        case database, gzip, zstd, other
    }

    /// What SQLite keeps beside a database. Rows may be missing without the first two.
    static let companions = ["-wal", "-journal", "-shm"]

    let path: String
    let content: Content
    let stamp: Stamp
    /// Of what it holds when it is unpacked, as far as it says so itself, else its own.
    private let plainBytes: UInt64

    /// Other ones mean that somebody wrote to it, or put another in its place.
    struct Stamp: Sendable, Hashable {
        let bytes: Int64
        let inode: UInt64
        /// Nanoseconds since 1970, wrapped where they are too many.
        let modified: Int64

        init(_ status: stat) {
            bytes = Int64(status.st_size)
            inode = UInt64(status.st_ino)
            modified =
                Int64(status.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(status.st_mtim.tv_nsec)
        }
    }

    private static let magic = Array("SQLite format 3\0".utf8)
    private static let headBytes = 100

    /// Looks at its beginning. Nil if it is no regular file.
    init?(_ path: String) throws(Failure) {
        guard let status = try Self.status(path), status.st_mode & S_IFMT == S_IFREG else {
            return nil
        }
        let descriptor = try Self.open(path)
        defer { close(descriptor) }
        self.path = path
        stamp = Stamp(status)
        let head = try Self.read(Self.headBytes, at: 0, of: descriptor, path)
        var plain = UInt64(stamp.bytes)
        if head.starts(with: Self.magic) {
            content = .database
        } else if head.starts(with: [0x1F, 0x8B]) {
            content = .gzip
            let end = try Self.read(4, at: max(stamp.bytes - 4, 0), of: descriptor, path)
            plain = end.reversed().reduce(0) { $0 << 8 | UInt64($1) }
        } else if head.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) {
            content = .zstd
            plain = ZstdStream.contentSize(ofFrame: head) ?? plain
        } else {
            content = .other
        }
        plainBytes = plain
    }

    var isPacked: Bool { content == .gzip || content == .zstd }

    /// The same for a copy that is compressed later: programs that do so keep a file's time.
    var version: String { "\(plainBytes & 0xFFFF_FFFF)-\(stamp.modified)" }

    /// Of what isn't a symlink itself; nil if nothing is there.
    static func status(_ path: String) throws(Failure) -> stat? {
        var status = stat()
        if Bytes.lstat(path, &status) == 0 { return status }
        if errno == ENOENT || errno == ENOTDIR { return nil }
        throw Failure("can't look at \(path)")
    }

    /// Nobody has written to it since.
    var isAsItWas: Bool {
        guard let status = try? Self.status(path) else { return false }
        return Stamp(status) == stamp
    }

    /// What it holds, unpacked.
    func open() throws(Failure) -> any ByteInput {
        let input = FileInput(try Self.open(path), path: path)
        return switch content {
        case .gzip: UnpackedInput(input, path, GzipStream())
        case .zstd: UnpackedInput(input, path, ZstdStream())
        case .database, .other: input
        }
    }

    /// Whether a database lies in it, as far as its beginning tells.
    var holdsDatabase: Bool {
        guard isPacked else { return content == .database }
        var bytes: [UInt8] = []
        do throws(Failure) {
            let input = try open()
            while bytes.count < Self.magic.count {
                guard try input.read(into: &bytes, atMost: Self.magic.count - bytes.count) else {
                    break
                }
            }
        } catch {}
        return bytes == Self.magic
    }

    private static func open(_ path: String) throws(Failure) -> Int32 {
        let descriptor = Bytes.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure("can't open \(path)") }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw Failure(.invalid, "\(path) is no regular file any more")
        }
        return descriptor
    }

    private static func read(
        _ count: Int, at offset: Int64, of descriptor: Int32, _ path: String
    ) throws(Failure) -> [UInt8] {
        var result = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { room, initialized in
            repeat {
                result = pread(descriptor, room.baseAddress, count, Int(offset))
            } while result < 0 && errno == EINTR
            initialized = max(result, 0)
        }
        guard result >= 0 else { throw Failure("can't read \(path)") }
        return bytes
    }
}
