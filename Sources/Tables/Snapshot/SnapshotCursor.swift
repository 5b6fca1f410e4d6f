/// All rows of a snapshot, in key order, as a source gives those of a table.
package final class SnapshotCursor: RowCursor {
    private let rows: MergedRows

    package init(_ snapshot: Snapshot) { rows = MergedRows(snapshot) }

    package func next(into batch: RowBatch, maxRows: Int, maxBytes: Int) throws -> Bool {
        while batch.count < maxRows, batch.byteCount <= maxBytes {
            guard try rows.load() else { return false }
            if rows.areOwn, rows.batch.isLargeRow {
                // Alone, so that it needn't be copied.
                if batch.count == 0 { rows.take(into: batch) }
                return true
            }
            // By bytes as far as a page's average row tells, or one page could be far too much.
            let page = rows.batch
            let average = max(page.byteCount / page.count, 1)
            let room = min(
                maxRows - batch.count, max((maxBytes - batch.byteCount) / average, 1),
                page.count - rows.index)
            batch.append(page, rows: rows.index..<rows.index + room)
            rows.index += room
        }
        return true
    }
}
