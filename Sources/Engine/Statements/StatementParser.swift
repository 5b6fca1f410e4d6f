import Repository

/// Recursive descent over the tokens of one text; nothing in the grammar nests, so depth is fixed.
struct StatementParser {
    let bytes: [UInt8]
    let origin: SourcePosition
    let scope: CollectionScope?
    let tokens: [Token]
    var index = 0

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
        if take("SHOW") { return try show(verb) }
        if let scope, token.matches("FULL") || token.matches("INCREMENTAL") {
            let isIncremental = token.matches("INCREMENTAL")
            index += 1
            let implied = CollectionName(name: scope.name, database: nil, position: verb.position)
            return (implied, .backup(try backupOptions(isIncremental, at: verb.position)))
        }
        let short = scope == nil ? "" : "full, incremental, "
        throw unexpected(
            short + "CREATE, ALTER, DROP, BACKUP, RESTORE, VERIFY, COMPACT, PRUNE, PULL or SHOW")
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
            if take("DATABASE") {
                // Not YDB's grammar, but nothing else can be meant.
                if !take(")") { throw unexpected(")") }
                members = .database(at: membersPosition)
            } else {
                members = .tables(try tables())
            }
        }
        let settings = take("WITH") ? try settings(isWhole: true) : .standard
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
        let name = try name(orImpliedBy: verb, before: [.at, .with])
        let point = try point()
        let tables = token.matches("(") ? try restoredTables() : nil
        let ofRows = ["on_conflict", "dry_run", "triggers"]
        let options = try options(["strict"] + ofRows)
        if tables?.first?.rows == nil, let option = ofRows.compactMap({ options[$0] }).first {
            throw fault(
                "this is said of rows: ( TABLE path WHERE KEY IN (…) ) or CHANGED SINCE",
                at: option.position)
        }
        let isStrict = try options["strict"]?.value("true or false", read: boolean, self)
        return (
            name,
            .restore(
                .init(
                    point: point, tables: tables, isStrict: isStrict?.value ?? false,
                    rules: try rowRules(options)))
        )
    }

    private mutating func restoredTables() throws(StatementError) -> [Statement.Restore.Table] {
        try expect("(")
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
            let rows = try rows()
            if let first = tables.first, (first.rows == nil) != (rows == nil) {
                throw fault(
                    "whole tables and rows of tables are restored by statements of their own",
                    at: table.position)
            }
            tables.append(.init(path: table, target: target, rows: rows))
        } while take(",")
        if !take(")") { throw unexpected("AS, WHERE KEY IN, CHANGED SINCE, \",\" or )") }
        return tables
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

    private mutating func show(
        _ verb: Token
    ) throws(StatementError) -> (CollectionName, Statement.Action) {
        func about(_ name: String) -> CollectionName {
            CollectionName(name: name, database: nil, position: verb.position)
        }
        if take("COLLECTIONS") { return (about(""), .show(.collections)) }
        if take("OPERATIONS") { return (about(scope?.name ?? ""), .show(.operations)) }
        guard take("BACKUPS") else { throw unexpected("COLLECTIONS, BACKUPS OF or OPERATIONS") }
        if let scope, !token.matches("OF") { return (about(scope.name), .show(.backups)) }
        try expect("OF")
        return (try name(), .show(.backups))
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
