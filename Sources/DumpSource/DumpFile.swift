import Bytes
import Crypto
import Glibc

/// A file of a dump, however it is stored: as it is, compressed or encrypted, with or without a checksum
/// beside it.
struct DumpFile: Sendable {
    let path: String
    /// The file was written with a checksum, which must be there.
    var needsChecksum = false
    /// If it is encrypted; without it that is told.
    var key = DumpKey()

    private static let compressedEnding = ".zst"
    private static let encryptedEnding = ".enc"
    static let checksumEnding = ".sha256"
    /// What endings a stored file has behind its own name.
    static let endings = [
        "", compressedEnding, encryptedEnding, compressedEnding + encryptedEnding,
    ]

    /// The first of a file's forms that is there.
    static func find(
        _ name: String, in directory: String, _ key: DumpKey = DumpKey()
    ) throws(Failure) -> DumpFile? {
        for ending in endings where try DumpFiles.exists(directory + "/" + name + ending) {
            return DumpFile(path: directory + "/" + name + ending, key: key)
        }
        return nil
    }

    /// A file's name without what tells how it is stored, or that it is a checksum.
    static func plainName(_ name: String) -> String {
        for ending in [encryptedEnding, compressedEnding, checksumEnding]
        where name.hasSuffix(ending) {
            return plainName(String(name.dropLast(ending.utf8.count)))
        }
        return name
    }

    /// Its content, from the beginning to the end.
    func open() throws(Failure) -> any DumpInput {
        var input: any DumpInput = try StoredInput(path)
        let plain = Self.plainName(path)
        // What somebody has added, of the file as it is stored.
        let added = path + Self.checksumEnding
        if plain != path, try DumpFiles.exists(added) {
            input = CheckedInput(input, path, digest: try Self.digest(added), of: added)
        }
        let isEncrypted = path.hasSuffix(Self.encryptedEnding)
        let checksum = plain + Self.checksumEnding
        let hasChecksum = try DumpFiles.exists(checksum)
        if isEncrypted { input = try DecryptedInput(input, path, key) }
        if path.hasSuffix(Self.compressedEnding)
            || path.hasSuffix(Self.compressedEnding + Self.encryptedEnding)
        {
            input = UnzippedInput(input, path, mayBeEmpty: hasChecksum)
        }
        if hasChecksum {
            return CheckedInput(input, path, digest: try Self.digest(checksum), of: checksum)
        }
        // What is encrypted has checksums of its own.
        guard !needsChecksum || isEncrypted else {
            throw Failure(
                .corrupt, "\(checksum) is missing, and \(path) was written with a checksum")
        }
        return input
    }

    /// A text file as a whole.
    func text(maxBytes: Int = 16 << 20) throws(Failure) -> [UInt8] {
        let input = try open()
        var bytes: [UInt8] = []
        while try input.read(into: &bytes, atMost: 1 << 16) {
            guard bytes.count <= maxBytes else {
                throw Failure(.corrupt, "\(path) has more than \(maxBytes) bytes")
            }
        }
        return bytes
    }

    /// What a file of checksums begins with, in the form that `sha256sum -c` takes.
    private static func digest(_ path: String) throws(Failure) -> [UInt8] {
        let input = try StoredInput(path)
        var text: [UInt8] = []
        while text.count < 1 << 12, try input.read(into: &text, atMost: 1 << 12) {}
        guard let digest = [UInt8](hex: text.prefix(64)), digest.count == 32,
            text.dropFirst(64).first.map({ $0 == 0x20 || $0 == 0x0A }) ?? true
        else { throw Failure(.corrupt, "\(path):1: there is no SHA-256 in it") }
        return digest
    }
}

/// Bytes that are read from the beginning to the end.
protocol DumpInput: AnyObject {
    /// Appends what comes next, at most so many bytes; false at the end.
    func read(into bytes: inout [UInt8], atMost count: Int) throws(Failure) -> Bool
}

/// A file as it is stored.
private final class StoredInput: DumpInput {
    private let path: String
    private let descriptor: Int32

    init(_ path: String) throws(Failure) {
        self.path = path
        descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw Failure("can't open \(path)") }
        guard try DumpFiles.status(path)?.isFile == true else {
            throw Failure(.corrupt, "\(path) is no regular file")
        }
        _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL)
    }

    deinit { close(descriptor) }

    func read(into bytes: inout [UInt8], atMost count: Int) throws(Failure) -> Bool {
        var result = 0
        let part = [UInt8](unsafeUninitializedCapacity: count) { room, initialized in
            repeat {
                result = Glibc.read(descriptor, room.baseAddress, count)
            } while result < 0 && errno == EINTR
            initialized = max(result, 0)
        }
        guard result >= 0 else { throw Failure("can't read \(path)") }
        bytes += part
        return result > 0
    }
}

/// What zstd frames hold, one behind the other.
private final class UnzippedInput: DumpInput {
    private let input: any DumpInput
    private let path: String
    private let stream = ZstdStream()
    private var piece: [UInt8] = []
    private var used = 0
    /// Bytes of the input before `piece`.
    private var offset = 0

    private static let pieceBytes = 1 << 17

    /// Nothing at all is no frame, unless a checksum says that this is right.
    private let mayBeEmpty: Bool

    init(_ input: any DumpInput, _ path: String, mayBeEmpty: Bool) {
        self.input = input
        self.path = path
        self.mayBeEmpty = mayBeEmpty
    }

    func read(into bytes: inout [UInt8], atMost count: Int) throws(Failure) -> Bool {
        let before = bytes.count
        while bytes.count == before {
            if used == piece.count, !stream.hasMore {
                offset += used
                piece.removeAll(keepingCapacity: true)
                used = 0
                guard try input.read(into: &piece, atMost: Self.pieceBytes) else {
                    if offset == 0, !mayBeEmpty {
                        throw Failure(.corrupt, "\(path) is empty: there is no zstd frame in it")
                    }
                    if !stream.isWithinFrame { return false }
                    throw Failure(
                        .corrupt,
                        "\(path): the file ends within a zstd frame, after \(offset) bytes: it is cut off"
                    )
                }
            }
            used += try decompress(into: &bytes, atMost: count)
        }
        return true
    }

    private func decompress(
        into bytes: inout [UInt8], atMost count: Int
    ) throws(Failure) -> Int {
        do {
            return try piece.withUnsafeBytes { piece in
                try stream.decompress(
                    UnsafeRawBufferPointer(rebasing: piece[used...]), into: &bytes, atMost: count)
            }
        } catch {
            throw Failure(
                .corrupt, "\(path): byte \(offset + used): the zstd frame is damaged: \(error)")
        }
    }
}

/// Compares a SHA-256 at the end.
private final class CheckedInput: DumpInput {
    private let input: any DumpInput
    private let path: String
    private let digest: [UInt8]
    private let checksum: String
    private var hash = SHA256()

    /// - Parameter checksum: the file that the digest is from.
    init(_ input: any DumpInput, _ path: String, digest: [UInt8], of checksum: String) {
        self.input = input
        self.path = path
        self.digest = digest
        self.checksum = checksum
    }

    func read(into bytes: inout [UInt8], atMost count: Int) throws(Failure) -> Bool {
        let before = bytes.count
        if try input.read(into: &bytes, atMost: count) {
            bytes.withUnsafeBytes {
                hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: $0[before...]))
            }
            return true
        }
        guard hash.finalize().elementsEqual(digest) else {
            throw Failure(.corrupt, "\(path): its SHA-256 is another one than \(checksum) has")
        }
        return false
    }
}
