import Bytes
import Repository
import Tables

/// Backs up one table within a cut: as a whole, or as what changed since the parent.
struct TableBackup {
    let cut: any SourceCut
    let files: DataFiles
    let limits: FormatLimits
    /// The collection's stored files, and what opens tables from them.
    let stored: CollectionFiles
    let pool: FilePool
    /// Stored files of which little is left, and how many of their rows are dead.
    let deadFiles: [UInt64: UInt64]
    /// Whether everything is compared, to see that the source knows rightly what changed.
    let isAudit: Bool
    /// Answers the id of a table that enters the collection.
    let newID: () -> UInt32
    /// Tells the user something.
    let note: (String) -> Void

    /// The table whole. `known` is the table at the newest point, for stable ids: but with another
    /// storage key it is another table.
    func full(
        _ path: String, known: TableRecord?, isReset: Bool, exactly: Bool = false
    ) throws -> TableRecord {
        var description = try describe(path, known, exactly: exactly)
        if let known, description.schema.keyIDs != known.schema.keyIDs {
            return try full(path, known: nil, isReset: isReset, exactly: exactly)
        }
        files.beginTable(known?.tid ?? TableRecord.newTID())
        do {
            let cursor = try scan(path, description.schema)
            let result = try FullWriter.write(
                cursor, schema: description.schema, table: path, files: files, limits: limits)
            description.notes += cut.findings(path)
            noteNews(path, description, known, tellsLiterals: !isReset)
            return record(path, description, known: known, result: result, isReset: isReset)
        } catch let misfit as Misfit {
            files.abandonTable()
            if exactly {
                throw UnreadableTable(
                    path: path, reason: "column \(misfit.column) fits no type: report this")
            }
        }
        return try full(path, known: known, isReset: isReset, exactly: true)
    }

    private func describe(
        _ path: String, _ known: TableRecord?, exactly: Bool
    ) throws -> TableDescription {
        try cut.describe(
            path, parent: known?.schema, nextColumnID: known?.nextColumnID ?? 1, exactly: exactly)
    }

    /// Tells of columns that are literals from here on, and of what else there is to know, if it is
    /// news.
    private func noteNews(
        _ path: String, _ description: TableDescription, _ known: TableRecord?, tellsLiterals: Bool
    ) {
        if description.notes != known?.notes { description.notes.forEach(note) }
        let before = Set(known?.schema.columns.lazy.filter(\.isLiteral).map(\.id) ?? [])
        let new = description.schema.columns.filter { $0.isLiteral && !before.contains($0.id) }
        if new.isEmpty || !tellsLiterals { return }
        let names = new.map(\.name).joined(separator: ", ")
        note(
            "\(path): values of several kinds are stored as SQL literals from here on, in "
                + "\(new.count == 1 ? "column" : "columns") \(names)")
    }

    /// What changed in the table since `parent`; nil if nothing did.
    func incremental(
        _ path: String, parent: TableRecord, exactly: Bool = false
    ) throws -> TableRecord? {
        files.beginTable(parent.tid)
        var description = try describe(path, parent, exactly: exactly)
        do {
            let change = try SchemaChange(from: parent.schema, to: description.schema) {
                try standIns(for: $0, of: path, description.schema)
            }
            var seen = parent
            if let change {
                note("\(path): \(change)")
                guard let same = try self.parent(parent, after: change) else {
                    return try full(path, known: parent, isReset: true, exactly: exactly)
                }
                seen = same
                description.schema = change.schema
            }
            let result = try changes(path, parent: seen, isComparable: change == nil)
            if let result, let pairing = try renumbering(path, parent: seen, result) {
                files.abandonTable()
                return try renumbered(path, parent: parent, pairing, exactly: exactly)
            }
            description.notes += cut.findings(path)
            if result == nil, change == nil, description.sql == parent.sql,
                description.sequence == parent.sequence, description.notes == parent.notes
            {
                return nil
            }
            noteNews(path, description, parent, tellsLiterals: false)
            return record(path, description, known: seen, result: result)
        } catch is Misfit {
            files.abandonTable()
            if !exactly { return try incremental(path, parent: parent, exactly: true) }
        } catch let failure as Failure where failure.code == .corrupt {
            note("\(path): \(failure.message): backed up whole")
            files.abandonTable()
        }
        return try full(path, known: parent, isReset: true)
    }

    /// The newest point's table as if it had had its new columns already; nil if it can't.
    private func parent(
        _ parent: TableRecord, after change: SchemaChange
    ) throws -> TableRecord? {
        var seen = parent
        switch change.effect {
        case .rows: return nil
        case .names:
            seen.schema = change.schema
            // Names stand in the files too.
            seen.sizes = try snapshot(seen).sizes()
        case .columns:
            let result = try Reprojection.write(
                snapshot(parent), as: change.schema, files: files, limits: limits)
            if let index = try files.endIndex() { stored.add([index]) }
            seen.schema = change.schema
            seen.snapshot = result.snapshot
            seen.contentHash = result.contentHash.description
            seen.sizes = result.sizes
        }
        return seen
    }

    /// What older rows hold in these columns. If the source doesn't know, what most of the table's first
    /// rows hold: what an added one holds in all of them, unless it has been filled since. None for a column in which most differ, or whose value
    /// is too long to be repeated in each entry.
    private func standIns(
        for columns: [Column], of path: String, _ schema: TableSchema
    ) throws -> [UInt32: StandIn] {
        let known = columns.compactMap { column in column.standIn.map { (column.id, $0) } }
        if known.count == columns.count { return Dictionary(uniqueKeysWithValues: known) }
        let rows = RowBatch(schema)
        _ = try scan(path, schema)
            .next(into: rows, maxRows: limits.pageRows, maxBytes: limits.pageBytes)
        var standIns: [UInt32: StandIn] = [:]
        for column in columns {
            let vector = rows.columns[schema.columns.firstIndex(of: column)!]
            var counts: [StandIn: Int] = [:]
            for row in 0..<rows.count {
                counts[StandIn(bytes: vector.isNull(row) ? nil : vector.bytes(row)), default: 0] +=
                    1
            }
            let (value, count) =
                counts.max { ($0.value, $0.key.description) < ($1.value, $1.key.description) }
                ?? (StandIn(bytes: nil), 0)
            if count * 2 >= rows.count, value.bytes?.count ?? 0 <= Self.standInBytes {
                standIns[column.id] = value
            }
        }
        return standIns
    }

    private static let standInBytes = 256

    // MARK: Finding changes

    /// - Parameter isComparable: whether the table's schema is the one that it had at the parent: what
    ///   the source knows of stored rows doesn't tell of stand-ins.
    private func changes(
        _ path: String, parent: TableRecord, isComparable: Bool
    ) throws -> TableResult? {
        let checkpoint = { try files.progress(rows: 0) }
        if let rows = try cut.delta(path, schema: parent.schema, checkpoint: checkpoint) {
            return try fold(rows, path, parent: parent)
        }
        var claim: KeyRanges?
        if isComparable {
            switch try cut.changes(path, schema: parent.schema, parentRows: parent.rows) {
            case .ranges(let ranges, let rows, let unchangedRows):
                if isAudit {
                    claim = ranges
                    break
                }
                let scope = Diff.Scope(ranges, unchangedRows: unchangedRows)
                do {
                    return try changes(path, parent: parent, inside: scope, rows)
                } catch let untrue as DoubtfulChanges {
                    files.abandonTable()
                    note(
                        "\(path): what is known of changes can't be true (\(untrue.reason)): "
                            + "compared as a whole; please report this")
                }
            case .whole(let reason, let isDoubt):
                if isDoubt { note("\(reason): compared as a whole") }
            }
        }
        return try changesOfAll(path, parent: parent, claim: claim)
    }

    /// What changed, if it is all that the source has: then nothing else can be backed up instead.
    private func fold(
        _ rows: any RowCursor, _ path: String, parent: TableRecord
    ) throws -> TableResult? {
        do {
            let changes = try FoldedChanges(
                rows, parent: snapshot(parent), progress: { try files.progress(rows: $0) })
            return try write(path, parent: parent, changes: changes)
        } catch let failure as Failure where failure.code == .corrupt {
            throw UnreadableTable(path: path, reason: failure.message)
        }
    }

    /// What changed, if it did so inside of a scope alone.
    private func changes(
        _ path: String, parent: TableRecord, inside scope: Diff.Scope, _ rows: any RowCursor
    ) throws -> TableResult? {
        if scope.ranges.isEmpty, scope.unchangedRows == parent.rows { return nil }
        let diff = try Diff(
            parent: snapshot(parent), live: rows, table: path, scope: scope,
            progress: { try files.progress(rows: $0) })
        return try write(path, parent: parent, changes: diff)
    }

    /// What changed, whatever the source knows.
    ///
    /// - Parameter claim: where it says that changes are, to be held against those that are found.
    private func changesOfAll(
        _ path: String, parent: TableRecord, claim: KeyRanges?
    ) throws -> TableResult? {
        var live: (any RowCursor)?
        if try parent.rows <= Self.uncountedRows || cut.countRows(path) == parent.rows {
            // Most tables don't change: hashing the live rows tells, without reading stored ones.
            let (hash, rows) = try hash(path, schema: parent.schema)
            if hash == ContentHash(hex: parent.contentHash) { return nil }
            live = rows
        }
        let isReplay = live != nil
        let diff = try Diff(
            parent: snapshot(parent), live: try live ?? scan(path, parent.schema),
            table: path, progress: { try files.progress(rows: isReplay ? 0 : $0) })
        guard let claim else { return try write(path, parent: parent, changes: diff) }
        let audited = AuditedChanges(diff, schema: parent.schema, claim: claim)
        let result = try write(path, parent: parent, changes: audited)
        if audited.missed > 0 {
            note(
                "\(path): \(audited.missed) changed rows would have been missed, had this backup not "
                    + "compared everything: please report this; this point is right, VERIFY with "
                    + "level = source tells of the others")
        }
        return result
    }

    /// Up to this many rows, reading them is as fast as counting them first.
    private static let uncountedRows: UInt64 = 10_000

    /// The content hash of the live rows, which is the same in any order, and the rows again, in key
    /// order, if they are few.
    private func hash(
        _ path: String, schema: TableSchema
    ) throws -> (hash: ContentHash, rows: (any RowCursor)?) {
        let (cursor, inKeyOrder) = try cut.rows(path, schema: schema)
        let hasher = RowHasher(schema)
        var hash = ContentHash()
        var remembered: RememberedRows? = RememberedRows()
        var batch = RowBatch(schema)
        while true {
            let more = try cursor.next(
                into: batch, maxRows: limits.pageRows, maxBytes: limits.pageBytes)
            hash += hasher.hash(batch)
            try files.progress(rows: UInt64(batch.count))
            if let rows = remembered, !rows.take(batch) { remembered = nil }
            if !more {
                guard let remembered, !inKeyOrder else { return (hash, remembered) }
                return (hash, sorted(remembered, schema))
            }
            // A large one isn't kept to be filled again.
            if remembered == nil, batch.byteCount <= 2 * limits.pageBytes {
                batch.removeAll()
            } else {
                batch = RowBatch(schema)
            }
        }
    }

    private func sorted(_ rows: RememberedRows, _ schema: TableSchema) -> any RowCursor {
        SortedRows(rows, schema: schema, checkpoint: { try files.progress(rows: 0) })
    }

    private func scan(_ path: String, _ schema: TableSchema) throws -> any RowCursor {
        try cut.scan(path, schema: schema, checkpoint: { try files.progress(rows: 0) })
    }

    private func write(
        _ path: String, parent: TableRecord, changes: any ChangeCursor
    ) throws -> TableResult? {
        guard let hash = ContentHash(hex: parent.contentHash) else {
            throw Failure(.corrupt, "its recorded content hash is damaged")
        }
        let result = try IncrementalWriter.write(
            parent: snapshot(parent), hash: hash,
            parentChanges: parent.inserted + parent.updated + parent.deleted, deadFiles: deadFiles,
            changes: changes, table: path, files: files, limits: limits)
        // Slices may have been written anew for changes that were none.
        if result == nil { files.abandonTable() }
        return result
    }

    // MARK: Rowids given out anew

    /// How the rows that can be seen differ, if most rows of the parent have another rowid now and yet
    /// are there; nil if not.
    private func renumbering(
        _ path: String, parent: TableRecord, _ result: TableResult
    ) throws -> RowPairing? {
        let hasHiddenKey = parent.schema.key.contains { parent.schema.columns[$0].isHidden }
        guard hasHiddenKey, (result.updated + result.deleted) * 2 > parent.rows else { return nil }
        let pairing = try RowPairing(
            old: SnapshotCursor(snapshot(parent)), new: cut.rows(path, schema: parent.schema).rows,
            schema: parent.schema, checkpoint: { try files.progress(rows: 0) })
        return pairing.same * 2 > parent.rows ? pairing : nil
    }

    /// The table whole, with the changes that can be seen.
    private func renumbered(
        _ path: String, parent: TableRecord, _ pairing: RowPairing, exactly: Bool
    ) throws -> TableRecord {
        note("\(path): its rowids were given out anew, as VACUUM does: backed up whole")
        var record = try full(path, known: parent, isReset: true, exactly: exactly)
        record.isRenumbered = true
        record.inserted = pairing.inserted
        record.updated = pairing.updated
        record.deleted = pairing.deleted
        return record
    }

    /// The files that a table needs, once those written for it are there to be read.
    func neededFiles(_ record: TableRecord) throws -> [NeededFile] {
        try snapshot(record).neededFiles()
    }

    private func snapshot(_ record: TableRecord) -> Snapshot {
        Snapshot(record.snapshot, schema: record.schema, pool: pool)
    }

    /// `result` is nil if only the table's text changed.
    private func record(
        _ path: String, _ description: TableDescription, known: TableRecord?,
        result: TableResult?, isReset: Bool = false
    ) -> TableRecord {
        let newest = description.schema.visibleColumns.map(\.id).max() ?? 0
        var traits = description.traits
        if let sums = result?.sums {
            // Somebody has seen to it that there are such rows all the same.
            for (column, sums) in zip(description.schema.visibleColumns, sums.columns)
            where sums.nulls > 0 && traits.notNull.contains(column.id) {
                traits.notNull.removeAll { $0 == column.id }
                traits.leftOut.append("column \(column.name): NOT NULL, as it holds NULL")
            }
        }
        return TableRecord(
            id: known?.id ?? newID(), tid: files.table, path: path, schema: description.schema,
            nextColumnID: max(known?.nextColumnID ?? 1, newest + 1), sql: description.sql,
            rows: result?.sums.rows ?? known!.rows, inserted: result?.inserted ?? 0,
            updated: result?.updated ?? 0, deleted: result?.deleted ?? 0,
            sizes: result?.sizes ?? known!.sizes,
            formats: RowFormat.versions,
            contentHash: result?.contentHash.description ?? known!.contentHash,
            snapshot: result?.snapshot ?? known!.snapshot, files: known?.files ?? [],
            isReset: isReset, sequence: description.sequence, shadowOf: description.shadowOf,
            notes: description.notes, traits: traits)
    }
}

extension Snapshot {
    /// What an entry says of the files behind a table.
    func neededFiles() throws -> [NeededFile] {
        try files().map { NeededFile(number: $0.key, rows: $0.value) }
            .sorted { $0.number < $1.number }
    }
}

extension TableRecord {
    /// Rows that differ from the parent's.
    package var changes: UInt64 { inserted + updated + deleted }
}

/// Changes that are handed on and counted where a source didn't say that there are any.
private final class AuditedChanges: ChangeCursor {
    private let changes: any ChangeCursor
    private let schema: TableSchema
    private let claim: KeyRanges
    private(set) var missed = 0

    init(_ changes: any ChangeCursor, schema: TableSchema, claim: KeyRanges) {
        self.changes = changes
        self.schema = schema
        self.claim = claim
    }

    func next(
        into batch: RowBatch, present: inout [Bool], maxRows: Int, maxBytes: Int
    ) throws -> Bool {
        let first = batch.count
        let more = try changes.next(
            into: batch, present: &present, maxRows: maxRows, maxBytes: maxBytes)
        for row in first..<batch.count
        where !claim.contains(NormalizedKey.of(batch, row: row, schema: schema)) {
            missed += 1
        }
        return more
    }
}

/// Rows of a table, kept while they are few, to be read once more.
private final class RememberedRows: RowCursor {
    private static let maxBytes = 16 << 20
    private var batches: [RowBatch] = []
    private var bytes = 0
    private var next = 0

    /// False if they have become too many.
    func take(_ batch: RowBatch) -> Bool {
        bytes += batch.byteCount
        batches.append(batch)
        return bytes <= Self.maxBytes
    }

    func next(into batch: RowBatch, maxRows: Int, maxBytes: Int) -> Bool {
        if next < batches.count { batch.append(batches[next], rows: 0..<batches[next].count) }
        next += 1
        return next < batches.count
    }
}
