import Bytes

/// Pairs deletions and insertions by the key that a table declares: rows of one key are an update, or
/// no change at all if only hidden columns differ. For tables whose storage key is another one, such as
/// a rowid, which may be given out anew.
///
/// Rows are sorted by that key and then by everything else, in bounded memory, so that rows which are
/// the same in all that is visible meet, as in `RowPairing`, whether or not the key is one: SQLite
/// lets keys have NULLs, any number of times. Of the others with an equal key the first deletion and the
/// first insertion are a pair, then the second ones, and so on; of thousands that wait for a partner
/// the longest waiting are given up.
final class ChangePairing: RowCursor {
    private let rows: SortedRows
    private let spool: ChangeSpool
    private let sorted: TableSchema
    /// Ordered by what puts rows into one group, and by what makes them the same.
    private let groups: TableSchema
    private let contents: TableSchema
    private let contentColumns: [Int]
    private let checkpoint: () throws -> Void
    private var batch: RowBatch
    private var groupKeys: KeyList
    private var contentKeys: KeyList
    private var index = 0
    private var isDone = false
    private var group: [UInt8]?
    private var content: [UInt8] = []
    /// Old rows with the present content, and rows of the group that have no equal on the other side
    /// and no partner yet.
    private var same: [SpooledRow] = []
    private var olds: [SpooledRow] = []
    private var news: [SpooledRow] = []

    private static let maxWaiting = 4096
    private static let maxWaitingBytes = 4 << 20

    /// - Parameter changes: deletions and insertions, in any order.
    init(
        _ changes: any RowCursor, _ joined: JoinedSchema, _ spool: ChangeSpool,
        limits: SortLimits, directory: String, checkpoint: @escaping () throws -> Void
    ) {
        self.spool = spool
        self.checkpoint = checkpoint
        let pairing = joined.pairing ?? []
        let added = joined.added.map(\.joined)
        let shown = joined.schema.visibleColumns.indices.filter {
            !pairing.contains($0)
                && (joined.oldPlaces[$0] != nil && joined.newPlaces[$0] != nil
                    || added.contains($0))
        }
        // Without a column that both versions have no row has a partner.
        groups = spool.ordered(by: pairing, then: pairing.isEmpty ? [0, 1] : [])
        contents = spool.ordered(by: pairing + shown)
        sorted = spool.ordered(by: pairing + shown, then: [1, 0])
        contentColumns = (pairing + shown).map { $0 + ChangeSpool.headColumns }
        rows = SortedRows(
            changes, schema: sorted, limits: limits, directory: directory, checkpoint: checkpoint)
        batch = RowBatch(sorted)
        groupKeys = KeyList(batch, schema: groups)
        contentKeys = groupKeys
    }

    func next(into output: RowBatch, maxRows: Int, maxBytes: Int) throws -> Bool {
        while output.count < maxRows, output.byteCount <= maxBytes {
            guard try load() else {
                endGroup(output)
                return false
            }
            if groupKeys.compare(index, group ?? []) != 0 || group == nil {
                endGroup(output)
                group = groupKeys[index]
                content = contentKeys[index]
            } else if contentKeys.compare(index, content) != 0 {
                endContent(output)
                content = contentKeys[index]
            }
            take(SpooledRow(batch: batch, row: index), output)
            index += 1
        }
        return true
    }

    private func load() throws -> Bool {
        while index >= batch.count {
            if isDone { return false }
            try checkpoint()
            keepWaiting()
            batch = RowBatch(sorted)
            isDone = try !rows.next(into: batch, maxRows: 2048, maxBytes: 1 << 20)
            groupKeys = KeyList(batch, schema: groups)
            contentKeys = KeyList(batch, schema: contents)
            index = 0
        }
        return true
    }

    /// Rows that go on waiting are copied, so that they don't hold the batches they were in.
    private func keepWaiting() {
        func kept(_ rows: [SpooledRow]) -> [SpooledRow] {
            rows.map { row in
                if row.batch !== batch { return row }
                let copy = RowBatch(sorted)
                copy.append(row.batch, row: row.row)
                return SpooledRow(batch: copy, row: 0)
            }
        }
        (same, olds, news) = (kept(same), kept(olds), kept(news))
    }

    private func take(_ row: SpooledRow, _ output: RowBatch) {
        let type = row.batch.columns[1].value(row.row, as: Int32.self)
        if type == ChangeType.delete.rawValue {
            same.append(row)
        } else if let old = same.first {
            same.removeFirst()
            // Zeros of either sign are equal as keys.
            if !isIdentical(old, row) || !spool.looksSame(old, row) { pair(old, row, output) }
        } else {
            news.append(row)
            pairUp(output)
        }
        giveUp(output)
    }

    private func isIdentical(_ a: SpooledRow, _ b: SpooledRow) -> Bool {
        contentColumns.allSatisfy {
            ColumnVector.identical(a.batch.columns[$0], a.row, b.batch.columns[$0], b.row)
        }
    }

    private func pairUp(_ output: RowBatch) {
        let count = min(olds.count, news.count)
        for (old, new) in zip(olds.prefix(count), news) { pair(old, new, output) }
        olds.removeFirst(count)
        news.removeFirst(count)
    }

    private func pair(_ old: SpooledRow, _ new: SpooledRow, _ output: RowBatch) {
        spool.move(old, as: .before, to: new, into: output)
        spool.move(new, as: .after, to: new, into: output)
    }

    private func endContent(_ output: RowBatch) {
        olds += same
        same = []
        pairUp(output)
    }

    private func endGroup(_ output: RowBatch) {
        endContent(output)
        for old in olds { spool.move(old, as: .delete, to: old, into: output) }
        for new in news { spool.move(new, as: .insert, to: new, into: output) }
        (olds, news) = ([], [])
    }

    /// Keeps memory bounded where very many rows have one key.
    private func giveUp(_ output: RowBatch) {
        let rowBytes = batch.byteCount / max(batch.count, 1)
        let most = min(Self.maxWaiting, max(Self.maxWaitingBytes / max(rowBytes, 1), 1))
        if same.count > most {
            spool.move(same[0], as: .delete, to: same.removeFirst(), into: output)
        }
        if olds.count > most {
            spool.move(olds[0], as: .delete, to: olds.removeFirst(), into: output)
        }
        if news.count > most {
            spool.move(news[0], as: .insert, to: news.removeFirst(), into: output)
        }
    }
}
