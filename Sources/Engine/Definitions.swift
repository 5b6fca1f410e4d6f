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
            case .alterPoints(let changes):
                for change in changes { try change.apply(lock) }
                try Retention(repository: repository, lock: lock).removeUnneeded()
            case .queue, .answer: preconditionFailure("it is to be queued")
            }
            end(operation, .done)
        } catch {
            let failure = error as? Failure ?? Failure(.system, "\(error)")
            end(operation, .failed, error: failure.message)
            throw failure
        }
    }
}
