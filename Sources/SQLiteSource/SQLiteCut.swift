import Bytes
import Tables

/// One instant of a SQLite database. All cursors share one connection and take turns, so that they
/// may be used by different threads.
final class SQLiteCut: SourceCut {
    private let snapshot: Snapshot
    private let catalog: Catalog
    private let reader: ChangeReader
    private var refusals: [[UInt8]: String?] = [:]

    var instant: Int64 { snapshot.instant }

    /// - Parameter nonce: nil if no markers were written for this cut.
    init(_ snapshot: Snapshot, collection: String, nonce: String?) throws {
        self.snapshot = snapshot
        catalog = try Catalog(snapshot.connection)
        reader = ChangeReader(
            snapshot: snapshot, meta: try CaptureMeta(snapshot.connection), collection: collection,
            nonce: nonce)
    }

    func listTables() throws -> [SourceTable] {
        try catalog.tables.map { SourceTable(path: $0.name, refusal: try refusal($0)) }
    }

    /// The statements of the database's views, each ended by `;` and a line feed.
    var views: String { catalog.views }

    func describe(
        _ path: String, parent: TableSchema?, nextColumnID: UInt32, literals: Set<String>
    ) throws -> TableDescription {
        let table = try catalog.table(path)
        if let refusal = try refusal(table) { throw Failure(.unsupported, refusal) }
        let schema = try Describing(connection: snapshot.connection).schema(
            table, parent: parent, nextColumnID: nextColumnID, literals: literals)
        return TableDescription(schema: schema, sql: table.sql)
    }

    func countRows(_ path: String) throws -> UInt64 {
        let table = try catalog.table(path)
        let count = try snapshot.connection.integer(
            "SELECT count(*) FROM main.\(quoted(table.name))")
        return UInt64(count ?? 0)
    }

    func scan(_ path: String, schema: TableSchema) throws -> any RowCursor {
        let table = try catalog.table(path)
        let columns = RowReader.expressions(schema)
        let order = RowReader.order(
            schema, schema.key.map { columns[$0] }, encoding: snapshot.encoding)
        return try ScanCursor(
            snapshot.connection,
            sql: """
                SELECT \(columns.joined(separator: ", ")) FROM main.\(quoted(table.name))
                ORDER BY \(order)
                """,
            reader: RowReader(schema: schema, table: path, encoding: snapshot.encoding))
    }

    func changes(_ path: String, schema: TableSchema, since state: CaptureState) throws -> Changes {
        try reader.changes(catalog.table(path), schema: schema, since: state)
    }

    var state: CaptureState { get throws { try reader.state(catalog) } }

    func close() { snapshot.close() }

    private func refusal(_ table: TableDefinition) throws -> String? {
        if let known = refusals[folded(table.name)] { return known }
        let found = try Describing(connection: snapshot.connection).refusal(table)
        refusals[folded(table.name)] = found
        return found
    }
}
