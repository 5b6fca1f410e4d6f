import CXXHash

/// XXH3, 128 bits, under a secret: whoever doesn't know it can't prepare two values with one hash.
package struct KeyedHash: Sendable {
    package static let secretBytes = 192

    /// Never changed once it is filled.
    private let secret: ByteBuffer

    /// With a new random secret.
    package init() {
        var generator = SystemRandomNumberGenerator()
        secret = ByteBuffer(capacity: Self.secretBytes)
        for _ in 0..<Self.secretBytes / 8 { secret.append(fixed: generator.next() as UInt64) }
    }

    /// With the secret of another, as it was `stored`.
    package init(secret: [UInt8]) throws {
        guard secret.count == Self.secretBytes else {
            throw Failure(.corrupt, "the secret of a hash has \(secret.count) bytes")
        }
        self.secret = ByteBuffer(capacity: Self.secretBytes)
        self.secret.append(secret)
    }

    /// With a secret made of a text that those who choose what is hashed don't know. The same text
    /// gives the same secret.
    package init(deriving text: String) {
        secret = ByteBuffer(capacity: Self.secretBytes)
        for number in 0..<Self.secretBytes / 8 {
            secret.append(fixed: Checksum.xxh3("\(number) \(text)"))
        }
    }

    /// To be stored where only those may read that may read what is hashed.
    package var stored: [UInt8] { secret.array }

    @inline(__always)
    package func callAsFunction(_ bytes: UnsafeRawBufferPointer) -> UInt128 {
        let hash = XXH3_128bits_withSecret(
            bytes.baseAddress, bytes.count, secret.base, Self.secretBytes)
        return UInt128(hash.high64) << 64 | UInt128(hash.low64)
    }

    package func callAsFunction(_ buffer: ByteBuffer) -> UInt128 {
        buffer.withBytes { callAsFunction($0) }
    }

    /// Of some numbers and a text.
    package func callAsFunction(_ numbers: (UInt64, UInt64, UInt64, UInt64), _ text: String = "")
        -> UInt128
    {
        var words = InlineWords(numbers: numbers)
        if !text.isEmpty {
            var text = text
            words.text = text.withUTF8 { self(UnsafeRawBufferPointer($0)) }
        }
        return withUnsafeBytes(of: &words) { self($0) }
    }

    /// What is hashed, without gaps.
    private struct InlineWords {
        var text: UInt128 = 0
        var numbers: (UInt64, UInt64, UInt64, UInt64)
    }
}
