import Bytes
import Repository
import Tables

/// What a RESTORE asks for, as far as it is decided before its turn comes.
struct RestoreRequest: Sendable {
    var moment: Moment
    /// Paths and their new names; nil: all tables under their own.
    var tables: [(path: String, target: String)]?
    /// The names in the database that it will take, as far as they are known.
    var targets: [String] = []

    /// The tables at a point, and the names that they get. Throws `.notFound`.
    func records(
        of state: CollectionState, at point: BackupPoint
    ) throws(Failure) -> [(record: TableRecord, target: String)] {
        guard let tables else {
            return state.tables(at: point.sequence).map { ($0, $0.path) }
        }
        var result: [(TableRecord, String)] = []
        for (path, target) in tables {
            guard let record = state.table(path: path, at: point.sequence) else {
                throw point.missing(path)
            }
            result.append((record, target))
        }
        return result
    }
}

extension RestoredTable {
    init(_ record: TableRecord, target: String) {
        self.init(path: record.path, target: target, schema: record.schema, sql: record.sql)
    }
}

extension Engine {
    /// Loads tables aside, compares what can be read there with what was backed up, and publishes
    /// all of them at once.
    func restore(_ request: RestoreRequest, _ operation: Operation) throws {
        try refresh()
        guard let repository, let state = collection(operation.collection) else {
            throw Failure(.notFound, "there is no collection \(operation.collection)")
        }
        let point = try request.moment.point(in: state)
        let tables = try request.records(of: state, at: point)
        operation.update { status in
            status.point = point.name
            status.totalRows = tables.reduce(0) { $0 + $1.record.rows }
        }
        // Whoever drops the point meanwhile: it is restored to its end.
        let holds = tables.map { hold($0.record, of: state) }
        defer { withExtendedLifetime(holds) {} }
        let destination = try openDestination(patience: nil)
        removeLeftovers(destination, operation)
        let restored = tables.map { RestoredTable($0.record, target: $0.target) }
        if let refusal = refusal(try destination.obstacles(to: restored)) { throw refusal }
        let restore = try destination.openRestore(
            restored,
            attempt: RestoreAttempt(
                id: attemptPrefix(repository) + "\(operation.id)",
                isCancelled: { operation.isCancelling }, hasWritten: operation.pay))
        do {
            for (number, table) in tables.enumerated() {
                try restore.begin(number)
                try load(snapshot(table.record, of: state), into: restore, operation)
                try check(restore.finish(), table.record, operation)
            }
            // Views may be about any table, and by any name.
            let notes = try restore.publish(views: request.tables == nil ? point.views : "")
            operation.update { status in
                status.notes += notes
                if request.tables != nil { return }
                for table in point.notBackedUp { status.leaveOut(point.lacks(table)) }
            }
        } catch {
            restore.abandon()
            throw error
        }
    }

    private func load(
        _ snapshot: Snapshot, into restore: any TableRestore, _ operation: Operation
    ) throws {
        let pages = SnapshotPages(snapshot)
        while let batch = try pages.next() {
            try operation.checkpoint()
            try restore.append(batch)
            operation.update { status in
                status.rows += UInt64(batch.count)
                status.bytes += UInt64(batch.byteCount)
            }
        }
    }

    /// Compares the rows that are there now with the recorded count and content.
    private func check(
        _ rows: any RowCursor, _ record: TableRecord, _ operation: Operation
    ) throws {
        let hasher = RowHasher(record.schema)
        let batch = RowBatch(record.schema)
        var (hash, count) = (ContentHash(), UInt64(0))
        do {
            while try rows.next(
                into: batch, maxRows: options.limits.pageRows, maxBytes: options.limits.pageBytes)
            {
                try operation.checkpoint()
                hash += hasher.hash(batch)
                count += UInt64(batch.count)
                batch.removeAll()
            }
        } catch let misfit as Misfit {
            throw Failure(
                .corrupt,
                "\(record.path): column \(misfit.column) does not read as it was backed up; "
                    + "nothing was restored")
        }
        guard count == record.rows, hash.description == record.contentHash else {
            throw Failure(
                .corrupt,
                "\(record.path): the \(count) rows loaded are not the \(record.rows) backed up; "
                    + "nothing was restored")
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
