import Bytes
import Engine
import Repository
import Synchronization
import Tables

/// The tree that one mount shows.
///
/// A pure object: the kernel's requests come in through `FileSystem`, tests call the same methods.
/// What is stored never changes, so only the collections' newest states are held; everything
/// else follows from them and from the inode's number.
package final class Volume: FileSystem {
    package struct Options: Sendable {
        /// Owner of every file, and permission bits taken away.
        package var uid: UInt32
        package var gid: UInt32
        package var umask: UInt16 = 0
        /// Permissions of control files.
        package var controlMode: UInt16 = 0o600
        /// What is shown of every table.
        package var formats = Set(TableFormat.allCases)

        package init(uid: UInt32, gid: UInt32) {
            self.uid = uid
            self.gid = gid
        }
    }

    /// What of a collection an inode number needs. An object, which every request gets hold of for
    /// less than a copy of the state costs.
    final class Shown: Sendable {
        let fileName: String
        let state: CollectionState
        /// What stands for it in inodes, and in those of its points: another number if this process
        /// has known another past of it, as kept pages of that must never be taken for those of this.
        let number: UInt64
        let pointNumber: UInt64
        var name: String { state.name }

        init(_ state: CollectionState, fileName: String, number: UInt64, pointNumber: UInt64) {
            self.fileName = fileName
            self.state = state
            self.number = number
            self.pointNumber = pointNumber
        }
    }

    struct State {
        /// By the number that stands for it in inodes.
        var collections: [UInt64: Shown] = [:]
        var handles: [UInt64: Handle] = [:]
        var nextHandle: UInt64 = 1
        /// Texts made at look-up, kept for `textSeconds` so that `open` shows what `stat` measured.
        var texts: [Inode: (text: [UInt8], expires: Instant)] = [:]
        /// The engine's generation that `collections` and `texts` show.
        var generation: UInt64 = .max
        var waits: [UInt64: Wait] = [:]
        var nextWait: UInt64 = 1
        var isClosed = false
    }

    let engine: Engine
    let source: String
    let options: Options
    let started = Instant.now
    let state = Monitor(State())
    let prefetcher = Prefetcher(threads: 2)
    /// The listing made last: that of most other points too.
    private let lastListing = Mutex<PointListing?>(nil)
    private let refresher = Mutex<WorkerThread?>(nil)

    static let dayInSeconds: Double = 86_400
    private static let refreshSeconds = 0.5
    /// How long the kernel may keep a directory's name without asking again: it asks for each part of
    /// each path otherwise. Together with `refreshSeconds` less than the second after which changes
    /// show everywhere.
    private static let directorySeconds = 0.4

    /// Throws if there is no thread to be had that looks for what other processes do.
    ///
    /// - Parameter source: what the user named, for the mount's README.
    package init(engine: Engine, source: String, options: Options) throws(Failure) {
        self.engine = engine
        self.source = source
        self.options = options
        do {
            let thread = try WorkerThread { [weak self] in Self.refreshLoop { self } }
            refresher.withLock { $0 = thread }
        } catch {
            prefetcher.close()
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
        prefetcher.close()
    }

    private static func refreshLoop(_ volume: () -> Volume?) {
        while let volume = volume() {
            let isClosed: Bool? = volume.state.wait(seconds: refreshSeconds) {
                $0.isClosed ? true : nil
            }
            if isClosed == true { return }
            // What can't be read now is tried again; a damaged log shows in `status`.
            _ = try? volume.engine.refresh()
        }
    }

    /// The state, with everything that is new taken over: called by every request, so that what an
    /// operation did shows as soon as its end does.
    func current<R>(_ body: (inout State) -> R) -> R {
        let generation = engine.generation
        return state.withLock { state in
            if state.generation != generation {
                state.generation = generation
                state.texts = [:]
                state.collections = Self.numbered(engine.collections)
            }
            return body(&state)
        }
    }

    private static let epochStep: UInt64 = 100_003

    private static func numbered(_ collections: [CollectionState]) -> [UInt64: Shown] {
        var result: [UInt64: Shown] = [:]
        var names: Set<String> = Set(
            Node.RootFile.allCases.map(\.name) + ["operations", "metrics"])
        var taken: Set<UInt64> = []
        func free(_ wanted: UInt64) -> UInt64 {
            var number = wanted % Node.fieldLimit
            while !taken.insert(number).inserted { number = (number + 1) % Node.fieldLimit }
            return number
        }
        let numbers = collections.map { free(UInt64($0.id.prefix(5), radix: 16) ?? 0) }
        for (collection, number) in zip(collections, numbers) {
            let fileName = FileName.component(collection.name) { names.contains($0) }
            names.insert(fileName)
            let pointNumber =
                collection.epoch == 0 ? number : free(number &+ collection.epoch &* epochStep)
            let shown = Shown(
                collection, fileName: fileName, number: number, pointNumber: pointNumber)
            result[number] = shown
            result[pointNumber] = shown
        }
        return result
    }

    // MARK: Finding

    func shown(_ number: UInt64) throws(Errno) -> Shown {
        guard let shown = current({ $0.collections[number] }) else { throw .noEntry }
        return shown
    }

    func point(_ number: UInt64, _ sequence: UInt64) throws(Errno) -> (Shown, BackupPoint) {
        let shown = try shown(number)
        guard let point = shown.state.point(sequence: sequence) else { throw .stale }
        return (shown, point)
    }

    /// The collection, if it has this point.
    private func shown(_ number: UInt64, having sequence: UInt64) throws(Errno) -> Shown {
        let shown = try shown(number)
        guard shown.state.hasPoint(sequence: sequence) else { throw .stale }
        return shown
    }

    func listing(_ shown: Shown, _ sequence: UInt64) throws(Errno) -> PointListing {
        let key = SharedCache.Key(owner: 0, kind: 0, shown.state.idNumber, sequence)
        do {
            return try engine.cache.value(key) {
                let tables = shown.state.paths(at: sequence)
                if let last = lastListing.withLock(\.self), last.shows(tables) {
                    return (last, bytes: 64)
                }
                let listing = PointListing(tables, formats: options.formats)
                lastListing.withLock { $0 = listing }
                return (listing, bytes: 512 + tables.count * 1024)
            }
        } catch {
            throw .io
        }
    }

    package func lookup(_ name: String, in parent: Inode) throws(Errno) -> Entry {
        guard let node = Node(inode: parent) else { throw .noEntry }
        return try entry(child(name, of: node))
    }

    private func child(_ name: String, of parent: Node) throws(Errno) -> Node {
        switch parent {
        case .root:
            if name == "operations" { return .operations }
            if let file = Node.RootFile.allCases.first(where: { $0.name == name }) {
                return .rootFile(file)
            }
            let found = current { state in
                state.collections.values.first { $0.fileName.utf8.elementsEqual(name.utf8) }?.number
            }
            guard let found else { throw .noEntry }
            return .collection(found)
        case .operations:
            if name == "latest", !engine.operations.isEmpty { return .latestOperation }
            guard let id = Operation.id(named: name), engine.operation(id) != nil else {
                throw .noEntry
            }
            return .operation(id)
        case .operation(let id):
            guard let file = Node.OperationFile.allCases.first(where: { $0.name == name }) else {
                throw .noEntry
            }
            return .operationFile(id, file)
        case .collection(let number):
            let shown = try shown(number)
            if let file = Node.CollectionFile.allCases.first(where: { $0.name == name }) {
                if isPresent(file, shown) { return .collectionFile(number, file) }
                throw .noEntry
            }
            guard let point = shown.state.point(named: name),
                point.name.utf8.elementsEqual(name.utf8)
            else { throw .noEntry }
            return .pointDirectory(
                collection: shown.pointNumber, sequence: point.sequence, index: 0)
        case .pointDirectory(let number, let sequence, let index):
            let listing = try listing(shown(number, having: sequence), sequence)
            guard let item = listing.item(name, in: Int(index)) else { throw .noEntry }
            return node(item, number, sequence)
        default: throw .notDirectory
        }
    }

    private func isPresent(_ file: Node.CollectionFile, _ shown: Shown) -> Bool {
        switch file {
        case .latest: shown.state.newest != nil && shown.state.endIsUnknown == nil
        case .operation: engine.newestOperation(of: shown.name) != nil
        default: true
        }
    }

    private func node(_ item: PointListing.Item, _ number: UInt64, _ sequence: UInt64) -> Node {
        switch item {
        case .manifest: .manifest(collection: number, sequence: sequence)
        case .table(let file, let table):
            .tableFile(file, collection: number, sequence: sequence, table: UInt64(table.id))
        case .directory(let index):
            .pointDirectory(collection: number, sequence: sequence, index: UInt64(index))
        }
    }

    // MARK: Listing

    package func list(_ inode: Inode) throws(Errno) -> [DirectoryEntry] {
        guard let node = Node(inode: inode) else { throw .noEntry }
        var entries: [DirectoryEntry] = []
        for (name, child) in try children(node) {
            // What vanished meanwhile is left out.
            if let entry = try? entry(child) {
                entries.append(DirectoryEntry(name: name, entry: entry))
            }
        }
        return entries
    }

    private func children(_ node: Node) throws(Errno) -> [(String, Node)] {
        switch node {
        case .root:
            let collections = current { state in
                state.collections.filter { $0.key == $0.value.number }.map { ($1.fileName, $0) }
            }.sorted {
                $0.0.utf8.lexicographicallyPrecedes($1.0.utf8)
            }
            return Node.RootFile.allCases.map { ($0.name, .rootFile($0)) }
                + [("operations", .operations)] + collections.map { ($0, .collection($1)) }
        case .operations:
            let operations = engine.operations
            return (operations + engine.refusals).map { ($0.name, .operation($0.id)) }
                + (operations.isEmpty ? [] : [("latest", .latestOperation)])
        case .operation(let id):
            return Node.OperationFile.allCases.map { ($0.name, .operationFile(id, $0)) }
        case .collection(let number):
            let shown = try shown(number)
            let files = Node.CollectionFile.allCases.filter { isPresent($0, shown) }
            return files.map { ($0.name, .collectionFile(number, $0)) }
                + shown.state.points.map {
                    (
                        $0.name,
                        .pointDirectory(
                            collection: shown.pointNumber, sequence: $0.sequence, index: 0)
                    )
                }
        case .pointDirectory(let number, let sequence, let index):
            let listing = try listing(shown(number, having: sequence), sequence)
            guard listing.directories.indices.contains(Int(index)) else { throw .noEntry }
            return listing.directories[Int(index)].items.map {
                ($0.name, self.node($0.item, number, sequence))
            }
        default: throw .notDirectory
        }
    }

    // MARK: Attributes

    package func entry(of inode: Inode) throws(Errno) -> Entry {
        guard let node = Node(inode: inode) else { throw .noEntry }
        return try entry(node)
    }

    private func entry(_ node: Node) throws(Errno) -> Entry {
        guard let inode = node.inode else { throw .overflow }
        switch node {
        case .root, .operations, .operation, .collection, .pointDirectory:
            let isBelowPoint: Bool =
                if case .pointDirectory(_, _, let index) = node { index > 0 } else { false }
            return make(
                inode, .directory, 0o755, bytes: 4096, modified: try modified(node),
                lifetime: isBelowPoint ? Self.dayInSeconds : Self.directorySeconds)
        case .tableFile(let file, let number, let sequence, let table):
            let (shown, record) = try self.table(number, sequence, table)
            let bytes =
                switch file {
                case .csv: record.sizes["csv"] ?? 0
                case .parquet: record.sizes["parquet"] ?? 0
                case .sql: UInt64(record.sql.utf8.count)
                }
            return make(
                inode, .file, 0o644, bytes: bytes,
                modified: changed(shown, record, sequence), lifetime: Self.dayInSeconds)
        case .manifest:
            return make(
                inode, .file, 0o644, bytes: UInt64(try text(node).count),
                modified: try modified(node), lifetime: Self.dayInSeconds)
        case .latestOperation, .collectionFile(_, .latest), .collectionFile(_, .operation):
            return make(
                inode, .symlink, 0o777, bytes: UInt64(try readLink(inode).utf8.count),
                modified: try modified(node), lifetime: 0)
        case .rootFile(.control), .collectionFile(_, .control), .operationFile(_, .cancel):
            return make(
                inode, .file, options.controlMode, bytes: UInt64(try text(node).count),
                modified: try modified(node), lifetime: 0)
        case .operationFile(_, .wait):
            return make(
                inode, .file, 0o644, bytes: UInt64(Self.waitBytes), modified: try modified(node),
                lifetime: 0)
        case .rootFile, .operationFile, .collectionFile:
            return make(
                inode, .file, 0o644, bytes: UInt64(try text(node).count),
                modified: try modified(node), lifetime: 0)
        }
    }

    private func make(
        _ inode: Inode, _ kind: Attributes.Kind, _ permissions: UInt16, bytes: UInt64,
        modified: Instant, lifetime: Double
    ) -> Entry {
        let permissions = kind == .symlink ? permissions : permissions & ~options.umask
        return Entry(
            Attributes(
                inode: inode, kind: kind, permissions: permissions, uid: options.uid,
                gid: options.gid, sizeBytes: bytes, modifiedSeconds: modified.seconds,
                modifiedNanoseconds: modified.nanosecondsOfSecond),
            lifetimeSeconds: lifetime,
            attributesLifetimeSeconds: kind == .directory ? max(lifetime, 1) : lifetime)
    }

    func table(
        _ number: UInt64, _ sequence: UInt64, _ table: UInt64
    ) throws(Errno) -> (Shown, TableRecord) {
        let shown = try shown(number, having: sequence)
        guard let record = shown.state.table(UInt32(table), at: sequence) else { throw .noEntry }
        return (shown, record)
    }

    /// The cut of the newest point that changed the table.
    private func changed(_ shown: Shown, _ record: TableRecord, _ sequence: UInt64) -> Instant {
        Instant(microseconds: shown.state.changed(record.id, at: sequence) ?? 0)
    }

    private func modified(_ node: Node) throws(Errno) -> Instant {
        switch node {
        case .pointDirectory(let number, let sequence, _), .manifest(let number, let sequence):
            return Instant(microseconds: try point(number, sequence).1.cut)
        case .operation(let id), .operationFile(let id, _):
            guard let operation = engine.operation(id) else { throw .noEntry }
            let status = operation.status
            return status.ended ?? status.started ?? operation.accepted
        case .collection(let number), .collectionFile(let number, _):
            let shown = try shown(number)
            let newest = shown.state.newest?.cut ?? shown.state.definition?.time ?? 0
            let operation = engine.newestOperation(of: shown.name)
            let touched = operation.map { $0.status.ended ?? $0.accepted }
            return max(Instant(microseconds: newest), touched ?? Instant(microseconds: newest))
        case .rootFile(.readme), .rootFile(.cacheTag): return started
        default:
            let newest = engine.operations.last.map { $0.status.ended ?? $0.accepted }
            return max(started, newest ?? started)
        }
    }

    package func setAttributes(of inode: Inode) throws(Errno) -> Entry {
        switch Node(inode: inode) {
        case .rootFile(.control), .collectionFile(_, .control), .operationFile(_, .cancel):
            try entry(of: inode)
        default: throw .readOnly
        }
    }

    package func readLink(_ inode: Inode) throws(Errno) -> String {
        switch Node(inode: inode) {
        case .latestOperation:
            guard let newest = engine.operations.last else { throw .noEntry }
            return "\(newest.id)"
        case .collectionFile(let number, .operation):
            let shown = try shown(number)
            guard let newest = engine.newestOperation(of: shown.name) else { throw .noEntry }
            return "../operations/\(newest.name)"
        case .collectionFile(let number, .latest):
            let state = try shown(number).state
            guard let newest = state.newest, state.endIsUnknown == nil else { throw .noEntry }
            return newest.name
        default: throw .invalid
        }
    }

    package func statistics() -> FileSystemStatistics {
        let space = try? engine.repository?.space()
        let block: UInt64 = 4096
        func blocks(_ path: KeyPath<Space, UInt64>) -> UInt64 {
            guard let space else { return 0 }
            // Some file systems of a network say that they have no end.
            let (bytes, overflow) = space[keyPath: path].multipliedReportingOverflow(
                by: max(space.blockBytes, 1))
            return (overflow ? .max : bytes) / block
        }
        let files = current { state in
            state.collections.reduce(0) {
                $0 + ($1.key == $1.value.number ? $1.value.state.points.count : 0)
            }
        }
        return FileSystemStatistics(
            blocks: blocks(\.blocks), blocksFree: blocks(\.blocksFree),
            blocksAvailable: blocks(\.blocksAvailable), files: UInt64(files))
    }
}

extension CollectionState {
    /// The first 64 bits of the collection's id, another number for each past.
    fileprivate var idNumber: UInt64 { (UInt64(id.prefix(16), radix: 16) ?? 0) &+ epoch }
}
