import Bytes

/// The statement that defines a table, an index, a trigger or a view, and what it is under other
/// names. Only names are replaced, token by token; all else stays as it was written.
struct ObjectText {
    enum Kind: String { case table, index, trigger, view }

    let kind: Kind
    /// Of the object itself.
    let name: String
    let sql: String
    private let tokens: SQLTokens
    private let nameToken: Int
    /// The table's own name in an index or a trigger.
    private let tableToken: Int?

    /// The statements of a text, in order. Throws `.corrupt` for what defines nothing.
    static func all(in sql: String) throws -> [ObjectText] {
        try SQLTokens(sql).statements().map(ObjectText.init)
    }

    private init(_ sql: String) throws {
        self.sql = sql
        tokens = try SQLTokens(sql)
        let damaged = Failure(.corrupt, "a stored definition defines nothing: \(sql.prefix(60))")
        guard tokens.isWord(0, "CREATE") else { throw damaged }
        var next = tokens.isWord(1, "UNIQUE") ? 2 : 1
        if tokens.isWord(next, "TABLE") {
            kind = .table
        } else if tokens.isWord(next, "INDEX") {
            kind = .index
        } else if tokens.isWord(next, "TRIGGER") {
            kind = .trigger
        } else if tokens.isWord(next, "VIEW") {
            kind = .view
        } else {
            throw damaged
        }
        next += 1
        if tokens.isWord(next, "IF") { next += 3 }
        if tokens.isSymbol(next + 1, ".") { next += 2 }
        guard let name = tokens.name(next) else { throw damaged }
        self.name = name
        nameToken = next
        if kind == .table || kind == .view {
            tableToken = nil
            return
        }
        // A bare ON can't be a name, so that the first one is the keyword.
        let on = tokens.tokens.indices.dropFirst(next + 1).first { [tokens] in
            tokens.isWord($0, "ON")
        }
        guard let on else { throw damaged }
        // A trigger may say `main.orders`.
        let table = tokens.isSymbol(on + 2, ".") ? on + 3 : on + 1
        guard tokens.name(table) != nil else { throw damaged }
        tableToken = table
    }

    /// The statement for an object and a table of other names.
    ///
    /// - Parameters:
    ///   - table: the table's name now, and its new one.
    ///   - references: where foreign keys point: new names of other tables, given their folded ones; nil
    ///     leaves a name as it is.
    ///   - countsUp: false leaves AUTOINCREMENT out, which changes nothing of how rows are stored.
    func renamed(
        to newName: String, table: (old: String, new: String),
        references: ([UInt8]) -> String? = { _ in nil }, countsUp: Bool = true
    ) -> String {
        var replacements = [nameToken: quoted(newName)]
        if let tableToken { replacements[tableToken] = quoted(table.new) }
        for index in tokens.tokens.indices.dropFirst(nameToken + 1) where index != tableToken {
            if tokens.isWord(index, "REFERENCES"), let target = tokens.name(index + 1),
                let new = references(folded(target))
            {
                replacements[index + 1] = quoted(new)
            } else if tokens.isSymbol(index + 1, "."), tokens.isName(index, table.old) {
                replacements[index] = quoted(table.new)
            } else if !countsUp, tokens.isWord(index, "AUTOINCREMENT") {
                replacements[index] = ""
            }
        }
        return tokens.text(replacing: replacements)
    }

    /// Whether the statement says a name anywhere but where it must: in a trigger's body, say.
    func mentions(_ name: String) -> Bool {
        tokens.tokens.indices.dropFirst(nameToken + 1).contains {
            $0 != tableToken && tokens.isName($0, name)
        }
    }

    /// The table's rowids are never used again.
    var countsUp: Bool {
        kind == .table && tokens.tokens.indices.contains { tokens.isWord($0, "AUTOINCREMENT") }
    }
}
