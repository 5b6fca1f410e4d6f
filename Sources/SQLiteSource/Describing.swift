import Bytes
import CSQLite
import Tables

/// How one of SQLite's tables becomes ours: whether it can be backed up, what it is ordered by, and
/// the types of its columns.
struct Describing {
    private let table: TableDefinition
    private let connection: Connection
    private let encoding: CInt

    init(_ table: TableDefinition, _ connection: Connection, encoding: CInt) {
        self.table = table
        self.connection = connection
        self.encoding = encoding
    }

    /// Whether rows are told apart by their declared key, for want of a name for their rowid.
    private var isByDeclaredKey: Bool { !table.isWithoutRowID && table.rowIDName == nil }

    /// Why a table can't be backed up, nil if it can. Looks at the data where the definition leaves
    /// it open.
    func refusal() throws -> String? {
        guard isByDeclaredKey, !table.keyIsRowID else { return nil }
        if table.key.isEmpty {
            return
                "table \(table.name) has no PRIMARY KEY, and columns have taken all names of its "
                + "rowid (rowid, _rowid_, oid): rename one of them, or give it a PRIMARY KEY"
        }
        for column in table.key.map({ table.columns[$0] }) where !column.isNotNull {
            let sql = "SELECT 1 FROM \(table.source) WHERE \(quoted(column.name)) IS NULL LIMIT 1"
            if try connection.integer(sql) != nil { return nullInKeyWords(table.name, column.name) }
        }
        return nil
    }

    /// - Parameter exactly: all rows are looked at, so that every value fits.
    func description(
        parent: TableSchema?, nextColumnID: UInt32, exactly: Bool
    ) throws -> TableDescription {
        var notes: [String] = []
        let columns = try table.columns.filter { column in
            guard column.isVirtual else { return true }
            // One that the parent hasn't got may have been left out there for its values.
            let isNew = parent.map { parent in
                !parent.columns.contains { $0.name.utf8.elementsEqual(column.name.utf8) }
            }
            guard let fault = try fault(of: column, inAllRows: exactly || isNew == true) else {
                return true
            }
            notes.append(
                "\(table.name): column \(column.name) is computed, and can't be here (\(fault)): "
                    + "it is left out, and comes back with the table's definition")
            return false
        }
        let olds = Self.counterparts(of: columns.map(\.name), in: parent)
        let found = try exactly ? examine(columns) : [:]
        let firsts = try exactly ? [:] : firstClasses(of: columns, olds)
        var nextID = nextColumnID
        var described = try columns.enumerated().map { position, column in
            let old = olds[position]
            let (type, isLiteral): (ColumnType, Bool) =
                if old?.isLiteral == true {
                    (.utf8, true)
                } else if exactly {
                    found[position]!.type(of: column.affinity, parent: old?.type)
                } else {
                    (old?.type ?? Self.type(firsts[position], column.affinity), false)
                }
            var new = Column(id: nextID, name: column.name, type: type, isLiteral: isLiteral)
            if let old, old.type == type, old.isLiteral == isLiteral {
                new.id = old.id
                new.standIn = old.standIn
            } else {
                nextID += 1
            }
            guard new.id < TableSchema.reservedColumnIDs else {
                throw Failure(.unsupported, "table \(table.name) has had too many columns")
            }
            return new
        }
        let declared = table.key.compactMap { key in
            columns.firstIndex { $0.keyPosition == table.columns[key].keyPosition }
        }
        var key = declared
        if !table.isWithoutRowID, !table.keyIsRowID, !isByDeclaredKey {
            key = [described.count]
            described.append(.hiddenRowID(beside: Set(columns.map { folded($0.name) })))
        }
        let schema = try TableSchema(columns: described, key: key, primaryKey: declared)
        return TableDescription(
            schema: schema, sql: table.sql, shadowOf: table.kind.owner, notes: notes,
            traits: table.traits(of: schema))
    }

    /// For each column the parent's that it continues: the one of its name, or the one that stood in
    /// its place and whose name is gone, as long as there are as many columns as before and not all
    /// names are new. SQLite doesn't tell a renamed column from another in its place; if it is
    /// another, its values will differ, and one that didn't need literals isn't to inherit them.
    private static func counterparts(of names: [String], in parent: TableSchema?) -> [Column?] {
        guard let olds = parent?.visibleColumns else { return names.map { _ in nil } }
        func isSame(_ a: String, _ b: String) -> Bool { a.utf8.elementsEqual(b.utf8) }
        let isRenaming =
            olds.count == names.count
            && olds.contains { old in names.contains { isSame($0, old.name) } }
        return names.enumerated().map { position, name in
            if let old = olds.first(where: { isSame($0.name, name) }) { return old }
            guard isRenaming else { return nil }
            let old = olds[position]
            return old.isLiteral || names.contains { isSame($0, old.name) } ? nil : old
        }
    }

    // MARK: Computed columns

    /// Why SQLite can't compute a column here, nil if it can: by a function of the application's, or
    /// from a value that makes the expression fail.
    private func fault(of column: TableDefinition.Column, inAllRows: Bool) throws -> String? {
        let name = quoted(column.name)
        do {
            if inAllRows {
                _ = try connection.integer("SELECT count(typeof(\(name))) FROM \(table.source)")
            } else {
                _ = try connection.prepare("SELECT \(name) FROM \(table.source)")
            }
            // What a stand-in says of two texts is no value of the application's.
            return try connection.foreignCollation(in: "SELECT \(name) FROM \(table.source)")
                .map { "it compares by \($0), a collation of the application's" }
        } catch let failure as Failure where failure.code == .system {
            return failure.message
        }
    }

    // MARK: Types

    /// Of a column that nobody has looked at but in the first row: its class there, else what its
    /// affinity says, and where that leaves it open Int64 for NUMERIC, Utf8 for none.
    private static func type(_ first: String?, _ affinity: Affinity) -> ColumnType {
        switch (first, affinity) {
        case ("integer", _): .int64
        case ("real", _): .double
        case ("text", _): .utf8
        case ("blob", _): .string
        default: affinity.type
        }
    }

    /// The storage class of the first value that isn't NULL, by position; of columns with an affinity
    /// only in the first row, of the others wherever it is.
    private func firstClasses(
        of columns: [TableDefinition.Column], _ olds: [Column?]
    ) throws -> [Int: String] {
        let wanted = columns.indices.filter { olds[$0] == nil }
        if wanted.isEmpty { return [:] }
        let names = wanted.map { quoted(columns[$0].name) }
        // Mostly the first row tells all; NULLs need a longer look.
        var found = try classes(
            "SELECT \(names.map { "typeof(\($0))" }.joined(separator: ", ")) "
                + "FROM \(table.source) LIMIT 1", wanted)
        if found.isEmpty { return [:] }
        found = found.filter { $0.value != "null" }
        for (position, name) in zip(wanted, names) where found[position] == nil {
            guard columns[position].affinity == .numeric || columns[position].affinity == .none
            else { continue }
            let sql =
                "SELECT typeof(\(name)) FROM \(table.source) WHERE \(name) IS NOT NULL LIMIT 1"
            try found.merge(classes(sql, [position])) { first, _ in first }
        }
        return found
    }

    /// The first row of a query of storage classes, by column.
    private func classes(_ sql: String, _ columns: [Int]) throws -> [Int: String] {
        try connection.sync { _ in
            let row = try connection.prepare(sql)
            guard try row.step() else { return [:] }
            let values = columns.indices.map { row.text(CInt(truncatingIfNeeded: $0)) }
            return Dictionary(uniqueKeysWithValues: zip(columns, values))
        }
    }

    /// What all rows hold in each column, by position: one pass.
    private func examine(_ columns: [TableDefinition.Column]) throws -> [Int: StoredClasses] {
        try connection.sync { _ in
            var found = [StoredClasses](repeating: [], count: columns.count)
            let names = columns.map { quoted($0.name) }.joined(separator: ", ")
            let row = try connection.prepare("SELECT \(names) FROM \(table.source)")
            while try row.step() {
                for position in columns.indices {
                    let value = sqlite3_column_value(row.handle, CInt(truncatingIfNeeded: position))
                    found[position].formUnion(StoredClasses(value, encoding: encoding))
                }
            }
            return Dictionary(uniqueKeysWithValues: found.enumerated().map { ($0, $1) })
        }
    }
}

extension Column {
    /// That of a table's rowid, beside columns with these folded names.
    static func hiddenRowID(beside names: Set<[UInt8]>) -> Column {
        var name = "__ydbfs_rowid"
        while names.contains(folded(name)) { name += "_" }
        return Column(id: TableSchema.rowIDColumnID, name: name, type: .int64, isHidden: true)
    }
}

extension SourceTable.Kind {
    fileprivate var owner: String? {
        if case .shadow(let owner) = self { owner } else { nil }
    }
}

extension Affinity {
    /// Of a column without values.
    fileprivate var type: ColumnType {
        switch self {
        case .integer, .numeric: .int64
        case .real: .double
        case .text, .none: .utf8
        case .blob: .string
        }
    }

    /// Whether SQLite stores a number without fraction as an integer in such a column, so that
    /// integers and other numbers may stand beside each other there without a difference in meaning.
    var turnsWholeToIntegers: Bool { self == .integer || self == .numeric }
}

/// What values a column holds, as far as its type depends on it.
struct StoredClasses: OptionSet {
    let rawValue: UInt8

    static let integer = StoredClasses(rawValue: 1)
    /// That Double doesn't hold exactly.
    static let largeInteger = StoredClasses(rawValue: 2)
    static let real = StoredClasses(rawValue: 4)
    /// One that SQLite would store as an integer, where it has the choice.
    static let wholeReal = StoredClasses(rawValue: 8)
    static let text = StoredClasses(rawValue: 16)
    /// Not well-formed, or with NUL.
    static let otherText = StoredClasses(rawValue: 32)
    static let blob = StoredClasses(rawValue: 64)

    /// The type that takes all of them; literals if none does.
    func type(of affinity: Affinity, parent: ColumnType?) -> (ColumnType, isLiteral: Bool) {
        switch self {
        case []: return (parent ?? affinity.type, false)
        case .text: return (.utf8, false)
        case .blob: return (.string, false)
        default: break
        }
        if isSubset(of: [.integer, .largeInteger]) { return (.int64, false) }
        if affinity.turnsWholeToIntegers {
            return isSubset(of: [.integer, .real]) ? (.double, false) : (.utf8, true)
        }
        return isSubset(of: [.real, .wholeReal]) ? (.double, false) : (.utf8, true)
    }
}
