import Bytes
import CSQLite
import Tables

/// How SQLite's tables become ours: which can be backed up, and the types of their columns.
struct Describing {
    let connection: Connection

    /// Why a table can't be backed up, nil if it can. Looks at the data where the definition leaves
    /// it open.
    func refusal(_ table: TableDefinition) throws -> String? {
        if table.columns.isEmpty || table.key.isEmpty {
            return "table \(table.name) has no PRIMARY KEY: give it one, or leave the table out"
        }
        for column in table.nullableKey.map({ table.columns[$0].name }) {
            let sql = """
                SELECT 1 FROM main.\(quoted(table.name)) WHERE \(quoted(column)) IS NULL LIMIT 1
                """
            if try connection.integer(sql) != nil { return nullInKeyWords(table.name, column) }
        }
        return nil
    }

    func schema(
        _ table: TableDefinition, parent: TableSchema?, nextColumnID: UInt32, literals: Set<String>
    ) throws -> TableSchema {
        let olds = Self.counterparts(of: table.columns.map(\.name), in: parent)
        let isLiteral = zip(table.columns, olds).map { column, old in
            old?.isLiteral == true || literals.contains(column.name)
        }
        let open = table.columns.indices.filter { position in
            let affinity = table.columns[position].affinity
            return !isLiteral[position] && (affinity == .numeric || affinity == .none)
        }
        let classes = try firstClasses(of: open, in: table, sampled: parent != nil)
        var nextID = nextColumnID
        let columns = try table.columns.enumerated().map { position, column in
            let old = olds[position]
            let found: (type: ColumnType, isLiteral: Bool) =
                isLiteral[position]
                ? (.utf8, true)
                : try type(of: column, in: table, first: classes[position], parent: old)
            var new = Column(
                id: nextID, name: column.name, type: found.type, isLiteral: found.isLiteral)
            if let old, old.type == found.type, old.isLiteral == found.isLiteral {
                new.id = old.id
                new.standIn = old.standIn
            } else {
                nextID += 1
            }
            return new
        }
        return try TableSchema(columns: columns, key: table.key)
    }

    /// For each column the parent's that it continues: the one of its name, or the one that stood in
    /// its place and whose name is gone, as long as there are as many columns as before and not all
    /// names are new. SQLite doesn't tell a renamed column from another in its place; if it is
    /// another, its values will differ, and one that didn't need literals isn't to inherit them.
    private static func counterparts(of names: [String], in parent: TableSchema?) -> [Column?] {
        guard let parent else { return names.map { _ in nil } }
        func isSame(_ a: String, _ b: String) -> Bool { a.utf8.elementsEqual(b.utf8) }
        let isRenaming =
            parent.columns.count == names.count
            && parent.columns.contains { old in names.contains { isSame($0, old.name) } }
        return names.enumerated().map { position, name in
            if let old = parent.columns.first(where: { isSame($0.name, name) }) { return old }
            guard isRenaming else { return nil }
            let old = parent.columns[position]
            return old.isLiteral || names.contains { isSame($0, old.name) } ? nil : old
        }
    }

    /// The type that affinity says. Without one, the storage class of the first value, which a scan
    /// holds all others to; and as long as there is no value, Int64 for NUMERIC, Utf8 for none.
    private func type(
        of column: TableDefinition.Column, in table: TableDefinition, first: String?,
        parent: Column?
    ) throws -> (ColumnType, Bool) {
        switch column.affinity {
        case .integer: return (.int64, false)
        case .real: return (.double, false)
        case .text: return (.utf8, false)
        case .blob: return (.string, false)
        case .numeric, .none: break
        }
        guard let first else {
            return (parent?.type ?? (column.affinity == .numeric ? .int64 : .utf8), false)
        }
        let type: ColumnType =
            switch first {
            case "integer": .int64
            case "real": .double
            case "text": .utf8
            default: .string
            }
        if let parent, parent.type != type {
            // The parent's type was a guess for a column without values, or the column changed.
            let sql = """
                SELECT 1 FROM main.\(quoted(table.name)) WHERE \(quoted(column.name)) IS NOT NULL
                AND typeof(\(quoted(column.name))) <> '\(first)' LIMIT 1
                """
            if try connection.integer(sql) != nil { return (.utf8, true) }
        }
        return (type, false)
    }

    /// The storage class of the first value that isn't NULL, by column.
    /// - Parameter sampled: look at the first 1,000 rows only, so that describing stays cheap.
    private func firstClasses(
        of columns: [Int], in table: TableDefinition, sampled: Bool
    ) throws -> [Int: String] {
        if columns.isEmpty { return [:] }
        let names = columns.map { quoted(table.columns[$0].name) }
        let rows = "FROM main.\(quoted(table.name))"
        // Mostly the first row tells all; NULLs need a longer look.
        var found = try classes(
            "SELECT \(names.map { "typeof(\($0))" }.joined(separator: ", ")) \(rows) LIMIT 1",
            columns)
        let isEmpty = found.isEmpty
        found = found.filter { $0.value != "null" }
        if isEmpty { return [:] }
        for (position, name) in zip(columns, names) where found[position] == nil {
            let sample = "SELECT \(name) \(rows)\(sampled ? " LIMIT 1000" : "")"
            let sql = "SELECT typeof(\(name)) FROM (\(sample)) WHERE \(name) IS NOT NULL LIMIT 1"
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
}
