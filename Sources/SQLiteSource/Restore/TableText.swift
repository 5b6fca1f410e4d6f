import Bytes

/// A `CREATE TABLE` statement taken apart (sqlite.org/lang_createtable.html): its columns, and the
/// rules of columns and of the table, each by its tokens.
///
/// Everything is taken as SQLite's parser takes it: a type may be any number of words, commas between
/// rules of the table may be missing, and `CONSTRAINT name` is a rule of its own, also without one
/// behind it.
struct TableText {
    struct Column {
        var name: String
        /// The declared type; empty if there is none.
        var type: Range<Int>
        var rules: [Rule] = []

        var generated: Rule? { rules.first { $0.kind == .virtual || $0.kind == .stored } }
        var isVirtual: Bool { generated?.kind == .virtual }
    }

    struct Rule {
        enum Kind {
            case primaryKey, unique, collation, virtual, stored
            case name, notNull, null, check, value, references, deferral
        }

        var kind: Kind
        /// All of it.
        var tokens: Range<Int>
        /// An expression or a list, without its parentheses; the name of a collation.
        var inner: Range<Int> = 0..<0
        /// `ON CONFLICT …` and AUTOINCREMENT: what a key can be without.
        var extras: [Range<Int>] = []

        /// Whether it says how rows are stored. The others say which rows may be, or what happens
        /// when one is written.
        var isOfStorage: Bool {
            switch kind {
            case .primaryKey, .unique, .collation, .virtual, .stored: true
            case .name, .notNull, .null, .check, .value, .references, .deferral: false
            }
        }
    }

    struct TableRule {
        /// The comma before it.
        var comma: Int?
        var rule: Rule
    }

    /// One column of a key, as a rule of the table lists it.
    struct KeyColumn {
        var name: String
        /// `COLLATE` and a name.
        var collation: Range<Int>?
    }

    let tokens: SQLTokens
    private(set) var columns: [Column] = []
    private(set) var rules: [TableRule] = []
    private(set) var isWithoutRowID = false
    private(set) var isStrict = false
    private(set) var strictToken: Int?

    /// Throws `.corrupt` for what SQLite wouldn't take for a table with columns.
    init(_ definition: ObjectText) throws {
        tokens = definition.tokens
        var parser = TableParser(tokens, next: definition.nameToken + 1)
        try parser.expectOpening()
        repeat { columns.append(try parser.column()) } while parser.takesCommaBeforeColumn()
        while !parser.isAtClosing {
            let comma = parser.takeComma()
            rules.append(TableRule(comma: comma, rule: try parser.tableRule()))
        }
        for index in parser.next + 1..<max(parser.next + 1, tokens.tokens.count) {
            if tokens.isWord(index, "STRICT") { (isStrict, strictToken) = (true, index) }
            if tokens.isWord(index, "WITHOUT") { isWithoutRowID = true }
        }
    }

    /// The declared type as it was written. Before GENERATED ALWAYS, which SQLite reads as a part of it and
    /// cuts off, a comment belongs to it.
    func type(of column: Column) -> String {
        guard hasOpenType(column), let generated = column.generated?.tokens.lowerBound else {
            return tokens.text(of: column.type)
        }
        let range =
            tokens.tokens[column.type.lowerBound].range
            .lowerBound..<tokens.tokens[generated].range.lowerBound
        let end =
            tokens.bytes[range].lastIndex { $0 != 32 && !(9...13).contains($0) } ?? range.lowerBound
        return String(decoding: tokens.bytes[range.lowerBound...end], as: UTF8.self)
    }

    /// Whether the type is followed by GENERATED ALWAYS.
    func hasOpenType(_ column: Column) -> Bool {
        guard let generated = column.generated?.tokens, !column.type.isEmpty else { return false }
        return generated.lowerBound == column.type.upperBound
            && tokens.isWord(generated.lowerBound, "GENERATED")
    }

    /// The name of a `COLLATE` rule's collation.
    func collation(_ rule: Rule) -> String { tokens.name(rule.inner.lowerBound) ?? "" }

    /// The columns that a key of the table lists.
    func keyColumns(_ rule: Rule) -> [KeyColumn] {
        var result: [KeyColumn] = []
        var first = rule.inner.lowerBound
        var depth = 0
        for index in rule.inner.lowerBound...rule.inner.upperBound {
            if index < rule.inner.upperBound {
                if tokens.isSymbol(index, "(") { depth += 1 }
                if tokens.isSymbol(index, ")") { depth -= 1 }
                guard depth == 0, tokens.isSymbol(index, ",") else { continue }
            }
            var column = KeyColumn(name: "")
            var name = first
            while tokens.isSymbol(name, "(") { name += 1 }
            column.name = tokens.name(name) ?? ""
            let collate = (first..<index).first { $0 > name && tokens.isWord($0, "COLLATE") }
            column.collation = collate.map { $0..<$0 + 2 }
            result.append(column)
            first = index + 1
        }
        return result
    }

    /// Whether a column is the rowid itself, which no index is made for.
    func isRowID(_ column: Column) -> Bool { !isWithoutRowID && isIntegerKey(column) }

    var hasUnique: Bool {
        columns.contains { $0.rules.contains { $0.kind == .unique } }
            || rules.contains { $0.rule.kind == .unique }
    }

    /// Whether a column alone is the key, as an INTEGER: SQLite makes its index last then, or none, and the
    /// others have other numbers.
    func isIntegerKey(_ column: Column) -> Bool {
        guard folded(type(of: column)) == Array("integer".utf8) else { return false }
        for rule in column.rules where rule.kind == .primaryKey {
            return !rule.tokens.contains { tokens.isWord($0, "DESC") }
        }
        return rules.contains { element in
            guard element.rule.kind == .primaryKey else { return false }
            let key = keyColumns(element.rule)
            return key.count == 1 && folded(key[0].name) == folded(column.name)
        }
    }

    /// Folded names of the columns that stand in a key with an index, or in the table's own order.
    var keyNames: Set<[UInt8]> {
        var names: Set<[UInt8]> = []
        for column in columns where !isRowID(column) {
            let isKey = column.rules.contains { $0.kind == .primaryKey || $0.kind == .unique }
            if isKey { names.insert(folded(column.name)) }
        }
        for element in rules where element.rule.kind == .primaryKey || element.rule.kind == .unique
        {
            let key = keyColumns(element.rule).map { folded($0.name) }
            if key.count == 1, columns.contains(where: { isRowID($0) && folded($0.name) == key[0] })
            {
                continue
            }
            names.formUnion(key)
        }
        return names
    }
}

/// Goes through the tokens of a table's definition.
private struct TableParser {
    private let tokens: SQLTokens
    private(set) var next: Int

    init(_ tokens: SQLTokens, next: Int) {
        self.tokens = tokens
        self.next = next
    }

    private var damage: Failure {
        let near = tokens.text(of: next..<max(next, min(next + 4, tokens.tokens.count)))
        return Failure(.corrupt, "its stored definition can't be read near \"\(near)\"")
    }

    mutating func expectOpening() throws {
        guard tokens.isSymbol(next, "(") else { throw damage }
        next += 1
    }

    var isAtClosing: Bool { tokens.isSymbol(next, ")") }

    mutating func takeComma() -> Int? {
        guard tokens.isSymbol(next, ",") else { return nil }
        next += 1
        return next - 1
    }

    /// Whether a column follows behind a comma, which is passed then.
    mutating func takesCommaBeforeColumn() -> Bool {
        guard tokens.isSymbol(next, ",") else { return false }
        let isRule = ["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"].contains {
            isWord(next + 1, $0)
        }
        if !isRule { next += 1 }
        return !isRule
    }

    // MARK: Columns

    mutating func column() throws -> TableText.Column {
        guard let name = tokens.name(next) else { throw damage }
        next += 1
        let start = next
        while tokens.name(next) != nil, !isRuleWord(next) { next += 1 }
        if next > start, tokens.isSymbol(next, "(") { try skipParentheses() }
        var column = TableText.Column(name: name, type: start..<next)
        while !isAtClosing, !tokens.isSymbol(next, ",") { column.rules.append(try columnRule()) }
        return column
    }

    /// No bare name or type can be one of these words; GENERATED can, but not before ALWAYS AS.
    private func isRuleWord(_ index: Int) -> Bool {
        if tokens.isWord(index, "GENERATED") {
            return tokens.isWord(index + 1, "ALWAYS") && tokens.isWord(index + 2, "AS")
        }
        return [
            "CONSTRAINT", "DEFAULT", "NULL", "NOT", "PRIMARY", "UNIQUE", "CHECK", "REFERENCES",
            "DEFERRABLE", "COLLATE", "AS",
        ].contains { isWord(index, $0) }
    }

    private func isWord(_ index: Int, _ word: StaticString) -> Bool { tokens.isWord(index, word) }

    private mutating func take(_ word: StaticString) -> Bool {
        guard tokens.isWord(next, word) else { return false }
        next += 1
        return true
    }

    private mutating func columnRule() throws -> TableText.Rule {
        let start = next
        if take("DEFAULT") {
            if !tokens.isSymbol(next, "(") {
                if tokens.isSymbol(next, "+") || tokens.isSymbol(next, "-") { next += 1 }
                guard tokens.name(next) != nil else { throw damage }
                next += 1
                return rule(.value, start)
            }
            let inner = try skipParentheses()
            return rule(.value, start, inner)
        }
        if take("NULL") {
            _ = try conflict()
            return rule(.null, start)
        }
        if take("COLLATE") {
            guard tokens.name(next) != nil else { throw damage }
            next += 1
            return rule(.collation, start, next - 1..<next)
        }
        if isWord(start, "NOT"), isWord(start + 1, "NULL") {
            next += 2
            _ = try conflict()
            return rule(.notNull, start)
        }
        if take("GENERATED"), !take("ALWAYS") { throw damage }
        if take("AS") {
            let inner = try skipParentheses()
            if take("STORED") { return rule(.stored, start, inner) }
            _ = take("VIRTUAL")
            return rule(.virtual, start, inner)
        }
        return try commonRule(ofTable: false)
    }

    // MARK: Rules

    mutating func tableRule() throws -> TableText.Rule {
        let start = next
        if take("FOREIGN") {
            guard take("KEY") else { throw damage }
            _ = try skipParentheses()
            guard isWord(next, "REFERENCES") else { throw damage }
            _ = try commonRule(ofTable: true)
            if isDeferral { _ = try commonRule(ofTable: true) }
            return rule(.references, start)
        }
        return try commonRule(ofTable: true)
    }

    private var isDeferral: Bool {
        isWord(next, "DEFERRABLE") || isWord(next, "NOT") && isWord(next + 1, "DEFERRABLE")
    }

    /// The rules that columns and tables have in common.
    private mutating func commonRule(ofTable: Bool) throws -> TableText.Rule {
        let start = next
        if take("CONSTRAINT") {
            guard tokens.name(next) != nil else { throw damage }
            next += 1
            return rule(.name, start)
        }
        if take("PRIMARY") {
            guard take("KEY") else { throw damage }
            return try key(.primaryKey, start, ofTable: ofTable)
        }
        if take("UNIQUE") { return try key(.unique, start, ofTable: ofTable) }
        if take("CHECK") {
            let inner = try skipParentheses()
            _ = try conflict()
            return rule(.check, start, inner)
        }
        if take("REFERENCES") {
            guard tokens.name(next) != nil else { throw damage }
            next += 1
            if tokens.isSymbol(next, "(") { try skipParentheses() }
            try skipActions()
            return rule(.references, start)
        }
        if isDeferral {
            _ = take("NOT")
            next += 1
            if take("INITIALLY") { next += 1 }
            return rule(.deferral, start)
        }
        throw damage
    }

    private mutating func key(
        _ kind: TableText.Rule.Kind, _ start: Int, ofTable: Bool
    ) throws -> TableText.Rule {
        var key = TableText.Rule(kind: kind, tokens: start..<start)
        if ofTable {
            key.inner = try skipParentheses()
            let last = key.inner.upperBound - 1
            if key.inner.count > 1, isWord(last, "AUTOINCREMENT") {
                key.inner = key.inner.lowerBound..<last
                key.extras.append(last..<last + 1)
            }
        } else if kind == .primaryKey {
            if !take("ASC") { _ = take("DESC") }
        }
        if let conflict = try conflict() { key.extras.append(conflict) }
        if !ofTable, kind == .primaryKey, take("AUTOINCREMENT") {
            key.extras.append(next - 1..<next)
        }
        key.tokens = start..<next
        return key
    }

    /// What happens to rows that refer to one that goes.
    private mutating func skipActions() throws {
        while true {
            if take("MATCH") {
                guard tokens.name(next) != nil else { throw damage }
                next += 1
            } else if isWord(next, "ON"), !isWord(next + 1, "CONFLICT") {
                next += 2
                if isWord(next, "SET") || isWord(next, "NO") { next += 1 }
                guard tokens.name(next) != nil else { throw damage }
                next += 1
            } else {
                return
            }
        }
    }

    /// `ON CONFLICT …`, if it is there.
    private mutating func conflict() throws -> Range<Int>? {
        guard isWord(next, "ON"), isWord(next + 1, "CONFLICT") else { return nil }
        guard tokens.name(next + 2) != nil else { throw damage }
        next += 3
        return next - 3..<next
    }

    /// Answers what is between them.
    @discardableResult
    private mutating func skipParentheses() throws -> Range<Int> {
        guard let closing = tokens.closing(next) else { throw damage }
        let inner = next + 1..<closing
        next = closing + 1
        return inner
    }

    private func rule(
        _ kind: TableText.Rule.Kind, _ start: Int, _ inner: Range<Int> = 0..<0
    ) -> TableText.Rule {
        TableText.Rule(kind: kind, tokens: start..<next, inner: inner)
    }
}
