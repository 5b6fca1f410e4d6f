/// Text as YDB's dumps have it, by the rules of `CGIEscape`: letters, digits and a few other bytes as they
/// are, a space as `+`, any other byte as `%` and two hexadecimal digits.
extension TextWriter {
    /// What `escaped` needs for so many bytes.
    @inline(__always)
    static func escapedRoom(_ count: Int) -> Int { 3 * count + 24 }

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

    /// Sixteen bytes at once where all of them stay one byte.
    @inline(__always)
    mutating func escapedContent(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress else { return }
        var index = 0
        while index + 16 <= bytes.count {
            let block = source.loadUnaligned(fromByteOffset: index, as: SIMD16<UInt8>.self)
            if all(Self.isSimple(block)) {
                let plus = SIMD16<UInt8>(repeating: UInt8(ascii: "+"))
                next.storeBytes(
                    of: block.replacing(with: plus, where: block .== 0x20), as: SIMD16<UInt8>.self)
                next += 16
            } else {
                escapeEach(UnsafeRawBufferPointer(start: source + index, count: 16))
            }
            index += 16
        }
        escapeEach(UnsafeRawBufferPointer(rebasing: bytes[index...]))
    }

    @inline(__always)
    private mutating func escapeEach(_ bytes: UnsafeRawBufferPointer) {
        @inline(__always)
        func digit(_ value: UInt8) -> UInt8 { value < 10 ? 48 + value : 55 + value }
        for byte in bytes {
            if Self.isKept(byte) {
                self.byte(byte)
            } else if byte == 0x20 {
                self.byte(UInt8(ascii: "+"))
            } else {
                self.byte(UInt8(ascii: "%"))
                self.byte(digit(byte >> 4))
                self.byte(digit(byte & 15))
            }
        }
    }

    /// Bytes of what `escapedContent` writes.
    @inline(__always)
    static func escapedLength(_ bytes: UnsafeRawBufferPointer) -> Int {
        guard let source = bytes.baseAddress else { return 0 }
        var index = 0
        var others = 0
        while index + 16 <= bytes.count {
            let block = source.loadUnaligned(fromByteOffset: index, as: SIMD16<UInt8>.self)
            if !all(isSimple(block)) {
                for place in index..<index + 16 { others += isShort(bytes[place]) ? 0 : 1 }
            }
            index += 16
        }
        while index < bytes.count {
            others += isShort(bytes[index]) ? 0 : 1
            index += 1
        }
        return bytes.count + 2 * others
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

    /// Letters, digits, `-`, `.`, `/`, `_` and spaces: most of what text is.
    @inline(__always)
    private static func isSimple(_ block: SIMD16<UInt8>) -> SIMDMask<SIMD16<Int8>> {
        let isLetter = ((block | 0x20) &- 0x61) .< 26
        let isDigitOrPoint = (block &- 0x2D) .< 13
        return isLetter .| isDigitOrPoint .| (block .== 0x20) .| (block .== 0x5F)
    }

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
