import Bytes

/// One row through all points: where it appeared, became another one, and vanished.
package struct RowHistory {
    package struct Change: Sendable {
        /// Index of the point.
        package let point: Int
        /// Insert, after (what it became), or delete (what it was).
        package let type: ChangeType
        /// In the columns of `columns`.
        package let row: RowBatch
    }

    /// What users see of all points' versions of the table: the newest one's columns, then those that
    /// only older ones have.
    package let columns: [Column]
    package private(set) var changes: [Change] = []

    private let areOneTable: Bool

    /// - Parameters:
    ///   - points: the table at each point, oldest first; nil where it isn't there; somewhere it is.
    ///   - areOneTable: whether equal ids of columns mean the same column.
    ///   - checkpoint: called now and then; throws to stop.
    package init(
        of key: TableKey, through points: [Snapshot?], areOneTable: Bool = true,
        checkpoint: @escaping () throws -> Void = {}
    ) throws {
        self.areOneTable = areOneTable
        var schemas: [TableSchema] = []
        for schema in points.reversed().compactMap({ $0?.schema }) where !schemas.contains(schema) {
            schemas.append(schema)
        }
        let joined = JoinedColumns(schemas, byName: !areOneTable)
        let shown = joined.columns.prefix { !$0.isHidden }
        columns = Array(shown)
        let places = Dictionary(
            uniqueKeysWithValues: zip(schemas, joined.places.map { Array($0.prefix(shown.count)) }))
        let finder = RowFinder(key, checkpoint: checkpoint)
        var last: (snapshot: Snapshot, rows: RowBatch)?
        for (point, snapshot) in points.enumerated() {
            try checkpoint()
            if let snapshot, let last, last.snapshot.showsSame(as: snapshot) { continue }
            let rows = try snapshot.map { try finder.rows(of: $0) }
            try compare(
                last.map { ($0.snapshot.schema, $0.rows) }, snapshot.map { ($0.schema, rows!) },
                point, places)
            last = snapshot.map { ($0, rows!) }
        }
    }

    /// Adds what happened between two points. Rows that are the same are left out, the others are
    /// paired in their order: mostly there is one of each.
    private mutating func compare(
        _ old: (schema: TableSchema, rows: RowBatch)?,
        _ new: (schema: TableSchema, rows: RowBatch)?, _ point: Int,
        _ places: [TableSchema: [Int?]]
    ) throws {
        var olds = Array(0..<(old?.rows.count ?? 0))
        var news = Array(0..<(new?.rows.count ?? 0))
        if let old, let new, !olds.isEmpty, !news.isEmpty {
            let joined = try JoinedSchema(
                old: old.schema, new: new.schema, areOneTable: areOneTable)
            news.removeAll { row in
                let same = olds.firstIndex { joined.isSame(old.rows, $0, new.rows, row) }
                if let same { olds.remove(at: same) }
                return same != nil
            }
        }
        for (index, row) in news.enumerated() {
            add(index < olds.count ? .after : .insert, new!, row, point, places)
        }
        for row in olds.dropFirst(news.count) { add(.delete, old!, row, point, places) }
    }

    private mutating func add(
        _ type: ChangeType, _ side: (schema: TableSchema, rows: RowBatch), _ row: Int,
        _ point: Int, _ places: [TableSchema: [Int?]]
    ) {
        let vectors = zip(columns, places[side.schema]!).map { column, place in
            let vector = ColumnVector(column.type.layout)
            if let place {
                vector.append(side.rows.columns[place], row: row)
            } else {
                vector.appendNull()
            }
            return vector
        }
        changes.append(Change(point: point, type: type, row: RowBatch(columns: vectors)))
    }

    /// As CSV: `_point,_change_type`, then the columns.
    ///
    /// - Parameter points: their names.
    package func csv(points: [String]) throws -> ByteBuffer {
        let taken = Set(columns.map { $0.name.lowercased() })
        let ids = Set(columns.map(\.id))
        let free = (1...).lazy.filter { !ids.contains($0) }.prefix(2)
        let head = zip(["_point", "_change_type"], free).map { name, id in
            var name = name
            while taken.contains(name) { name += "_" }
            return Column(id: id, name: name, type: .utf8)
        }
        let renderer = CSVRenderer(
            try TableSchema(columns: head + columns, key: [0], primaryKey: []))
        let output = ByteBuffer(capacity: 4096)
        output.append(renderer.header)
        for change in changes {
            let words = [points[change.point], change.type.name].map { text in
                let vector = ColumnVector(.variable)
                vector.append(text: text)
                return vector
            }
            renderer.render(RowBatch(columns: words + change.row.columns), 0..<1, into: output)
        }
        return output
    }
}

extension Snapshot {
    /// Whether another snapshot is the very same version of the table.
    package func showsSame(as other: Snapshot) -> Bool {
        pool === other.pool && reference == other.reference && schema == other.schema
    }
}
