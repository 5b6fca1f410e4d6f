import Bytes
import CSQLite
import Tables

/// Tables being restored into a database that others may be using meanwhile.
///
/// Each is loaded into a hidden table `_ydbfs_restore_ID_N` (`HiddenTable` says how), in transactions of
/// bounded length, so that other writers get their turns; its indexes are built and it is checked there
/// as well. One short transaction then gives everything its name (`Publishing`). A table that doesn't
/// load or isn't right is left out and the others go on. Whatever stops a restore, nothing but hidden
/// tables is left, which the next operation removes.
final class SQLiteRestore: TableRestore {
    /// SQLite's memory for pages and for sorting while indexes are built.
    private static let cacheKiB = 16_384
    /// Rows of a table that take more than a moment to go through.
    private static let manyRows = 2000

    let connection: Connection
    /// What the user calls the database.
    let name: String
    let restored: RestoredDatabase
    let attempt: RestoreAttempt
    /// Whether others may use the database.
    let isShared: Bool
    let turns: WriteTurns
    /// By number; nil for one whose text is no table's, or that isn't restored here.
    var tables: [HiddenTable?]
    /// Why a table has no place in `tables`.
    private var unreadable: [Int: Failure] = [:]
    private let encoding: CInt
    private var current = 0
    private var insert: Statement?
    private var writer: RowWriter?
    /// Whether all texts are settled.
    private var isSettled = false
    private var isOver = false

    /// Takes over the connection.
    init(
        _ connection: Connection, _ restored: RestoredDatabase, name: String,
        attempt: RestoreAttempt, isShared: Bool, patience: Double
    ) throws {
        self.connection = connection
        self.name = name
        self.restored = restored
        self.attempt = attempt
        self.isShared = isShared
        turns = WriteTurns(
            connection, isShared: isShared, patience: patience, attempt: attempt)
        let collations = Set(
            try connection.rows("SELECT name FROM pragma_collation_list") { folded($0.text(0)) })
        tables = []
        for (number, table) in restored.tables.enumerated() {
            guard !isShared || !HiddenNames.isOfPlanner(table.target) else {
                tables.append(nil)
                continue
            }
            do throws(any Error) {
                let name = "\(HiddenNames.prefix)\(attempt.id)_\(number + 1)"
                tables.append(try HiddenTable(table, name: name, collations: collations))
            } catch let failure as Failure {
                tables.append(nil)
                unreadable[number] = failure
            }
        }
        connection.stop(when: attempt.isCancelled)
        try connection.allowSchemaWrites()
        let isWAL = try connection.text("PRAGMA main.journal_mode") == "wal"
        try connection.execute("PRAGMA cache_size = -\(Self.cacheKiB)")
        try connection.execute("PRAGMA foreign_keys = OFF")
        // What is hidden may be lost with the power, as long as the database itself can't be.
        if isWAL { try connection.execute("PRAGMA synchronous = NORMAL") }
        encoding = try connection.encoding()
        try LiteralMaker.install(on: connection, encoding: encoding)
    }

    /// Runs what concerns one table. Its failures name the table as the user knows it.
    func about<R>(_ number: Int, _ body: (HiddenTable) throws -> R) throws -> R {
        if let failure = unreadable[number] { throw failure }
        guard let table = tables[number] else { preconditionFailure("not a table to restore") }
        do {
            return try body(table)
        } catch let failure as Failure {
            throw Failure(failure.code, words(failure, table))
        }
    }

    /// A message with the names that the user knows.
    func words(_ failure: Failure, _ table: HiddenTable?) -> String {
        let message = failure.message.replacing(connection.path, with: name)
        return table?.withoutHiddenNames(message) ?? message
    }

    /// What SQLite said, without what every message has.
    func reason(_ failure: Failure, _ table: HiddenTable?) -> String {
        var words = words(failure, table)
        if let start = words.firstRange(of: "\(name): ") {
            words = String(words[start.upperBound...])
        }
        if let end = words.ranges(of: " (SQLite error").last {
            words = String(words[..<end.lowerBound])
        }
        return words
    }

    // MARK: Loading

    func isRestored(_ number: Int) -> Bool { tables[number] != nil || unreadable[number] != nil }

    func begin(_ number: Int) throws {
        insert = nil
        writer = nil
        current = number
        try about(number) { table in
            try turns.write { try connection.execute(table.bare()) }
            let columns = table.loadedColumns
            let stored = table.source.schema.columns
            let names = columns.map { column in
                stored[column].isHidden ? table.rowIDName ?? "" : quoted(stored[column].name)
            }.joined(separator: ", ")
            let values = columns.indices.map { "?\($0 + 1)" }.joined(separator: ", ")
            insert = try connection.prepare(
                "INSERT INTO main.\(quoted(table.name))(\(names)) VALUES(\(values))")
            writer = try RowWriter(
                table.source.schema, columns: columns, affinities: table.affinities,
                encoding: encoding)
        }
    }

    func append(_ batch: RowBatch) throws {
        guard let writer, let insert else { preconditionFailure("no table was begun") }
        try about(current) { _ in
            try turns.write(bytes: batch.byteCount) {
                try connection.sync { _ in try writer.insert(batch, by: insert) }
            }
        }
        tables[current]?.count(batch)
    }

    // MARK: What rests on rows

    func inspect(_ number: Int) throws -> any RowCursor {
        insert = nil
        writer = nil
        try settle()
        return try about(number) { table in
            if let reason = table.leftOut { throw Failure(.corrupt, reason) }
            try buildIndexes(number, table)
            // Others may write while much is read.
            if table.rows > Self.manyRows { try turns.end() }
            try checkStructure(number, table)
            try checkLaws(number, table)
            let columns = RowReader.expressions(table.source.schema, rowID: table.rowIDName)
            return try ScanCursor(
                connection,
                sql: "SELECT \(columns.joined(separator: ", ")) FROM main.\(quoted(table.name)) "
                    + "NOT INDEXED",
                reader: RowReader(
                    schema: table.source.schema, table: table.source.target, encoding: encoding,
                    affinities: table.affinities))
        }
    }

    /// Gives hidden tables their real types and generated columns. SQLite reads all definitions anew for
    /// that, so that it is done for all of them at once.
    private func settle() throws {
        if isSettled { return }
        let changed = tables.indices.filter { number in
            guard let table = tables[number], table.leftOut == nil else { return false }
            return table.settled() != table.bare()
        }
        if !changed.isEmpty {
            do {
                try settle(changed)
            } catch let failure as Failure where failure.code == .corrupt || failure.code == .system
            {
                for number in changed {
                    do {
                        try settle([number])
                    } catch let failure as Failure
                        where failure.code == .corrupt || failure.code == .system
                    {
                        tables[number]!.leftOut = reason(failure, tables[number])
                    }
                }
            }
        }
        isSettled = true
    }

    private func settle(_ numbers: [Int]) throws {
        do {
            try turns.transaction {
                let changed = numbers.compactMap { tables[$0] }
                let before = try changed.map { try indexes(of: $0.name) }
                try withWritableSchema {
                    let update = try connection.prepare(
                        """
                        UPDATE main.sqlite_schema SET sql = ?2 WHERE name = ?1 AND type = 'table'
                        """)
                    for table in changed {
                        update.reset()
                        update.bind(1, table.name)
                        update.bind(2, table.settled())
                        _ = try update.step()
                    }
                }
                // An index that SQLite takes for another one would be a false one.
                for (table, before) in zip(changed, before)
                where try indexes(of: table.name) != before {
                    throw Self.doesNotFit
                }
            }
        } catch {
            // What was read of definitions that are undone by now.
            try? connection.execute("PRAGMA writable_schema = RESET")
            throw error
        }
    }

    static let doesNotFit = Failure(
        .corrupt, "its stored definition doesn't fit what was made by it")

    /// Lets `body` write definitions, and reads them anew: if SQLite doesn't take them, this throws.
    func withWritableSchema(_ body: () throws -> Void) throws {
        try connection.execute("PRAGMA writable_schema = ON")
        do {
            try body()
        } catch {
            try? connection.execute("PRAGMA writable_schema = OFF")
            throw error
        }
        // Others read the definitions anew as well.
        let version = try connection.integer("PRAGMA main.schema_version") ?? 0
        try connection.execute("PRAGMA main.schema_version = \((version + 1) & 0x7FFF_FFFF)")
        try connection.execute("PRAGMA writable_schema = RESET")
        _ = try connection.integer("SELECT count(*) FROM main.sqlite_schema")
    }

    private func buildIndexes(_ number: Int, _ table: HiddenTable) throws {
        for (position, index) in table.indexes.enumerated() {
            do {
                if table.isUncomputable(index) {
                    throw Failure(
                        .system, "it is of a column that only its application can compute")
                }
                try turns.write {
                    try connection.execute(
                        index.renamed(
                            to: table.indexName(position),
                            table: (table.definition.name, table.name)))
                }
            } catch let failure as Failure where failure.code == .system {
                tables[number]!.missingIndexes.insert(position)
                tables[number]!.notes.append(
                    "\(table.source.target): index \(index.name) can't be built here "
                        + "(\(reason(failure, table))): once it can, run "
                        + statement(index, of: table))
            }
        }
        let computed = table.computedKeyColumns
        if let impossible = computed.first(where: { !$0.isPossible }) {
            throw Failure(
                .unsupported,
                "its key has column \(impossible.name), which only its application can compute")
        }
        if !computed.isEmpty {
            try turns.write { try connection.execute("REINDEX main.\(quoted(table.name))") }
        }
    }

    /// A statement for a note, which is one line.
    func statement(_ object: ObjectText, of table: HiddenTable) -> String {
        object.oneLine.map { "\($0);" } ?? "its statement, which the point's SQL of the table holds"
    }

    // MARK: Ends

    func leaveOut(_ number: Int, because reason: String) {
        insert = nil
        writer = nil
        guard let table = tables[number] else { return }
        tables[number]!.leftOut = reason
        // Should it stay, the next operation removes it.
        try? turns.write { try HiddenNames.drop([table.name], connection) }
    }

    func abandon() {
        if isOver { return }
        connection.stop { false }
        turns.abandon()
        insert = nil
        writer = nil
        // A failure leaves them for the next operation; a file that nobody sees goes as a whole.
        if isShared { try? HiddenNames.drop(tables.compactMap { $0?.name }, connection) }
        end()
    }

    func end() {
        isOver = true
        connection.close()
    }
}
