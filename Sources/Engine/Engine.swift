import Bytes
import Repository
import Synchronization
import Tables

/// The control plane of one LOCATION: takes statements, runs operations, knows the collections.
///
/// The repository is opened when it appears and created by the first statement that needs it; the
/// source is opened anew by each statement that needs it, so that neither must be there for reading.
/// Any thread may call any method; none blocks on an operation.
package final class Engine: Sendable {
    package struct Options: Sendable {
        /// Refuses every statement with `EROFS`.
        package var isReadOnly = false
        package var limits = FormatLimits()
        package var repository = Repository.Options()
        /// Where the repository lies.
        package var storage: @Sendable (Location) -> any Storage = { $0.storage() }
        /// Where RESTORE writes instead of into the database; every other statement is refused then.
        /// The parameter is as `Database.open` has it.
        package var restoresInto: (@Sendable (Double?) throws -> any RestoreDestination)?
        /// Where others have made backups that are taken in.
        package var points: (any PointSource)?
        /// So many cuts may trust what the source knows of changes; then one compares everything, and
        /// says so if something was missed.
        package var auditInterval = 100
        /// Bytes per second that operations may write.
        package var rate: Int?
        /// The location is the one that belongs to the database's name.
        package var isBesideDatabase = false
        /// Backups of another database are taken for this one's.
        package var adopts = false
        /// The time that schedules go by.
        package var clock: @Sendable () -> Instant = { .now }

        package init() {}
    }

    /// How to reach the database, if there is one.
    package struct Database: Sendable {
        /// `/Root/database`, below which statements may name tables and collections.
        package var path: String
        /// - Parameter patience: seconds to wait for other programs' locks; nil for an operation,
        ///   which has time.
        package var open: @Sendable (_ patience: Double?) throws -> any RestorableSource
        /// What tells it from other databases; nil if it isn't there now, or nobody asks.
        package var identity: @Sendable () -> KnownDatabase?

        package init(
            path: String, identity: @escaping @Sendable () -> KnownDatabase? = { nil },
            open: @escaping @Sendable (_ patience: Double?) throws -> any RestorableSource
        ) {
            self.path = path
            self.identity = identity
            self.open = open
        }
    }

    package let location: Location
    package let errors: ErrorLog
    package let cache: SharedCache
    let database: Database?
    let options: Options
    private let limit: RateLimit?
    let listener = EventListener()

    struct State {
        var repository: Repository?
        var operations: [UInt64: Operation] = [:]
        /// What was refused lately, oldest first.
        var refusals: [Operation] = []
        var nextRefusal: UInt64 = 1
        /// By collection, what was accepted or refused last.
        var newest: [String: Operation] = [:]
        /// Accepted and not ended, by collection, in order.
        var queues: [String: [QueuedOperation]] = [:]
        /// Collections with a thread at work.
        var working: Set<String> = []
        var isClosing = false
        /// What was said of them.
        var damagedCatalogs: Set<String> = []
        var files: [String: (files: CollectionFiles, pool: FilePool)] = [:]
        var journal = JournalReading()
        /// Nil as long as there is no repository.
        var ownership: Ownership?
        /// Held as long as this process is the one that keeps the schedules.
        var scheduleLock: (any StorageLock)?
        /// What is known of those that it keeps, by collection id.
        var schedules: [String: ScheduleKeeping] = [:]
    }

    /// An operation and what it does.
    struct QueuedOperation: Sendable {
        var operation: Operation
        var work: Work
        /// The statements before it in the same write, all of which must have succeeded.
        var predecessors: [Operation] = []
    }

    let state = Monitor(State())
    /// Counts what users can see change: commits, operations that begin or end, refusals.
    private let changes = ChangeCounter()
    /// Statements are validated and queued one batch at a time.
    private let submission = Mutex(())
    /// The journal is read by one at a time.
    let journalReading = Mutex(())

    /// Operations that the mount shows and remembers, beside those that run.
    static let shownOperations = 200
    private static let shownRefusals = 50
    package static let queueLimit = 16
    private static let journaledNotes = 100
    static let journaledLeftOut = 1000
    /// Seconds that a shell may be kept waiting for the locks of other programs.
    package static let handlerPatience = 0.5

    package init(
        location: Location, database: Database?, cache: SharedCache, options: Options = Options()
    ) throws {
        self.location = location
        self.database = database
        self.cache = cache
        self.options = options
        limit = options.rate.map(RateLimit.init)
        errors = ErrorLog()
        do {
            let repository = try Repository.open(
                options.storage(location), options: options.repository)
            try checkOwnership(repository)
            state.update { $0.repository = repository }
            recallErrors(repository)
            try readJournal(repository)
            noteDamagedCatalogs()
        } catch let failure as Failure where failure.code == .notFound {
            if database == nil, options.points == nil { throw failure }
        }
        errors.watch { [weak self] item in
            guard let self else { return }
            changes.increment()
            remember(item)
            listener.tell(.trouble(item))
        }
    }

    // MARK: What there is

    /// Nil as long as nothing was ever stored.
    package var repository: Repository? { state.withLock(\.repository) }

    package var collections: [CollectionState] { repository?.collections ?? [] }

    package func collection(_ name: String) -> CollectionState? { repository?.collection(name) }

    /// Increases whenever there is something new to see; progress of what runs doesn't count.
    package var generation: UInt64 { changes.count }

    /// Reads what other processes have committed.
    package func refresh() throws {
        if let repository {
            let displacement = repository.displacement
            defer { if repository.displacement != displacement { changes.increment() } }
            let hasChanged = try !repository.refresh().isEmpty
            noteSetbacks(repository)
            try readJournal(repository)
            if !hasChanged { return }
            changes.increment()
        } else if let repository = try? Repository.open(
            options.storage(location), options: options.repository)
        {
            try checkOwnership(repository)
            state.update { $0.repository = repository }
            changes.increment()
        }
        noteDamagedCatalogs()
    }

    /// Says once what has become of the past that was read.
    private func noteSetbacks(_ repository: Repository) {
        for setback in repository.takeSetbacks() {
            errors.add(
                setback.collection, message: setback.message, collection: setback.collection)
        }
    }

    /// The time by the clock that points are dated with.
    var now: Instant { repository?.now ?? .now }

    /// There is something new to see.
    func noteChange() { changes.increment() }

    /// Says once of each log that it had to be read from its beginning, and why.
    private func noteDamagedCatalogs() {
        for collection in collections {
            guard let damage = collection.catalogDamage else { continue }
            let isNew = state.update { $0.damagedCatalogs.insert(damage.message).inserted }
            if isNew {
                errors.add(
                    collection.name,
                    message: "\(damage.message): the whole log was read instead, nothing is lost",
                    collection: collection.name)
            }
        }
    }

    /// A table at a point, to be read.
    package func snapshot(_ table: TableRecord, of collection: CollectionState) -> Snapshot {
        Snapshot(table.snapshot, schema: table.schema, pool: pool(collection))
    }

    /// Keeps a table at a point readable in this process, whoever drops the point, until the last
    /// hold goes.
    package func hold(_ table: TableRecord, of collection: CollectionState) -> PointHold {
        stored(collection).files.hold(table.files.map(\.number))
    }

    private func pool(_ collection: CollectionState) -> FilePool { stored(collection).pool }

    private func stored(
        _ collection: CollectionState
    ) -> (files: CollectionFiles, pool: FilePool) {
        state.withLock { state in
            // What is remembered by number of another past is nothing to this one.
            if let known = state.files[collection.id], known.files.epoch == collection.epoch {
                known.files.update(collection)
                return known
            }
            let files = CollectionFiles(state.repository!, collection)
            let pool = FilePool(files, cache: cache)
            state.files[collection.id] = (files, pool)
            return (files, pool)
        }
    }

    /// Work done by all readers so far.
    package var figures: FilePool.Figures {
        state.withLock { $0.files.values.map(\.pool.figures) }.reduce(.init(), +)
    }

    // MARK: Operations

    /// The ones that run and the newest of the others, by id.
    package var operations: [Operation] {
        state.withLock { $0.operations.values.sorted { $0.id < $1.id } }
    }

    /// Statements that were refused lately, oldest first.
    package var refusals: [Operation] { state.withLock(\.refusals) }

    package func operation(_ id: UInt64) -> Operation? {
        state.withLock { state in
            state.operations[id] ?? state.refusals.first { $0.id == id }
        }
    }

    /// What was accepted or refused last, as long as it is shown.
    package func newestOperation(of collection: String) -> Operation? {
        let newest = state.withLock { $0.newest[collection] }
        return newest.flatMap { operation($0.id) }
    }

    /// A text was refused, or given up: what `errors`, `control` and `operation` tell of it.
    ///
    /// - Parameter collection: whose control file it was written to; nil for all collections' own.
    @discardableResult
    package func refuse(
        _ text: String, _ failure: Failure, snippet: String? = nil, collection: String?,
        owner: UInt32
    ) -> Operation {
        let named = collection ?? (try? Statement.parse(text))?.first?.collection.name
        let refused = state.update { state in
            let refusal = Operation.refusal(
                state.nextRefusal, text, failure.message, collection: named ?? "", owner: owner)
            state.nextRefusal += 1
            state.refusals = (state.refusals + [refusal]).suffix(Self.shownRefusals)
            if let named { state.newest[named] = refusal }
            return refusal
        }
        errors.add(
            text, message: failure.message, snippet: snippet ?? failure.snippet,
            collection: collection)
        return refused
    }

    /// Stops taking statements, cancels what runs, waits for it, at most `seconds`, and closes what is
    /// open. What readers ask for later is opened again.
    package func close(seconds: Double = 5) {
        let all = state.update { state in
            state.isClosing = true
            return state.queues.values.flatMap { $0.map(\.operation) }
        }
        for operation in all { operation.cancel() }
        _ = state.wait(seconds: seconds) { $0.working.isEmpty ? true : nil }
        // Another mount may keep the schedules now.
        state.update { state in
            state.schedules = [:]
            state.scheduleLock = nil
        }
        repository?.closeFiles()
        repository?.operations.close()
    }

    // MARK: Statements

    /// Whether the statements would be accepted now, all together.
    package func validate(_ statements: [Statement]) throws(Failure) {
        _ = try plan(statements)
    }

    /// Accepts all the statements or none: definitions are carried out, the others queued.
    ///
    /// - Parameter owner: the user id behind them.
    package func submit(_ statements: [Statement], owner: UInt32) throws(Failure) -> [Operation] {
        try submission.withLock { _ throws(Failure) in
            var operations: [Operation] = []
            for (index, step) in try plan(statements).enumerated() {
                let operation = try begin(statements[index], step, owner: owner)
                switch step {
                case .define, .drop, .alterPoints: try carryOut(step, operation)
                case .queue(let work):
                    enqueue(
                        QueuedOperation(
                            operation: operation, work: work, predecessors: operations))
                }
                operations.append(operation)
            }
            return operations
        }
    }

    private func plan(_ statements: [Statement]) throws(Failure) -> [Plan.Step] {
        if options.isReadOnly { throw Failure(.readOnly, "mounted read-only: mount without -o ro") }
        if state.withLock(\.isClosing) { throw Failure(.busy, "the mount is being unmounted") }
        // Others may have defined or backed up something in the last half second.
        try? refresh()
        if let displacement = repository?.displacement { throw displacement }
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

extension Repository {
    /// The time by the clock that points are dated with.
    var now: Instant { Instant(microseconds: options.now()) }
}

/// A number that any thread increases and reads.
private final class ChangeCounter: Sendable {
    private let value = Atomic<UInt64>(0)

    var count: UInt64 { value.load(ordering: .acquiring) }

    @Sendable func increment() { value.add(1, ordering: .acquiringAndReleasing) }
}
