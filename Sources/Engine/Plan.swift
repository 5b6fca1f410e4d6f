import Bytes
import Repository
import Tables

/// Decides what statements would do, one after another, each in the state that those before it, and
/// all that is queued, will have left.
struct Plan {
    enum Step {
        case define(CollectionDefinition, notes: [String])
        case drop
        case alterPoints([PointChange])
        case queue(Work)

        var kind: String {
            switch self {
            case .define: "create"
            case .drop: "drop"
            case .alterPoints: "alter"
            case .queue(let work): work.kind
            }
        }
    }

    /// What matters of a collection as it will be.
    private struct Expected {
        var exists = false
        var isIncremental = false
        /// Whether a KEEP_ setting says which points stay.
        var hasPolicy = false
        var hasFull = false
        var uids: Set<String> = []
        var isTakenUID: (String) -> Bool = { _ in false }
        var queued = 0
    }

    /// Names in the root of a mount, which no collection can have.
    package static let reservedNames: Set<String> = [
        "README", "CACHEDIR.TAG", "control", "errors", "metrics", "operations",
    ]
    private static let maxNameBytes = 255

    private let engine: Engine
    private var expected: [String: Expected] = [:]
    private var hasCheckedSource = false

    init(engine: Engine) { self.engine = engine }

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
        switch statement.action {
        case .create(let create): return try self.create(statement, create, &state)
        case .drop: return try drop(statement, &state)
        case .backup(let backup): return try self.backup(statement, backup, &state)
        case .alter(let changes): return try alter(statement, changes, state)
        case .prune(let isDryRun): return try prune(statement, isDryRun: isDryRun, &state)
        case .restore, .verify, .compact, .pull:
            throw statement.refusal(
                .unsupported,
                "\(statement.action.words) isn't built yet in this version of ydbfs",
                at: statement.position)
        }
    }

    private func current(_ name: String) -> Expected {
        var state = Expected()
        if let collection = engine.collection(name), let definition = collection.definition {
            state.exists = true
            state.isIncremental =
                (try? CollectionSettings(stored: definition.settings).isIncrementalBackupEnabled)
                ?? false
            state.hasFull = collection.newest != nil
            state.isTakenUID = { collection.isTaken(uid: $0) }
            state.hasPolicy =
                (try? KeepPolicy(CollectionSettings(stored: definition.settings))) != nil
        }
        for queued in engine.queue(of: name) where !queued.operation.status.state.isFinal {
            state.queued += 1
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
        state.exists = true
        state.isIncremental = create.settings.values.isIncrementalBackupEnabled
        state.hasPolicy = KeepPolicy(create.settings.values) != nil
        return .define(definition, notes: notes)
    }

    /// Refuses what is understood but not built.
    private func checkSettings(
        _ statement: Statement, _ settings: Statement.Settings
    ) throws(Failure) {
        let built: Set<SettingKey> = [
            .storage, .incrementalBackupEnabled, .capture, .keepLast, .keepWithin, .keepHourly,
            .keepDaily, .keepWeekly, .keepMonthly, .keepYearly, .keepDropped,
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
                guard let found = all.first(where: { $0.path.hasSameBytes(as: path) }) else {
                    throw statement.refusal(
                        .notFound, Self.missing(path, among: all), at: table.position)
                }
                if let refusal = found.refusal {
                    throw statement.refusal(.unsupported, refusal, at: table.position)
                }
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

    private static func missing(_ path: String, among tables: [SourceTable]) -> String {
        let alike = tables.first { $0.path.lowercased() == path.lowercased() }
        if let alike { return "there is no table \(path); did you mean \(alike.path)?" }
        let names = tables.prefix(10).map(\.path).joined(separator: ", ")
        return "there is no table \(path); there are: \(names.isEmpty ? "none" : names)"
    }

    /// The path below the database that a statement means.
    private func resolve(
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
        try checkIdle(statement, state)
        state = Expected()
        return .drop
    }

    /// Refuses while operations of this process, or another one, are at the collection.
    private func checkIdle(_ statement: Statement, _ state: Expected) throws(Failure) {
        if state.queued > 0 {
            throw Failure(
                .busy,
                "\(statement.collection.name) has \(state.queued) operations queued or running: "
                    + "wait for them or cancel them")
        }
        try checkLock(statement.collection.name)
    }

    // MARK: Points

    private func alter(
        _ statement: Statement, _ changes: [Statement.Change], _ state: Expected
    ) throws(Failure) -> Step {
        try require(statement, state)
        let pointChanges = changes.compactMap(PointChange.of)
        guard pointChanges.count == changes.count else {
            throw statement.refusal(
                .unsupported,
                "ALTER BACKUP COLLECTION … SET, RESET, ADD TABLE and DROP TABLE aren't built yet in "
                    + "this version of ydbfs", at: statement.position)
        }
        try checkIdle(statement, state)
        guard let collection = engine.collection(statement.collection.name) else {
            throw Failure(.notFound, "\(statement.collection.name) has no points yet")
        }
        for (change, position) in pointChanges {
            do throws(Failure) {
                _ = try change.entry(collection)
            } catch {
                throw statement.refusal(error.code, error.message, at: position)
            }
        }
        return .alterPoints(pointChanges.map(\.change))
    }

    private func prune(
        _ statement: Statement, isDryRun: Bool, _ state: inout Expected
    ) throws(Failure) -> Step {
        try require(statement, state)
        guard state.hasPolicy else {
            throw statement.refusal(
                .invalid, PruneJob.emptyPolicy(statement.collection.name), at: statement.position)
        }
        try checkQueue(statement, &state)
        return .queue(.prune(isDryRun: isDryRun))
    }

    /// Takes a place in the collection's queue.
    private func checkQueue(
        _ statement: Statement, _ state: inout Expected
    ) throws(Failure) {
        let name = statement.collection.name
        if state.queued >= Engine.queueLimit {
            throw Failure(
                .queueFull, "\(name) has \(state.queued) operations queued: wait for one to end")
        }
        if state.queued == 0 { try checkLock(name) }
        state.queued += 1
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
        try checkQueue(statement, &state)
        if !hasCheckedSource {
            do {
                _ = try openSource()
            } catch  where error.code == .busy {
                // The collection is known, and a lock passes: the operation has time to wait for it.
            }
            hasCheckedSource = true
        }
        if !backup.isIncremental { state.hasFull = true }
        return .queue(.backup(isIncremental: backup.isIncremental))
    }

    private func require(_ statement: Statement, _ state: Expected) throws(Failure) {
        if state.exists { return }
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
    fileprivate func refusal(
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
