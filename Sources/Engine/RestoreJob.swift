import Bytes
import Repository
import Tables

/// What a RESTORE asks for, as far as it is decided before its turn comes.
struct RestoreRequest: Sendable {
    var moment: Moment
    /// Paths and their new names; nil: all tables under their own.
    var tables: [(path: String, target: String)]?
    /// Whether a table that can't be restored ends all of it.
    var isStrict = false
    /// The names in the database that it will take, as far as they are known.
    var targets: [String] = []

    /// The tables at a point, and the names that they get. Throws `.notFound`.
    func selection(
        of state: CollectionState, at point: BackupPoint
    ) throws(Failure) -> RestoreSelection {
        let all = state.tables(at: point.sequence)
        guard let tables else {
            return RestoreSelection(tables: all.map { ($0, $0.path) }, isWhole: true)
        }
        var selection = RestoreSelection(tables: [], isWhole: false)
        for (path, target) in tables {
            if let record = state.table(path: path, at: point.sequence) {
                if let owner = record.shadowOf, point.hasVirtualTables {
                    throw Failure(
                        .invalid,
                        "\(path) holds content of the virtual table \(owner): restore that")
                }
                selection.tables.append((record, target))
                continue
            }
            let shadows = all.filter { $0.shadowOf?.hasSameBytes(as: path) ?? false }
            if shadows.isEmpty || !point.hasVirtualTables {
                throw point.missing(path)
            }
            guard path.hasSameBytes(as: target) else {
                throw Failure(
                    .invalid,
                    "\(path) is a virtual table, which finds its content by its name: AS can't be "
                        + "said of it")
            }
            selection.tables += shadows.map { ($0, $0.path) }
            selection.virtualTables.insert(path)
        }
        return selection
    }
}

extension BackupPoint {
    /// Whether it has the texts of virtual tables besides what they show. A list of tables may name the
    /// latter alone; then they are tables like others.
    fileprivate var hasVirtualTables: Bool { !views.isEmpty }
}

/// Tables of a point that are to be restored, and the names that they get.
struct RestoreSelection {
    var tables: [(record: TableRecord, target: String)]
    var isWhole: Bool
    var virtualTables: Set<String> = []

    /// - Parameter destination: of a collection that another system's tables are in.
    func restored(
        at point: BackupPoint, foreignTo destination: (any RestoreDestination)?
    ) throws -> RestoredDatabase {
        RestoredDatabase(
            tables: try tables.map { record, target in
                var table = RestoredTable(
                    path: record.path, target: target, schema: record.schema, sql: record.sql,
                    sequence: record.sequence,
                    shadowOf: isWhole || !virtualTables.isEmpty ? record.shadowOf : nil)
                if let form = try destination?.form(of: table) {
                    (table.form, table.schema, table.sql) = (form, form.schema, form.sql)
                }
                return table
            }, views: point.views, isWhole: isWhole, virtualTables: virtualTables,
            facts: point.facts)
    }
}

extension Engine {
    /// Loads tables aside, compares what can be read there with what was backed up, and publishes
    /// at once all that came back as it was.
    func restore(_ request: RestoreRequest, _ operation: Operation) throws {
        try refresh()
        guard let repository, let state = collection(operation.collection) else {
            throw Failure(.notFound, "there is no collection \(operation.collection)")
        }
        let point = try request.moment.point(in: state, now: repository.now)
        let selection = try request.selection(of: state, at: point)
        operation.update { status in
            status.point = point.name
            status.totalRows = selection.tables.map { $0.record.rows }.total
        }
        // Whoever drops the point meanwhile: it is restored to its end.
        let holds = selection.tables.map { hold($0.record, of: state) }
        defer { withExtendedLifetime(holds) {} }
        let destination = try openDestination(patience: nil)
        removeLeftovers(destination, operation)
        let restored = try selection.restored(
            at: point, foreignTo: state.isForeign ? destination : nil)
        if let refusal = refusal(try destination.obstacles(to: restored)) { throw refusal }
        let attempt = RestoreAttempt(
            id: attemptPrefix(repository) + "\(operation.id)", isStrict: request.isStrict,
            isCancelled: { operation.isCancelling }, hasWritten: operation.pay)
        let job = RestoreJob(
            records: selection.tables.map(\.record), forms: restored.tables.map(\.form),
            limits: options.limits,
            restore: try destination.openRestore(restored, attempt: attempt),
            isStrict: request.isStrict, operation: operation)
        try job.run { snapshot($0, of: state) }
        if request.tables == nil {
            // What the point lacks isn't back either.
            operation.update { status in
                for table in point.notBackedUp { status.leaveOut(point.lacks(table)) }
            }
        }
    }

    // MARK: What was there before

    /// Where RESTORE writes.
    func openDestination(patience: Double?) throws -> any RestoreDestination {
        if let open = options.restoresInto { return try open(patience) }
        guard let database else {
            throw Failure(
                .unsupported,
                "\(location) is a repository without its database: name one to restore into, "
                    + "ydbfs run … --into DATABASE")
        }
        return try database.open(patience)
    }

    /// What says that names are taken; nil if none are.
    func refusal(_ obstacles: [String]) -> Failure? {
        if obstacles.isEmpty { return nil }
        return Failure(
            .exists,
            obstacles.joined(separator: "; ")
                + ": drop or rename what is there, or restore under other names with AS")
    }

    /// Attempts are named by repository and operation, so that the journal knows about each.
    private func attemptPrefix(_ repository: Repository) -> String {
        let idDigits = 12
        return "\(repository.id.prefix(idDigits))_"
    }

    /// Whether an attempt was of this repository, and its operation has ended or was killed.
    private func isOver(_ attempt: String) -> Bool {
        guard let repository, attempt.hasPrefix(attemptPrefix(repository)),
            let id = UInt64(attempt.dropFirst(attemptPrefix(repository).count))
        else { return false }
        do {
            let record = try repository.operations.record(id)
            return record.end != nil || record.isInterrupted
        } catch {
            // The journal keeps the newest only.
            return (error as? Failure)?.code == .notFound
        }
    }

    /// Removes what killed restores have left in the database; that can wait if it isn't possible.
    func removeLeftovers(_ destination: any RestoreDestination, _ operation: Operation) {
        do {
            try destination.removeLeftovers(isGone: isOver)
        } catch {
            operation.update {
                $0.notes.append(
                    "what a killed restore has left could not be removed yet: "
                        + ((error as? Failure)?.message ?? "\(error)"))
            }
        }
    }
}

/// The tables of one RESTORE on their way into a database.
private final class RestoreJob {
    private let records: [TableRecord]
    /// What becomes of rows that come from another system.
    private let forms: [RestoredForm?]
    /// By number, the rows of such tables as they were loaded.
    private var loaded: [Int: ContentHash] = [:]
    private let limits: FormatLimits
    private let restore: any TableRestore
    private let isStrict: Bool
    private let operation: Operation
    /// Tables by number that aren't published, and why.
    private var leftOut: [Int: Failure] = [:]

    init(
        records: [TableRecord], forms: [RestoredForm?], limits: FormatLimits,
        restore: any TableRestore, isStrict: Bool,
        operation: Operation
    ) {
        self.records = records
        self.forms = forms
        self.limits = limits
        self.restore = restore
        self.isStrict = isStrict
        self.operation = operation
    }

    func run(_ open: (TableRecord) -> Snapshot) throws {
        do {
            let numbers = records.indices.filter(restore.isRestored)
            for number in numbers {
                try perform(number) {
                    try restore.begin(number)
                    try load(number, open(records[number]))
                }
            }
            for number in numbers where leftOut[number] == nil {
                try perform(number) { try check(number, restore.inspect(number)) }
            }
            if !numbers.isEmpty, leftOut.count == numbers.count { throw nothing() }
            let published = try restore.publish()
            operation.update { status in
                status.notes += published.notes
                for number in numbers where leftOut[number] == nil {
                    status.notes += forms[number]?.notes ?? []
                }
                for (number, failure) in leftOut.sorted(by: { $0.key < $1.key }) {
                    status.leaveOut(
                        NotBackedUp(path: records[number].path, reason: failure.message))
                }
                for (path, reason) in published.leftOut {
                    status.leaveOut(NotBackedUp(path: path, reason: reason))
                }
            }
        } catch {
            restore.abandon()
            throw error
        }
    }

    /// Runs what concerns one table, which is left out if it fails.
    private func perform(_ number: Int, _ body: () throws -> Void) throws {
        let failure: Failure
        do {
            return try body()
        } catch is Misfit {
            failure = Failure(.corrupt, "its rows don't read as they were backed up")
        } catch let found as Failure {
            failure = found
        }
        let path = records[number].path
        switch failure.code {
        case .cancelled, .busy, .noSpace, .readOnly, .denied, .unreachable: throw failure
        default: break
        }
        if isStrict {
            throw Failure(failure.code, "\(path): \(failure.message); nothing was restored")
        }
        leftOut[number] = failure
        restore.leaveOut(number, because: failure.message)
    }

    private func nothing() -> Failure {
        let reasons = leftOut.sorted { $0.key < $1.key }.prefix(3).map { number, failure in
            "\(records[number].path): \(failure.message)"
        }
        let rest =
            leftOut.count > reasons.count ? "; and \(leftOut.count - reasons.count) more" : ""
        return Failure(
            leftOut.values.first?.code ?? .corrupt,
            reasons.joined(separator: "; ") + rest + "; nothing was restored")
    }

    private func load(_ number: Int, _ snapshot: Snapshot) throws {
        let form = forms[number]
        let hashers = form.map { (RowHasher(snapshot.schema), RowHasher($0.schema)) }
        var (stored, held, count) = (ContentHash(), ContentHash(), UInt64(0))
        let pages = SnapshotPages(snapshot)
        while let batch = try pages.next() {
            try operation.checkpoint()
            if let form, let hashers {
                let converted = try form.convert(batch, count)
                count += UInt64(batch.count)
                stored += hashers.0.hash(batch)
                held += hashers.1.hash(converted)
                try restore.append(converted)
            } else {
                try restore.append(batch)
            }
            operation.update { status in
                status.rows += UInt64(batch.count)
                status.bytes += UInt64(batch.byteCount)
            }
        }
        guard form != nil else { return }
        // What is read back can only be compared with what was converted.
        guard stored.description == records[number].contentHash else {
            throw Failure(.corrupt, "its rows don't read as they were backed up")
        }
        loaded[number] = held
    }

    /// Compares the rows that are there now with the recorded count and content.
    private func check(_ number: Int, _ rows: any RowCursor) throws {
        let record = records[number]
        let schema = forms[number]?.schema ?? record.schema
        let hasher = RowHasher(schema)
        let batch = RowBatch(schema)
        var (hash, count) = (ContentHash(), UInt64(0))
        while try rows.next(into: batch, maxRows: limits.pageRows, maxBytes: limits.pageBytes) {
            try operation.checkpoint()
            hash += hasher.hash(batch)
            count += UInt64(batch.count)
            batch.removeAll()
        }
        let expected = loaded[number]?.description ?? record.contentHash
        guard count == record.rows, hash.description == expected else {
            throw Failure(
                .corrupt,
                "the \(count) rows loaded are not the \(record.rows) backed up")
        }
    }
}

extension CollectionState {
    /// Its tables are another system's than a database's that they can go back to. What others have made of
    /// whole databases isn't.
    var isForeign: Bool {
        lastDefinition.map { $0.sourceKind != nil && !$0.isDatabase } ?? false
    }
}
