import Bytes

/// How two versions of a table differ for those who don't see its hidden columns.
///
/// Rows are paired by the key that the table declares, and without one by all that is visible of them.
/// For tables whose storage key is a hidden rowid that was given out anew: VACUUM may do that, and no
/// row is then what it was, though nothing changed.
///
/// Both versions are sorted, by that key and then by everything else, in bounded memory. So rows that
/// are the same in all that is visible meet, as often as they are there on both sides, whether or not
/// the key is one (SQLite lets keys have NULLs, any number of times); of the others with equal keys
/// as many count as updated as there are on both sides.
package struct RowPairing: Sendable, Equatable {
    package private(set) var same: UInt64 = 0
    package private(set) var inserted: UInt64 = 0
    package private(set) var updated: UInt64 = 0
    package private(set) var deleted: UInt64 = 0

    /// - Parameters:
    ///   - old: rows of the schema, hidden columns included, in any order; so `new`.
    ///   - checkpoint: called now and then; throws to stop.
    package init(
        old: any RowCursor, new: any RowCursor, schema: TableSchema, limits: SortLimits = .init(),
        directory: String = SpillFile.defaultDirectory, checkpoint: @escaping () throws -> Void
    ) throws {
        let sides = [old, new].map { rows in
            PairedRows(rows, schema, limits: limits, directory: directory, checkpoint: checkpoint)
        }
        try count(sides[0], sides[1])
    }

    private mutating func count(_ old: PairedRows, _ new: PairedRows) throws {
        var group: [UInt8]?
        // Rows of the group that have no equal on the other side.
        var surplus = (old: UInt64(0), new: UInt64(0))
        while true {
            let (hasOld, hasNew) = (try old.load(), try new.load())
            if !hasOld && !hasNew { break }
            let order = !hasOld ? 1 : !hasNew ? -1 : old.compare(new)
            let first = order <= 0 ? old : new
            if group.map({ first.isOf($0) }) != true {
                end(surplus)
                surplus = (0, 0)
                group = first.group
            }
            if order == 0 {
                same += 1
            } else if order < 0 {
                surplus.old += 1
            } else {
                surplus.new += 1
            }
            if order <= 0 { old.index += 1 }
            if order >= 0 { new.index += 1 }
        }
        end(surplus)
    }

    private mutating func end(_ surplus: (old: UInt64, new: UInt64)) {
        let pairs = min(surplus.old, surplus.new)
        updated += pairs
        inserted += surplus.new - pairs
        deleted += surplus.old - pairs
    }
}

/// The visible part of a table's rows, sorted by the declared key and then by all other columns.
private final class PairedRows {
    private let rows: SortedRows
    private let schema: TableSchema
    /// Ordered by what puts rows into one group.
    private let groupSchema: TableSchema
    private let checkpoint: () throws -> Void
    private var batch: RowBatch
    private var keys: KeyList
    private var groups: KeyList
    private var isDone = false
    var index = 0

    init(
        _ rows: any RowCursor, _ full: TableSchema, limits: SortLimits, directory: String,
        checkpoint: @escaping () throws -> Void
    ) {
        var schema = full
        schema.columns = Array(full.visibleColumns)
        let others = schema.columns.indices.filter { !full.primaryKey.contains($0) }
        schema.key = full.primaryKey + others
        self.schema = schema
        var groupSchema = schema
        if !full.primaryKey.isEmpty { groupSchema.key = full.primaryKey }
        self.groupSchema = groupSchema
        self.checkpoint = checkpoint
        self.rows = SortedRows(
            VisibleRows(rows, full), schema: schema, limits: limits, directory: directory,
            checkpoint: checkpoint)
        batch = RowBatch(schema)
        keys = KeyList(batch, schema: schema)
        groups = keys
    }

    /// Makes sure that there is a row at `index`; false at the end.
    func load() throws -> Bool {
        while index >= batch.count {
            if isDone { return false }
            try checkpoint()
            batch = RowBatch(schema)
            isDone = try !rows.next(into: batch, maxRows: 2048, maxBytes: 1 << 20)
            keys = KeyList(batch, schema: schema)
            groups = KeyList(batch, schema: groupSchema)
            index = 0
        }
        return true
    }

    func compare(_ other: PairedRows) -> Int { keys.compare(index, other.keys, other.index) }

    var group: [UInt8] { groups[index] }

    func isOf(_ group: [UInt8]) -> Bool { groups.compare(index, group) == 0 }
}

/// Rows without their hidden columns.
private final class VisibleRows: RowCursor {
    private let rows: any RowCursor
    private let batch: RowBatch

    init(_ rows: any RowCursor, _ schema: TableSchema) {
        self.rows = rows
        batch = RowBatch(schema)
    }

    func next(into output: RowBatch, maxRows: Int, maxBytes: Int) throws -> Bool {
        batch.removeAll()
        let more = try rows.next(into: batch, maxRows: maxRows, maxBytes: maxBytes)
        // Hidden columns stand behind all others.
        output.append(batch, rows: 0..<batch.count)
        return more
    }
}
