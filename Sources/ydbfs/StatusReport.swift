import Bytes
import Engine
import Fuse
import Repository

/// What `status` shows: its members are the keys of `--json`.
package struct StatusReport: Sendable, Encodable {
    package struct Point: Sendable, Encodable {
        package var name: String
        /// `full` or `incremental`.
        package var kind: String
        /// Name of the point before it in its chain.
        package var parent: String?
        /// The instant that it shows, ISO 8601, UTC.
        package var cut: String
        package var tables: Int
        /// How many tables should be in it and aren't.
        package var incomplete: Int
        /// Of all tables.
        package var rows: UInt64
        package var inserted: UInt64
        package var updated: UInt64
        package var deleted: UInt64
        /// Of the files that it wrote.
        package var bytes: UInt64
        /// Bytes of the files that no other point needs: what dropping it would give back.
        package var frees: UInt64
        package var uid: String?
        /// No rule drops it, nor anybody who doesn't unpin it first.
        package var pinned: Bool
        /// Tables that should be in it, with the reason.
        package var notBackedUp: [String: String]
        package var verified: Check?

        enum CodingKeys: String, CodingKey {
            case name, kind, parent, cut, tables, incomplete, rows, inserted, updated, deleted
            case bytes, frees, uid, pinned, verified
            case notBackedUp = "not_backed_up"
        }
    }

    /// The standing result of its verifications.
    package struct Check: Sendable, Encodable {
        package var time: String
        package var level: String
        /// Nil if all was right.
        package var damage: String?

        init(_ check: PointCheck) {
            time = Instant(microseconds: check.time).floorToSecond.description
            level = check.level.rawValue
            damage = check.damage
        }
    }

    package struct Operation: Sendable, Encodable {
        package var id: UInt64
        package var statement: String
        package var state: String
        package var started: String
        package var ended: String?
        package var error: String?
        /// How many tables it left out.
        package var incomplete: UInt64?
        /// By path, the reason.
        package var leftOut: [String: String]?

        enum CodingKeys: String, CodingKey {
            case id, statement, state, started, ended, error, incomplete
            case leftOut = "left_out"
        }
    }

    /// The times are those at which a mount will take a backup.
    package struct Timetable: Sendable, Encodable {
        package var fullEvery: String?
        package var nextFull: String?
        package var incrementalEvery: String?
        package var nextIncremental: String?
        /// The newest point that was made by it.
        package var last: String?
        /// When a backup was due that nobody has taken: nothing is mounted, or it failed.
        package var overdueSince: String?

        enum CodingKeys: String, CodingKey {
            case fullEvery = "full_every"
            case nextFull = "next_full"
            case incrementalEvery = "incremental_every"
            case nextIncremental = "next_incremental"
            case last
            case overdueSince = "overdue_since"
        }

        init(_ schedule: Schedule, _ state: CollectionState, _ look: Look?, at now: Instant) {
            // Who takes backups looks every half second, and one may be about to begin.
            let before = Instant(seconds: now.seconds - 60)
            overdueSince =
                schedule.missed(at: now, state, look: look)
                .flatMap { _ in schedule.missed(at: before, state, look: look) }?.description
            fullEvery = schedule.full?.description
            nextFull = schedule.full.map { schedule.next($0, after: now).description }
            incrementalEvery = schedule.incremental?.description
            nextIncremental = schedule.incremental.map {
                schedule.next($0, after: now).description
            }
            last = Schedule.newest(state.points)?.point.name
        }
    }

    package struct Collection: Sendable, Encodable {
        package var name: String
        /// Empty for a whole database.
        package var tables: [String]
        package var isDatabase: Bool
        /// Whether its log still says what it is made of; otherwise nothing can be backed up.
        package var isDefined: Bool
        package var isIncremental: Bool
        package var bytes: UInt64
        package var newest: String?
        /// What runs now.
        package var running: Operation?
        package var schedule: Timetable?
        /// When a backup last found that nothing had changed since the newest point.
        package var lastLooked: String?
        package var lastError: Operation?
        /// When a backup last succeeded or found nothing to do, and seconds since.
        package var lastSuccess: String?
        package var lastSuccessAge: Int64?
        /// The newest backup that failed, whatever came after it.
        package var lastFailure: Operation?
        /// Whether the newest backup is that one.
        package var isFailing: Bool
        /// The last operation, if it is done but left something out.
        package var lastIncomplete: Operation?
        /// Why it can't be read to its end.
        package var damage: String?
        /// Why its log had to be read from the beginning; nothing is lost.
        package var catalogDamage: String?
        /// When the last round of VERIFY_EVERY had read every file; "-" as long as none has.
        package var allFilesRead: String?
        /// Points that were acknowledged and can't be read, with the reason.
        package var lost: [String: String]?
        /// Points that can be had back by UNDROP.
        package var dropped: [String]
        /// From the oldest to the newest.
        package var points: [Point]

        enum CodingKeys: String, CodingKey {
            case name, tables, bytes, newest, running, schedule, damage, lost, dropped, points
            case allFilesRead = "all_files_read"
            case isDatabase = "database"
            case isIncremental = "incremental"
            case lastLooked = "last_looked"
            case lastError = "last_error"
            case lastSuccess = "last_success"
            case lastSuccessAge = "last_success_age"
            case lastFailure = "last_failure"
            case isFailing = "failing"
            case lastIncomplete = "last_incomplete"
            case catalogDamage = "catalog_damage"
        }
    }

    package var source: String
    package var location: String
    /// `/Root/…`, if SOURCE is a database.
    package var database: String?
    /// Why the database can't be used now.
    package var sourceError: String?
    /// SQL that removes what earlier versions of ydbfs left in the database; nil if there is nothing.
    package var leftovers: [String]?
    /// What of it others may see who may not see the database.
    package var exposure: String?
    /// Mount points that show it.
    package var mounts: [String]
    package var collections: [Collection]
    /// What of the repository can't be read.
    package var damage: [String]

    enum CodingKeys: String, CodingKey {
        case source, location, database, leftovers, exposure, mounts, collections, damage
        case sourceError = "source_error"
    }

    /// - Parameter only: the one collection to tell about.
    package init(_ argument: SourceArgument, only: String? = nil) throws {
        source = argument.name
        location = argument.location.description
        database = argument.databasePath
        let problem = argument.problem()
        sourceError = problem?.message
        leftovers = argument.leftovers
        exposure = argument.exposure
        mounts = try Mounts.showing(source: argument.location.description).map(\.mountPoint)
        collections = []
        damage = []
        guard let repository = try Self.repository(argument) else {
            if let only { throw Failure.noCollection(only, at: location, among: []) }
            if let problem {
                throw Failure(
                    problem.code, "\(problem.message), and it has no backups at \(location)")
            }
            damage = Self.vanished(from: location, mounts)
            return
        }
        let operations = (try? repository.operations.newest()) ?? []
        var states = repository.collections
        if let only {
            states = states.filter { $0.name == only }
            if states.isEmpty {
                throw repository.missing(collection: only)
            }
            damage = states.compactMap(\.damage?.message)
        } else {
            damage = (repository.failures + repository.placeFaults()).map(\.message)
        }
        collections = states.map { state in
            Collection(
                state, operations, repository.checks(of: state),
                repository.readingRound(of: state), repository.look(of: state))
        }
    }

    private static func repository(_ argument: SourceArgument) throws -> Repository? {
        do {
            return try Repository.open(argument.location)
        } catch let failure as Failure where failure.code == .notFound {
            return nil
        }
    }

    /// What mounts show although it isn't there any more.
    private static func vanished(from location: String, _ mounts: [String]) -> [String] {
        mounts.compactMap { mount in
            let names = (try? PathText.names(inDirectory: mount)) ?? []
            let shown = names.filter { !Plan.reservedNames.contains($0) }.sorted()
            if shown.isEmpty { return nil }
            return "there is no repository at \(location) any more, though \(mount) shows "
                + "\(shown.joined(separator: ", ")): is its disk mounted?"
        }
    }

    /// What keeps a collection from being backed up as it should be, a line each.
    package func troubles(maxAge: Period? = nil) -> [String] {
        var lines = collections.flatMap { $0.troubles(maxAge: maxAge) }
        if maxAge != nil, collections.isEmpty { lines.append("nothing is backed up") }
        return lines
    }

    package var isDamaged: Bool {
        !damage.isEmpty || collections.contains { $0.lost != nil }
            || collections.contains { $0.points.contains { $0.verified?.damage != nil } }
    }
}

extension StatusReport.Collection {
    /// Kinds of operations that are backups, or take them in.
    private static let backupKinds: Set = ["full", "incremental", "pull"]

    fileprivate init(
        _ state: CollectionState, _ operations: [OperationRecord], _ checks: [UInt64: PointCheck],
        _ round: ReadingRound?, _ look: Look?
    ) {
        let now = Instant.now
        let own = operations.filter { $0.start.collection == state.name }
        let last = own.max { $0.start.id < $1.start.id }.map(StatusReport.Operation.init)
        let freed = state.freedBytes
        let backups = own.filter { Self.backupKinds.contains($0.start.kind) }
            .sorted { $0.start.id < $1.start.id }.map(StatusReport.Operation.init)
        let ended = backups.last { $0.state == "done" || $0.state == "failed" }
        let success = [state.newest?.cut, look?.time].compactMap(\.self).max()
            .map(Instant.init(microseconds:))
        self.init(
            name: state.name, tables: state.definition?.tables ?? [],
            isDatabase: state.definition?.isDatabase ?? false,
            isDefined: state.definition != nil,
            isIncremental: (state.definition.flatMap { definition in
                try? CollectionSettings(stored: definition.settings)
            })?.isIncrementalBackupEnabled ?? false,
            bytes: state.storedBytes,
            newest: state.endIsUnknown == nil ? state.newest?.name : nil,
            running: own.last { $0.end == nil && !$0.isInterrupted }.map(
                StatusReport.Operation.init),
            schedule: state.definition.flatMap(Schedule.init).map {
                StatusReport.Timetable($0, state, look, at: now)
            },
            lastLooked: look.map { Instant(microseconds: $0.time).description },
            lastError: last.flatMap { $0.error == nil ? nil : $0 },
            lastSuccess: success?.description,
            lastSuccessAge: success.map { max(0, now.seconds - $0.seconds) },
            lastFailure: backups.last { $0.state == "failed" },
            isFailing: ended?.state == "failed",
            lastIncomplete: last.flatMap { $0.incomplete == nil ? nil : $0 },
            damage: state.damage?.message, catalogDamage: state.catalogDamage?.message,
            allFilesRead: round.map { round in
                round.completed.map { "\(Instant(microseconds: $0).floorToSecond)" } ?? "-"
            },
            lost: state.lostPoints.isEmpty
                ? nil
                : Dictionary(
                    state.lostPoints.map { ($0.name, $0.reason) }, uniquingKeysWith: { $1 }),
            dropped: state.droppedPoints.map(\.name),
            points: state.points.map {
                StatusReport.Point(
                    $0, state, checks[$0.sequence], frees: freed[$0.sequence] ?? 0)
            })
    }
}

extension StatusReport.Point {
    fileprivate init(
        _ point: BackupPoint, _ state: CollectionState, _ check: PointCheck?, frees: UInt64
    ) {
        let tables = state.tables(at: point.sequence)
        let ids = Set(point.changed)
        let changed = tables.filter { ids.contains($0.id) }
        self.init(
            name: point.name, kind: point.kind.rawValue,
            parent: point.parentName,
            cut: Instant(microseconds: point.cut).description, tables: tables.count,
            incomplete: point.notBackedUp.count,
            rows: tables.map(\.rows).total,
            inserted: changed.map(\.inserted).total,
            updated: changed.map(\.updated).total,
            deleted: changed.map(\.deleted).total,
            bytes: state.storedBytes(of: point), frees: frees, uid: point.uid,
            pinned: point.isPinned,
            notBackedUp: Dictionary(
                point.notBackedUp.map { ($0.path, $0.reason) }, uniquingKeysWith: { $1 }),
            verified: check.map(StatusReport.Check.init))
    }
}

extension StatusReport.Operation {
    fileprivate init(_ record: OperationRecord) {
        id = record.start.id
        statement = record.start.statement
        started = Instant(microseconds: record.start.time).description
        ended = record.end.map { Instant(microseconds: $0.time).description }
        error = record.end?.error
        if let end = record.end, end.incomplete > 0 {
            incomplete = end.incomplete
            leftOut = Dictionary(
                end.leftOut.map { ($0.path, $0.reason) }, uniquingKeysWith: { $1 })
        }
        switch record.end?.state {
        case let state?: self.state = state.rawValue
        case nil where record.isInterrupted:
            state = "failed"
            error = "its process was killed"
        case nil: state = "running"
        }
    }
}
