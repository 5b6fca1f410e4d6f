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
        let shown = HistoryColumns(schemas, areOneTable: areOneTable)
        columns = shown.columns
        let places = Dictionary(uniqueKeysWithValues: zip(schemas, shown.places))
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

    /// Adds what happened between two points. Rows that are the same are left out, others whose keys
    /// are of one kind are paired in their order: mostly there is one of each.
    private mutating func compare(
        _ old: (schema: TableSchema, rows: RowBatch)?,
        _ new: (schema: TableSchema, rows: RowBatch)?, _ point: Int,
        _ places: [TableSchema: [HistoryColumns.Place?]]
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
        for row in news {
            let partner = olds.firstIndex {
                LiteralValue.kinds(ofKey: old!.rows, $0, old!.schema)
                    == LiteralValue.kinds(ofKey: new!.rows, row, new!.schema)
            }
            if let partner { olds.remove(at: partner) }
            add(partner == nil ? .insert : .after, new!, row, point, places)
        }
        for row in olds { add(.delete, old!, row, point, places) }
    }

    private mutating func add(
        _ type: ChangeType, _ side: (schema: TableSchema, rows: RowBatch), _ row: Int,
        _ point: Int, _ places: [TableSchema: [HistoryColumns.Place?]]
    ) {
        let vectors = zip(columns, places[side.schema]!).map { column, place in
            let vector = ColumnVector(column.type.layout)
            if let place {
                place.append(side.rows, row, side.schema, to: vector)
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

/// The columns of a row's history: those of all versions of the table. A column of the key that is plain
/// in one version and holds literals in another is one column, of what the values look like.
private struct HistoryColumns {
    /// Where a version has a column's values.
    enum Place {
        case same(Int)
        /// As text that looks like the value.
        case text(Int)

        func append(_ rows: RowBatch, _ row: Int, _ schema: TableSchema, to output: ColumnVector) {
            switch self {
            case .same(let index): output.append(rows.columns[index], row: row)
            case .text(let index):
                let field = ValueText.field(of: rows.columns[index], row, in: schema.columns[index])
                guard let text = ValueText.content(ofField: field) else {
                    return output.appendNull()
                }
                output.append(text: text)
            }
        }
    }

    private(set) var columns: [Column]
    /// For each version and each of `columns`; nil if the version hasn't got it.
    private(set) var places: [[Place?]]

    /// - Parameter versions: the newest first.
    init(_ versions: [TableSchema], areOneTable: Bool) {
        let joined = JoinedColumns(versions, byName: !areOneTable)
        columns = Array(joined.columns.prefix { !$0.isHidden })
        places = joined.places.map { [count = columns.count] in
            $0.prefix(count).map { $0.map(Place.same) }
        }
        for position in versions[0].lookupKey.indices.reversed() {
            merge(keyColumn: position, of: versions, joined)
        }
        let isThere = columns.indices.map { index in places.contains { $0[index] != nil } }
        columns = zip(columns, isThere).filter(\.1).map(\.0)
        places = places.map { zip($0, isThere).filter(\.1).map(\.0) }
    }

    private mutating func merge(
        keyColumn position: Int, of versions: [TableSchema], _ joined: JoinedColumns
    ) {
        let newest = versions[0].columns[versions[0].lookupKey[position]]
        // Which column of each version it is.
        let counterparts = versions.map { version -> Int? in
            guard version.lookupKey.count == versions[0].lookupKey.count else { return nil }
            let index = version.lookupKey[position]
            return version.columns[index].name.hasSameBytes(as: newest.name) ? index : nil
        }
        let kinds = Set(
            zip(versions, counterparts).compactMap { version, index in
                index.map { version.columns[$0].isLiteral }
            })
        guard kinds.count > 1, let target = joined.places[0].firstIndex(of: counterparts[0]),
            target < columns.count
        else { return }
        columns[target].type = .utf8
        columns[target].isLiteral = false
        for (version, index) in counterparts.enumerated() {
            guard let index, let place = joined.places[version].firstIndex(of: index) else {
                continue
            }
            places[version][place] = nil
            places[version][target] = .text(index)
        }
    }
}

extension Snapshot {
    /// Whether another snapshot is the very same version of the table.
    package func showsSame(as other: Snapshot) -> Bool {
        pool === other.pool && reference == other.reference && schema == other.schema
    }
}
