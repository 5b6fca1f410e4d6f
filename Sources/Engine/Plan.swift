import Bytes
import Repository
import Tables

/// Decides what statements would do, one after another, each in the state that those before it, and
/// all that is queued, will have left.
struct Plan {
    enum Step {
        /// Made or, if it was something `before`, altered.
        case define(CollectionDefinition, before: CollectionDefinition?, notes: [String])
        case drop
        case alterPoints([PointChange])
        case queue(Work)

        var kind: String {
            switch self {
            case .define(_, let before, _): before == nil ? "create" : "alter"
            case .drop: "drop"
            case .alterPoints: "alter"
            case .queue(let work): work.kind
            }
        }
    }

    /// What matters of a collection as it will be.
    struct Expected {
        var definition: CollectionDefinition?
        var hasFull = false
        var uids: Set<String> = []
        var isTakenUID: (String) -> Bool = { _ in false }
        var queued = 0
        var queuedBackups = 0

        var exists: Bool { definition != nil }
        var isIncremental: Bool {
            let settings = definition.flatMap { try? CollectionSettings(stored: $0.settings) }
            return settings?.isIncrementalBackupEnabled ?? false
        }
        /// Whether a KEEP_ setting says which points stay.
        var hasPolicy: Bool {
            let settings = definition.flatMap { try? CollectionSettings(stored: $0.settings) }
            return settings.flatMap(KeepPolicy.init) != nil
        }
    }

    /// Names in the root of a mount, which no collection can have.
    package static let reservedNames: Set<String> = [
        "README", "CACHEDIR.TAG", "control", "errors", "metrics", "operations",
    ]
    private static let maxNameBytes = 255

    let engine: Engine
    private var expected: [String: Expected] = [:]
    private var hasCheckedSource = false
    /// Names in the database that queued restores will have taken, folded.
    var restoredTargets: Set<[UInt8]>

    init(engine: Engine) {
        self.engine = engine
        restoredTargets = Set(engine.queuedTargets.map(Self.folded))
    }

    mutating func step(_ statement: Statement) throws(Failure) -> Step {
        let name = statement.collection.name
        if let path = statement.collection.database, path != engine.database?.path {
            throw statement.refusal(
                .notFound,
                "\(path) is not this database"
                    + (engine.database.map { ", which is \($0.path)" } ?? ""),
                at: statement.collection.position)
        }
        var state = expected[name] ?? current(name)
        defer { expected[name] = state }
        if engine.options.restoresInto != nil, case .restore = statement.action {
        } else if engine.options.restoresInto != nil {
            throw statement.refusal(
                .invalid, "only RESTORE can go into another database", at: statement.position)
        }
        switch statement.action {
        case .create(let create): return try self.create(statement, create, &state)
        case .drop: return try drop(statement, &state)
        case .backup(let backup): return try self.backup(statement, backup, &state)
        case .alter(let changes): return try alter(statement, changes, &state)
        case .restore(let restore): return try self.restore(statement, restore, &state)
        case .verify(let verify): return try self.verify(statement, verify, &state)
        case .compact: return try compact(statement, &state)
        case .prune(let isDryRun): return try prune(statement, isDryRun: isDryRun, &state)
        case .pull:
            throw statement.refusal(
                .unsupported,
                "\(statement.action.words) isn't built yet in this version of ydbfs",
                at: statement.position)
        }
    }

    private func current(_ name: String) -> Expected {
        var state = Expected()
        if let collection = engine.collection(name), let definition = collection.definition {
            state.definition = definition
            state.hasFull = collection.newest != nil
            state.isTakenUID = { collection.isTaken(uid: $0) }
        }
        for queued in engine.queue(of: name) where !queued.operation.status.state.isFinal {
            state.queued += 1
            if case .backup = queued.work { state.queuedBackups += 1 }
            state.hasFull = state.hasFull || queued.work.makesFull
            if let uid = queued.operation.uid { state.uids.insert(uid) }
        }
        return state
    }

    // MARK: Definitions

    private func create(
        _ statement: Statement, _ create: Statement.Create, _ state: inout Expected
    ) throws(Failure) -> Step {
        let name = statement.collection.name
        let position = statement.collection.position
        if state.exists {
            throw statement.refusal(.exists, "collection \(name) exists already", at: position)
        }
        if Self.reservedNames.contains(name) || name == "." || name == ".." {
            throw statement.refusal(
                .invalid, "\(name) is a name of the mount's own: choose another", at: position)
        }
        if name.utf8.count > Self.maxNameBytes {
            throw statement.refusal(
                .invalid, "a collection's name has at most \(Self.maxNameBytes) bytes", at: position
            )
        }
        try checkSettings(statement, create.settings)
        let (definition, notes) = try define(statement, create)
        state.definition = definition
        return .define(definition, before: nil, notes: notes)
    }

    private func alter(
        _ statement: Statement, _ changes: [Statement.Change], _ state: inout Expected
    ) throws(Failure) -> Step {
        let before = try require(statement, state)
        try requireIdle(statement, state)
        let pointChanges = changes.compactMap(PointChange.of)
        if pointChanges.count == changes.count { return try alterPoints(statement, pointChanges) }
        var alteration = try Alteration(before, statement)
        for change in changes {
            switch change {
            case .addTable(let table):
                let path = try resolve(table, statement)
                try alteration.add(table, path: path)
                try requireUsable(path, table, statement, among: sourceTables())
            case .dropTable(let table):
                try alteration.drop(table, path: resolve(table, statement))
            case .set(let settings):
                try alteration.set(settings)
                try checkSettings(statement, settings)
            case .reset(let keys): try alteration.reset(keys)
            case .dropBackup, .undropBackup, .pinBackup, .unpinBackup:
                throw statement.refusal(
                    .unsupported,
                    "DROP, UNDROP, PIN and UNPIN BACKUP go with each other, not with changes of "
                        + "settings or tables: write two statements", at: statement.position)
            }
        }
        let definition = try alteration.definition()
        state.definition = definition
        return .define(definition, before: before, notes: [])
    }

    /// Refuses what is understood but not built.
    private func checkSettings(
        _ statement: Statement, _ settings: Statement.Settings
    ) throws(Failure) {
        let built: Set<SettingKey> = [
            .storage, .incrementalBackupEnabled, .capture, .incrementalEvery, .fullEvery,
            .maxChain, .keepLast, .keepWithin, .keepHourly, .keepDaily, .keepWeekly, .keepMonthly,
            .keepYearly, .keepDropped,
        ]
        for key in settings.values.keys {
            let isRefused =
                key == .storage
                ? settings.values.storage != .cluster
                : key == .omitIndexes ? settings.values.omitsIndexes : !built.contains(key)
            if isRefused {
                throw statement.refusal(
                    .unsupported,
                    key == .storage
                        ? "this version of ydbfs stores collections with STORAGE = 'cluster' only"
                        : "\(key.keyword) isn't built yet in this version of ydbfs",
                    at: settings.positions[key] ?? statement.position)
            }
        }
    }

    private func define(
        _ statement: Statement, _ create: Statement.Create
    ) throws(Failure) -> (CollectionDefinition, [String]) {
        let all = try sourceTables()
        var paths: [String] = []
        var notes: [String] = []
        switch create.members {
        case .database:
            notes = all.compactMap { table in table.refusal.map { "not backed up: \($0)" } }
        case .tables(let tables):
            for table in tables {
                let path = try resolve(table, statement)
                if paths.contains(where: { $0.hasSameBytes(as: path) }) {
                    throw statement.refusal(
                        .invalid, "table \(path) is named twice", at: table.position)
                }
                try requireUsable(path, table, statement, among: all)
                paths.append(path)
            }
        }
        let definition = CollectionSpecification(name: statement.collection.name, create)
        let record = CollectionDefinition(
            name: definition.name, tables: paths, isDatabase: paths.isEmpty,
            settings: create.settings.values.stored, sql: definition.sql,
            time: Instant.now.microseconds)
        return (record, notes)
    }

    /// Refuses a table that the database hasn't got, or that can't be backed up.
    private func requireUsable(
        _ path: String, _ table: Located<String>, _ statement: Statement, among all: [SourceTable]
    ) throws(Failure) {
        guard let found = all.first(where: { $0.path.hasSameBytes(as: path) }) else {
            throw statement.refusal(.notFound, Self.missing(path, among: all), at: table.position)
        }
        if let refusal = found.refusal {
            throw statement.refusal(.unsupported, refusal, at: table.position)
        }
    }

    private static func missing(_ path: String, among tables: [SourceTable]) -> String {
        let alike = tables.first { $0.path.lowercased() == path.lowercased() }
        if let alike { return "there is no table \(path); did you mean \(alike.path)?" }
        let names = tables.prefix(10).map(\.path).joined(separator: ", ")
        return "there is no table \(path); there are: \(names.isEmpty ? "none" : names)"
    }

    /// The path below the database that a statement means.
    func resolve(
        _ table: Located<String>, _ statement: Statement
    ) throws(Failure) -> String {
        guard table.value.hasPrefix("/"), let root = engine.database?.path else {
            return table.value
        }
        guard table.value.hasPrefix(root + "/") else {
            throw statement.refusal(
                .notFound, "\(table.value) is not below this database, which is \(root)",
                at: table.position)
        }
        return String(table.value.dropFirst(root.count + 1))
    }

    private func drop(_ statement: Statement, _ state: inout Expected) throws(Failure) -> Step {
        try require(statement, state)
        try requireIdle(statement, state)
        state = Expected()
        return .drop
    }

    /// Refuses what can't wait until others are done with the collection.
    private func requireIdle(_ statement: Statement, _ state: Expected) throws(Failure) {
        if state.queued > 0 {
            throw Failure(
                .busy,
                "\(statement.collection.name) has \(state.queued) operations queued or running: "
                    + "wait for them or cancel them")
        }
        try checkLock(statement.collection.name)
    }

    // MARK: Points

    /// Changes to points, which no definition says.
    private func alterPoints(
        _ statement: Statement, _ changes: [(change: PointChange, position: SourcePosition)]
    ) throws(Failure) -> Step {
        let name = statement.collection.name
        guard let collection = engine.collection(name) else {
            throw Failure(.notFound, "\(name) has no points yet")
        }
        for (change, position) in changes {
            do throws(Failure) {
                _ = try change.entry(collection)
            } catch {
                throw statement.refusal(error.code, error.message, at: position)
            }
        }
        return .alterPoints(changes.map(\.change))
    }

    private func prune(
        _ statement: Statement, isDryRun: Bool, _ state: inout Expected
    ) throws(Failure) -> Step {
        let name = statement.collection.name
        try require(statement, state)
        guard state.hasPolicy else {
            throw statement.refusal(
                .invalid, PruneJob.emptyPolicy(name), at: statement.position)
        }
        try checkQueue(name, state)
        if state.queued == 0 { try checkLock(name) }
        state.queued += 1
        return .queue(.prune(isDryRun: isDryRun))
    }

    // MARK: Backups

    private mutating func backup(
        _ statement: Statement, _ backup: Statement.Backup, _ state: inout Expected
    ) throws(Failure) -> Step {
        let name = statement.collection.name
        try require(statement, state)
        if backup.isIncremental {
            if !state.isIncremental {
                throw statement.refusal(
                    .unsupported,
                    "incremental backup is not enabled on \(name): create it WITH "
                        + "(INCREMENTAL_BACKUP_ENABLED = 'true')", at: backup.kindPosition)
            }
            if !state.hasFull {
                throw statement.refusal(
                    .noData, "\(name) has no full backup yet: take one first",
                    at: backup.kindPosition)
            }
        }
        if let uid = backup.uid {
            if state.uids.contains(uid.value) || state.isTakenUID(uid.value) {
                throw statement.refusal(
                    .exists, "uid \(uid.value) was used already", at: uid.position)
            }
            state.uids.insert(uid.value)
        }
        try checkQueue(name, state)
        if state.queued == 0 { try checkLock(name) }
        if !hasCheckedSource {
            do {
                _ = try openSource()
            } catch  where error.code == .busy {
                // The collection is known, and a lock passes: the operation has time to wait for it.
            }
            hasCheckedSource = true
        }
        state.queued += 1
        state.queuedBackups += 1
        if !backup.isIncremental { state.hasFull = true }
        return .queue(.backup(isIncremental: backup.isIncremental))
    }

    func checkQueue(_ name: String, _ state: Expected) throws(Failure) {
        guard state.queued >= Engine.queueLimit else { return }
        throw Failure(
            .queueFull, "\(name) has \(state.queued) operations queued: wait for one to end")
    }

    private func verify(
        _ statement: Statement, _ verify: Statement.Verify, _ state: inout Expected
    ) throws(Failure) -> Step {
        let name = statement.collection.name
        try require(statement, state)
        var point: String?
        if let at = verify.point {
            let request = RestoreRequest(moment: try moment(at, of: name, statement))
            guard let collection = engine.collection(name) else {
                throw statement.refusal(.notFound, "\(name) has no point yet", at: at.position)
            }
            point = try located(at.position, statement) { () throws(Failure) in
                try request.point(in: collection).name
            }
        }
        let level = verify.level?.value ?? .content
        if level == .source { _ = try openSource() }
        try checkQueue(name, state)
        state.queued += 1
        return .queue(.verify(point: point, level: level))
    }

    private func compact(_ statement: Statement, _ state: inout Expected) throws(Failure) -> Step {
        let name = statement.collection.name
        try require(statement, state)
        if !state.hasFull {
            throw statement.refusal(
                .noData, "\(name) has no point to compact: take a full backup first",
                at: statement.position)
        }
        try checkQueue(name, state)
        if state.queued == 0 { try checkLock(name) }
        state.queued += 1
        return .queue(.compact)
    }

    @discardableResult
    func require(
        _ statement: Statement, _ state: Expected
    ) throws(Failure) -> CollectionDefinition {
        if let definition = state.definition { return definition }
        let names = engine.collections.prefix(10).map(\.name).joined(separator: ", ")
        throw statement.refusal(
            .notFound,
            "there is no collection \(statement.collection.name)"
                + (names.isEmpty
                    ? ": CREATE BACKUP COLLECTION makes one" : "; there are: \(names)"),
            at: statement.collection.position)
    }

    /// Refuses if another process writes to the collection now.
    private func checkLock(_ name: String) throws(Failure) {
        guard let repository = engine.repository, engine.collection(name) != nil else { return }
        do {
            _ = try repository.patientLock(collection: name, seconds: 0.3)
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure(.system, "\(error)")
        }
    }

    private func openSource() throws(Failure) -> any Source {
        guard let database = engine.database else {
            throw Failure(
                .unsupported,
                "\(engine.location) is a repository without its database: name the "
                    + "database to write")
        }
        do {
            return try database.open(Engine.handlerPatience)
        } catch let failure as Failure {
            throw Failure(
                failure.code == .denied || failure.code == .busy ? failure.code : .unreachable,
                failure.message)
        } catch {
            throw Failure(.unreachable, "\(error)")
        }
    }

    private func sourceTables() throws(Failure) -> [SourceTable] {
        let source = try openSource()
        do {
            return try source.listTables()
        } catch let failure as Failure {
            throw Failure(.unreachable, failure.message)
        } catch {
            throw Failure(.unreachable, "\(error)")
        }
    }
}

extension Statement {
    /// A refusal with line and column of what it is about.
    func refusal(
        _ code: Failure.Code, _ message: String, at position: SourcePosition
    ) -> Failure {
        Failure(
            code, "\(position.line):\(position.column): \(message)",
            snippet: snippet(at: position))
    }
}

extension Statement.Action {
    fileprivate var words: String {
        switch self {
        case .create: "CREATE BACKUP COLLECTION"
        case .alter: "ALTER BACKUP COLLECTION"
        case .drop: "DROP BACKUP COLLECTION"
        case .backup: "BACKUP"
        case .restore: "RESTORE"
        case .verify: "VERIFY"
        case .compact: "COMPACT"
        case .prune: "PRUNE"
        case .pull: "PULL"
        }
    }
}

extension CollectionSettings {
    /// Keys and values as the log keeps them.
    package var stored: [String: String] {
        Dictionary(uniqueKeysWithValues: keys.map { ($0.rawValue, text(of: $0)!) })
    }

    /// Ignores keys that it doesn't know: a later version may have written them.
    package init(stored: [String: String]) throws {
        self.init()
        for (name, text) in stored {
            guard let key = SettingKey(rawValue: name) else { continue }
            guard set(key, text) else {
                throw Failure(.corrupt, "setting \(name) has a value that can't be: \(text)")
            }
        }
    }
}

extension Instant {
    /// The time that begins a point's name, as `pointName` writes it; nil if there is none.
    package init?(pointName name: String) {
        let digits = name.utf8.prefix(14).map { Int64($0) - 48 }
        guard digits.count == 14, digits.allSatisfy({ (0...9).contains($0) }),
            name.utf8.dropFirst(14).first == UInt8(ascii: "Z")
        else { return nil }
        func number(_ range: Range<Int>) -> Int64 { digits[range].reduce(0) { $0 * 10 + $1 } }
        let month = Int(number(4..<6))
        guard (1...12).contains(month) else { return nil }
        let date = CivilDate(year: number(0..<4), month: month, day: Int(number(6..<8)))
        self.init(
            seconds: date.daysSince1970 * 86_400 + number(8..<10) * 3600 + number(10..<12) * 60
                + number(12..<14))
    }
}
