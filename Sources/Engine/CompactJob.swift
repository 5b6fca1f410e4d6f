import Bytes
import Repository
import Tables

/// Makes a point of the newest one's rows that needs no older file: an incremental that carries every
/// table whole, and shows the same cut.
struct CompactJob {
    let repository: Repository
    let collection: String
    let operation: Operation
    let limits: FormatLimits

    private static let cacheBytes = 32 << 20

    /// Answers the name of the point, or nil if the newest one needs no older file already.
    func run() throws -> String? {
        let commit = PointCommit(
            repository: repository, collection: collection, operation: operation,
            maker: "compacting")
        let (lock, state, _) = try commit.begin()
        guard let parent = state.newest else {
            throw Failure(.noData, "\(collection) has no point to compact")
        }
        if state.isWhole(parent) { return nil }
        try lock.removeUnneeded()
        let point = try commit.commit(lock) { try write(parent, lock, state) }
        // It has the same content: what is known of its parent is known of it.
        commit.finish(lock) { try lock.passOnCapture(of: parent) }
        return point.name
    }

    /// Writes the point's files and reads them again; only then it may count.
    private func write(
        _ parent: BackupPoint, _ lock: WriterLock, _ state: CollectionState
    ) throws -> PointRecord {
        let tables = state.tables(at: parent.sequence)
        // Once to write them, once to check them.
        let rows = 2 * tables.map(\.rows).total
        operation.update { $0.totalRows = rows }
        let files = DataFiles(
            lock, operation: operation,
            room: Room(repository: repository).watch(state, maker: "compacting"))
        let pool = FilePool(
            CollectionFiles(repository, state), cache: SharedCache(maxBytes: Self.cacheBytes))
        var records: [TableRecord] = []
        for table in tables {
            records.append(try write(table, pool, files))
            try operation.checkpoint()
        }
        let written = try files.finish()
        try check(&records, written, state)
        return PointRecord(
            after: state, parent: parent, cut: parent.cut, operation: operation, files: written,
            tables: records, notBackedUp: parent.notBackedUp, views: parent.views,
            facts: parent.facts,
            ownership: parent.ownership)
    }

    private func write(
        _ table: TableRecord, _ pool: FilePool, _ files: DataFiles
    ) throws -> TableRecord {
        files.beginTable(table.tid)
        let snapshot = Snapshot(table.snapshot, schema: table.schema, pool: pool)
        let result = try FullWriter.write(
            SnapshotCursor(snapshot), schema: table.schema, table: table.path, files: files,
            limits: limits)
        var record = table
        record.snapshot = result.snapshot
        record.isReset = true
        record.isRenumbered = false
        (record.inserted, record.updated, record.deleted) = (0, 0, 0)
        record.sizes.merge(result.sizes) { $1 }
        record.formats.merge(RowFormat.versions) { $1 }
        return record
    }

    /// The rows of the new files, merged as every reader merges them, are those that were recorded
    /// when they were backed up; and nothing older is needed for them.
    private func check(
        _ records: inout [TableRecord], _ written: [FileReference], _ state: CollectionState
    ) throws {
        let pool = FilePool(
            CollectionFiles(repository, state, uncommitted: written),
            cache: SharedCache(maxBytes: Self.cacheBytes))
        let own = Set(written.map(\.number))
        for index in records.indices {
            let record = records[index]
            let audit = TableAudit(pool) { rows in
                operation.update { $0.rows += rows }
                try operation.checkpoint()
            }
            let found = try audit.audit(record.snapshot, schema: record.schema)
            let used = try Snapshot(record.snapshot, schema: record.schema, pool: pool)
                .neededFiles()
            guard found.faults.isEmpty, found.contentHash.description == record.contentHash,
                found.rows == record.rows,
                found.sizes.allSatisfy({ record.sizes[$0.key] == $0.value }),
                used.allSatisfy({ own.contains($0.number) })
            else {
                throw Failure(
                    .corrupt,
                    "compacted rows of \(record.path) aren't those that were backed up"
                        + (found.faults.first.map { ": \($0.message)" } ?? "")
                        + ": nothing was changed; VERIFY \(collection) tells more")
            }
            records[index].files = used
        }
    }
}

extension Engine {
    func compact(_ operation: Operation) throws {
        guard let repository else { throw Failure(.notFound, "there are no backups yet") }
        let job = CompactJob(
            repository: repository, collection: operation.collection, operation: operation,
            limits: options.limits)
        let point = try job.run()
        operation.update { status in
            status.point = point
            if point == nil { status.notes.append("the newest point needs no older file already") }
        }
    }

    /// Compacts a chain that has become too long. The backup is there whatever becomes of it.
    func compactIfDue(_ repository: Repository, _ operation: Operation) {
        guard let state = repository.collection(operation.collection),
            let stored = state.definition?.settings,
            let settings = try? CollectionSettings(stored: stored),
            state.pointsSinceWhole >= settings.maxChain
        else { return }
        let backup = operation.status
        let note: String
        do {
            let job = CompactJob(
                repository: repository, collection: operation.collection, operation: operation,
                limits: options.limits)
            let point = try job.run() ?? ""
            note =
                "\(state.pointsSinceWhole) points since the last whole one: compacted as \(point)"
        } catch {
            note = "the chain couldn't be compacted: \((error as? Failure)?.message ?? "\(error)")"
        }
        operation.update { status in
            (status.rows, status.bytes) = (backup.rows, backup.bytes)
            status.notes.append(note)
        }
    }
}
