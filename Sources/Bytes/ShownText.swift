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
    /// people and in a JSON text, where such a thing stands in strings alone.
    package var escapingUnprintable: String {
        if utf8.allSatisfy({ (0x20..<0x7F).contains($0) || $0 == 0x09 || $0 == 0x0A }) {
            return self
        }
        guard unicodeScalars.contains(where: { $0.isUnprintable && $0 != "\n" }) else {
            return self
        }
        var shown = ""
        for scalar in unicodeScalars {
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
