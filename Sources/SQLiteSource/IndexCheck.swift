import Bytes

/// Whether the indexes of a table say what the table says. Backups read the table itself, so that a
/// damaged index does them no harm; the programs that use the database aren't so lucky.
struct IndexCheck {
    private let connection: Connection
    private let table: TableDefinition

    private struct Index {
        var name: String
        /// Of expressions, or of some rows only.
        var isPlain: Bool
        var rootPage: Int64
        /// Columns and how each is compared.
        var parts: [(column: String, collation: String)]
        /// A collation of the application's, whose order nobody else knows.
        var foreignCollation: String? {
            parts.map(\.collation).first { !Connection.isBuiltIn(collation: $0) }
        }
    }

    init(_ table: TableDefinition, _ connection: Connection) {
        self.table = table
        self.connection = connection
    }

    /// A line for each index that disagrees with the table, or that can't be checked.
    func lines() throws -> [String] {
        let indexes = try table.indexes.filter { !($0.isPrimaryKey && table.isWithoutRowID) }
            .map { try index($0.name) }
        if indexes.isEmpty { return [] }
        // Nil if SQLite's own check can't go through the table.
        let found = try messages()
        return try indexes.compactMap { index in
            if let collation = foreignCollation(of: index) {
                return notChecked(index, "only the application knows its collation \(collation)")
            }
            if let found {
                if let fault = found.first(where: { isAbout($0, index) }) {
                    return disagrees(index, fault)
                }
                // There is no end to what may be wrong with the table, but to the list of it.
                if found.count < Self.messageLimit { return nil }
            }
            return try compare(index)
        }
    }

    /// A collation of the application's that the index's order, its expressions or its condition need.
    private func foreignCollation(of index: Index) -> String? {
        if let known = index.foreignCollation { return known }
        // Where not even the program can be made, the index can't be checked for that reason.
        return try? connection.foreignCollation(in: "REINDEX main.\(quoted(index.name))")
    }

    private func disagrees(_ index: Index, _ what: String) -> String {
        let isWord = index.name.utf8.allSatisfy {
            (48...57).contains($0) || (65...90).contains($0 & 0xDF) || $0 == UInt8(ascii: "_")
        }
        return "index \(index.name) of \(table.name) disagrees with its table (\(what)): "
            + "REINDEX \(isWord ? index.name : quoted(index.name))"
    }

    private func notChecked(_ index: Index, _ reason: String) -> String {
        "index \(index.name) of \(table.name) not checked: \(reason)"
    }

    private func index(_ name: String) throws -> Index {
        let isWhole = try connection.integer(
            """
            SELECT NOT partial FROM pragma_index_list(\(literal(table.name)), 'main')
            WHERE name = \(literal(name))
            """)
        let parts = try connection.rows(
            """
            SELECT cid, name, coll FROM pragma_index_xinfo(\(literal(name)), 'main') WHERE key
            ORDER BY seqno
            """
        ) { (cid: $0.integer(0), column: $0.text(1), collation: $0.text(2)) }
        let root = try connection.integer(
            "SELECT rootpage FROM main.sqlite_schema WHERE type = 'index' AND name = \(literal(name))"
        )
        return Index(
            name: name, isPlain: isWhole == 1 && parts.allSatisfy { $0.cid >= 0 },
            rootPage: root ?? 0, parts: parts.map { ($0.column, $0.collation) })
    }

    // MARK: SQLite's own check

    private static let messageLimit = 100

    private func messages() throws -> [String]? {
        // A rule of today for rows of yesterday is no matter of an index.
        try connection.execute("PRAGMA ignore_check_constraints = ON")
        do {
            let lines = try connection.rows(
                "PRAGMA main.integrity_check(\(quoted(table.name)))"
            ) { $0.text(0) }
            return lines == ["ok"] ? [] : lines
        } catch let failure as Failure where failure.code == .cancelled {
            throw failure
        } catch {
            return nil
        }
    }

    private func isAbout(_ message: String, _ index: Index) -> Bool {
        message.hasSuffix("index \(index.name)") || message.contains("Tree \(index.rootPage) ")
    }

    // MARK: Ours

    /// What we see ourselves of an index, if not all of them can be checked.
    private func compare(_ index: Index) throws -> String? {
        guard index.isPlain else {
            return notChecked(
                index, "not every expression of the table's indexes can be computed here")
        }
        let whole = "main.\(quoted(table.name))"
        do {
            let count = try connection.integer("SELECT count(*) FROM \(whole) NOT INDEXED") ?? 0
            let entries =
                try connection.integer(
                    "SELECT sum(1) FROM \(whole) INDEXED BY \(quoted(index.name))") ?? 0
            if entries != count { return disagrees(index, "\(entries) entries for \(count) rows") }
            let lost =
                try connection.integer(
                    """
                    SELECT count(*) FROM \(whole) AS a NOT INDEXED WHERE NOT EXISTS (
                    SELECT 1 FROM \(whole) AS b INDEXED BY \(quoted(index.name))
                    WHERE \(sameRow(index).joined(separator: " AND ")))
                    """) ?? 0
            return lost > 0 ? disagrees(index, "\(lost) rows aren't in it") : nil
        } catch let failure as Failure where failure.code == .corrupt {
            return disagrees(index, "it is damaged")
        } catch let failure as Failure where failure.code != .cancelled {
            return notChecked(index, failure.message)
        }
    }

    private func sameRow(_ index: Index) -> [String] {
        let parts = index.parts.map { part in
            "b.\(quoted(part.column)) IS a.\(quoted(part.column)) COLLATE \(quoted(part.collation))"
        }
        let key = table.rowIDName.map { [$0] } ?? table.key.map { quoted(table.columns[$0].name) }
        return parts + key.map { "b.\($0) IS a.\($0)" }
    }
}

extension SQLiteCut {
    package func checkIndexes(
        _ path: String, isCancelled: @escaping @Sendable () -> Bool
    ) throws -> [String] {
        snapshot.connection.stop(when: isCancelled)
        return try IndexCheck(catalog.table(path), snapshot.connection).lines()
    }
}
