import Bytes
import Repository
import Synchronization

/// What somebody who isn't looking should hear of: for logs, and for programs to be run.
package enum Event: Sendable {
    /// Something went wrong, or was refused: an item of `errors`.
    case trouble(ErrorLog.Item)
    /// An operation of this process has ended, whichever way, or a scheduled one couldn't begin.
    case ended(Operation)
}

/// Who is told of events. One listener, from when it has been set.
final class EventListener: Sendable {
    private let body = Mutex<Kept<@Sendable (Event) -> Void>?>(nil)

    func set(_ body: @escaping @Sendable (Event) -> Void) {
        self.body.withLock { $0 = Kept(body) }
    }

    func tell(_ event: Event) { body.withLock(\.self)?.closure(event) }
}

extension Engine {
    /// Calls `body` for each event from now on, on any thread; it must not take long.
    package func listen(_ body: @escaping @Sendable (Event) -> Void) { listener.set(body) }

    /// Puts what earlier mounts have remembered into `errors`.
    func recallErrors(_ repository: Repository) {
        errors.recall(
            repository.rememberedErrors().map { error in
                ErrorLog.Item(
                    time: Instant(microseconds: error.time), text: error.text,
                    message: error.message, snippet: error.snippet, collection: error.collection)
            })
    }

    /// Keeps what the journal doesn't tell for mounts to come, as well as that is possible.
    func remember(_ item: ErrorLog.Item) {
        guard item.operation == nil, !options.isReadOnly, let repository else { return }
        try? repository.remember(
            RememberedError(
                time: item.time.microseconds, text: item.text, message: item.message,
                snippet: item.snippet, collection: item.collection))
    }
}
