import Bytes
import Synchronization

/// Finds out, on threads of its own, what nodes need before they can be shown: so that the threads
/// that serve the kernel never wait for it. Who asks for the same file waits for the same work; work
/// that nobody waits for any more ends.
final class Preparations: Sendable {
    /// With the node that was prepared: of those that are the same file, the one that was asked for first.
    typealias Reply = @Sendable (Result<any TreeNode, Errno>) -> Void

    private struct Work {
        let node: any TreeNode
        /// By number.
        var replies: [UInt64: Reply] = [:]
        let isAbandoned = Flag()
        var hasBegun = false
    }

    /// Whether nobody waits any more.
    private final class Flag: Sendable {
        let isSet = Atomic(false)
    }

    private enum Start {
        case waiting(number: UInt64)
        case refused(Errno)
    }

    private struct State {
        var queue: [FileIdentity] = []
        var works: [FileIdentity: Work] = [:]
        var nextReply: UInt64 = 1
        var threads: [WorkerThread] = []
        var isClosed = false
    }

    private static let threadsMax = 2
    private let state = Monitor(State())

    /// Replies once the node is prepared, failed or interrupted. Returns what interrupts it, or nil if
    /// it has replied.
    func prepare(_ node: any TreeNode, _ reply: @escaping Reply) -> (@Sendable () -> Void)? {
        let identity = node.identity
        let start = state.update { state -> Start in
            if state.isClosed { return .refused(.interrupted) }
            startThread(&state)
            if state.threads.isEmpty { return .refused(.again) }
            if state.works[identity]?.isAbandoned.isSet.load(ordering: .relaxed) != false {
                state.works[identity] = Work(node: node)
                state.queue.append(identity)
            }
            defer { state.nextReply += 1 }
            state.works[identity]!.replies[state.nextReply] = reply
            return .waiting(number: state.nextReply)
        }
        guard case .waiting(let number) = start else {
            if case .refused(let errno) = start { reply(.failure(errno)) }
            return nil
        }
        return { [self] in interrupt(identity, number) }
    }

    private func startThread(_ state: inout State) {
        guard state.threads.count < Self.threadsMax else { return }
        if let thread = try? WorkerThread({ [weak self] in self?.work() }) {
            state.threads.append(thread)
        }
    }

    private func interrupt(_ identity: FileIdentity, _ number: UInt64) {
        let reply = state.update { state -> Reply? in
            let reply = state.works[identity]?.replies.removeValue(forKey: number)
            if reply != nil, state.works[identity]!.replies.isEmpty {
                state.works[identity]!.isAbandoned.isSet.store(true, ordering: .relaxed)
            }
            return reply
        }
        reply?(.failure(.interrupted))
    }

    private func work() {
        while true {
            let next: (FileIdentity, Work)?? = state.wait { state in
                if state.isClosed { return .some(nil) }
                while !state.queue.isEmpty {
                    let identity = state.queue.removeFirst()
                    // One that was given up may stand in the queue besides the next for the same file.
                    guard let work = state.works[identity], !work.hasBegun else { continue }
                    state.works[identity]!.hasBegun = true
                    return .some((identity, work))
                }
                return nil
            }
            guard case .some(.some(let (identity, work))) = next else { return }
            let result = Self.run(work.node, work.isAbandoned)
            let replies = state.update { state -> [Reply] in
                // Another may have been begun for the same file since.
                guard let present = state.works[identity], present.isAbandoned === work.isAbandoned
                else { return [] }
                state.works[identity] = nil
                return Array(present.replies.values)
            }
            for reply in replies { reply(result) }
        }
    }

    private static func run(
        _ node: any TreeNode, _ isAbandoned: Flag
    ) -> Result<any TreeNode, Errno> {
        do {
            try node.prepare {
                if isAbandoned.isSet.load(ordering: .relaxed) {
                    throw Failure("nobody waits for it", errno: .interrupted)
                }
            }
            return .success(node)
        } catch {
            return .failure((error as? Failure)?.errno ?? (error as? Errno) ?? .io)
        }
    }

    /// Ends what is being worked on, and replies to everybody.
    func close() {
        let (threads, replies) = state.update { state in
            state.isClosed = true
            let replies = state.works.values.flatMap(\.replies.values)
            for work in state.works.values {
                work.isAbandoned.isSet.store(true, ordering: .relaxed)
            }
            state.works = [:]
            state.queue = []
            defer { state.threads = [] }
            return (state.threads, replies)
        }
        for reply in replies { reply(.failure(.interrupted)) }
        for thread in threads { thread.join() }
    }
}
