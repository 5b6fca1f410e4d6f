import Bytes
import Tables

/// What stands on no single table, and comes back with the others in one transaction: virtual tables,
/// views, and all triggers.
struct SharedObjects {
    private let virtualTables: [ObjectText]
    private let views: [ObjectText]
    private let viewTriggers: [ObjectText]
    /// What the user should know of their texts.
    let notes: [String]

    /// - Parameter missing: virtual tables that can't be restored.
    init(_ restored: RestoredDatabase, without missing: Set<String>) {
        let objects = (try? ObjectText.all(in: restored.views)) ?? []
        notes =
            objects.isEmpty && !restored.views.isEmpty
            ? ["views and virtual tables are left out: their stored definitions can't be read"] : []
        virtualTables = objects.filter { object in
            object.kind == .virtualTable && !missing.contains(object.name)
                && restored.includes(virtualTable: object.name)
        }
        views = restored.isWhole ? objects.filter { $0.kind == .view } : []
        viewTriggers = restored.isWhole ? objects.filter { $0.kind == .trigger } : []
    }

    /// Writes them into `sqlite_schema`, which may be written: their content is there already.
    func addVirtualTables(_ connection: Connection) throws {
        let insert = try connection.prepare(
            """
            INSERT INTO main.sqlite_schema(type, name, tbl_name, rootpage, sql)
            VALUES ('table', ?1, ?1, 0, ?2)
            """)
        for table in virtualTables {
            insert.reset()
            insert.bind(1, table.name)
            insert.bind(2, table.sql)
            _ = try insert.step()
        }
    }

    /// Those that don't open here.
    func notesOfVirtualTables(
        _ connection: Connection, _ reason: (Failure) -> String
    ) -> [String] {
        virtualTables.compactMap { table in
            do {
                _ = try connection.prepare("SELECT 1 FROM main.\(quoted(table.name)) LIMIT 1")
                return nil
            } catch {
                let failure = error as? Failure ?? Failure(.system, "\(error)")
                return "virtual table \(table.name) is there, but can't be used here: "
                    + reason(failure)
            }
        }
    }

    /// Makes views, and triggers of tables and views, unless they are there: a view may have outlived
    /// its tables. Answers notes.
    func addViews(
        _ connection: Connection, triggers: [(name: String, sql: String)],
        _ reason: (Failure) -> String
    ) throws -> [String] {
        var notes: [String] = []
        let all =
            views.map { ("view", $0.name, $0.sql) } + triggers.map { ("trigger", $0.name, $0.sql) }
            + viewTriggers.map { ("trigger", $0.name, $0.sql) }
        var made: [(type: String, name: String, sql: String)] = []
        for (type, name, sql) in all {
            let found = try connection.rows(
                "SELECT sql FROM main.sqlite_schema WHERE name = \(literal(name)) COLLATE NOCASE"
            ) { $0.text(0) }.first
            if let found {
                if !found.hasSameBytes(as: sql) {
                    notes.append("\(name) is there already, and is left as it is")
                }
                continue
            }
            do {
                try connection.execute(sql)
                made.append((type, name, sql))
            } catch let failure as Failure where failure.code == .system {
                notes.append("\(type) \(name) is left out: \(reason(failure))")
            }
        }
        try restoreTexts(made, connection)
        return notes
    }

    /// SQLite cuts the end of some texts off as it stores them: they come back as they were.
    private func restoreTexts(
        _ objects: [(type: String, name: String, sql: String)], _ connection: Connection
    ) throws {
        var changed: [(type: String, name: String, sql: String)] = []
        for object in objects {
            let stored = try connection.text(
                """
                SELECT sql FROM main.sqlite_schema
                WHERE type = \(literal(object.type)) AND name = \(literal(object.name))
                """)
            if stored.map({ !$0.hasSameBytes(as: object.sql) }) ?? false { changed.append(object) }
        }
        if changed.isEmpty { return }
        try connection.execute("PRAGMA writable_schema = ON")
        defer { try? connection.execute("PRAGMA writable_schema = OFF") }
        let update = try connection.prepare(
            "UPDATE main.sqlite_schema SET sql = ?3 WHERE type = ?1 AND name = ?2")
        for object in changed {
            update.reset()
            update.bind(1, object.type)
            update.bind(2, object.name)
            update.bind(3, object.sql)
            _ = try update.step()
        }
    }
}
