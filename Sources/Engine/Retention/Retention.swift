import Bytes
import Repository

/// Drops points by a collection's settings, and lets go what was dropped long enough ago. Works under
/// the writer's lock of whoever has it.
struct Retention {
    let repository: Repository
    let lock: WriterLock

    private var now: Instant { Instant(microseconds: repository.options.now()) }

    private func settings() throws -> CollectionSettings {
        try CollectionSettings(stored: lock.current?.lastDefinition?.settings ?? [:])
    }

    private var points: [BackupPoint] { lock.current?.points ?? [] }

    /// What the `KEEP_` settings say of each live point, in order; nil if there are none.
    func verdicts() throws -> [KeepPolicy.Verdict]? {
        let candidates = points.map {
            KeepPolicy.Point(
                name: $0.name, cut: Instant(microseconds: $0.cut), isPinned: $0.isPinned)
        }
        return try KeepPolicy(settings())?.verdicts(candidates, now: now)
    }

    /// Drops what the settings don't keep, and answers how many points that were.
    func dropByPolicy() throws -> Int {
        let going = try zip(points, verdicts() ?? []).filter { !$1.isKept }.map(\.0.sequence)
        if !going.isEmpty { try lock.append(.dropPoints(going)) }
        return going.count
    }

    /// Removes all files that nothing needs, those of points included that were dropped longer ago
    /// than `KEEP_DROPPED`, but for those that readers may be about to open. Answers how many files and
    /// bytes went.
    @discardableResult
    func removeUnneeded() throws -> (files: Int, bytes: UInt64) {
        guard let state = lock.current else { return (0, 0) }
        return try lock.removeUnneeded(forgetting: Self.expired(state, now: now))
    }

    /// Sequences of the dropped points that can't be had back any more.
    static func expired(_ state: CollectionState, now: Instant) throws -> [UInt64] {
        let settings = try CollectionSettings(stored: state.lastDefinition?.settings ?? [:])
        if state.droppedPoints.isEmpty { return [] }
        let jump = lastTimeBeforeJump(to: now, state)
        return state.droppedPoints.filter { point in
            // Whatever the clock says: nothing is kept for no time.
            if settings.keepDropped.seconds == 0 { return true }
            let dropped = Instant(microseconds: point.dropped ?? .max)
            let clock = jump.map { dropped <= $0 ? $0 : now } ?? now
            return dropped <= clock - settings.keepDropped
        }.map(\.sequence)
    }

    /// A clock that is so much further than all that was known is believed after an hour of it.
    private static let (doubtfulJump, doubtfulTime): (Int64, Int64) = (31 * 86_400, 3_600)

    /// The last time that is known before the clock jumped, if that was just now: what was dropped until
    /// then must not be gone for good because somebody set the clock wrong once.
    private static func lastTimeBeforeJump(to now: Instant, _ state: CollectionState) -> Instant? {
        let all = state.points + state.droppedPoints
        let known = (all.map(\.cut) + all.compactMap(\.dropped))
            .map(Instant.init(microseconds:)).filter { $0 < now }
        var first = now
        for time in known.sorted(by: >) {
            if first.seconds - time.seconds > doubtfulJump {
                return now.seconds - first.seconds < doubtfulTime ? time : nil
            }
            first = time
        }
        return nil
    }

    var hasLeavings: Bool {
        get throws {
            guard let state = lock.current else { return false }
            return try Self.hasLeavings(state, now: repository.options.now())
        }
    }

    /// Whether there are files that may go though no point is dropped.
    static func hasLeavings(_ state: CollectionState, now: Int64) throws -> Bool {
        try state.hasCondemned || !expired(state, now: Instant(microseconds: now)).isEmpty
    }
}

/// `PRUNE`: drops by the settings what they don't keep, and says why each point stays or goes. Then it
/// waits until nobody can be about to open the files that are condemned, while others may write, and
/// removes them.
struct PruneJob {
    let repository: Repository
    let collection: String
    let isDryRun: Bool
    let operation: Operation

    func run() throws {
        guard var outcome = try drop() else { return }
        if !outcome.waiting.isEmpty {
            try operation.waiting(for: "readers that may be about to open files that go") {
                try repository.options.pause(
                    Double(repository.options.removalDelay), operation.checkpoint)
            }
            let removed = try repository.removeCondemned(outcome.waiting, of: collection)
            outcome.files += removed.files
            outcome.bytes += removed.bytes
        }
        note(
            "\(outcome.dropped) of \(outcome.points) points dropped, \(outcome.files) files of "
                + "\(outcome.bytes) bytes removed")
    }

    private struct Outcome {
        var points: Int
        var dropped: Int
        var files: Int
        var bytes: UInt64
        /// Places of files that go once nobody can be about to open them.
        var waiting: [String]
    }

    /// All that needs the writer's lock. Nil if it is only tried.
    private func drop() throws -> Outcome? {
        let lock = try operation.waiting(for: "another process that writes to \(collection)") {
            try repository.patientLock(collection: collection, seconds: 5)
        }
        guard lock.current?.definition != nil else {
            throw Failure(.notFound, "there is no collection \(collection)")
        }
        let retention = Retention(repository: repository, lock: lock)
        let verdicts = try retention.verdicts()
        guard let points = lock.current?.points.count,
            try verdicts != nil || retention.hasLeavings
        else { throw Failure(.invalid, Self.emptyPolicy(collection)) }
        for verdict in verdicts ?? [] { note(verdict.line) }
        if isDryRun {
            let going = verdicts?.count { !$0.isKept } ?? 0
            note("\(going) of \(points) points would be dropped")
            return nil
        }
        try operation.checkpoint()
        let dropped = try retention.dropByPolicy()
        let (files, bytes) = try retention.removeUnneeded()
        let waiting = try lock.condemnedFiles()
        do {
            try lock.writeCatalogIfDue()
        } catch {
            note("after that: \((error as? Failure)?.message ?? "\(error)")")
        }
        return Outcome(
            points: points, dropped: dropped, files: files, bytes: bytes, waiting: waiting)
    }

    private func note(_ line: String) { operation.update { $0.notes.append(line) } }

    static func emptyPolicy(_ collection: String) -> String {
        "\(collection) has no KEEP_ setting, so that PRUNE would keep everything: say what to keep "
            + "first, as in KEEP_DAILY = '7'"
    }
}

extension Engine {
    /// Lets the files of dropped collections go whose time is over. Done when something else is done:
    /// a failure shows itself at the next time.
    func cleanDroppedCollections() {
        guard let repository, !options.isReadOnly else { return }
        let now = Instant(microseconds: repository.options.now())
        for collection in repository.droppedCollections {
            let hasExpired = (try? Retention.expired(collection, now: now).isEmpty) == false
            guard hasExpired || collection.hasCondemned else { continue }
            guard let lock = try? repository.lock(collection: collection.name) else { continue }
            if lock.current?.isDropped == true {
                _ = try? Retention(repository: repository, lock: lock).removeUnneeded()
            }
        }
    }
}
