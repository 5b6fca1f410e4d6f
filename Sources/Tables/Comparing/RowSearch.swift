import Bytes

/// A value as somebody looks for it.
package enum SearchedValue: Sendable, Hashable {
    case null
    /// Text, or what a value of another type looks like as CSV.
    case text(String)
    case number(String)
    case bytes([UInt8])

    /// What a column that holds it holds; nil for NULL, none if it can't hold it.
    fileprivate func values(in column: Column) -> ColumnVector? {
        let vector = ColumnVector(column.type.layout)
        if column.isLiteral {
            vector.append(text: literal)
            return vector
        }
        switch self {
        case .null: return nil
        case .text(let text), .number(let text):
            _ = ValueText.append(text, column.type, to: vector)
        case .bytes(let bytes): if column.type == .string { vector.append(bytes: bytes) }
        }
        return vector
    }

    /// As SQLite's `quote()` writes it.
    private var literal: String {
        switch self {
        case .null: return "NULL"
        case .text(let text): return text.wrapped(in: "'")
        case .number(let text): return text
        case .bytes(let bytes): return "X'\(String(hex: bytes).uppercased())'"
        }
    }
}

/// Looks for the rows of a table that have a value in a column, at any number of points. Every row file
/// is read once, the column alone, however many points show its rows. Used by one thread.
package final class RowSearch {
    /// A row, and the points that show it.
    package struct Hit {
        /// All columns.
        package let row: RowBatch
        package let schema: TableSchema
        /// Indices of points, each range without a gap.
        package fileprivate(set) var points: [ClosedRange<Int>]
    }

    private struct Scanned: Hashable {
        let file: UInt64
        let column: Column
    }
    private struct Version: Hashable {
        let row: RunRow
        let schema: TableSchema
    }

    private let name: String
    private let value: SearchedValue
    private let checkpoint: () throws -> Void
    /// Whether some point has the column.
    package private(set) var hasColumn = false
    /// In the order in which they were found.
    package private(set) var hits: [Hit] = []
    private var numbers: [[UInt8]: Int] = [:]
    /// By stored row, which hit it is.
    private var known: [Version: Int] = [:]
    private var scanned: [Scanned: [UInt32]] = [:]
    private var blocks: [BlockReference: [RunRow]] = [:]
    private var slices: [SliceIdentity: [RunRow]] = [:]
    /// Whether one of the rows that a tier of edits brought has the value.
    private var tiers: [BlockReference: Bool] = [:]
    private var last: (snapshot: Snapshot, rows: [RunRow])?

    package static let maxHits = 10_000
    private static let maxMatches = 1_000_000

    /// - Parameter checkpoint: called now and then; throws to stop.
    package init(
        column: String, value: SearchedValue, checkpoint: @escaping () throws -> Void = {}
    ) {
        name = column
        self.value = value
        self.checkpoint = checkpoint
    }

    /// Looks into a table at the point of this index. Points come in order, all of one table.
    package func search(_ snapshot: Snapshot, point: Int) throws {
        guard let column = snapshot.schema.column(named: name) else { return }
        hasColumn = true
        let rows: [RunRow]
        if let last, last.snapshot.showsSame(as: snapshot) {
            rows = last.rows
        } else {
            if last?.snapshot.schema != snapshot.schema {
                (blocks, slices, tiers) = ([:], [:], [:])
            }
            rows = try snapshot.root().blocks.flatMap { try self.rows($0, snapshot, column) }
        }
        last = (snapshot, rows)
        for row in rows { try note(row, snapshot, point) }
    }

    private func note(_ row: RunRow, _ snapshot: Snapshot, _ point: Int) throws {
        let version = Version(row: row, schema: snapshot.schema)
        let number = try known[version] ?? add(row, snapshot)
        known[version] = number
        let end = hits[number].points.count - 1
        if end >= 0, hits[number].points[end].upperBound >= point - 1 {
            hits[number].points[end] = hits[number].points[end].lowerBound...point
        } else {
            hits[number].points.append(point...point)
        }
    }

    /// The number of the hit that a stored row is: that of one which shows the same and has the same
    /// key, or a new one.
    private func add(_ place: RunRow, _ snapshot: Snapshot) throws -> Int {
        let row = try snapshot.stored(place)
        let schema = snapshot.schema
        let identity = ByteBuffer(capacity: 256)
        // Rows of a declared key may get other rowids; NULLs are no key.
        if schema.primaryKey.isEmpty
            || schema.primaryKey.contains(where: { row.columns[$0].isNull(0) })
        {
            identity.append(NormalizedKey.of(row, row: 0, schema: schema))
        }
        // What stands in for a column changes no row.
        let columns = zip(schema.visibleColumns, row.columns).sorted { $0.0.id < $1.0.id }
        for (column, values) in columns where !values.isNull(0) {
            let bytes = values.bytes(0)
            if column.standIn?.bytes == bytes { continue }
            identity.append(fixed: column.id)
            identity.append(fixed: UInt64(bytes.count))
            identity.append(bytes)
        }
        if let number = numbers[identity.array] { return number }
        guard hits.count < Self.maxHits else { throw tooMany(Self.maxHits) }
        numbers[identity.array] = hits.count
        hits.append(Hit(row: row, schema: schema, points: []))
        return hits.count - 1
    }

    private func tooMany(_ count: Int) -> Failure {
        Failure(
            .unsupported,
            "more than \(count) rows have that value in \(name): look for a rarer one, or name a "
                + "collection")
    }

    // MARK: Stored rows

    private func rows(
        _ block: BlockDescriptor, _ snapshot: Snapshot, _ column: Column
    ) throws -> [RunRow] {
        if let rows = blocks[block.reference] { return rows }
        let count = try snapshot.sliceSums(of: block).count
        let rows = try (0..<count).flatMap { index in
            try checkpoint()
            let bare = try snapshot.bareSlice(index, of: block)
            let identity = SliceIdentity(bare)
            if let rows = slices[identity] { return rows }
            let rows =
                try mayHave(bare, snapshot, column)
                ? self.rows(
                    bare.tiers.isEmpty ? bare : snapshot.slice(index, of: block), snapshot.pool,
                    column) : []
            slices[identity] = rows
            return rows
        }
        blocks[block.reference] = rows
        return rows
    }

    /// Whether a slice's base rows or its edits have the value somewhere: most slices needn't be put
    /// together to know that they show no such row.
    private func mayHave(_ bare: Slice, _ snapshot: Snapshot, _ column: Column) throws -> Bool {
        if try !baseMatches(bare, snapshot.pool, column).isEmpty { return true }
        return try bare.tiers.contains { tier in
            if let known = tiers[tier.reference] { return known }
            let edits = try snapshot.pool.tier(tier, schema: snapshot.schema)
            var files = MatchedFiles(self, snapshot.pool, column)
            let has = try edits.contains { try $0.kind.hasRow && files.hold($0.row) }
            tiers[tier.reference] = has
            return has
        }
    }

    /// The matches of the files that some edits name, which are few.
    private struct MatchedFiles {
        private let search: RowSearch
        private let pool: FilePool
        private let column: Column
        private var files: [(number: UInt64, matches: [UInt32])] = []

        init(_ search: RowSearch, _ pool: FilePool, _ column: Column) {
            (self.search, self.pool, self.column) = (search, pool, column)
        }

        mutating func hold(_ row: RunRow) throws -> Bool {
            if let index = files.firstIndex(where: { $0.number == row.file }) {
                return files[index].matches.holds(row.row)
            }
            files.append((row.file, try search.matches(row.file, pool, column)))
            return files[files.count - 1].matches.holds(row.row)
        }
    }

    /// The rows of a slice's base that have the value, by place in the slice.
    private func baseMatches(
        _ slice: Slice, _ pool: FilePool, _ column: Column
    ) throws -> [(position: Int, row: UInt32)] {
        if slice.count == 0 { return [] }
        let file = try pool.rowFile(slice.file)
        guard slice.rowGroup < file.groups.count else { throw Snapshot.contradiction }
        let first = file.groups[slice.rowGroup].firstRow + slice.firstRow
        let matches = try matches(slice.file, pool, column)
        return matches[matches.firstIndex(notBefore: UInt32(first))...]
            .prefix { Int($0) < first + slice.count }.map { (Int($0) - first, $0) }
    }

    /// Where the rows lie that a slice shows and that have the value, in key order.
    private func rows(_ slice: Slice, _ pool: FilePool, _ column: Column) throws -> [RunRow] {
        var found: [(position: Int, isBase: Bool, row: RunRow)] = []
        let base = try baseMatches(slice, pool, column)
        var covered = Set<Int>()
        var files = MatchedFiles(self, pool, column)
        for edit in slice.edits {
            if edit.kind != .insert, !base.isEmpty { covered.insert(Int(edit.position)) }
            if try edit.kind.hasRow && files.hold(edit.row) {
                found.append((Int(edit.position), edit.kind == .replace, edit.row))
            }
        }
        for (position, row) in base where !covered.contains(position) {
            found.append((position, true, RunRow(file: slice.file, row: row)))
        }
        // Inserts at a position stand in front of its base row, in the order in which they came.
        let order = found.enumerated().sorted {
            ($0.element.position, $0.element.isBase ? 1 : 0, $0.offset)
                < ($1.element.position, $1.element.isBase ? 1 : 0, $1.offset)
        }
        return order.map(\.element.row)
    }

    /// The rows of a file that have the value, counted from its begin.
    private func matches(_ number: UInt64, _ pool: FilePool, _ column: Column) throws -> [UInt32] {
        let key = Scanned(file: number, column: column)
        if let known = scanned[key] { return known }
        let file = try pool.rowFile(number)
        let wanted = value.values(in: column)
        var matches: [UInt32] = []
        // A column that can't hold the value isn't read.
        let isPossible = wanted.map { $0.count > 0 } ?? true
        for group in file.groups.indices where isPossible {
            for (page, first) in try file.pageIndex(group).firstRows.enumerated() {
                try checkpoint()
                let values = try pool.page(file, rowGroup: group, page: page, columns: [column])[0]
                for row in 0..<values.count where values.isValue(row, wanted) {
                    matches.append(UInt32(file.groups[group].firstRow + first + row))
                }
                guard matches.count <= Self.maxMatches else { throw tooMany(Self.maxMatches) }
            }
        }
        scanned[key] = matches
        return matches
    }
}

extension ColumnVector {
    /// Whether a row is NULL, or the first of other values.
    fileprivate func isValue(_ row: Int, _ wanted: ColumnVector?) -> Bool {
        wanted.map { ColumnVector.identical(self, row, $0, 0) } ?? isNull(row)
    }
}

extension [UInt32] {
    /// Of sorted numbers.
    fileprivate func firstIndex(notBefore number: UInt32) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if self[middle] < number { low = middle + 1 } else { high = middle }
        }
        return low
    }

    fileprivate func holds(_ number: UInt32) -> Bool {
        let index = firstIndex(notBefore: number)
        return index < count && self[index] == number
    }
}

extension TableSchema {
    /// A visible column by its name, or by that in other case if there is only one.
    package func column(named name: String) -> Column? {
        if let exact = visibleColumns.first(where: { $0.name.hasSameBytes(as: name) }) {
            return exact
        }
        let alike = visibleColumns.filter { $0.name.lowercased() == name.lowercased() }
        return alike.count == 1 ? alike[0] : nil
    }
}
