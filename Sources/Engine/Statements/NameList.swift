/// Names with commas between them: bare, or in `"`, `'` or back-quotes, which a name needs that holds
/// a comma, begins with such a mark, or begins or ends with a blank.
struct NameList: Sendable, Hashable, CustomStringConvertible {
    private typealias Text = Substring.UnicodeScalarView

    /// At least one, none of them empty.
    let names: [String]

    /// Nil without names, or if one is empty.
    init?(_ names: [String]) {
        if names.isEmpty || names.contains("") { return nil }
        self.names = names
    }

    /// Nil if the text is no such list.
    init?(_ text: String) {
        var names: [String] = []
        var rest = text[...].unicodeScalars
        repeat {
            guard let name = Self.takeName(&rest) else { return nil }
            names.append(name)
        } while rest.popFirst() != nil
        self.init(names)
    }

    /// As far as the next comma or the end, without blanks around it; nil if it can't be a name.
    private static func takeName(_ text: inout Text) -> String? {
        text = text.drop(while: isBlank)
        guard let mark = text.first, isMark(mark) else {
            let bare = text.prefix { $0 != "," }
            text = text[bare.endIndex...]
            let length = bare.count - bare.reversed().prefix(while: isBlank).count
            return String(bare.prefix(length))
        }
        var name = String.UnicodeScalarView()
        text.removeFirst()
        while let end = text.firstIndex(of: mark) {
            name.append(contentsOf: text[..<end])
            text = text[text.index(after: end)...]
            if text.first != mark {
                text = text.drop(while: isBlank)
                return text.isEmpty || text.first == "," ? String(name) : nil
            }
            // Doubled, it stands for itself.
            name.append(mark)
            text.removeFirst()
        }
        return nil
    }

    private static func isMark(_ scalar: Unicode.Scalar) -> Bool {
        scalar == "\"" || scalar == "'" || scalar == "`"
    }

    private static func isBlank(_ scalar: Unicode.Scalar) -> Bool {
        scalar == " " || scalar == "\t" || scalar == "\n"
    }

    /// What the list is read from again.
    var description: String {
        names.map { name in
            let scalars = name.unicodeScalars
            let isBare =
                !scalars.contains(",") && !Self.isMark(scalars.first!)
                && !Self.isBlank(scalars.first!) && !Self.isBlank(scalars.last!)
            if isBare { return name }
            var quoted = String.UnicodeScalarView()
            quoted.append("\"")
            for scalar in scalars {
                if scalar == "\"" { quoted.append(scalar) }
                quoted.append(scalar)
            }
            quoted.append("\"")
            return String(quoted)
        }.joined(separator: ", ")
    }
}
