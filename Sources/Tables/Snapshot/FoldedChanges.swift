import Bytes

/// Changes of which only some columns may be given (`DeltaRows`), with all columns: what isn't given is
/// looked up in the snapshot that they change.
package final class FoldedChanges: ChangeCursor {
    private let rows: any RowCursor
    private let parent: Snapshot
    private let schema: TableSchema
    private let progress: (UInt64) throws -> Void
    private let batch: RowBatch
    private var index = 0
    private var isDone = false

    private static let batchRows = 1024
    private static let batchBytes = 1 << 20

    /// - Parameters:
    ///   - rows: in key order.
    ///   - progress: is told of every batch of them.
    package init(
        _ rows: any RowCursor, parent: Snapshot, progress: @escaping (UInt64) throws -> Void
    ) throws {
        self.rows = rows
        self.parent = parent
        self.progress = progress
        schema = parent.schema
        batch = RowBatch(try DeltaRows.schema(of: schema))
    }

    package func next(
        into output: RowBatch, present: inout [Bool], maxRows: Int, maxBytes: Int
    ) throws -> Bool {
        while output.count < maxRows, output.byteCount <= maxBytes {
            guard try refill() else { return false }
            present.append(try append(row: index, to: output))
            index += 1
        }
        return true
    }

    /// Makes sure that there is a row at `index`; false at the end.
    private func refill() throws -> Bool {
        while index == batch.count {
            if isDone { return false }
            batch.removeAll()
            index = 0
            isDone = try !rows.next(
                into: batch, maxRows: Self.batchRows, maxBytes: Self.batchBytes)
            try progress(UInt64(batch.count))
        }
        return true
    }

    /// Answers whether the row exists.
    private func append(row: Int, to output: RowBatch) throws -> Bool {
        let marks = batch.columns[schema.columns.count].bytes(row)
        let isPresent = !marks.isEmpty
        guard !isPresent || marks.count == schema.columns.count else {
            throw Failure(.corrupt, "a changed row says of \(marks.count) columns what they have")
        }
        let isWhole = !marks.contains(DeltaRows.kept)
        let old =
            isPresent && !isWhole
            ? try parent.row(forKey: NormalizedKey.of(batch, row: row, schema: schema)) : nil
        for (index, column) in output.columns.enumerated() {
            if schema.key.contains(index) || isPresent && marks[index] != DeltaRows.kept {
                column.append(batch.columns[index], row: row)
            } else if let old {
                column.append(old.columns[index], row: 0)
            } else {
                column.appendNull()
            }
        }
        return isPresent
    }
}
