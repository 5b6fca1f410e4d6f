import Bytes

/// A column of a table at a point.
package struct Column: Sendable, Hashable {
    /// Stable along the chain: a column dropped and added again under its name gets a new one.
    package var id: UInt32
    package var name: String
    package var type: ColumnType
    /// True if the values are SQL literals, as SQLite's `quote()` writes them: for columns whose
    /// values are of several storage classes, or fit no type.
    package var isLiteral: Bool
    /// Stored, but not shown: what the source orders a table by that has no column for it.
    package var isHidden: Bool
    /// What the column holds in rows that were stored before there was such a column; nil if there
    /// are none.
    package var standIn: StandIn?

    package init(
        id: UInt32, name: String, type: ColumnType, isLiteral: Bool = false,
        isHidden: Bool = false, standIn: StandIn? = nil
    ) {
        self.id = id
        self.name = name
        self.type = type
        self.isLiteral = isLiteral
        self.isHidden = isHidden
        self.standIn = standIn
    }
}

/// One value that stands for those of a column in row files that don't have it.
package struct StandIn: Sendable, Hashable, CustomStringConvertible {
    /// The value as `ColumnType` describes it, without a length; nil for NULL.
    package let bytes: [UInt8]?

    package init(bytes: [UInt8]?) { self.bytes = bytes }

    /// From what `description` says.
    package init(_ text: String) throws {
        if text == "NULL" {
            bytes = nil
            return
        }
        var bytes: [UInt8] = []
        var digits = text.dropFirst(2)
        while text.hasPrefix("0x"), digits.utf8.count > 1,
            let byte = UInt8(digits.prefix(2), radix: 16)
        {
            bytes.append(byte)
            digits = digits.dropFirst(2)
        }
        guard text.hasPrefix("0x"), digits.isEmpty else {
            throw Failure(.corrupt, "a column's stand-in is \(text)")
        }
        self.bytes = bytes
    }

    /// `NULL`, or `0x` and hexadecimal digits.
    package var description: String {
        guard let bytes else { return "NULL" }
        return "0x" + String(hex: bytes)
    }
}

extension ColumnVector {
    /// A column's stand-in, as often as there are rows. The column must have one.
    convenience init(standIn column: Column, rows: Int) {
        self.init(column.type.layout)
        guard let bytes = column.standIn!.bytes else {
            for _ in 0..<rows { appendNull() }
            return
        }
        bytes.withUnsafeBytes { for _ in 0..<rows { append(bytes: $0) } }
    }
}

/// Columns in the order of the table's definition, hidden ones behind all others, and which of them
/// are keys.
package struct TableSchema: Sendable, Hashable {
    package var columns: [Column]
    /// The storage key, what the source orders the table by: indices into `columns`, in key order;
    /// never empty.
    package var key: [Int]
    /// The key that the table declares, as indices into the visible columns: mostly the storage key
    /// too; empty if it declares none.
    package var primaryKey: [Int]

    /// The id of the hidden column that holds a table's rowid. Above all that tables' own columns can
    /// have, since it is the field id in row files too.
    package static let rowIDColumnID: UInt32 = 1_000_003
    /// The first id that isn't for tables' own columns.
    package static let reservedColumnIDs: UInt32 = 1_000_001

    /// - Parameter primaryKey: the same as the storage key, if it isn't given.
    package init(columns: [Column], key: [Int], primaryKey: [Int]? = nil) throws {
        let primaryKey = primaryKey ?? key
        let visible = columns.prefix { !$0.isHidden }.count
        guard !key.isEmpty, Set(key).count == key.count, key.allSatisfy(columns.indices.contains),
            Set(columns.map(\.id)).count == columns.count
        else { throw Failure(.corrupt, "a table's schema has no key, or the same column twice") }
        guard visible > 0, columns[visible...].allSatisfy(\.isHidden),
            Set(primaryKey).count == primaryKey.count,
            primaryKey.allSatisfy((0..<visible).contains)
        else { throw Failure(.corrupt, "a table's schema shows no column, or hides its key") }
        for column in columns {
            if let bytes = column.standIn?.bytes, case .fixed(let width) = column.type.layout,
                bytes.count != width
            {
                throw Failure(.corrupt, "column \(column.name) has a stand-in of another type")
            }
        }
        self.columns = columns
        self.key = key
        self.primaryKey = primaryKey
    }

    /// The columns that users see.
    package var visibleColumns: ArraySlice<Column> { columns.prefix { !$0.isHidden } }

    /// The column that holds rowids which users don't see.
    var hiddenRowID: Int? { columns.firstIndex { $0.isHidden && $0.id == Self.rowIDColumnID } }

    /// Ids of the storage key's columns, in key order.
    package var keyIDs: [UInt32] { key.map { columns[$0].id } }

    /// One column as a table of its own.
    init(column: Column) {
        columns = [column]
        key = [0]
        primaryKey = []
    }

    /// The columns that users see as a table of their own, for readers that look at no key.
    var shown: TableSchema { TableSchema(shown: Array(visibleColumns)) }

    /// Some columns as a table of their own, for readers that look at no key.
    init(shown columns: [Column]) {
        self.columns = columns
        key = [0]
        primaryKey = []
    }

    /// The key columns as a table of their own.
    package var ofKey: TableSchema {
        var schema = self
        schema.columns = key.map { columns[$0] }
        schema.key = Array(key.indices)
        schema.primaryKey = []
        return schema
    }
}

/// Consecutive rows of one table: one vector for each column of the schema, all of the same length.
package final class RowBatch: Sendable {
    package let columns: [ColumnVector]

    package init(columns: [ColumnVector]) {
        precondition(columns.allSatisfy { $0.count == columns[0].count })
        self.columns = columns
    }

    /// An empty batch to fill, row by row, column by column.
    package convenience init(_ schema: TableSchema) {
        self.init(columns: schema.columns.map { ColumnVector($0.type.layout) })
    }

    /// Rows; asks the last column, so that it counts whole rows while one is being appended.
    package var count: Int { columns[columns.count - 1].count }

    /// Bytes of values and marks.
    package var byteCount: Int { columns.reduce(0) { $0 + $1.byteCount } }

    /// Bytes of a row, about.
    func byteCount(ofRow row: Int) -> Int {
        columns.reduce(0) { $0 + $1.byteCount(ofRow: row) }
    }

    /// Batches and pages of more are copied and kept only where that can't be helped. Where rows are
    /// stored, a row of more is alone in its page.
    package static let largeBytes = 4 << 20

    /// Whether it is one row that is large: such ones are handed on as they lie.
    package var isLargeRow: Bool { count == 1 && byteCount > Self.largeBytes }

    /// The batch in two if its last row is a large one, as it is where rows are read until they come to
    /// so many bytes. The large row isn't copied; the batch is given up.
    func splitBeforeLargeRow() -> [RowBatch] {
        let last = count - 1
        guard last > 0, byteCount > Self.largeBytes, byteCount(ofRow: last) > Self.largeBytes
        else { return [self] }
        let front = columns.map { column in
            let copy = ColumnVector(column.layout)
            copy.append(column, rows: 0..<last)
            return copy
        }
        return [
            RowBatch(columns: front),
            RowBatch(columns: columns.map { ColumnVector(tail: $0, from: last) }),
        ]
    }

    /// Takes the rows of another batch, which gets those that there were.
    func exchange(with other: RowBatch) {
        for (column, others) in zip(columns, other.columns) { column.exchange(with: others) }
    }

    package func removeAll() { for column in columns { column.removeAll() } }

    package func append(_ other: RowBatch, row: Int) {
        for index in columns.indices { columns[index].append(other.columns[index], row: row) }
    }

    package func append(_ other: RowBatch, rows: Range<Int>) {
        for index in columns.indices { columns[index].append(other.columns[index], rows: rows) }
    }

    /// Consecutive rows are the same as those from `start` on, every value.
    package static func identical(
        _ a: RowBatch, _ rows: Range<Int>, _ b: RowBatch, from start: Int
    ) -> Bool {
        zip(a.columns, b.columns).allSatisfy {
            ColumnVector.identical($0, rows, $1, from: start)
        }
    }

    /// Every value of two rows is the same, storage and bytes.
    package static func identical(_ a: RowBatch, _ i: Int, _ b: RowBatch, _ j: Int) -> Bool {
        ColumnVector.identical(a.columns, i, b.columns, j)
    }
}

/// Batches that were used and can be filled again.
final class SpareBatches {
    private var batches: [RowBatch] = []
    private let schema: TableSchema
    /// Larger ones are given back to the system.
    private let maxBytes: Int

    init(_ schema: TableSchema, maxBytes: Int) {
        self.schema = schema
        self.maxBytes = maxBytes
    }

    func take() -> RowBatch { batches.popLast() ?? RowBatch(schema) }

    func give(_ batch: RowBatch) {
        if batch.byteCount > maxBytes { return }
        batch.removeAll()
        batches.append(batch)
    }
}
