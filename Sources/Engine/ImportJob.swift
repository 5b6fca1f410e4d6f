import Bytes
import Repository
import Tables

/// Takes the points of another's backups into a collection, one after another, each with its cut: what
/// `PULL` does.
///
/// A table that can't be right is left out, with the reason, and so it is in every point behind it that
/// has only changes of it. A point without any table that can be read is there all the same, to say why;
/// but if each point is a database of its own, one that isn't sound is left out and named.
struct ImportJob {
    let repository: Repository
    let source: any PointSource
    let collection: String
    let operation: Operation
    let limits: FormatLimits
    let auditInterval: Int
    let cache: SharedCache

    func run() throws {
        guard let found = try source.listCollections().first(where: { $0.name == collection })
        else { throw Failure(.notFound, "\(source.name) has no backups of \(collection)") }
        try define()
        for line in found.changed(since: repository.collection(collection)) + found.leftOut {
            note(line)
        }
        // What lies there and couldn't be taken in isn't done by leaving it out once more.
        var refused = found.present(
            repository.collection(collection).map(repository.refusedPoints) ?? [])
        refused.forEach(leaveOut)
        var told: Set<String> = []
        while true {
            let state = repository.collection(collection)
            let pending = found.pending(behind: state, refused: refused)
            for line in pending.notes where told.insert(line).inserted { note(line) }
            guard let next = pending.next else { return }
            if let refusal = next.point.refusal, next.isLast {
                note("\(next.point.name) isn't imported yet: \(refusal)")
                return
            }
            func require(_ state: CollectionState) throws {
                if found.pending(behind: state, refused: refused).next == next { return }
                throw Failure(.busy, "\(collection) was changed by another process: try again")
            }
            do {
                let name =
                    try source.holdsDatabases
                    ? takeDatabase(next.point, require) : take(next.point, require)
                operation.update { $0.point = name }
            } catch let unsound as UnsoundPoint {
                let point = RefusedPoint(
                    token: next.point.token, name: next.point.file ?? next.point.name,
                    reason: unsound.reason)
                refused.append(point)
                leaveOut(point)
                try remember(refused)
            }
            try operation.checkpoint()
        }
    }

    /// They are left out from here on, without another look, as long as they lie there.
    private func remember(_ refused: [RefusedPoint]) throws {
        let lock = try repository.patientLock(collection: collection, seconds: 5)
        try lock.record(refused: refused)
    }

    private func leaveOut(_ point: RefusedPoint) {
        operation.update {
            $0.leaveOut(NotBackedUp(path: point.name, reason: point.reason))
        }
    }

    private func note(_ line: String) { operation.update { $0.notes.append(line) } }

    private var pointCommit: PointCommit {
        PointCommit(
            repository: repository, collection: collection, operation: operation,
            maker: "the import")
    }

    /// The collection is there from here on; its tables are those of its points, if it is none of whole
    /// databases.
    private func define(_ tables: [String] = []) throws {
        let shown = repository.collection(collection)?.definition
        if let shown, shown.sourceKind == source.kind, shown.lacks(tables).isEmpty { return }
        let lock = try repository.patientLock(collection: collection, seconds: 5)
        let known = lock.current?.definition
        if let known, known.sourceKind != source.kind {
            throw Failure(
                .exists,
                "\(repository.storage.location) has a collection \(collection) that isn't one of "
                    + "\(source.name): name another --repository")
        }
        let before = known?.tables ?? []
        let new = known?.lacks(tables) ?? tables
        if known != nil, new.isEmpty { return }
        var settings = CollectionSettings()
        _ = settings.set(.incrementalBackupEnabled, "true")
        let isDatabase = source.holdsDatabases
        let specification = CollectionSpecification(
            name: collection, members: isDatabase ? .database : .tables(before + new),
            settings: settings)
        try lock.append(
            .define(
                CollectionDefinition(
                    name: collection, tables: before + new, isDatabase: isDatabase,
                    settings: known?.settings ?? specification.settings.stored,
                    sourceKind: source.kind, sql: specification.sql,
                    time: known?.time ?? repository.now.microseconds)))
    }

    // MARK: One point

    /// A backup of a database as it was, as of any database.
    ///
    /// - Parameter require: throws if it can't follow what the collection is by now.
    private func takeDatabase(
        _ point: SourcePoint, _ require: (CollectionState) throws -> Void
    ) throws -> String {
        try withoutActuallyEscaping(require) { require in
            let job = BackupJob(
                repository: repository, sourceBytes: nil,
                openCut: { try open(point, $0) }, collection: collection,
                isIncremental: repository.collection(collection)?.newest != nil,
                operation: operation, limits: limits, auditInterval: auditInterval, cache: cache,
                imported: ImportedPoint(
                    token: point.token, name: point.file ?? point.name, before: operation.status,
                    check: require))
            return try job.run().point
        }
    }

    private func open(_ point: SourcePoint, _ request: CutRequest) throws -> any SourceCut {
        try source.openPoint(point, of: collection, request) { [operation] in
            operation.isCancelling
        }
    }

    /// Tables, of which it may have changes only.
    private func take(
        _ point: SourcePoint, _ require: (CollectionState) throws -> Void
    ) throws -> String {
        let cut = AttributedCut(try open(point, CutRequest()))
        defer { cut.close() }
        let paths = point.refusal == nil ? try cut.listTables() : []
        try define(paths.filter { $0.refusal == nil }.map(\.path))
        let (lock, state, _) = try pointCommit.begin()
        try require(state)
        let files = DataFiles(
            lock, operation: operation,
            room: Room(repository: repository).watch(state, maker: "the import"))
        let bytesBefore = operation.status.bytes
        let made = try pointCommit.commit(lock) {
            try write(point, cut, paths, files, state)
        }
        operation.update { status in
            status.bytes = [bytesBefore, made.files.map(\.bytes).total].total
            for table in made.notBackedUp {
                status.leaveOut(
                    NotBackedUp(path: "\(made.name)/\(table.path)", reason: table.reason))
            }
        }
        pointCommit.finish(lock)
        return made.name
    }

    private func write(
        _ point: SourcePoint, _ cut: any SourceCut, _ listed: [SourceTable], _ files: DataFiles,
        _ state: CollectionState
    ) throws -> PointRecord {
        let parent = point.isIncremental ? state.newest : nil
        let known = state.newest.map { state.tables(at: $0.sequence) } ?? []
        let stored = CollectionFiles(repository, state)
        let pool = FilePool(stored, cache: cache)
        var nextID = state.nextTableID
        let backup = TableBackup(
            cut: cut, files: files, limits: limits, stored: stored, pool: pool,
            deadFiles: parent == nil ? [:] : state.mostlyDeadFiles, isAudit: false,
            newID: {
                defer { nextID += 1 }
                return nextID
            }, note: { note("\(point.name): \($0)") })
        let refused = broken(point, parent, known, listed)
        var tables = BackupTables(
            backup, files, isIncremental: parent != nil, before: known,
            refused: refused
                + listed.compactMap { table in
                    table.refusal.map { NotBackedUp(path: table.path, reason: $0) }
                })
        let usable = listed.filter { $0.refusal == nil }
        // A table whose rows can't be counted can't be read either, which is told then.
        let counts = usable.map { (try? cut.countRows($0.path)) ?? 0 }
        operation.update { $0.totalRows = [$0.rows, counts.total].total }
        for (table, rows) in zip(usable, counts) {
            operation.update { $0.beginTable(rows: rows) }
            try tables.add(table.path)
            try operation.checkpoint()
        }
        return try record(point, tables, backup, files, stored, state, parent)
    }

    /// Tables that it says nothing of and that can't be right here: all of them if it can't be read, and
    /// those that couldn't be read at the point before.
    private func broken(
        _ point: SourcePoint, _ parent: BackupPoint?, _ known: [TableRecord],
        _ listed: [SourceTable]
    ) -> [NotBackedUp] {
        if let refusal = point.refusal {
            let paths = known.map(\.path) + (parent?.notBackedUp.map(\.path) ?? [])
            return (paths.isEmpty ? ["."] : paths).map { NotBackedUp(path: $0, reason: refusal) }
        }
        return (parent?.notBackedUp ?? []).filter { table in
            !listed.contains { $0.path.hasSameBytes(as: table.path) }
        }.map { carried($0, from: parent!) }
    }

    /// A table that is left out here because it couldn't be read there.
    private func carried(_ table: NotBackedUp, from parent: BackupPoint) -> NotBackedUp {
        if table.reason.hasPrefix(Self.carriedPrefix) { return table }
        return NotBackedUp(
            path: table.path, reason: "\(Self.carriedPrefix)\(parent.name): \(table.reason)")
    }

    private static let carriedPrefix = "it stands on what couldn't be read at "

    /// All that are gone, a few of them by name.
    private static func words(_ tables: [TableRecord]) -> String {
        let named = 3
        let more = tables.count > named ? " and \(tables.count - named) more" : ""
        return (tables.count == 1 ? "table " : "tables ")
            + tables.prefix(named).map(\.path).joined(separator: ", ") + more
    }

    private func record(
        _ point: SourcePoint, _ tables: BackupTables, _ backup: TableBackup, _ files: DataFiles,
        _ stored: CollectionFiles, _ state: CollectionState, _ parent: BackupPoint?
    ) throws -> PointRecord {
        // What an incremental hasn't got is as it was; what couldn't be read is not.
        let lost = tables.gone.filter { table in
            tables.notBackedUp.contains { $0.path.hasSameBytes(as: table.path) }
        }
        let kept = tables.gone.filter { table in !lost.contains { $0.id == table.id } }
        if parent != nil, !kept.isEmpty {
            note("\(point.name): it has no \(Self.words(kept)): shown as at the point before")
        }
        let notBackedUp = tables.notBackedUp.map { table in
            let before = parent?.notBackedUp.first { $0.path.hasSameBytes(as: table.path) }
            return before.map { carried($0, from: parent!) } ?? table
        }
        let written = try files.finish()
        stored.add(written)
        var records = tables.records
        for index in records.indices {
            records[index].files = try backup.neededFiles(records[index])
        }
        return PointRecord(
            after: state, named: point.name, parent: parent, cut: point.cut,
            operation: operation, uid: point.token, files: written, tables: records,
            removed: parent == nil ? [] : (lost.map(\.id) + tables.replaced).sorted(),
            notBackedUp: notBackedUp.sorted {
                $0.path.utf8.lexicographicallyPrecedes($1.path.utf8)
            }, views: "", facts: nil)
    }
}

extension CollectionDefinition {
    /// Those of the tables that it doesn't name.
    fileprivate func lacks(_ paths: [String]) -> [String] {
        paths.filter { path in !tables.contains { $0.hasSameBytes(as: path) } }
    }
}

// MARK: Statements

extension Plan {
    /// What `PULL` would do: all new points of a collection are taken from where others have made them.
    func pull(
        _ statement: Statement, at point: Located<String>?, _ state: inout Expected
    ) throws(Failure) -> Step {
        let name = statement.collection.name
        guard let source = engine.options.points else {
            throw statement.refusal(
                .unsupported, "PULL is for backups that others have made: SOURCE holds none",
                at: statement.position)
        }
        if let point {
            throw statement.refusal(
                .unsupported, "PULL takes all points that are new: leave out AT", at: point.position
            )
        }
        let found = try engine.collections(of: source)
        guard found.contains(where: { $0.name == name }) else {
            let names = found.prefix(10).map(\.name).joined(separator: ", ")
            throw statement.refusal(
                .notFound, "\(source.name) has no backups of \(name); there are: \(names)",
                at: statement.collection.position)
        }
        if Self.reservedNames.contains(name) {
            throw statement.refusal(
                .invalid, "\(name) is a name of the mount's own: rename the folder",
                at: statement.collection.position)
        }
        try checkQueue(name, state)
        state.queued += 1
        state.hasFull = true
        return .queue(.pull)
    }
}

extension Engine {
    fileprivate func collections(
        of source: any PointSource
    ) throws(Failure) -> [SourceCollection] {
        do {
            return try source.listCollections()
        } catch {
            throw error as? Failure ?? Failure(.system, "\(error)")
        }
    }

    func pull(_ operation: Operation) throws {
        guard let source = options.points, let repository else {
            throw Failure(.unsupported, "there is nothing to pull from")
        }
        try ImportJob(
            repository: repository, source: source, collection: operation.collection,
            operation: operation, limits: options.limits, auditInterval: options.auditInterval,
            cache: cache
        ).run()
    }

    /// Lines of one kind that are told of a collection.
    private static let toldNotes = 20

    /// What is new where others have made backups: a `PULL` for each collection with points that aren't
    /// here, and a line for each point that is another one than the one that was imported, and for what is
    /// left out.
    package func newPoints() throws -> (statements: [Statement], notes: [String]) {
        guard let source = options.points else { return ([], []) }
        var statements: [Statement] = []
        var notes: [String] = []
        for found in try source.listCollections() {
            let known = collection(found.name)
            func tell(_ lines: [String]) {
                let name = oneLine(found.name)
                notes += lines.prefix(Self.toldNotes).map { "\(name)/\(oneLine($0))" }
                let more = lines.count - Self.toldNotes
                if more > 0 { notes.append("\(name): \(more) more like these") }
            }
            tell(found.changed(since: known))
            tell(found.leftOut)
            // What was dropped on purpose comes back only if that is said.
            let isDropped = repository?.droppedCollections.contains { $0.name == found.name }
            if isDropped == true || known != nil && known?.definition == nil { continue }
            let refused = known.flatMap { repository?.refusedPoints(of: $0) } ?? []
            let pending = found.pending(behind: known, refused: refused)
            guard let next = pending.next else {
                tell(pending.notes + found.present(refused).map(\.line))
                continue
            }
            if let refusal = next.point.refusal, next.isLast {
                tell(["\(next.point.name) isn't imported yet: \(refusal)"])
                continue
            }
            statements += try Statement.parse("PULL \(quotedName(found.name));")
        }
        return (statements, notes)
    }
}
