/// The parts that statements share: names, points, options, settings.
extension StatementParser {
    /// A keyword that may stand where, in a scope, the name was left out.
    struct Clause {
        let keyword: String
        /// What follows the keyword when it is one; nil: anything but the keyword again.
        let followers: [String]?

        static let incremental = Clause(keyword: "INCREMENTAL", followers: nil)
        static let at = Clause(keyword: "AT", followers: nil)
        static let with = Clause(keyword: "WITH", followers: ["("])
        static let changes = [
            Clause(keyword: "SET", followers: ["("]),
            Clause(keyword: "RESET", followers: ["("]),
            Clause(keyword: "ADD", followers: ["TABLE"]),
            Clause(keyword: "DROP", followers: ["TABLE", "BACKUP"]),
            Clause(keyword: "UNDROP", followers: ["BACKUP"]),
            Clause(keyword: "PIN", followers: ["BACKUP"]),
            Clause(keyword: "UNPIN", followers: ["BACKUP"]),
        ]
    }

    /// The name, or in a scope its own if the name was left out.
    ///
    /// Outside a scope the word in the name's place always is the name. In one, a clause's keyword
    /// is the clause: `BACKUP INCREMENTAL` is an incremental of the scope's collection, also if
    /// that is called `incremental`; `BACKUP incremental INCREMENTAL` and back-quotes name it.
    mutating func name(
        orImpliedBy verb: Token, before clauses: [Clause]
    ) throws(StatementError) -> CollectionName {
        guard let scope, isNameLeftOut(before: clauses) else { return try name() }
        return CollectionName(name: scope.name, database: nil, position: verb.position)
    }

    func isNameLeftOut(before clauses: [Clause]) -> Bool {
        switch token.kind {
        case .end, .symbol: return true
        case .word: break
        default: return false
        }
        guard let clause = clauses.first(where: { token.matches($0.keyword) }) else { return false }
        let next = tokens[min(index + 1, tokens.count - 1)]
        guard let followers = clause.followers else { return !next.matches(clause.keyword) }
        if case .end = next.kind { return true }
        return followers.contains { next.matches($0) }
    }

    /// A collection's name, by YDB's rules for the places of collections.
    mutating func name() throws(StatementError) -> CollectionName {
        let written = try identifier("a collection's name")
        let position = written.position
        var name = written.value
        var database: String?
        if name.hasPrefix("/") {
            let parts = name.split(separator: "/", omittingEmptySubsequences: false)
            guard parts.count >= 5, parts.suffix(3).starts(with: [".backups", "collections"]) else {
                throw fault(
                    "collections are placed in DATABASE/.backups/collections", at: position)
            }
            database = parts.dropLast(3).joined(separator: "/")
            name = String(parts[parts.count - 1])
        }
        if name.isEmpty { throw fault("a collection's name can't be empty", at: position) }
        if name.utf8.contains(UInt8(ascii: "/")) || name == "." || name == ".." {
            throw fault(
                "collections are placed directly in DATABASE/.backups/collections", at: position)
        }
        if name.utf8.count > 255 {
            throw fault("a collection's name has at most 255 bytes", at: position)
        }
        if let scope, scope.name != name {
            throw fault(
                "this is the control of \(quotedForMessage(scope.name)), "
                    + "not of \(quotedForMessage(name))", at: position)
        }
        return CollectionName(name: name, database: database, position: position)
    }

    mutating func path() throws(StatementError) -> Located<String> {
        let path = try identifier("a table's path")
        if path.value.isEmpty { throw fault("a table's path can't be empty", at: path.position) }
        return path
    }

    mutating func identifier(_ what: String) throws(StatementError) -> Located<String> {
        let token = token
        switch token.kind {
        case .quotedName(let text):
            index += 1
            return Located(text, at: token.position)
        case .word(let text):
            if text.utf8.contains(where: { ":+%@~".utf8.contains($0) }) {
                throw fault("a name with such characters stands in back-quotes", at: token.position)
            }
            index += 1
            return Located(text, at: token.position)
        case .string:
            throw fault("a name stands bare or in back-quotes, not in quotes", at: token.position)
        default: throw unexpected(what)
        }
    }

    mutating func value(_ what: String) throws(StatementError) -> Located<String> {
        let token = token
        switch token.kind {
        case .string(let text), .word(let text):
            index += 1
            return Located(text, at: token.position)
        default: throw unexpected(what)
        }
    }

    /// `AT 'point or time'`, if it is there.
    mutating func point() throws(StatementError) -> Located<String>? {
        guard take("AT") else { return nil }
        let point = try value("a backup point or a time")
        if point.value.isEmpty { throw fault("AT needs a point or a time", at: point.position) }
        return point
    }

    /// `WITH (key = value)` with the one key that a statement knows, if it is there.
    mutating func option<Value: Sendable & Equatable>(
        _ key: String, accepted: String, read: (String) -> Value?
    ) throws(StatementError) -> Located<Value>? {
        try options([key])[key]?.value(accepted, read: read, self)
    }

    /// An option as it was written.
    struct WrittenOption {
        let key: String
        let position: SourcePosition
        let text: Located<String>

        /// What it says. Throws if that isn't accepted.
        func value<Value: Sendable & Equatable>(
            _ accepted: String, read: (String) -> Value?, _ parser: StatementParser
        ) throws(StatementError) -> Located<Value> {
            guard let value = read(text.value) else {
                throw parser.fault(
                    "\(key) can't be \(quotedForMessage(text.value)); accepted: \(accepted)",
                    at: text.position)
            }
            return Located(value, at: position)
        }
    }

    /// `WITH (key = value, …)` with those that a statement knows, if it is there; a last comma is
    /// allowed.
    mutating func options(_ known: [String]) throws(StatementError) -> [String: WrittenOption] {
        var found: [String: WrittenOption] = [:]
        guard take("WITH") else { return found }
        if !take("(") { throw unexpected("(") }
        repeat {
            let written = token
            if !found.isEmpty, written.matches(")") { break }
            guard let key = known.first(where: { written.matches($0.uppercased()) }) else {
                if found.count == known.count { throw unexpected(")") }
                let one = known.count == 1 ? "the option " : "one of the options "
                throw unexpected(one + known.joined(separator: ", "))
            }
            index += 1
            if found[key] != nil {
                throw fault("\(quotedForMessage(key)) twice", at: written.position)
            }
            if !take("=") { throw unexpected("=") }
            found[key] = WrittenOption(
                key: key, position: written.position, text: try value("a value"))
        } while take(",")
        if !take(")") { throw unexpected(")") }
        return found
    }

    /// `(key = value, …)`; a last comma is allowed, as in YDB. `isWhole`: all that a collection has.
    mutating func settings(isWhole: Bool) throws(StatementError) -> Statement.Settings {
        var values = CollectionSettings()
        var positions: [SettingKey: SourcePosition] = [:]
        if !take("(") { throw unexpected("(") }
        repeat {
            if !positions.isEmpty && token.matches(")") { break }
            let key = try settingKey()
            if positions.updateValue(key.position, forKey: key.value) != nil {
                throw fault("\(key.value.keyword) twice", at: key.position)
            }
            if !take("=") { throw unexpected("=") }
            let text = try value("a value: \(key.value.accepted)")
            if !values.set(key.value, text.value) {
                throw fault(
                    "\(key.value.keyword) can't be \(quotedForMessage(text.value)); "
                        + "accepted: \(key.value.accepted)", at: text.position)
            }
        } while take(",")
        let close = token
        if !take(")") { throw unexpected(", or )") }
        if isWhole {
            values.fillInStorage()
            if let conflict = values.conflict {
                throw fault(conflict.message, at: positions[conflict.key] ?? close.position)
            }
        }
        return Statement.Settings(values: values, positions: positions)
    }

    mutating func settingKeys() throws(StatementError) -> [Located<SettingKey>] {
        var keys: [Located<SettingKey>] = []
        if !take("(") { throw unexpected("(") }
        repeat {
            let key = try settingKey()
            if keys.contains(where: { $0.value == key.value }) {
                throw fault("\(key.value.keyword) twice", at: key.position)
            }
            keys.append(key)
        } while take(",")
        if !take(")") { throw unexpected(", or )") }
        return keys
    }

    mutating func settingKey() throws(StatementError) -> Located<SettingKey> {
        guard case .word(let word) = token.kind else { throw unexpected("a setting") }
        guard let key = SettingKey(keyword: word) else {
            let known = SettingKey.allCases.map(\.keyword)
            let help =
                nearestWord(to: word, among: known).map { "did you mean \($0)?" }
                ?? "known: \(known.joined(separator: ", "))"
            throw fault("unknown setting \(quotedForMessage(word)); \(help)", at: token.position)
        }
        let position = token.position
        index += 1
        return Located(key, at: position)
    }
}

// MARK: Tokens

extension StatementParser {
    var token: Token { tokens[index] }

    /// Offset behind the token before the present one.
    var lastEnd: Int { tokens[index - 1].endOffset }

    /// Takes a keyword (in upper case) or a symbol, if it comes next.
    mutating func take(_ text: String) -> Bool {
        guard token.matches(text) else { return false }
        index += 1
        return true
    }

    mutating func expect(_ keyword: String) throws(StatementError) {
        if !take(keyword) { throw unexpected(keyword) }
    }

    mutating func expectBackupCollection() throws(StatementError) {
        try expect("BACKUP")
        try expect("COLLECTION")
    }

    func unexpected(_ expected: String) -> StatementError {
        if case .fault(let error) = token.kind { return error }
        var isAtEnd = false
        if case .end = token.kind { isAtEnd = true }
        return StatementError(
            "expected \(expected), found \(token.shown)\(suggestion(from: expected))",
            at: token.position, in: bytes, from: origin, isIncomplete: isAtEnd)
    }

    /// The one of the expected words that was probably meant.
    private func suggestion(from expected: String) -> String {
        guard case .word(let word) = token.kind, word.count >= 4 else { return "" }
        let words = expected.split { !$0.isLetter }.map(String.init).filter { $0.count >= 4 }
        return nearestWord(to: word, among: words).map { "; did you mean \($0)?" } ?? ""
    }

    func fault(_ message: String, at position: SourcePosition) -> StatementError {
        StatementError(message, at: position, in: bytes, from: origin)
    }
}
