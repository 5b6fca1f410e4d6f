import Bytes

/// Writes a table's snapshot anew for another set of columns, over the same stored rows.
///
/// Slices and edits are positions, which columns don't change; only what pages come to does. So an
/// added column costs its table one reading and an index, not a copy. Rows stored before a column was
/// there show its stand-in; the values of a column that is gone are left unread.
package enum Reprojection {
    private struct Counted: Sendable {
        let sums: PageSums
        let hash: ContentHash
    }

    /// - Parameter schema: of the same key columns; each other column is the snapshot's or has a
    ///   stand-in.
    package static func write(
        _ snapshot: Snapshot, as schema: TableSchema, files: any FileFactory, limits: FormatLimits
    ) throws -> TableResult {
        precondition(snapshot.schema.keyIDs == schema.keyIDs)
        let hasher = RowHasher(schema)
        let measure = RowMeasure(schema)
        let counts = SnapshotPages(snapshot, as: schema) { rows in
            Counted(sums: measure.measure(rows, 0..<rows.count), hash: hasher.hash(rows))
        }
        let builder = SnapshotBuilder(files, schema: schema, limits: limits)
        var hash = ContentHash()
        for block in try snapshot.root().blocks {
            for index in try snapshot.sliceSums(of: block).indices {
                var slice = try snapshot.bareSlice(index, of: block)
                for page in slice.pages.indices {
                    // A large page comes in several parts.
                    var sums = PageSums()
                    repeat {
                        guard let counted = try counts.next() else { throw Snapshot.contradiction }
                        sums += counted.sums
                        hash += counted.hash
                    } while sums.rows < slice.pages[page].rows
                    guard sums.rows == slice.pages[page].rows else { throw Snapshot.contradiction }
                    slice.pages[page].csvBytes = sums.csvBytes
                    slice.pages[page].dumpBytes = sums.dumpBytes
                    slice.pages[page].rowIDBytes = sums.rowIDBytes
                    slice.pages[page].columns = sums.columns
                }
                try builder.append(slice)
                try files.progress(rows: 0)
            }
            try builder.endBlock()
        }
        let (reference, totals) = try builder.finish()
        return TableResult(
            snapshot: reference, sums: totals.pages,
            sizes: RowFormat.sizes(totals, schema), contentHash: hash)
    }
}
