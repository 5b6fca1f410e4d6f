import Bytes
import Glibc
import Repository
import Tables

extension Repository {
    /// The writer's lock, asked for again for a while: others hold it for an instant when they only
    /// look whether they could have it, or while one of their children starts.
    func patientLock(collection: String, seconds: Double) throws -> WriterLock {
        let pauseSeconds = 0.01
        var rest = seconds
        while true {
            do {
                return try lock(collection: collection)
            } catch let failure as Failure where failure.code == .busy && rest > 0 {
                usleep(UInt32(pauseSeconds * 1_000_000))
                rest -= pauseSeconds
            }
        }
    }
}

/// Takes one backup point of a collection, from the writer's lock to the commit.
struct BackupJob {
    let repository: Repository
    let source: any RowSource
    let collection: String
    let isIncremental: Bool
    let operation: Operation
    let limits: FormatLimits
    let cache: SharedCache

    /// Answers the name of the point.
    func run() throws -> String {
        let lock = try repository.patientLock(collection: collection, seconds: 5)
        guard let state = lock.current, let definition = state.definition else {
            throw Failure(.notFound, "there is no collection \(collection)")
        }
        if let uid = operation.uid, state.isTaken(uid: uid) {
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
        let cut = try source.openCut(CutRequest())
        defer { cut.close() }
        cut.notes.forEach(note)
        return try commit(cut, lock, state, definition)
    }

    private func retention(_ lock: WriterLock) -> Retention {
        Retention(repository: repository, lock: lock)
    }

    private func note(_ line: String) { operation.update { $0.notes.append(line) } }

    private func commit(
        _ cut: any SourceCut, _ lock: WriterLock, _ state: CollectionState,
        _ definition: CollectionDefinition
    ) throws -> String {
        let (point, hasAbandoned): (PointRecord, Bool)
        do {
            (point, hasAbandoned) = try write(cut, lock, state, definition)
        } catch {
            // On a full disk there would be no room for the next attempt.
            lock.removeUncommitted()
            throw error
        }
        // From here on an error may hide that the entry is there.
        try lock.append(.point(point))
        operation.update { status in
            status.point = point.name
            status.bytes = point.files.reduce(0) { $0 + $1.bytes }
            for table in point.notBackedUp { status.leaveOut(table) }
            if isIncremental {
                // Until here the rows gone through; what counts in the end is what was found.
                status.rows = point.tables.reduce(0) { $0 + ($1.isReset ? $1.rows : $1.changes) }
            }
        }
        afterCommit(lock, hasAbandoned: hasAbandoned)
        return point.name
    }

    /// Writes the point's files, up to the commit; says whether some of them are of no use.
    private func write(
        _ cut: any SourceCut, _ lock: WriterLock, _ state: CollectionState,
        _ definition: CollectionDefinition
    ) throws -> (PointRecord, hasAbandoned: Bool) {
        let files = DataFiles(lock, operation: operation)
        let stored = CollectionFiles(repository, state)
        let pool = FilePool(stored, cache: cache)
        let backup = TableBackup(
            cut: cut, files: files, limits: limits, stored: stored, pool: pool,
            deadFiles: isIncremental ? state.mostlyDeadFiles : [:],
            note: note)
        let (present, refused) = try tables(cut, definition)
        let parent = state.newest
        let known = parent.map { state.tables(at: $0.sequence) } ?? []
        let counts = try countRows(cut, present, known)
        var records: [TableRecord] = []
        var nextID = state.nextTableID
        // By bytes: names that only look alike are different tables.
        var gone = Dictionary(
            known.map { (Array($0.path.utf8), $0) }, uniquingKeysWith: { first, _ in first })
        for path in present {
            operation.update { $0.beginTable(rows: counts[path] ?? 0) }
            let before = gone.removeValue(forKey: Array(path.utf8))
            let id = before?.id ?? nextID
            if before == nil { nextID += 1 }
            if isIncremental, let before {
                if let record = try backup.incremental(path, parent: before) {
                    records.append(record)
                }
            } else {
                records.append(
                    try backup.full(path, id: id, known: before, isReset: isIncremental))
            }
            try operation.checkpoint()
        }
        let removed = gone.values.map(\.id).sorted()
        let written = try files.finish()
        stored.add(written)
        for index in records.indices {
            records[index].files = try backup.neededFiles(records[index])
        }
        let point = PointRecord(
            sequence: state.nextSequence,
            name: state.nextPointName(cut: cut.instant, isIncremental: isIncremental),
            kind: isIncremental ? .incremental : .full,
            parent: isIncremental ? parent?.sequence : nil,
            parentHash: isIncremental ? parent?.hash : nil, cut: cut.instant,
            operation: operation.id, uid: operation.uid, files: written,
            tables: records, removed: isIncremental ? removed : [], notBackedUp: refused,
            views: definition.isDatabase ? cut.views : "",
            facts: try definition.isDatabase ? cut.facts : nil)
        operation.update { $0.figures = pool.figures }
        try operation.checkpoint()
        return (point, files.hasAbandoned)
    }

    /// The point is durable whatever happens from here on.
    private func afterCommit(_ lock: WriterLock, hasAbandoned: Bool) {
        do {
            let retention = retention(lock)
            let dropped = try retention.dropByPolicy()
            if dropped > 0 { note("\(dropped) points dropped, as the KEEP_ settings say") }
            if dropped > 0 || hasAbandoned { try retention.removeUnneeded() }
            try lock.writeCatalogIfDue()
        } catch {
            note("after the backup: \((error as? Failure)?.message ?? "\(error)")")
        }
    }

    /// Tables to back up at this cut, by path, and those that can't be.
    private func tables(
        _ cut: any SourceCut, _ definition: CollectionDefinition
    ) throws -> (present: [String], refused: [NotBackedUp]) {
        var all = try cut.listTables()
        if definition.isDatabase {
            let omitted = try CollectionSettings(stored: definition.settings).omitTables
            all.removeAll { table in omitted.contains { table.isOmitted(by: $0) } }
            let refused = all.compactMap { table in
                table.refusal.map { NotBackedUp(path: table.path, reason: $0) }
            }
            return (all.filter { $0.refusal == nil }.map(\.path), refused)
        }
        for path in definition.tables {
            guard let table = all.first(where: { $0.path.hasSameBytes(as: path) }) else {
                throw Failure(
                    .notFound,
                    "\(source.name) has no table \(path), which collection \(collection) names")
            }
            if let refusal = table.refusal { throw Failure(.unsupported, refusal) }
        }
        return (definition.tables.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }, [])
    }

    /// What there is to go through, for the progress: in an incremental, which may find changes
    /// without, about as many rows as the parent has.
    private func countRows(
        _ cut: any SourceCut, _ tables: [String], _ known: [TableRecord]
    ) throws -> [String: UInt64] {
        var counts: [String: UInt64] = [:]
        if isIncremental { for table in known { counts[table.path] = table.rows } }
        for path in tables where counts[path] == nil { counts[path] = try cut.countRows(path) }
        let total = tables.reduce(0) { $0 + (counts[$1] ?? 0) }
        operation.update { $0.totalRows = total }
        return counts
    }
}

extension CollectionState {
    /// UTC, in YDB's form: the cut's second, or one second after the name before.
    func nextPointName(cut: Int64, isIncremental: Bool) -> String {
        var instant = Instant(microseconds: cut).floorToSecond
        let suffix = isIncremental ? "_incremental" : "_full"
        if let last = lastName, let before = Instant(pointName: last), instant <= before {
            instant = before + Period(seconds: 1)
        }
        return instant.pointName + suffix
    }
}
