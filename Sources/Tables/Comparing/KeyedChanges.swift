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
            let room = min(Self.block, (maxRows - output.count + 1) / 2)
            guard hasOld, hasNew, joined.haveSameOrder, let old, let new else {
                if hasOld, let old {
                    append(old, min(old.left, room), .delete, to: output)
                } else if let new {
                    append(new, min(new.left, room), .insert, to: output)
                }
                continue
            }
            passEqual(old, new)
            if old.isAtEnd || new.isAtEnd { continue }
            let pairs = old.pairs(with: new, atMost: room)
            if pairs > 0 {
                appendDiffering(old, new, pairs, to: output)
            } else if old.compare(new) < 0 {
                append(old, old.count(before: new, atMost: room), .delete, to: output)
            } else {
                append(new, new.count(before: old, atMost: room), .insert, to: output)
            }
        }
        return true
    }

    /// Rows that are only on one side.
    private func append(
        _ rows: ComparedRows, _ count: Int, _ type: ChangeType, to output: RowBatch
    ) {
        let merged = rows.merged
        let range = merged.index..<merged.index + count
        if isPaired {
            for row in range {
                spool.append(row, of: merged.batch, type, keys: merged.keys, to: output)
            }
        } else {
            spool.append(range, of: merged.batch, type, to: output)
        }
        rows.advance(count)
    }

    /// Of so many pairs of one key each those that aren't the same.
    private func appendDiffering(
        _ old: ComparedRows, _ new: ComparedRows, _ count: Int, to output: RowBatch
    ) {
        let isSame = ComparedRows.sameRows(old, new, count, joined)
        var index = 0
        while index < count {
            let run = isSame[index...].prefix { $0 == isSame[index] }.count
            if isSame[index] {
                old.advance(run)
                new.advance(run)
            } else if isPaired {
                for _ in 0..<run {
                    append(old, 1, .delete, to: output)
                    append(new, 1, .insert, to: output)
                }
            } else {
                spool.append(
                    updates: run, old.merged.batch, from: old.merged.index, new.merged.batch,
                    from: new.merged.index, to: output)
                old.advance(run)
                new.advance(run)
            }
            index += run
        }
    }

    /// Rows that are handled together, column by column, where many differ.
    private static let block = 32

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

    func advance(_ count: Int) {
        merged.index += count
        merged.letGo()
    }

    /// How many of the next rows have the keys of the other side's next rows.
    func pairs(with other: ComparedRows, atMost limit: Int) -> Int {
        let (keys, others) = (merged.keys, other.merged.keys)
        let (first, second) = (merged.index, other.merged.index)
        return (0..<min(limit, left, other.left)).first {
            keys.compare(first + $0, others, second + $0) != 0
        } ?? min(limit, left, other.left)
    }

    /// How many of the next rows come before the other side's next one.
    func count(before other: ComparedRows, atMost limit: Int) -> Int {
        let (keys, others) = (merged.keys, other.merged.keys)
        let (first, second) = (merged.index, other.merged.index)
        return (0..<min(limit, left)).first { keys.compare(first + $0, others, second) >= 0 }
            ?? min(limit, left)
    }

    /// Whether the next rows are the same. Both sides have the columns of the key, so that rows of
    /// different keys aren't.
    static func areSame(
        _ old: ComparedRows, _ new: ComparedRows, _ count: Int, _ joined: JoinedSchema
    ) -> Bool {
        let rows = old.merged.index..<old.merged.index + count
        let first = new.merged.index
        for index in old.columns.indices
        where !ColumnVector.identical(old.columns[index], rows, new.columns[index], from: first) {
            return false
        }
        return joined.hasNoDoubt || (0..<count).allSatisfy { looksSame(old, new, $0, joined) }
    }

    /// For each of the next rows whether it is the same.
    static func sameRows(
        _ old: ComparedRows, _ new: ComparedRows, _ count: Int, _ joined: JoinedSchema
    ) -> [Bool] {
        var isSame = [Bool](repeating: true, count: count)
        let (first, second) = (old.merged.index, new.merged.index)
        for (a, b) in zip(old.columns, new.columns) {
            for row in 0..<count where isSame[row] {
                isSame[row] = ColumnVector.identical(a, first + row, b, second + row)
            }
        }
        if !joined.hasNoDoubt {
            for row in 0..<count where isSame[row] {
                isSame[row] = looksSame(old, new, row, joined)
            }
        }
        return isSame
    }

    private static func looksSame(
        _ old: ComparedRows, _ new: ComparedRows, _ row: Int, _ joined: JoinedSchema
    ) -> Bool {
        joined.hasStandIns(new.merged.batch, new.merged.index + row)
            && joined.looksSame(
                old.merged.batch, old.merged.index + row, new.merged.batch, new.merged.index + row)
    }
}
