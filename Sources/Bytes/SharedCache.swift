/// Values made on demand, shared by all threads, bounded in bytes, least recently used out first.
///
/// Concurrent requests for one key make it once: the others wait. What can't be made is not
/// remembered: the next request tries again.
package final class SharedCache: Sendable {
    /// What a value is: unique over everything that shares the cache.
    package struct Key: Hashable, Sendable {
        /// Who keeps it here; see `newOwner`.
        package var owner: UInt64
        package var kind: UInt8
        package var a: UInt64
        package var b: UInt64
        package var c: UInt64

        package init(owner: UInt64, kind: UInt8, _ a: UInt64, _ b: UInt64 = 0, _ c: UInt64 = 0) {
            self.owner = owner
            self.kind = kind
            self.a = a
            self.b = b
            self.c = c
        }
    }

    private final class Node {
        let key: Key
        var value: (any AnyObject & Sendable)?
        var bytes = 0
        unowned(unsafe) var newer: Node?
        unowned(unsafe) var older: Node?

        init(_ key: Key) { self.key = key }
    }

    private struct State {
        var nodes: [Key: Node] = [:]
        var newest: Node?
        var oldest: Node?
        var bytes = 0
        var hits: UInt64 = 0
        var misses: UInt64 = 0
        var owners: UInt64 = 0
    }

    package let maxBytes: Int
    private let state = Monitor(State())

    /// What an entry takes besides its value: the node, its place in the table, which is between a third
    /// and three quarters full, and what the allocator adds to each. Values are told without.
    package static let entryBytes = 256

    package init(maxBytes: Int) { self.maxBytes = maxBytes }

    /// A number for the `owner` of keys.
    package func newOwner() -> UInt64 {
        state.withLock {
            $0.owners += 1
            return $0.owners
        }
    }

    package struct Figures: Sendable {
        package var bytes: Int
        package var hits: UInt64
        package var misses: UInt64
    }

    package var figures: Figures {
        state.withLock { Figures(bytes: $0.bytes, hits: $0.hits, misses: $0.misses) }
    }

    /// The value if it is here, or somebody is making it: for deciding whether to read ahead.
    package func contains(_ key: Key) -> Bool { state.withLock { $0.nodes[key] != nil } }

    /// Drops a value that nobody is going to ask for again, so that its memory serves the next one.
    package func forget(_ key: Key) {
        // Freed behind the lock.
        _ = state.withLock { state -> Node? in
            guard let node = state.nodes[key], node.value != nil else { return nil }
            Self.unlink(node, &state)
            state.bytes -= node.bytes
            state.nodes[key] = nil
            return node
        }
    }

    /// The value of `key`; `make` answers it and its size in bytes. One kind of key has values of one
    /// type.
    @inlinable
    package func value<V: AnyObject & Sendable>(
        _ key: Key, make: () throws -> (V, bytes: Int)
    ) throws -> V {
        if let present = begin(key) { return unsafeDowncast(present, to: V.self) }
        do {
            let (value, bytes) = try make()
            finish(key, value, bytes: bytes)
            return value
        } catch {
            abandon(key)
            throw error
        }
    }

    /// The value, once nobody is making it any more; nil if it isn't there: the caller makes it then.
    @usableFromInline
    func begin(_ key: Key) -> (any AnyObject & Sendable)? {
        state.wait { state -> (any AnyObject & Sendable)?? in
            guard let node = state.nodes[key] else {
                state.nodes[key] = Node(key)
                state.misses += 1
                return .some(nil)
            }
            guard let value = node.value else { return nil }
            state.hits += 1
            if state.newest !== node {
                Self.unlink(node, &state)
                Self.linkNewest(node, &state)
            }
            return .some(value)
        }
    }

    @usableFromInline
    func finish(_ key: Key, _ value: any AnyObject & Sendable, bytes: Int) {
        state.update { insert(value, bytes, key, &$0) }
    }

    @usableFromInline
    func abandon(_ key: Key) { state.update { $0.nodes[key] = nil } }

    private func insert(
        _ value: any AnyObject & Sendable, _ bytes: Int, _ key: Key, _ state: inout State
    ) {
        let node = state.nodes[key]!
        node.value = value
        node.bytes = bytes + Self.entryBytes
        state.bytes += node.bytes
        Self.linkNewest(node, &state)
        while state.bytes > maxBytes, let oldest = state.oldest, oldest !== node {
            Self.unlink(oldest, &state)
            state.bytes -= oldest.bytes
            state.nodes[oldest.key] = nil
        }
    }

    private static func linkNewest(_ node: Node, _ state: inout State) {
        node.older = state.newest
        node.newer = nil
        state.newest?.newer = node
        state.newest = node
        if state.oldest == nil { state.oldest = node }
    }

    private static func unlink(_ node: Node, _ state: inout State) {
        if let newer = node.newer { newer.older = node.older } else { state.newest = node.older }
        if let older = node.older { older.newer = node.newer } else { state.oldest = node.newer }
    }
}
