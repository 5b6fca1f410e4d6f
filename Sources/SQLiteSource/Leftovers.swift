import Bytes

/// What versions of ydbfs that captured changes by triggers have left in a database: triggers
/// `_ydbfs_…`, tables `_ydbfs_log_…` and `_ydbfs_meta`. Nothing needs them any more; they cost the
/// application time, and aren't backed up.
extension SQLiteSource {
    /// The statements that remove it, triggers first; empty if there is nothing.
    package func leftoverRemoval() throws -> [String] {
        let snapshot = try Snapshot(file)
        defer { snapshot.close() }
        return try Self.removal(snapshot.connection)
    }

    /// Removes it; returns the statements that did.
    package func removeLeftoverCapture() throws -> [String] {
        let connection = try file.openWriter()
        defer { connection.close() }
        try connection.execute("BEGIN IMMEDIATE")
        let statements = try Self.removal(connection)
        for statement in statements { try connection.execute(statement) }
        try connection.execute("COMMIT")
        return statements
    }

    private static func removal(_ connection: Connection) throws -> [String] {
        let objects = try connection.rows(
            """
            SELECT type, name FROM main.sqlite_schema WHERE type IN ('trigger', 'table')
            AND name LIKE '!_ydbfs!_%' ESCAPE '!' ORDER BY type <> 'trigger', rowid
            """
        ) { (type: $0.text(0), name: $0.text(1)) }
        // Tables that are being restored are hidden under such names too, and are removed otherwise.
        return objects.filter { isOurs($0.name) && !hasPrefix($0.name, HiddenNames.prefix) }.map {
            "DROP \($0.type.uppercased()) \(quoted($0.name))"
        }
    }
}
