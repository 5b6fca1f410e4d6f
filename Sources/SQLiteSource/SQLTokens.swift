import Bytes

/// A text in SQLite's SQL, cut into tokens as SQLite cuts it (sqlite.org/lang.html); white space and
/// comments are none.
struct SQLTokens {
    enum Kind {
        /// A keyword, a bare name or a number.
        case word
        /// A name in double quotes, back-quotes or brackets.
        case name
        /// In single quotes; where a name is due, SQLite takes it for one.
        case string
        case symbol
    }

    struct Token {
        var kind: Kind
        var range: Range<Int>
    }

    let bytes: [UInt8]
    private(set) var tokens: [Token] = []

    /// Throws `.corrupt` if a quote has no end.
    init(_ text: String) throws {
        bytes = Array(text.utf8)
        var next = 0
        while next < bytes.count {
            let start = next
            let byte = bytes[next]
            next += 1
            if Self.isSpace(byte) { continue }
            if let end = Self.quotes[byte] {
                next = try Self.skip(to: end, in: bytes, from: next)
                let kind: Kind = byte == UInt8(ascii: "'") ? .string : .name
                tokens.append(Token(kind: kind, range: start..<next))
            } else if bytes[start...].starts(with: "--".utf8) {
                next = bytes[start...].firstIndex(of: 10) ?? bytes.endIndex
            } else if bytes[start...].starts(with: "/*".utf8) {
                next = Self.endOfComment(in: bytes, from: start + 2)
            } else if Self.isWordPart(byte) {
                next = bytes[start...].firstIndex { !Self.isWordPart($0) } ?? bytes.endIndex
                tokens.append(Token(kind: .word, range: start..<next))
            } else {
                tokens.append(Token(kind: .symbol, range: start..<next))
            }
        }
    }

    private static let quotes: [UInt8: UInt8] = [34: 34, 39: 39, 96: 96, 91: 93]

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }

    private static func isWordPart(_ byte: UInt8) -> Bool {
        switch byte {
        case 48...57, 65...90, 97...122, UInt8(ascii: "_"), UInt8(ascii: "$"), 128...: true
        default: false
        }
    }

    /// Behind the quote's end; doubled it stands for itself, but for brackets.
    private static func skip(to end: UInt8, in bytes: [UInt8], from start: Int) throws -> Int {
        var next = start
        while let found = bytes[next...].firstIndex(of: end) {
            next = found + 1
            guard end != UInt8(ascii: "]"), next < bytes.count, bytes[next] == end else {
                return next
            }
            next += 1
        }
        throw Failure(.corrupt, "a stored definition has a quote without an end")
    }

    private static func endOfComment(in bytes: [UInt8], from start: Int) -> Int {
        var next = start
        while next + 1 < bytes.count {
            if bytes[next] == UInt8(ascii: "*"), bytes[next + 1] == UInt8(ascii: "/") {
                return next + 2
            }
            next += 1
        }
        return bytes.count
    }

    // MARK: Looking

    /// Whether the token is this keyword, given in capitals; false behind the end.
    func isWord(_ index: Int, _ keyword: StaticString) -> Bool {
        guard tokens.indices.contains(index), tokens[index].kind == .word else { return false }
        return keyword.withUTF8Buffer { keyword in
            let range = tokens[index].range
            return range.count == keyword.count
                && zip(range, keyword).allSatisfy { bytes[$0] & 0xDF == $1 || bytes[$0] == $1 }
        }
    }

    func isSymbol(_ index: Int, _ symbol: Unicode.Scalar) -> Bool {
        guard tokens.indices.contains(index), tokens[index].kind == .symbol else { return false }
        return bytes[tokens[index].range.lowerBound] == UInt8(ascii: symbol)
    }

    /// What a token is as a name: without its quotes; nil for symbols and behind the end.
    func name(_ index: Int) -> String? {
        guard tokens.indices.contains(index), tokens[index].kind != .symbol else { return nil }
        let range = tokens[index].range
        if tokens[index].kind == .word { return String(decoding: bytes[range], as: UTF8.self) }
        let end = bytes[range.upperBound - 1]
        var inner: [UInt8] = []
        var next = range.lowerBound + 1
        while next < range.upperBound - 1 {
            inner.append(bytes[next])
            next += end != UInt8(ascii: "]") && bytes[next] == end ? 2 : 1
        }
        return String(decoding: inner, as: UTF8.self)
    }

    /// Whether a token, as a name, is this one to SQLite.
    func isName(_ index: Int, _ name: String) -> Bool {
        self.name(index).map { folded($0) == folded(name) } ?? false
    }

    /// The text with some tokens replaced; by nothing: left out.
    func text(replacing replacements: [Int: String]) -> String {
        var result: [UInt8] = []
        var next = 0
        for index in replacements.keys.sorted() {
            let range = tokens[index].range
            result += bytes[next..<range.lowerBound]
            result += replacements[index]!.utf8
            next = range.upperBound
        }
        return String(decoding: result + bytes[next...], as: UTF8.self)
    }

    /// The statements, without their `;`. Those of a trigger's body belong to the trigger.
    func statements() -> [String] {
        var result: [String] = []
        var first = 0
        for index in tokens.indices where isSymbol(index, ";") {
            if isTrigger(at: first), !(isWord(index - 1, "END") && isSymbol(index - 2, ";")) {
                continue
            }
            if index > first {
                let range = tokens[first].range.lowerBound..<tokens[index].range.lowerBound
                result.append(String(decoding: bytes[range], as: UTF8.self))
            }
            first = index + 1
        }
        return result
    }

    private func isTrigger(at index: Int) -> Bool {
        guard isWord(index, "CREATE") else { return false }
        let isTemporary = isWord(index + 1, "TEMP") || isWord(index + 1, "TEMPORARY")
        return isWord(index + (isTemporary ? 2 : 1), "TRIGGER")
    }
}
