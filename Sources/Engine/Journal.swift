import Bytes
import Repository
import Synchronization

/// The journal of operations, as far as it was read.
struct JournalReading {
    var lastID: UInt64 = 0
    /// Operations that other processes have queued or run.
    var others: [UInt64: OperationRecord] = [:]
}

/// What earlier processes did, what others do now, and what became of those that were killed.
extension Engine {
    /// Reads what is new in the journal: at the start, and whenever others' commits are read.
    func readJournal(_ repository: Repository) throws {
        try journalReading.withLock { _ in try readOn(repository) }
    }

    private func readOn(_ repository: Repository) throws {
        let listing = try repository.operations.look()
        let (new, known) = state.update { state in
            // An older state of the repository may have been put back.
            state.journal.lastID = min(state.journal.lastID, listing.ids.max() ?? 0)
            let new = listing.ids.filter { $0 > state.journal.lastID }.sorted()
            state.journal.lastID = new.last ?? state.journal.lastID
            return (new, state.journal.others)
        }
        var open = known.values.filter { !listing.ended.contains($0.start.id) }
            .map { repository.operations.interrupted($0) ?? $0 }
        for id in known.keys where listing.ended.contains(id) { follow(id, repository) }
        let unknown = new.suffix(Self.shownOperations).filter { operation($0) == nil }
        for record in repository.operations.records(unknown) {
            if record.end != nil {
                show(record, record.end)
            } else if !repository.operations.isOwn(record.start) {
                open.append(record)
            }
        }
        watch(open, repository)
        for id in listing.cancelled where !listing.ended.contains(id) {
            if let operation = operation(id), !operation.isForeign { operation.cancel() }
        }
    }

    /// An operation of another process has ended.
    private func follow(_ id: UInt64, _ repository: Repository) {
        guard let record = try? repository.operations.record(id), record.end != nil else { return }
        show(record, record.end)
    }

    /// Those without an end: the first of a collection and a process runs, the others are queued
    /// behind it, and those whose process is gone are seen to.
    private func watch(_ records: [OperationRecord], _ repository: Repository) {
        var first: [UInt64] = []
        for record in records.sorted(by: { $0.start.id < $1.start.id }) {
            let isBehind = records.contains {
                $0.start.id < record.start.id && $0.start.collection == record.start.collection
                    && $0.start.runner == record.start.runner
            }
            if !isBehind { first.append(record.start.id) }
            if record.end != nil {
                show(record, record.end)
            } else if record.isInterrupted {
                show(record, recover(record, hadBegun: !isBehind, repository))
            } else {
                show(record, nil)
            }
        }
        for id in first {
            if let operation = operation(id), operation.isForeign { _ = operation.start() }
        }
    }

    /// Shows an operation of another process, or how it ended.
    private func show(_ record: OperationRecord, _ end: OperationEnd?) {
        let start = record.start
        let isNew = operation(start.id) == nil
        let operation =
            operation(start.id)
            ?? Operation(
                id: start.id, statement: start.statement, kind: start.kind,
                collection: start.collection ?? "", owner: start.owner,
                accepted: Instant(microseconds: start.time), uid: start.uid, isForeign: true)
        if isNew { add(operation) }
        state.update { $0.journal.others[start.id] = end == nil ? record : nil }
        guard let end else { return }
        if end.state == .failed {
            errors.add(
                start.statement, message: "operation \(start.id) failed: \(end.error ?? "")",
                collection: start.collection, operation: start.id,
                at: Instant(microseconds: end.time))
        }
        operation.restore(end, first: noteChange)
    }

    // MARK: Killed operations

    /// Sees to an operation whose process is gone, and journals what became of it: done if its point
    /// was committed, otherwise failed and cleaned up.
    private func recover(
        _ record: OperationRecord, hadBegun: Bool, _ repository: Repository
    ) -> OperationEnd {
        let start = record.start
        var end = OperationEnd(
            state: .failed,
            error: hadBegun
                ? "its process was killed" : "its process was killed before it had begun",
            time: Instant.now.microseconds)
        if options.isReadOnly { return end }
        if let point = committedPoint(start, repository) {
            end.state = .done
            end.error = nil
            end.point = point.name
            end.rows = point.files.map(\.rows).total
            end.bytes = point.files.map(\.bytes).total
            end.notes = ["its process was killed after the point was made"]
            end.incomplete = UInt64(point.notBackedUp.count)
            end.leftOut = Array(point.notBackedUp.prefix(Self.journaledLeftOut))
        } else if hadBegun {
            end.error! += ": " + cleanUp(start, repository)
        }
        // Another process may have been faster: then its word counts.
        if (try? repository.operations.end(start.id, end, Self.claim(start.kind)))
            == false,
            let other = try? repository.operations.record(start.id).end
        {
            return other
        }
        return end
    }

    private func committedPoint(_ start: OperationStart, _ repository: Repository) -> BackupPoint? {
        guard let name = start.collection, let collection = repository.collection(name) else {
            return nil
        }
        return collection.points.last { $0.operation == start.id }
    }

    /// Removes what the operation left half made; says what.
    private func cleanUp(_ start: OperationStart, _ repository: Repository) -> String {
        if start.kind == "restore" {
            return
                "its tables are there all together or not at all, and the next backup or restore "
                + "removes what it had loaded aside"
        }
        guard let name = start.collection, repository.collection(name) != nil else {
            return "it left nothing behind"
        }
        do {
            let lock = try repository.lock(collection: name)
            let (files, bytes) = try lock.removeUnneeded()
            return files == 0
                ? "it left nothing behind"
                : "removed \(files) unfinished files of \(bytes) bytes"
        } catch {
            return "the next backup removes what it left unfinished"
        }
    }
}
