/// Names are data: what they hold must not be obeyed by a terminal, or end or turn around the line that
/// they stand in.
extension Unicode.Scalar {
    /// Whether it is nothing to be shown as it is. Tabs are; format characters may turn the direction of
    /// a terminal's line around.
    package var isUnprintable: Bool {
        switch properties.generalCategory {
        case .control: self != "\t"
        case .lineSeparator, .paragraphSeparator, .surrogate, .format: true
        default: false
        }
    }
}

extension String {
    /// What is unprintable written as in JSON, `\u001b`, but for line feeds: right both in a line for
    /// people and in a JSON text, where such a thing stands in strings alone. Of a path, what is no text
    /// as `\xe9`: in a JSON text `PathText.shown(json:)` must have done that.
    package var escapingUnprintable: String {
        if utf8.allSatisfy({ (0x20..<0x7F).contains($0) || $0 == 0x09 || $0 == 0x0A }) {
            return self
        }
        let text = PathText.shown(self)
        guard text.unicodeScalars.contains(where: { $0.isUnprintable && $0 != "\n" }) else {
            return text
        }
        var shown = ""
        for scalar in text.unicodeScalars {
            if scalar.isUnprintable, scalar != "\n" {
                for unit in scalar.utf16 {
                    let digits = String(unit, radix: 16)
                    shown += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            } else {
                shown.unicodeScalars.append(scalar)
            }
        }
        return shown
    }
}

/// To Swift, a quote before a combining mark is no quote. To SQL, JSON and a shell it is.
extension String {
    package func replacingBytes(_ old: String, with new: String) -> String {
        // Mostly there is none, as a look at each byte tells fastest.
        guard let first = old.utf8.first, utf8.contains(first) else { return self }
        return String(
            decoding: Array(utf8).replacing(Array(old.utf8), with: Array(new.utf8)), as: UTF8.self)
    }

    /// Between two of `mark`, and its own ones doubled.
    package func wrapped(in mark: String) -> String {
        mark + replacingBytes(mark, with: mark + mark) + mark
    }

    /// What stands between two of `mark`, a single byte, with its own ones doubled; nil if it isn't so.
    package func unwrapped(from mark: String) -> String? {
        guard utf8.count > 1, let byte = mark.utf8.first, utf8.first == byte, utf8.last == byte
        else { return nil }
        let inner = String(decoding: utf8.dropFirst().dropLast(), as: UTF8.self)
        let doubled = mark + mark
        if inner.replacingBytes(doubled, with: "").utf8.contains(byte) { return nil }
        return inner.replacingBytes(doubled, with: mark)
    }
}
