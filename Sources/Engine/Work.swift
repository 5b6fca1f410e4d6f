import Bytes
import Repository
import Tables

/// What a queued operation does once its turn has come.
enum Work: Sendable {
    case backup(isIncremental: Bool)
    case prune(isDryRun: Bool)

    /// A word for users: `operations/ID/statement` has the whole.
    var kind: String {
        switch self {
        case .backup(let isIncremental): isIncremental ? "incremental" : "full"
        case .prune: "prune"
        }
    }

    /// Whether the collection has a full backup once this is done.
    var makesFull: Bool {
        switch self {
        case .backup(let isIncremental): !isIncremental
        case .prune: false
        }
    }
}

extension Engine {
    /// Carries out the work of an operation that has begun. Throws `.cancelled` if it was asked to
    /// stop.
    func perform(_ work: Work, _ operation: Operation) throws {
        switch work {
        case .backup(let isIncremental):
            guard let database, let repository else {
                throw Failure(.unsupported, "\(location) has no database to back up")
            }
            let job = BackupJob(
                repository: repository, source: try database.open(nil),
                collection: operation.collection, isIncremental: isIncremental,
                operation: operation, limits: options.limits, cache: cache)
            let point = try job.run()
            operation.update { $0.point = point }
        case .prune(let isDryRun):
            guard let repository else { throw Failure(.notFound, "nothing was ever stored") }
            try PruneJob(
                repository: repository, collection: operation.collection, isDryRun: isDryRun,
                operation: operation
            ).run()
        }
    }
}
