import Bytes
import GRDBSQLite
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
        var nextID = nextColumnID
        let columns = try table.columns.map { column in
            let old = parent?.columns.first { $0.name.utf8.elementsEqual(column.name.utf8) }
            let isLiteral = old?.isLiteral == true || literals.contains(column.name)
            let found: (type: ColumnType, isLiteral: Bool) =
                isLiteral ? (.utf8, true) : try type(of: column, in: table, parent: old)
            if let old, old.type == found.type, old.isLiteral == found.isLiteral { return old }
            defer { nextID += 1 }
            return Column(
                id: nextID, name: column.name, type: found.type, isLiteral: found.isLiteral)
        }
        return try TableSchema(columns: columns, key: table.key)
    }

    /// The type that affinity says. Without one, the storage class of the first value, which a scan
    /// holds all others to; and as long as there is no value, Int64 for NUMERIC, Utf8 for none.
    private func type(
        of column: TableDefinition.Column, in table: TableDefinition, parent: Column?
    ) throws -> (ColumnType, Bool) {
        switch column.affinity {
        case .integer: return (.int64, false)
        case .real: return (.double, false)
        case .text: return (.utf8, false)
        case .blob: return (.string, false)
        case .numeric, .none: break
        }
        guard let first = try firstClass(of: column, in: table, sampled: parent != nil) else {
            return (parent?.type ?? (column.affinity == .numeric ? .int64 : .utf8), false)
        }
        if let parent, parent.type != first.type {
            // The parent's type was a guess for a column without values, or the column changed.
            let sql = """
                SELECT 1 FROM main.\(quoted(table.name)) WHERE \(quoted(column.name)) IS NOT NULL
                AND typeof(\(quoted(column.name))) <> '\(first.name)' LIMIT 1
                """
            if try connection.integer(sql) != nil { return (.utf8, true) }
        }
        return (first.type, false)
    }

    /// The storage class of the first value that isn't NULL.
    /// - Parameter sampled: look at the first 1,000 rows only, so that describing stays cheap.
    private func firstClass(
        of column: TableDefinition.Column, in table: TableDefinition, sampled: Bool
    ) throws -> (name: String, type: ColumnType)? {
        let name = quoted(column.name)
        let sample = "SELECT \(name) FROM main.\(quoted(table.name))"
        let rows = sampled ? "(\(sample) LIMIT 1000)" : "(\(sample))"
        guard
            let found = try connection.text(
                "SELECT typeof(\(name)) FROM \(rows) WHERE \(name) IS NOT NULL LIMIT 1")
        else { return nil }
        switch found {
        case "integer": return (found, .int64)
        case "real": return (found, .double)
        case "text": return (found, .utf8)
        default: return (found, .string)
        }
    }
}
