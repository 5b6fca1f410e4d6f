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
    let limit: RateLimit?
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
        var pulls = PullKeeping()
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
    let changes = ChangeCounter()
    /// Statements are validated and queued one batch at a time.
    let submission = Mutex(())
    /// The journal is read by one at a time.
    let journalReading = Mutex(())

    /// Operations that the mount shows and remembers, beside those that run.
    static let shownOperations = 200
    private static let shownRefusals = 50
    package static let queueLimit = 16
    static let journaledNotes = 100
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
}

extension Repository {
    /// The time by the clock that points are dated with.
    var now: Instant { Instant(microseconds: options.now()) }
}

/// A number that any thread increases and reads.
final class ChangeCounter: Sendable {
    private let value = Atomic<UInt64>(0)

    var count: UInt64 { value.load(ordering: .acquiring) }

    @Sendable func increment() { value.add(1, ordering: .acquiringAndReleasing) }
}
