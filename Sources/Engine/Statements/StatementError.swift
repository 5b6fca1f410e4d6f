import Bytes

/// Where something stands in a statement's text.
package struct SourcePosition: Sendable, Hashable, Comparable {
    /// Bytes before it.
    package var offset: Int
    /// From 1; lines end at LF.
    package var line: Int
    /// From 1, in Unicode scalars.
    package var column: Int

    package static let start = SourcePosition(offset: 0, line: 1, column: 1)

    package init(offset: Int, line: Int, column: Int) {
        self.offset = offset
        self.line = line
        self.column = column
    }

    package static func < (left: SourcePosition, right: SourcePosition) -> Bool {
        left.offset < right.offset
    }

    /// Steps over one byte of UTF-8.
    mutating func advance(over byte: UInt8) {
        offset += 1
        if byte == UInt8(ascii: "\n") {
            line += 1
            column = 1
        } else if byte & 0xC0 != 0x80 {
            column += 1
        }
    }

    func advanced(over bytes: some Sequence<UInt8>) -> SourcePosition {
        var position = self
        for byte in bytes { position.advance(over: byte) }
        return position
    }
}

/// A value and where it was written, so that whoever refuses it later can point at it.
package struct Located<Value: Sendable & Equatable>: Sendable, Equatable {
    package let value: Value
    package let position: SourcePosition

    package init(_ value: Value, at position: SourcePosition) {
        self.value = value
        self.position = position
    }
}

/// Why a statement's text was refused, and the line with a caret under the fault.
package struct StatementError: Error, Sendable, Equatable, CustomStringConvertible {
    package let message: String
    package let position: SourcePosition
    /// Two lines without a final newline: the text's line, then blanks and `^`.
    package let snippet: String
    /// The text is right as far as it goes: more of it could make a statement.
    package let isIncomplete: Bool

    /// `text` is what holds the fault; it begins at `origin`.
    init(
        _ message: String, at position: SourcePosition, in text: some Collection<UInt8>,
        from origin: SourcePosition, isIncomplete: Bool = false
    ) {
        self.message = message
        self.position = position
        self.isIncomplete = isIncomplete
        snippet = caretSnippet(at: position.offset - origin.offset, in: text)
    }

    /// `2:5: expected TABLE, found "TABL"`
    package var description: String { "\(position.line):\(position.column): \(message)" }

    package var failure: Failure { Failure(.invalid, description) }
}

/// The line of `text` around byte `offset` and a caret under that byte.
///
/// Tabs stay tabs in both lines, wide characters count two cells, other control characters show
/// as U+FFFD (a terminal must not obey them), long lines are cut to what is near the fault.
func caretSnippet(at offset: Int, in text: some Collection<UInt8>) -> String {
    let bytes = Array(text)
    // A fault at the end of the text is shown behind its last character, not on an empty line.
    var fault = min(max(offset, 0), bytes.count)
    if fault == bytes.count {
        let blanks: [UInt8] = [0x20, 0x09, 0x0A, 0x0D]
        while fault > 0, blanks.contains(bytes[fault - 1]) { fault -= 1 }
    }
    let newline = UInt8(ascii: "\n")
    let start = (bytes[..<fault].lastIndex(of: newline) ?? -1) + 1
    let end = bytes[fault...].firstIndex(of: newline) ?? bytes.count
    var before = Array(String(decoding: bytes[start..<fault], as: UTF8.self).unicodeScalars)
    var after = Array(String(decoding: bytes[fault..<end], as: UTF8.self).unicodeScalars)
    if after.last == "\r" { after.removeLast() }
    if before.count > 80 { before = ["…"] + before.suffix(79) }
    if after.count > 80 { after = after.prefix(79) + ["…"] }

    var line = String.UnicodeScalarView()
    for scalar in before + after { line.append(scalar.isUnprintable ? "\u{FFFD}" : scalar) }
    var caret = ""
    for scalar in before {
        caret += scalar == "\t" ? "\t" : String(repeating: " ", count: scalar.cells)
    }
    return String(line) + "\n" + caret + "^"
}

/// `text` in double quotes for a one-line message: control characters replaced, cut when long.
func quotedForMessage(_ text: some StringProtocol) -> String {
    var shown = String.UnicodeScalarView()
    for scalar in text.unicodeScalars.prefix(60) {
        shown.append(scalar.isUnprintable || scalar == "\t" ? "\u{FFFD}" : scalar)
    }
    let isLonger = text.unicodeScalars.dropFirst(60).first != nil
    return "\"\(String(shown))\(isLonger ? "…" : "")\""
}

/// `text` for a line of its own, whatever names stand in it.
package func oneLine(_ text: String) -> String {
    let text = PathText.shown(text)
    guard text.unicodeScalars.contains(where: \.isUnprintable) else { return text }
    var shown = String.UnicodeScalarView()
    for scalar in text.unicodeScalars { shown.append(scalar.isUnprintable ? "\u{FFFD}" : scalar) }
    return String(shown)
}
