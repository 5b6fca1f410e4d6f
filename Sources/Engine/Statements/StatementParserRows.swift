import Tables

/// Which rows a RESTORE puts back into tables that are there, and how.
extension StatementParser {
    /// `WHERE KEY IN (k, (k, k), …)` or `CHANGED SINCE 'point or time'`, if it is there.
    mutating func rows() throws(StatementError) -> Statement.Restore.Rows? {
        if take("CHANGED") {
            try expect("SINCE")
            let point = try value("a backup point or a time")
            if point.value.isEmpty {
                throw fault("CHANGED SINCE needs a point or a time", at: point.position)
            }
            return .changed(since: point)
        }
        guard take("WHERE") else { return nil }
        try expect("KEY")
        try expect("IN")
        if !take("(") { throw unexpected("(") }
        var keys: [Located<[String]>] = []
        repeat { keys.append(try key()) } while take(",")
        if !take(")") { throw unexpected("\",\" or )") }
        return .keys(keys)
    }

    /// A value, or several in parentheses.
    private mutating func key() throws(StatementError) -> Located<[String]> {
        let position = token.position
        guard take("(") else { return Located([try keyValue()], at: position) }
        var values: [String] = []
        repeat { values.append(try keyValue()) } while take(",")
        if !take(")") { throw unexpected("\",\" or )") }
        return Located(values, at: position)
    }

    /// A literal, as the field of CSV that its value looks like.
    private mutating func keyValue() throws(StatementError) -> String {
        let token = token
        switch token.kind {
        case .string(let text):
            index += 1
            return TableKey.field(ofText: text)
        case .word(let word) where ["x", "X"].contains(word):
            let next = tokens[min(index + 1, tokens.count - 1)]
            guard case .string(let digits) = next.kind,
                digits.utf8.count % 2 == 0, digits.allSatisfy(\.isHexDigit)
            else { throw fault("bytes are written x'00FF'", at: token.position) }
            index += 2
            return "\\x" + digits.lowercased()
        case .word(let word):
            let isNull = token.matches("NULL")
            let isBoolean = token.matches("TRUE") || token.matches("FALSE")
            let isNumber =
                Double(word) != nil && !word.contains { $0.isLetter && $0 != "e" && $0 != "E" }
            guard isNull || isBoolean || isNumber else {
                throw fault("a text stands in quotes", at: token.position)
            }
            index += 1
            return isNull ? "" : isBoolean ? word.lowercased() : word
        default: throw unexpected("a value of the key")
        }
    }

    func rowRules(_ options: [String: WrittenOption]) throws(StatementError) -> RowRules {
        var rules = RowRules()
        let conflicts = ConflictRule.allCases.map(\.rawValue).joined(separator: ", ")
        if let rule = try options["on_conflict"]?.value(
            conflicts, read: { ConflictRule(rawValue: $0.lowercased()) }, self)
        {
            rules.onConflict = rule.value
        }
        rules.isDryRun =
            try options["dry_run"]?.value("true or false", read: boolean, self).value ?? false
        rules.runsTriggers =
            try options["triggers"]?.value("on or off", read: switched, self).value ?? false
        return rules
    }
}

private func switched(_ text: String) -> Bool? {
    ["on": true, "off": false][text.lowercased()] ?? boolean(text)
}
