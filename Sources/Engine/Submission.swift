import Bytes
import Repository
import Synchronization

/// From statements to operations: what is accepted, how it is journaled, how it ends.
extension Engine {
    /// Whether the statements would be accepted now, all together.
    package func validate(_ statements: [Statement]) throws(Failure) {
        _ = try plan(statements)
    }

    /// Accepts all the statements or none: definitions are carried out, the others queued. Questions
    /// make no operation: `answer` is for them.
    ///
    /// - Parameter owner: the user id behind them.
    package func submit(_ statements: [Statement], owner: UInt32) throws(Failure) -> [Operation] {
        try submission.withLock { _ throws(Failure) in
            var operations: [Operation] = []
            for (index, step) in try plan(statements).enumerated() {
                if case .answer = step { continue }
                let operation = try begin(statements[index], step, owner: owner)
                switch step {
                case .define, .drop, .alterPoints: try carryOut(step, operation)
                case .queue(let work):
                    enqueue(
                        QueuedOperation(
                            operation: operation, work: work, predecessors: operations))
                case .answer: break
                }
                operations.append(operation)
            }
            return operations
        }
    }

    private func plan(_ statements: [Statement]) throws(Failure) -> [Plan.Step] {
        let asksOnly = statements.allSatisfy(\.isQuestion)
        if options.isReadOnly, !asksOnly {
            throw Failure(.readOnly, "mounted read-only: mount without -o ro")
        }
        if state.withLock(\.isClosing) { throw Failure(.busy, "the mount is being unmounted") }
        // Others may have defined or backed up something in the last half second.
        try? refresh()
        if let displacement = repository?.displacement, !asksOnly { throw displacement }
        var plan = Plan(engine: self)
        var steps: [Plan.Step] = []
        for statement in statements { steps.append(try plan.step(statement)) }
        return steps
    }

    /// What is queued for a collection, for validation.
    func queue(of collection: String) -> [QueuedOperation] {
        state.withLock { $0.queues[collection] ?? [] }
    }

    /// The names in the database that queued restores will take.
    var queuedTargets: [String] {
        state.withLock { $0.queues.values.joined() }.flatMap { queued -> [String] in
            guard case .restore(let request) = queued.work,
                !queued.operation.status.state.isFinal
            else { return [] }
            return request.targets
        }
    }

    /// The repository, made now if there is none yet.
    func makeRepository() throws(Failure) -> Repository {
        if let repository { return repository }
        do {
            let made = try Repository.create(
                options.storage(location), options: options.repository)
            try checkOwnership(made)
            made.reserve.keep()
            return state.update { state in
                if let known = state.repository { return known }
                state.repository = made
                return made
            }
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure(.system, "can't create the repository \(location): \(error)")
        }
    }

    private func begin(
        _ statement: Statement, _ step: Plan.Step, owner: UInt32
    ) throws(Failure) -> Operation {
        let repository = try makeRepository()
        var uid: String?
        if case .backup(let backup) = statement.action { uid = backup.uid?.value }
        let start = OperationStart(
            statement: statement.text, owner: owner, collection: statement.collection.name,
            kind: step.kind, time: Instant.now.microseconds, uid: uid)
        do {
            try acceptDatabase(repository)
            return try record(start, step.claim)
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure(.system, "can't record the operation in \(location): \(error)")
        }
    }

    /// Journals the start of an operation and shows it.
    func record(
        _ start: OperationStart, _ claim: Reserve.Claim = .recording
    ) throws -> Operation {
        let repository = try makeRepository()
        let start = try repository.operations.begin(
            start, claim, after: repository.lastOperation)
        let operation = Operation(
            id: start.id, statement: start.statement, kind: start.kind,
            collection: start.collection ?? "", owner: start.owner,
            accepted: Instant(microseconds: start.time), uid: start.uid, limit: limit)
        add(operation)
        return operation
    }

    /// What may be given up on a full disk for the end of an operation of a kind.
    static func claim(_ kind: String) -> Reserve.Claim {
        ["alter", "drop", "prune"].contains(kind) ? .freeing : .recording
    }

    func add(_ operation: Operation) {
        state.update { state in
            state.operations[operation.id] = operation
            state.newest[operation.collection] = operation
            if state.operations.count <= Self.shownOperations { return }
            let old = state.operations.values.filter(\.status.state.isFinal).map(\.id).sorted()
            for id in old.dropLast(Self.shownOperations) { state.operations[id] = nil }
        }
        changes.increment()
    }

    /// Asks an operation to stop, whichever process works on it. Throws `.invalid` if it has ended.
    package func cancel(_ operation: Operation) throws(Failure) {
        if operation.status.state.isFinal {
            throw Failure(.invalid, "operation \(operation.id) has ended already")
        }
        if options.isReadOnly { throw Failure(.readOnly, "mounted read-only: mount without -o ro") }
        if !operation.isForeign { return operation.cancel() }
        do {
            try repository?.operations.requestCancel(operation.id)
            operation.cancel()
        } catch {
            throw error as? Failure ?? Failure(.system, "\(error)")
        }
    }

    /// Journals the end and tells who waits.
    func end(_ operation: Operation, _ state: Operation.State, error: String? = nil) {
        let status = operation.status
        let record = OperationEnd(
            state: state == .done ? .done : state == .cancelled ? .cancelled : .failed,
            error: error, time: Instant.now.microseconds, rows: status.rows, bytes: status.bytes,
            point: status.point, notes: Array(status.notes.prefix(Self.journaledNotes)),
            incomplete: status.incomplete,
            leftOut: Array(status.leftOut.prefix(Self.journaledLeftOut)),
            entry: repository?.takeAddedEntry(of: operation.collection))
        do {
            try repository?.operations.end(
                operation.id, record, Self.claim(operation.kind))
        } catch let failure {
            operation.update { $0.notes.append("its end could not be recorded: \(failure)") }
        }
        repository?.reserve.keep()
        if state == .failed {
            errors.add(
                operation.statement, message: "operation \(operation.id) failed: \(error ?? "")",
                collection: operation.collection, operation: operation.id)
        }
        operation.end(state, error: error, first: changes.increment)
        listener.tell(.ended(operation))
    }
}
