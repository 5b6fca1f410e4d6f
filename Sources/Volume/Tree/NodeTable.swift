import Synchronization

/// The nodes that the kernel knows: a number each, counted up and never used again, for as long as the
/// kernel has looked it up more often than it has forgotten it.
final class NodeTable: Sendable {
    private struct Known {
        let node: any TreeNode
        var lookups: UInt64
    }

    private struct State {
        var known: [NodeID: Known] = [:]
        var ids: [FileIdentity: NodeID] = [:]
        var next: NodeID = rootID + 1
    }

    static let rootID: NodeID = 1
    private let root: any TreeNode
    private let state = Mutex(State())

    init(root: any TreeNode) { self.root = root }

    /// How many the kernel knows, the root left out.
    var count: Int { state.withLock(\.known.count) }

    /// Counts a look-up. The node that is known already if it is the same file: what was found out for
    /// it is kept there.
    func add(_ node: any TreeNode) -> (id: NodeID, node: any TreeNode) {
        let identity = node.identity
        return state.withLock { state in
            if let id = state.ids[identity] {
                state.known[id]!.lookups += 1
                return (id, state.known[id]!.node)
            }
            let id = state.next
            state.next += 1
            state.ids[identity] = id
            state.known[id] = Known(node: node, lookups: 1)
            return (id, node)
        }
    }

    /// The node that is known, if it is the same file.
    func known(_ node: any TreeNode) -> any TreeNode {
        let identity = node.identity
        return state.withLock { state in
            state.ids[identity].flatMap { state.known[$0]?.node } ?? node
        }
    }

    /// So many look-ups less.
    func forget(_ id: NodeID, _ lookups: UInt64) {
        // Freed behind the lock.
        _ = state.withLock { state -> Known? in
            guard let known = state.known[id] else { return nil }
            if known.lookups > lookups {
                state.known[id]!.lookups -= lookups
                return nil
            }
            state.ids[known.node.identity] = nil
            return state.known.removeValue(forKey: id)
        }
    }

    subscript(_ id: NodeID) -> (any TreeNode)? {
        id == Self.rootID ? root : state.withLock { $0.known[id]?.node }
    }
}
