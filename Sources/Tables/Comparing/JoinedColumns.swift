import Bytes

/// The columns of several versions of a table as those of one: those of the first version, then those
/// that only later ones have; hidden ones behind all others.
///
/// A column is the same one in two versions if its id is, and its type: what a table's column is called
/// may change. Of tables that have nothing to do with each other, names stand in for ids. A later
/// version's column whose name is taken by another one is called `NAME_before`.
package struct JoinedColumns: Sendable {
    package let columns: [Column]
    /// For each version and each of `columns` its index there; nil if the version hasn't got it.
    package let places: [[Int?]]

    private struct Identity: Hashable {
        let id: UInt32
        let name: [UInt8]
        let type: ColumnType
        let isLiteral: Bool
        let isHidden: Bool

        init(_ column: Column, byName: Bool) {
            // What is hidden is ours, and has the same id everywhere.
            id = byName && !column.isHidden ? 0 : column.id
            name = byName && !column.isHidden ? [UInt8](column.name.utf8) : []
            type = column.type
            isLiteral = column.isLiteral
            isHidden = column.isHidden
        }
    }

    package init(_ versions: [TableSchema], byName: Bool = false) {
        var found: [Identity: Int] = [:]
        var all: [Column] = []
        var indexes = versions.map { _ in [Int: Int]() }
        var names = Set<String>()
        var ids = Set<UInt32>()
        for (version, schema) in versions.enumerated() {
            for (index, column) in schema.columns.enumerated() {
                let identity = Identity(column, byName: byName)
                if let known = found[identity] {
                    indexes[version][known] = index
                    continue
                }
                var new = column
                new.standIn = nil
                if version > 0 {
                    new.name = Self.free(column.name, names)
                    while ids.contains(new.id) { new.id += 1 }
                }
                names.insert(new.name.lowercased())
                ids.insert(new.id)
                found[identity] = all.count
                indexes[version][all.count] = index
                all.append(new)
            }
        }
        let order =
            all.indices.filter { !all[$0].isHidden } + all.indices.filter { all[$0].isHidden }
        columns = order.map { all[$0] }
        places = indexes.map { indexes in order.map { indexes[$0] } }
    }

    private static func free(_ name: String, _ taken: Set<String>) -> String {
        if !taken.contains(name.lowercased()) { return name }
        var free = name + "_before"
        while taken.contains(free.lowercased()) { free += "_" }
        return free
    }

    /// As a table with the keys of one of the versions, mostly the first.
    func schema(keysOf version: Int, _ schema: TableSchema) throws -> TableSchema {
        let places = places[version]
        let here = { (index: Int) in places.firstIndex(of: index)! }
        return try TableSchema(
            columns: columns, key: schema.key.map(here), primaryKey: schema.primaryKey.map(here))
    }
}

/// Two versions of a table, of which one may not be there: how their columns and keys correspond, and
/// when a row of one is the same as a row of the other.
///
/// A row is the same if
/// * all columns that both versions have are,
/// * a column that is new has what stands in for it in older rows (NULL where nothing does), as if it
///   had been added and nothing else,
/// * a column that took the place of another one of its name (mostly, its type is another) looks as
///   that one did, as CSV; if one of them holds literals, it has the same value.
///
/// A column that is gone changes no row: that it is gone is a change of the table. So changes of the
/// columns, then those of rows, turn the old version into the new one.
package struct JoinedSchema: Sendable {
    /// The columns of both, with the keys of the new version.
    package let schema: TableSchema
    /// For each column of `schema` its index on either side.
    let oldPlaces: [Int?]
    let newPlaces: [Int?]
    /// Columns that only the new version has, by index there, with what stands in for them.
    let added: [(index: Int, joined: Int, standIn: [UInt8]?)]
    /// Columns of one name that are others by id or type.
    let replaced: [(old: ColumnText, new: ColumnText)]
    /// Visible columns that both have, and hidden ones.
    let common: [(old: Int, new: Int)]
    let commonHidden: [(old: Int, new: Int)]
    /// Both are ordered by the same columns.
    let haveSameOrder: Bool
    /// The columns of `schema` by which rows are paired; nil: the storage key.
    let pairing: [Int]?
    /// Columns of `schema` that can't be told apart by the stored rows alone: `isPlain` of a file says
    /// whether rows that both versions show of it are the same.
    private let doubtful: [(id: UInt32, isAdded: Bool)]

    /// - Parameter areOneTable: whether equal ids of columns mean the same column.
    package init(old: TableSchema?, new: TableSchema?, areOneTable: Bool = true) throws {
        let versions = [new, old].compactMap(\.self)
        precondition(!versions.isEmpty)
        let joined = JoinedColumns(versions, byName: !areOneTable)
        let schema = try joined.schema(keysOf: 0, versions[0])
        let none = [Int?](repeating: nil, count: joined.columns.count)
        let newPlaces = new == nil ? none : joined.places[0]
        let oldPlaces = old == nil ? none : joined.places[versions.count - 1]
        self.schema = schema
        self.newPlaces = newPlaces
        self.oldPlaces = oldPlaces
        guard let old, let new else {
            (added, replaced, common, commonHidden, doubtful) = ([], [], [], [], [])
            (haveSameOrder, pairing) = (true, nil)
            return
        }
        let both = joined.columns.indices.filter { oldPlaces[$0] != nil && newPlaces[$0] != nil }
        func pairs(_ indices: [Int]) -> [(old: Int, new: Int)] {
            indices.map { (oldPlaces[$0]!, newPlaces[$0]!) }
        }
        common = pairs(both.filter { !schema.columns[$0].isHidden })
        commonHidden = pairs(both.filter { schema.columns[$0].isHidden })
        var added: [(index: Int, joined: Int, standIn: [UInt8]?)] = []
        var replaced: [(old: ColumnText, new: ColumnText)] = []
        for index in joined.columns.indices
        where oldPlaces[index] == nil && !schema.columns[index].isHidden {
            let place = newPlaces[index]!
            let column = new.columns[place]
            let namesake = old.visibleColumns.firstIndex { $0.name.hasSameBytes(as: column.name) }
            if let namesake, !both.contains(where: { oldPlaces[$0] == namesake }) {
                replaced.append(
                    (
                        ColumnText(old.columns[namesake], at: namesake, beside: column),
                        ColumnText(column, at: place, beside: old.columns[namesake])
                    ))
            } else {
                added.append((place, index, column.standIn?.bytes))
            }
        }
        self.added = added
        self.replaced = replaced
        doubtful =
            added.map { (new.columns[$0.index].id, true) }
            + both.filter {
                old.columns[oldPlaces[$0]!].standIn != new.columns[newPlaces[$0]!].standIn
            }.map { (new.columns[newPlaces[$0]!].id, false) }
        haveSameOrder =
            schema.key.count == old.key.count
            && zip(schema.key, old.key).allSatisfy { oldPlaces[$0] == $1 }
        // The declared keys that both sides have values of.
        let declared = [new.primaryKey, old.primaryKey].enumerated().map { side, key in
            key.compactMap { (side == 0 ? newPlaces : oldPlaces).firstIndex(of: $0) }
        }.filter { key in !key.isEmpty && key.allSatisfy(both.contains) }
        if haveSameOrder {
            let isStorageKey = new.primaryKey.isEmpty || Set(new.primaryKey) == Set(new.key)
            let own = schema.primaryKey
            pairing = isStorageKey || !own.allSatisfy(both.contains) ? nil : own
        } else {
            pairing = declared.first ?? both.filter { !schema.columns[$0].isHidden }
        }
    }

    /// Whether a row that both versions show of a row file is the same in both, given the ids of the
    /// file's columns.
    func isPlain(_ fieldIDs: [Int?]) -> Bool {
        replaced.isEmpty && doubtful.allSatisfy { fieldIDs.contains(Int($0.id)) != $0.isAdded }
    }

    /// Every row file is plain.
    var hasNoDoubt: Bool { doubtful.isEmpty && replaced.isEmpty }

    /// Whether a row of the new version has in all added columns what stands in for them.
    func hasStandIns(_ new: RowBatch, _ row: Int) -> Bool {
        added.allSatisfy { column in
            let vector = new.columns[column.index]
            guard let standIn = column.standIn else { return vector.isNull(row) }
            return !vector.isNull(row)
                && vector.withBytes(row) { $0.elementsEqual(standIn) }
        }
    }

    /// Whether nobody who sees the visible columns sees a difference.
    package func isSame(_ old: RowBatch, _ i: Int, _ new: RowBatch, _ j: Int) -> Bool {
        common.allSatisfy {
            ColumnVector.identical(old.columns[$0.old], i, new.columns[$0.new], j)
        } && hasStandIns(new, j) && looksSame(old, i, new, j)
    }

    /// Whether the columns that were replaced look as before.
    func looksSame(_ old: RowBatch, _ i: Int, _ new: RowBatch, _ j: Int) -> Bool {
        replaced.allSatisfy { $0.old.text(old, i) == $0.new.text(new, j) }
    }
}

/// A column's values as something that can be compared with those of another one.
struct ColumnText: Sendable {
    private var index: Int
    private let column: Column
    private let renderer: CSVRenderer
    /// The type of whichever of the two columns is plain, if the other one holds literals.
    private let plain: ColumnType?

    func moved(_ place: (Int) -> Int) -> ColumnText {
        var copy = self
        copy.index = place(index)
        return copy
    }

    init(_ column: Column, at index: Int, beside other: Column) {
        self.index = index
        self.column = column
        let type = column.isLiteral ? other.type : column.type
        plain = column.isLiteral != other.isLiteral && LiteralValue.has(type) ? type : nil
        renderer = CSVRenderer(TableSchema(column: column.shown))
    }

    func text(_ rows: RowBatch, _ row: Int) -> [UInt8] {
        let values = rows.columns[index]
        if let plain, !values.isNull(row) {
            let value =
                column.isLiteral
                ? LiteralValue(values.bytes(row)) : LiteralValue(values, row, plain)!
            return value.identity(beside: plain)
        }
        let line = ByteBuffer(capacity: 64)
        renderer.render(RowBatch(columns: [values]), row..<row + 1, into: line)
        return line.array
    }
}
