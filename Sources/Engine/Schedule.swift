import Bytes
import Repository

/// When a collection's backups are due, by `FULL_EVERY` and `INCREMENTAL_EVERY`.
///
/// A backup is due at each multiple of its period after the collection was made: not some time after
/// the one before, so that runs don't drift. Of those that were missed only the newest counts, and
/// one full does for all that is due. The point made by a run bears the time that it was due at in
/// its `uid`: what was done is read from the points, by whichever process they were made.
package struct Schedule: Sendable {
    package let full: Period?
    package let incremental: Period?
    private let anchor: Instant
    /// What was due before this is not missed: the schedule was another one.
    private let since: Instant

    /// Beside the settings in a stored definition: microseconds since 1970 of the last change.
    static let sinceKey = "schedule_since"
    private static let uidPrefix = "schedule-"

    /// Nil if nothing is scheduled.
    package init?(_ definition: CollectionDefinition) {
        guard let settings = try? CollectionSettings(stored: definition.settings),
            settings.fullEvery != nil || settings.incrementalEvery != nil
        else { return nil }
        full = settings.fullEvery
        incremental = settings.incrementalEvery
        anchor = Instant(microseconds: definition.time).floorToSecond
        since =
            definition.settings[Self.sinceKey].flatMap { Int64($0) }
            .map { Instant(microseconds: $0) } ?? anchor
    }

    /// A backup to be taken now.
    struct Run: Equatable {
        var due: Instant
        var isIncremental: Bool

        var uid: String { Schedule.uidPrefix + due.pointName }
    }

    /// Due times that need no run any more.
    struct Done {
        var full: Instant?
        /// Of a backup of whichever kind.
        var any: Instant?

        mutating func add(_ due: Instant, isFull: Bool) {
            if isFull { full = max(full ?? due, due) }
            any = max(any ?? due, due)
        }
    }

    // MARK: Times

    /// The next multiple, for users.
    package func next(_ period: Period, after now: Instant) -> Instant {
        let elapsed = max(0, now.seconds - anchor.seconds)
        return Instant(seconds: anchor.seconds + (elapsed / period.seconds + 1) * period.seconds)
    }

    /// The next multiple of either period.
    func next(after now: Instant) -> Instant {
        [full, incremental].compactMap { $0.map { next($0, after: now) } }.min()!
    }

    /// The newest multiple until now that is later than `done`.
    private func due(_ period: Period?, at now: Instant, done: Instant?) -> Instant? {
        guard let period else { return nil }
        let elapsed = now.seconds - anchor.seconds
        guard elapsed >= period.seconds else { return nil }
        let due = Instant(seconds: anchor.seconds + elapsed / period.seconds * period.seconds)
        // A time that is yet to come was noted by a clock that was wrong.
        if let done, done <= now, due <= done { return nil }
        return due > since ? due : nil
    }

    // MARK: Runs

    /// What is to be done now.
    ///
    /// - Parameter attempted: what was tried; a failure is not tried again before the next time.
    func run(at now: Instant, _ collection: CollectionState, attempted: Done) -> Run? {
        let done = Self.done(collection, until: now)
        func newest(_ part: KeyPath<Done, Instant?>) -> Instant? {
            [done[keyPath: part], attempted[keyPath: part]].compactMap(\.self)
                .filter { $0 <= now }.max()
        }
        let full = due(full, at: now, done: newest(\.full))
        let incremental = due(incremental, at: now, done: newest(\.any))
        if let full {
            return Run(due: max(full, incremental ?? full), isIncremental: false)
        }
        return incremental.map { Run(due: $0, isIncremental: collection.newest != nil) }
    }

    /// The newest time at which a backup was due that nobody took; nil if there is none.
    ///
    /// - Parameter look: the newest look at the source that found nothing to back up.
    package func missed(at now: Instant, _ collection: CollectionState, look: Look?) -> Instant? {
        var attempted = Done()
        if let due = Self.due(of: look?.uid) { attempted.add(due, isFull: false) }
        return run(at: now, collection, attempted: attempted)?.due
    }

    /// What was taken, points included that were dropped since.
    private static func done(_ collection: CollectionState, until now: Instant) -> Done {
        var done = Done()
        for (uid, isFull) in [(collection.lastUID, false), (collection.lastFullUID, true)] {
            if let due = due(of: uid), due <= now { done.add(due, isFull: isFull) }
        }
        for point in collection.points.reversed() {
            guard let due = due(of: point.uid), due <= now else { continue }
            done.add(due, isFull: point.kind == .full)
            if done.full != nil { break }
        }
        return done
    }

    /// The newest point that the schedule has made.
    package static func newest(_ points: [BackupPoint]) -> (point: BackupPoint, due: Instant)? {
        for point in points.reversed() {
            if let due = due(of: point.uid) { return (point, due) }
        }
        return nil
    }

    /// The time that is in the token of a scheduled backup; nil of another's.
    static func due(of uid: String?) -> Instant? {
        guard let uid, uid.hasPrefix(uidPrefix) else { return nil }
        return Instant(pointName: String(uid.dropFirst(uidPrefix.utf8.count)))
    }
}
