import Bytes

/// A column of a table at a point.
package struct Column: Sendable, Hashable, Codable {
    /// Stable along the chain: a column dropped and added again under its name gets a new one.
    package var id: UInt32
    package var name: String
    package var type: ColumnType
    /// True if the values are SQL literals, as SQLite's `quote()` writes them: for columns whose
    /// values are of several storage classes, or fit no type.
    package var isLiteral: Bool

    package init(id: UInt32, name: String, type: ColumnType, isLiteral: Bool = false) {
        self.id = id
        self.name = name
        self.type = type
        self.isLiteral = isLiteral
    }
}

/// Columns in the order of the table's definition, and which of them are the key.
package struct TableSchema: Sendable, Hashable, Codable {
    package var columns: [Column]
    /// Indices into `columns`, in key order; never empty.
    package var key: [Int]

    package init(columns: [Column], key: [Int]) throws {
        guard !key.isEmpty, Set(key).count == key.count, key.allSatisfy(columns.indices.contains),
            Set(columns.map(\.id)).count == columns.count
        else { throw Failure(.corrupt, "a table's schema has no key, or the same column twice") }
        self.columns = columns
        self.key = key
    }

    /// One column as a table of its own.
    init(column: Column) {
        columns = [column]
        key = [0]
    }

    /// The key columns as a table of their own.
    var ofKey: TableSchema {
        var schema = self
        schema.columns = key.map { columns[$0] }
        schema.key = Array(key.indices)
        return schema
    }

    private enum CodingKeys: CodingKey { case columns, key }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        try self.init(
            columns: container.decode([Column].self, forKey: .columns),
            key: container.decode([Int].self, forKey: .key))
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

    /// Bytes of memory in use.
    package var byteCount: Int { columns.reduce(0) { $0 + $1.byteCount } }

    package func removeAll() { for column in columns { column.removeAll() } }

    package func append(_ other: RowBatch, row: Int) {
        for index in columns.indices { columns[index].append(other.columns[index], row: row) }
    }

    package func append(_ other: RowBatch, rows: Range<Int>) {
        for index in columns.indices { columns[index].append(other.columns[index], rows: rows) }
    }

    /// Every value of two rows is the same, storage and bytes.
    package static func identical(_ a: RowBatch, _ i: Int, _ b: RowBatch, _ j: Int) -> Bool {
        ColumnVector.identical(a.columns, i, b.columns, j)
    }
}
