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
    func open() throws(Failure) -> any ByteInput {
        var input: any ByteInput = try Self.stored(path)
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
            input = UnpackedInput(input, path, ZstdStream(), mayBeEmpty: hasChecksum)
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

    private static func stored(_ path: String) throws(Failure) -> FileInput {
        let descriptor = Bytes.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw Failure("can't open \(path)") }
        let input = FileInput(descriptor, path: path)
        guard try DumpFiles.status(path)?.isFile == true else {
            throw Failure(.corrupt, "\(path) is no regular file")
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
        let input = try Self.stored(path)
        var text: [UInt8] = []
        while text.count < 1 << 12, try input.read(into: &text, atMost: 1 << 12) {}
        guard let digest = [UInt8](hex: text.prefix(64)), digest.count == 32,
            text.dropFirst(64).first.map({ $0 == 0x20 || $0 == 0x0A }) ?? true
        else { throw Failure(.corrupt, "\(path):1: there is no SHA-256 in it") }
        return digest
    }
}

/// Compares a SHA-256 at the end.
private final class CheckedInput: ByteInput {
    private let input: any ByteInput
    private let path: String
    private let digest: [UInt8]
    private let checksum: String
    private var hash = SHA256()

    /// - Parameter checksum: the file that the digest is from.
    init(_ input: any ByteInput, _ path: String, digest: [UInt8], of checksum: String) {
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
