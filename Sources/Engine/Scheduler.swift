import Bytes
import Glibc
import Repository

/// What an engine knows of the schedule of one collection that it keeps.
struct ScheduleKeeping {
    var attempted = Schedule.Done()
    /// The newest run that found nothing to do.
    var idleRun: UInt64?
    /// A run that can't begin because others are at work, and what they said.
    var blocked: (run: Schedule.Run, reason: String)?
}

/// The schedules: of all mounts of a repository one takes the backups, and when it ends another.
extension Engine {
    private static let lookSeconds = 0.5

    /// Takes scheduled backups from now on until it is closed.
    package func keepSchedules() {
        guard database != nil, !options.isReadOnly else { return }
        do throws(Failure) {
            try untilClosed {
                $0.takeDueBackups()
                return $0.secondsToNextDue
            }
            try untilClosed {
                $0.readDueShares()
                return Self.shareLookSeconds
            }
        } catch {
            errors.add("schedules", message: "\(error.message): no scheduled backups are taken")
        }
    }

    private static let shareLookSeconds = 1.0

    /// Calls `body` again and again on a thread of its own, each time so many seconds later as it says.
    func untilClosed(
        _ body: @escaping @Sendable (Engine) -> Double
    ) throws(Failure) {
        try WorkerThread.detach { [weak self] in
            while let engine = self {
                let pause = body(engine)
                let isClosing: Bool? = engine.state.wait(seconds: pause) {
                    $0.isClosing ? true : nil
                }
                if isClosing == true { return }
            }
        }
    }

    private var secondsToNextDue: Double {
        let now = options.clock()
        let next = collections.compactMap { $0.definition.flatMap(Schedule.init)?.next(after: now) }
            .min()
        guard let next else { return Self.lookSeconds }
        let seconds = Double(next.microseconds - now.microseconds) / 1e6
        return min(Self.lookSeconds, max(0.001, seconds))
    }

    /// Starts what is due, unless another process keeps the schedules.
    package func takeDueBackups() {
        let now = options.clock()
        let scheduled = collections.compactMap { collection in
            collection.definition.flatMap(Schedule.init).map { (collection, $0) }
        }
        forgetSchedules(except: Set(scheduled.map(\.0.id)))
        for (collection, schedule) in scheduled {
            let isIdle = queue(of: collection.name).allSatisfy(\.operation.status.state.isFinal)
            guard isIdle, keepsSchedules() else { continue }
            let keeping = keeping(collection)
            guard let run = schedule.run(at: now, collection, attempted: keeping.attempted) else {
                continue
            }
            if let blocked = keeping.blocked, blocked.run != run {
                complain(blocked.run, collection, blocked.reason)
                state.update { $0.schedules[collection.id]?.blocked = nil }
            }
            start(run, collection)
        }
    }

    /// Whether this process is the one that does what is due by itself; it takes the part if nobody has it.
    func keepsSchedules() -> Bool {
        if state.withLock({ $0.scheduleLock != nil }) { return true }
        guard let lock = try? repository?.scheduleLock() else { return false }
        return state.update { state in
            if state.isClosing { return false }
            state.scheduleLock = lock
            return true
        }
    }

    private func forgetSchedules(except ids: Set<String>) {
        state.withLock { state in
            state.schedules = state.schedules.filter { ids.contains($0.key) }
            if ids.isEmpty { state.scheduleLock = nil }
        }
    }

    /// What is known of a schedule: at first, what the one that kept it before has looked at in vain.
    private func keeping(_ collection: CollectionState) -> ScheduleKeeping {
        if let known = state.withLock({ $0.schedules[collection.id] }) { return known }
        var keeping = ScheduleKeeping()
        if let due = Schedule.due(of: repository?.look(of: collection)?.uid) {
            keeping.attempted.add(due, isFull: false)
        }
        state.withLock { $0.schedules[collection.id] = keeping }
        return keeping
    }

    private func start(_ run: Schedule.Run, _ collection: CollectionState) {
        do {
            let statements = try Statement.parse(text(of: run, collection))
            _ = try submit(statements, owner: geteuid())
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

    /// A run that can't begin is an operation that failed: whoever asks what became of the backup that
    /// was due finds it where the others are.
    private func complain(_ run: Schedule.Run, _ collection: CollectionState, _ reason: String) {
        let reason = "the backup scheduled for \(run.due) was not taken: \(reason)"
        let work = Work.backup(isIncremental: run.isIncremental)
        do {
            let operation = try record(
                OperationStart(
                    statement: text(of: run, collection), owner: geteuid(),
                    collection: collection.name, kind: work.kind, time: Instant.now.microseconds))
            end(operation, .failed, error: reason)
        } catch {
            errors.add(text(of: run, collection), message: reason, collection: collection.name)
        }
    }
}
