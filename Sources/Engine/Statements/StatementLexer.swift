/// One token of a statement's text.
struct Token: Sendable {
    enum Kind: Sendable, Equatable {
        /// A keyword, bare name or bare value.
        case word(String)
        /// `` `name` `` with escapes resolved.
        case quotedName(String)
        /// `'value'` or `"value"` with escapes resolved.
        case string(String)
        /// One of `( ) , = ;`
        case symbol(Character)
        case end
        /// Text that is no token; thrown when the parser gets there, so that the first fault wins.
        case fault(StatementError)
    }

    var kind: Kind
    var position: SourcePosition
    /// Offset behind the last byte.
    var endOffset: Int

    /// A word that spells the keyword `text` (given in upper case), or the symbol `text`.
    func matches(_ text: String) -> Bool {
        switch kind {
        case .word(let word): word.utf8.count == text.utf8.count && word.uppercased() == text
        case .symbol(let symbol): text == String(symbol)
        default: false
        }
    }

    /// As messages name it.
    var shown: String {
        switch kind {
        case .word(let text): quotedForMessage(text)
        case .quotedName(let text): "the name \(quotedForMessage(text))"
        case .string(let text): "the value \(quotedForMessage(text))"
        case .symbol(let symbol): "\"\(symbol)\""
        case .end, .fault: "the end"
        }
    }
}

/// Turns text into tokens, the last of which is `.end` or a `.fault`.
///
/// Where quotes and comments begin and end is also known to `StatementScanner`; both must agree
/// about which `;` ends a statement.
struct StatementLexer {
    private let bytes: [UInt8]
    private let origin: SourcePosition
    private var index = 0
    private var position: SourcePosition

    private init(_ bytes: [UInt8], origin: SourcePosition) {
        self.bytes = bytes
        self.origin = origin
        position = origin
    }

    static func tokens(of bytes: [UInt8], origin: SourcePosition) -> [Token] {
        var lexer = StatementLexer(bytes, origin: origin)
        var tokens: [Token] = []
        while true {
            let token = lexer.next()
            tokens.append(token)
            switch token.kind {
            case .end, .fault: return tokens
            default: break
            }
        }
    }

    private mutating func next() -> Token {
        do {
            try skipBlanks()
        } catch {
            return Token(kind: .fault(error), position: error.position, endOffset: position.offset)
        }
        let start = position
        let kind: Token.Kind
        do {
            kind = try scan()
        } catch {
            kind = .fault(error)
        }
        return Token(kind: kind, position: start, endOffset: position.offset)
    }

    private mutating func scan() throws(StatementError) -> Token.Kind {
        guard let byte = peek() else { return .end }
        switch byte {
        case UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: ","), UInt8(ascii: "="),
            UInt8(ascii: ";"):
            step()
            return .symbol(Character(UnicodeScalar(byte)))
        case UInt8(ascii: "'"), UInt8(ascii: "\""): return .string(try quoted(by: byte))
        case UInt8(ascii: "`"): return .quotedName(try quoted(by: byte))
        default: break
        }
        let start = index
        while let byte = peek(), Self.isWordByte(byte), !startsComment() { step() }
        if index > start { return .word(String(decoding: bytes[start..<index], as: UTF8.self)) }
        throw unexpected(byte)
    }

    /// Blanks, comments, and a byte order mark at the very beginning.
    private mutating func skipBlanks() throws(StatementError) {
        if index == 0, bytes.starts(with: [0xEF, 0xBB, 0xBF]) { step(3) }
        while let byte = peek() {
            if byte == 0x20 || (0x09...0x0D).contains(byte) {
                step()
            } else if !startsComment() {
                return
            } else if byte == UInt8(ascii: "-") {
                while let byte = peek(), byte != UInt8(ascii: "\n") { step() }
            } else {
                let start = position
                step(2)
                while peek() != UInt8(ascii: "*") || peek(1) != UInt8(ascii: "/") {
                    guard peek() != nil else {
                        throw fault("the comment has no closing */", at: start, incomplete: true)
                    }
                    step()
                }
                step(2)
            }
        }
    }

    private func startsComment() -> Bool {
        peek() == UInt8(ascii: "-") && peek(1) == UInt8(ascii: "-")
            || peek() == UInt8(ascii: "/") && peek(1) == UInt8(ascii: "*")
    }

    /// Quoted text; the quote itself is written doubled or behind a backslash.
    private mutating func quoted(by quote: UInt8) throws(StatementError) -> String {
        let start = position
        var text: [UInt8] = []
        step()
        while let byte = peek() {
            if byte == UInt8(ascii: "\\") {
                try appendEscape(to: &text)
            } else if byte != quote {
                text.append(byte)
                step()
            } else if peek(1) == quote {
                text.append(byte)
                step(2)
            } else {
                step()
                return try checked(text, from: start)
            }
        }
        let shown = String(UnicodeScalar(quote))
        throw fault("the quote has no closing \(shown)", at: start, incomplete: true)
    }

    private func checked(
        _ text: [UInt8], from start: SourcePosition
    ) throws(StatementError) -> String {
        if text.contains(0) { throw fault("a NUL byte can't be part of a text", at: start) }
        guard let string = String(validating: text, as: UTF8.self) else {
            throw fault("the escapes don't make valid UTF-8", at: start)
        }
        return string
    }

    /// YQL's escapes: `\n`, `\t`, …, `\xHH`, `\uHHHH`, `\UHHHHHHHH`, a backslash before punctuation.
    private mutating func appendEscape(to text: inout [UInt8]) throws(StatementError) {
        let start = position
        step()
        // Without a byte behind the backslash the quote's end is missing: the caller says so.
        guard let letter = peek() else { return }
        step()
        switch letter {
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "a"): text.append(0x07)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "v"): text.append(0x0B)
        case UInt8(ascii: "x"): text.append(UInt8(try hexadecimal(2, from: start)))
        case UInt8(ascii: "u"), UInt8(ascii: "U"):
            let count = letter == UInt8(ascii: "u") ? 4 : 8
            guard let scalar = Unicode.Scalar(try hexadecimal(count, from: start)) else {
                throw fault("there is no such Unicode character", at: start)
            }
            text.append(contentsOf: String(scalar).utf8)
        case 0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E: text.append(letter)
        default:
            throw fault("unknown escape; a backslash itself is written \\\\", at: start)
        }
    }

    private mutating func hexadecimal(
        _ count: Int, from start: SourcePosition
    ) throws(StatementError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<count {
            guard let byte = peek() else { return 0 }
            guard let digit = Character(UnicodeScalar(byte)).hexDigitValue, byte < 0x80 else {
                throw fault("the escape needs \(count) hexadecimal digits", at: start)
            }
            value = value << 4 | UInt32(digit)
            step()
        }
        return value
    }

    private func unexpected(_ byte: UInt8) -> StatementError {
        if byte == 0 { return fault("unexpected NUL byte", at: position) }
        let rest = String(decoding: bytes[index...].prefix(4), as: UTF8.self)
        let shown = quotedForMessage(String(rest.unicodeScalars.prefix(1)))
        let hint = "names with such characters stand in back-quotes, values in single quotes"
        return fault("unexpected \(shown); \(hint)", at: position)
    }

    private func fault(
        _ message: String, at position: SourcePosition, incomplete: Bool = false
    ) -> StatementError {
        StatementError(message, at: position, in: bytes, from: origin, isIncomplete: incomplete)
    }

    private func peek(_ ahead: Int = 0) -> UInt8? {
        index + ahead < bytes.count ? bytes[index + ahead] : nil
    }

    private mutating func step(_ count: Int = 1) {
        for _ in 0..<count {
            position.advance(over: bytes[index])
            index += 1
        }
    }

    private static func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "_./:+-%@~".utf8.contains(byte)
        }
    }
}
