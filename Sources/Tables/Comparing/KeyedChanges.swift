import Bytes

/// The rows that differ between two snapshots, told apart by their storage key: rows of one key as an
/// update, or as a deletion and an insertion if that is left to somebody else. Rows of both sides are
/// merged in bounded memory; other threads read ahead.
final class KeyedChanges: RowCursor {
    private let joined: JoinedSchema
    private let spool: ChangeSpool
    private let old: ComparedRows?
    private let new: ComparedRows?
    private let isPaired: Bool
    private let checkpoint: () throws -> Void

    /// - Parameters:
    ///   - isPaired: rows will be paired by another key: they need their places, and updates are
    ///     told as deletions and insertions.
    ///   - checkpoint: called now and then; throws to stop.
    init(
        old: Snapshot?, new: Snapshot?, joined: JoinedSchema, spool: ChangeSpool, isPaired: Bool,
        checkpoint: @escaping () throws -> Void
    ) throws {
        self.joined = joined
        self.spool = spool
        self.isPaired = isPaired
        self.checkpoint = checkpoint
        if let old, let new, old.pool === new.pool, joined.haveSameOrder {
            let pages = try DifferingPages(
                old: old, new: new, joined: joined, checkpoint: checkpoint)
            self.old = ComparedRows(MergedRows(old, pages.nextOld), joined, isOld: true)
            self.new = ComparedRows(MergedRows(new, pages.nextNew), joined, isOld: false)
        } else {
            self.old = old.map { ComparedRows(MergedRows($0), joined, isOld: true) }
            self.new = new.map { ComparedRows(MergedRows($0), joined, isOld: false) }
        }
    }

    /// Rows of the spool. An update's rows come together.
    func next(into output: RowBatch, maxRows: Int, maxBytes: Int) throws -> Bool {
        while output.count < maxRows, output.byteCount <= maxBytes {
            let hasOld = try old?.load(checkpoint) ?? false
            let hasNew = try new?.load(checkpoint) ?? false
            if !hasOld && !hasNew { return false }
            if hasOld, hasNew, joined.haveSameOrder {
                passEqual(old!, new!)
                if old!.isAtEnd || new!.isAtEnd { continue }
            }
            let order =
                !hasOld ? 1 : !hasNew || !joined.haveSameOrder ? -1 : old!.compare(new!)
            let isUpdate = order == 0 && !isPaired
            if order <= 0 { append(old!, isUpdate ? .before : .delete, to: output) }
            if order >= 0 { append(new!, isUpdate ? .after : .insert, to: output) }
        }
        return true
    }

    private func append(_ rows: ComparedRows, _ type: ChangeType, to output: RowBatch) {
        let merged = rows.merged
        spool.append(
            merged.index, of: merged.batch, type,
            place: isPaired ? (merged.keys, merged.index) : nil,
            fillsIn: isPaired, to: output)
        merged.index += 1
        merged.letGo()
    }

    /// Rows that are compared together.
    private static let stride = 16

    /// Passes rows that are the same on both sides, many at a time.
    private func passEqual(_ old: ComparedRows, _ new: ComparedRows) {
        var left = min(old.left, new.left)
        while left > 0 {
            let count = min(Self.stride, left)
            guard ComparedRows.areSame(old, new, count, joined) else { break }
            old.merged.index += count
            new.merged.index += count
            left -= count
        }
        while left > 0, ComparedRows.areSame(old, new, 1, joined) {
            old.merged.index += 1
            new.merged.index += 1
            left -= 1
        }
    }
}

/// One side's rows, and those columns of them that both sides have.
private final class ComparedRows {
    let merged: MergedRows
    private let common: [Int]
    private var columns: [ColumnVector] = []

    init(_ merged: MergedRows, _ joined: JoinedSchema, isOld: Bool) {
        self.merged = merged
        common = (joined.common + joined.commonHidden).map { isOld ? $0.old : $0.new }
    }

    func load(_ checkpoint: () throws -> Void) throws -> Bool {
        if merged.index < merged.batch.count { return true }
        try checkpoint()
        guard try merged.load() else { return false }
        columns = common.map { merged.batch.columns[$0] }
        return true
    }

    var left: Int { merged.batch.count - merged.index }

    var isAtEnd: Bool { left <= 0 }

    func compare(_ other: ComparedRows) -> Int {
        merged.keys.compare(merged.index, other.merged.keys, other.merged.index)
    }

    /// Whether the next rows are the same. Both sides have the columns of the key, so that rows of
    /// different keys aren't.
    static func areSame(
        _ old: ComparedRows, _ new: ComparedRows, _ count: Int, _ joined: JoinedSchema
    ) -> Bool {
        let rows = old.merged.index..<old.merged.index + count
        let first = new.merged.index
        return zip(old.columns, new.columns).allSatisfy {
            ColumnVector.identical($0, rows, $1, from: first)
        }
            && (first..<first + count).allSatisfy { row in
                joined.hasStandIns(new.merged.batch, row)
                    && joined.looksSame(
                        old.merged.batch, rows.lowerBound + row - first, new.merged.batch, row)
            }
    }
}
