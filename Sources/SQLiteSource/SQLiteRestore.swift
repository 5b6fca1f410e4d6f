import Bytes
import CSQLite
import Glibc
import Tables

/// Tables being restored into a database that others may be using meanwhile.
///
/// Each is loaded into a hidden table `_ydbfs_restore_ID_N` with its constraints, in transactions of
/// bounded length, so that other writers get their turns; its indexes are built there as well. One
/// short transaction then gives everything its name: it changes the rows of `sqlite_schema` that
/// name the hidden tables to what the stored definitions say, word for word, which is what `ALTER
/// TABLE … RENAME` does too, but for its rewriting of quotes and of other objects that only mention
/// the name. Whatever stops a restore, nothing but hidden tables is left, which the next operation
/// removes.
final class SQLiteRestore: TableRestore {
    /// Seconds for which the database is locked at a time while it is loaded.
    private static let lockSeconds = 0.06
    /// The part of that time for which others may have it afterwards.
    private static let pauseShare = 0.15
    /// SQLite's memory for pages and for sorting while indexes are built.
    private static let cacheKiB = 16_384

    private struct HiddenTable {
        var source: RestoredTable
        var name: String
        var definition: ObjectText
        var indexes: [ObjectText]
        var triggers: [ObjectText]

        func indexName(_ number: Int) -> String { "\(name)_i\(number)" }
    }

    private let connection: Connection
    private let tables: [HiddenTable]
    private let attempt: RestoreAttempt
    /// Whether others may use the database.
    private let isShared: Bool
    private let patience: Double
    private let encoding: CInt
    private var current = 0
    private var insert: Statement?
    private var writer: RowWriter?
    /// When the open transaction began, in seconds; nil if there is none.
    private var lockedSince: Double?
    /// Bytes of rows that it has loaded.
    private var loadedBytes = 0
    private var pauseSeconds = 0.0
    private var isOver = false

    /// Takes over the connection.
    init(
        _ connection: Connection, _ tables: [RestoredTable], attempt: RestoreAttempt,
        isShared: Bool, patience: Double
    ) throws {
        self.connection = connection
        self.attempt = attempt
        self.isShared = isShared
        self.patience = patience
        self.tables = try tables.enumerated().map { number, table in
            let objects = try ObjectText.all(in: table.sql)
            let definitions = objects.filter { $0.kind == .table }
            guard let definition = definitions.first, definitions.count == 1 else {
                throw Failure(.corrupt, "\(table.path): its stored definition is not one table")
            }
            return HiddenTable(
                source: table, name: "\(HiddenNames.prefix)\(attempt.id)_\(number + 1)",
                definition: definition, indexes: objects.filter { $0.kind == .index },
                triggers: objects.filter { $0.kind == .trigger })
        }
        connection.stop(when: attempt.isCancelled)
        try connection.allowSchemaWrites()
        let isWAL = try connection.text("PRAGMA main.journal_mode") == "wal"
        try connection.execute("PRAGMA cache_size = -\(Self.cacheKiB)")
        // Rows once were in a table: what was true then isn't asked again.
        try connection.execute("PRAGMA ignore_check_constraints = ON")
        try connection.execute("PRAGMA foreign_keys = OFF")
        // What is hidden may be lost with the power, as long as the database itself can't be.
        if isWAL { try connection.execute("PRAGMA synchronous = NORMAL") }
        encoding =
            switch try connection.text("PRAGMA main.encoding") ?? "" {
            case "UTF-16le": 2
            case "UTF-16be": 3
            default: 1
            }
        try LiteralMaker.install(on: connection, encoding: encoding)
    }

    // MARK: Loading

    func begin(_ number: Int) throws {
        current = number
        let table = tables[number]
        // Foreign keys point nowhere yet: rows that nobody sees keep nobody from deleting others.
        try write {
            try connection.execute(
                table.definition.renamed(
                    to: table.name, table: (table.definition.name, table.name),
                    references: { _ in "\(HiddenNames.prefix)\(attempt.id)" }, countsUp: false))
        }
        let columns = try loadedColumns(table)
        let schema = table.source.schema
        let rowID = rowIDName(schema)
        let names = columns.map {
            schema.columns[$0].isHidden ? rowID : quoted(schema.columns[$0].name)
        }.joined(separator: ", ")
        let values = columns.indices.map { "?\($0 + 1)" }.joined(separator: ", ")
        insert = try connection.prepare(
            "INSERT INTO main.\(quoted(table.name))(\(names)) VALUES(\(values))")
        writer = try RowWriter(
            schema, columns: columns, table: table.source.path, connection: connection)
    }

    /// The columns that rows are inserted with: all but generated ones.
    private func loadedColumns(_ table: HiddenTable) throws -> [Int] {
        let found = try connection.rows(
            """
            SELECT name, hidden FROM pragma_table_xinfo(\(literal(table.name)), 'main')
            WHERE hidden <> 1
            """
        ) { (name: $0.text(0), isGenerated: $0.integer(1) >= 2) }
        let columns = table.source.schema.columns
        var loaded = columns.indices.filter { columns[$0].isHidden }
        for (position, column) in columns.enumerated() where !column.isHidden {
            guard let definition = found.first(where: { $0.name.hasSameBytes(as: column.name) })
            else {
                throw Failure(
                    .corrupt,
                    "\(table.source.path): its stored definition has other columns than rows")
            }
            if !definition.isGenerated { loaded.append(position) }
        }
        return loaded.sorted()
    }

    /// The name by which a table's rowid can be reached.
    private func rowIDName(_ schema: TableSchema) -> String {
        let taken = Set(schema.visibleColumns.map { folded($0.name) })
        return ["rowid", "_rowid_", "oid"].first { !taken.contains(Array($0.utf8)) } ?? "rowid"
    }

    func append(_ batch: RowBatch) throws {
        guard let writer, let insert else { preconditionFailure("no table was begun") }
        try write {
            try connection.sync { _ in try writer.insert(batch, by: insert) }
            loadedBytes += batch.byteCount
        }
    }

    func finish() throws -> any RowCursor {
        insert = nil
        writer = nil
        let table = tables[current]
        for (number, index) in table.indexes.enumerated() {
            try write {
                try connection.execute(
                    index.renamed(
                        to: table.indexName(number), table: (table.definition.name, table.name)))
            }
        }
        let schema = table.source.schema
        let columns = RowReader.expressions(schema, rowID: rowIDName(schema))
        let types = try connection.rows(
            "SELECT name, type FROM pragma_table_xinfo(\(literal(table.name)), 'main')"
        ) { (name: $0.text(0), affinity: Affinity(declared: $0.text(1))) }
        let affinities = schema.columns.map { column in
            types.first { $0.name.hasSameBytes(as: column.name) }?.affinity ?? .none
        }
        return try ScanCursor(
            connection,
            sql: "SELECT \(columns.joined(separator: ", ")) FROM main.\(quoted(table.name))",
            reader: RowReader(
                schema: schema, table: table.source.path, encoding: encoding, affinities: affinities
            ))
    }

    // MARK: Publishing

    func publish(views: String) throws -> [String] {
        var notes: [String] = []
        let views = try ObjectText.all(in: views)
        try unlock()
        if isShared { try connection.execute("PRAGMA synchronous = FULL") }
        try transaction {
            let obstacles = try HiddenNames.obstacles(to: tables.map(\.source), connection)
            if !obstacles.isEmpty {
                throw Failure(.exists, obstacles.joined(separator: "; "))
            }
            var taken = try HiddenNames.taken(connection)
            for table in tables { taken.insert(folded(table.source.target)) }
            let plans = tables.map { plan($0, &taken, &notes) }
            if tables.contains(where: \.definition.countsUp) { try makeSequenceTable() }
            try connection.execute("PRAGMA writable_schema = ON")
            defer { try? connection.execute("PRAGMA writable_schema = RESET") }
            try reveal(plans)
            let version = try connection.integer("PRAGMA main.schema_version") ?? 0
            // Others read the definitions anew, and so do we: if SQLite doesn't take them, this
            // throws and nothing has happened.
            try connection.execute("PRAGMA main.schema_version = \(version + 1)")
            try connection.execute("PRAGMA writable_schema = RESET")
            for table in tables {
                _ = try connection.integer(
                    "SELECT 1 FROM main.\(quoted(table.source.target)) LIMIT 1")
                if table.definition.countsUp { try continueCounting(table) }
            }
            let (shown, triggers) = (
                views.prefix { $0.kind == .view }, views.drop { $0.kind == .view }
            )
            for view in shown { try add(view, &notes) }
            for trigger in plans.flatMap(\.triggers) { try connection.execute(trigger) }
            for trigger in triggers { try add(trigger, &notes) }
        }
        end()
        return notes
    }

    /// Makes a view or a trigger of one, unless it is there: it may have outlived its tables.
    private func add(_ object: ObjectText, _ notes: inout [String]) throws {
        let found = try connection.rows(
            "SELECT sql FROM main.sqlite_schema WHERE name = \(literal(object.name)) COLLATE NOCASE"
        ) { $0.text(0) }.first
        guard let found else { return try connection.execute(object.sql) }
        let isSame = object.sql.hasSameBytes(as: found) || object.sql.hasSameBytes(as: found + "\n")
        if !isSame {
            notes.append("\(object.name) is there already, and is left as it is")
        }
    }

    /// What a hidden table becomes.
    private struct Published {
        var sql: String
        var indexes: [(name: String, sql: String)]
        var triggers: [String]
    }

    private func plan(
        _ table: HiddenTable, _ taken: inout Set<[UInt8]>, _ notes: inout [String]
    ) -> Published {
        let target = table.source.target
        guard table.source.isRenamed else {
            return Published(
                sql: table.definition.sql, indexes: table.indexes.map { ($0.name, $0.sql) },
                triggers: table.triggers.map(\.sql))
        }
        let names = (old: table.definition.name, new: target)
        func freeName(_ name: String) -> String {
            var free = "\(target)_\(name)"
            var number = 2
            while !taken.insert(folded(free)).inserted {
                free = "\(target)_\(name)_\(number)"
                number += 1
            }
            return free
        }
        let references = Dictionary(
            tables.map { (folded($0.definition.name), $0.source.target) },
            uniquingKeysWith: { first, _ in first })
        var published = Published(
            sql: table.definition.renamed(to: target, table: names, references: { references[$0] }),
            indexes: [], triggers: [])
        for index in table.indexes {
            let name = freeName(index.name)
            published.indexes.append((name, index.renamed(to: name, table: names)))
            notes.append("\(target): index \(index.name) is named \(name) here")
        }
        for trigger in table.triggers {
            if trigger.mentions(names.old) {
                notes.append(
                    "\(target): trigger \(trigger.name) is left out, because it names \(names.old)")
                continue
            }
            let name = freeName(trigger.name)
            published.triggers.append(trigger.renamed(to: name, table: names))
            notes.append("\(target): trigger \(trigger.name) is named \(name) here")
        }
        return published
    }

    /// Gives hidden tables and their indexes their names and definitions.
    private func reveal(_ plans: [Published]) throws {
        var known: [String: (name: String, table: String, sql: String?)] = [:]
        for (table, plan) in zip(tables, plans) {
            let target = table.source.target
            known[table.name] = (target, target, plan.sql)
            for (number, index) in plan.indexes.enumerated() {
                known[table.indexName(number)] = (index.name, target, index.sql)
            }
        }
        let hidden = "\(HiddenNames.prefix)\(attempt.id)_"
        let rows = try connection.rows(
            "SELECT rowid, name, tbl_name FROM main.sqlite_schema WHERE tbl_name LIKE '_ydbfs%'"
        ) { (row: $0.integer(0), name: $0.text(1), table: $0.text(2)) }
        let update = try connection.prepare(
            """
            UPDATE main.sqlite_schema SET name = ?2, tbl_name = ?3, sql = coalesce(?4, sql)
            WHERE rowid = ?1
            """)
        for row in rows where row.table.hasPrefix(hidden) {
            var new = known[row.name]
            // The indexes of constraints are numbered behind the table's name.
            let automatic = "sqlite_autoindex_\(row.table)"
            if new == nil, row.name.hasPrefix(automatic), let target = known[row.table]?.name {
                let number = row.name.dropFirst(automatic.count)
                new = ("sqlite_autoindex_\(target)\(number)", target, nil)
            }
            guard let new else { continue }
            update.reset()
            update.bind(1, row.row)
            update.bind(2, new.name)
            update.bind(3, new.table)
            if let sql = new.sql { update.bind(4, sql) } else { update.bindNull(4) }
            _ = try update.step()
        }
    }

    /// SQLite makes `sqlite_sequence` with the first table that needs it, and keeps it for ever.
    private func makeSequenceTable() throws {
        let name = "\(HiddenNames.prefix)\(attempt.id)_0"
        try connection.execute(
            "CREATE TABLE main.\(name)(id INTEGER PRIMARY KEY AUTOINCREMENT)")
        try connection.execute("DROP TABLE main.\(name)")
    }

    /// AUTOINCREMENT goes on behind the highest number that is there.
    private func continueCounting(_ table: HiddenTable) throws {
        let target = table.source.target
        let key = quoted(table.source.schema.columns[table.source.schema.key[0]].name)
        try connection.execute(
            "DELETE FROM main.sqlite_sequence WHERE name = \(literal(target))")
        try connection.execute(
            """
            INSERT INTO main.sqlite_sequence(name, seq) SELECT \(literal(target)), max(last, 0)
            FROM (SELECT max(\(key)) AS last FROM main.\(quoted(target))) WHERE last IS NOT NULL
            """)
    }

    // MARK: Transactions

    func abandon() {
        if isOver { return }
        connection.stop { false }
        if lockedSince != nil { try? connection.execute("ROLLBACK") }
        insert = nil
        writer = nil
        // A failure leaves them for the next operation; a file that nobody sees goes as a whole.
        if isShared { try? HiddenNames.drop(tables.map(\.name), connection) }
        end()
    }

    private func end() {
        isOver = true
        connection.close()
    }

    private func transaction(_ body: () throws -> Void) throws {
        try connection.sync { _ in
            try lock()
            do {
                try body()
                try retrying("COMMIT")
            } catch {
                try? connection.execute("ROLLBACK")
                throw error
            }
        }
    }

    private func lock() throws { try retrying("BEGIN IMMEDIATE") }

    /// Writes within the open transaction, or a new one after a pause for others; ends it if it has
    /// lasted long enough. Of many small tables, several come into one.
    private func write(_ body: () throws -> Void) throws {
        if lockedSince == nil {
            if pauseSeconds > 0 { usleep(UInt32(pauseSeconds * 1_000_000)) }
            try lock()
            lockedSince = Self.now()
        }
        try body()
        if Self.now() - lockedSince! > Self.lockSeconds { try unlock() }
    }

    /// Ends the transaction of `write`.
    private func unlock() throws {
        guard let since = lockedSince else { return }
        try retrying("COMMIT")
        lockedSince = nil
        if isShared { pauseSeconds = min(0.02, (Self.now() - since) * Self.pauseShare) }
        defer { loadedBytes = 0 }
        try attempt.hasWritten(loadedBytes)
    }

    /// Waits for locks of other programs in small steps, so that it can be cancelled.
    private func retrying(_ sql: String) throws {
        let start = Self.now()
        while true {
            do {
                return try connection.execute(sql)
            } catch let failure as Failure where failure.code == .busy {
                if attempt.isCancelled() { throw Failure(.cancelled, "cancelled on request") }
                if Self.now() - start > patience { throw failure }
            }
        }
    }

    private static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
