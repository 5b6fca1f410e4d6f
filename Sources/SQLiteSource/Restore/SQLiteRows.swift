import Bytes
import CSQLite
import Tables

/// Rows being put back into tables of a database that others use meanwhile.
///
/// They are laid aside in temporary tables, which locks nothing. One transaction then finds what is
/// there by now, says what is in the way, writes, and reads again what it wrote. Foreign keys aren't
/// enforced, since nothing else may go or change for them; what they'd say is told.
final class SQLiteRows: RowRestore {
    private let connection: Connection
    private let name: String
    private let rules: RowRules
    private let turns: WriteTurns
    private let tables: [RowStaging]
    private let encoding: CInt
    private var loading: (writer: RowWriter, insert: Statement)?
    private var isOver = false

    private static let shownKeys = 5

    /// Takes over the connection.
    init(
        _ connection: Connection, _ rows: [RowTarget], name: String, rules: RowRules,
        attempt: RestoreAttempt, patience: Double
    ) throws {
        self.connection = connection
        self.name = name
        self.rules = rules
        turns = WriteTurns(connection, isShared: true, patience: patience, attempt: attempt)
        let catalog = try Catalog(connection)
        tables = try rows.enumerated().map { number, target in
            RowStaging(try LiveTable(target, catalog, of: name), number: number)
        }
        encoding = try connection.encoding()
        connection.stop(when: attempt.isCancelled)
        // However much it is, it needn't fit into memory.
        try connection.execute("PRAGMA temp_store = FILE")
        try connection.execute("PRAGMA foreign_keys = OFF")
        try connection.runTriggers(rules.runsTriggers)
        for table in tables { try connection.execute(table.creation) }
    }

    // MARK: Laying aside

    func begin(_ number: Int) throws {
        let table = tables[number]
        loading = (
            try RowWriter(
                table.live.source.schema, columns: table.sources, affinities: table.affinities,
                encoding: encoding), try connection.prepare(table.insertion)
        )
    }

    func append(_ batch: RowBatch) throws {
        guard let loading else { preconditionFailure("no table was begun") }
        try connection.execute("BEGIN")
        do {
            try connection.sync { _ in try loading.writer.insert(batch, by: loading.insert) }
            try connection.execute("COMMIT")
        } catch {
            try? connection.execute("ROLLBACK")
            throw words(error)
        }
    }

    // MARK: Putting back

    /// Ends a transaction of which nothing is to stay.
    private struct DryRun: Error { let rows: [PutBackRows] }

    func finish() throws -> [PutBackRows] {
        loading = nil
        defer { end() }
        do {
            return try turns.transaction {
                let rows = try putBack()
                if rules.isDryRun { throw DryRun(rows: rows) }
                return rows
            }
        } catch let dryRun as DryRun {
            return dryRun.rows
        } catch {
            throw words(error)
        }
    }

    private func putBack() throws -> [PutBackRows] {
        var rows = tables.map { _ in PutBackRows() }
        for (number, table) in tables.enumerated() { rows[number] = try look(table) }
        for (number, table) in tables.enumerated() { try write(table, &rows[number]) }
        for (number, table) in tables.enumerated() {
            try lookAgain(table, &rows[number])
            try noteOrphans(table, &rows[number])
            try noteTriggers(table, &rows[number])
            if rules.isStrict, let omission = rows[number].omissions.first {
                throw Failure(
                    .invalid, "\(table.live.source.target): \(omission); nothing was put back")
            }
        }
        return rows
    }

    private func count(_ sql: String) throws -> UInt64 {
        UInt64(max(0, try connection.integer(sql) ?? 0))
    }

    private func changes() throws -> UInt64 { try count("SELECT changes()") }

    /// Says what is there by now.
    private func look(_ table: RowStaging) throws -> PutBackRows {
        var rows = PutBackRows()
        for search in table.searches { try connection.execute(search) }
        try connection.execute(table.marksSame)
        rows.same = try changes()
        let conflicts = try count(table.countsConflicts)
        switch rules.onConflict {
        case .fail where conflicts > 0: throw try refusal(table, conflicts)
        case .skip:
            try connection.execute(table.skipsConflicts)
            rows.skipped = conflicts
        case .fail, .replace: rows.replaced = conflicts
        }
        rows.inserted = try count(table.countsNew)
        let moved = try count(table.countsMoved)
        if moved > 0 {
            rows.notes.append(
                "\(Self.rows(moved)) got a new rowid, because another row has the old one by now")
        }
        for column in table.live.missing {
            rows.omissions.append(
                "column \(column) of the point isn't in the table any more: its values aren't "
                    + "put back")
        }
        if !table.live.added.isEmpty, rows.inserted > 0 {
            let names = table.live.added.map(\.name).joined(separator: ", ")
            rows.notes.append(
                "the point hasn't got column \(names): new rows have the default there")
        }
        return rows
    }

    private func refusal(_ table: RowStaging, _ conflicts: UInt64) throws -> Failure {
        let keys = try connection.rows(table.conflictingKeys(limit: Self.shownKeys)) { $0.text(0) }
        let rest = conflicts > UInt64(keys.count) ? ", …" : ""
        return Failure(
            .exists,
            "\(table.live.source.target): \(Self.rows(conflicts)) that \(conflicts == 1 ? "is" : "are")"
                + " there \(conflicts == 1 ? "is another one" : "are others") by now "
                + "(\(keys.joined(separator: "; "))\(rest)), and nothing was put back: say WITH "
                + "(on_conflict = replace) to put them back over those, skip to leave those alone")
    }

    private func write(_ table: RowStaging, _ rows: inout PutBackRows) throws {
        if rows.replaced > 0, let update = table.update {
            try connection.execute("SAVEPOINT ydbfs_update")
            do {
                try connection.execute(update)
            } catch let failure as Failure where Self.isOfUniqueness(failure) {
                try connection.execute("ROLLBACK TO ydbfs_update")
                for step in table.replacement {
                    try writing(table) { try connection.execute(step) }
                }
            }
            try connection.execute("RELEASE ydbfs_update")
        }
        let skips = rules.onConflict == .skip
        try writing(table) { try connection.execute(table.addition(skips: skips)) }
        let added = try changes()
        if added < rows.inserted {
            let left = rows.inserted - added
            rows.skipped += left
            rows.omissions.append(
                "\(Self.rows(left)) can't be there beside others, which hold a value that only one "
                    + "row may have")
            rows.inserted = added
        }
    }

    private static func isOfUniqueness(_ failure: Failure) -> Bool {
        failure.message.contains("UNIQUE constraint failed")
            || failure.message.contains("PRIMARY KEY must be unique")
    }

    /// Says whose rule a row breaks.
    private func writing(_ table: RowStaging, _ body: () throws -> Void) throws {
        do {
            try body()
        } catch let failure as Failure where failure.code == .system {
            let hint =
                Self.isOfUniqueness(failure)
                ? "another row has the value by now: put that back as well, or leave it out with "
                    + "on_conflict = skip" : "the table has other rules than at the point"
            throw Failure(
                .exists,
                "\(table.live.source.target): \(failure.message); \(hint); nothing was put back")
        }
    }

    private func lookAgain(_ table: RowStaging, _ rows: inout PutBackRows) throws {
        // Which of those that were skipped by SQLite isn't known.
        if !rows.omissions.isEmpty && rules.onConflict == .skip { return }
        let others = try count(table.countsOthers)
        if others == 0 { return }
        rows.omissions.append(
            "\(Self.rows(others)) can't be read as at the point: "
                + (rules.runsTriggers ? "triggers changed them, or " : "")
                + "the table's definition makes other values of them")
    }

    // MARK: What isn't done

    private func noteOrphans(_ table: RowStaging, _ rows: inout PutBackRows) throws {
        let keys = try connection.rows(
            """
            SELECT id, "table", "from", "to" FROM pragma_foreign_key_list(
            \(literal(table.live.definition.name)), 'main') ORDER BY id, seq
            """
        ) { (id: $0.integer(0), parent: $0.text(1), from: $0.text(2), to: $0.text(3)) }
        for id in Set(keys.map(\.id)).sorted() {
            let columns = keys.filter { $0.id == id }
            guard let parent = columns.first?.parent else { continue }
            let targets = try targets(of: columns.map(\.to), in: parent)
            guard targets.count == columns.count,
                let query = table.countsOrphans(
                    of: parent, Array(zip(columns.map(\.from), targets)).map { ($0, $1) }),
                let orphans = try? count(query)
            else {
                rows.notes.append(
                    "whether its rows have what they refer to in \(parent) isn't known")
                continue
            }
            if orphans > 0 {
                rows.notes.append(
                    "\(Self.rows(orphans)) \(orphans == 1 ? "refers" : "refer") to rows of "
                        + "\(parent) that aren't there: put those back as well")
            }
        }
    }

    /// Without names the parent's key is meant.
    private func targets(of names: [String], in parent: String) throws -> [String] {
        if names.allSatisfy({ !$0.isEmpty }) { return names }
        return try connection.rows(
            "SELECT name FROM pragma_table_info(\(literal(parent)), 'main') WHERE pk > 0 ORDER BY pk"
        ) { $0.text(0) }
    }

    private func noteTriggers(_ table: RowStaging, _ rows: inout PutBackRows) throws {
        if rules.runsTriggers || rows.inserted + rows.replaced == 0 { return }
        let names = try connection.rows(
            """
            SELECT name FROM main.sqlite_schema WHERE type = 'trigger'
            AND tbl_name = \(literal(table.live.definition.name)) COLLATE NOCASE
            """
        ) { $0.text(0) }
        if names.isEmpty { return }
        rows.notes.append(
            "its triggers (\(names.joined(separator: ", "))) didn't run: what they keep up is as "
                + "before; WITH (triggers = on) runs them")
    }

    // MARK: Words and ends

    private static func rows(_ count: UInt64) -> String { count == 1 ? "1 row" : "\(count) rows" }

    /// As the user calls the database, without what every message of SQLite has.
    private func words(_ error: any Error) -> any Error {
        guard let failure = error as? Failure else { return error }
        var message = failure.message.replacing("can't go on with \(connection.path): ", with: "")
        message = message.replacing(connection.path, with: name)
        if let number = message.firstRange(of: " (SQLite error"),
            let end = message[number.upperBound...].firstIndex(of: ")")
        {
            message.removeSubrange(number.lowerBound...end)
        }
        return Failure(failure.code, message)
    }

    func abandon() {
        if !isOver { end() }
    }

    private func end() {
        isOver = true
        loading = nil
        connection.close()
    }
}
