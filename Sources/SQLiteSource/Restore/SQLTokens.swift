import Bytes

/// A text in SQLite's SQL, cut into tokens as SQLite cuts it (sqlite.org/lang.html); white space and
/// comments are none. Operators are cut into their bytes.
struct SQLTokens {
    enum Kind {
        /// A keyword, a bare name, a number, or a blob (`x'00ff'`).
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

    /// A comment that goes on to the end of the text.
    enum Comment { case line, block }

    let bytes: [UInt8]
    private(set) var tokens: [Token] = []
    private(set) var openComment: Comment?

    init(_ text: String) throws { try self.init(Array(text.utf8)) }

    /// Throws `.corrupt` if a quote has no end.
    init(_ bytes: [UInt8]) throws {
        self.bytes = bytes
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
                let end = bytes[start...].firstIndex(of: 10)
                if end == nil { openComment = .line }
                next = end ?? bytes.endIndex
            } else if bytes[start...].starts(with: "/*".utf8) {
                let end = Self.endOfComment(in: bytes, from: start + 2)
                if end == nil { openComment = .block }
                next = end ?? bytes.endIndex
            } else if Self.isWordPart(byte) || Self.isNumber(bytes[start...]) {
                next = try Self.endOfWord(in: bytes, from: start)
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

    private static func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }

    /// Whether a number begins here: also `.5`.
    private static func isNumber(_ bytes: ArraySlice<UInt8>) -> Bool {
        guard let first = bytes.first else { return false }
        if first != UInt8(ascii: ".") { return isDigit(first) }
        return bytes.dropFirst().first.map(isDigit) ?? false
    }

    private static func endOfWord(in bytes: [UInt8], from start: Int) throws -> Int {
        func wordEnd(_ start: Int) -> Int {
            bytes[start...].firstIndex { !isWordPart($0) } ?? bytes.endIndex
        }
        var next = wordEnd(start)
        if isNumber(bytes[start...]) {
            if next < bytes.count, bytes[next] == UInt8(ascii: ".") { next = wordEnd(next + 1) }
            // `1e-5`, but not `0x1e-5`.
            let isHexadecimal = bytes[start..<next].dropFirst().first.map { $0 | 32 } == 120
            let isSigned = next < bytes.count && (bytes[next] == 43 || bytes[next] == 45)
            if bytes[next - 1] | 32 == 101, !isHexadecimal, isSigned { next = wordEnd(next + 1) }
        } else if next == start + 1, bytes[start] | 32 == 120, next < bytes.count,
            bytes[next] == UInt8(ascii: "'")
        {
            return try skip(to: UInt8(ascii: "'"), in: bytes, from: next + 1)
        }
        return next
    }

    /// Nil if it has none.
    private static func endOfComment(in bytes: [UInt8], from start: Int) -> Int? {
        var next = start
        while next + 1 < bytes.count {
            if bytes[next] == UInt8(ascii: "*"), bytes[next + 1] == UInt8(ascii: "/") {
                return next + 2
            }
            next += 1
        }
        return nil
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

    /// The text of tokens, and what stands between them, with some of them replaced.
    func text(of range: Range<Int>, replacing replacements: [Int: String] = [:]) -> String {
        guard let first = range.first, let last = range.last else { return "" }
        var result: [UInt8] = []
        var next = tokens[first].range.lowerBound
        for index in range {
            guard let replacement = replacements[index] else { continue }
            result += bytes[next..<tokens[index].range.lowerBound]
            result += replacement.utf8
            next = tokens[index].range.upperBound
        }
        result += bytes[next..<tokens[last].range.upperBound]
        return String(decoding: result, as: UTF8.self)
    }

    /// The token that closes the parenthesis which a token opens; nil if none does.
    func closing(_ index: Int) -> Int? {
        guard isSymbol(index, "(") else { return nil }
        var depth = 0
        for next in index..<tokens.count {
            if isSymbol(next, "(") { depth += 1 }
            if isSymbol(next, ")") { depth -= 1 }
            if depth == 0 { return next }
        }
        return nil
    }

    // MARK: Statements

    /// The statements as they were before `StatementList.ended` ended them, byte for byte. What stands
    /// in parentheses, and in a trigger's body, doesn't end one.
    func statements() -> [String] {
        var result: [String] = []
        var first = 0
        var depth = 0
        for index in tokens.indices {
            if isSymbol(index, "(") { depth += 1 }
            if isSymbol(index, ")") { depth -= 1 }
            guard isSymbol(index, ";"), depth <= 0 else { continue }
            if isTrigger(at: first), !(isWord(index - 1, "END") && isSymbol(index - 2, ";")) {
                continue
            }
            if index > first {
                let range = tokens[first].range.lowerBound..<tokens[index].range.lowerBound
                let text = StatementList.withoutEnd(bytes[range])
                result.append(String(decoding: text, as: UTF8.self))
            }
            first = index + 1
            depth = 0
        }
        return result
    }

    private func isTrigger(at index: Int) -> Bool {
        guard isWord(index, "CREATE") else { return false }
        let isTemporary = isWord(index + 1, "TEMP") || isWord(index + 1, "TEMPORARY")
        return isWord(index + (isTemporary ? 2 : 1), "TRIGGER")
    }
}

/// How definitions are written one behind the other, so that each can be had back to the byte: ended
/// by `;` and a line feed. Where a comment would swallow the `;`, the comment's end comes before it: a
/// line feed, or `*/` and a mark that says so.
enum StatementList {
    private static let blockEnd = "*/ /*open*/"

    static func ended(_ sql: String) -> String {
        let bytes = Array(sql.utf8)
        if isLineCommentLast(bytes[...]) { return sql + "\n;\n" }
        return openComment(bytes[...]) == .block ? sql + blockEnd + ";\n" : sql + ";\n"
    }

    /// What `ended` made this of, up to the `;`.
    static func withoutEnd(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        if isLineCommentLast(bytes) { return bytes.dropLast() }
        let isMarked = bytes.suffix(blockEnd.utf8.count).elementsEqual(blockEnd.utf8)
        return isMarked ? bytes.dropLast(blockEnd.utf8.count) : bytes
    }

    /// Whether a text ends in `-- …`, line feeds behind it or not: so the line feed that is added
    /// can be told from the text's own.
    private static func isLineCommentLast(_ bytes: ArraySlice<UInt8>) -> Bool {
        let text = bytes[..<(bytes.lastIndex { $0 != 10 }.map { $0 + 1 } ?? bytes.startIndex)]
        return openComment(text) == .line
    }

    private static func openComment(_ bytes: ArraySlice<UInt8>) -> SQLTokens.Comment? {
        // Most texts have no comment at all.
        guard zip(bytes, bytes.dropFirst()).contains(where: isCommentStart) else { return nil }
        return try? SQLTokens(Array(bytes)).openComment
    }

    private static func isCommentStart(_ first: UInt8, _ second: UInt8) -> Bool {
        first == UInt8(ascii: "-") && second == first
            || first == UInt8(ascii: "/") && second == UInt8(ascii: "*")
    }
}
