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

        enum CodingKeys: String, CodingKey {
            case fullEvery = "full_every"
            case nextFull = "next_full"
            case incrementalEvery = "incremental_every"
            case nextIncremental = "next_incremental"
            case last
        }

        init(_ schedule: Schedule, _ state: CollectionState) {
            let now = Instant.now
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
        package var isIncremental: Bool
        package var bytes: UInt64
        package var newest: String?
        /// What runs now.
        package var running: Operation?
        package var schedule: Timetable?
        /// When a backup last found that nothing had changed since the newest point.
        package var lastLooked: String?
        package var lastError: Operation?
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
            if let only { throw Self.missing(only, [], location) }
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
                throw Self.missing(only, repository.collections.map(\.name), location)
            }
            damage = states.compactMap(\.damage?.message)
        } else {
            damage = (repository.failures + repository.placeFaults()).map(\.message)
        }
        collections = states.map { state in
            var collection = Collection(
                state, operations, repository.checks(of: state),
                repository.readingRound(of: state))
            collection.lastLooked = repository.look(of: state).map {
                Instant(microseconds: $0.time).description
            }
            return collection
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
            let names = (try? Paths.names(in: mount)) ?? []
            let shown = names.filter { !Plan.reservedNames.contains($0) }.sorted()
            if shown.isEmpty { return nil }
            return "there is no repository at \(location) any more, though \(mount) shows "
                + "\(shown.joined(separator: ", ")): is its disk mounted?"
        }
    }

    private static func missing(_ name: String, _ names: [String], _ location: String) -> Failure {
        let others = names.isEmpty ? "none" : names.prefix(10).joined(separator: ", ")
        return Failure(
            .notFound, "there is no collection \(name) at \(location); there are: \(others)")
    }

    package var isDamaged: Bool {
        !damage.isEmpty || collections.contains { $0.lost != nil }
            || collections.contains { $0.points.contains { $0.verified?.damage != nil } }
    }
}

extension StatusReport.Collection {
    fileprivate init(
        _ state: CollectionState, _ operations: [OperationRecord], _ checks: [UInt64: PointCheck],
        _ round: ReadingRound?
    ) {
        let own = operations.filter { $0.start.collection == state.name }
        let last = own.max { $0.start.id < $1.start.id }.map(StatusReport.Operation.init)
        let freed = state.freedBytes
        self.init(
            name: state.name, tables: state.definition?.tables ?? [],
            isDatabase: state.definition?.isDatabase ?? false,
            isIncremental: (state.definition.flatMap { definition in
                try? CollectionSettings(stored: definition.settings)
            })?.isIncrementalBackupEnabled ?? false,
            bytes: state.storedBytes,
            newest: state.endIsUnknown == nil ? state.newest?.name : nil,
            running: own.last { $0.end == nil && !$0.isInterrupted }.map(
                StatusReport.Operation.init),
            schedule: state.definition.flatMap(Schedule.init).map {
                StatusReport.Timetable($0, state)
            },
            lastLooked: nil,
            lastError: last.flatMap { $0.error == nil ? nil : $0 },
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

// MARK: Text

extension StatusReport {
    /// Tables that were left out, by path with the reason.
    fileprivate static func lines(_ tables: [String: String], count: UInt64) -> [String] {
        tables.sorted { $0.key < $1.key }.map { NotBackedUp(path: $0.key, reason: $0.value) }
            .lines(of: count)
    }

    /// For people.
    package var text: String {
        var lines = ["source      \(source)", "repository  \(location)"]
        if let sourceError { lines.append("            can't be used now: \(sourceError)") }
        if let leftovers {
            lines.append(
                "            holds what earlier versions of ydbfs left: ydbfs repair \(source) runs "
                    + leftovers.map { "\($0);" }.joined(separator: " "))
        }
        if let exposure { lines.append("WARNING     \(exposure)") }
        if !mounts.isEmpty { lines.append("mounted at  \(mounts.joined(separator: ", "))") }
        lines += damage.map { "DAMAGED     \($0)" }
        if collections.isEmpty, damage.isEmpty {
            lines += ["", "no collections: CREATE BACKUP COLLECTION makes one"]
        }
        for collection in collections { lines += [""] + collection.lines }
        return lines.map(oneLine).joined(separator: "\n")
    }
}

extension StatusReport.Check {
    fileprivate var text: String { "\(time) \(damage == nil ? level : "DAMAGED")" }
}

extension StatusReport.Collection {
    fileprivate var lines: [String] {
        let members = isDatabase ? "the whole database" : tables.joined(separator: ", ")
        var lines = ["collection \(name): \(members)"]
        if let damage { lines.append("  DAMAGED: \(damage)") }
        if let catalogDamage {
            lines.append("  read from the beginning of its log, nothing is lost: \(catalogDamage)")
        }
        for (name, reason) in (lost ?? [:]).sorted(by: { $0.key < $1.key }) {
            lines.append("  LOST \(name): \(reason)")
        }
        if let allFilesRead { lines.append("  every file read once until \(allFilesRead)") }
        if let running {
            lines.append(
                "  running since \(running.started): operation \(running.id) \(running.statement)")
        }
        if let lastError, let error = lastError.error {
            lines.append("  last operation \(lastError.id) \(lastError.state): \(error)")
        }
        if let lastIncomplete, let count = lastIncomplete.incomplete,
            let leftOut = lastIncomplete.leftOut, leftOut != points.last?.notBackedUp
        {
            lines.append(
                "  last operation \(lastIncomplete.id) \(lastIncomplete.state), but incomplete: "
                    + lastIncomplete.statement)
            lines += StatusReport.lines(leftOut, count: count).map { "    left out: \($0)" }
        }
        if let schedule {
            for (kind, period, next) in [
                ("full", schedule.fullEvery, schedule.nextFull),
                ("incremental", schedule.incrementalEvery, schedule.nextIncremental),
            ] {
                guard let period, let next else { continue }
                lines.append("  while mounted: \(kind) every \(period), next \(next)")
            }
        }
        if let lastLooked {
            lines.append("  last looked \(lastLooked): nothing had changed since \(newest ?? "")")
        }
        lines += dropped.map { "  dropped \($0): UNDROP BACKUP has it back" }
        let pinned = points.filter(\.pinned).map(\.name)
        if !pinned.isEmpty { lines.append("  pinned \(pinned.joined(separator: ", "))") }
        if points.isEmpty { return lines + ["  no points yet: BACKUP \(name) makes the first"] }
        var rows = [
            [
                "POINT", "KIND", "CUT", "VERIFIED", "TABLES", "INCOMPLETE", "ROWS", "CHANGED",
                "BYTES", "FREES",
            ]
        ]
        for point in points {
            let changed = point.inserted + point.updated + point.deleted
            rows.append([
                point.name, point.kind, point.cut, point.verified?.text ?? "-", "\(point.tables)",
                point.incomplete == 0 ? "-" : "\(point.incomplete)", "\(point.rows)",
                "\(changed)", "\(point.bytes)", "\(point.frees)",
            ])
        }
        if let point = points.last {
            let count = UInt64(point.notBackedUp.count)
            lines += StatusReport.lines(point.notBackedUp, count: count).map {
                "  not backed up: \($0)"
            }
        }
        let damaged = Dictionary(grouping: points.filter { $0.verified?.damage != nil }) {
            $0.verified!.damage!
        }
        for (damage, points) in damaged.sorted(by: { $0.key < $1.key }) {
            lines.append("  DAMAGED: \(points.count) points, last \(points.last!.name): \(damage)")
        }
        lines += Output.aligned(rows, leftColumns: [0, 1, 2, 3]).map { "  " + $0 }
        return lines + [
            "  newest \(newest ?? (damage == nil ? "none" : "unknown")), \(bytes) bytes stored"
        ]
    }
}
