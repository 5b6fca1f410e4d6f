import Bytes
import Tables

/// A table as it is restored: hidden under a name of ours until all of them are published.
///
/// It has three texts, one after another.
/// * *Bare*: what rows are loaded into. Keys, UNIQUE, COLLATE, DESC, WITHOUT ROWID and STRICT are there,
///   because they say how a b-tree lies; CHECK, NOT NULL, DEFAULT, foreign keys and ON CONFLICT aren't:
///   what the rows passed long ago isn't asked again. A column whose values its type would turn into
///   others (the text '007' that is older than `INTEGER`) has no type, a STORED column is a plain one,
///   and a VIRTUAL one, which takes no place in a row, is NULL.
/// * *Settled*: types and generated columns are real. Indexes are built on this one, for they depend on
///   both, and rows are read through it to be compared.
/// * *Published*: what was stored, to the byte.
struct HiddenTable {
    let source: RestoredTable
    /// Of the hidden table.
    let name: String
    let definition: ObjectText
    let text: TableText
    let indexes: [ObjectText]
    let triggers: [ObjectText]
    /// Key columns compare by collations of the application's, which nobody else has.
    let foreignKeyCollations: [String]
    /// Tokens of those collations, in the table's text.
    private let foreignKeyTokens: [Range<Int>]
    /// Tokens of all of the application's collations.
    private let foreignTokens: [Range<Int>]

    /// Why it is left out; nil as long as it isn't.
    var leftOut: String?
    /// Indexes that couldn't be built, by their numbers.
    var missingIndexes: Set<Int> = []
    var notes: [String] = []
    /// Loaded rows.
    private(set) var rows = 0
    /// NULLs among them, by the number of the column in the schema.
    private var nulls: [Int]

    /// - Parameter collations: folded names of those that there are.
    init(_ source: RestoredTable, name: String, collations: Set<[UInt8]>) throws {
        let objects = try ObjectText.all(in: source.sql)
        let definitions = objects.filter { $0.kind == .table }
        guard let definition = definitions.first, definitions.count == 1 else {
            throw Failure(.corrupt, "its stored definition is not one table")
        }
        let text = try TableText(definition)
        self.source = source
        self.name = name
        self.definition = definition
        self.text = text
        indexes = objects.filter { $0.kind == .index }
        triggers = objects.filter { $0.kind == .trigger }
        nulls = source.schema.columns.map { _ in 0 }

        func isForeign(_ name: String) -> Bool { !collations.contains(folded(name)) }
        let keys = text.keyNames
        var (all, ofKeys): ([Range<Int>], [Range<Int>]) = ([], [])
        for column in text.columns {
            for rule in column.rules where rule.kind == .collation {
                guard isForeign(text.collation(rule)) else { continue }
                all.append(rule.tokens)
                if keys.contains(folded(column.name)) { ofKeys.append(rule.tokens) }
            }
        }
        for rule in text.rules.map(\.rule) where rule.kind == .primaryKey || rule.kind == .unique {
            for tokens in text.keyColumns(rule).compactMap(\.collation)
            where isForeign(text.tokens.name(tokens.lowerBound + 1) ?? "") {
                all.append(tokens)
                ofKeys.append(tokens)
            }
        }
        foreignTokens = all
        foreignKeyTokens = ofKeys
        foreignKeyCollations = ofKeys.compactMap { text.tokens.name($0.lowerBound + 1) }
        try checkColumns()
    }

    mutating func count(_ batch: RowBatch) {
        rows += batch.count
        for (column, vector) in batch.columns.enumerated() { nulls[column] += vector.nullCount }
    }

    /// A definition must be of the table that the rows are of.
    private func checkColumns() throws {
        let stored = source.schema.visibleColumns
        let isRight =
            stored.allSatisfy { column in
                text.columns.contains { $0.name.hasSameBytes(as: column.name) }
            }
            && text.columns.allSatisfy { column in
                column.isVirtual || stored.contains { $0.name.hasSameBytes(as: column.name) }
            }
        let hasRowID = source.schema.columns.contains(where: \.isHidden)
        guard isRight, !hasRowID || rowIDName != nil else {
            throw Failure(.corrupt, "its stored definition has other columns than its rows")
        }
    }

    func indexName(_ number: Int) -> String { "\(name)_i\(number)" }

    /// Every name of ours that SQLite may say in a message.
    func withoutHiddenNames(_ message: String) -> String {
        var result = message
        for number in indexes.indices.reversed() {
            result.replace(indexName(number), with: indexes[number].name)
        }
        result.replace(name, with: source.target)
        return result
    }

    // MARK: Columns

    /// The name by which the rowid can be reached; nil if columns have taken all of them.
    var rowIDName: String? {
        if text.isWithoutRowID { return nil }
        let taken = Set(text.columns.map { folded($0.name) })
        return ["rowid", "_rowid_", "oid"].first { !taken.contains(Array($0.utf8)) }
    }

    /// The table's column for one of the schema's; nil for a hidden one.
    func column(_ stored: Column) -> TableText.Column? {
        stored.isHidden ? nil : text.columns.first { $0.name.hasSameBytes(as: stored.name) }
    }

    /// Of the schema's columns, in their order.
    var affinities: [Affinity] {
        source.schema.columns.map { stored in
            column(stored).map { Affinity(declared: text.type(of: $0)) } ?? .none
        }
    }

    /// Numbers of the schema's columns that rows are loaded with: all that take a place in a row.
    var loadedColumns: [Int] {
        source.schema.columns.indices.filter {
            column(source.schema.columns[$0])?.isVirtual != true
        }
    }

    /// Whether a column's type leaves all of its values as they are.
    private func fits(_ column: TableText.Column) -> Bool {
        guard
            let stored = source.schema.columns.first(where: {
                !$0.isHidden && $0.name.hasSameBytes(as: column.name)
            })
        else { return true }
        let declared = text.type(of: column)
        let type: ColumnType? = stored.isLiteral ? nil : stored.type
        if text.isStrict {
            return switch String(decoding: folded(declared), as: UTF8.self) {
            case "int", "integer": type == .int64
            case "real": type == .double
            case "text": type == .utf8
            case "blob": type == .string
            default: true
            }
        }
        return switch Affinity(declared: declared) {
        case .blob, .none: true
        case .text: type == .utf8 || type == .string
        case .real: type == .double || type == .string
        case .integer, .numeric: type == .int64 || type == .double || type == .string
        }
    }

    /// Whether a column is computed, and couldn't be when the table was backed up: it takes what only the
    /// application has. It stays NULL until the table is published.
    private func isUncomputable(_ column: TableText.Column) -> Bool {
        column.isVirtual
            && !source.schema.visibleColumns.contains { $0.name.hasSameBytes(as: column.name) }
    }

    /// Whether an index rests on such a column.
    func isUncomputable(_ index: ObjectText) -> Bool {
        text.columns.contains { isUncomputable($0) && index.mentions($0.name) }
    }

    /// Columns of keys whose values are computed.
    var computedKeyColumns: [(name: String, isPossible: Bool)] {
        let keys = text.keyNames
        return text.columns.filter { $0.isVirtual && keys.contains(folded($0.name)) }
            .map { ($0.name, !isUncomputable($0)) }
    }

    // MARK: Texts

    func bare() -> String {
        var changes = withoutLaws()
        for column in text.columns {
            // Without GENERATED the type may be another one.
            let isOpen = text.hasOpenType(column) && !column.isVirtual
            if (!fits(column) || isOpen) && !(text.isIntegerKey(column) && text.hasUnique) {
                remove(column.type, from: &changes)
                if text.isStrict { changes[column.type.lowerBound] = "ANY" }
            }
            guard let generated = column.generated else { continue }
            if generated.kind == .virtual {
                makeNull(column, &changes)
            } else {
                remove(generated.tokens, from: &changes)
            }
        }
        for tokens in foreignTokens { remove(tokens, from: &changes) }
        return text.tokens.text(replacing: changes)
    }

    func settled() -> String {
        var changes = withoutLaws()
        for column in text.columns where isUncomputable(column) {
            makeNull(column, &changes)
        }
        for tokens in foreignKeyTokens { remove(tokens, from: &changes) }
        return text.tokens.text(replacing: changes)
    }

    /// - Parameter references: new names of other tables, given their folded ones.
    func published(references: ([UInt8]) -> String?) -> String {
        var changes: [Int: String] = [:]
        if source.isRenamed {
            changes = definition.changes(
                to: source.target, table: (definition.name, source.target), references: references)
        }
        if changes.isEmpty, foreignKeyTokens.isEmpty { return definition.sql }
        for tokens in foreignKeyTokens { remove(tokens, from: &changes) }
        return text.tokens.text(replacing: changes)
    }

    /// The text under the hidden name, without any rule about which rows may be.
    private func withoutLaws() -> [Int: String] {
        var changes = definition.changes(to: name, table: (definition.name, name))
        for rule in text.columns.flatMap(\.rules) {
            if !rule.isOfStorage { remove(rule.tokens, from: &changes) }
            for extra in rule.extras { remove(extra, from: &changes) }
        }
        for column in text.columns where !text.hasOpenType(column) {
            // What stood before it may be gone, so that it would be read as a part of the type.
            guard let start = column.generated?.tokens.lowerBound else { continue }
            if text.tokens.isWord(start, "GENERATED") { remove(start..<start + 2, from: &changes) }
        }
        for element in text.rules {
            for extra in element.rule.extras { remove(extra, from: &changes) }
            if !element.rule.isOfStorage {
                remove(element.rule.tokens, from: &changes)
                if let comma = element.comma { changes[comma] = "" }
            } else if element.comma == nil {
                // The rule before it may be gone.
                let first = element.rule.tokens.lowerBound
                changes[first] = ", " + text.tokens.text(of: first..<first + 1)
            }
        }
        return changes
    }

    private func makeNull(_ column: TableText.Column, _ changes: inout [Int: String]) {
        guard let inner = column.generated?.inner, !inner.isEmpty else { return }
        remove(inner, from: &changes)
        changes[inner.lowerBound] = "NULL"
    }

    private func remove(_ tokens: Range<Int>, from changes: inout [Int: String]) {
        for index in tokens { changes[index] = "" }
    }

    // MARK: Laws

    /// Numbers of the schema's columns that must not be NULL from now on, and are.
    var brokenNotNulls: [String] {
        zip(source.schema.columns, nulls).compactMap { stored, nulls in
            guard nulls > 0, let column = column(stored),
                column.rules.contains(where: { $0.kind == .notNull })
            else { return nil }
            return stored.name
        }
    }

    /// Expressions of CHECK: as they were written, and for the hidden table.
    var checks: [(text: String, sql: String)] {
        let changes = definition.changes(to: name, table: (definition.name, name))
        let rules = text.columns.flatMap(\.rules) + text.rules.map(\.rule)
        return rules.filter { $0.kind == .check }.map {
            (text.tokens.text(of: $0.inner), text.tokens.text(of: $0.inner, replacing: changes))
        }
    }

    /// Expressions that columns are computed by, for the hidden table.
    var computations: [(column: String, sql: String)] {
        let changes = definition.changes(to: name, table: (definition.name, name))
        return text.columns.compactMap { column in
            column.generated.map {
                (column.name, text.tokens.text(of: $0.inner, replacing: changes))
            }
        }
    }
}
