import Bytes

/// A small JSON text as a whole, as servers write it beside what they export.
enum DumpJSON {
    case object([(name: String, value: DumpJSON)])
    case array([DumpJSON])
    case text(String)
    /// A number, `true`, `false` or `null`.
    case word(String)

    /// - Throws: what is wrong, and where in the file.
    init(_ text: [UInt8], file: String) throws(Failure) {
        var reader = DumpJSONReader(text: text, file: file)
        self = try reader.value()
        try reader.expectEnd()
    }

    subscript(name: String) -> DumpJSON? { members.last { $0.name.hasSameBytes(as: name) }?.value }

    /// None if it is no object.
    var members: [(name: String, value: DumpJSON)] {
        if case .object(let members) = self { members } else { [] }
    }

    var text: String? { if case .text(let text) = self { text } else { nil } }

    var integer: Int? { if case .word(let word) = self { Int(word) } else { nil } }
}

private struct DumpJSONReader {
    let text: [UInt8]
    let file: String
    private var place = 0

    private static let maxDepth = 64

    init(text: [UInt8], file: String) {
        self.text = text
        self.file = file
    }

    private func broken() -> Failure {
        Failure(.corrupt, "\(file): byte \(place): this isn't the JSON that YDB writes")
    }

    /// The next byte that isn't a space, without going behind it; 0 at the end.
    private mutating func peek() -> UInt8 {
        while place < text.count, [0x20, 0x09, 0x0A, 0x0D].contains(text[place]) { place += 1 }
        return place < text.count ? text[place] : 0
    }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard peek() == UInt8(ascii: scalar) else { return false }
        place += 1
        return true
    }

    mutating func expectEnd() throws(Failure) {
        guard peek() == 0, place == text.count else { throw broken() }
    }

    mutating func value(_ depth: Int = 0) throws(Failure) -> DumpJSON {
        guard depth < Self.maxDepth else { throw broken() }
        switch peek() {
        case UInt8(ascii: "{"): return .object(try members(depth))
        case UInt8(ascii: "["): return .array(try elements(depth))
        case UInt8(ascii: "\""): return .text(try string())
        default: return .word(try word())
        }
    }

    private mutating func members(
        _ depth: Int
    ) throws(Failure) -> [(name: String, value: DumpJSON)] {
        var members: [(name: String, value: DumpJSON)] = []
        place += 1
        if take("}") { return [] }
        repeat {
            guard peek() == UInt8(ascii: "\"") else { throw broken() }
            let name = try string()
            guard take(":") else { throw broken() }
            members.append((name, try value(depth + 1)))
        } while take(",")
        guard take("}") else { throw broken() }
        return members
    }

    private mutating func elements(_ depth: Int) throws(Failure) -> [DumpJSON] {
        var elements: [DumpJSON] = []
        place += 1
        if take("]") { return [] }
        repeat { elements.append(try value(depth + 1)) } while take(",")
        guard take("]") else { throw broken() }
        return elements
    }

    private mutating func word() throws(Failure) -> String {
        let start = place
        while place < text.count, ![0x2C, 0x5D, 0x7D].contains(text[place]), text[place] > 0x20 {
            place += 1
        }
        let word = String(decoding: text[start..<place], as: UTF8.self)
        guard ["true", "false", "null"].contains(word) || Double(word) != nil else {
            throw broken()
        }
        return word
    }

    private mutating func string() throws(Failure) -> String {
        place += 1
        var bytes: [UInt8] = []
        while place < text.count {
            let byte = text[place]
            place += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let string = String(validating: bytes, as: UTF8.self) else { throw broken() }
                return string
            case UInt8(ascii: "\\"): bytes += try escape()
            default: bytes.append(byte)
            }
        }
        throw broken()
    }

    private static let escapes: [UInt8: UInt8] = [
        UInt8(ascii: "n"): 0x0A, UInt8(ascii: "t"): 0x09, UInt8(ascii: "r"): 0x0D,
        UInt8(ascii: "b"): 0x08, UInt8(ascii: "f"): 0x0C, UInt8(ascii: "\""): 0x22,
        UInt8(ascii: "\\"): 0x5C, UInt8(ascii: "/"): 0x2F,
    ]

    private mutating func escape() throws(Failure) -> [UInt8] {
        guard place < text.count else { throw broken() }
        let byte = text[place]
        place += 1
        if let known = Self.escapes[byte] { return [known] }
        guard byte == UInt8(ascii: "u"), var code = unit() else { throw broken() }
        if (0xD800..<0xDC00).contains(code) {
            guard text[place...].starts(with: "\\u".utf8) else { throw broken() }
            place += 2
            guard let low = unit(), (0xDC00..<0xE000).contains(low) else { throw broken() }
            code = 0x1_0000 + (code - 0xD800) << 10 + (low - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(code) else { throw broken() }
        return Array(String(Character(scalar)).utf8)
    }

    /// Four hex digits.
    private mutating func unit() -> UInt32? {
        guard text.count - place >= 4 else { return nil }
        defer { place += 4 }
        return UInt32(String(decoding: text[place..<place + 4], as: UTF8.self), radix: 16)
    }
}
