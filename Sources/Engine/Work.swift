import Bytes
import Repository
import Tables

/// What a queued operation does once its turn has come.
enum Work: Sendable {
    case backup(isIncremental: Bool)
    case prune(isDryRun: Bool)
    case restore(RestoreRequest)
    case putBack(RowsRequest)
    case verify(Moment?, level: CheckLevel)
    case compact
    case pull

    /// A word for users: `operations/ID/statement` has the whole.
    var kind: String {
        switch self {
        case .backup(let isIncremental): isIncremental ? "incremental" : "full"
        case .prune: "prune"
        case .restore, .putBack: "restore"
        case .verify: "verify"
        case .compact: "compact"
        case .pull: "pull"
        }
    }

    /// Whether the collection has a full backup once this is done.
    var makesFull: Bool {
        switch self {
        case .backup(let isIncremental): !isIncremental
        case .pull: true
        case .prune, .restore, .putBack, .verify, .compact: false
        }
    }
}

/// The queues: each collection's operations run in order, on a thread of their own.
extension Engine {
    func enqueue(_ queued: QueuedOperation) {
        let name = queued.operation.collection
        let startsThread = state.update { state in
            state.queues[name, default: []].append(queued)
            return state.working.insert(name).inserted
        }
        guard startsThread else { return }
        do throws(Failure) {
            try WorkerThread.detach { self.work(name) }
        } catch {
            let stranded = state.update { state in
                state.working.remove(name)
                return state.queues.removeValue(forKey: name) ?? []
            }
            for queued in stranded { end(queued.operation, .failed, error: error.message) }
        }
    }

    /// Runs a collection's operations in order until there are none left.
    private func work(_ collection: String) {
        while true {
            let next = state.update { state -> QueuedOperation? in
                if let first = state.queues[collection]?.first { return first }
                state.queues[collection] = nil
                state.working.remove(collection)
                return nil
            }
            guard let next else { return Allocator.giveBackFreed() }
            run(next)
            state.update { _ = $0.queues[collection]?.removeFirst() }
        }
    }

    private func run(_ queued: QueuedOperation) {
        let operation = queued.operation
        for (index, predecessor) in queued.predecessors.enumerated() {
            let state = predecessor.wait().state
            if state == .done { continue }
            let words = state == .failed ? "failed" : "was cancelled"
            end(operation, .cancelled, error: "statement \(index + 1) \(words)")
            return
        }
        guard operation.start() else {
            end(operation, .cancelled, error: "on request, before it began")
            return
        }
        do {
            try perform(queued.work, operation)
            cleanDroppedCollections()
            end(operation, .done)
        } catch let failure as Failure where failure.code == .cancelled {
            end(operation, .cancelled, error: "on request")
        } catch {
            end(operation, .failed, error: (error as? Failure)?.message ?? "\(error)")
        }
    }
}

extension Engine {
    /// Carries out the work of an operation that has begun. Throws `.cancelled` if it was asked to
    /// stop.
    private func perform(_ work: Work, _ operation: Operation) throws {
        switch work {
        case .backup(let isIncremental):
            guard let database, let repository else {
                throw Failure(.unsupported, "\(location) has no database to back up")
            }
            let source = try operation.waiting(for: "the database") { try database.open(nil) }
            removeLeftovers(source, operation)
            let job = BackupJob(
                repository: repository, sourceBytes: source.sizeBytes, openCut: source.openCut,
                collection: operation.collection, isIncremental: isIncremental,
                operation: operation, limits: options.limits,
                auditInterval: options.auditInterval, cache: cache)
            let (point, isNew) = try job.run()
            operation.update { $0.point = point }
            if !isNew { return noteIdle(operation) }
            if isIncremental { compactIfDue(repository, operation) }
        case .restore(let request): try restore(request, operation)
        case .putBack(let request): try putBack(request, operation)
        case .verify(let moment, let level): try verify(moment, level, operation)
        case .compact: try compact(operation)
        case .pull: try pull(operation)
        case .prune(let isDryRun):
            guard let repository else { throw Failure(.notFound, "there are no backups yet") }
            try PruneJob(
                repository: repository, collection: operation.collection, isDryRun: isDryRun,
                operation: operation
            ).run()
        }
    }

    private func verify(_ moment: Moment?, _ level: CheckLevel, _ operation: Operation) throws {
        guard let repository else { throw Failure(.notFound, "there are no backups yet") }
        let verifier = Verifier(
            repository, collection: operation.collection, at: moment, level: level,
            operation: operation)
        let report = try verifier.run(source: level == .source ? database?.open(nil) : nil)
        operation.update { status in
            if moment != nil { status.point = report.points.first?.name }
            status.notes += report.isRight ? [report.summary] + report.notes : report.details
            if report.isRight { for table in report.leftOut { status.leaveOut(table) } }
        }
        if !report.isRight { throw Failure(.corrupt, report.summary) }
    }
}
