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
    /// What the source recorded at the parent.
    let capture: CaptureState?
    /// Stored files of which little is left, and how many of their rows are dead.
    let deadFiles: [UInt64: UInt64]
    /// Tells the user something.
    let note: (String) -> Void

    /// The table whole. `known` is the table at the newest point, for stable ids.
    func full(_ path: String, id: UInt32, known: TableRecord?, isReset: Bool) throws -> TableRecord
    {
        var literals = literalNames(known)
        while true {
            files.beginTable()
            let description = try cut.describe(
                path, parent: known?.schema, nextColumnID: known?.nextColumnID ?? 1,
                literals: literals)
            do {
                let cursor = try scan(path, description.schema)
                let result = try FullWriter.write(
                    cursor, schema: description.schema, table: path, files: files, limits: limits)
                return record(
                    path, id: id, description, known: known, result: result, isReset: isReset)
            } catch let misfit as Misfit {
                files.abandonTable()
                guard literals.insert(misfit.column).inserted else {
                    throw Failure(
                        .corrupt, "\(path): column \(misfit.column) fits no type: report this")
                }
                note(
                    "\(path): column \(misfit.column) holds a value that doesn't fit its type; "
                        + "from here on its values are stored as SQL literals")
            }
        }
    }

    /// What changed in the table since `parent`; nil if nothing did.
    func incremental(_ path: String, parent: TableRecord) throws -> TableRecord? {
        files.beginTable()
        var description = try cut.describe(
            path, parent: parent.schema, nextColumnID: parent.nextColumnID,
            literals: literalNames(parent))
        do {
            let change = try SchemaChange(from: parent.schema, to: description.schema) {
                try standIns(for: $0, of: path, description.schema)
            }
            var seen = parent
            var since = capture
            if let change {
                note("\(path): \(change)")
                guard let same = try self.parent(parent, after: change) else {
                    return try full(path, id: parent.id, known: parent, isReset: true)
                }
                seen = same
                description.schema = change.schema
                if case .columns(hasNew: true) = change.effect { since = nil }
            }
            let result = try changes(path, parent: seen, since: since)
            if result == nil, change == nil, description.sql == parent.sql { return nil }
            return record(path, id: parent.id, description, known: seen, result: result)
        } catch is Misfit {
            // `full` meets the same value again and says which column it is.
        } catch let failure as Failure where failure.code == .corrupt {
            note("\(path): \(failure.message): backed up whole")
        }
        files.abandonTable()
        return try full(path, id: parent.id, known: parent, isReset: true)
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
            let bytes = try snapshot(seen).fileBytes()
            seen.sizes = ["csv": bytes.csv, "parquet": bytes.parquet]
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

    /// What most of the table's first rows hold in these columns: what an added one holds in all of
    /// them, unless it has been filled since. None for a column in which most differ, or whose value
    /// is too long to be repeated in each entry.
    private func standIns(
        for columns: [Column], of path: String, _ schema: TableSchema
    ) throws -> [UInt32: StandIn] {
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

    /// - Parameter capture: nil if what was captured doesn't tell all that may differ: rows differ from
    ///   stand-ins that nobody wrote to.
    private func changes(
        _ path: String, parent: TableRecord, since capture: CaptureState?
    ) throws -> TableResult? {
        if let capture {
            switch try cut.changes(path, schema: parent.schema, since: capture) {
            case .keys(let cursor):
                let result = try write(path, parent: parent, changes: cursor)
                let rows = result?.sums.rows ?? parent.rows
                if try cut.countRows(path) == rows { return result }
                files.abandonTable()
                note("\(path): captured changes don't add up: compared as a whole")
            case .scan(let reason, let isDoubt):
                if isDoubt { note("\(reason): compared as a whole") }
            }
        }
        var live: (any RowCursor)?
        if try parent.rows <= Self.uncountedRows || cut.countRows(path) == parent.rows {
            // Most tables don't change: hashing the live rows tells, without reading stored ones.
            let (hash, rows) = try hash(path, schema: parent.schema)
            if hash == ContentHash(hex: parent.contentHash) { return nil }
            live = rows
        }
        let isReplay = live != nil
        let diff = Diff(
            parent: snapshot(parent), live: try live ?? scan(path, parent.schema),
            table: path, progress: { try files.progress(rows: isReplay ? 0 : $0) })
        return try write(path, parent: parent, changes: diff)
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
            if remembered == nil { batch.removeAll() } else { batch = RowBatch(schema) }
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

    /// The files that a table needs, once those written for it are there to be read.
    func neededFiles(_ record: TableRecord) throws -> [NeededFile] {
        try snapshot(record).neededFiles()
    }

    private func snapshot(_ record: TableRecord) -> Snapshot {
        Snapshot(record.snapshot, schema: record.schema, pool: pool)
    }

    private func literalNames(_ known: TableRecord?) -> Set<String> {
        Set(known?.schema.columns.filter(\.isLiteral).map(\.name) ?? [])
    }

    /// `result` is nil if only the table's text changed.
    private func record(
        _ path: String, id: UInt32, _ description: TableDescription, known: TableRecord?,
        result: TableResult?, isReset: Bool = false
    ) -> TableRecord {
        let newest = description.schema.columns.map(\.id).max() ?? 0
        return TableRecord(
            id: id, tid: known?.tid ?? TableRecord.newTID(), path: path, schema: description.schema,
            nextColumnID: max(known?.nextColumnID ?? 1, newest + 1), sql: description.sql,
            rows: result?.sums.rows ?? known!.rows, inserted: result?.inserted ?? 0,
            updated: result?.updated ?? 0, deleted: result?.deleted ?? 0,
            sizes: result?.sizes ?? known!.sizes,
            formats: ["csv": CSVRenderer.version, "parquet": ParquetFile.version],
            contentHash: result?.contentHash.description ?? known!.contentHash,
            snapshot: result?.snapshot ?? known!.snapshot, files: known?.files ?? [],
            isReset: isReset)
    }
}

extension TableResult {
    /// By format.
    fileprivate var sizes: [String: UInt64] { ["csv": csvBytes, "parquet": parquetBytes] }
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
