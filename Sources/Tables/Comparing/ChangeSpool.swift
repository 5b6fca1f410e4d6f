import Bytes

/// What happened to a row between two versions of a table. An update is two rows, one after the other.
package enum ChangeType: Int32, Sendable, CaseIterable {
    // In the order in which they stand at one place.
    case delete, insert, before, after

    /// What Delta Lake's change feeds call it.
    package var name: String {
        switch self {
        case .delete: "delete"
        case .insert: "insert"
        case .before: "update_preimage"
        case .after: "update_postimage"
        }
    }

    /// Whether the row is one of the old version.
    package var isOld: Bool { self == .delete || self == .before }
}

/// Changed rows on their way to where they stand: in front of a table's columns the place, a
/// normalized storage key, and what happened to the row.
struct ChangeSpool: Sendable {
    static let headColumns = 2
    /// In no particular order.
    let schema: TableSchema
    private let joined: JoinedSchema
    /// By column of the joined schema, what stands in old rows for a column that is new.
    private let standIns: [Int: [UInt8]]

    init(_ joined: JoinedSchema) throws {
        self.joined = joined
        standIns = joined.added.reduce(into: [:]) { $0[$1.joined] = $1.standIn }
        let head = [
            Column(id: 1, name: "place", type: .string), Column(id: 2, name: "type", type: .int32),
        ]
        let columns = joined.schema.columns.enumerated().map { index, column in
            Column(id: UInt32(index + 3), name: column.name, type: column.type)
        }
        schema = try TableSchema(columns: head + columns, key: [0, 1], primaryKey: [])
    }

    /// With another key, by columns of the joined schema, then what else is given.
    func ordered(by columns: [Int], then others: [Int] = []) -> TableSchema {
        var ordered = schema
        ordered.key = columns.map { $0 + Self.headColumns } + others
        return ordered
    }

    /// By place.
    var places: TableSchema { schema }

    /// Appends a row of one side, with its place among the keys. An old row gets in added columns what
    /// stands in for them.
    func append(
        _ row: Int, of batch: RowBatch, _ type: ChangeType, keys: KeyList, to output: RowBatch
    ) {
        // Where keys of both sides have no order in common, what went comes first.
        let head: [UInt8] = joined.haveSameOrder ? [] : [type.isOld ? 0 : 1]
        output.columns[0].append(bytes: head + keys[row])
        output.columns[1].append(type.rawValue)
        let places = type.isOld ? joined.oldPlaces : joined.newPlaces
        for (index, place) in places.enumerated() {
            let column = output.columns[index + Self.headColumns]
            if let place {
                column.append(batch.columns[place], row: row)
            } else if type.isOld, let standIn = standIns[index] {
                column.append(bytes: standIn)
            } else {
                column.appendNull()
            }
        }
    }

    /// Appends consecutive rows of one side. Nobody asks for their places.
    func append(
        _ rows: Range<Int>, of batch: RowBatch, _ type: ChangeType, to output: RowBatch
    ) {
        for _ in rows {
            output.columns[0].appendNull()
            output.columns[1].append(type.rawValue)
        }
        for (index, place) in (type.isOld ? joined.oldPlaces : joined.newPlaces).enumerated() {
            let column = output.columns[index + Self.headColumns]
            if let place {
                column.append(batch.columns[place], rows: rows)
            } else {
                for _ in rows { column.appendNull() }
            }
        }
    }

    /// Appends consecutive rows of both sides as updates, the old row of each in front of the new one.
    /// Nobody asks for their places.
    func append(
        updates count: Int, _ old: RowBatch, from first: Int, _ new: RowBatch, from second: Int,
        to output: RowBatch
    ) {
        for _ in 0..<count {
            for type in [ChangeType.before, .after] {
                output.columns[0].appendNull()
                output.columns[1].append(type.rawValue)
            }
        }
        for index in joined.oldPlaces.indices {
            let column = output.columns[index + Self.headColumns]
            let before = joined.oldPlaces[index].map { old.columns[$0] }
            let after = joined.newPlaces[index].map { new.columns[$0] }
            for row in 0..<count {
                if let before {
                    column.append(before, row: first + row)
                } else {
                    column.appendNull()
                }
                if let after {
                    column.append(after, row: second + row)
                } else {
                    column.appendNull()
                }
            }
        }
    }

    /// Copies a row of the spool with another type, at another row's place. What was filled in goes.
    func move(
        _ row: SpooledRow, as type: ChangeType, to place: SpooledRow, into output: RowBatch
    ) {
        output.columns[0].append(place.batch.columns[0], row: place.row)
        output.columns[1].append(type.rawValue)
        for index in Self.headColumns..<output.columns.count {
            if type.isOld, standIns[index - Self.headColumns] != nil {
                output.columns[index].appendNull()
            } else {
                output.columns[index].append(row.batch.columns[index], row: row.row)
            }
        }
    }
}

extension ChangeSpool {
    /// Whether columns that were replaced look the same in two rows of the spool.
    func looksSame(_ old: SpooledRow, _ new: SpooledRow) -> Bool {
        joined.replaced.allSatisfy { columns in
            columns.old.spooled(joined.oldPlaces).text(old.batch, old.row)
                == columns.new.spooled(joined.newPlaces).text(new.batch, new.row)
        }
    }
}

extension ColumnText {
    /// The same column in the spool, given where the joined schema's columns are on its side.
    fileprivate func spooled(_ places: [Int?]) -> ColumnText {
        moved { places.firstIndex(of: $0)! + ChangeSpool.headColumns }
    }
}

/// A row of a batch that nobody changes.
struct SpooledRow {
    let batch: RowBatch
    let row: Int
}
