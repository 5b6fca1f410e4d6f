import Bytes
import Tables

/// What a hidden table becomes.
struct PublishedTable {
    let number: Int
    let table: HiddenTable
    var sql: String
    /// By the number of the index; nil for one that isn't there.
    var indexes: [(name: String, sql: String)?]
    var triggers: [(name: String, sql: String)]
    /// What SQLite made of the hidden table.
    let shape: [String]
}

/// Gives what was restored its names, in one transaction.
///
/// It changes the rows of `sqlite_schema` that name hidden tables to what the stored definitions say,
/// word for word, which is what `ALTER TABLE … RENAME` does too, but for its rewriting of quotes and of
/// other objects that only mention the name.
extension SQLiteRestore {
    func publish() throws -> PublishedTables {
        var published = PublishedTables()
        leaveOutIncompleteVirtualTables(&published)
        try turns.end()
        if isShared { try connection.execute("PRAGMA synchronous = FULL") }
        while true {
            do {
                published.notes += try turns.transaction { try reveal() }
                break
            } catch let misshapen as MisshapenTable {
                try? connection.execute("PRAGMA writable_schema = RESET")
                let path = restored.tables[misshapen.number].path
                if attempt.isStrict { throw Failure(.corrupt, "\(path): \(misshapen.reason)") }
                leaveOut(misshapen.number, because: misshapen.reason)
                published.leftOut.append((path, misshapen.reason))
                leaveOutIncompleteVirtualTables(&published)
                try turns.end()
            } catch {
                try? connection.execute("PRAGMA writable_schema = RESET")
                throw error
            }
        }
        end()
        return published
    }

    /// Tables that are being published.
    private var complete: [(number: Int, table: HiddenTable)] {
        tables.enumerated().compactMap { number, table in
            table.flatMap { $0.leftOut == nil ? (number, $0) : nil }
        }
    }

    private func reveal() throws -> [String] {
        let complete = complete
        let obstacles = try HiddenNames.obstacles(to: restored, connection)
        if !obstacles.isEmpty { throw Failure(.exists, obstacles.joined(separator: "; ")) }
        var taken = try HiddenNames.taken(connection)
        for table in restored.tables { taken.insert(folded(table.target)) }
        var notes: [String] = []
        let plans = try complete.map { try plan($0.number, $0.table, &taken, &notes) }
        if complete.contains(where: { $0.table.definition.countsUp }) { try makeSequenceTable() }
        let objects = SharedObjects(restored, without: Set(missingTables))
        do {
            try withWritableSchema {
                try rename(plans)
                try objects.addVirtualTables(connection)
            }
        } catch let failure as Failure where failure.code == .corrupt {
            // SQLite says whose definition it doesn't take.
            let culprit = plans.first { failure.message.contains("(\($0.table.source.target))") }
            guard let culprit else { throw failure }
            throw MisshapenTable(
                number: culprit.number, reason: reason(failure, culprit.table))
        }
        for plan in plans {
            guard try shape(of: plan.table.source.target, for: plan) == plan.shape else {
                throw MisshapenTable(number: plan.number, reason: Self.doesNotFit.message)
            }
            if plan.table.definition.countsUp || plan.table.source.sequence != nil {
                try continueCounting(plan.table)
            }
        }
        notes += complete.flatMap(\.table.notes) + objects.notes
        notes += objects.notesOfVirtualTables(connection) { reason($0, nil) }
        notes += try objects.addViews(
            connection, triggers: plans.flatMap(\.triggers)
        ) { reason($0, nil) }
        if let facts = restored.facts { notes += try settle(facts) }
        return notes
    }

    // MARK: Tables

    private func plan(
        _ number: Int, _ table: HiddenTable, _ taken: inout Set<[UInt8]>, _ notes: inout [String]
    ) throws -> PublishedTable {
        let references = Dictionary(
            complete.map { (folded($0.table.definition.name), $0.table.source.target) },
            uniquingKeysWith: { first, _ in first })
        var published = PublishedTable(
            number: number, table: table, sql: table.published { references[$0] },
            indexes: table.indexes.map { ($0.name, $0.sql) },
            triggers: table.triggers.map { ($0.name, $0.sql) }, shape: [])
        if table.source.isRenamed { rename(&published, &taken, &notes) }
        for missing in table.missingIndexes { published.indexes[missing] = nil }
        noteCollations(table, &notes)
        return PublishedTable(
            number: number, table: table, sql: published.sql, indexes: published.indexes,
            triggers: published.triggers, shape: try shape(of: table.name, for: published))
    }

    /// Indexes and triggers of a table under another name get names of their own.
    private func rename(
        _ published: inout PublishedTable, _ taken: inout Set<[UInt8]>, _ notes: inout [String]
    ) {
        let table = published.table
        let target = table.source.target
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
        for (position, index) in table.indexes.enumerated()
        where !table.missingIndexes.contains(position) {
            let name = freeName(index.name)
            published.indexes[position] = (name, index.renamed(to: name, table: names))
            notes.append("\(target): index \(index.name) is named \(name) here")
        }
        published.triggers = []
        for trigger in table.triggers {
            if trigger.mentions(names.old) {
                notes.append(
                    "\(target): trigger \(trigger.name) is left out, because it names \(names.old)")
                continue
            }
            let name = freeName(trigger.name)
            published.triggers.append((name, trigger.renamed(to: name, table: names)))
            notes.append("\(target): trigger \(trigger.name) is named \(name) here")
        }
    }

    private func noteCollations(_ table: HiddenTable, _ notes: inout [String]) {
        if table.foreignKeyCollations.isEmpty { return }
        let target = table.source.target
        let names = Set(table.foreignKeyCollations).sorted().joined(separator: ", ")
        let how =
            table.text.isWithoutRowID
            ? "in the application, make a table of it and copy the rows"
            : "in the application, set it by PRAGMA writable_schema, then REINDEX \(quoted(target))"
        notes.append(
            "\(target): COLLATE \(names) is left out of its key, because only the application has "
                + "it; the definition was \(statement(table.definition, of: table)) To have it back: "
                + how)
    }

    /// Gives hidden tables and their indexes their names and definitions.
    private func rename(_ plans: [PublishedTable]) throws {
        var known: [String: (name: String, table: String, sql: String?)] = [:]
        for plan in plans {
            let target = plan.table.source.target
            known[plan.table.name] = (target, target, plan.sql)
            for (number, index) in plan.indexes.enumerated() {
                guard let index else { continue }
                known[plan.table.indexName(number)] = (index.name, target, index.sql)
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

    /// What SQLite makes of a table's text as far as its b-trees depend on it: columns, kind of table,
    /// and every index with its columns, order and collations. It must be the same before and after.
    private func shape(of name: String, for plan: PublishedTable) throws -> [String] {
        let table = literal(name)
        var lines = try connection.rows(
            "SELECT name, type, pk, hidden FROM pragma_table_xinfo(\(table), 'main')"
        ) { "\($0.text(0)) \($0.text(1)) \($0.integer(2)) \($0.integer(3))" }
        lines += try connection.rows(
            "SELECT wr, strict FROM pragma_table_list(\(table)) WHERE schema = 'main'"
        ) { "\($0.integer(0)) \($0.integer(1))" }
        var names: [String: String] = [:]
        for (number, index) in plan.indexes.enumerated() {
            names[plan.table.indexName(number)] = "i\(number)"
            if let index { names[index.name] = "i\(number)" }
        }
        return try lines + indexes(of: name, names: names)
    }

    /// The indexes that SQLite sees on a table, those of its constraints by their numbers, with their
    /// columns, order and collations.
    func indexes(of name: String, names: [String: String] = [:]) throws -> [String] {
        let indexes = try connection.rows(
            """
            SELECT l.name, l."unique", l.partial, x.seqno, x.cid, x."desc", x.coll, x.key
            FROM pragma_index_list(\(literal(name)), 'main') l, pragma_index_xinfo(l.name, 'main') x
            """
        ) { row in
            (
                index: row.text(0),
                rest: (1..<8 as Range<CInt>).map { row.text($0) }.joined(separator: " ")
            )
        }
        let automatic = "sqlite_autoindex_\(name)_"
        return indexes.map { index, rest in
            let known =
                index.hasPrefix(automatic)
                ? "a\(index.dropFirst(automatic.count))" : names[index] ?? index
            return "\(known) \(rest)"
        }.sorted()
    }

    // MARK: Numbers

    /// SQLite makes `sqlite_sequence` with the first table that needs it, and keeps it for ever.
    private func makeSequenceTable() throws {
        let name = "\(HiddenNames.prefix)\(attempt.id)_0"
        try connection.execute(
            "CREATE TABLE main.\(name)(id INTEGER PRIMARY KEY AUTOINCREMENT)")
        try connection.execute("DROP TABLE main.\(name)")
    }

    /// AUTOINCREMENT goes on behind the highest number that was ever given.
    private func continueCounting(_ table: HiddenTable) throws {
        let target = table.source.target
        try connection.execute(
            "DELETE FROM main.sqlite_sequence WHERE name = \(literal(target))")
        guard let sequence = table.source.sequence else { return }
        try connection.execute(
            """
            INSERT INTO main.sqlite_sequence(name, seq) VALUES (\(literal(target)), \(sequence))
            """)
    }

    // MARK: The database

    /// A new database gets what it was known by; in one that is there, it stays. Answers notes.
    private func settle(_ facts: DatabaseFacts) throws -> [String] {
        if !isShared {
            if restored.isWhole {
                try connection.execute("PRAGMA main.user_version = \(facts.userVersion)")
                try connection.execute("PRAGMA main.application_id = \(facts.applicationID)")
            }
            return []
        }
        guard restored.isWhole else { return [] }
        var differences: [String] = []
        for (pragma, old) in [
            ("user_version", "\(facts.userVersion)"),
            ("application_id", "\(facts.applicationID)"), ("encoding", facts.encoding),
            ("page_size", "\(facts.pageSize)"), ("auto_vacuum", "\(facts.autoVacuum)"),
        ] {
            let now = try connection.text("PRAGMA main.\(pragma)") ?? ""
            if now != old { differences.append("\(pragma) is \(now) and was \(old)") }
        }
        if restored.tables.contains(where: { HiddenNames.isOfPlanner($0.target) }) {
            differences.append("statistics of the planner aren't taken over (run ANALYZE)")
        }
        if differences.isEmpty { return [] }
        return ["\(name) is left as it is: " + differences.joined(separator: ", ")]
    }

    // MARK: Virtual tables

    /// Virtual tables that can't be restored, because a table that holds their content isn't.
    private var missingTables: [String] {
        restored.tables.enumerated().compactMap { number, table in
            guard let owner = table.shadowOf,
                tables[number]?.leftOut != nil || tables[number] == nil
            else { return nil }
            return owner
        }
    }

    /// What holds the rest of such a table's content goes with it.
    private func leaveOutIncompleteVirtualTables(_ published: inout PublishedTables) {
        for owner in Set(missingTables).sorted() {
            published.notes.append(
                "\(owner) is left out, because a table that holds its content is")
            for (number, table) in restored.tables.enumerated()
            where table.shadowOf == owner && tables[number]?.leftOut == nil {
                guard tables[number] != nil else { continue }
                let reason =
                    "it holds content of virtual table \(owner), of which another part is missing"
                leaveOut(number, because: reason)
                published.leftOut.append((table.path, reason))
            }
        }
    }
}

/// A table that SQLite makes something else of by its published text than what was built. Its text was
/// damaged, or wasn't understood.
private struct MisshapenTable: Error {
    var number: Int
    var reason: String
}
