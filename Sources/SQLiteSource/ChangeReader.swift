import Bytes
import CSQLite
import Tables

/// Whether a captured table's log can be trusted between two cuts, and the rows it names.
struct ChangeReader {
    let snapshot: Snapshot
    let meta: CaptureMeta?
    let collection: String
    /// The nonce of this cut if its markers were written, nil if nothing was.
    let nonce: String?

    /// What to find again at the next cut: for each table whose capture is complete as of now.
    func state(_ catalog: Catalog) throws -> CaptureState {
        var database = DatabaseState(
            file: snapshot.identity, pageSize: snapshot.pageSize,
            schemaVersion: snapshot.schemaVersion)
        var tables: [String: String] = [:]
        if let nonce, let meta, let interest = meta.collections[collection] {
            database.uuid = meta.uuid
            database.nonce = nonce
            for number in interest.logs {
                guard let log = meta.logs[number], let table = try? catalog.table(log.table),
                    let plan = try? CapturePlan(table, snapshot.connection),
                    try doubt(plan, number) == nil
                else { continue }
                tables[log.table] = try toJSON(
                    TableState(
                        log: number, epoch: log.epoch, seq: try lastKey(number),
                        definition: plan.definition))
            }
        }
        return CaptureState(database: try toJSON(database), tables: tables)
    }

    private func lastKey(_ number: Int) throws -> Int64 {
        let log = CapturePlan.logName(number)
        return try snapshot.connection.integer("SELECT max(seq) FROM main.\(log)") ?? 0
    }

    /// Whether the marker of the parent's cut is still there: what is never pruned.
    private func holds(_ marker: Int64, _ number: Int) throws -> Bool {
        guard try isThere(number) else { return false }
        let sql = """
            SELECT 1 FROM main.\(CapturePlan.logName(number)) WHERE seq = \(marker) AND k1 IS NULL
            """
        return try snapshot.connection.integer(sql) != nil
    }

    private func isThere(_ number: Int) throws -> Bool {
        try snapshot.connection.integer(
            """
            SELECT 1 FROM main.sqlite_schema
            WHERE type = 'table' AND name = \(literal(CapturePlan.logName(number)))
            """) != nil
    }

    /// Why the log can't be used in this snapshot, nil if it can.
    private func doubt(_ plan: CapturePlan, _ number: Int) throws -> String? {
        guard try isInstalled(plan, number, snapshot.connection) else {
            return "its triggers are gone or were changed"
        }
        guard let attempt = meta?.collections[collection]?.attempt, attempt.nonce == nonce,
            let marker = attempt.seqs["\(number)"], try lastKey(number) >= marker
        else { return "the marker of this cut is missing" }
        return nil
    }

    /// The keys logged since the parent, or the first doubt about them.
    func changes(
        _ table: TableDefinition, schema: TableSchema, since parent: CaptureState
    ) throws -> Changes {
        guard let nonce, let meta, let number = meta.number(of: table.name),
            let log = meta.logs[number]
        else {
            return .scan(reason: "changes of \(table.name) are not captured", isDoubt: false)
        }
        guard let old: DatabaseState = try? fromJSON(parent.database),
            let text = parent.tables[table.name], let mine: TableState = try? fromJSON(text)
        else {
            return .scan(
                reason: "changes of \(table.name) were not captured at the parent", isDoubt: false)
        }
        func scan(_ why: String) -> Changes {
            .scan(reason: "\(table.name): \(why)", isDoubt: true)
        }
        if old.file != snapshot.identity || old.pageSize != snapshot.pageSize
            || old.uuid != meta.uuid
        {
            return scan("the database file was replaced")
        }
        if old.schemaVersion != snapshot.schemaVersion { return scan("the schema was changed") }
        let interest = meta.collections[collection]
        guard let committed = interest?.committed, committed.nonce == old.nonce else {
            return scan("the database doesn't know the parent as its newest point")
        }
        if interest?.attempt?.nonce != nonce { return scan("another backup is being taken") }
        // Numbers of a log only grow: the parent's marker is there, and this cut's lies behind all
        // that the parent saw.
        guard mine.log == number, mine.epoch == log.epoch,
            let marker = committed.seqs["\(number)"], try holds(marker, number),
            let newMarker = interest?.attempt?.seqs["\(number)"], newMarker > mine.seq
        else { return scan("its log was started anew") }
        let plan: CapturePlan
        do {
            plan = try CapturePlan(table, snapshot.connection)
        } catch let failure as Failure where failure.code == .unsupported {
            return scan(failure.message)
        }
        if plan.definition != mine.definition { return scan("its definition was changed") }
        if let doubt = try doubt(plan, number) { return scan(doubt) }
        return .keys(
            try LogCursor(
                snapshot, table: table, schema: schema, log: number, after: mine.seq,
                collations: plan.keyCollations))
    }
}

/// The rows whose keys are in a log, in key order, each key once.
final class LogCursor: ChangeCursor {
    private let connection: Connection
    private let reader: RowReader
    private let keys: Statement
    private let row: Statement
    private let keyCount: Int
    private var isAtEnd = false

    /// - Parameter collations: of the primary key's index, so that look-ups use it.
    fileprivate init(
        _ snapshot: Snapshot, table: TableDefinition, schema: TableSchema, log: Int, after: Int64,
        collations: [String]
    ) throws {
        connection = snapshot.connection
        reader = try RowReader(schema: schema, table: table.name, encoding: snapshot.encoding)
        keyCount = schema.key.count
        let names = schema.key.map { quoted(schema.columns[$0].name) }
        let logged = schema.key.indices.map { "k\($0 + 1)" }
        // First what is selected as the rows have it, then the stored key and its storage classes:
        // DISTINCT alone would take 1 and 1.0 for the same.
        let shown = zip(schema.key, logged).map {
            schema.columns[$0].isLiteral ? "ydbfs_literal(\($1))" : $1
        }
        let order = RowReader.order(schema, shown, encoding: snapshot.encoding)
        let stored = logged + logged.map { "typeof(\($0))" }
        keys = try connection.prepare(
            """
            SELECT DISTINCT \((shown + stored).joined(separator: ", "))
            FROM main.\(CapturePlan.logName(log)) WHERE seq > \(after) AND k1 IS NOT NULL
            ORDER BY \(order)
            """)
        let same = names.indices.map { position in
            let (name, value) = (names[position], "?\(position + 1)")
            let collated =
                position < collations.count ? "COLLATE \(quoted(collations[position]))" : ""
            return """
                \(name) \(collated) = \(value) AND \(name) COLLATE BINARY = \(value)
                AND typeof(\(name)) = typeof(\(value))
                """
        }
        row = try connection.prepare(
            """
            SELECT \(RowReader.expressions(schema).joined(separator: ", "))
            FROM main.\(quoted(table.name)) WHERE \(same.joined(separator: " AND "))
            """)
    }

    func next(
        into batch: RowBatch, present: inout [Bool], maxRows: Int, maxBytes: Int
    ) throws -> Bool {
        try connection.sync { _ in
            let start = batch.count
            var bytes = batch.byteCount
            let targets = RowReader.Targets(batch)
            while batch.count < maxRows, bytes <= maxBytes, !isAtEnd {
                guard try keys.step() else {
                    isAtEnd = true
                    break
                }
                for position in 0..<keyCount {
                    row.bind(
                        CInt(truncatingIfNeeded: position + 1),
                        column: CInt(truncatingIfNeeded: keyCount + position), of: keys)
                }
                defer { row.reset() }
                if try row.step() {
                    bytes += try reader.appendRow(of: row.open(), to: targets)
                    present.append(true)
                } else if reader.keyFits(try keys.open()) {
                    bytes += try reader.appendKey(of: keys.open(), to: batch.columns)
                    present.append(false)
                }
                // Else the row came and went since the parent: that table never held such a key.
            }
            return batch.count > start || !isAtEnd
        }
    }
}
