import Bytes
import Crypto
import Glibc
import Synchronization

/// A file being written aside: it gets its name when it is complete, on the disk, and has been read
/// again.
struct ExportedFile: ~Copyable {
    private let descriptor: Int32
    private let path: String
    private var hasher = SHA256()

    private init(_ path: String, _ owner: FileOwner?) throws(Failure) {
        self.path = path
        // What an export left that was killed.
        unlink(path)
        descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        if descriptor < 0 { throw Failure("can't create \(path)") }
        owner?.take(descriptor)
    }

    deinit { close(descriptor) }

    /// - Parameters:
    ///   - owner: whose it becomes, if root makes it.
    ///   - before: is told of the SHA-256 before the file gets its name.
    static func write(
        to place: String, owner: FileOwner?, before: (_ sha256: String) throws -> Void = { _ in },
        _ body: (inout ExportedFile) throws -> Void
    ) throws {
        let directory = PathText.parent(place)
        let temporary = "\(directory)/.ydbfs-\(Checksum.xxh3(PathText.lastName(place))).part"
        do {
            var file = try ExportedFile(temporary, owner)
            try body(&file)
            let sum = try file.finish()
            try before(sum)
            guard rename(temporary, place) == 0 else { throw Failure("can't rename to \(place)") }
        } catch {
            unlink(temporary)
            throw error
        }
        try sync(directory)
    }

    mutating func append(_ buffer: ByteBuffer) throws {
        try buffer.withBytes { try append($0) }
    }

    mutating func append(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try append($0) }
    }

    private mutating func append(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
        hasher.update(bufferPointer: bytes)
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = Glibc.write(
                descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Failure("can't write \(path)") }
            rest = rest.dropFirst(count)
        }
    }

    /// Adds to the end of a file, which is made if it isn't there, durably.
    static func append(_ bytes: [UInt8], to path: String, owner: FileOwner?) throws {
        let descriptor = open(
            path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o644)
        guard descriptor >= 0 else { throw Failure("can't open \(path)") }
        defer { close(descriptor) }
        owner?.take(descriptor)
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count, fsync(descriptor) == 0
        else { throw Failure("can't write \(path)") }
    }

    /// Makes it durable and reads it again, from the disk as far as the kernel goes along.
    private func finish() throws -> String {
        guard fsync(descriptor) == 0 else { throw Failure("can't write \(path)") }
        posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED)
        let written = String(hex: hasher.finalize())
        guard try Self.checksum(path, progress: {}) == written else {
            throw Failure(.corrupt, "\(path) doesn't read as it was written: look at the disk")
        }
        return written
    }

    // MARK: What is there

    static func makeDirectory(_ path: String, owner: FileOwner?) throws(Failure) {
        if mkdir(path, 0o755) == 0 {
            owner?.take(path)
            return try sync(PathText.parent(path))
        }
        switch errno {
        case EEXIST:
            guard try Paths.kind(of: path) == .directory else {
                throw Failure(.exists, "\(path) is no directory")
            }
        case ENOENT where path != "/":
            try makeDirectory(PathText.parent(path), owner: owner)
            guard mkdir(path, 0o755) == 0 || errno == EEXIST else {
                throw Failure("can't make \(path)")
            }
            owner?.take(path)
        default: throw Failure("can't make \(path)")
        }
    }

    private static func sync(_ directory: String) throws(Failure) {
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure("can't open \(directory)") }
        defer { close(descriptor) }
        // Not every file system syncs directories.
        guard fsync(descriptor) == 0 || errno == EINVAL else {
            throw Failure("can't sync \(directory)")
        }
    }

    /// Bytes of a regular file.
    static func size(_ path: String) throws(Failure) -> UInt64? {
        var status = stat()
        guard lstat(path, &status) == 0 else { throw Failure("can't look at \(path)") }
        return status.st_mode & S_IFMT == S_IFREG ? UInt64(status.st_size) : nil
    }

    static func checksum(_ path: String, progress: () throws -> Void) throws -> String {
        var hasher = SHA256()
        try read(path) { bytes in
            try progress()
            hasher.update(bufferPointer: bytes)
        }
        return String(hex: hasher.finalize())
    }

    /// A small file; nil if it isn't there.
    static func contents(_ path: String) throws -> [UInt8]? {
        guard Paths.exists(path) else { return nil }
        var bytes: [UInt8] = []
        try read(path) { bytes += $0 }
        return bytes
    }

    static func read(
        _ path: String, _ body: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        // A pipe would have us wait for who writes into it.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else { throw Failure("can't open \(path)") }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw Failure(.exists, "\(path) is no regular file: name another directory")
        }
        try withUnsafeTemporaryAllocation(byteCount: 1 << 20, alignment: 16) { buffer in
            while true {
                let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
                if count < 0, errno == EINTR { continue }
                guard count >= 0 else { throw Failure("can't read \(path)") }
                if count == 0 { return }
                try body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            }
        }
    }
}

/// `SHA256SUMS` of an export, as sha256sum reads it: says what an export made, and grows as files are
/// completed. Any thread may add.
final class ChecksumList: Sendable {
    let path: String
    private let owner: FileOwner?
    private let sums: Mutex<[String: String]>

    init(_ directory: String, owner: FileOwner?) throws {
        self.owner = owner
        path = directory + "/SHA256SUMS"
        var sums: [String: String] = [:]
        let text = String(decoding: try ExportedFile.contents(path) ?? [], as: UTF8.self)
        // Only the last line can be torn, by a power cut as it was added.
        let whole = text.prefix(upTo: text.lastIndex(of: "\n") ?? text.startIndex)
        for line in whole.split(separator: "\n") {
            if let line = SumsLine(line) { sums[line.name] = line.sum }
        }
        self.sums = Mutex(sums)
        if !text.isEmpty, !text.hasSuffix("\n") { try finish() }
    }

    subscript(name: String) -> String? { sums.withLock { $0[name] } }

    /// Durable when it returns: a line more, at the end.
    func add(_ name: String, _ sum: String) throws {
        try sums.withLock { sums in
            sums[name] = sum
            try ExportedFile.append(
                Array(SumsLine(sum, name).text.utf8), to: path, owner: owner)
        }
    }

    /// A line for each file, sorted.
    func finish() throws {
        let lines = sums.withLock(\.self).sorted { $0.key < $1.key }
            .map { SumsLine($0.value, $0.key).text }
        try ExportedFile.write(to: path, owner: owner) {
            try $0.append(Array(lines.joined().utf8))
        }
    }
}
