import Bytes
import Glibc
import Synchronization

/// The right to write to one collection, held until the last reference goes.
///
/// The lock keeps writers out of each other's way; what keeps the log right is that creating the
/// next number is atomic. A writer that lost its lock unawares (on a network file system, say)
/// can't commit over what it hasn't read.
package final class WriterLock: Sendable {
    let repository: Repository
    private let collection: String
    let id: String
    private let held: any StorageLock
    /// One commit at a time; held while an entry is published.
    private let state: Mutex<State>

    private struct State: Sendable {
        /// Nil before the first definition.
        var collection: CollectionState?
        var nextFileNumber: UInt64
        /// Places of the files made by this lock.
        var created: [String] = []
        /// What they are made durable by.
        var batch: any ObjectBatch
    }

    fileprivate init(
        _ repository: Repository, _ collection: String, _ held: any StorageLock
    ) throws {
        self.repository = repository
        self.collection = collection
        self.held = held
        id = repository.collectionID(collection)
        // A process killed between publishing and syncing left an entry that we see and build on.
        try repository.storage.settle("collections/\(id)")
        if try repository.storage.size(of: Repository.entryName(1, id)) != nil {
            try repository.storage.settle("collections/\(id)/log")
        }
        try repository.checkPlace()
        let read = try repository.readWhole(id)
        if let read { try repository.checkEntries(of: read) }
        state = Mutex(
            State(
                collection: read, nextFileNumber: read?.nextFileNumber ?? 1,
                batch: repository.storage.beginBatch()))
    }

    /// The collection as this writer has read or written it; nil before the first definition.
    package var current: CollectionState? { state.withLock { $0.collection } }

    /// Commits. Durable when it returns the entry's number, with all files made until now; the
    /// collection's new state is then in `current` and in the repository.
    ///
    /// Throws `.busy` if another process has committed meanwhile: release this lock, read again,
    /// redo. Throws `.corrupt` if the entry can't follow this log; nothing is written then.
    @discardableResult
    package func append(_ entry: LogEntry) throws -> UInt64 {
        try state.withLock { state in
            try checkGround(state.collection)
            if case .point(let record) = entry, let collection = state.collection {
                // It may have been long in the making.
                try repository.checkNumbers(upTo: collection.lastEntry, id)
                if record.kind == .incremental { try checkFiles(of: collection) }
            }
            var file = LogFile(
                number: (state.collection?.lastEntry ?? 0) + 1,
                previous: state.collection?.lastHash, time: repository.options.now(), entry: entry)
            let encoded = try file.encoded()
            file.hash = encoded.hash
            var next = state.collection
            if next == nil {
                next = try CollectionState(
                    first: file, id: id, identify: repository.collectionID)
                next!.epoch = repository.epoch(of: id)
            } else {
                try next!.apply(file)
            }
            try state.batch.settle()
            // That may have taken its time.
            try checkGround(state.collection)
            let name = Repository.entryName(file.number, id)
            guard try repository.publish(encoded.bytes, as: name, of: entry) else {
                throw repository.writtenMeanwhile(collection)
            }
            state.collection = next
            repository.publish(next!)
            return file.number
        }
    }

    /// What the entry is going to stand on is still there: the repository, our lock, and the entry
    /// before. Otherwise nobody knows what it would be added to.
    private func checkGround(_ collection: CollectionState?) throws {
        try repository.checkPlace()
        guard try held.isHeld else {
            throw Failure(
                .busy,
                "the lock of collection \(self.collection) was lost while it was written: its file was "
                    + "removed or replaced; try again")
        }
        if let collection, try !repository.holds(collection) {
            throw Failure(
                .stale,
                "\(repository.path(collection.lastEntry, id)) isn't what was read any more: nothing "
                    + "was added to the log of \(self.collection); try again")
        }
    }

    /// Every file that the newest point needs is there in its full size: nothing is built on a base
    /// that is lost.
    private func checkFiles(of collection: CollectionState) throws {
        guard let newest = collection.newest else { return }
        for number in collection.neededFiles(of: newest).sorted() {
            let file = try collection.file(number)
            let object = object(file.place)
            let size = try repository.storage.size(of: object)
            guard size == file.bytes else {
                throw Failure(
                    .corrupt,
                    "\(repository.storage.location)/\(object) "
                        + (size == nil ? "is missing" : "has a wrong size")
                        + ": make a full backup of \(collection.name)")
            }
        }
        try checkVerified(newest, of: collection)
    }

    /// What a verification found damaged of the newest point, and is still so: it may have been mended
    /// since.
    private func checkVerified(_ newest: BackupPoint, of collection: CollectionState) throws {
        guard let check = repository.checks(of: collection)[newest.sequence],
            let damage = check.damage
        else { return }
        let wayOut =
            "make a full backup of \(collection.name), or mend it by ydbfs repair --from COPY"
        if check.files.isEmpty {
            throw Failure(
                .corrupt,
                "\(newest.name), which it would continue, is damaged: \(damage): \(wayOut) and verify "
                    + "it again")
        }
        let needed = collection.neededFiles(of: newest)
        for number in check.files where needed.contains(number) {
            let file = try collection.file(number)
            // Not what was opened before it was mended.
            repository.dataFiles.close(object(file.place))
            do {
                try repository.file(file, of: collection).verify()
            } catch let failure as Failure where failure.code == .corrupt {
                throw Failure(.corrupt, "\(failure.message): \(wayOut)")
            }
        }
    }

    private func object(_ place: String) -> String { FilePlace.object(place, of: id) }

    /// Makes a catalog of the log if enough entries have come since the last one, or that one is
    /// damaged. The log says the same: without a catalog it is only read more slowly.
    package func writeCatalogIfDue() throws {
        guard let collection = current else { return }
        let since = collection.lastEntry - (collection.catalogs.last?.entry ?? 0)
        guard since >= repository.options.catalogInterval || collection.catalogDamage != nil else {
            return
        }
        try renewCatalog()
    }

    /// Makes a catalog of the log as it is.
    func renewCatalog() throws {
        guard let collection = current else { return }
        let writer = try createFile(.cat)
        try writer.append(CatalogFile.encoded(collection))
        let file = try writer.finish(rows: 0)
        try append(
            .catalog(
                CatalogReference(name: file.name, bytes: file.bytes, sha256: file.sha256)))
    }

    // MARK: Files

    /// A new data file under a name that was never used. It exists for others once an entry names
    /// it; until then it is a leftover.
    ///
    /// - Parameter table: the `tid` of the table whose rows it holds; nil for other files.
    package func createFile(
        _ kind: DataFileKind, table: String? = nil
    ) throws -> DataFileWriter {
        precondition((kind == .parquet) == (table != nil))
        let name = "\(randomHex()).\(kind.rawValue)"
        let place = table.map { "\($0)/\(name)" } ?? name
        let batch = state.withLock { state in
            state.created.append(place)
            return state.batch
        }
        let writer = try batch.create(object(place))
        let number = state.withLock { state in
            defer { state.nextFileNumber += 1 }
            return state.nextFileNumber
        }
        return DataFileWriter(number: number, name: name, table: table, writer)
    }

    /// Makes all files durable that were made until now, as `append` would: if that can fail, it had
    /// better fail here, where it is certain that there is no entry.
    package func settle() throws { try state.withLock(\.batch).settle() }

    /// Removes the files of this lock's own work that no entry names, as far as that is possible: for
    /// a backup that is given up. Not after a failed commit, which may have been one.
    package func removeUncommitted() {
        let (created, collection) = state.withLock { state in
            defer {
                state.created = []
                // What it has not made durable must not be touched any more.
                state.batch = repository.storage.beginBatch()
            }
            return (state.created, state.collection)
        }
        let referred = Self.places(referredBy: collection)
        // What stays is a leftover.
        _ = try? repository.remove(created.filter { !referred.contains($0) }, of: id)
    }

    private static func places(referredBy collection: CollectionState?) -> Set<String> {
        guard let collection else { return [] }
        return Set(
            collection.files.values.map(\.place) + collection.catalogs.map(\.reference.name)
        ).union(collection.keptFiles)
    }

    /// Removes the data files that nothing needs: the one way in which files go. Those are files that
    /// no live or dropped point needs, files that no entry names, and what killed writers left half
    /// made. Returns how many files and bytes went. Not while this lock's own operation has files that
    /// aren't committed yet: they are leftovers too.
    ///
    /// In two steps. First a `condemn` entry names them: that fails if there is any entry that we
    /// haven't read, and from then on no entry can use them, also not one of a writer that was thought
    /// dead. Then they are removed; those that points have needed only after `Options.removalDelay`,
    /// thus by a later call, or by `Repository.removeCondemned`.
    ///
    /// References are derived from the state that the whole log gives, never from the listing: a file
    /// that it misses stays a while longer.
    ///
    /// - Parameter points: sequences of dropped points that can't be had back from here on.
    @discardableResult
    package func removeUnneeded(
        forgetting points: [UInt64] = []
    ) throws -> (files: Int, bytes: UInt64) {
        // Before the log is looked at, so that what was committed until now counts as referred to.
        let listed = try repository.listFiles(of: id, removingEmpty: true)
        guard let collection = current else { return (0, 0) }
        try checkGround(collection)
        var condemned = Condemnation()
        condemned.points = points
        // Condemned by a clock that was wrong, they would wait for that time to come.
        let delay = repository.options.removalDelay
        let latest = repository.options.now() + delay * 1_000_000
        let misdated = collection.condemned.filter {
            $0.value > latest && listed.contains($0.key)
        }
        condemned.files =
            try Self.unneeded(collection, forgetting: points) + misdated.keys.sorted()
        let referred = Self.places(referredBy: collection)
        condemned.leftovers = listed.filter {
            !referred.contains($0) && collection.condemned[$0] == nil
        }.sorted()
        condemned.gone = collection.condemned.keys.filter { !listed.contains($0) }.sorted()
        if !condemned.isEmpty { try append(.condemn(condemned)) }
        let due = repository.options.now() - delay * 1_000_000
        let going = current!.condemned.filter {
            listed.contains($0.key) && ($0.value == 0 || $0.value <= due)
        }.keys.sorted()
        let removed = try repository.remove(going, of: id)
        try removeUnfinishedEntries()
        return removed
    }

    /// Places of the files that are condemned and still there, as readers may be about to open them.
    package func condemnedFiles() throws -> [String] {
        guard let condemned = current?.condemned, !condemned.isEmpty else { return [] }
        return try repository.listFiles(of: id).filter { condemned[$0] != nil }.sorted()
    }

    /// Removes what killed writers left of log entries. The log only grows: it is looked through once
    /// for each lock while it is short, and now and then later.
    private func removeUnfinishedEntries() throws {
        let entries = current?.lastEntry ?? 0
        guard entries < 1000 || entries.isMultiple(of: 64) else { return }
        try repository.storage.removeUnfinished(in: "collections/\(id)/log", olderThan: 0)
    }

    /// Places of the files that no point needs once these are forgotten.
    private static func unneeded(
        _ collection: CollectionState, forgetting points: [UInt64]
    ) throws -> [String] {
        var after = collection
        try after.forget(points)
        let needed = after.neededFiles
        return after.files.values.filter { !needed.contains($0.number) }.map(\.place).sorted()
    }
}

extension Repository {
    /// Removes files that were condemned at least `Options.removalDelay` seconds ago by whatever clock the
    /// caller has waited. Nobody needs the writer's lock for that: once an entry has condemned them, none
    /// can use them again. What the log doesn't condemn any more stays. Answers how many files and bytes
    /// went.
    @discardableResult
    package func removeCondemned(
        _ places: [String], of collection: String
    ) throws -> (files: Int, bytes: UInt64) {
        try checkPlace()
        let id = collectionID(collection)
        let condemned = try readWhole(id)?.condemned ?? [:]
        return try remove(places.filter { condemned[$0] != nil }, of: id)
    }

    /// Places of all data files of a collection that are there; files of strangers are none.
    ///
    /// - Parameter removingEmpty: folders of tables that have no file go.
    func listFiles(of id: String, removingEmpty: Bool = false) throws -> Set<String> {
        var places = try Set(storage.list(FilePlace.indexes(of: id)))
        let tables = FilePlace.tables(of: id)
        for table in try storage.list(tables) where isHex(table, count: 32) {
            let names: [String]
            do {
                names = try storage.list("\(tables)/\(table)")
            } catch let failure as Failure where failure.code == .corrupt {
                // No directory, thus a stranger's.
                continue
            }
            // A killed writer may have made the folder and no more.
            if names.isEmpty, removingEmpty { storage.removeEmpty("\(tables)/\(table)") }
            places.formUnion(names.lazy.map { "\(table)/\($0)" })
        }
        return places.filter { FilePlace.kind($0) != nil }
    }

    /// Removes files, and the folders of tables that have none any more. Answers how many were there,
    /// and their bytes.
    @discardableResult
    fileprivate func remove(
        _ places: [String], of id: String
    ) throws -> (files: Int, bytes: UInt64) {
        var sizes: [UInt64] = []
        for place in places {
            let object = FilePlace.object(place, of: id)
            if let size = try storage.size(of: object) { sizes.append(size) }
            try storage.remove(object)
            dataFiles.close(object)
        }
        for table in Set(places.compactMap { FilePlace.table($0) }).sorted() {
            storage.removeEmpty("\(FilePlace.tables(of: id))/\(table)")
        }
        return (sizes.count, sizes.total)
    }
}

extension Repository {
    /// Takes the right to write to a collection, which need not exist yet. Throws `.busy` if another
    /// process or operation has it, `.corrupt` if the log can't be read to its end.
    package func lock(collection name: String) throws -> WriterLock {
        // Nothing is made in a repository that isn't the one that was opened.
        try checkPlace()
        guard let held = try storage.lock(Self.lockName(collectionID(name))) else {
            throw Failure(
                .busy, "collection \(name) is being written by another process: try again later")
        }
        return try WriterLock(self, name, held)
    }
}

extension Repository {
    /// The right to keep the schedules of all collections, which no two processes have; nil if another
    /// has it.
    package func scheduleLock() throws -> (any StorageLock)? {
        try storage.lock(Self.scheduleLockName)
    }

    static let scheduleLockName = "schedules"

    static func lockName(_ id: String) -> String { "collections/\(id)/lock" }
}

/// Microseconds since 1970.
@Sendable package func nowMicroseconds() -> Int64 {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    return Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_nsec) / 1000
}
