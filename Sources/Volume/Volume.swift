import Bytes
import Engine
import Repository
import Synchronization
import Tables

/// The tree that one mount shows.
///
/// The kernel's requests come in through `FileSystem`, tests call the same methods. What there is and
/// what it shows is said by the nodes in `Tree`; here are the numbers that the kernel knows them by,
/// what is open, and what waits for an answer.
package final class Volume: FileSystem {
    package struct Options: Sendable {
        /// Owner of every file.
        package var uid: UInt32
        package var gid: UInt32
        /// Permissions of directories, and the most of all files but those that may be written to.
        package var directoryMode: UInt16 = 0o755
        package var fileMode: UInt16 = 0o444
        /// Permissions of control files.
        package var controlMode: UInt16 = 0o600
        /// What is shown of every table.
        package var formats = Set(RowFormat.all)
        /// A data file of a dump ends with the page that reaches so many bytes.
        package var dumpFileBytes: UInt64 = 100_000_000
        package var polling = Polling.local
        /// Where what is rendered as a whole is kept; nil: where temporary files are.
        package var spoolDirectory: String?
        /// Bytes of all of it.
        package var spoolBytes: UInt64 = 1 << 30

        package init(uid: UInt32, gid: UInt32) {
            self.uid = uid
            self.gid = gid
        }
    }

    private struct State {
        var handles: [UInt64: any OpenFile] = [:]
        var nextHandle: UInt64 = 1
        /// What interrupts an answer that is waited for; nothing as long as it is being asked for.
        var waits: [UInt64: (@Sendable () -> Void)?] = [:]
        var nextWait: UInt64 = 1
        var isClosed = false
    }

    let tree: TreeContext
    private let nodes: NodeTable
    private let state = Monitor(State())
    private let preparations = Preparations()
    private let refresher = Mutex<WorkerThread?>(nil)

    /// Throws if there is no thread to be had that looks for what other processes do.
    ///
    /// - Parameter source: what the user named, for the mount's README.
    package init(engine: Engine, source: String, options: Options) throws(Failure) {
        tree = TreeContext(engine: engine, source: source, options: options)
        nodes = NodeTable(root: RootDirectory(tree))
        do {
            let thread = try WorkerThread { [weak self] in Self.refreshLoop { self } }
            refresher.withLock { $0 = thread }
        } catch {
            tree.prefetcher.close()
            throw error
        }
    }

    /// Ends the threads behind it; what is open stays readable.
    package func close() {
        state.update { $0.isClosed = true }
        refresher.withLock {
            $0?.join()
            $0 = nil
        }
        preparations.close()
        tree.prefetcher.close()
    }

    private static func refreshLoop(_ volume: () -> Volume?) {
        var last = RequestTimes.now
        while let volume = volume() {
            let polling = volume.tree.options.polling
            let isClosed: Bool? = volume.state.wait(seconds: polling.seconds) {
                $0.isClosed ? true : nil
            }
            if isClosed == true { return }
            let now = RequestTimes.now
            guard polling.isDue(now: now, last: last, request: volume.requests.last) else {
                continue
            }
            last = now
            // What can't be read now is tried again; a damaged log shows in `status`.
            _ = try? volume.tree.engine.refresh()
        }
    }

    // MARK: Nodes

    /// How many nodes the kernel knows, the root left out.
    package var knownNodes: Int { nodes.count }

    private func node(_ id: NodeID) throws(Errno) -> any TreeNode {
        guard let node = nodes[id] else { throw .stale }
        return node
    }

    private func entry(_ id: NodeID, _ node: any TreeNode) throws(Errno) -> Entry {
        let appearance = try node.appearance()
        let options = tree.options
        let lifetime = appearance.lifetimeSeconds
        return Entry(
            id,
            Attributes(
                inode: id == NodeTable.rootID ? 1 : node.identity.inode, kind: node.kind,
                permissions: permissions(of: node, appearance),
                uid: options.uid, gid: options.gid, sizeBytes: appearance.bytes,
                modifiedSeconds: appearance.modified.seconds,
                modifiedNanoseconds: appearance.modified.nanosecondsOfSecond),
            lifetimeSeconds: lifetime,
            attributesLifetimeSeconds: node.kind == .directory ? max(lifetime, 1) : lifetime)
    }

    private func permissions(of node: any TreeNode, _ appearance: Appearance) -> UInt16 {
        switch node.kind {
        case .directory: tree.options.directoryMode
        case .file where !node.isWritable: appearance.permissions & tree.options.fileMode
        case .file, .symlink: appearance.permissions
        }
    }

    /// Counts a look-up, and takes it back if there is nothing to be shown.
    private func looked(up node: any TreeNode) throws(Errno) -> Entry {
        let (id, node) = nodes.add(node)
        do {
            return try entry(id, node)
        } catch {
            nodes.forget(id, 1)
            throw error
        }
    }

    package func lookup(_ name: String, in parent: NodeID) throws(Errno) -> Answer<Entry> {
        let child = nodes.known(try node(parent).child(name))
        return try prepared(child, child.needsPreparation) { [self] child throws(Errno) in
            try looked(up: child)
        }
    }

    package func lookup(_ entry: DirectoryEntry, in parent: NodeID) throws(Errno) -> Entry? {
        guard let child = entry.file as? any TreeNode else { throw .noEntry }
        let known = nodes.known(child)
        return known.needsPreparation ? nil : try looked(up: known)
    }

    package func forget(_ node: NodeID, lookups: UInt64) { nodes.forget(node, lookups) }

    package func entry(of id: NodeID) throws(Errno) -> Answer<Entry> {
        let node = try node(id)
        return try prepared(node, node.needsPreparation) { [self] node throws(Errno) in
            try entry(id, node)
        }
    }

    package func setAttributes(of id: NodeID) throws(Errno) -> Entry {
        let node = try node(id)
        guard node.isWritable else { throw .readOnly }
        return try entry(id, node)
    }

    package func readLink(_ id: NodeID) throws(Errno) -> String { try node(id).target() }

    package func extendedAttributes(
        of id: NodeID
    ) throws(Errno) -> [(name: String, value: String)] {
        try node(id).extendedAttributes()
    }

    package func list(_ id: NodeID) throws(Errno) -> [DirectoryEntry] {
        try node(id).children().map { name, child in
            DirectoryEntry(
                name: name, kind: child.kind, inode: child.identity.inode, file: child)
        }
    }

    // MARK: Answers that take long

    /// Answers at once, or when the node is prepared. The answer is given the node that is: another
    /// object may stand for the same file.
    private func prepared<Value: Sendable>(
        _ node: any TreeNode, _ needsPreparation: Bool,
        _ answer: @escaping @Sendable (any TreeNode) throws(Errno) -> Value
    ) throws(Errno) -> Answer<Value> {
        if !needsPreparation { return .now(try answer(node)) }
        return .later { [self] reply in
            waiting(reply) { reply in
                preparations.prepare(node) { result in
                    reply(
                        result.flatMap { node in
                            do throws(Errno) {
                                return .success(try answer(node))
                            } catch {
                                return .failure(error)
                            }
                        })
                }
            }
        }
    }

    /// Gives what `begin` starts a ticket by which it can be interrupted until it has replied.
    private func waiting<Value>(
        _ reply: @escaping Answer<Value>.Reply,
        _ begin: (_ reply: @escaping Answer<Value>.Reply) -> (@Sendable () -> Void)?
    ) -> UInt64? {
        let ticket = state.withLock { state in
            defer { state.nextWait += 1 }
            state.waits[state.nextWait] = .some(nil)
            return state.nextWait
        }
        let interrupt = begin { [weak self] result in
            self?.state.withLock { _ = $0.waits.removeValue(forKey: ticket) }
            reply(result)
        }
        guard let interrupt else { return nil }
        state.withLock { state in
            // It may have replied already.
            if state.waits[ticket] != nil { state.waits[ticket] = .some(interrupt) }
        }
        return ticket
    }

    package func interrupt(_ ticket: UInt64) {
        let interrupt = state.withLock { $0.waits.removeValue(forKey: ticket) }
        if case .some(.some(let interrupt)) = interrupt { interrupt() }
    }

    // MARK: What is open

    func add(_ file: any OpenFile) -> UInt64 {
        state.withLock { state in
            defer { state.nextHandle += 1 }
            state.handles[state.nextHandle] = file
            return state.nextHandle
        }
    }

    private func file(_ handle: UInt64) throws(Errno) -> any OpenFile {
        guard let file = state.withLock({ $0.handles[handle] }) else { throw .badHandle }
        return file
    }

    package func open(
        _ id: NodeID, mode: OpenMode, caller: Caller
    ) throws(Errno) -> Answer<Opened> {
        let node = try node(id)
        if mode != .read, !node.isWritable {
            throw node.kind == .directory ? .isDirectory : .readOnly
        }
        return try prepared(node, node.needsPreparationToOpen) { [self] node throws(Errno) in
            let (file, cache) = try node.open(mode, caller)
            return Opened(handle: add(file), cache: cache)
        }
    }

    package func read(
        _ handle: UInt64, at offset: UInt64, count: Int, into output: ByteBuffer
    ) throws(Errno) {
        try file(handle).read(at: offset, count: count, into: output)
    }

    package func readLater(
        _ handle: UInt64, at offset: UInt64, count: Int,
        reply: @escaping @Sendable (Result<[UInt8], Errno>) -> Void
    ) -> UInt64? {
        guard let file = try? file(handle) else {
            reply(.failure(.badHandle))
            return nil
        }
        return waiting(reply) { file.readLater(at: offset, count: count, reply: $0) }
    }

    package func write(_ handle: UInt64, bytes: [UInt8], caller: Caller) throws(Errno) {
        try file(handle).write(bytes, caller)
    }

    package func flush(_ handle: UInt64, caller: Caller) throws(Errno) {
        try file(handle).flush(caller)
    }

    package func release(_ handle: UInt64) {
        state.withLock { $0.handles.removeValue(forKey: handle) }?.release()
    }

    package var requests: RequestTimes { tree.requests }

    package func statistics() -> FileSystemStatistics {
        let space = try? tree.engine.repository?.space()
        let block: UInt64 = 4096
        func blocks(_ path: KeyPath<Space, UInt64>) -> UInt64 {
            guard let space else { return 0 }
            // Some file systems of a network say that they have no end.
            let (bytes, overflow) = space[keyPath: path].multipliedReportingOverflow(
                by: max(space.blockBytes, 1))
            return (overflow ? .max : bytes) / block
        }
        // Nobody makes files here: none are counted, as on file systems without a table of inodes, where a
        // number would say that all are in use.
        return FileSystemStatistics(
            blocks: blocks(\.blocks), blocksFree: blocks(\.blocksFree),
            blocksAvailable: blocks(\.blocksAvailable), files: 0)
    }
}
