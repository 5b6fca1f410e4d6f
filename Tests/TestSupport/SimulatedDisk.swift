import Bytes
import Glibc
import Repository
import Synchronization

/// A file system in memory that remembers what was synced, counts every call, and can die, refuse
/// or fall short at any of them.
///
/// As on a real one, `fsync` of a file makes its bytes durable but not its name, `fsync` of a
/// directory the names but not the bytes.
package final class SimulatedDisk: SystemCalls {
    package enum Fault: Sendable {
        /// The process ends in the middle of this call: half of what it would write is written.
        case kill
        case error(Int32)
    }

    package enum PowerCut: Sendable, CaseIterable {
        /// Only the process died.
        case none
        /// All that wasn't synced is gone.
        case unsyncedLost
        /// Each name and each file that wasn't synced is there, gone, or torn, by chance.
        case torn
    }

    private struct Node: Sendable {
        var isDirectory: Bool
        var bytes: [UInt8] = []
        var syncedBytes: [UInt8] = []
        var names: [String: Int] = [:]
        var syncedNames: [String: Int] = [:]
        var modified: Int64 = 0
    }

    private struct State: Sendable {
        var nodes: [Int: Node] = [0: Node(isDirectory: true)]
        var open: [Int32: Int] = [:]
        /// Which open file holds the lock of a node.
        var locks: [Int: Int32] = [:]
        var nextNode = 1
        var nextDescriptor: Int32 = 3
        var calls = 0
        var faults: [Int: Fault] = [:]
        /// Of the calls, those that write.
        var changes = 0
        var changeFaults: [Int: Fault] = [:]
        var isDead = false
        package var trace: [String] = []
        var largestTransfer = Int.max
        /// Errors of opening these files.
        var refusals: [String: Int32] = [:]
        var hasLinks = true
        var hasRenamingNew = true
        var hasSyncAll = true
        var now: Int64 = 0
    }

    private let state: Mutex<State>

    package init() { state = Mutex(State()) }

    private init(_ given: State) { state = Mutex(given) }

    // MARK: What tests do with it

    package var calls: Int { state.withLock { $0.calls } }
    package var trace: [String] { state.withLock { $0.trace } }
    package func forgetTrace() { state.withLock { $0.trace = [] } }
    package func fail(at call: Int, _ fault: Fault) { state.withLock { $0.faults[call] = fault } }
    /// How many calls there were that write, and a fault at one of them: between two of these the disk
    /// stays as it is.
    package var changes: Int { state.withLock { $0.changes } }
    package func fail(atChange change: Int, _ fault: Fault) {
        state.withLock { $0.changeFaults[change] = fault }
    }
    /// No fault from here on.
    package func heal() {
        state.withLock { state in
            state.faults = [:]
            state.changeFaults = [:]
        }
    }
    package func limitTransfers(_ bytes: Int) { state.withLock { $0.largestTransfer = bytes } }
    package func forbidSyncAll() { state.withLock { $0.hasSyncAll = false } }
    package func refuseReading(_ path: String, _ error: Int32) {
        state.withLock { $0.refusals[path] = error }
    }
    package func forbidLinks() { state.withLock { $0.hasLinks = false } }
    package func forbidRenamingNew() { state.withLock { $0.hasRenamingNew = false } }

    /// The disk as the next process finds it.
    package func survivor(_ cut: PowerCut, seed: UInt64 = 0) -> SimulatedDisk {
        var random = SeededGenerator(seed: seed)
        return state.withLock { state in
            var next = State()
            next.nodes = state.nodes
            next.nextNode = state.nextNode
            for (number, node) in state.nodes.sorted(by: { $0.key < $1.key }) {
                next.nodes[number] = Self.survivor(node, cut, &random)
            }
            return SimulatedDisk(next)
        }
    }

    private static func survivor(
        _ node: Node, _ cut: PowerCut, _ random: inout SeededGenerator
    ) -> Node {
        var node = node
        switch cut {
        case .none: break
        case .unsyncedLost:
            node.bytes = node.syncedBytes
            node.names = node.syncedNames
        case .torn:
            for name in Set(node.names.keys).union(node.syncedNames.keys).sorted()
            where node.names[name] != node.syncedNames[name] {
                if Bool.random(using: &random) { node.names[name] = node.syncedNames[name] }
            }
            if node.bytes != node.syncedBytes {
                let kept = Int.random(in: node.syncedBytes.count...node.bytes.count, using: &random)
                let zeros = [UInt8](repeating: 0, count: Int.random(in: 0...512, using: &random))
                node.bytes = node.bytes.prefix(kept) + zeros
            }
        }
        node.syncedBytes = node.bytes
        node.syncedNames = node.names
        return node
    }

    /// Files by path.
    package func files() -> [String: [UInt8]] {
        func walk(_ node: Int, _ path: String, _ nodes: [Int: Node]) -> [String: [UInt8]] {
            guard let found = nodes[node] else { return [:] }
            if !found.isDirectory { return [path: found.bytes] }
            return found.names.reduce(into: [:]) { files, child in
                files.merge(walk(child.value, "\(path)/\(child.key)", nodes)) { $1 }
            }
        }
        return state.withLock { walk(0, "", $0.nodes) }
    }

    /// Puts a file there, durably, over whatever there was.
    package func put(_ path: String, _ bytes: [UInt8]?) {
        state.withLock { state in
            let (parent, name) = try! Self.parent(path, state)
            let number = state.nextNode
            state.nextNode += 1
            state.nodes[parent]!.names[name] = bytes == nil ? nil : number
            state.nodes[parent]!.syncedNames[name] = bytes == nil ? nil : number
            if let bytes {
                state.nodes[number] = Node(isDirectory: false, bytes: bytes, syncedBytes: bytes)
            }
        }
    }

    // MARK: Machinery

    private static func find(_ path: String, _ state: State) throws(Errno) -> Int {
        var node = 0
        for name in path.split(separator: "/") {
            guard let next = state.nodes[node]!.names[String(name)] else {
                throw Errno(rawValue: ENOENT)
            }
            node = next
        }
        return node
    }

    private static func parent(_ path: String, _ state: State) throws(Errno) -> (Int, String) {
        let parts = path.split(separator: "/").map(String.init)
        return (try find(parts.dropLast().joined(separator: "/"), state), parts.last!)
    }

    /// One call: counted, written down, and failed if a fault is planned for it. `half` is done
    /// when the process is killed in it.
    private func call<R: Sendable>(
        _ line: String, writes: Bool = false, half: (inout State) -> Void = { _ in },
        _ body: (inout State) throws(Errno) -> R
    ) throws(Errno) -> R {
        let result: Result<R, Errno> = state.withLock { state in
            if state.isDead { return .failure(Errno(rawValue: EIO)) }
            state.calls += 1
            state.trace.append(line)
            if writes { state.changes += 1 }
            let atChange = writes ? state.changeFaults[state.changes] : nil
            switch state.faults[state.calls] ?? atChange {
            case .kill:
                half(&state)
                state.isDead = true
                return .failure(Errno(rawValue: EIO))
            case .error(let number): return .failure(Errno(rawValue: number))
            case nil: break
            }
            do throws(Errno) {
                return .success(try body(&state))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private func name(_ descriptor: Int32) -> String {
        state.withLock { state in
            guard let node = state.open[descriptor] else { return "?" }
            func walk(_ at: Int, _ path: String) -> String? {
                if at == node { return path }
                for (name, child) in state.nodes[at]?.names ?? [:] {
                    if let found = walk(child, "\(path)/\(name)") { return found }
                }
                return nil
            }
            return walk(0, "") ?? "?"
        }
    }

    // MARK: Calls

    package func open(_ path: String, _ access: FileAccess) throws(Errno) -> Int32 {
        try call("open \(access) \(path)", writes: access == .create) { (state) throws(Errno) in
            if let error = state.refusals[path] { throw Errno(rawValue: error) }
            let found = try? Self.find(path, state)
            if found != nil, access == .create { throw Errno(rawValue: EEXIST) }
            if found == nil {
                guard access == .create || access == .lock else { throw Errno(rawValue: ENOENT) }
                let (parent, name) = try Self.parent(path, state)
                state.nodes[state.nextNode] = Node(isDirectory: false)
                state.nodes[parent]!.names[name] = state.nextNode
                state.nextNode += 1
            }
            let node = try Self.find(path, state)
            let descriptor = state.nextDescriptor
            state.nextDescriptor += 1
            state.open[descriptor] = node
            return descriptor
        }
    }

    package func close(_ descriptor: Int32) {
        state.withLock { state in
            if let node = state.open.removeValue(forKey: descriptor),
                state.locks[node] == descriptor
            {
                state.locks[node] = nil
            }
        }
    }

    package func read(
        _ descriptor: Int32, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(Errno) -> Int {
        let capacity = buffer.count
        let found = try call("read \(name(descriptor))") { (state) throws(Errno) in
            let bytes = state.nodes[state.open[descriptor]!]!.bytes
            return Array(bytes.dropFirst(Int(offset)).prefix(min(capacity, state.largestTransfer)))
        }
        buffer.copyBytes(from: found)
        return found.count
    }

    package func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(Errno) -> Int {
        let bytes = [UInt8](bytes)
        return try call(
            "write \(name(descriptor))", writes: true,
            half: { state in
                state.nodes[state.open[descriptor]!]!.bytes += bytes.prefix(bytes.count / 2)
            },
            { (state) throws(Errno) in
                let taken = bytes.prefix(state.largestTransfer)
                state.nodes[state.open[descriptor]!]!.bytes += taken
                return taken.count
            })
    }

    package func sync(_ descriptor: Int32) throws(Errno) {
        try call("sync \(name(descriptor))", writes: true) { (state) throws(Errno) in
            Self.sync(state.open[descriptor]!, &state)
        }
    }

    package func canSyncAll(_ descriptor: Int32) -> Bool { state.withLock { $0.hasSyncAll } }

    package func syncAll(_ descriptor: Int32) throws(Errno) {
        try call(
            "sync all", writes: true,
            half: { state in
                for number in state.nodes.keys where number % 2 == 0 { Self.sync(number, &state) }
            },
            { (state) throws(Errno) in
                for number in state.nodes.keys { Self.sync(number, &state) }
            })
    }

    private static func sync(_ number: Int, _ state: inout State) {
        state.nodes[number]!.syncedBytes = state.nodes[number]!.bytes
        state.nodes[number]!.syncedNames = state.nodes[number]!.names
    }

    package func size(_ descriptor: Int32) throws(Errno) -> UInt64 {
        try call("size") { (state) throws(Errno) in
            UInt64(state.nodes[state.open[descriptor]!]!.bytes.count)
        }
    }

    package func link(_ path: String, as name: String) throws(Errno) {
        try call("link \(path) \(name)", writes: true) { (state) throws(Errno) in
            guard state.hasLinks else { throw Errno(rawValue: EPERM) }
            try Self.add(Self.find(path, state), name, &state)
        }
    }

    package func rename(_ path: String, to name: String) throws(Errno) {
        try call("rename \(path) \(name)", writes: true) { (state) throws(Errno) in
            let node = try Self.find(path, state)
            let (parent, last) = try Self.parent(path, state)
            state.nodes[parent]!.names[last] = nil
            let (newParent, newLast) = try Self.parent(name, state)
            state.nodes[newParent]!.names[newLast] = node
        }
    }

    package func renameNew(_ path: String, to name: String) throws(Errno) {
        try call("rename \(path) \(name)", writes: true) { (state) throws(Errno) in
            guard state.hasRenamingNew else { throw Errno(rawValue: EINVAL) }
            try Self.add(Self.find(path, state), name, &state)
            let (parent, last) = try Self.parent(path, state)
            state.nodes[parent]!.names[last] = nil
        }
    }

    private static func add(_ node: Int, _ path: String, _ state: inout State) throws(Errno) {
        let (parent, name) = try parent(path, state)
        guard state.nodes[parent]!.names[name] == nil else { throw Errno(rawValue: EEXIST) }
        state.nodes[parent]!.names[name] = node
    }

    package func unlink(_ path: String) throws(Errno) {
        try call("unlink \(path)", writes: true) { (state) throws(Errno) in
            _ = try Self.find(path, state)
            let (parent, name) = try Self.parent(path, state)
            state.nodes[parent]!.names[name] = nil
        }
    }

    package func makeDirectory(_ path: String) throws(Errno) {
        try call("mkdir \(path)", writes: true) { (state) throws(Errno) in
            let node = state.nextNode
            try Self.add(node, path, &state)
            state.nextNode += 1
            state.nodes[node] = Node(isDirectory: true)
        }
    }

    package func removeDirectory(_ path: String) throws(Errno) {
        try call("rmdir \(path)", writes: true) { (state) throws(Errno) in
            guard state.nodes[try Self.find(path, state)]!.names.isEmpty else {
                throw Errno(rawValue: ENOTEMPTY)
            }
            let (parent, name) = try Self.parent(path, state)
            state.nodes[parent]!.names[name] = nil
        }
    }

    package func list(_ path: String) throws(Errno) -> [String] {
        try call("list \(path)") { (state) throws(Errno) in
            Array(state.nodes[try Self.find(path, state)]!.names.keys)
        }
    }

    package func status(_ path: String) throws(Errno) -> FileStatus {
        try call("status \(path)") { (state) throws(Errno) in
            let number = try Self.find(path, state)
            let node = state.nodes[number]!
            return FileStatus(
                kind: node.isDirectory ? .directory : .file,
                sizeBytes: UInt64(node.bytes.count), modified: node.modified,
                number: UInt64(number))
        }
    }

    package func lock(_ descriptor: Int32) throws(Errno) {
        try call("lock \(name(descriptor))") { (state) throws(Errno) in
            let node = state.open[descriptor]!
            if let holder = state.locks[node], holder != descriptor {
                throw Errno(rawValue: EAGAIN)
            }
            state.locks[node] = descriptor
        }
    }

    package func isLocked(_ descriptor: Int32) throws(Errno) -> Bool {
        try call("look for lock \(name(descriptor))") { (state) throws(Errno) in
            let holder = state.locks[state.open[descriptor]!]
            return holder != nil && holder != descriptor
        }
    }

    package func number(_ descriptor: Int32) throws(Errno) -> UInt64 {
        state.withLock { UInt64($0.open[descriptor]!) }
    }

    package func space(_ path: String) throws(Errno) -> Space {
        try call("space") { (_) throws(Errno) in
            Space(
                blockBytes: 4096, blocks: 1_000_000, blocksFree: 500_000,
                blocksAvailable: 400_000, files: 9)
        }
    }
}
