import Bytes
import Crypto
import Synchronization

/// What was read of one collection's log.
struct Log: Sendable {
    /// Nil if not even the first entry could be read: then `damage` says why.
    var state: CollectionState?
    var damage: Failure?
    var lastEntry: UInt64 { state?.lastEntry ?? 0 }
}

/// Reading logs: from the newest catalog, or from the first entry, to the end.
extension Repository {
    /// Reads what was committed since, by whomever; returns the names of the collections that
    /// changed. Cheap when nothing did: one listing, and one look per collection.
    @discardableResult
    package func refresh() throws -> [String] {
        var changed: [String] = []
        for id in try storage.list("collections").sorted() where isHex(id, count: 32) {
            if let name = refresh(collection: id) { changed.append(name) }
        }
        return changed
    }

    /// Returns the collection's name if its state is another one now.
    private func refresh(collection id: String) -> String? {
        let before = logs.withLock { $0[id] } ?? Log()
        let after = read(before, id)
        guard after.lastEntry > before.lastEntry || after.damage != before.damage else {
            return nil
        }
        secureCondemned(after.state)
        logs.withLock { logs in
            // Somebody else may have read further meanwhile.
            if let now = logs[id], now.lastEntry > after.lastEntry { return }
            logs[id] = after
        }
        return after.state?.name
    }

    /// What is read here and condemned, by whomever, stays readable.
    private func secureCondemned(_ state: CollectionState?) {
        guard let state else { return }
        dataFiles.secure(state.condemned.keys.map { FilePlace.object($0, of: state.id) })
    }

    /// Takes a state that a writer has just made by its own entry.
    func publish(_ state: CollectionState) {
        secureCondemned(state)
        logs.withLock { logs in
            if let now = logs[state.id], now.lastEntry > state.lastEntry { return }
            logs[state.id] = Log(state: state)
        }
    }

    /// Reads one collection to its end, now. Nil if it has no log.
    func readToEnd(_ id: String) throws -> CollectionState? {
        _ = refresh(collection: id)
        let log = logs.withLock { $0[id] }
        if let damage = log?.damage { throw damage }
        return log?.state
    }

    private func read(_ before: Log, _ id: String) -> Log {
        var log = before
        log.damage = nil
        do {
            if before.lastEntry == 0 {
                try readAll(&log, id)
            }
            while let bytes = try readEntry(log.lastEntry + 1, id) {
                let file = try decode(bytes, log.lastEntry + 1, id, SharedValues())
                var next = log
                try apply(file, to: &next, id)
                log = next
            }
        } catch {
            log.damage = Self.failure(error)
        }
        log.state?.damage = log.damage
        return log
    }

    private typealias Entry = Result<LogFile, Failure>

    private static func failure(_ error: any Error) -> Failure {
        error as? Failure ?? Failure(.system, "\(error)")
    }

    /// Reads a log whose length isn't known. Its end first: among the newest entries is one that
    /// names a catalog, and those before that needn't be read.
    private func readAll(_ log: inout Log, _ id: String) throws {
        let last = try lastNumber(id)
        var number = last
        var newest: [Entry] = []
        var damage: Failure?
        let shared = SharedValues()
        let window = options.usesCatalogs ? min(last, 2 * options.catalogInterval) : 0
        while log.state == nil, damage == nil, last - number < window {
            let entry = self.entry(number, id, shared)
            newest.append(entry)
            number -= 1
            guard case .success(let file) = entry, case .catalog(let reference) = file.entry else {
                continue
            }
            do {
                log.state = try catalog(reference, before: file, id)
            } catch {
                damage = Self.failure(error)
            }
        }
        let start = log.state
        let older = start == nil ? entries(upTo: number, id) : []
        let files = older + newest.reversed()
        for count in files.indices {
            do {
                try apply(files[count].get(), to: &log, id)
            } catch {
                // What was applied halfway is of no use: as far as all was right, once more.
                log.state = start
                for file in files[..<count] { try apply(file.get(), to: &log, id) }
                log.state?.catalogDamage = damage
                throw error
            }
        }
        log.state?.catalogDamage = damage
    }

    /// The number of the newest entry, 0 if there is none; none may be missing before it.
    private func lastNumber(_ id: String) throws -> UInt64 {
        let listed = try storage.list("collections/\(id)/log").compactMap(LogFile.number)
        guard let last = listed.max() else { return 0 }
        guard last == UInt64(Set(listed).count) else {
            throw Failure(
                .corrupt,
                "\(storage.location)/collections/\(id)/log: of \(last) entries only "
                    + "\(listed.count) are there")
        }
        return last
    }

    /// The oldest entries of a log: they are independent until they are applied, so all processors
    /// decode.
    private func entries(upTo last: UInt64, _ id: String) -> [Entry] {
        let size = 64
        let chunks = (Int(last) + size - 1) / size
        let decoded = Mutex<[Int: [Entry]]>([:])
        concurrentPerform(iterations: chunks) { chunk in
            let shared = SharedValues()
            let numbers = UInt64(chunk * size + 1)...min(last, UInt64((chunk + 1) * size))
            let files = numbers.map { entry($0, id, shared) }
            decoded.withLock { $0[chunk] = files }
        }
        return decoded.withLock { $0.sorted { $0.key < $1.key }.flatMap(\.value) }
    }

    private func entry(_ number: UInt64, _ id: String, _ shared: SharedValues) -> Entry {
        do {
            guard let bytes = try readEntry(number, id) else {
                throw Failure(.corrupt, "\(path(number, id)) is missing")
            }
            return .success(try decode(bytes, number, id, shared))
        } catch {
            return .failure(Self.failure(error))
        }
    }

    /// The state in a catalog, which must be that before the entry that names it.
    private func catalog(
        _ reference: CatalogReference, before file: LogFile, _ id: String
    ) throws -> CollectionState {
        let name = FilePlace.object(reference.name, of: id)
        return try naming("\(storage.location)/\(name)") {
            guard DataFileKind(name: reference.name) == .cat else {
                throw Failure(.corrupt, "it is no name of a catalog")
            }
            guard let bytes = try storage.read(name, limit: CatalogFile.limitBytes) else {
                throw Failure(.corrupt, "it is missing")
            }
            guard bytes.count == reference.bytes,
                hexText(SHA256.hash(data: bytes)) == reference.sha256
            else { throw Failure(.corrupt, "it is cut off or changed: its SHA-256 doesn't match") }
            let buffer = ByteBuffer(capacity: max(1, bytes.count))
            buffer.append(bytes)
            let state = try CatalogFile.decoded(buffer, id: id)
            guard collectionID(state.name) == id, state.lastEntry + 1 == file.number,
                state.lastHash == file.previous
            else { throw Failure(.corrupt, "it is the catalog of something else") }
            return state
        }
    }

    private func path(_ number: UInt64, _ id: String) -> String {
        "\(storage.location)/\(Self.entryName(number, id))"
    }

    static func entryName(_ number: UInt64, _ id: String) -> String {
        "collections/\(id)/log/\(LogFile.name(number))"
    }

    private func readEntry(_ number: UInt64, _ id: String) throws -> [UInt8]? {
        try storage.read(Self.entryName(number, id), limit: LogFile.limitBytes)
    }

    private func decode(
        _ bytes: [UInt8], _ number: UInt64, _ id: String, _ shared: SharedValues
    ) throws -> LogFile {
        try naming(path(number, id)) { try LogFile(bytes, shared: shared) }
    }

    private func apply(_ file: LogFile, to log: inout Log, _ id: String) throws {
        try naming(path(log.lastEntry + 1, id)) {
            if log.state == nil {
                log.state = try CollectionState(first: file, id: id, identify: collectionID)
            } else {
                try log.state!.apply(file)
            }
        }
    }

    /// Adds the file's name to what went wrong with it.
    private func naming<R>(_ path: String, _ body: () throws -> R) throws -> R {
        do {
            return try body()
        } catch let failure as Failure {
            throw Failure(failure.code, "\(path): \(failure.message)")
        }
    }
}
