import Bytes
import Repository

/// Statements about a collection's points.
extension Plan {
    /// Changes to points, which no definition says.
    func alterPoints(
        _ statement: Statement, _ changes: [(change: PointChange, position: SourcePosition)]
    ) throws(Failure) -> Step {
        let name = statement.collection.name
        guard let collection = engine.collection(name) else {
            throw Failure(.notFound, "\(name) has no points yet")
        }
        for (change, position) in changes {
            do throws(Failure) {
                _ = try change.entry(collection)
            } catch {
                throw statement.refusal(error.code, error.message, at: position)
            }
        }
        return .alterPoints(changes.map(\.change))
    }

    func prune(
        _ statement: Statement, isDryRun: Bool, _ state: inout Expected
    ) throws(Failure) -> Step {
        let name = statement.collection.name
        try require(statement, state)
        guard state.hasPolicy || hasLeavings(name) else {
            throw statement.refusal(
                .invalid, PruneJob.emptyPolicy(name), at: statement.position)
        }
        try checkQueue(name, state)
        if state.queued == 0 { try checkLock(name) }
        state.queued += 1
        return .queue(.prune(isDryRun: isDryRun))
    }

    /// Whether there is something to remove even if every point stays.
    private func hasLeavings(_ name: String) -> Bool {
        guard let repository = engine.repository, let collection = engine.collection(name) else {
            return false
        }
        return (try? Retention.hasLeavings(collection, now: repository.options.now())) ?? false
    }
}
