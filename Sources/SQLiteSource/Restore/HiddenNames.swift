import Bytes
import Tables

/// The names that restores hide tables under until they are published, and those in their way.
enum HiddenNames {
    /// `_ydbfs_restore_ATTEMPT_NUMBER`
    static let prefix = "_ydbfs_restore_"

    /// Hidden tables of attempts that are over.
    static func leftovers(
        _ connection: Connection, isGone: (_ attempt: String) -> Bool
    ) throws -> [String] {
        let names = try connection.rows(
            "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name LIKE '_ydbfs%'"
        ) { $0.text(0) }
        return names.filter { name in
            guard name.hasPrefix(prefix), let end = name.lastIndex(of: "_") else { return false }
            let attempt = name[..<end].dropFirst(prefix.count)
            return !attempt.isEmpty && isGone(String(attempt))
        }
    }

    /// Removes hidden tables, one after another, so that other writers get their turns.
    static func drop(_ names: [String], _ connection: Connection) throws {
        for name in names { try connection.execute("DROP TABLE IF EXISTS main.\(quoted(name))") }
    }

    /// Every name in the database, folded.
    static func taken(_ connection: Connection) throws -> Set<[UInt8]> {
        Set(try connection.rows("SELECT name FROM main.sqlite_schema") { folded($0.text(0)) })
    }

    /// The tables in which SQLite's planner keeps what ANALYZE found.
    static func isOfPlanner(_ name: String) -> Bool { hasPrefix(name, "sqlite_stat") }

    /// What is in the way of a restore: names that are taken or can't be given, a line each.
    static func obstacles(
        to restored: RestoredDatabase, _ connection: Connection?
    ) throws -> [String] {
        var objects: [[UInt8]: (type: String, table: String)] = [:]
        for (name, type, table) in try connection?.rows(
            "SELECT name, type, tbl_name FROM main.sqlite_schema",
            { ($0.text(0), $0.text(1), $0.text(2)) }) ?? []
        {
            objects[folded(name)] = (type, table)
        }
        var result: [String] = []
        var foreign: [[UInt8]: String] = [:]
        for table in restored.tables {
            if table.form != nil {
                let other = foreign.updateValue(table.target, forKey: folded(table.target))
                if let other {
                    result.append("\(other) and \(table.target) are one name to SQLite")
                }
            }
            // Another system gives names that SQLite keeps for itself.
            if table.isRenamed || table.form != nil, let reason = refusalOfNewName(table) {
                result.append(reason)
            }
            if isOfPlanner(table.target) { continue }
            if let found = objects[folded(table.target)] {
                result.append("\(found.type) \(table.target) exists already")
            }
            // A text that says nothing is the table's own fault, and it is left out for it.
            guard !table.isRenamed, let parts = try? ObjectText.all(in: table.sql) else { continue }
            for object in parts where object.kind != .table {
                guard let found = objects[folded(object.name)],
                    folded(found.table) != folded(table.target)
                else { continue }
                result.append(
                    "\(found.type) \(object.name) of \(found.table) has a name that \(table.target) "
                        + "needs")
            }
        }
        for object in (try? ObjectText.all(in: restored.views)) ?? []
        where object.kind == .virtualTable && restored.includes(virtualTable: object.name) {
            if let found = objects[folded(object.name)] {
                result.append("\(found.type) \(object.name) exists already")
            }
        }
        return result
    }

    private static func refusalOfNewName(_ table: RestoredTable) -> String? {
        if let owner = table.shadowOf {
            return
                "\(table.path) holds content of virtual table \(owner), which finds it by its name"
        }
        return SQLiteNames().allow(table.target) ? nil : "no table can be named \(table.target)"
    }
}

/// SQLite's rules for names (sqlite.org/lang_createtable.html), and ours.
struct SQLiteNames: TableNameRules {
    func allow(_ name: String) -> Bool {
        !name.isEmpty && !name.utf8.contains(0) && !hasPrefix(name, "sqlite_") && !isOurs(name)
    }

    func identity(of name: String) -> [UInt8] { folded(name) }
}
