/// True if `bytes` are well-formed UTF-8 without NUL: what a Utf8 column takes as it is.
func isPlainText(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let base = bytes.baseAddress else { return true }
    var offset = 0
    while offset < bytes.count {
        offset = skipASCII(base, from: offset, to: bytes.count)
        if offset == bytes.count { return true }
        let length = sequenceLength(base, at: offset, end: bytes.count)
        if length == 0 { return false }
        offset += length
    }
    return true
}

/// The first byte from `offset` on that is NUL or no ASCII; eight bytes at a time.
@inline(__always)
private func skipASCII(_ base: UnsafeRawPointer, from offset: Int, to end: Int) -> Int {
    var offset = offset
    let ones: UInt64 = 0x0101_0101_0101_0101
    let tops: UInt64 = 0x8080_8080_8080_8080
    while offset + 8 <= end {
        let word = (base + offset).loadUnaligned(as: UInt64.self)
        // A byte's top bit is set in `word` if it is no ASCII, in the difference if it is NUL
        // (or above a NUL, which is as good).
        if (word | (word &- ones)) & tops != 0 { break }
        offset += 8
    }
    while offset < end {
        let byte = (base + offset).load(as: UInt8.self)
        if byte == 0 || byte >= 0x80 { break }
        offset += 1
    }
    return offset
}

/// Bytes of the well-formed character at `offset`, 0 if there is none (Unicode 16, table 3-7).
private func sequenceLength(_ base: UnsafeRawPointer, at offset: Int, end: Int) -> Int {
    func byte(_ index: Int) -> UInt8 {
        offset + index < end ? (base + offset + index).load(as: UInt8.self) : 0
    }
    func follows(_ index: Int) -> Bool { byte(index) & 0xC0 == 0x80 }
    let first = byte(0)
    let second = byte(1)
    switch first {
    case 0x01...0x7F: return 1
    case 0xC2...0xDF: return follows(1) ? 2 : 0
    case 0xE0...0xEF:
        guard follows(1), follows(2), first != 0xE0 || second >= 0xA0,
            first != 0xED || second < 0xA0
        else { return 0 }
        return 3
    case 0xF0...0xF4:
        guard follows(1), follows(2), follows(3), first != 0xF0 || second >= 0x90,
            first != 0xF4 || second < 0x90
        else { return 0 }
        return 4
    default: return 0
    }
}

/// True if every surrogate has its partner: SQLite would turn others into other characters.
func isWellFormedUTF16(_ bytes: UnsafeRawBufferPointer, bigEndian: Bool) -> Bool {
    guard bytes.count % 2 == 0 else { return false }
    var expectsLow = false
    for offset in stride(from: 0, to: bytes.count, by: 2) {
        let stored = bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self)
        let unit = bigEndian ? UInt16(bigEndian: stored) : UInt16(littleEndian: stored)
        let isLow = (0xDC00...0xDFFF).contains(unit)
        if isLow != expectsLow { return false }
        expectsLow = (0xD800...0xDBFF).contains(unit)
    }
    return !expectsLow
}
