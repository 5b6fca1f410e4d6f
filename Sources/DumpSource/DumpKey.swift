import Bytes
import Crypto

/// The key of encrypted exports, as `ydb` takes it. Nothing is read before it is needed.
package struct DumpKey: Sendable {
    /// In hex digits.
    private let digits: String?
    private let file: String?

    /// - Parameters:
    ///   - digits: `YDB_ENCRYPTION_KEY`.
    ///   - file: `YDB_ENCRYPTION_KEY_FILE`, by its absolute path.
    package init(digits: String? = nil, file: String? = nil) {
        self.digits = digits
        self.file = file
    }

    /// The key for a file, which needs so many bytes.
    fileprivate func key(bytes count: Int, for path: String) throws(Failure) -> SymmetricKey {
        if let digits {
            return SymmetricKey(
                data: try Self.key(Array(digits.utf8), count, "YDB_ENCRYPTION_KEY", isText: true))
        }
        guard let file else {
            throw Failure(
                .denied,
                "\(path) is encrypted: set YDB_ENCRYPTION_KEY_FILE to the key's file, or "
                    + "YDB_ENCRYPTION_KEY to its hex digits")
        }
        let bytes = try DumpFile(path: file).text(maxBytes: 1 << 12)
        return SymmetricKey(data: try Self.key(bytes, count, file, isText: false))
    }

    /// Bytes as they are, or as hex digits.
    private static func key(
        _ text: [UInt8], _ count: Int, _ place: String, isText: Bool
    ) throws(Failure) -> [UInt8] {
        if !isText, text.count == count { return text }
        guard let key = [UInt8](hex: text.filter { $0 > 0x20 }), key.count == count else {
            throw Failure(
                .invalid, "\(place) holds no key of \(count) bytes, which the export was made with")
        }
        return key
    }
}

/// What an encrypted file of an export holds: blocks, each of which knows the one before it, so that none
/// can be changed, moved or left out.
final class DecryptedInput: ByteInput {
    private enum Cipher: String {
        case aes128 = "AES-128-GCM"
        case aes256 = "AES-256-GCM"
        case chaCha = "ChaCha20-Poly1305"

        var keyBytes: Int { self == .aes128 ? 16 : 32 }
    }

    private static let (codeBytes, vectorBytes) = (16, 12)
    private static let maxHeaderBytes = 16 << 10
    private static let maxBlockBytes = 30 << 20

    private let path: String
    private let cipher: Cipher
    private let key: SymmetricKey
    private let vector: [UInt8]
    /// The authentication code of the last block.
    private var code: [UInt8]
    private var number: UInt32 = 0
    private var isAtEnd = false
    /// What of the input isn't used yet, from its byte `offset` on.
    private var ahead: Ahead

    init(_ input: any ByteInput, _ path: String, _ key: DumpKey) throws(Failure) {
        self.path = path
        ahead = Ahead(input: input, path: path)
        let size = try ahead.take(2)
        let length = Int(size[0]) << 8 | Int(size[1])
        guard length <= Self.maxHeaderBytes else {
            throw Failure(.corrupt, "\(path): byte 0: no header of an encrypted file")
        }
        let text = try ahead.take(length)
        let header = try Header(text, path)
        guard let cipher = Cipher(rawValue: header.algorithm) else {
            throw Failure(
                .corrupt,
                "\(path): the cipher \(header.algorithm.prefix(40)) isn't known to this version")
        }
        guard header.version == 1, header.vector.count == Self.vectorBytes else {
            throw Failure(.corrupt, "\(path): byte 2: the header is of an unknown kind")
        }
        self.cipher = cipher
        vector = header.vector
        self.key = try key.key(bytes: cipher.keyBytes, for: path)
        code = try ahead.take(Self.codeBytes)
        guard try open([], code, knowing: size + text) != nil else {
            throw Failure(
                .corrupt,
                "\(path): the key isn't the one that it was encrypted with, or its header is damaged"
            )
        }
    }

    func read(into bytes: inout [UInt8], atMost count: Int) throws(Failure) -> Bool {
        if isAtEnd { return false }
        let start = ahead.offset
        let size = try ahead.take(4)
        let length = size.reduce(0) { $0 << 8 | Int($1) }
        guard length <= Self.maxBlockBytes else { throw damaged(start) }
        let block = try ahead.take(length)
        let code = try ahead.take(Self.codeBytes)
        guard number < .max else { throw damaged(start) }
        number += 1
        guard let plain = try open(block, code, knowing: self.code + size) else {
            throw damaged(start)
        }
        self.code = code
        bytes += plain
        if length > 0 { return true }
        isAtEnd = true
        guard try ahead.isAtEnd else {
            throw Failure(
                .corrupt, "\(path): byte \(ahead.offset): something follows the last block")
        }
        return false
    }

    private func damaged(_ offset: Int) -> Failure {
        Failure(
            .corrupt,
            "\(path): byte \(offset): the encrypted block is damaged, or not the one that belongs there"
        )
    }

    /// Nil if the block isn't what was encrypted.
    private func open(
        _ block: [UInt8], _ code: [UInt8], knowing: [UInt8]
    ) throws(Failure) -> [UInt8]? {
        var nonce = vector
        for index in 0..<4 {
            nonce[8 + index] ^= UInt8(truncatingIfNeeded: number >> (24 - 8 * index))
        }
        do {
            if cipher == .chaCha {
                let box = try ChaChaPoly.SealedBox(
                    nonce: ChaChaPoly.Nonce(data: nonce), ciphertext: block, tag: code)
                return Array(try ChaChaPoly.open(box, using: key, authenticating: knowing))
            }
            let box = try AES.GCM.SealedBox(
                nonce: AES.GCM.Nonce(data: nonce), ciphertext: block, tag: code)
            return Array(try AES.GCM.open(box, using: key, authenticating: knowing))
        } catch {
            return nil
        }
    }

    /// `TExportEncryptedFileHeader`.
    private struct Header {
        var version: UInt64 = 0
        var vector: [UInt8] = []
        var algorithm = ""

        init(_ bytes: [UInt8], _ path: String) throws(Failure) {
            var place = 0
            func number() throws(Failure) -> UInt64 {
                var value: UInt64 = 0
                for shift in stride(from: 0, to: 64, by: 7) where place < bytes.count {
                    let byte = bytes[place]
                    place += 1
                    value |= UInt64(byte & 0x7F) << shift
                    if byte < 0x80 { return value }
                }
                throw Failure(.corrupt, "\(path): byte \(place + 2): the header is damaged")
            }
            while place < bytes.count {
                let tag = try number()
                let value = try number()
                if tag & 7 == 0 {
                    if tag >> 3 == 1 { version = value }
                    continue
                }
                guard tag & 7 == 2, value <= UInt64(bytes.count - place) else {
                    throw Failure(.corrupt, "\(path): byte \(place + 2): the header is damaged")
                }
                let content = bytes[place..<place + Int(value)]
                place += Int(value)
                if tag >> 3 == 2 { vector = Array(content) }
                if tag >> 3 == 3 { algorithm = String(decoding: content, as: UTF8.self) }
            }
        }
    }
}

/// An input that gives as much as is asked for.
private struct Ahead {
    let input: any ByteInput
    let path: String
    private var bytes: [UInt8] = []
    private var used = 0
    /// Of the next byte.
    private(set) var offset = 0

    init(input: any ByteInput, path: String) {
        self.input = input
        self.path = path
    }

    mutating func take(_ count: Int) throws(Failure) -> [UInt8] {
        if bytes.count - used < count {
            bytes.removeFirst(used)
            used = 0
        }
        while bytes.count < count {
            guard try input.read(into: &bytes, atMost: 1 << 18) else {
                throw Failure(
                    .corrupt,
                    "\(path): the file ends after \(offset + bytes.count) bytes: it is cut off")
            }
        }
        defer {
            used += count
            offset += count
        }
        return Array(bytes[used..<used + count])
    }

    var isAtEnd: Bool {
        mutating get throws(Failure) {
            if used < bytes.count { return false }
            return try !input.read(into: &bytes, atMost: 1)
        }
    }
}
