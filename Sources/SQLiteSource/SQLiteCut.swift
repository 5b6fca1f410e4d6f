import Bytes
import Tables

/// One instant of a SQLite database. All cursors share one connection and take turns, so that they
/// may be used by different threads.
package final class SQLiteCut: SourceCut {
    private let snapshot: Snapshot
    let catalog: Catalog
    private let reader: ChangeReader
    private let sortLimits: SortLimits
    private var refusals: [[UInt8]: String?] = [:]

    package var instant: Int64 { snapshot.instant }

    /// - Parameter nonce: nil if no markers were written for this cut.
    init(
        _ snapshot: Snapshot, catalog: Catalog, collection: String, nonce: String?,
        sortLimits: SortLimits
    ) throws {
        self.snapshot = snapshot
        self.catalog = catalog
        self.sortLimits = sortLimits
        reader = ChangeReader(
            snapshot: snapshot, meta: try CaptureMeta(snapshot.connection), collection: collection,
            nonce: nonce)
    }

    package func listTables() throws -> [SourceTable] {
        try catalog.tables.map { SourceTable(path: $0.name, refusal: try refusal($0)) }
    }

    package var views: String { catalog.views }

    package func describe(
        _ path: String, parent: TableSchema?, nextColumnID: UInt32, literals: Set<String>
    ) throws -> TableDescription {
        let table = try catalog.table(path)
        if let refusal = try refusal(table) { throw Failure(.unsupported, refusal) }
        let schema = try Describing(connection: snapshot.connection).schema(
            table, parent: parent, nextColumnID: nextColumnID, literals: literals)
        return TableDescription(schema: schema, sql: table.sql)
    }

    package func countRows(_ path: String) throws -> UInt64 {
        let table = try catalog.table(path)
        let count = try snapshot.connection.integer(
            "SELECT count(*) FROM main.\(quoted(table.name))")
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
        let columns = RowReader.expressions(schema)
        let key = RowReader.order(
            schema, schema.key.map { columns[$0] }, encoding: snapshot.encoding)
        let all = "SELECT \(columns.joined(separator: ", ")) FROM main.\(quoted(table.name))"
        let ordered = "\(all) ORDER BY \(key)"
        let inKeyOrder =
            try table.keyIsRowID || !(wouldSort(ordered) || isScattered(table, key))
        let cursor = try ScanCursor(
            snapshot.connection, sql: inKeyOrder ? ordered : all,
            reader: RowReader(schema: schema, table: path, encoding: snapshot.encoding))
        return (cursor, inKeyOrder)
    }

    /// Whether SQLite has no index in the order of a query, so that it would sort all rows: which
    /// takes it more processor time than us, and can't be stopped. Sorting among rows that are
    /// alike in the first columns of the key, which an index gives in order, is left to it.
    private func wouldSort(_ sql: String) throws -> Bool {
        try snapshot.connection.rows("EXPLAIN QUERY PLAN \(sql)") { $0.text(3) }
            .contains("USE TEMP B-TREE FOR ORDER BY")
    }

    /// Whether rows in key order lie all over the file, so that reading them one after another and
    /// sorting is faster than to look each up. Judged by the first rows in key order: are they stored
    /// in that order?
    private func isScattered(_ table: TableDefinition, _ order: String) throws -> Bool {
        guard !table.isWithoutRowID, let rowID = table.rowIDName else { return false }
        let sample = 2000
        let places = try snapshot.connection.rows(
            "SELECT \(rowID) FROM main.\(quoted(table.name)) ORDER BY \(order) LIMIT \(sample)"
        ) { $0.integer(0) }
        let ascending = zip(places, places.dropFirst()).count { $0 < $1 }
        return places.count == sample && ascending < sample * 9 / 10
    }

    package func changes(_ path: String, schema: TableSchema, since state: CaptureState) throws
        -> Changes
    {
        try reader.changes(catalog.table(path), schema: schema, since: state)
    }

    package var state: CaptureState { get throws { try reader.state(catalog) } }

    package func close() { snapshot.close() }

    private func refusal(_ table: TableDefinition) throws -> String? {
        if let known = refusals[folded(table.name)] { return known }
        let found = try Describing(connection: snapshot.connection).refusal(table)
        refusals[folded(table.name)] = found
        return found
    }
}
