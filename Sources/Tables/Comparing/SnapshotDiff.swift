import Bytes

/// Changed rows of a batch: what happened to each, and the row in the columns of `SnapshotDiff.schema`.
/// The two rows of an update come together.
package struct ChangedRows: Sendable {
    package let types: [ChangeType]
    package let rows: RowBatch
}

/// How a table differs between two snapshots: every row that came, went, or is another one, in the order
/// of the new version's storage key; a row that went stands at its own (in front of all others, if the
/// old version was ordered by something else).
///
/// ```
/// DifferingPages   what the snapshots don't share, by their indexes alone
/// KeyedChanges     rows of those pages that differ, by storage key
/// ChangePairing    rows of one declared key are an update, if that isn't the storage key …
/// SortedRows       … and then stand where the new row is
/// ```
/// So it costs the pages that hold changes. Snapshots of different chains, or of a table that is ordered
/// by something else since, share nothing, and everything is compared. `JoinedSchema` says when a row is
/// the same though columns came or went. Used by one thread.
package final class SnapshotDiff {
    /// The columns of both versions, hidden ones included, and the keys of the new one. A value is NULL
    /// in rows of a version that hasn't got the column.
    package let schema: TableSchema
    /// The old version's storage key in these columns; none if there is no such version.
    package let oldKey: [Int]
    /// Where each column of a version is in these columns; nothing if there is no such version.
    package let oldColumns: [Int]
    package let newColumns: [Int]
    private let spool: ChangeSpool
    private let rows: any RowCursor
    private var isDone = false

    /// - Parameters:
    ///   - old: nil if the table wasn't there, so `new`; not both.
    ///   - areOneTable: whether equal ids of columns mean the same column, as in one collection.
    ///   - limits: of sorting, which is needed for pairing alone; in `directory`.
    ///   - checkpoint: called now and then; throws to stop.
    package init(
        old: Snapshot?, new: Snapshot?, areOneTable: Bool = true, limits: SortLimits = .init(),
        directory: String = SpillFile.defaultDirectory, checkpoint: @escaping () throws -> Void
    ) throws {
        let joined = try JoinedSchema(
            old: old?.schema, new: new?.schema, areOneTable: areOneTable)
        schema = joined.schema
        oldKey = (old?.schema.key ?? []).map { joined.oldPlaces.firstIndex(of: $0)! }
        func columns(_ version: Snapshot?, _ places: [Int?]) -> [Int] {
            (version?.schema.columns.indices ?? 0..<0).map { places.firstIndex(of: $0)! }
        }
        oldColumns = columns(old, joined.oldPlaces)
        newColumns = columns(new, joined.newPlaces)
        spool = try ChangeSpool(joined)
        let isPaired = joined.pairing != nil
        let changes = try KeyedChanges(
            old: old, new: new, joined: joined, spool: spool, isPaired: isPaired,
            checkpoint: checkpoint)
        if isPaired {
            let pairs = ChangePairing(
                changes, joined, spool, limits: limits, directory: directory,
                checkpoint: checkpoint)
            rows = SortedRows(
                pairs, schema: spool.places, limits: limits, directory: directory,
                checkpoint: checkpoint)
        } else {
            rows = changes
        }
    }

    private static let batchRows = 2048
    private static let batchBytes = 1 << 20

    /// The next changed rows; nil at the end.
    package func next() throws -> ChangedRows? {
        let batch = RowBatch(spool.schema)
        while batch.count == 0 || isWithinUpdate(batch) {
            if isDone { return nil }
            isDone = try !rows.next(
                into: batch, maxRows: max(Self.batchRows, batch.count + 1),
                maxBytes: max(Self.batchBytes, batch.byteCount))
            if isDone, batch.count == 0 { return nil }
        }
        let types = (0..<batch.count).map {
            ChangeType(rawValue: batch.columns[1].value($0, as: Int32.self))!
        }
        return ChangedRows(
            types: types,
            rows: RowBatch(columns: Array(batch.columns.dropFirst(ChangeSpool.headColumns))))
    }

    /// Whether the batch ends between the rows of an update.
    private func isWithinUpdate(_ batch: RowBatch) -> Bool {
        batch.columns[1].value(batch.count - 1, as: Int32.self) == ChangeType.before.rawValue
    }
}
