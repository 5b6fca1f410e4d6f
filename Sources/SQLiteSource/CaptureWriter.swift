import Bytes

/// Everything that is ever written to a user's database: installing and removing capture, markers of
/// cuts, pruning. Short transactions, each of them whole or not at all.
struct CaptureWriter {
    let file: SourceFile
    /// Tables with more rows are captured.
    let rowLimit: UInt64
    /// Keys that a log may hold for a collection that takes no backups.
    let logLimit: Int64

    // MARK: Installing

    /// What has to change for `tables` of a collection to be captured.
    private struct Changes {
        var dropped: [Int] = []
        var installed: [(table: String, plan: CapturePlan)] = []
        var kept: [Int] = []
        var differs: Bool
    }

    /// Installs capture where it pays; returns what was written, and whether any table is captured.
    ///
    /// - Parameters:
    ///   - tables: nil means all that can be backed up.
    ///   - rows: of tables some time ago; one that had few isn't counted.
    ///   - look: the database now; closed before anything is written.
    func install(
        _ collection: String, tables: [String]?, rows: [String: UInt64], look: Snapshot,
        known: Catalog
    ) throws -> (lines: [String], isCapturing: Bool) {
        let meta = try CaptureMeta(look.connection)
        let tables = try tables ?? backedUp(known, look.connection)
        let grown = tables.filter { rows[$0].map { $0 > rowLimit / 2 } ?? true }
        let changes = try plan(look.connection, known, meta, collection, tables, grown)
        guard changes.differs else { return ([], !changes.kept.isEmpty) }
        look.close()
        return try write { connection in
            var meta = try CaptureMeta(connection)
            let changes = try plan(
                connection, Catalog(connection), meta, collection, tables, grown)
            let lines = try apply(changes, &meta, collection, connection)
            return (lines, !changes.kept.isEmpty || !changes.installed.isEmpty)
        }
    }

    private func backedUp(_ catalog: Catalog, _ connection: Connection) throws -> [String] {
        let describing = Describing(connection: connection)
        return try catalog.tables.filter { try describing.refusal($0) == nil }.map(\.name)
    }

    /// - Parameter grown: the tables that may have many rows.
    private func plan(
        _ connection: Connection, _ catalog: Catalog, _ meta: CaptureMeta?, _ collection: String,
        _ tables: [String], _ grown: [String]
    ) throws -> Changes {
        let interest = meta?.collections[collection]
        let grown = Set(grown.map { Array($0.utf8) })
        var changes = Changes(differs: false)
        for name in tables {
            guard let table = try? catalog.table(name), !table.key.isEmpty else { continue }
            let number = meta?.number(of: name)
            if number == nil {
                guard grown.contains(Array(name.utf8)), try hasManyRows(name, connection) else {
                    continue
                }
            }
            let plan: CapturePlan
            do {
                plan = try CapturePlan(table, connection)
            } catch let failure as Failure where failure.code == .unsupported {
                continue
            }
            if let number {
                if try isInstalled(plan, number, connection) {
                    changes.kept.append(number)
                    continue
                }
                changes.dropped.append(number)
                if try !hasManyRows(name, connection) { continue }
            }
            changes.installed.append((name, plan))
        }
        let others = Set(
            (meta?.collections ?? [:]).filter { $0.key != collection }.flatMap(\.value.logs))
        for (number, log) in meta?.logs ?? [:] where !changes.dropped.contains(number) {
            let isOrphan = (try? catalog.table(log.table)) == nil
            if isOrphan || (!changes.kept.contains(number) && !others.contains(number)) {
                changes.dropped.append(number)
            }
        }
        changes.kept.removeAll(where: changes.dropped.contains)
        changes.differs =
            !changes.dropped.isEmpty || !changes.installed.isEmpty
            || Set(interest?.logs ?? []) != Set(changes.kept)
        return changes
    }

    private func hasManyRows(_ table: String, _ connection: Connection) throws -> Bool {
        let sql = """
            SELECT count(*) FROM (SELECT 1 FROM main.\(quoted(table)) LIMIT \(rowLimit + 1))
            """
        return UInt64(try connection.integer(sql) ?? 0) > rowLimit
    }

    private func apply(
        _ changes: Changes, _ meta: inout CaptureMeta?, _ collection: String,
        _ connection: Connection
    ) throws -> [String] {
        var lines: [String] = []
        if meta == nil {
            if changes.installed.isEmpty { return [] }
            try connection.execute(CaptureMeta.create)
            meta = CaptureMeta(uuid: randomID())
            lines.append("\(file.path): added table _ydbfs_meta, for what change capture knows")
        }
        guard var known = meta else { return lines }
        for number in changes.dropped {
            lines += try drop(number, &known, connection)
        }
        var next = (known.logs.keys.max() ?? 0) + 1
        var logs = changes.kept
        for (table, plan) in changes.installed {
            let objects = plan.objects(next)
            for object in objects { try connection.execute(object.sql) }
            known.logs[next] = .init(table: table, epoch: randomID())
            logs.append(next)
            lines.append(
                "\(file.path): table \(table) has more than \(rowLimit) rows, so its changes are "
                    + "captured: added table \(objects[0].name) and triggers "
                    + objects.dropFirst().map(\.name).joined(separator: ", "))
            next += 1
        }
        if logs.isEmpty {
            known.collections[collection] = nil
        } else {
            var interest = known.collections[collection] ?? .init(logs: [])
            interest.logs = logs.sorted()
            known.collections[collection] = interest
        }
        return lines + (try finish(&known, connection))
    }

    /// Writes what is known, or drops it with the last collection.
    private func finish(_ meta: inout CaptureMeta, _ connection: Connection) throws -> [String] {
        if !meta.collections.isEmpty {
            try meta.write(to: connection)
            return []
        }
        var lines: [String] = []
        for number in meta.logs.keys.sorted() { lines += try drop(number, &meta, connection) }
        try connection.execute("DROP TABLE main._ydbfs_meta")
        return lines + ["\(file.path): removed table _ydbfs_meta"]
    }

    private func drop(
        _ number: Int, _ meta: inout CaptureMeta, _ connection: Connection
    ) throws -> [String] {
        let prefix = "_ydbfs_\(number)_"
        let names = try connection.rows(
            "SELECT name FROM main.sqlite_schema WHERE type = 'trigger'"
        ) { $0.text(0) }.filter { $0.hasPrefix(prefix) }
        for name in names { try connection.execute("DROP TRIGGER main.\(quoted(name))") }
        try connection.execute("DROP TABLE IF EXISTS main.\(CapturePlan.logName(number))")
        let table = meta.logs.removeValue(forKey: number)?.table ?? "?"
        for name in meta.collections.keys {
            meta.collections[name]?.logs.removeAll { $0 == number }
            meta.collections[name]?.attempt?.seqs["\(number)"] = nil
            meta.collections[name]?.committed?.seqs["\(number)"] = nil
        }
        return [
            "\(file.path): removed table \(CapturePlan.logName(number)) and triggers \(prefix)*, "
                + "which captured the changes of \(table)"
        ]
    }

    /// Removes a collection's interest, and what nobody else needs.
    func remove(_ collection: String) throws {
        let look = try Snapshot(file, copies: false)
        let isThere = try CaptureMeta(look.connection)?.collections[collection] != nil
        look.close()
        guard isThere else { return }
        try write { connection in
            guard var meta = try CaptureMeta(connection),
                let gone = meta.collections.removeValue(forKey: collection)
            else { return }
            for number in gone.logs
            where !meta.collections.values.contains(where: { $0.logs.contains(number) }) {
                _ = try drop(number, &meta, connection)
            }
            _ = try finish(&meta, connection)
        }
    }

    // MARK: Cuts

    /// Writes a marker to every log of the collection, and the nonce of the coming cut.
    func mark(_ collection: String, nonce: String) throws {
        try write { connection in
            guard var meta = try CaptureMeta(connection),
                let interest = meta.collections[collection]
            else { return }
            var mark = CaptureMeta.Mark(nonce: nonce, seqs: [:])
            for number in interest.logs {
                let log = CapturePlan.logName(number)
                try meta.giveUpLostMarkers(of: number, connection)
                try connection.execute("INSERT INTO main.\(log) DEFAULT VALUES")
                mark.seqs["\(number)"] = try connection.integer("SELECT max(seq) FROM main.\(log)")
            }
            meta.collections[collection]?.attempt = mark
            try meta.write(to: connection)
        }
    }

    /// The point of the cut with this nonce is durable: keys from before it go, unless another
    /// collection needs them.
    func commit(_ collection: String, nonce: String) throws {
        let pruned: [(log: Int, below: Int64)] = try write { connection in
            guard var meta = try CaptureMeta(connection),
                let attempt = meta.collections[collection]?.attempt, attempt.nonce == nonce
            else { return [] }
            meta.collections[collection]?.committed = attempt
            meta.collections[collection]?.attempt = nil
            let pruned = attempt.seqs.keys.compactMap(Int.init).sorted().compactMap { log in
                meta.lowestMarker(of: log, limit: logLimit).map { (log, $0) }
            }
            try meta.write(to: connection)
            return pruned
        }
        for (log, below) in pruned { try prune(log, below: below) }
    }

    /// Deletes in steps, so that other writers get their turns.
    private func prune(_ log: Int, below: Int64) throws {
        let name = "main.\(CapturePlan.logName(log))"
        var isDone = false
        while !isDone {
            isDone = try write { connection in
                guard let first = try connection.integer("SELECT min(seq) FROM \(name)") else {
                    return true
                }
                let end = min(below, first + 20_000)
                if first < end { try connection.execute("DELETE FROM \(name) WHERE seq < \(end)") }
                return end == below || first >= below
            }
        }
    }

    /// One transaction that writes; undone as a whole if `body` throws.
    private func write<R>(_ body: (Connection) throws -> R) throws -> R {
        let connection = try file.openWriter()
        defer { connection.close() }
        return try connection.sync { _ in
            try connection.execute("BEGIN IMMEDIATE")
            do {
                let result = try body(connection)
                try connection.execute("COMMIT")
                return result
            } catch {
                try? connection.execute("ROLLBACK")
                throw error
            }
        }
    }
}

/// Whether the log and the triggers of a plan are in the database, word for word, and no others.
func isInstalled(_ plan: CapturePlan, _ number: Int, _ connection: Connection) throws -> Bool {
    let found = try connection.rows(
        "SELECT name, sql FROM main.sqlite_schema WHERE name LIKE '_ydbfs_%'"
    ) { ($0.text(0), $0.text(1)) }.filter {
        $0.0 == CapturePlan.logName(number) || $0.0.hasPrefix("_ydbfs_\(number)_")
    }
    let wanted = plan.objects(number)
    return Dictionary(found, uniquingKeysWith: { first, _ in first })
        == Dictionary(wanted.map { ($0.name, $0.sql) }, uniquingKeysWith: { first, _ in first })
}
