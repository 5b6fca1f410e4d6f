/// Recursive descent over the tokens of one text; nothing in the grammar nests, so depth is fixed.
struct StatementParser {
    private let bytes: [UInt8]
    private let origin: SourcePosition
    private let scope: CollectionScope?
    private let tokens: [Token]
    private var index = 0

    init(_ bytes: [UInt8], scope: CollectionScope?, origin: SourcePosition) {
        self.bytes = bytes
        self.origin = origin
        self.scope = scope
        tokens = StatementLexer.tokens(of: bytes, origin: origin)
    }

    mutating func statements() throws(StatementError) -> [Statement] {
        var statements: [Statement] = []
        while true {
            while token.matches(";") { index += 1 }
            if case .end = token.kind { return statements }
            statements.append(try statement())
            if case .end = token.kind { continue }
            if !token.matches(";") { throw unexpected("; or the end of the statement") }
        }
    }

    private mutating func statement() throws(StatementError) -> Statement {
        let first = token
        let (collection, action) = try body(first)
        let text = bytes[(first.position.offset - origin.offset)..<(lastEnd - origin.offset)]
        return Statement(
            action: action, collection: collection, text: String(decoding: text, as: UTF8.self),
            position: first.position)
    }

    private mutating func body(
        _ verb: Token
    ) throws(StatementError) -> (CollectionName, Statement.Action) {
        if take("CREATE") { return try create(verb) }
        if take("ALTER") { return try alter(verb) }
        if take("DROP") {
            try expectBackupCollection()
            return (try name(), .drop)
        }
        if take("BACKUP") { return try backup(verb) }
        if take("RESTORE") { return try restore(verb) }
        if take("VERIFY") { return try verify(verb) }
        if take("COMPACT") { return (try name(orImpliedBy: verb, before: []), .compact) }
        if take("PRUNE") { return try prune(verb) }
        if take("PULL") {
            let name = try name(orImpliedBy: verb, before: [.at])
            return (name, .pull(at: try point()))
        }
        if let scope, token.matches("FULL") || token.matches("INCREMENTAL") {
            let isIncremental = token.matches("INCREMENTAL")
            index += 1
            let implied = CollectionName(name: scope.name, database: nil, position: verb.position)
            return (implied, .backup(try backupOptions(isIncremental, at: verb.position)))
        }
        let short = scope == nil ? "" : "full, incremental, "
        throw unexpected(
            short + "CREATE, ALTER, DROP, BACKUP, RESTORE, VERIFY, COMPACT, PRUNE or PULL")
    }

    private mutating func create(
        _ verb: Token
    ) throws(StatementError) -> (CollectionName, Statement.Action) {
        try expectBackupCollection()
        if scope != nil {
            throw fault(
                "CREATE isn't possible in a collection's control; write it to the root's",
                at: verb.position)
        }
        let name = try name()
        let members: Statement.Members
        let membersPosition = token.position
        if take("DATABASE") {
            members = .database(at: membersPosition)
        } else {
            guard take("(") else { throw unexpected("( TABLE … ) or DATABASE") }
            members = .tables(try tables())
        }
        try expect("WITH")
        let settings = try settings(isWhole: true)
        return (name, .create(Statement.Create(members: members, settings: settings)))
    }

    /// `TABLE a, TABLE b)`, no table twice.
    private mutating func tables() throws(StatementError) -> [Located<String>] {
        var tables: [Located<String>] = []
        var known: Set<String> = []
        repeat {
            try expect("TABLE")
            let table = try path()
            if !known.insert(table.value).inserted {
                throw fault("table \(quotedForMessage(table.value)) twice", at: table.position)
            }
            tables.append(table)
        } while take(",")
        if !take(")") { throw unexpected(", or )") }
        return tables
    }

    private mutating func alter(
        _ verb: Token
    ) throws(StatementError) -> (CollectionName, Statement.Action) {
        try expectBackupCollection()
        let name = try name(orImpliedBy: verb, before: Clause.changes)
        var changes: [Statement.Change] = []
        repeat { changes.append(try change()) } while take(",")
        return (name, .alter(changes))
    }

    private mutating func change() throws(StatementError) -> Statement.Change {
        if take("SET") { return .set(try settings(isWhole: false)) }
        if take("RESET") { return .reset(try settingKeys()) }
        if take("ADD") {
            try expect("TABLE")
            return .addTable(try path())
        }
        if take("DROP") {
            if take("TABLE") { return .dropTable(try path()) }
            guard take("BACKUP") else { throw unexpected("TABLE or BACKUP") }
            return .dropBackup(try value("a backup point"))
        }
        if take("UNDROP") {
            try expect("BACKUP")
            return .undropBackup(try value("a backup point"))
        }
        if take("PIN") {
            try expect("BACKUP")
            return .pinBackup(try value("a backup point"))
        }
        if take("UNPIN") {
            try expect("BACKUP")
            return .unpinBackup(try value("a backup point"))
        }
        throw unexpected("SET, RESET, ADD TABLE, DROP TABLE, or DROP, UNDROP, PIN, UNPIN BACKUP")
    }

    private mutating func backup(
        _ verb: Token
    ) throws(StatementError) -> (CollectionName, Statement.Action) {
        let name = try name(orImpliedBy: verb, before: [.incremental, .with])
        let kind = token
        let isIncremental = take("INCREMENTAL")
        let position = isIncremental ? kind.position : verb.position
        return (name, .backup(try backupOptions(isIncremental, at: position)))
    }

    private mutating func backupOptions(
        _ isIncremental: Bool, at position: SourcePosition
    ) throws(StatementError) -> Statement.Backup {
        let uid = try option("uid", accepted: "1 to 256 of A-Z a-z 0-9 _ . : -") {
            isUID($0) ? $0 : nil
        }
        return Statement.Backup(isIncremental: isIncremental, kindPosition: position, uid: uid)
    }

    private mutating func restore(
        _ verb: Token
    ) throws(StatementError) -> (CollectionName, Statement.Action) {
        let name = try name(orImpliedBy: verb, before: [.at])
        let point = try point()
        guard take("(") else { return (name, .restore(.init(point: point, tables: nil))) }
        var tables: [Statement.Restore.Table] = []
        var sources: Set<String> = []
        var targets: Set<String> = []
        repeat {
            try expect("TABLE")
            let table = try path()
            let target = take("AS") ? try path() : nil
            if !sources.insert(table.value).inserted {
                throw fault("table \(quotedForMessage(table.value)) twice", at: table.position)
            }
            let goal = target ?? table
            if !targets.insert(goal.value).inserted {
                throw fault("two tables become \(quotedForMessage(goal.value))", at: goal.position)
            }
            tables.append(.init(path: table, target: target))
        } while take(",")
        if !take(")") { throw unexpected("AS, \",\" or )") }
        return (name, .restore(.init(point: point, tables: tables)))
    }

    private mutating func verify(
        _ verb: Token
    ) throws(StatementError) -> (CollectionName, Statement.Action) {
        let name = try name(orImpliedBy: verb, before: [.at, .with])
        let point = try point()
        let levels = Statement.VerifyLevel.allCases.map(\.rawValue).joined(separator: ", ")
        let level = try option("level", accepted: levels) {
            Statement.VerifyLevel(rawValue: $0.lowercased())
        }
        return (name, .verify(.init(point: point, level: level)))
    }

    private mutating func prune(
        _ verb: Token
    ) throws(StatementError) -> (CollectionName, Statement.Action) {
        let name = try name(orImpliedBy: verb, before: [.with])
        let isDryRun = try option("dry_run", accepted: "true or false", read: boolean)
        return (name, .prune(isDryRun: isDryRun?.value ?? false))
    }
}

// MARK: Parts of statements

extension StatementParser {
    /// A keyword that may stand where, in a scope, the name was left out.
    private struct Clause {
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
    private mutating func name(
        orImpliedBy verb: Token, before clauses: [Clause]
    ) throws(StatementError) -> CollectionName {
        guard let scope, isNameLeftOut(before: clauses) else { return try name() }
        return CollectionName(name: scope.name, database: nil, position: verb.position)
    }

    private func isNameLeftOut(before clauses: [Clause]) -> Bool {
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
    private mutating func name() throws(StatementError) -> CollectionName {
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

    private mutating func path() throws(StatementError) -> Located<String> {
        let path = try identifier("a table's path")
        if path.value.isEmpty { throw fault("a table's path can't be empty", at: path.position) }
        return path
    }

    private mutating func identifier(_ what: String) throws(StatementError) -> Located<String> {
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

    private mutating func value(_ what: String) throws(StatementError) -> Located<String> {
        let token = token
        switch token.kind {
        case .string(let text), .word(let text):
            index += 1
            return Located(text, at: token.position)
        default: throw unexpected(what)
        }
    }

    /// `AT 'point or time'`, if it is there.
    private mutating func point() throws(StatementError) -> Located<String>? {
        guard take("AT") else { return nil }
        let point = try value("a backup point or a time")
        if point.value.isEmpty { throw fault("AT needs a point or a time", at: point.position) }
        return point
    }

    /// `WITH (key = value)` with the one key that a statement knows, if it is there.
    private mutating func option<Value: Sendable & Equatable>(
        _ key: String, accepted: String, read: (String) -> Value?
    ) throws(StatementError) -> Located<Value>? {
        guard take("WITH") else { return nil }
        if !take("(") { throw unexpected("(") }
        let written = token
        if !take(key.uppercased()) { throw unexpected("the option \(key)") }
        if !take("=") { throw unexpected("=") }
        let text = try value("a value")
        guard let value = read(text.value) else {
            throw fault(
                "\(key) can't be \(quotedForMessage(text.value)); accepted: \(accepted)",
                at: text.position)
        }
        if take(","), token.matches(key.uppercased()) {
            throw fault("\(quotedForMessage(key)) twice", at: token.position)
        }
        if !take(")") { throw unexpected(")") }
        return Located(value, at: written.position)
    }

    /// `(key = value, …)`; a last comma is allowed, as in YDB. `isWhole`: all that a collection has.
    private mutating func settings(isWhole: Bool) throws(StatementError) -> Statement.Settings {
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

    private mutating func settingKeys() throws(StatementError) -> [Located<SettingKey>] {
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

    private mutating func settingKey() throws(StatementError) -> Located<SettingKey> {
        guard case .word(let word) = token.kind else { throw unexpected("a setting") }
        guard let key = SettingKey(keyword: word) else {
            let known = SettingKey.allCases.map(\.keyword).joined(separator: ", ")
            throw fault(
                "unknown setting \(quotedForMessage(word)); known: \(known)", at: token.position)
        }
        let position = token.position
        index += 1
        return Located(key, at: position)
    }
}

// MARK: Tokens

extension StatementParser {
    private var token: Token { tokens[index] }

    /// Offset behind the token before the present one.
    private var lastEnd: Int { tokens[index - 1].endOffset }

    /// Takes a keyword (in upper case) or a symbol, if it comes next.
    private mutating func take(_ text: String) -> Bool {
        guard token.matches(text) else { return false }
        index += 1
        return true
    }

    private mutating func expect(_ keyword: String) throws(StatementError) {
        if !take(keyword) { throw unexpected(keyword) }
    }

    private mutating func expectBackupCollection() throws(StatementError) {
        try expect("BACKUP")
        try expect("COLLECTION")
    }

    private func unexpected(_ expected: String) -> StatementError {
        if case .fault(let error) = token.kind { return error }
        var isAtEnd = false
        if case .end = token.kind { isAtEnd = true }
        return StatementError(
            "expected \(expected), found \(token.shown)", at: token.position, in: bytes,
            from: origin, isIncomplete: isAtEnd)
    }

    private func fault(_ message: String, at position: SourcePosition) -> StatementError {
        StatementError(message, at: position, in: bytes, from: origin)
    }
}

/// YDB's draft of `WITH (uid = …)`: 1…256 of these bytes.
private func isUID(_ text: String) -> Bool {
    (1...256).contains(text.utf8.count)
        && text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: "_.:-".utf8.contains(byte)
            }
        }
}
