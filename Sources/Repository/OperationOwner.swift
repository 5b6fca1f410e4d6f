import Bytes
import Synchronization

/// Who runs operations: somebody who can be asked whether he is still there.
///
/// Each process that runs operations holds a lock on a file of its own beside their journal and names
/// it in what it runs. The lock ends with the process, whatever ends that: a signal, its container, the
/// machine. So a free lock, or no file, is proof that nobody works on it any more, and needs no
/// knowledge of process numbers, containers or hosts.
final class OperationOwner: Sendable {
    private let storage: any Storage
    private let state = Mutex<(name: String, lock: any StorageLock)?>(nil)

    private static let directory = "operations"
    private static let prefix = "owner-"

    init(_ storage: any Storage) { self.storage = storage }

    /// The name of this process's file, made and locked when it is first needed.
    func name() throws -> String {
        try state.withLock { state in
            if let known = state, try known.lock.isHeld { return known.name }
            // Somebody who saw the file before it was locked may have taken it for one left behind.
            for _ in 0..<Self.attempts {
                let name = Self.prefix + randomHex()
                guard let lock = try storage.lock(Self.object(name)), try lock.isHeld else {
                    continue
                }
                state = (name, lock)
                return name
            }
            throw Failure(
                .busy, "can't lock a file in \(storage.location)/\(Self.directory): try again")
        }
    }

    private static let attempts = 100

    private static func object(_ name: String) -> String { "\(directory)/\(name)" }

    /// Whether the process that named this file has ended. What can't be looked at counts as running.
    func hasEnded(_ name: String) -> Bool {
        // A record may say anything.
        guard Self.isName(name) else { return true }
        if state.withLock({ $0?.name == name }) { return false }
        do {
            return try !storage.isLocked(Self.object(name))
        } catch {
            // Something else has its place: nobody has a lock on it.
            return (error as? Failure)?.code == .corrupt
        }
    }

    func isOwn(_ name: String?) -> Bool {
        name != nil && state.withLock { $0?.name == name }
    }

    private static func isName(_ name: String) -> Bool {
        name.hasPrefix(prefix) && isHex(name.dropFirst(prefix.count), count: 32)
    }

    /// Removes the files of those that have ended.
    func removeEnded(among listed: [String]) throws {
        for name in listed where Self.isName(name) && hasEnded(name) {
            try storage.remove(Self.object(name))
        }
    }

    /// This process runs no operations any more.
    func end() {
        let ended = state.withLock { state in
            defer { state = nil }
            return state
        }
        if let ended { try? storage.remove(Self.object(ended.name)) }
    }
}
