import Bytes
import Tables

/// One instant of a SQLite database. All cursors share one connection and take turns, so that they
/// may be used by different threads.
package final class SQLiteCut: SourceCut {
    let snapshot: Snapshot
    let catalog: Catalog
    private let request: CutRequest
    private let pages: CutPages
    private let sortLimits: SortLimits
    private var refusals: [[UInt8]: String?] = [:]
    /// Of AUTOINCREMENT, by table; read once.
    private var knownSequences: [[UInt8]: Int64]?

    package let notes: [String]
    package let roomCheck: (@Sendable () throws -> Void)?
    /// Throws if somebody wrote to what is read without locks.
    private let stillness: (() throws -> Void)?

    package var instant: Int64 { snapshot.instant }

    init(
        _ snapshot: Snapshot, catalog: Catalog, request: CutRequest, pages: CutPages,
        sortLimits: SortLimits, notes: [String] = [], stillness: (() throws -> Void)? = nil
    ) {
        self.stillness = stillness
        self.pages = pages
        self.notes = notes
        if case .log = snapshot.hold {
            let log = GrowingLog(of: snapshot.path)
            roomCheck = { try log.check() }
        } else {
            roomCheck = nil
        }
        self.snapshot = snapshot
        self.catalog = catalog
        self.request = request
        self.sortLimits = sortLimits
    }

    package func listTables() throws -> [SourceTable] {
        try catalog.tables.filter { !isOmitted($0) }.map {
            SourceTable(path: $0.name, kind: $0.kind, refusal: try refusal($0))
        }
    }

    private func isOmitted(_ table: TableDefinition) -> Bool {
        if case .shadow(let owner) = table.kind, request.omitted.contains(owner) { return true }
        return request.omitted.contains(table.name)
    }

    package var views: String { catalog.views(omitting: request.omitted) }

    package var facts: DatabaseFacts? {
        get throws {
            func number(_ pragma: String) throws -> Int64 {
                try snapshot.connection.integer("PRAGMA main.\(pragma)") ?? 0
            }
            return try DatabaseFacts(
                userVersion: number("user_version"), applicationID: number("application_id"),
                encoding: snapshot.connection.text("PRAGMA main.encoding") ?? "UTF-8",
                pageSize: number("page_size"), autoVacuum: number("auto_vacuum"))
        }
    }

    package func describe(
        _ path: String, parent: TableSchema?, nextColumnID: UInt32, exactly: Bool
    ) throws -> TableDescription {
        let table = try catalog.table(path)
        if let refusal = try refusal(table) { throw Failure(.unsupported, refusal) }
        let describing = Describing(table, snapshot.connection, encoding: snapshot.encoding)
        var description = try describing.description(
            parent: parent, nextColumnID: nextColumnID, exactly: exactly)
        description.sequence = try sequences()[folded(table.name)]
        return description
    }

    private func sequences() throws -> [[UInt8]: Int64] {
        if let knownSequences { return knownSequences }
        var found: [[UInt8]: Int64] = [:]
        let isThere = "SELECT 1 FROM main.sqlite_schema WHERE name = 'sqlite_sequence'"
        if try snapshot.connection.integer(isThere) != nil {
            // Programs may have written what they like there.
            let all = "SELECT name, max(seq) FROM main.sqlite_sequence GROUP BY name"
            for (name, number) in try snapshot.connection.rows(
                all, { (folded($0.text(0)), $0.integer(1)) })
            {
                found[name] = number
            }
        }
        knownSequences = found
        return found
    }

    package func countRows(_ path: String) throws -> UInt64 {
        let table = try catalog.table(path)
        if !table.isWithoutRowID, let count = pages.capture?.countRows(path) { return count }
        let count = try snapshot.connection.integer("SELECT count(*) FROM \(table.source)")
        return UInt64(count ?? 0)
    }

    package func scan(
        _ path: String, schema: TableSchema, checkpoint: @escaping () throws -> Void
    ) throws -> any RowCursor {
        let (rows, inKeyOrder) = try rows(path, schema: schema)
        if inKeyOrder { return rows }
        return SortedRows(rows, schema: schema, limits: sortLimits, checkpoint: checkpoint)
    }

    package func rows(
        _ path: String, schema: TableSchema
    ) throws -> (rows: any RowCursor, inKeyOrder: Bool) {
        let table = try catalog.table(path)
        let columns = RowReader.expressions(schema, rowID: table.rowIDName)
        let inKeyOrder = try isStoredInKeyOrder(table, schema)
        pages.capture?.use(inKeyOrder ? schema : nil, of: path, isRowID: !table.isWithoutRowID)
        var sql = "SELECT \(columns.joined(separator: ", ")) FROM \(table.source)"
        if inKeyOrder {
            // The order in which they lie, whatever the columns' collations are elsewhere: SQLite sorts
            // nothing.
            let key = schema.key.map {
                table.isWithoutRowID ? "\(columns[$0]) COLLATE BINARY" : columns[$0]
            }
            sql += " ORDER BY \(key.joined(separator: ", "))"
        }
        return (
            try ScanCursor(
                snapshot.connection, sql: sql, reader: reader(table, schema),
                ordered: inKeyOrder ? query(of: table, schema) : nil),
            inKeyOrder
        )
    }

    func reader(_ table: TableDefinition, _ schema: TableSchema) throws -> RowReader {
        try RowReader(
            schema: schema, table: table.name, encoding: snapshot.encoding,
            affinities: table.affinities(of: schema),
            computed: table.columns.first(where: \.isVirtual)?.name)
    }

    /// Whether the table's own b-tree is in our key order: a rowid table's always is, if the rowid is
    /// its storage key; another one's if SQLite compares its key as we do.
    func isStoredInKeyOrder(_ table: TableDefinition, _ schema: TableSchema) throws -> Bool {
        if !table.isWithoutRowID {
            return schema.columns[schema.key[0]].isHidden || table.keyIsRowID
        }
        let isSame = schema.key.allSatisfy { index in
            let column = schema.columns[index]
            return !column.isLiteral && (column.type != .utf8 || snapshot.encoding == 1)
        }
        return try isSame && table.keyIsPlain(snapshot.connection)
    }

    package func changes(
        _ path: String, schema: TableSchema, parentRows: UInt64
    ) throws -> Changes {
        let table = try catalog.table(path)
        let isRowID = !table.isWithoutRowID
        let inKeyOrder = try isStoredInKeyOrder(table, schema)
        pages.capture?.use(inKeyOrder ? schema : nil, of: path, isRowID: isRowID)
        guard let capture = pages.capture, capture.knowsParent else {
            return .whole(reason: "\(path): \(pages.reason)", isDoubt: pages.isDoubt)
        }
        guard inKeyOrder else {
            return .whole(reason: "\(path) isn't stored in key order", isDoubt: false)
        }
        return try capture.changes(path, schema: schema, isRowID: isRowID, parentRows: parentRows) {
            try rows(of: table, schema, in: $0, expected: $1)
        }
    }

    private func rows(
        of table: TableDefinition, _ schema: TableSchema, in ranges: KeyRanges, expected: UInt64?
    ) throws -> RangeRows {
        RangeRows(
            snapshot.connection, table: table.name, query: query(of: table, schema),
            reader: try reader(table, schema), ranges: ranges, expected: expected)
    }

    private func query(of table: TableDefinition, _ schema: TableSchema) -> RangeQuery {
        let columns = RowReader.expressions(schema, rowID: table.rowIDName)
        let key = schema.key.map { index in
            (table.rowIDName ?? columns[index], schema.columns[index].type)
        }
        return RangeQuery(
            select: "SELECT \(columns.joined(separator: ", ")) FROM \(table.source)", key: key,
            isRowID: !table.isWithoutRowID)
    }

    package func confirm() throws { try stillness?() }

    package func writeKnowledge(to sink: any ByteSink) throws { try pages.capture?.write(to: sink) }

    package func close() { snapshot.close() }

    private func refusal(_ table: TableDefinition) throws -> String? {
        if let known = refusals[folded(table.name)] { return known }
        var found: String?
        do {
            found = try Describing(table, snapshot.connection, encoding: snapshot.encoding)
                .refusal()
        } catch let failure as Failure where failure.code == .corrupt {
            // Its rows had to be looked at: a damaged table is the business of nobody else.
            found = failure.message
        }
        refusals[folded(table.name)] = found
        return found
    }
}
