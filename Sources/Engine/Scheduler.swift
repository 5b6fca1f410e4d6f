import Bytes
import Glibc
import Repository

/// What an engine knows of the schedule of one collection.
struct ScheduleKeeping {
    /// Held as long as this process is the one that keeps the schedule.
    var lock: any StorageLock
    var attempted = Schedule.Done()
    /// A run that can't begin because others are at work, and what they said.
    var blocked: (run: Schedule.Run, reason: String)?
}

/// The schedules: of all mounts of a repository one takes the backups of a collection, and when it
/// ends another.
extension Engine {
    private static let lookSeconds = 0.5

    /// Takes scheduled backups from now on until it is closed.
    package func keepSchedules() {
        guard database != nil, !options.isReadOnly else { return }
        WorkerThread.detach { [weak self] in
            while let engine = self {
                engine.takeDueBackups()
                let isClosing: Bool? = engine.state.wait(seconds: engine.secondsToNextDue) {
                    $0.isClosing ? true : nil
                }
                if isClosing == true { return }
            }
        }
        WorkerThread.detach { [weak self] in
            while let engine = self {
                engine.readDueShares()
                let isClosing: Bool? = engine.state.wait(seconds: Self.shareLookSeconds) {
                    $0.isClosing ? true : nil
                }
                if isClosing == true { return }
            }
        }
    }

    private static let shareLookSeconds = 1.0
    static var ownUser: UInt32 { geteuid() }

    private var secondsToNextDue: Double {
        let now = options.clock()
        let next = collections.compactMap { $0.definition.flatMap(Schedule.init)?.next(after: now) }
            .min()
        guard let next else { return Self.lookSeconds }
        let seconds = Double(next.microseconds - now.microseconds) / 1e6
        return min(Self.lookSeconds, max(0.001, seconds))
    }

    /// Starts what is due, unless another process keeps the schedule.
    package func takeDueBackups() {
        let now = options.clock()
        for collection in collections {
            guard let schedule = collection.definition.flatMap(Schedule.init) else {
                state.update { $0.schedules[collection.id] = nil }
                continue
            }
            let isIdle = queue(of: collection.name).allSatisfy(\.operation.status.state.isFinal)
            guard isIdle, let keeping = keeping(collection),
                let run = schedule.run(at: now, collection, attempted: keeping.attempted)
            else { continue }
            if let blocked = keeping.blocked, blocked.run != run {
                complain(blocked.run, collection, blocked.reason)
                state.update { $0.schedules[collection.id]?.blocked = nil }
            }
            start(run, collection)
        }
    }

    /// What is known of a schedule that this process keeps; nil if another one does.
    private func keeping(_ collection: CollectionState) -> ScheduleKeeping? {
        if let known = state.withLock({ $0.schedules[collection.id] }) { return known }
        guard let lock = try? repository?.scheduleLock(collection) else { return nil }
        return state.update { state in
            if state.isClosing { return nil }
            state.schedules[collection.id] = ScheduleKeeping(lock: lock)
            return state.schedules[collection.id]
        }
    }

    private func start(_ run: Schedule.Run, _ collection: CollectionState) {
        do {
            let statements = try Statement.parse(text(of: run, collection))
            _ = try submit(statements, owner: Self.ownUser)
        } catch {
            let failure = error as? Failure
            switch failure?.code {
            case .busy?, .queueFull?:
                // It is tried again until the next one is due.
                let reason = failure!.message
                state.update { $0.schedules[collection.id]?.blocked = (run, reason) }
                return
            case .exists?: break
            default: complain(run, collection, failure?.message ?? "\(error)")
            }
        }
        state.update { state in
            state.schedules[collection.id]?.blocked = nil
            state.schedules[collection.id]?.attempted.add(run.due, isFull: !run.isIncremental)
        }
    }

    private func text(of run: Schedule.Run, _ collection: CollectionState) -> String {
        "BACKUP \(quotedName(collection.name)) \(run.isIncremental ? "INCREMENTAL " : "")"
            + "WITH (uid = '\(run.uid)')"
    }

    private func complain(_ run: Schedule.Run, _ collection: CollectionState, _ reason: String) {
        errors.add(
            text(of: run, collection),
            message: "the backup scheduled for \(run.due) was not taken: \(reason)",
            collection: collection.name)
    }
}
