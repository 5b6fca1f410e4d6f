import Bytes
import Repository
import Tables

/// Takes the points of another's backups into a collection, one after another, each with its own name and
/// cut: what `PULL` does.
///
/// A table that can't be right is left out, with the reason, and so it is in every point behind it that
/// has only changes of it. A point without any table that can be read is there all the same, to say why.
struct ImportJob {
    let repository: Repository
    let source: any PointSource
    let collection: String
    let operation: Operation
    let limits: FormatLimits
    let cache: SharedCache

    func run() throws {
        guard let found = try source.listCollections().first(where: { $0.name == collection })
        else { throw Failure(.notFound, "\(source.name) has no backups of \(collection)") }
        try define()
        let changed = found.changed(since: repository.collection(collection))
        for name in changed { note(SourceCollection.difference(name)) }
        while true {
            let pending = found.pending(behind: repository.collection(collection))
            pending.notes.forEach(note)
            guard let next = pending.next else { return }
            if let refusal = next.point.refusal, next.isLast {
                note("\(next.point.name) isn't imported yet: \(refusal)")
                return
            }
            let name = try take(next, of: found)
            operation.update { $0.point = name }
            try operation.checkpoint()
        }
    }

    private func note(_ line: String) { operation.update { $0.notes.append(line) } }

    private var pointCommit: PointCommit {
        PointCommit(
            repository: repository, collection: collection, operation: operation,
            maker: "the import")
    }

    /// The collection is there from here on; its tables are those of its points.
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
        let specification = CollectionSpecification(
            name: collection, members: .tables(before + new), settings: settings)
        try lock.append(
            .define(
                CollectionDefinition(
                    name: collection, tables: before + new, isDatabase: false,
                    settings: known?.settings ?? specification.settings.stored,
                    sourceKind: source.kind, sql: specification.sql,
                    time: known?.time ?? repository.now.microseconds)))
    }

    // MARK: One point

    private func take(
        _ next: SourceCollection.Next, of found: SourceCollection
    ) throws -> String {
        let cut = AttributedCut(try source.openPoint(next.point, of: collection))
        defer { cut.close() }
        let paths = next.point.refusal == nil ? try cut.listTables() : []
        try define(paths.filter { $0.refusal == nil }.map(\.path))
        let (lock, state, _) = try pointCommit.begin()
        guard found.pending(behind: state).next == next else {
            throw Failure(.busy, "\(collection) was changed by another process: try again")
        }
        let files = DataFiles(
            lock, operation: operation,
            room: Room(repository: repository).watch(state, maker: "the import"))
        let point = try pointCommit.commit(lock) {
            try write(next.point, cut, paths, files, state)
        }
        operation.update { status in
            status.bytes += point.files.map(\.bytes).total
            for table in point.notBackedUp {
                status.leaveOut(
                    NotBackedUp(path: "\(point.name)/\(table.path)", reason: table.reason))
            }
        }
        pointCommit.finish(lock)
        return point.name
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

    private func record(
        _ point: SourcePoint, _ tables: BackupTables, _ backup: TableBackup, _ files: DataFiles,
        _ stored: CollectionFiles, _ state: CollectionState, _ parent: BackupPoint?
    ) throws -> PointRecord {
        // What an incremental hasn't got is as it was; what couldn't be read is not.
        let lost = tables.gone.filter { table in
            tables.notBackedUp.contains { $0.path.hasSameBytes(as: table.path) }
        }
        let kept = tables.gone.filter { table in !lost.contains { $0.id == table.id } }
        if parent != nil {
            for table in kept {
                note("\(point.name): it has no table \(table.path): shown as at the point before")
            }
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

extension SourcePoint {
    /// What a point that was imported is known by: which files it is from, and its name, so that the
    /// collection knows the last one whatever becomes of its points.
    fileprivate var token: String { "\(version):\(name)" }

    fileprivate static func name(inToken token: String) -> String? {
        token.firstIndex(of: ":").map { String(token[token.index(after: $0)...]) }
    }
}

extension SourceCollection {
    /// A point that isn't imported yet.
    struct Next: Equatable {
        var point: SourcePoint
        /// Nothing stands behind it.
        var isLast: Bool
    }

    struct Pending {
        var next: Next?
        /// Incrementals before it that stand on what was dropped here, a line each.
        var notes: [String] = []
    }

    /// The first point behind those that were imported ever, in the order of names, that can be added to
    /// the collection as it is now.
    func pending(behind state: CollectionState?) -> Pending {
        var pending = Pending()
        let last = state?.lastUID.flatMap(SourcePoint.name(inToken:))
        // Asked for what doesn't show alone: most of what was imported does.
        lazy var had = state?.importedNames ?? []
        var isStranded = false
        // Incrementals of a chain that was dropped here were told when it was.
        var isOnDropped = false
        for (index, point) in points.enumerated() {
            if let last, !last.utf8.lexicographicallyPrecedes(point.name.utf8) {
                if state?.point(named: point.name) != nil {
                    isOnDropped = false
                } else if had.contains(point.name) {
                    isOnDropped = true
                } else if !point.isIncremental || !isOnDropped {
                    pending.notes.append(
                        "\(point.name) isn't imported: it is older than \(last), which was imported "
                            + "before")
                }
                continue
            }
            // Compacting makes another point of the same cut.
            if point.isIncremental, !isStranded, index > 0, let state {
                let parent = points[index - 1]
                isStranded = state.newest?.name != parent.name && state.newest?.cut != parent.cut
            }
            if point.isIncremental, isStranded {
                pending.notes.append(
                    "\(point.name) isn't imported: what it stands on was dropped here")
                continue
            }
            pending.next = Next(point: point, isLast: index + 1 == points.count)
            break
        }
        return pending
    }

    /// Points that were imported and are other ones now.
    func changed(since state: CollectionState?) -> [String] {
        points.filter { point in
            guard let uid = state?.point(named: point.name)?.uid else { return false }
            return uid != point.token
        }.map(\.name)
    }

    static func difference(_ name: String) -> String {
        "\(name): its files are others than those that were imported (by size or time): it is shown as "
            + "it was"
    }
}

extension CollectionState {
    /// Names of all points that were ever imported, whatever became of them.
    fileprivate var importedNames: Set<String> {
        Set(tokens.compactMap(SourcePoint.name(inToken:)) + lostPoints.map(\.name))
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
                .unsupported, "PULL is for backups that others have made: SOURCE is no dump",
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
            operation: operation, limits: options.limits, cache: cache
        ).run()
    }

    /// What is new where others have made backups: a `PULL` for each collection with points that aren't
    /// here, and a line for each point that is another one than the one that was imported.
    package func newPoints() throws -> (statements: [Statement], notes: [String]) {
        guard let source = options.points else { return ([], []) }
        var statements: [Statement] = []
        var notes: [String] = []
        for found in try source.listCollections() {
            let known = collection(found.name)
            notes += found.changed(since: known).map {
                "\(found.name)/" + SourceCollection.difference($0)
            }
            // What was dropped on purpose comes back only if that is said.
            let isDropped = repository?.droppedCollections.contains { $0.name == found.name }
            if isDropped == true || known != nil && known?.definition == nil { continue }
            let pending = found.pending(behind: known)
            guard let next = pending.next else {
                notes += pending.notes.map { "\(found.name)/\($0)" }
                continue
            }
            if let refusal = next.point.refusal, next.isLast {
                notes.append("\(found.name)/\(next.point.name) isn't imported yet: \(refusal)")
                continue
            }
            statements += try Statement.parse("PULL \(quotedName(found.name));")
        }
        return (statements, notes)
    }
}
