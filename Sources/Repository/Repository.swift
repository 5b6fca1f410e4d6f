import Bytes
import Synchronization

/// The collections of one location, as far as they were read. Opening, reading and refreshing write
/// nothing. Any thread may call any method.
package final class Repository: Sendable {
    let descriptor: Descriptor
    package let storage: any Storage
    package let operations: OperationStore
    package let reserve: Reserve
    let dataFiles: DataFileCache
    package let options: Options
    let logs = Mutex<[String: Log]>([:])
    private let setbacks = Mutex<[Setback]>([])
    private let displaced = Mutex<Failure?>(nil)
    /// Collections that the journal tells of; nil before it was read for them.
    let madeIDs = Mutex<Set<String>?>(nil)
    /// By collection, the last entry that was added here and that no end of an operation tells of yet.
    let added = Mutex<[String: AddedEntry]>([:])

    /// Another past was found than the one that had been read.
    package struct Setback: Sendable {
        package var collection: String
        package var message: String
    }

    package struct Options: Sendable {
        /// Entries of a log after which its writer makes a catalog.
        package var catalogInterval: UInt64 = 64
        /// Data files that are kept open at a time.
        package var openFiles = OpenFiles.share(most: 64)
        /// Without, every entry is read from the first one on: for checks that rest on the log alone.
        package var usesCatalogs = true
        /// Seconds between a file's condemnation and its removal: other processes look at the log
        /// every half second, and those that are reading it take hold of it then.
        package var removalDelay: Int64 = 10
        /// Bytes that are kept back for a full disk, 0 for none; nil: by the volume's size.
        package var reserveBytes: UInt64?
        /// Microseconds since 1970; another clock than the system's in simulations.
        package var now: @Sendable () -> Int64 = nowMicroseconds
        /// Waits so many seconds, by a clock that nobody sets; meanwhile it calls `checkpoint`, which may
        /// throw. Another one in simulations.
        package var pause:
            @Sendable (_ seconds: Double, _ checkpoint: () throws -> Void) throws -> Void =
                pauseMonotonically

        package init() {}
    }

    /// Of the repositories that it makes and reads.
    package static let format = Descriptor.format

    static let descriptorLimitBytes = 1 << 16

    private init(_ descriptor: Descriptor, storage: any Storage, options: Options) {
        self.descriptor = descriptor
        self.storage = storage
        self.options = options
        reserve = Reserve(storage, wanted: options.reserveBytes) {
            try OperationStore.forgetOldest(storage)
        }
        operations = OperationStore(storage, reserve) {
            try Self.checkPlace(storage, id: descriptor.id)
        }
        dataFiles = DataFileCache(storage, limit: options.openFiles)
    }

    // MARK: Opening

    /// 32 hexadecimal digits, random, fixed at creation.
    package var id: String { descriptor.id }

    /// Opens and reads the repository there. Throws `.notFound` if there is none.
    package static func open(_ location: Location) throws -> Repository {
        try open(location.storage())
    }

    /// The same for a directory.
    package static func open(_ path: String) throws -> Repository {
        try open(Location.directory(path))
    }

    package static func open(
        _ storage: any Storage, options: Options = Options()
    ) throws -> Repository {
        guard let descriptor = try descriptor(storage) else {
            throw Failure(.notFound, "there is no repository at \(storage.location)")
        }
        let repository = Repository(descriptor, storage: storage, options: options)
        try repository.refresh()
        return repository
    }

    /// Makes a repository there, or opens the one that is there.
    package static func create(_ location: String) throws -> Repository {
        try create(DirectoryStorage(location))
    }

    package static func create(
        _ storage: any Storage, options: Options = Options()
    ) throws -> Repository {
        if try descriptor(storage) == nil {
            // If another process was faster, its repository is the one.
            _ = try storage.putIfAbsent(Descriptor().encoded(), as: Descriptor.name)
        }
        try storage.settle("")
        return try open(storage, options: options)
    }

    // MARK: What it stands on

    /// Throws if what lies at the location isn't the repository that was opened: its disk may have been
    /// unmounted, or another one mounted in its place.
    func checkPlace() throws {
        do {
            try Self.checkPlace(storage, id: id)
            displaced.withLock { $0 = nil }
        } catch {
            displaced.withLock { $0 = Self.failure(error) }
            throw error
        }
    }

    private static func checkPlace(_ storage: any Storage, id: String) throws {
        guard let found = try descriptor(storage) else {
            throw Failure(
                .unreachable, "the repository at \(storage.location) is gone: is its disk mounted?")
        }
        guard found.id == id else {
            throw Failure(
                .stale,
                "another repository lies at \(storage.location) now than the one that was opened: "
                    + "put that one back, or unmount and mount again")
        }
    }

    /// Why what lies at the location isn't what was opened, as last looked at.
    package var displacement: Failure? { displaced.withLock(\.self) }

    /// What has become of the past since this was asked last.
    package func takeSetbacks() -> [Setback] {
        setbacks.withLock { setbacks in
            defer { setbacks = [] }
            return setbacks
        }
    }

    func noteSetback(_ old: CollectionState, to new: CollectionState?) {
        let names = Set((new?.points ?? []).map(\.name))
        let gone = old.points.map(\.name).filter { !names.contains($0) }
        let shown = 10
        let rest = gone.count > shown ? " and \(gone.count - shown) more" : ""
        let points =
            gone.isEmpty
            ? "no point is gone" : "gone: " + gone.prefix(shown).joined(separator: ", ") + rest
        setbacks.withLock {
            $0.append(
                Setback(
                    collection: old.name,
                    message:
                        "the repository at \(storage.location) was put back to another state of "
                        + "\(old.name) than had been read here: it was read anew; \(points)"))
        }
    }

    /// Nil where nothing of a repository is.
    static func descriptor(_ storage: any Storage) throws -> Descriptor? {
        let path = "\(storage.location)/\(Descriptor.name)"
        guard let bytes = try storage.read(Descriptor.name, limit: descriptorLimitBytes) else {
            if try storage.list("collections").isEmpty, try storage.list("tables").isEmpty {
                return nil
            }
            throw Failure(
                .corrupt,
                "\(path) is missing, though there are collections: \(Descriptor.wayOut)")
        }
        do {
            return try Descriptor(bytes)
        } catch let failure as Failure {
            throw Failure(failure.code, "\(path): \(failure.message)")
        }
    }

    // MARK: Collections

    /// Every collection that was ever defined and not dropped, by name.
    package var collections: [CollectionState] {
        logs.withLock { $0.values.compactMap(\.state) }.filter { !$0.isDropped }
            .sorted { $0.name < $1.name }
    }

    /// Collections that were dropped and have points that can be had back, or could until now.
    package var droppedCollections: [CollectionState] {
        logs.withLock { $0.values.compactMap(\.state) }.filter {
            $0.isDropped && !($0.droppedPoints.isEmpty && $0.condemned.isEmpty)
        }
        .sorted { $0.name < $1.name }
    }

    /// Nil if there is none, or it is dropped.
    package func collection(_ name: String) -> CollectionState? {
        let state = known(collectionID(name))
        return state?.isDropped == false ? state : nil
    }

    /// The collection of this id as last read, dropped or not.
    func known(_ id: String) -> CollectionState? { logs.withLock { $0[id]?.state } }

    /// What keeps collections from being read to their end, those included whose name is unknown.
    package var failures: [Failure] {
        [displacement].compactMap(\.self)
            + logs.withLock { $0.sorted { $0.key < $1.key }.compactMap(\.value.damage) }
    }

    /// Why this collection can't be read to its end, or at all.
    package func damage(of name: String) -> Failure? {
        logs.withLock { $0[collectionID(name)]?.damage }
    }

    /// 128 bits in hexadecimal digits: user names never reach the storage.
    package func collectionID(_ name: String) -> String { descriptor.collectionID(name) }

    // MARK: Files and room

    /// A file of the collection, for reading at any place.
    package func file(_ number: UInt64, of collection: CollectionState) throws -> DataFile {
        file(try collection.file(number), of: collection)
    }

    /// A file that the collection may not name any more, or not yet.
    package func file(_ reference: FileReference, of collection: CollectionState) -> DataFile {
        DataFile(
            reference, object: FilePlace.object(reference.place, of: collection.id),
            cache: dataFiles)
    }

    /// Keeps files readable in this process, whoever removes them, until the last hold goes.
    package func hold(_ files: [FileReference], of collection: CollectionState) -> FileHold {
        FileHold(
            files.map { FilePlace.object($0.place, of: collection.id) }, cache: dataFiles)
    }

    /// Closes the files that are open for reading; whoever reads on opens them again.
    package func closeFiles() { dataFiles.closeAll() }

    /// One collection as it is on the disk now: nothing that is open or was read before is used.
    package struct Reread: Sendable {
        package var repository: Repository
        package var state: CollectionState?
        /// What was wrong with the log.
        package var damage: Failure?
        /// Catalogs that say something else than the log.
        package var catalogFaults: [Failure]
    }

    /// Reads a collection's log from its first entry on; what catalogs say is compared with it.
    package func reread(collection name: String) throws -> Reread {
        guard let found = try Self.descriptor(storage) else {
            throw Failure(.notFound, "there is no repository at \(storage.location)")
        }
        let fresh = Repository(found, storage: storage, options: options)
        var scan = LogScan(fresh, fresh.collectionID(name), checksCatalogs: true)
        try scan.run()
        return Reread(
            repository: fresh, state: scan.state?.isDropped == false ? scan.state : nil,
            damage: scan.damage, catalogFaults: scan.catalogFaults)
    }

    /// Room at the location; nil where there is no limit to speak of.
    package func space() throws -> Space? { try storage.space() }
}

/// Whether the text is this many lower-case hexadecimal digits.
func isHex(_ text: some StringProtocol, count: Int) -> Bool {
    text.utf8.count == count
        && text.utf8.allSatisfy {
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
        }
}
