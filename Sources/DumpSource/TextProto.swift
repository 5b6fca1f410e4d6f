import Bytes
import Tables

/// A message of protobuf's text format as a tree: all fields in their order, known or not.
///
/// ```
/// message  fields                              field   name [:] value    [,;]
/// value    { message }  < message >  [ values ]  "text" 'text' …  word
/// ```
package struct TextMessage: Equatable {
    package struct Field: Equatable {
        package var name: String
        package var line: Int
        var value: Value
    }

    package indirect enum Value: Equatable {
        case message(TextMessage)
        /// What stood in quotes.
        case text([UInt8])
        /// A number, or the name of a constant.
        case word(String)
    }

    /// For messages.
    var file: String
    var line: Int
    package var fields: [Field] = []

    /// Throws with file and line if it can't be that.
    package init(_ text: [UInt8], file: String) throws(Failure) {
        var parser = TextProtoParser(text, file: file)
        self = try parser.message()
    }

    fileprivate init(file: String, line: Int) {
        self.file = file
        self.line = line
    }
}

extension TextMessage {
    func failure(_ what: String, line: Int? = nil) -> Failure {
        Failure(.corrupt, "\(file):\(line ?? self.line): \(what)")
    }

    /// The last value of a field, as it is with protobuf; nil if there is none.
    func last(_ name: String) -> Field? { fields.last { $0.name == name } }

    func has(_ name: String) -> Bool { last(name) != nil }

    package func message(_ name: String) throws(Failure) -> TextMessage? {
        guard let field = last(name) else { return nil }
        return try message(field)
    }

    /// All values of a repeated field.
    func messages(_ name: String) throws(Failure) -> [TextMessage] {
        var found: [TextMessage] = []
        for field in fields where field.name == name { found.append(try message(field)) }
        return found
    }

    private func message(_ field: Field) throws(Failure) -> TextMessage {
        guard case .message(let message) = field.value else {
            throw failure("\(field.name) should be followed by braces", line: field.line)
        }
        return message
    }

    func bytes(_ name: String) throws(Failure) -> [UInt8]? {
        guard let field = last(name) else { return nil }
        return try bytes(field)
    }

    private func bytes(_ field: Field) throws(Failure) -> [UInt8] {
        guard case .text(let bytes) = field.value else {
            throw failure("\(field.name) should be text in quotes", line: field.line)
        }
        return bytes
    }

    package func text(_ name: String) throws(Failure) -> String? {
        guard let field = last(name) else { return nil }
        return try text(field)
    }

    func texts(_ name: String) throws(Failure) -> [String] {
        var found: [String] = []
        for field in fields where field.name == name { found.append(try text(field)) }
        return found
    }

    private func text(_ field: Field) throws(Failure) -> String {
        let bytes = try bytes(field)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw failure("\(field.name) is no UTF-8", line: field.line)
        }
        return text
    }

    /// A number or a constant, as it is written.
    package func word(_ name: String) throws(Failure) -> String? {
        guard let field = last(name) else { return nil }
        guard case .word(let word) = field.value else {
            throw failure("\(name) should be a number or a name", line: field.line)
        }
        return word
    }

    /// The fields but those of some names, as text that says the same, a line for each.
    package func text(but names: Set<String> = []) -> String {
        var text = ""
        for field in fields where !names.contains(field.name) {
            switch field.value {
            case .word(let word): text += "\(field.name): \(word)\n"
            case .text(let bytes): text += "\(field.name): \(DumpedTraits.quoted(bytes))\n"
            case .message(let message):
                text += "\(field.name) {\n\(message.text().indented(by: "  "))}\n"
            }
        }
        return text
    }

    func isTrue(_ name: String) throws(Failure) -> Bool {
        guard let word = try word(name) else { return false }
        return word == "true" || word == "True" || word == "t" || word == "1"
    }
}

/// Reads a text from its beginning to its end. Whatever it holds, reading ends, in bounded memory.
private struct TextProtoParser {
    private let text: [UInt8]
    private let file: String
    private var place = 0
    private var line = 1
    private var depth = 0
    private var fieldCount = 0

    private static let maxDepth = 60
    private static let maxFields = 1_000_000

    init(_ text: [UInt8], file: String) {
        self.text = text
        self.file = file
    }

    private func failure(_ what: String) -> Failure {
        Failure(.corrupt, "\(file):\(line): \(what)")
    }

    private var next: UInt8? { place < text.count ? text[place] : nil }

    private mutating func skipBlanks() {
        while let byte = next {
            if byte == UInt8(ascii: "#") {
                while let byte = next, byte != UInt8(ascii: "\n") { place += 1 }
            } else if byte == UInt8(ascii: "\n") {
                line += 1
                place += 1
            } else if byte == 0x20 || (0x09...0x0D).contains(byte) {
                place += 1
            } else {
                return
            }
        }
    }

    /// Passes a byte if it is the next one.
    private mutating func pass(_ byte: Character) -> Bool {
        skipBlanks()
        guard next == byte.asciiValue else { return false }
        place += 1
        return true
    }

    /// All fields up to `end`, or to the end of the text.
    mutating func message(until end: Character? = nil) throws(Failure) -> TextMessage {
        var message = TextMessage(file: file, line: line)
        while true {
            skipBlanks()
            if let end, pass(end) { return message }
            if next == nil {
                if end == nil { return message }
                throw failure("the text ends within braces that line \(message.line) opens")
            }
            try field(into: &message)
        }
    }

    private mutating func field(into message: inout TextMessage) throws(Failure) {
        let line = line
        let name = try name()
        let hasColon = pass(":")
        skipBlanks()
        guard let byte = next else { throw failure("\(name) has no value") }
        if !hasColon, byte != UInt8(ascii: "{"), byte != UInt8(ascii: "<") {
            throw failure("a colon is missing behind \(name)")
        }
        if pass("[") {
            if !pass("]") {
                repeat { try append(name, line, to: &message) } while pass(",")
                guard pass("]") else {
                    throw failure("a ] is missing behind the values of \(name)")
                }
            }
        } else {
            try append(name, line, to: &message)
        }
        if !pass(",") { _ = pass(";") }
    }

    private mutating func append(
        _ name: String, _ line: Int, to message: inout TextMessage
    ) throws(Failure) {
        fieldCount += 1
        if fieldCount > Self.maxFields { throw failure("there are too many fields") }
        message.fields.append(
            TextMessage.Field(name: name, line: line, value: try value(of: name)))
    }

    /// `field`, or `[name.of.an.extension]`.
    private mutating func name() throws(Failure) -> String {
        if pass("[") {
            let start = place
            while let byte = next, byte != UInt8(ascii: "]"), byte > 0x20 { place += 1 }
            let name = String(decoding: text[start..<place], as: UTF8.self)
            guard pass("]") else { throw failure("a ] is missing") }
            return "[\(name)]"
        }
        let word = self.word()
        guard let first = word.utf8.first, !(0x30...0x39).contains(first) else {
            throw failure("expected the name of a field, found \(found)")
        }
        return word
    }

    private mutating func value(of name: String) throws(Failure) -> TextMessage.Value {
        skipBlanks()
        for (start, end) in [("{", "}"), ("<", ">")] as [(Character, Character)] where pass(start) {
            depth += 1
            defer { depth -= 1 }
            if depth > Self.maxDepth { throw failure("braces lie too deep") }
            return .message(try message(until: end))
        }
        if next == UInt8(ascii: "\"") || next == UInt8(ascii: "'") {
            var bytes: [UInt8] = []
            repeat {
                try appendQuoted(to: &bytes)
                skipBlanks()
            } while next == UInt8(ascii: "\"") || next == UInt8(ascii: "'")
            return .text(bytes)
        }
        let sign = pass("-") ? "-" : ""
        skipBlanks()
        let word = self.word()
        if word.isEmpty { throw failure("expected the value of \(name), found \(found)") }
        return .word(sign + word)
    }

    private mutating func word() -> String {
        let start = place
        while let byte = next, Self.isOfWord(byte) { place += 1 }
        return String(decoding: text[start..<place], as: UTF8.self)
    }

    private static func isOfWord(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "_"), UInt8(ascii: "."),
            UInt8(ascii: "+"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    /// The next byte, for a message.
    private var found: String {
        guard let byte = next else { return "the end of the text" }
        return (0x21...0x7E).contains(byte)
            ? "\(Character(UnicodeScalar(byte)))" : "the byte \(byte)"
    }

    // MARK: Text in quotes

    private mutating func appendQuoted(to bytes: inout [UInt8]) throws(Failure) {
        let quote = text[place]
        place += 1
        while let byte = next {
            place += 1
            if byte == quote { return }
            if byte == UInt8(ascii: "\n") { throw failure("the line ends within quotes") }
            if byte == UInt8(ascii: "\\") {
                try appendEscape(to: &bytes)
            } else {
                bytes.append(byte)
            }
        }
        throw failure("the text ends within quotes")
    }

    private static let simpleEscapes: [UInt8: UInt8] = [
        UInt8(ascii: "a"): 7, UInt8(ascii: "b"): 8, UInt8(ascii: "t"): 9, UInt8(ascii: "n"): 10,
        UInt8(ascii: "v"): 11, UInt8(ascii: "f"): 12, UInt8(ascii: "r"): 13,
        UInt8(ascii: "\\"): 0x5C, UInt8(ascii: "'"): 0x27, UInt8(ascii: "\""): 0x22,
        UInt8(ascii: "?"): 0x3F,
    ]

    private mutating func appendEscape(to bytes: inout [UInt8]) throws(Failure) {
        guard let byte = next else { throw failure("the text ends within quotes") }
        if let simple = Self.simpleEscapes[byte] {
            place += 1
            return bytes.append(simple)
        }
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "7"):
            bytes.append(UInt8(truncatingIfNeeded: number(base: 8, digits: 3) ?? 0))
        case UInt8(ascii: "x"), UInt8(ascii: "X"):
            place += 1
            guard let value = number(base: 16, digits: 2) else {
                throw failure("\\x is followed by no hexadecimal digit")
            }
            bytes.append(UInt8(value))
        case UInt8(ascii: "u"), UInt8(ascii: "U"):
            place += 1
            let digits = byte == UInt8(ascii: "u") ? 4 : 8
            guard let value = number(base: 16, digits: digits), let scalar = UnicodeScalar(value)
            else { throw failure("an escape names no character") }
            bytes += Array(String(scalar).utf8)
        default: throw failure("there is no escape \\\(found)")
        }
    }

    private mutating func number(base: UInt32, digits: Int) -> UInt32? {
        let start = place
        var value: UInt32 = 0
        while place - start < digits, let byte = next,
            let digit = UInt32(String(UnicodeScalar(byte)), radix: Int(base))
        {
            value = value &* base &+ digit
            place += 1
        }
        return place > start ? value : nil
    }
}
