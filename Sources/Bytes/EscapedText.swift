/// Text as YDB's dumps have it, by the rules of `CGIEscape`: letters, digits and a few other bytes as they
/// are, a space as `+`, any other byte as `%` and two hexadecimal digits.
extension TextWriter {
    /// What `escaped` needs for so many bytes.
    @inline(__always)
    static func escapedRoom(_ count: Int) -> Int { 3 * count + 8 }

    /// In quotes; without them if it is a plain number and `isNumber` says that it may be one.
    @inline(__always)
    mutating func escaped(_ bytes: UnsafeRawBufferPointer, isNumber: Bool) {
        if isNumber, Self.isNumber(bytes) {
            if let source = bytes.baseAddress {
                next.copyMemory(from: source, byteCount: bytes.count)
            }
            next += bytes.count
            return
        }
        byte(UInt8(ascii: "\""))
        escapedContent(bytes)
        byte(UInt8(ascii: "\""))
    }

    /// Eight bytes at once where all of them stay one byte.
    @inline(__always)
    mutating func escapedContent(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress else { return }
        var index = 0
        while index + 8 <= bytes.count {
            let word = source.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            if Self.simple(word) == Self.tops {
                // A space becomes a plus.
                let plus = Self.equal(word, 0x20) >> 7 &* 0x0B
                next.storeBytes(of: word &+ plus, as: UInt64.self)
                next += 8
            } else {
                escapeEach(UnsafeRawBufferPointer(start: source + index, count: 8))
            }
            index += 8
        }
        escapeEach(UnsafeRawBufferPointer(rebasing: bytes[index...]))
    }

    /// Writes four bytes for each, and passes over one or three of them.
    @inline(__always)
    private mutating func escapeEach(_ bytes: UnsafeRawBufferPointer) {
        @inline(__always)
        func digit(_ value: UInt32) -> UInt32 { value + 48 + (value + 6) >> 4 * 7 }
        for byte in bytes {
            let value = UInt32(byte)
            let escape = 0x25 | digit(value >> 4) << 8 | digit(value & 15) << 16
            let isShort = Self.isShort(byte)
            let short = byte == 0x20 ? 0x2B : value
            next.storeBytes(of: isShort ? short : escape, as: UInt32.self)
            next += isShort ? 1 : 3
        }
    }

    /// Bytes of what `escapedContent` writes.
    @inline(__always)
    static func escapedLength(_ bytes: UnsafeRawBufferPointer) -> Int {
        guard let source = bytes.baseAddress else { return 0 }
        var index = 0
        var short = 0
        while index + 8 <= bytes.count {
            let word = source.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            var simple = simple(word)
            if simple != tops { simple |= rare(word) }
            short += simple.nonzeroBitCount
            index += 8
        }
        while index < bytes.count {
            short += isShort(bytes[index]) ? 1 : 0
            index += 1
        }
        return 3 * bytes.count - 2 * short
    }

    /// Bytes of what `escaped` writes of what may be a number.
    static func numberLength(_ bytes: UnsafeRawBufferPointer) -> Int {
        isNumber(bytes) ? bytes.count : escapedLength(bytes) + 2
    }

    /// Whether the bytes are those of a decimal number.
    static func isNumber(_ bytes: UnsafeRawBufferPointer) -> Bool {
        !bytes.isEmpty
            && bytes.allSatisfy {
                switch $0 {
                case 0x30...0x39, UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "+"),
                    UInt8(ascii: "e"), UInt8(ascii: "E"):
                    true
                default: false
                }
            }
    }

    // MARK: Eight bytes at once

    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let tops: UInt64 = 0x8080_8080_8080_8080

    /// The top bits of bytes from `low` to `high`, both below 0x80.
    @inline(__always)
    private static func within(_ word: UInt64, _ low: UInt64, _ high: UInt64) -> UInt64 {
        let rest = word & ~tops
        let isNotBelow = rest &+ (0x80 - low) &* ones
        let isAbove = rest &+ (0x7F - high) &* ones
        return isNotBelow & ~isAbove & ~word & tops
    }

    @inline(__always)
    private static func equal(_ word: UInt64, _ byte: UInt64) -> UInt64 { within(word, byte, byte) }

    /// The top bits of letters, digits, `-`, `.`, `/`, `_` and spaces: most of what text is.
    @inline(__always)
    private static func simple(_ word: UInt64) -> UInt64 {
        within(word | 0x20 &* ones, 0x61, 0x7A) | within(word, 0x2D, 0x39) | equal(word, 0x20)
            | equal(word, 0x5F)
    }

    /// Those of the other bytes that stand for themselves.
    @inline(__always)
    private static func rare(_ word: UInt64) -> UInt64 {
        equal(word, 0x21) | equal(word, 0x24) | equal(word, 0x2A) | equal(word, 0x3B)
            | equal(word, 0x40) | equal(word, 0x7E)
    }

    // MARK: One byte

    @inline(__always)
    private static func isShort(_ byte: UInt8) -> Bool { isKept(byte) || byte == 0x20 }

    /// Whether a byte stands for itself: `A-Z a-z 0-9 ~ . _ - ; ! * @ $ /`.
    @inline(__always)
    private static func isKept(_ byte: UInt8) -> Bool {
        // A bit for each of the first 128 bytes.
        let low: UInt64 = 0x0BFF_E412_0000_0000
        let high: UInt64 = 0x47FF_FFFE_87FF_FFFF
        if byte >= 0x80 { return false }
        return (byte < 64 ? low : high) >> UInt64(byte & 63) & 1 == 1
    }
}
