import Bytes

/// The statement that defines a table, an index, a trigger or a view, and what it is under other
/// names. Only names are replaced, token by token; all else stays as it was written.
struct ObjectText {
    enum Kind: String {
        case table, index, trigger, view
        case virtualTable = "virtual table"
    }

    let kind: Kind
    /// Of the object itself.
    let name: String
    let sql: String
    let tokens: SQLTokens
    let nameToken: Int
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
        let isVirtual = tokens.isWord(1, "VIRTUAL")
        var next = isVirtual || tokens.isWord(1, "UNIQUE") ? 2 : 1
        if tokens.isWord(next, "TABLE") {
            kind = isVirtual ? .virtualTable : .table
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
        if kind != .index && kind != .trigger {
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

    /// What a virtual table is made by.
    var module: String? {
        kind == .virtualTable && tokens.isWord(nameToken + 1, "USING")
            ? tokens.name(nameToken + 2) : nil
    }

    /// The view that a trigger stands on, or the table of an index.
    var table: String? { tableToken.flatMap(tokens.name) }

    /// The statement on one line, for a note; nil if a name or a string in it has several.
    var oneLine: String? {
        var result = ""
        var end: Int?
        for token in tokens.tokens {
            if let end, end < token.range.lowerBound { result += " " }
            end = token.range.upperBound
            result += String(decoding: tokens.bytes[token.range], as: UTF8.self)
        }
        return result.utf8.contains { $0 < 32 } ? nil : result
    }

    /// The statement for an object and a table of other names.
    ///
    /// - Parameters:
    ///   - table: the table's name now, and its new one.
    ///   - references: where foreign keys point: new names of other tables, given their folded ones; nil
    ///     leaves a name as it is.
    func renamed(
        to newName: String, table: (old: String, new: String),
        references: ([UInt8]) -> String? = { _ in nil }
    ) -> String {
        tokens.text(replacing: changes(to: newName, table: table, references: references))
    }

    /// The tokens of the statement that are others under other names.
    func changes(
        to newName: String, table: (old: String, new: String),
        references: ([UInt8]) -> String? = { _ in nil }
    ) -> [Int: String] {
        var replacements = [nameToken: quoted(newName)]
        if let tableToken { replacements[tableToken] = quoted(table.new) }
        for index in tokens.tokens.indices.dropFirst(nameToken + 1) where index != tableToken {
            if tokens.isWord(index, "REFERENCES"), let target = tokens.name(index + 1),
                let new = references(folded(target))
            {
                replacements[index + 1] = quoted(new)
            } else if tokens.isSymbol(index + 1, "."), tokens.isName(index, table.old) {
                replacements[index] = quoted(table.new)
            }
        }
        return replacements
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
