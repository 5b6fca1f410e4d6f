import Bytes
import Repository
import Tables

/// Takes one backup point of a collection, from the writer's lock to the commit.
struct BackupJob {
    let repository: Repository
    /// Of the database, if that is known.
    let sourceBytes: UInt64?
    let openCut: (CutRequest) throws -> any SourceCut
    let collection: String
    let isIncremental: Bool
    let operation: Operation
    let limits: FormatLimits
    /// So many cuts may trust what the source knows of changes.
    let auditInterval: Int
    let cache: SharedCache
    /// If the point is taken in from where others have made it.
    var imported: ImportedPoint?

    /// Answers the name of the point, and whether it is a new one: if nothing has changed, and that
    /// needs no point, it is the newest one.
    func run() throws -> (point: String, isNew: Bool) {
        let (lock, state, definition) = try pointCommit.begin()
        try imported?.check(state)
        if let uid, state.isTaken(uid: uid) {
            let point = state.point(uid: uid).map { ", for \($0.name)" } ?? ""
            throw Failure(.exists, "uid \(uid) was used already\(point)")
        }
        if isIncremental, state.newest == nil {
            throw Failure(.noData, "\(collection) has no full backup yet: take one first")
        }
        let (files, bytes) = try retention(lock).removeUnneeded()
        if files > 0 {
            note("removed \(files) files of \(bytes) bytes that nothing needs")
        }
        try Room(repository: repository).requireBackup(
            of: lock.current ?? state, isIncremental: isIncremental, sourceBytes: sourceBytes)
        let settings = try CollectionSettings(stored: definition.settings)
        if imported == nil { try repository.waitForName(after: state, operation) }
        let knowledge = Knowledge(
            lock, settings, isIncremental: isIncremental, looks: repository.look(of: state)?.count,
            auditInterval: auditInterval)
        let cut = AttributedCut(
            try operation.waiting(for: "the database") {
                try openCut(
                    CutRequest(
                        omitted: Set(settings.omitTables), known: knowledge.known,
                        keepsKnowledge: knowledge.isKept))
            })
        defer { cut.close() }
        operation.check(cut.roomCheck)
        defer { operation.check(nil) }
        cut.notes.forEach(note)
        do {
            let point = try commit(cut, lock, state, definition, knowledge)
            return (point, true)
        } catch let nothing as NothingChanged {
            noteUnchanged(since: nothing.point, cut, lock, knowledge)
            return (nothing.point.name, false)
        }
    }

    private var pointCommit: PointCommit {
        PointCommit(
            repository: repository, collection: collection, operation: operation,
            maker: "the backup")
    }

    private func retention(_ lock: WriterLock) -> Retention {
        Retention(repository: repository, lock: lock)
    }

    private var uid: String? { imported?.token ?? operation.uid }

    func note(_ line: String) {
        let line = imported.map { "\($0.name): \(line)" } ?? line
        operation.update { $0.notes.append(line) }
    }

    private func commit(
        _ cut: any SourceCut, _ lock: WriterLock, _ state: CollectionState,
        _ definition: CollectionDefinition, _ knowledge: Knowledge
    ) throws -> String {
        let files = DataFiles(
            lock, operation: operation,
            room: Room(repository: repository).watch(state, maker: "the backup"))
        let point = try pointCommit.commit(lock) {
            let point = try write(cut, files, state, definition, isAudit: knowledge.isAudit)
            if isIncremental, knowledge.skipsUnchanged, imported == nil, let parent = state.newest,
                point.shows(parent)
            {
                throw NothingChanged(point: parent)
            }
            return point
        }
        operation.update { status in
            status.point = point.name
            status.bytes = [imported?.before.bytes ?? 0, point.files.map(\.bytes).total].total
            for table in point.notBackedUp {
                let place = imported == nil ? "" : "\(point.name)/"
                status.leaveOut(NotBackedUp(path: place + table.path, reason: table.reason))
            }
            if isIncremental {
                // Until here the rows gone through; what counts in the end is what was found.
                status.rows =
                    [imported?.before.rows ?? 0, point.tables.map(\.carried).total].total
            }
        }
        if knowledge.isKept { keep(cut, lock, uses: knowledge.uses) }
        pointCommit.finish(lock) {
            let retention = retention(lock)
            let dropped = try retention.dropByPolicy()
            if dropped > 0 { note("\(dropped) points dropped, as the KEEP_ settings say") }
            if dropped > 0 || files.hasAbandoned { try retention.removeUnneeded() }
        }
        return point.name
    }

    /// Writes the point's files, up to the commit.
    private func write(
        _ cut: any SourceCut, _ files: DataFiles, _ state: CollectionState,
        _ definition: CollectionDefinition, isAudit: Bool
    ) throws -> PointRecord {
        let stored = CollectionFiles(repository, state)
        let pool = FilePool(stored, cache: cache)
        var nextID = state.nextTableID
        let backup = TableBackup(
            cut: cut, files: files, limits: limits, stored: stored, pool: pool,
            deadFiles: isIncremental ? state.mostlyDeadFiles : [:], isAudit: isAudit,
            newID: {
                defer { nextID += 1 }
                return nextID
            }, note: note)
        let (present, refused) = try tables(cut, definition)
        let parent = state.newest
        let known = parent.map { state.tables(at: $0.sequence) } ?? []
        let counts = try countRows(cut, present, known)
        var tables = BackupTables(
            backup, files, isIncremental: isIncremental, before: known, refused: refused)
        for path in present {
            operation.update { $0.beginTable(rows: counts[path] ?? 0) }
            try tables.add(path)
            try operation.checkpoint()
        }
        try tables.finish()
        let gone = tables.gone
        try noteGone(
            gone, since: parent?.name ?? "", definition, notBackedUp: tables.notBackedUp)
        let written = try files.finish()
        stored.add(written)
        var records = tables.records
        for index in records.indices {
            records[index].files = try backup.neededFiles(records[index])
        }
        try cut.confirm()
        operation.update { $0.figures = pool.figures }
        return PointRecord(
            after: state, parent: isIncremental ? parent : nil, cut: cut.instant,
            operation: operation, uid: uid, files: written, tables: records,
            removed: isIncremental ? (gone.map(\.id) + tables.replaced).sorted() : [],
            notBackedUp: tables.notBackedUp,
            views: definition.isDatabase ? cut.views : "",
            facts: try definition.isDatabase ? cut.facts : nil)
    }

    /// Keeps what the next cut wants to know of this one: a loss costs time, no more.
    func keep(_ cut: any SourceCut, _ lock: WriterLock, uses: UInt32) {
        do {
            try lock.keepCapture(uses: uses) { try cut.writeKnowledge(to: $0) }
        } catch {
            let reason = (error as? Failure)?.message ?? "\(error)"
            note(
                "what this cut knows couldn't be kept, the next one compares everything: \(reason)")
        }
    }

    /// Tables to back up at this cut, by path, and those that can't be.
    private func tables(
        _ cut: any SourceCut, _ definition: CollectionDefinition
    ) throws -> (present: [String], refused: [NotBackedUp]) {
        var all = try cut.listTables()
        if !definition.isDatabase {
            all = definition.tables.map { path in
                all.first { $0.path.hasSameBytes(as: path) }
                    ?? SourceTable(path: path, refusal: "the database has no such table")
            }.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
        }
        let refused = all.compactMap { table in
            table.refusal.map { NotBackedUp(path: table.path, reason: $0) }
        }
        return (all.filter { $0.refusal == nil }.map(\.path), refused)
    }

    /// What there is to go through, for the progress: in an incremental, which may find changes
    /// without, about as many rows as the parent has.
    private func countRows(
        _ cut: any SourceCut, _ tables: [String], _ known: [TableRecord]
    ) throws -> [String: UInt64] {
        var counts: [String: UInt64] = [:]
        if isIncremental { for table in known { counts[table.path] = table.rows } }
        for path in tables where counts[path] == nil {
            do {
                counts[path] = try cut.countRows(path)
            } catch is UnreadableTable {
                // Whoever reads it finds that out again, and says so.
                counts[path] = 0
            }
        }
        let total = [imported?.before.totalRows ?? 0, tables.map { counts[$0] ?? 0 }.total].total
        operation.update { $0.totalRows = total }
        return counts
    }
}

/// What is other than with a backup of a database as it is now, if others have made the point.
struct ImportedPoint {
    /// What it is known by.
    var token: String
    /// What it is to the user.
    var name: String
    /// What the operation has come to before it.
    var before: Operation.Status
    /// Throws if it can't follow what the collection is by now.
    var check: (CollectionState) throws -> Void
}
