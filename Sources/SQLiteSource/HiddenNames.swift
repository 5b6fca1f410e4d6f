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

    /// What is in the way of tables: names that are taken or can't be given, a line each.
    static func obstacles(
        to tables: [RestoredTable], _ connection: Connection?
    ) throws -> [String] {
        var objects: [[UInt8]: (type: String, table: String)] = [:]
        for (name, type, table) in try connection?.rows(
            "SELECT name, type, tbl_name FROM main.sqlite_schema",
            { ($0.text(0), $0.text(1), $0.text(2)) }) ?? []
        {
            objects[folded(name)] = (type, table)
        }
        var result: [String] = []
        for table in tables {
            if let found = objects[folded(table.target)] {
                result.append("\(found.type) \(table.target) exists already")
            }
            if table.isRenamed { continue }
            for object in try ObjectText.all(in: table.sql) where object.kind != .table {
                guard let found = objects[folded(object.name)],
                    folded(found.table) != folded(table.target)
                else { continue }
                result.append(
                    "\(found.type) \(object.name) of \(found.table) has a name that \(table.target) "
                        + "needs")
            }
        }
        return result
    }
}
