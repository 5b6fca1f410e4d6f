import Bytes

/// What change capture puts into a database for one table, as text.
///
/// ```
/// _ydbfs_log_N   (seq INTEGER PRIMARY KEY, k1, k2, …)     keys of rows that may have changed, appended
///                                                        only; all NULL = marker of a cut
/// _ydbfs_N_ai    AFTER INSERT      logs the new key
/// _ydbfs_N_au    AFTER UPDATE      logs the old key, and the new one if it differs
/// _ydbfs_N_ad    AFTER DELETE      logs the old key
/// _ydbfs_N_bi    BEFORE INSERT     logs rows that the new one may replace, which fires no trigger
/// _ydbfs_N_bu…   BEFORE UPDATE OF  the same for updates, for each UNIQUE constraint
/// _ydbfs_N_br    BEFORE UPDATE     the same where the rowid isn't the key
/// ```
/// Key columns of the log have no type, so that storage classes survive. Too many keys are harmless:
/// what counts is the table inside the snapshot.
struct CapturePlan {
    /// Rows that a write may replace: those equal in all of these columns.
    fileprivate struct Lookup {
        var columns: [(name: String, collation: String)]
    }

    private let table: TableDefinition
    private var lookups: [Lookup] = []
    private var rowID: String?
    /// The collations of the primary key's index, in key order; empty if the key is the rowid.
    private(set) var keyCollations: [String] = []
    /// A hash of all statements that the plan rests on.
    let definition: String

    /// Throws `.unsupported` with the reason if the table's changes can't be captured safely.
    init(_ table: TableDefinition, _ connection: Connection) throws {
        self.table = table
        definition = Self.hash(table.sql)
        for trigger in table.triggers where !Self.isAfter(trigger.sql) {
            throw Self.refusal("it has a BEFORE trigger, \(trigger.name)")
        }
        for index in table.indexes where index.isUnique {
            if index.isPartial { throw Self.refusal("index \(index.name) is UNIQUE and partial") }
            let columns = try Self.columns(of: index, connection)
            if index.isPrimaryKey {
                keyCollations = columns.map(\.collation)
                let builtIn = ["BINARY", "NOCASE", "RTRIM"]
                guard keyCollations.allSatisfy({ builtIn.contains($0.uppercased()) }) else {
                    throw Self.refusal("its key has a collation of its own")
                }
                if !needsLookup(keyCollations) { continue }
            }
            try add(columns, index)
        }
        if !table.isWithoutRowID && !table.keyIsRowID { rowID = table.rowIDName }
    }

    private static func refusal(_ words: String) -> Failure { Failure(.unsupported, words) }

    /// Whether two keys may be equal for SQLite and different for us: 'a' and 'A', 1 and 1.0.
    private func needsLookup(_ collations: [String]) -> Bool {
        zip(table.key, collations).contains { column, collation in
            let affinity = table.columns[column].affinity
            return collation.uppercased() != "BINARY" || affinity == .none || affinity == .blob
        }
    }

    private mutating func add(
        _ columns: [(name: String, collation: String)], _ index: TableDefinition.Index
    ) throws {
        for column in columns {
            guard let found = table.columns.first(where: { folded($0.name) == folded(column.name) })
            else { continue }
            if found.isGenerated {
                throw Self.refusal("column \(found.name) of \(index.name) is generated")
            }
            if found.hasDefault && (found.isNotNull || found.keyPosition > 0) {
                // OR REPLACE puts the default where NULL was, after BEFORE triggers have looked.
                throw Self.refusal("column \(found.name) of \(index.name) is NOT NULL DEFAULT")
            }
        }
        lookups.append(Lookup(columns: columns))
    }

    private static func columns(
        of index: TableDefinition.Index, _ connection: Connection
    ) throws -> [(name: String, collation: String)] {
        let sql = """
            SELECT cid, name, coll FROM pragma_index_xinfo(\(literal(index.name)), 'main')
            WHERE key = 1 ORDER BY seqno
            """
        return try connection.rows(sql) { row in
            if row.integer(0) == -2 {
                throw refusal("index \(index.name) is UNIQUE over an expression")
            }
            return (row.text(1), row.text(2))
        }
    }

    // MARK: Statements

    static func logName(_ number: Int) -> String { "_ydbfs_log_\(number)" }

    /// The objects by name with their statements, as SQLite keeps them.
    func objects(_ number: Int) -> [(name: String, sql: String)] {
        let keys = table.key.map { table.columns[$0] }
        let logged = keys.indices.map { "k\($0 + 1)" }.joined(separator: ", ")
        let log = "\(Self.logName(number))(\(logged))"
        let name = quoted(table.name)
        func values(_ side: String) -> String {
            keys.map { "\(side).\(quoted($0.name))" }.joined(separator: ", ")
        }
        let moved = keys.map { key in
            let (new, old) = ("NEW.\(quoted(key.name))", "OLD.\(quoted(key.name))")
            let differs = "\(new) COLLATE BINARY IS NOT \(old)"
            let isTyped = key.affinity != .none && key.affinity != .blob
            return isTyped ? differs : "\(differs) OR typeof(\(new)) <> typeof(\(old))"
        }.joined(separator: " OR ")
        var objects: [(String, String)] = []
        func trigger(_ suffix: String, _ event: String, _ statements: [String]) {
            let trigger = "_ydbfs_\(number)_\(suffix)"
            let body = statements.map { "\($0); " }.joined()
            objects.append(
                (trigger, "CREATE TRIGGER \(trigger) \(event) BEGIN \(body)END"))
        }
        objects.append(
            (
                Self.logName(number),
                "CREATE TABLE \(Self.logName(number))(seq INTEGER PRIMARY KEY, \(logged))"
            ))
        trigger("ai", "AFTER INSERT ON \(name)", ["INSERT INTO \(log) VALUES(\(values("NEW")))"])
        trigger(
            "au", "AFTER UPDATE ON \(name)",
            [
                "INSERT INTO \(log) VALUES(\(values("OLD")))",
                "INSERT INTO \(log) SELECT \(values("NEW")) WHERE \(moved)",
            ])
        trigger("ad", "AFTER DELETE ON \(name)", ["INSERT INTO \(log) VALUES(\(values("OLD")))"])
        let found = keys.map { quoted($0.name) }.joined(separator: ", ")
        func lookup(_ condition: String) -> String {
            "INSERT INTO \(log) SELECT \(found) FROM \(name) WHERE \(condition)"
        }
        var before = lookups.map { lookup($0.condition) }
        if let rowID { before.append(lookup("\(rowID) = NEW.\(rowID)")) }
        if !before.isEmpty { trigger("bi", "BEFORE INSERT ON \(name)", before) }
        for (position, unique) in lookups.enumerated() {
            let columns = unique.columns.map { quoted($0.name) }.joined(separator: ", ")
            trigger(
                "bu\(position + 1)", "BEFORE UPDATE OF \(columns) ON \(name)",
                [lookup(unique.condition)])
        }
        if let rowID {
            trigger(
                "br", "BEFORE UPDATE ON \(name) WHEN NEW.\(rowID) IS NOT OLD.\(rowID)",
                [lookup("\(rowID) = NEW.\(rowID)")])
        }
        return objects
    }

    /// Whether a trigger is certainly none that runs before the change: `BEFORE` is the default.
    /// SQLite stores the statement as `CREATE TRIGGER name …`.
    private static func isAfter(_ sql: String) -> Bool {
        var rest = Array(sql.utf8)[...]
        for word in ["CREATE", "TRIGGER"] {
            guard rest.count > word.utf8.count,
                folded(word)
                    == folded(String(decoding: rest.prefix(word.utf8.count), as: UTF8.self))
            else { return false }
            rest = rest.dropFirst(word.utf8.count)
            skipSpace(&rest)
        }
        skipName(&rest)
        skipSpace(&rest)
        return hasPrefix(String(decoding: rest.prefix(6), as: UTF8.self), "after")
            && rest.dropFirst(5).first.map { isSpace($0) || $0 == UInt8(ascii: "/") || $0 == 45 }
                == true
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }

    /// Skips white space and comments.
    private static func skipSpace(_ rest: inout ArraySlice<UInt8>) {
        while let first = rest.first {
            if isSpace(first) {
                rest.removeFirst()
            } else if rest.starts(with: "--".utf8) {
                rest = rest.drop { $0 != 10 }
            } else if rest.starts(with: "/*".utf8) {
                rest.removeFirst(2)
                while !rest.isEmpty, !rest.starts(with: "*/".utf8) { rest.removeFirst() }
                rest = rest.dropFirst(2)
            } else {
                return
            }
        }
    }

    private static func skipName(_ rest: inout ArraySlice<UInt8>) {
        let ends: [UInt8: UInt8] = [34: 34, 39: 39, 96: 96, 91: 93]
        guard let first = rest.first else { return }
        guard let end = ends[first] else {
            rest = rest.drop { !isSpace($0) && $0 != UInt8(ascii: "/") }
            return
        }
        rest.removeFirst()
        while let byte = rest.popFirst() {
            if byte != end { continue }
            if end == 93 || rest.first != end { return }
            rest.removeFirst()
        }
    }

    /// FNV-1a, 64 bits: only to see that a text is the same as before.
    private static func hash(_ text: String) -> String {
        let hash = text.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) {
            ($0 ^ UInt64($1)) &* 0x100_0000_01b3
        }
        return String(hash, radix: 16)
    }
}

extension CapturePlan.Lookup {
    fileprivate var condition: String {
        columns.map {
            "\(quoted($0.name)) COLLATE \(quoted($0.collation)) = NEW.\(quoted($0.name))"
        }.joined(separator: " AND ")
    }
}
