import Bytes
import Glibc
import Repository
import Tables

/// What an engine knows of a place where others make backups while it looks there.
struct PullKeeping {
    /// What lay there at the last look.
    var seen: [SourceCollection]?
    /// What lay there when it was last imported: a failed import is repeated when something has changed.
    var attempted: [SourceCollection]?
    /// What was said already.
    var told: Set<String> = []
}

/// `-o pull=new`: backups that others make while a mount is there are imported.
extension Engine {
    /// Looks for them from now on until it is closed.
    package func keepPulling(every seconds: Double) {
        guard options.points != nil, !options.isReadOnly else { return }
        do throws(Failure) {
            try untilClosed {
                $0.pullNew()
                return seconds
            }
        } catch {
            errors.add("pull=new", message: "\(error.message): no new backups are imported")
        }
    }

    /// Imports what is new, if it lay there just so at the last look too: who copies files there may not be
    /// done yet.
    package func pullNew() {
        guard let source = options.points else { return }
        do {
            let found = try source.listCollections()
            let keeping = state.withLock { state in
                defer { state.pulls.seen = found }
                return state.pulls
            }
            guard keeping.seen == found, keeping.attempted != found, isIdle,
                repository == nil || keepsSchedules()
            else { return }
            let (statements, notes) = try newPoints()
            tell(notes)
            if !statements.isEmpty { _ = try submit(statements, owner: geteuid()) }
            state.withLock { $0.pulls.attempted = found }
        } catch let failure as Failure {
            // Whoever is at work now won't be for ever.
            if failure.code == .busy || failure.code == .queueFull { return }
            tell([failure.message])
        } catch {
            tell(["\(error)"])
        }
    }

    private var isIdle: Bool {
        state.withLock { state in
            state.queues.values.joined().allSatisfy(\.operation.status.state.isFinal)
        }
    }

    /// What has changed or waits is told once, as long as it stays.
    private func tell(_ notes: [String]) {
        let new = state.withLock { state in
            defer { state.pulls.told = Set(notes) }
            return notes.filter { !state.pulls.told.contains($0) }
        }
        for note in new { errors.add("pull=new", message: note) }
    }
}
