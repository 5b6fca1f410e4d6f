import Bytes
import Tables
import TestSupport

/// A table that changes in every way that tables do, as its points are stored and as plain values.
final class ModelHistory {
    enum Value: Hashable, Comparable {
        case null
        case int(Int64)
        case text(String)

        var csv: String {
            switch self {
            case .null: ""
            case .int(let value): "\(value)"
            case .text(let text):
                text.isEmpty || text.contains(where: { "\",\n".contains($0) })
                    || text.hasSuffix(" ")
                    ? "\"" + text.replacing("\"", with: "\"\"") + "\"" : text
            }
        }

        /// Nil for NULL.
        var bytes: [UInt8]? {
            switch self {
            case .null: nil
            case .int(let value): withUnsafeBytes(of: value) { [UInt8]($0) }
            case .text(let text): [UInt8](text.utf8)
            }
        }

        // As keys are ordered: NULL, then values; a column has one type.
        static func < (a: Value, b: Value) -> Bool {
            switch (a, b) {
            case (.null, .null): false
            case (.null, _): true
            case (_, .null): false
            case (.int(let a), .int(let b)): a < b
            case (.text(let a), .text(let b)): a.utf8.lexicographicallyPrecedes(b.utf8)
            case (.int, .text): true
            case (.text, .int): false
            }
        }
    }

    struct Row: Hashable {
        var rowID: Int64
        /// By id of the column.
        var values: [UInt32: Value]

        subscript(id: UInt32) -> Value { values[id] ?? .null }
    }

    /// What a table is ordered by, and what it declares.
    enum Kind: CaseIterable {
        case integerKey, rowIDAndKey, rowIDAndKeys, keyless, ownKeys

        var declared: [UInt32] {
            switch self {
            case .integerKey, .rowIDAndKey: [1]
            case .rowIDAndKeys, .ownKeys: [2, 1]
            case .keyless: []
            }
        }

        var storage: [UInt32] {
            self == .integerKey || self == .ownKeys ? declared : [TableSchema.rowIDColumnID]
        }

        var hasNullKeys: Bool { storage != declared }
    }

    struct Point {
        var schema: TableSchema
        var kind: Kind
        var rows: [Row]
        var result: TableResult

        func place(_ row: Row) -> [Value] {
            kind.storage.map { $0 == TableSchema.rowIDColumnID ? .int(row.rowID) : row[$0] }
        }
    }

    let files = MemoryFiles()
    private let limits: FormatLimits
    private var random: SeededGenerator
    private var columns: [Column] = [
        Column(id: 1, name: "a", type: .int64), Column(id: 2, name: "b", type: .utf8),
        Column(id: 3, name: "c", type: .utf8),
    ]
    private var nextID: UInt32 = 4
    private var kind: Kind
    private var rows: [Row] = []
    private(set) var points: [Point] = []

    init(seed: Int, limits: FormatLimits, points count: Int) throws {
        self.limits = limits
        random = SeededGenerator(seed: UInt64(seed))
        kind = Kind.allCases[seed % Kind.allCases.count]
        for _ in 0..<Int.random(in: 0...60, using: &random) { insert() }
        try whole()
        while points.count < count { try step() }
    }

    func snapshot(_ point: Int, _ pool: FilePool) -> Snapshot {
        Snapshot(points[point].result.snapshot, schema: points[point].schema, pool: pool)
    }

    // MARK: Changes

    private func step() throws {
        files.endBackup()
        switch Int.random(in: 0..<14, using: &random) {
        case 0: try addColumn()
        case 1: try dropColumn()
        case 2: try whole()
        case 3: try rekey()
        case 5: try replaceColumn()
        case 4: renumber()
        default: change()
        }
        if points.last.map({ Set($0.rows) }) != Set(rows) { try incremental() }
    }

    private func change() {
        for _ in 0..<Int.random(in: 1...20, using: &random) {
            guard let index = rows.indices.randomElement(using: &random) else {
                insert()
                continue
            }
            switch Int.random(in: 0..<8, using: &random) {
            case 0, 1: insert()
            case 2: rows.remove(at: index)
            case 3:
                // The same row under another rowid.
                var row = rows.remove(at: index)
                row.rowID = Int64.random(in: 0...400, using: &random)
                add(row)
            case 4:
                var row = rows.remove(at: index)
                row.values[kind.declared.randomElement(using: &random) ?? 1] = nil
                fill(&row)
                add(row)
            default:
                let free = columns.filter { !kind.declared.contains($0.id) }
                guard let column = free.randomElement(using: &random) else { continue }
                rows[index].values[column.id] = value(column)
            }
        }
        if Int.random(in: 0..<5, using: &random) == 0 {
            // A range is filled, or emptied.
            let first = Int64.random(in: 0...400, using: &random)
            if Bool.random(using: &random) {
                rows.removeAll { (first..<first + 40).contains($0.rowID) }
            } else {
                for id in first..<first + 20 { insert(rowID: id) }
            }
        }
    }

    private func value(_ column: Column) -> Value {
        if Int.random(in: 0..<5, using: &random) == 0 { return .null }
        if column.type == .int64 { return .int(Int64.random(in: 0...60, using: &random)) }
        return .text(["", "x", "a,b", "say \"no\"", "z ", "ä"].randomElement(using: &random)!)
    }

    private func insert(rowID: Int64? = nil) {
        var row = Row(rowID: rowID ?? Int64.random(in: 0...400, using: &random), values: [:])
        fill(&row)
        add(row)
    }

    /// Gives a row the values that it hasn't got.
    private func fill(_ row: inout Row) {
        for column in columns where row.values[column.id] == nil {
            row.values[column.id] = value(column)
        }
        if kind == .integerKey { row.values[1] = .int(row.rowID) }
    }

    /// Adds a row unless its keys are taken, or aren't allowed.
    private func add(_ row: Row) {
        if isAllowed(row, among: rows) { rows.append(row) }
    }

    private func isAllowed(_ row: Row, among rows: [Row]) -> Bool {
        let key = kind.declared.map { row[$0] }
        let hasNull = key.contains(.null)
        if hasNull, !kind.hasNullKeys { return false }
        return !rows.contains { other in
            other.rowID == row.rowID
                || !key.isEmpty && !hasNull && kind.declared.map { other[$0] } == key
        }
    }

    private func renumber() {
        let ids = (0..<Int64(rows.count)).shuffled(using: &random)
        for index in rows.indices where kind.storage == [TableSchema.rowIDColumnID] {
            rows[index].rowID = ids[index]
        }
    }

    private func addColumn() throws {
        var column = Column(
            id: nextID, name: "d\(nextID)", type: Bool.random(using: &random) ? .int64 : .utf8)
        nextID += 1
        if Int.random(in: 0..<4, using: &random) == 0 {
            // Other values in every row.
            columns.insert(column, at: Int.random(in: 0...columns.count, using: &random))
            for index in rows.indices { rows[index].values[column.id] = value(column) }
            return try whole()
        }
        let standIn = value(column)
        column.standIn = StandIn(bytes: standIn.bytes)
        columns.insert(column, at: Int.random(in: 0...columns.count, using: &random))
        for index in rows.indices { rows[index].values[column.id] = standIn }
        try reproject()
    }

    private func dropColumn() throws {
        guard let column = columns.filter({ $0.id > 2 }).randomElement(using: &random),
            columns.count > 2
        else { return }
        columns.removeAll { $0.id == column.id }
        for index in rows.indices { rows[index].values[column.id] = nil }
        try reproject()
    }

    /// Another column takes the place of one, under its name.
    private func replaceColumn() throws {
        guard
            let index = columns.indices.filter({ columns[$0].id > 2 }).randomElement(using: &random)
        else { return }
        let old = columns[index]
        var new = Column(
            id: nextID, name: old.name, type: Bool.random(using: &random) ? old.type : .utf8)
        nextID += 1
        let standIn = Bool.random(using: &random) ? value(new) : nil
        new.standIn = standIn.map { StandIn(bytes: $0.bytes) }
        columns[index] = new
        for row in rows.indices {
            let before = rows[row].values.removeValue(forKey: old.id)!
            var value = standIn ?? value(new)
            // Mostly it looks as before.
            if standIn == nil, Int.random(in: 0..<3, using: &random) > 0 {
                if case .int(let number) = before {
                    value = .text("\(number)")
                } else {
                    value = before
                }
                if new.type == .int64 { value = before }
            }
            rows[row].values[new.id] = value
        }
        if standIn != nil { try reproject() } else { try whole() }
    }

    private func rekey() throws {
        kind = Kind.allCases.randomElement(using: &random)!
        let candidates = rows
        rows = []
        for var row in candidates {
            if kind == .integerKey { row.values[1] = .int(row.rowID) }
            add(row)
        }
        try whole()
    }

    // MARK: Storing

    private var schema: TableSchema {
        let hidden = Column(
            id: TableSchema.rowIDColumnID, name: "rowid", type: .int64, isHidden: true)
        let all = columns + (kind.storage == [hidden.id] ? [hidden] : [])
        func indices(_ ids: [UInt32]) -> [Int] {
            ids.map { id in all.firstIndex { $0.id == id }! }
        }
        return try! TableSchema(
            columns: all, key: indices(kind.storage), primaryKey: indices(kind.declared))
    }

    private var batch: RowBatch {
        let schema = schema
        let batch = RowBatch(schema)
        for row in rows {
            for (column, vector) in zip(schema.columns, batch.columns) {
                let value = column.isHidden ? .int(row.rowID) : row[column.id]
                if let bytes = value.bytes {
                    vector.append(bytes: bytes)
                } else {
                    vector.appendNull()
                }
            }
        }
        return schema.sorted(batch)
    }

    private func whole() throws {
        add(
            try FullWriter.write(
                BatchCursor(batch), schema: schema, table: "t", files: files, limits: limits))
    }

    private func reproject() throws {
        let pool = FilePool(files, cache: SharedCache(maxBytes: 1 << 20))
        add(
            try Reprojection.write(
                snapshot(points.count - 1, pool), as: schema, files: files, limits: limits))
    }

    private func incremental() throws {
        let last = points.last!
        let pool = FilePool(files, cache: SharedCache(maxBytes: 1 << 20))
        let parent = snapshot(points.count - 1, pool)
        let diff = try Diff(parent: parent, live: BatchCursor(batch), table: "t") { _ in }
        let result = try IncrementalWriter.write(
            parent: parent, hash: last.result.contentHash, parentChanges: last.result.changes,
            changes: diff, table: "t", files: files, limits: limits)
        add(result ?? last.result)
    }

    private func add(_ result: TableResult) {
        points.append(Point(schema: schema, kind: kind, rows: rows, result: result))
    }
}

/// What changed between two points by plain values: the oracle of `SnapshotDiff`.
struct ModelDiff {
    typealias Row = ModelHistory.Row
    typealias Value = ModelHistory.Value
    typealias Point = ModelHistory.Point

    private let old: Point?
    private let new: Point?
    private let common: [UInt32]
    private let added: [Column]
    private let replaced: [(old: UInt32, new: UInt32)]
    private(set) var lines: [String] = []
    private(set) var counts = ChangeCounts()

    init(_ old: Point?, _ new: Point?) {
        self.old = old
        self.new = new
        let (before, after) = (
            old.map { Array($0.schema.visibleColumns) } ?? [],
            new.map { Array($0.schema.visibleColumns) } ?? []
        )
        let (oldIDs, newIDs) = (before.map(\.id), after.map(\.id))
        common = newIDs.filter(oldIDs.contains)
        let gone = before.filter { !newIDs.contains($0.id) }
        let unknown = old == nil ? [] : after.filter { !oldIDs.contains($0.id) }
        replaced = unknown.compactMap { column in
            gone.first { $0.name == column.name }.map { ($0.id, column.id) }
        }
        let others = replaced.map(\.new)
        added = unknown.filter { !others.contains($0.id) }
        let names = after.map(\.name)
        let goneNames = gone.map { names.contains($0.name) ? $0.name + "_before" : $0.name }
        lines = [(["_change_type"] + names + goneNames).joined(separator: ",")]
        let shown = newIDs + gone.map(\.id)
        let haveOneOrder = old == nil || new == nil || old!.kind.storage == new!.kind.storage
        let ordered = changes.sorted { a, b in
            if !haveOneOrder, a.rank != b.rank { return a.rank < b.rank }
            return a.place == b.place
                ? a.rank < b.rank : a.place.lexicographicallyPrecedes(b.place)
        }
        for change in ordered {
            for (type, row) in change.rows {
                lines.append((["\(type)"] + shown.map { row[$0].csv }).joined(separator: ","))
            }
            switch change.rows.last!.0 {
            case "insert": counts.inserted += 1
            case "delete": counts.deleted += 1
            default: counts.updated += 1
            }
        }
    }

    private typealias Change = (place: [Value], rank: Int, rows: [(String, Row)])

    private func standIn(_ column: Column) -> Value {
        guard let bytes = column.standIn?.bytes else { return .null }
        return column.type == .int64
            ? .int(bytes.withUnsafeBytes { $0.loadUnaligned(as: Int64.self) })
            : .text(String(decoding: bytes, as: UTF8.self))
    }

    /// What decides whether a row is the same as one of the other point.
    private func content(_ row: Row, isOld: Bool) -> [Value] {
        let shown = new?.schema.visibleColumns.map(\.id) ?? []
        return shown.filter { id in common.contains(id) || added.contains { $0.id == id } }.map {
            id in
            if isOld, let column = added.first(where: { $0.id == id }) { return standIn(column) }
            return row[id]
        }
    }

    private func looksSame(_ old: Row, _ new: Row) -> Bool {
        replaced.allSatisfy { old[$0.old].csv == new[$0.new].csv }
    }

    private var pairing: [UInt32]? {
        guard let old, let new else { return nil }
        let both = Set(common)
        if old.kind.storage == new.kind.storage {
            let isStorage = new.kind.declared.isEmpty || new.kind.declared == new.kind.storage
            return isStorage ? nil : new.kind.declared
        }
        for key in [new.kind.declared, old.kind.declared] where !key.isEmpty {
            if both.isSuperset(of: key) { return key }
        }
        return common
    }

    private var changes: [Change] {
        var result: [Change] = []
        func delete(_ row: Row) { result.append((old!.place(row), 0, [("delete", row)])) }
        func insert(_ row: Row) { result.append((new!.place(row), 1, [("insert", row)])) }
        func update(_ was: Row, _ row: Row) {
            result.append(
                (new!.place(row), 1, [("update_preimage", was), ("update_postimage", row)]))
        }
        guard let pairing else {
            let olds = Dictionary(
                uniqueKeysWithValues: (old?.rows ?? []).map { (old!.place($0), $0) })
            let news = Dictionary(
                uniqueKeysWithValues: (new?.rows ?? []).map { (new!.place($0), $0) })
            for (place, row) in olds where news[place] == nil { delete(row) }
            for (place, row) in news {
                guard let was = olds[place] else {
                    insert(row)
                    continue
                }
                if content(was, isOld: true) != content(row, isOld: false) || !looksSame(was, row) {
                    update(was, row)
                }
            }
            return result
        }
        let group = { (row: Row) in pairing.map { row[$0] } }
        let olds = Dictionary(grouping: old!.rows, by: group)
        let news = Dictionary(grouping: new!.rows, by: group)
        for key in Set(olds.keys).union(news.keys) {
            // Sorted by the columns that aren't of the key, then by place, as the pairs are told.
            func sorted(_ rows: [Row]?, _ point: Point, isOld: Bool) -> [(
                content: [Value], row: Row
            )] {
                (rows ?? []).map { (content($0, isOld: isOld), $0) }.sorted {
                    $0.content != $1.content
                        ? $0.content.lexicographicallyPrecedes($1.content)
                        : point.place($0.row).lexicographicallyPrecedes(point.place($1.row))
                }
            }
            var before = sorted(olds[key], old!, isOld: true)
            var after = sorted(news[key], new!, isOld: false)
            // Rows that are where they were, then others that are the same.
            if old!.kind.storage == new!.kind.storage {
                for row in after {
                    guard
                        let index = before.firstIndex(where: {
                            $0.content == row.content && looksSame($0.row, row.row)
                                && old!.place($0.row) == new!.place(row.row)
                        })
                    else { continue }
                    before.remove(at: index)
                    after.removeAll { new!.place($0.row) == new!.place(row.row) }
                }
            }
            for row in after {
                guard let index = before.firstIndex(where: { $0.content == row.content }) else {
                    continue
                }
                let was = before.remove(at: index)
                if !looksSame(was.row, row.row) { update(was.row, row.row) }
                after.remove(at: after.firstIndex { new!.place($0.row) == new!.place(row.row) }!)
            }
            let pairs = min(before.count, after.count)
            for (was, row) in zip(before, after) { update(was.row, row.row) }
            for was in before[pairs...] { delete(was.row) }
            for row in after[pairs...] { insert(row.row) }
        }
        return result
    }
}
