import Bytes
import Tables

/// SQLite's affinity of a declared type (sqlite.org/datatype3.html §3.1); `none` is what SQLite
/// calls BLOB affinity where no type is declared.
enum Affinity {
    case integer, real, text, blob, numeric, none

    init(declared: String) {
        let type = declared.utf8.map { (97...122).contains($0) ? $0 - 32 : $0 }
        func holds(_ word: StaticString) -> Bool {
            let word = word.withUTF8Buffer { Array($0) }
            return type.indices.contains { type[$0...].starts(with: word) }
        }
        if holds("INT") {
            self = .integer
        } else if holds("CHAR") || holds("CLOB") || holds("TEXT") {
            self = .text
        } else if type.isEmpty {
            self = .none
        } else if holds("BLOB") {
            self = .blob
        } else if holds("REAL") || holds("FLOA") || holds("DOUB") {
            self = .real
        } else {
            self = .numeric
        }
    }
}

/// A table's definition as SQLite has it.
struct TableDefinition {
    struct Column {
        var name: String
        var affinity: Affinity
        var isNotNull: Bool
        var isGenerated: Bool
        /// Computed when it is read, by an expression that may name a function of the application's.
        var isVirtual: Bool
        /// 1… in the primary key, 0 outside.
        var keyPosition: Int
        /// The default's expression.
        var byDefault: String?
    }

    struct Index {
        var name: String
        var isPrimaryKey: Bool
        /// By a statement of its own, not by a constraint.
        var isCreated = false
        var isUnique = false
        var isPartial = false
        /// Positions of its columns in SQLite's table; below 0: the rowid, or an expression.
        var columns: [Int] = []
    }

    var name: String
    var isWithoutRowID: Bool
    var kind: SourceTable.Kind
    private(set) var columns: [Column] = []
    /// Of each of SQLite's columns the index into `columns`, hidden ones have none.
    private(set) var positions: [Int: Int] = [:]
    var indexes: [Index] = []
    /// The user's own statements, each ended by `;` and a line feed: the table's, then those of its
    /// indexes and triggers in order of creation.
    private(set) var sql = ""

    /// Indices into `columns` in the order of the declared primary key; empty if there is none.
    private(set) var key: [Int] = []

    init(name: String, isWithoutRowID: Bool, kind: SourceTable.Kind) {
        self.name = name
        self.isWithoutRowID = isWithoutRowID
        self.kind = kind
    }

    /// The declared key is the rowid itself: an integer that is never NULL.
    var keyIsRowID: Bool {
        !isWithoutRowID && key.count == 1 && !indexes.contains(where: \.isPrimaryKey)
    }

    /// The name under which the rowid can be reached; nil if columns have taken all names.
    var rowIDName: String? {
        if isWithoutRowID { return nil }
        let taken = Set(columns.map { folded($0.name) })
        return ["rowid", "_rowid_", "oid"].first { !taken.contains(Array($0.utf8)) }
    }

    /// What a query reads the table from: the table itself, never an index, which may be damaged.
    var source: String { "main.\(quoted(name)) NOT INDEXED" }

    /// Of a schema's columns, in its order; a hidden column has none.
    func affinities(of schema: TableSchema) -> [Affinity] {
        schema.columns.map { column in
            columns.first { $0.name.utf8.elementsEqual(column.name.utf8) }?.affinity ?? .none
        }
    }

    /// Whether all columns of the primary key's own b-tree ascend by their bytes.
    func keyIsPlain(_ connection: Connection) throws -> Bool {
        guard let index = indexes.first(where: \.isPrimaryKey) else { return false }
        let others = """
            SELECT 1 FROM pragma_index_xinfo(\(literal(index.name)), 'main')
            WHERE key AND ("desc" OR coll <> 'BINARY') LIMIT 1
            """
        return try connection.integer(others) == nil
    }

    /// - Parameter position: of the column in SQLite's table.
    mutating func add(_ column: Column, at position: Int) {
        positions[position] = columns.count
        columns.append(column)
        if column.keyPosition == 0 { return }
        key.append(columns.count - 1)
        key.sort { columns[$0].keyPosition < columns[$1].keyPosition }
    }

    /// Adds the statement of an object that stands on the table, or of the table itself.
    mutating func add(name: String, sql statement: String) {
        if !isOurs(name) { sql += StatementList.ended(statement) }
    }
}

/// Whether ydbfs gives such names: `_ydbfs_restore_ATTEMPT_NUMBER` to tables that are being restored, and
/// once `_ydbfs_meta`, `_ydbfs_log_N` and, to triggers, `_ydbfs_N_ai` and the like. Any other name is
/// somebody else's, whatever it begins with.
func isOurs(_ name: String) -> Bool {
    let parts = name.split(separator: "_", omittingEmptySubsequences: false)
    guard parts.count > 2, parts[0].isEmpty, parts[1] == "ydbfs" else { return false }
    func isNumber(_ text: Substring) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { (48...57).contains($0) }
    }
    switch parts.count {
    case 3: return parts[2] == "meta"
    case 4:
        let events = ["ai", "au", "ad", "bi", "br"]
        return parts[2] == "log" && isNumber(parts[3])
            || isNumber(parts[2])
                && (events.contains(String(parts[3])) || parts[3].hasPrefix("bu"))
    case 6: return parts[2] == "restore" && isNumber(parts[4]) && isNumber(parts[5])
    default: return false
    }
}

/// Whether a name begins with `prefix` (lower case), as SQLite compares names: ASCII letters alike.
func hasPrefix(_ name: String, _ prefix: String) -> Bool {
    name.utf8.count >= prefix.utf8.count
        && zip(name.utf8, prefix.utf8).allSatisfy { folded($0) == $1 }
}

/// A name by which SQLite tells objects apart.
func folded(_ name: String) -> [UInt8] { name.utf8.map(folded) }

private func folded(_ byte: UInt8) -> UInt8 { (65...90).contains(byte) ? byte + 32 : byte }

/// Names in the order of their bytes.
func precedes(_ left: String, _ right: String) -> Bool {
    left.utf8.lexicographicallyPrecedes(right.utf8)
}

/// The tables of a database that hold rows, and its virtual tables and views.
struct Catalog {
    /// Of all that it was read from: the same as long as no definition has changed.
    let fingerprint: UInt64
    private(set) var tables: [TableDefinition] = []
    /// Virtual tables, views, then the triggers of views, in order of creation.
    private var others: [(name: String, sql: String)] = []
    private var positions: [[UInt8]: Int] = [:]

    /// A hash of SQLite's own table of definitions, from which all follows that a catalog says.
    static func fingerprint(_ connection: Connection) throws -> UInt64 {
        try connection.sync { _ in
            let row = try connection.prepare(
                "SELECT type, name, tbl_name, sql FROM main.sqlite_schema ORDER BY rowid")
            let text = ByteBuffer()
            while try row.step() {
                for column in 0..<4 as Range<CInt> {
                    text.append(row.text(column))
                    text.append(byte: 0)
                }
            }
            return Checksum.xxh3(text)
        }
    }

    init(_ connection: Connection) throws {
        fingerprint = try Self.fingerprint(connection)
        try readColumns(connection)
        // Names are costly to look up among 10,000; most tables have no index to ask for.
        let indexes = """
            SELECT t.name, i.name, i.origin, i."unique", i.partial, c.cid
            FROM pragma_table_list t JOIN pragma_index_list(t.name, 'main') i
            JOIN pragma_index_info(i.name, 'main') c
            WHERE t.schema = 'main' AND t.type IN ('table', 'shadow') AND (t.wr OR t.name IN (
            SELECT tbl_name FROM main.sqlite_schema WHERE type = 'index'))
            ORDER BY t.name, i.seq DESC, c.seqno
            """
        try addEach(connection, indexes) { row, table in
            let name = row.text(1)
            if table.indexes.last?.name.utf8.elementsEqual(name.utf8) != true {
                table.indexes.append(
                    TableDefinition.Index(
                        name: name, isPrimaryKey: row.text(2) == "pk",
                        isCreated: row.text(2) == "c", isUnique: row.integer(3) != 0,
                        isPartial: row.integer(4) != 0))
            }
            table.indexes[table.indexes.count - 1].columns.append(Int(row.integer(5)))
        }
        let objects = """
            SELECT tbl_name, name, sql FROM main.sqlite_schema WHERE sql IS NOT NULL
            ORDER BY type <> 'table', type <> 'index', rowid
            """
        try addEach(connection, objects) { row, table in
            table.add(name: row.text(1), sql: row.text(2))
        }
        others = try connection.rows(
            """
            SELECT name, sql FROM main.sqlite_schema WHERE type = 'view' OR \(Self.isVirtual)
            OR (type = 'trigger' AND tbl_name IN (
            SELECT name FROM main.sqlite_schema WHERE type = 'view'))
            ORDER BY type <> 'table', type <> 'view', rowid
            """
        ) { ($0.text(0), $0.text(1)) }
    }

    /// Holds for the rows of virtual tables in `sqlite_schema`: they alone have no pages.
    static let isVirtual =
        "(type = 'table' AND rootpage = 0 AND sql LIKE 'CREATE VIRTUAL%')"

    /// The statements of virtual tables, views, then the triggers of views, each ended by `;` and a
    /// line feed.
    func views(omitting omitted: Set<String>) -> String {
        others.filter { !omitted.contains($0.name) && !isOurs($0.name) }
            .map { StatementList.ended($0.sql) }.joined()
    }

    private mutating func readColumns(_ connection: Connection) throws {
        let virtual = try connection.rows(
            "SELECT name FROM main.sqlite_schema WHERE \(Self.isVirtual)"
        ) { $0.text(0) }
        let sql = """
            SELECT t.name, t.wr, c.name, c.type, c."notnull", c.pk, c.hidden, t.type, c.cid,
            c.dflt_value
            FROM pragma_table_list t JOIN pragma_table_xinfo(t.name, 'main') c
            WHERE t.schema = 'main' AND t.type IN ('table', 'shadow')
            """
        try connection.sync { _ in
            let row = try connection.prepare(sql)
            var affinities: [String: Affinity] = [:]
            func affinity(_ type: String) -> Affinity {
                if let known = affinities[type] { return known }
                let affinity = Affinity(declared: type)
                affinities[type] = affinity
                return affinity
            }
            while try row.step() {
                let name = row.text(0)
                guard let kind = Self.kind(of: name, type: row.text(7), virtual) else { continue }
                if tables.last.map({ $0.name.utf8.elementsEqual(name.utf8) }) != true {
                    tables.append(
                        TableDefinition(
                            name: name, isWithoutRowID: row.integer(1) != 0, kind: kind))
                }
                let hidden = row.integer(6)
                if hidden == 1 { continue }
                tables[tables.count - 1].add(
                    .init(
                        name: row.text(2), affinity: affinity(row.text(3)),
                        isNotNull: row.integer(4) != 0, isGenerated: hidden >= 2,
                        isVirtual: hidden == 2, keyPosition: Int(row.integer(5)),
                        byDefault: row.isNull(9) ? nil : row.text(9)), at: Int(row.integer(8)))
            }
        }
        tables.sort { precedes($0.name, $1.name) }
        for (position, table) in tables.enumerated() { positions[folded(table.name)] = position }
    }

    /// What kind of table it is to us; nil for those that are none of the user's.
    private static func kind(
        of name: String, type: String, _ virtual: [String]
    ) -> SourceTable.Kind? {
        if isOurs(name) { return nil }
        if hasPrefix(name, "sqlite_") {
            return hasPrefix(name, "sqlite_stat") ? .statistics : nil
        }
        guard type == "shadow" else { return .ordinary }
        // `notes_fts_data` is of `notes_fts`, not of `notes`.
        let owner = virtual.filter { owner in
            var prefix = folded(owner)
            prefix.append(UInt8(ascii: "_"))
            return folded(name).starts(with: prefix)
        }.max { $0.utf8.count < $1.utf8.count }
        return owner.map { .shadow(of: $0) } ?? .ordinary
    }

    /// Runs a query whose first column names a table, for the tables that count.
    private mutating func addEach(
        _ connection: Connection, _ sql: String,
        _ add: (Statement, inout TableDefinition) -> Void
    ) throws {
        try connection.sync { _ in
            let statement = try connection.prepare(sql)
            while try statement.step() {
                if let position = positions[folded(statement.text(0))] {
                    add(statement, &tables[position])
                }
            }
        }
    }

    /// The table of exactly this name, capitals and all.
    func table(_ name: String) throws -> TableDefinition {
        guard let position = positions[folded(name)],
            tables[position].name.utf8.elementsEqual(name.utf8)
        else { throw Failure(.notFound, "there is no table \(name)") }
        return tables[position]
    }
}
