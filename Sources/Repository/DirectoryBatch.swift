import Bytes
import Synchronization

/// Files of a `DirectoryStorage` that are made durable together: their bytes, their names, and the
/// folders that were made for them.
///
/// Few are synced one by one. When they are many, a call for each is what takes most of a backup's
/// time; then one call syncs all of the file system. It reports every failure since its directory
/// was opened, which is done before the first file is written.
final class DirectoryBatch: ObjectBatch {
    private let storage: DirectoryStorage
    private let state = Mutex(State())

    private struct State: Sendable {
        /// Finished files whose bytes may be lost yet: open, or, once they are many, by path.
        var files: [File] = []
        var many: [String] = []
        /// By which all are synced at once; nil where that isn't possible.
        var whole: File?
        var isBegun = false
        /// Folders in which names may be lost yet.
        var folders: Set<String> = []
        /// Folders that exist, but whose own names may be lost yet.
        var made: Set<String> = []
        /// What was written before an error must be thought lost, and asking again could hide that.
        var failure: Failure?
    }

    /// A larger file is synced when it is finished: that takes time which others have for their work.
    private static let largeBytes: UInt64 = 1 << 20

    init(_ storage: DirectoryStorage) { self.storage = storage }

    // MARK: Creating

    func create(_ name: String) throws -> any ObjectWriter {
        let folder = storage.folder(of: name)
        try begin()
        try prepare(folder)
        do {
            return BatchWriter(try storage.createFile(name), folder, self)
        } catch let failure as Failure where failure.code == .notFound && !folder.isEmpty {
            // Whoever took its last file took the folder too.
            forget(folder)
            try prepare(folder)
            return BatchWriter(try storage.createFile(name), folder, self)
        }
    }

    /// Before the first file is written.
    private func begin() throws {
        if state.withLock({ $0.isBegun }) { return }
        let location = try storage.openLocation()
        state.withLock { state in
            if !state.isBegun, location.canSyncAll { state.whole = location }
            state.isBegun = true
        }
    }

    /// Makes sure that the folder exists.
    private func prepare(_ folder: String) throws {
        if storage.isPrepared(folder) || state.withLock({ $0.made.contains(folder) }) { return }
        // The location itself is durable since the first object was published in it.
        if folder.isEmpty { return }
        let parent = storage.folder(of: folder)
        try prepare(parent)
        try storage.makeFolder(folder)
        // One that was there already is no different: whoever made it may have been killed before
        // it was durable.
        state.withLock { state in
            state.made.insert(folder)
            state.folders.insert(parent)
        }
    }

    private func forget(_ folder: String) {
        let chain = storage.chain(of: folder)
        state.withLock { $0.made.subtract(chain) }
        storage.forgetPrepared(chain)
    }

    fileprivate func add(_ file: File, bytes: UInt64, in folder: String) throws {
        let isLarge = bytes > Self.largeBytes
        if isLarge { try sync { try file.sync() } }
        let oldest: File? = state.withLock { state in
            state.folders.insert(folder)
            if isLarge { return nil }
            state.files.append(file)
            if state.many.isEmpty, state.files.count <= storage.fewFiles { return nil }
            if state.whole == nil { return state.files.removeFirst() }
            state.many += state.files.map(\.path)
            state.files = []
            return nil
        }
        if let oldest { try sync { try oldest.sync() } }
    }

    // MARK: Making durable

    func settle() throws {
        let pending = state.withLock { state in
            defer {
                state.files = []
                state.many = []
                state.folders = []
                state.made = []
            }
            return state
        }
        if let failure = pending.failure { throw failure }
        try sync {
            if !pending.many.isEmpty, try pending.whole!.syncAll() { return }
            for path in pending.many { try storage.sync(path) }
            for file in pending.files { try file.sync() }
            for folder in pending.folders.sorted() { try storage.settle(folder) }
        }
        storage.addPrepared(pending.made)
    }

    private func sync(_ body: () throws -> Void) throws {
        do {
            try body()
        } catch let failure as Failure {
            state.withLock { $0.failure = failure }
            throw failure
        }
    }
}

private final class BatchWriter: ObjectWriter {
    private let file: File
    private let folder: String
    private let batch: DirectoryBatch
    private var bytes: UInt64 = 0

    init(_ file: File, _ folder: String, _ batch: DirectoryBatch) {
        self.file = file
        self.folder = folder
        self.batch = batch
    }

    func append(_ bytes: UnsafeRawBufferPointer) throws {
        try file.write(bytes)
        self.bytes += UInt64(bytes.count)
    }

    func finish() throws { try batch.add(file, bytes: bytes, in: folder) }
}
