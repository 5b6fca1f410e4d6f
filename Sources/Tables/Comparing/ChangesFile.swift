import Bytes

/// How many rows came, went, or are other ones.
package struct ChangeCounts: Sendable, Hashable {
    package var inserted: UInt64 = 0
    package var updated: UInt64 = 0
    package var deleted: UInt64 = 0

    package init() {}

    package var isEmpty: Bool { self == ChangeCounts() }

    package mutating func add(_ types: [ChangeType]) {
        for type in types {
            switch type {
            case .insert: inserted += 1
            case .after: updated += 1
            case .delete: deleted += 1
            case .before: break
            }
        }
    }
}

/// Changed rows as those of a table whose first column says what happened: `_change_type`, then what
/// users see of the row. An update is two rows.
package final class ChangesCursor: RowCursor {
    package let schema: TableSchema
    /// Of the rows that were handed out.
    package private(set) var counts = ChangeCounts()
    private let diff: SnapshotDiff
    private var changed: ChangedRows?
    private var index = 0

    package init(_ diff: SnapshotDiff) throws {
        self.diff = diff
        schema = try Self.schema(of: diff.schema)
    }

    /// The columns of what a diff of this schema gives.
    package static func schema(of diff: TableSchema) throws -> TableSchema {
        let shown = Array(diff.visibleColumns)
        let names = Set(shown.map { $0.name.lowercased() })
        var name = "_change_type"
        while names.contains(name) { name += "_" }
        let ids = Set(shown.map(\.id))
        let id = (1...).first { !ids.contains($0) }!
        return try TableSchema(
            columns: [Column(id: id, name: name, type: .utf8)] + shown, key: [0],
            primaryKey: diff.primaryKey.map { $0 + 1 })
    }

    package func next(into batch: RowBatch, maxRows: Int, maxBytes: Int) throws -> Bool {
        while batch.count < maxRows, batch.byteCount <= maxBytes {
            guard let changed = try load() else { return false }
            let average = max(changed.rows.byteCount / changed.rows.count, 1)
            let room = min(
                maxRows - batch.count, max((maxBytes - batch.byteCount) / average, 1),
                changed.rows.count - index)
            let rows = index..<index + room
            for row in rows { batch.columns[0].append(text: changed.types[row].name) }
            for (column, source) in zip(batch.columns.dropFirst(), changed.rows.columns) {
                column.append(source, rows: rows)
            }
            index += room
        }
        return true
    }

    /// The present rows of the diff; nil at the end.
    private func load() throws -> ChangedRows? {
        if let changed, index < changed.rows.count { return changed }
        changed = try diff.next()
        index = 0
        if let changed { counts.add(changed.types) }
        return changed
    }
}

/// Writes all rows of a cursor as a file of one of the formats, in bounded memory.
package enum ChangeFiles {
    private static let batchRows = 2048
    private static let batchBytes = 1 << 20

    /// As `CSVFile` renders a table of these rows.
    package static func writeCSV(
        _ rows: any RowCursor, schema: TableSchema, to sink: any ByteSink
    ) throws {
        let renderer = CSVRenderer(schema)
        let output = ByteBuffer(capacity: Self.batchBytes)
        output.append(renderer.header)
        try each(rows, schema) { batch in
            renderer.render(batch, 0..<batch.count, into: output)
            try sink.append(output)
            output.removeAll()
        }
        if output.count > 0 { try sink.append(output) }
    }

    /// As `ParquetFile` renders a table of these rows, but for bounds of its key: they may be in any
    /// order.
    package static func writeParquet(
        _ rows: any RowCursor, schema: TableSchema, to sink: any ByteSink
    ) throws {
        let writer = try ParquetWriter(schema, sink)
        try each(rows, schema) { try writer.append($0) }
        try writer.finish()
    }

    private static func each(
        _ rows: any RowCursor, _ schema: TableSchema, _ body: (RowBatch) throws -> Void
    ) throws {
        let batch = RowBatch(schema)
        var more = true
        while more {
            batch.removeAll()
            more = try rows.next(into: batch, maxRows: batchRows, maxBytes: batchBytes)
            if batch.count > 0 { try body(batch) }
        }
    }
}

/// Counts bytes and keeps none: what a file comes to.
package final class CountingSink: ByteSink {
    package private(set) var position: UInt64 = 0

    package init() {}

    package func append(_ buffer: ByteBuffer) { position += UInt64(buffer.count) }
}
