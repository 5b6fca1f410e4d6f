import Bytes
import Crypto
import Synchronization

/// What was read of one collection's log.
struct Log: Sendable {
    /// Nil if not even its definition could be read: then `damage` says why.
    var state: CollectionState?
    var damage: Failure?
    /// `CollectionState.epoch` of what is read of it, kept when there is nothing to be read any more.
    var epoch: UInt64 = 0
    var lastEntry: UInt64 { state?.lastEntry ?? 0 }
}

/// The last entry that a writer added to a log, and which past of the log it knew.
struct AddedEntry: Sendable {
    var mark: EntryMark
    var epoch: UInt64
}

/// Following logs: what was read is remembered as long as it is still there.
extension Repository {
    /// Reads what was committed since, by whomever; returns the names of the collections that
    /// changed. Cheap when nothing did: two listings, and two looks per collection.
    ///
    /// Throws if what is at the location isn't what was opened.
    @discardableResult
    package func refresh() throws -> [String] {
        try checkPlace()
        let made = MadeEntries(operations)
        let known = logs.withLock { logs in
            logs.filter { $0.value.state != nil || $0.value.damage != nil }.keys
        }
        return try everyID(made).union(known).sorted().compactMap {
            refresh(collection: $0, made)
        }
    }

    /// Returns the collection's name if its state is another one now.
    private func refresh(collection id: String, _ made: MadeEntries) -> String? {
        let before = logs.withLock { $0[id] } ?? Log()
        let after = read(before, id, made)
        guard
            after.lastEntry != before.lastEntry || after.damage != before.damage
                || after.state?.lastHash != before.state?.lastHash
        else { return nil }
        secureCondemned(before.state)
        secureCondemned(after.state)
        logs.withLock { logs in
            // Somebody else may have read further meanwhile.
            if let now = logs[id], now.lastEntry > max(before.lastEntry, after.lastEntry) { return }
            logs[id] = after
        }
        return after.state?.name ?? before.state?.name
    }

    /// That of the next state that is read or made of the collection.
    func epoch(of id: String) -> UInt64 { logs.withLock { $0[id]?.epoch ?? 0 } }

    /// What is read here and condemned, by whomever, stays readable. To be called once more when it isn't
    /// condemned any more, thus gone: it may have been opened meanwhile.
    private func secureCondemned(_ state: CollectionState?) {
        guard let state else { return }
        dataFiles.secure(state.condemned.keys.map { FilePlace.object($0, of: state.id) })
    }

    /// Takes a state that a writer has just made by its own entry.
    func publish(_ state: CollectionState) {
        secureCondemned(state)
        logs.withLock { logs in
            if let now = logs[state.id], now.lastEntry > state.lastEntry { return }
            logs[state.id] = Log(state: state, epoch: state.epoch)
        }
        if let hash = state.lastHash {
            let mark = EntryMark(number: state.lastEntry, hash: hash)
            added.withLock { $0[state.id] = AddedEntry(mark: mark, epoch: state.epoch) }
        }
    }

    /// The last entry that was added here to the collection's log, for the end of the operation that did
    /// it; nil if there is none since this was asked last, or the log is another one now.
    package func takeAddedEntry(of collection: String) -> EntryMark? {
        let id = collectionID(collection)
        guard let added = added.withLock({ $0.removeValue(forKey: id) }),
            added.epoch == epoch(of: id)
        else { return nil }
        return added.mark
    }

    /// The highest number that an operation of any point had: one that began anew would lose what tells
    /// which points are the newer ones.
    package var lastOperation: UInt64 {
        logs.withLock { logs in
            logs.values.compactMap(\.state).flatMap { $0.points + $0.droppedPoints }
                .map(\.operation).max() ?? 0
        }
    }

    /// Reads one collection to its end, now, and sees that all its entries are there. Nil if it has no
    /// log.
    func readWhole(_ id: String) throws -> CollectionState? {
        _ = refresh(collection: id, MadeEntries(operations))
        let log = logs.withLock { $0[id] }
        if let damage = log?.damage { throw damage }
        try checkNumbers(upTo: log?.lastEntry ?? 0, id)
        return log?.state
    }

    /// Throws unless the entries that are there are those up to `last`: others couldn't read what was
    /// added behind a hole. `.busy` if it is right but has grown.
    func checkNumbers(upTo last: UInt64, _ id: String) throws {
        let listed = try entryNumbers(id)
        if listed.count == last, listed.last ?? 0 == last { return }
        let present = Set(listed)
        // A listing may lack what is there.
        let lacking =
            try last == 0
            ? nil
            : (1...last).first {
                try !present.contains($0) && storage.size(of: Self.entryName($0, id)) == nil
            }
        if let lacking {
            throw readDamage(id) ?? missing(lacking...lacking, id)
        }
        if let damage = readDamage(id) { throw damage }
        throw writtenMeanwhile(known(id)?.name ?? id)
    }

    func writtenMeanwhile(_ collection: String) -> Failure {
        Failure(.busy, "another process has written to collection \(collection): try again")
    }

    /// Throws if one of the entries since the newest catalog isn't as it was when it was read: they are
    /// what others, who know no more than the files, read first.
    func checkEntries(of state: CollectionState) throws {
        let first = (state.catalogs.last?.entry ?? 0) + 1
        guard first <= state.lastEntry else { return }
        let shared = SharedValues()
        var hash: String?
        do {
            for number in first...state.lastEntry {
                let file = try entry(number, state.id, shared)
                if number > first, file.previous != hash {
                    throw named(
                        Failure(.corrupt, "it doesn't follow entry \(number - 1)"), number,
                        state.id)
                }
                // What is behind a lost entry follows that, not what stands for it.
                hash = file.lost?.hash ?? file.hash
            }
        } catch let failure as Failure where failure.code == .corrupt {
            throw readDamage(state.id) ?? failure
        }
    }

    /// What is wrong with a log that is read anew; nil if nothing is.
    private func readDamage(_ id: String) -> Failure? {
        let log = readAnew(logs.withLock { $0[id] } ?? Log(), id, MadeEntries(operations))
        logs.withLock { $0[id] = log }
        return log.damage
    }

    // MARK: Reading on

    private func read(_ before: Log, _ id: String, _ made: MadeEntries) -> Log {
        if let known = before.state, before.damage == nil {
            do {
                if try holds(known) {
                    var next = known
                    while try readOn(&next) {}
                    return Log(state: next, epoch: before.epoch)
                }
            } catch {
                let failure = Self.failure(error)
                // Damage is looked at from the beginning: what else there is may be readable.
                if failure.code != .corrupt { return Self.unreadable(before, failure) }
            }
        }
        return readAnew(before, id, made)
    }

    /// What was read is still right, but nobody knows what came behind it.
    private static func unreadable(_ before: Log, _ failure: Failure) -> Log {
        var log = before
        log.damage = failure
        log.state?.damage = failure
        log.state?.endIsUnknown = failure
        return log
    }

    private func readAnew(_ before: Log, _ id: String, _ made: MadeEntries) -> Log {
        var scan = LogScan(self, id, made: made)
        do {
            try scan.run()
        } catch {
            return Self.unreadable(before, Self.failure(error))
        }
        var log = Log(state: scan.state, damage: scan.damage, epoch: before.epoch)
        if let old = before.state {
            let isContinued = log.state.map { self.isContinued(old, by: $0) } ?? false
            if !isContinued { log.epoch += 1 }
            if !isContinued, log.damage == nil { noteSetback(old, to: log.state) }
        }
        log.state?.epoch = log.epoch
        return log
    }

    /// Whether what was read before is the past of what is read now.
    private func isContinued(_ old: CollectionState, by new: CollectionState) -> Bool {
        // What was damaged then may have been mended.
        if old.damage != nil { return new.lastEntry >= old.lastEntry }
        guard new.lastEntry >= old.lastEntry, let hash = old.lastHash else { return false }
        if new.lastEntry == old.lastEntry { return new.lastHash == hash }
        return (try? ends(entry: old.lastEntry, of: old.id, in: hash)) ?? false
    }

    /// The next entry, applied; false if there is none yet.
    private func readOn(_ state: inout CollectionState) throws -> Bool {
        let number = state.lastEntry + 1
        guard let bytes = try readEntry(number, state.id) else { return false }
        try naming(path(number, state.id)) {
            try state.follow(try LogFile(bytes, shared: SharedValues()))
        }
        return true
    }

    /// Whether the log still has, as its last known entry, the one that the state came from.
    func holds(_ state: CollectionState) throws -> Bool {
        guard let hash = state.lastHash else { return true }
        // The hash that a lost entry stands for is that of no file.
        if state.lostEntries.last == state.lastEntry {
            return try storage.size(of: Self.entryName(state.lastEntry, state.id)) != nil
        }
        return try ends(entry: state.lastEntry, of: state.id, in: hash)
    }

    /// Whether the entry is there and closed by this hash: a look at its last bytes.
    private func ends(entry number: UInt64, of id: String, in hash: String) throws -> Bool {
        guard let object = try storage.open(Self.entryName(number, id)) else { return false }
        let size = try object.sizeBytes
        guard size > UInt64(Trailer.count) else { return false }
        let tail = try [UInt8](unsafeUninitializedCapacity: Trailer.count) { buffer, count in
            count = try object.read(
                at: size - UInt64(Trailer.count), into: UnsafeMutableRawBufferPointer(buffer))
        }
        return tail == Trailer.ending(hash)
    }

    // MARK: Entries

    /// Numbers of the entries that are there, in order. Files of strangers are none.
    func entryNumbers(_ id: String) throws -> [UInt64] {
        try storage.numbers(in: "collections/\(id)/log").filter { $0 > 0 }
    }

    func entry(_ number: UInt64, _ id: String, _ shared: SharedValues) throws -> LogFile {
        guard let bytes = try readEntry(number, id) else { throw missing(number...number, id) }
        return try naming(path(number, id)) {
            let file = try LogFile(bytes, shared: shared)
            guard file.number == number else {
                throw Failure(.corrupt, "it is a copy of entry \(file.number)")
            }
            return file
        }
    }

    func missing(_ numbers: ClosedRange<UInt64>, _ id: String) -> Failure {
        let first = path(numbers.lowerBound, id)
        if numbers.count == 1 { return Failure(.corrupt, "\(first) is missing") }
        return Failure(
            .corrupt, "\(first) and those up to \(LogFile.name(numbers.upperBound)) are missing")
    }

    func path(_ number: UInt64, _ id: String) -> String {
        "\(storage.location)/\(Self.entryName(number, id))"
    }

    static func entryName(_ number: UInt64, _ id: String) -> String {
        "collections/\(id)/log/\(LogFile.name(number))"
    }

    func readEntry(_ number: UInt64, _ id: String) throws -> [UInt8]? {
        try storage.read(Self.entryName(number, id), limit: LogFile.limitBytes)
    }

    /// The state in a catalog, which must be that before the entry that names it.
    func catalog(
        _ reference: CatalogReference, before file: LogFile, _ id: String
    ) throws -> CollectionState {
        let name = FilePlace.object(reference.name, of: id)
        return try naming("\(storage.location)/\(name)") {
            let bytes = try catalogBytes(reference, id)
            let state = try CatalogFile.decoded(CatalogFile.buffer(bytes), id: id)
            guard collectionID(state.name) == id, state.lastEntry + 1 == file.number,
                state.lastHash == file.previous
            else { throw Failure(.corrupt, "it doesn't belong to entry \(file.number)") }
            return state
        }
    }

    private func catalogBytes(_ reference: CatalogReference, _ id: String) throws -> [UInt8] {
        guard DataFileKind(name: reference.name) == .cat else {
            throw Failure(.corrupt, "it is no name of a catalog")
        }
        let name = FilePlace.object(reference.name, of: id)
        guard let bytes = try storage.read(name, limit: CatalogFile.limitBytes) else {
            throw Failure(.corrupt, "it is missing")
        }
        guard bytes.count == reference.bytes,
            hexText(SHA256.hash(data: bytes)) == reference.sha256
        else { throw Failure(.corrupt, "it is cut off or changed: its SHA-256 doesn't match") }
        return bytes
    }

    /// Why a catalog can't be read, if it is damaged. One of another version is none of ours.
    func damage(of reference: CatalogReference, _ id: String) -> Failure? {
        do {
            _ = try catalogBytes(reference, id)
            return nil
        } catch let failure as Failure where failure.code == .corrupt {
            let name = FilePlace.object(reference.name, of: id)
            return Failure(.corrupt, "\(storage.location)/\(name): \(failure.message)")
        } catch {
            return nil
        }
    }

    /// What is wrong with what a catalog says, if it is still there and whole: `state` is what the
    /// entries before it come to.
    func checkCatalog(_ reference: CatalogReference, _ state: CollectionState) -> Failure? {
        guard let bytes = try? catalogBytes(reference, state.id) else { return nil }
        // One of another version can't be compared, and isn't used either.
        guard let content = try? CatalogFile.content(CatalogFile.buffer(bytes)),
            content.array != CatalogFile.content(of: state).array
        else { return nil }
        return Failure(
            .corrupt,
            "\(storage.location)/\(FilePlace.object(reference.name, of: state.id)) says something "
                + "else than the log that it repeats")
    }

    /// Adds the file's name to what went wrong with it.
    private func naming<R>(_ path: String, _ body: () throws -> R) throws -> R {
        do {
            return try body()
        } catch let failure as Failure {
            throw Failure(failure.code, "\(path): \(failure.message)")
        }
    }

    func named(_ failure: Failure, _ number: UInt64, _ id: String) -> Failure {
        Failure(failure.code, "\(path(number, id)): \(failure.message)")
    }

    static func failure(_ error: any Error) -> Failure {
        error as? Failure ?? Failure(.system, "\(error)")
    }
}
