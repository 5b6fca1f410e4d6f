import Bytes

/// A table as `ydb tools restore` takes it: columns, key, and how large its lines are. What YDB can't hold
/// is said here.
///
/// The key is the declared one, unless it holds NULL at this point or YDB has no keys of its types: rows
/// that YDB took for one would vanish. Then, and without a declared key, it is the rowid, as a column of
/// its own in front.
package struct DumpTable: Sendable {
    package static let rowIDName = "__ydbfs_rowid"

    /// As lines have them.
    package let columns: [Column]
    /// Indices into `columns`, in key order.
    package let key: [Int]
    package let hasRowID: Bool

    static let recorded = RecordedSize(
        id: "dump", name: "the dump", version: 1, format: .dump,
        bytes: { sums, schema in
            let table = DumpTable(schema) {
                !sums.pages.columns.isEmpty && sums.pages.columns[$0].nulls > 0
            }
            return table.bytes(sums.pages)
        })

    /// - Parameter hasNulls: whether a visible column has NULLs at the point.
    init(_ schema: TableSchema, hasNulls: (Int) throws -> Bool) rethrows {
        let visible = Array(schema.visibleColumns)
        guard let rowID = schema.hiddenRowID else {
            (columns, key, hasRowID) = (visible, schema.key, false)
            return
        }
        if try Self.hasDumpedKey(schema, hasNulls) {
            (columns, key, hasRowID) = (visible, schema.primaryKey, false)
            return
        }
        var column = schema.columns[rowID]
        (column.name, column.isHidden) = (Self.rowIDName, false)
        (columns, key, hasRowID) = ([column] + visible, [0], true)
    }

    /// Whether a table with a hidden rowid is told apart by its declared key.
    private static func hasDumpedKey(
        _ schema: TableSchema, _ hasNulls: (Int) throws -> Bool
    ) rethrows -> Bool {
        guard mayHaveDumpedKey(schema) else { return false }
        return try !schema.primaryKey.contains(where: hasNulls)
    }

    private static func mayHaveDumpedKey(_ schema: TableSchema) -> Bool {
        !schema.primaryKey.isEmpty && schema.primaryKey.count <= maxKeyColumns
            && schema.primaryKey.allSatisfy { schema.columns[$0].type.isDumpedKey }
    }

    /// Bytes of the lines of rows with these sums.
    func bytes(_ sums: PageSums) -> UInt64 { sums.dumpBytes + (hasRowID ? sums.rowIDBytes : 0) }

    // MARK: What YDB can't hold

    private static let maxColumns = 200
    private static let maxKeyColumns = 30
    private static let maxNameBytes = 255
    private static let maxDepth = 32

    /// Why YDB can't have a table with these columns; nil if it can.
    package static func problem(_ schema: TableSchema) -> String? {
        let columns = schema.visibleColumns
        if columns.count + (schema.hiddenRowID == nil ? 0 : 1) > maxColumns {
            return "it has \(columns.count) columns, and YDB's tables at most \(maxColumns)"
        }
        for column in columns {
            if column.name.isEmpty || column.name.utf8.count > maxNameBytes {
                return "YDB has no column names of \(column.name.utf8.count) bytes"
            }
            if !column.name.utf8.allSatisfy(isColumnByte) {
                return "the column name \(column.name) has other characters than letters, "
                    + "digits, - and _"
            }
            if column.name.hasPrefix("__ydb_") {
                return "column names that begin with __ydb_, as \(column.name), are YDB's own"
            }
        }
        if schema.hiddenRowID != nil {
            if columns.contains(where: { $0.name == rowIDName }) {
                return "it has a column \(rowIDName) of its own"
            }
            return nil
        }
        if schema.key.count > maxKeyColumns {
            return
                "its key has \(schema.key.count) columns, and YDB's keys at most \(maxKeyColumns)"
        }
        if let column = schema.key.lazy.map({ schema.columns[$0] }).first(where: {
            !$0.type.isDumpedKey
        }) {
            return
                "its key column \(column.name) is of type \(column.type.name), and YDB has no such keys"
        }
        return nil
    }

    private static func isColumnByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "-"), UInt8(ascii: "_"): true
        default: false
        }
    }

    /// Files of a dump, which no table can be named like.
    private static let ownNames: Set = [
        "scheme.pb", "permissions.pb", "empty_dir", "incomplete", "incomplete.csv",
        // What an export has beside them.
        "backup.json", "SHA256SUMS",
    ]

    /// Why YDB can't have a table at this path; nil if it can.
    package static func problem(path: String) -> String? {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        if parts.count > maxDepth { return "it lies deeper than \(maxDepth) directories" }
        for part in parts {
            if part.isEmpty || part == "." || part == ".." || part.utf8.count > maxNameBytes
                || !part.utf8.allSatisfy({ 0x21...0x7E ~= $0 })
            {
                return
                    "its name has characters that YDB's names can't have, or is empty or too long"
            }
            if part.hasPrefix("__ydb_backup") {
                return "names that begin with __ydb_backup are YDB's own"
            }
            if ownNames.contains(String(part)) { return "a dump has files named \(part)" }
        }
        return nil
    }

    /// More of a table are none to YDB.
    package static let maxIndexes = 20

    /// Why YDB can't have an index over columns of a table; nil if it can.
    package static func problem(
        index name: String, on columns: [Int], of schema: TableSchema
    ) -> String? {
        if name.isEmpty || name.utf8.count > maxNameBytes || !name.utf8.allSatisfy(isColumnByte) {
            return "its name has other characters than letters, digits, - and _, or is too long"
        }
        if columns == schema.primaryKey { return "it is over what is the primary key" }
        if Set(columns).count < columns.count { return "it has a column twice" }
        let column = columns.lazy.map { schema.columns[$0] }.first { !$0.type.isDumpedKey }
        return column.map {
            "its column \($0.name) is of type \($0.type.name), and YDB has no such keys"
        }
    }

    // MARK: scheme.pb

    /// `Ydb.Table.CreateTableRequest` as text.
    package func scheme(_ traits: DumpedTraits) -> String {
        var text = ""
        for (index, column) in columns.enumerated() {
            let isNotNull = hasRowID && index == 0 || traits.notNull.contains(column.id)
            text += "columns {\n  name: \"\(column.name)\"\n"
            text +=
                isNotNull
                ? "  type { \(column.type.dumped) }\n  not_null: true\n"
                : "  type { optional_type { item { \(column.type.dumped) } } }\n"
            text += traits.columns[column.id]?.indented(by: "  ") ?? ""
            text += "}\n"
        }
        for index in key { text += "primary_key: \"\(columns[index].name)\"\n" }
        return text + traits.table
    }
}

extension ColumnType {
    /// Whether YDB's keys can be of the type.
    fileprivate var isDumpedKey: Bool {
        switch self {
        case .float, .double, .json, .jsonDocument, .yson, .tzDate, .tzDatetime, .tzTimestamp: false
        default: true
        }
    }
}

extension Snapshot {
    /// How a dump has the table, which YDB can hold. Reads nothing where the columns tell.
    package func dumpTable() throws -> DumpTable {
        try DumpTable(schema) { try root().sums.pages.columns[$0].nulls > 0 }
    }
}
