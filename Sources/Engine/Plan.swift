import Bytes
import Repository
import Tables

/// Decides what statements would do, one after another, each in the state that those before it, and
/// all that is queued, will have left.
package struct Plan {
    enum Step {
        /// Made or, if it was something `before`, altered.
        case define(CollectionDefinition, before: CollectionDefinition?, notes: [String])
        case drop
        case alterPoints([PointChange])
        case queue(Work)
        /// There is nothing to do.
        case answer

        var kind: String {
            switch self {
            case .define(_, let before, _): before == nil ? "create" : "alter"
            case .drop: "drop"
            case .alterPoints: "alter"
            case .queue(let work): work.kind
            case .answer: "show"
            }
        }

        /// What may be given up on a full disk, so that it can begin.
        var claim: Reserve.Claim {
            switch self {
            case .drop, .alterPoints, .queue(.prune): .freeing
            case .define: .changing
            case .queue, .answer: .recording
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
        ".ydbfs.json",
        "README", "CACHEDIR.TAG", "control", "errors", "metrics", "operations",
    ]
    static let maxNameBytes = 255

    let engine: Engine
    private var expected: [String: Expected] = [:]
    private var hasCheckedSource = false
    /// Names in the database that queued restores will have taken.
    var restoredTargets: [String]

    init(engine: Engine) {
        self.engine = engine
        restoredTargets = engine.queuedTargets
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
        if case .show(let question) = statement.action {
            if question == .backups { try require(statement, state) }
            return .answer
        }
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
        case .restore(let restore):
            return try self.restore(statement, restore, &state)
        case .verify(let verify): return try self.verify(statement, verify, &state)
        case .compact: return try compact(statement, &state)
        case .prune(let isDryRun): return try prune(statement, isDryRun: isDryRun, &state)
        case .pull(let point): return try pull(statement, at: point, &state)
        case .show: return .answer
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
                    "incremental backup is not enabled on \(name): ALTER BACKUP COLLECTION "
                        + "\(quotedName(name)) SET (INCREMENTAL_BACKUP_ENABLED = 'true') enables it",
                    at: backup.kindPosition)
            }
            if !state.hasFull {
                // What can't be read may be one.
                if let damage = engine.repository?.damage(of: name) { throw damage }
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
        var sourceBytes: UInt64?
        if !hasCheckedSource {
            do {
                sourceBytes = try openSource().sizeBytes
            } catch  where error.code == .busy {
                // The collection is known, and a lock passes: the operation has time to wait for it.
            }
            hasCheckedSource = true
        }
        // What comes before it may make room.
        if state.queued == 0, expected[name] == nil {
            try checkRoom(name, isIncremental: backup.isIncremental, sourceBytes)
        }
        state.queued += 1
        state.queuedBackups += 1
        if !backup.isIncremental { state.hasFull = true }
        return .queue(.backup(isIncremental: backup.isIncremental))
    }

    /// Refuses a backup that has no room, as far as one can know beforehand.
    private func checkRoom(
        _ name: String, isIncremental: Bool, _ sourceBytes: UInt64?
    ) throws(Failure) {
        guard let repository = engine.repository, let collection = engine.collection(name) else {
            return
        }
        do {
            try Room(repository: repository).requireBackup(
                of: collection, isIncremental: isIncremental, sourceBytes: sourceBytes
            ) { repository.dueBytes(of: collection) }
        } catch {
            throw error as? Failure ?? Failure(.system, "\(error)")
        }
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
        var moment: Moment?
        if let at = verify.point {
            let asked = try self.moment(at, of: name, statement)
            // A queued backup may make the point that is meant.
            if state.queuedBackups == 0, let collection = engine.collection(name) {
                _ = try located(at.position, statement) { () throws(Failure) in
                    try asked.point(in: collection, now: engine.now)
                }
            }
            moment = asked
        }
        let level = verify.level?.value ?? .content
        if level == .source { _ = try openSource() }
        try checkQueue(name, state)
        state.queued += 1
        return .queue(.verify(moment, level: level))
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
        if let damage = engine.repository?.damage(of: statement.collection.name) { throw damage }
        if let state = engine.collection(statement.collection.name), !state.isDropped {
            throw statement.refusal(
                .notFound,
                "the definition of \(state.name) is lost: CREATE BACKUP COLLECTION makes it anew, and "
                    + "its points stay", at: statement.collection.position)
        }
        let names = engine.collections.prefix(10).map(\.name).joined(separator: ", ")
        // What has no backups may be no database at all.
        if engine.repository == nil, engine.database != nil {
            do throws(Failure) {
                _ = try openSource()
            } catch  where error.code != .busy {
                throw error
            } catch {}
        }
        throw statement.refusal(
            .notFound,
            "there is no collection \(statement.collection.name)"
                + (names.isEmpty
                    ? ": CREATE BACKUP COLLECTION makes one" : "; there are: \(names)"),
            at: statement.collection.position)
    }

    /// Refuses if another process writes to the collection now.
    func checkLock(_ name: String) throws(Failure) {
        guard let repository = engine.repository, engine.collection(name) != nil else { return }
        do {
            _ = try repository.patientLock(collection: name, seconds: 0.3)
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure(.system, "\(error)")
        }
    }

    func openSource() throws(Failure) -> any RestorableSource {
        if let points = engine.options.points {
            throw Failure(
                .unsupported,
                "\(points.name) is \(points.noun), no database: PULL takes new points from it")
        }
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

    func sourceTables() throws(Failure) -> [SourceTable] {
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
