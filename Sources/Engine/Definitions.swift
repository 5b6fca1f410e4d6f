import Bytes
import Repository
import Tables

/// CREATE, ALTER and DROP, which are carried out at once.
extension Engine {
    func carryOut(_ step: Plan.Step, _ operation: Operation) throws(Failure) {
        _ = operation.start()
        do {
            let repository = try makeRepository()
            let lock = try repository.patientLock(collection: operation.collection, seconds: 1)
            switch step {
            case .define(let definition, let before, let notes):
                guard lock.current?.definition == before else {
                    throw Failure(
                        .busy,
                        "collection \(definition.name) was defined by another process meanwhile: "
                            + "try again")
                }
                try lock.append(.define(definition))
                operation.update { $0.notes += notes }
                if Schedule(definition) != nil {
                    operation.update {
                        $0.notes.append("scheduled backups are taken while it is mounted")
                    }
                }
                if let before { adaptCapture(operation, before, definition) }
            case .drop:
                let kept = try CollectionSettings(
                    stored: lock.current?.definition?.settings ?? [:]
                ).keepDropped
                try lock.append(.drop)
                try Retention(repository: repository, lock: lock).removeUnneeded()
                if kept.seconds > 0 {
                    operation.update {
                        $0.notes.append(
                            "its points can be had back for \(kept): CREATE it again and UNDROP them"
                        )
                    }
                }
                removeCapture(operation)
            case .alterPoints(let changes):
                for change in changes { try change.apply(lock) }
                try Retention(repository: repository, lock: lock).removeUnneeded()
            case .queue: preconditionFailure("it is to be queued")
            }
            end(operation, .done)
        } catch {
            let failure = error as? Failure ?? Failure(.system, "\(error)")
            end(operation, .failed, error: failure.message)
            throw failure
        }
    }

    /// Takes out of the database what captured the changes of tables that are no members any more.
    /// What is to be captured from now on is seen to by the next backup.
    private func adaptCapture(
        _ operation: Operation, _ before: CollectionDefinition, _ now: CollectionDefinition
    ) {
        guard before.isCapturing else { return }
        if !now.isCapturing { return removeCapture(operation) }
        guard before.tables.contains(where: { !now.tables.contains($0) }) else { return }
        do {
            let lines = try database?.open(Self.handlerPatience).prepare(
                collection: now.name, tables: now.tables,
                rows: collection(now.name)?.newestRows ?? [:], capture: .auto)
            operation.update { $0.notes += lines ?? [] }
        } catch {
            operation.update {
                $0.notes.append(
                    "what captured the changes of dropped tables is removed by the next backup: "
                        + ((error as? Failure)?.message ?? "\(error)"))
            }
        }
    }

    /// What was put into the database for the collection; it does no harm if it must stay.
    private func removeCapture(_ operation: Operation) {
        do {
            try database?.open(Self.handlerPatience).remove(collection: operation.collection)
        } catch {
            operation.update {
                $0.notes.append(
                    "change capture couldn't be removed from the database: "
                        + ((error as? Failure)?.message ?? "\(error)"))
            }
        }
    }
}
