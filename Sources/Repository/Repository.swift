import Bytes
import Crypto
import Dispatch
import Synchronization

/// The collections of one location, as far as they were read. Opening, reading and refreshing write
/// nothing. Any thread may call any method.
package final class Repository: Sendable {
    /// 32 hexadecimal digits, random, fixed at creation.
    package let id: String
    package let storage: any Storage
    package let operations: OperationStore
    let dataFiles: DataFileCache
    private let logs = Mutex<[String: Log]>([:])

    /// What was read of one collection's log.
    private struct Log: Sendable {
        /// Nil if not even the first entry could be read: then `damage` says why.
        var state: CollectionState?
        var damage: Failure?
        var lastEntry: UInt64 { state?.lastEntry ?? 0 }
    }

    private static let descriptor = "repository.json"
    private static let format = 1

    private init(id: String, storage: any Storage) {
        self.id = id
        self.storage = storage
        operations = OperationStore(storage)
        dataFiles = DataFileCache(storage)
    }

    // MARK: Opening

    /// Opens and reads the repository at a directory. Throws `.notFound` if there is none.
    package static func open(_ location: String) throws -> Repository {
        try open(DirectoryStorage(location))
    }

    package static func open(_ storage: any Storage) throws -> Repository {
        guard let bytes = try storage.read(descriptor, limit: 1 << 16) else {
            throw Failure(.notFound, "there is no repository at \(storage.location)")
        }
        let id: String
        do {
            id = try parse(bytes)
        } catch let failure as Failure {
            throw Failure(failure.code, "\(storage.location)/\(descriptor): \(failure.message)")
        }
        let repository = Repository(id: id, storage: storage)
        try repository.refresh()
        return repository
    }

    /// Makes a repository there, or opens the one that is there.
    package static func create(_ location: String) throws -> Repository {
        try create(DirectoryStorage(location))
    }

    package static func create(_ storage: any Storage) throws -> Repository {
        if try storage.read(descriptor, limit: 1 << 16) == nil {
            var json = JSONWriter()
            json.object { json in
                json.member("format", format)
                json.member("id", randomHex())
            }
            // If another process was faster, its repository is the one.
            _ = try storage.publish(json.bytes, as: descriptor)
        }
        try storage.settle("")
        return try open(storage)
    }

    private static func parse(_ bytes: [UInt8]) throws -> String {
        var format: Int?
        var id: String?
        var json = JSONReader(bytes[...])
        try json.object { key, json in
            switch key {
            case "format": format = try json.integer(Int.self)
            case "id": id = try json.string()
            default: try json.skip()
            }
        }
        guard try json.required(format, key: "format") == Self.format else {
            throw Failure(
                .unsupported, "format \(format ?? 0) is of another version of ydbfs: use that one")
        }
        guard let id, isHex(id, count: 32) else { throw Failure(.corrupt, "it has no right id") }
        return id
    }

    // MARK: Collections

    /// Every collection that was ever defined and not dropped, by name.
    package var collections: [CollectionState] {
        logs.withLock { $0.values.compactMap(\.state) }.filter { !$0.isDropped }
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
        logs.withLock { $0.sorted { $0.key < $1.key }.compactMap(\.value.damage) }
    }

    /// 128 bits in hexadecimal digits: user names never reach the storage.
    package func collectionID(_ name: String) -> String {
        let key = SymmetricKey(data: Array(id.utf8))
        var code = HMAC<SHA256>(key: key)
        code.update(data: Array(name.utf8))
        return hexText(code.finalize().prefix(16))
    }

    // MARK: Reading logs

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
        logs.withLock { logs in
            // Somebody else may have read further meanwhile.
            if let now = logs[id], now.lastEntry > after.lastEntry { return }
            logs[id] = after
        }
        return after.state?.name
    }

    /// Takes a state that a writer has just made by its own entry.
    func publish(_ state: CollectionState) {
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
            log.damage = error as? Failure ?? Failure(.system, "\(error)")
        }
        log.state?.damage = log.damage
        return log
    }

    /// Reads a log from its beginning: entries are independent until they are applied, so all
    /// processors decode.
    private func readAll(_ log: inout Log, _ id: String) throws {
        let listed = try storage.list("collections/\(id)/log").compactMap(LogFile.number)
        guard let last = listed.max() else { return }
        guard last == UInt64(Set(listed).count) else {
            throw Failure(
                .corrupt,
                "\(storage.location)/collections/\(id)/log: of \(last) entries only "
                    + "\(listed.count) are there")
        }
        let size = 64
        let chunks = (Int(last) + size - 1) / size
        let decoded = Mutex<[Int: [Result<LogFile, Failure>]]>([:])
        DispatchQueue.concurrentPerform(iterations: chunks) { chunk in
            let shared = SharedValues()
            let numbers = UInt64(chunk * size + 1)...min(last, UInt64((chunk + 1) * size))
            let files = numbers.map { number in
                Result<LogFile, any Error> {
                    guard let bytes = try readEntry(number, id) else {
                        throw Failure(.corrupt, "\(path(number, id)) is missing")
                    }
                    return try decode(bytes, number, id, shared)
                }.mapError { $0 as? Failure ?? Failure(.system, "\($0)") }
            }
            decoded.withLock { $0[chunk] = files }
        }
        let files = decoded.withLock { $0.sorted { $0.key < $1.key }.flatMap(\.value) }
        for count in files.indices {
            do {
                try apply(files[count].get(), to: &log, id)
            } catch {
                // What was applied halfway is of no use: as far as all was right, once more.
                log.state = nil
                for file in files[..<count] { try apply(file.get(), to: &log, id) }
                throw error
            }
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

    // MARK: Files and room

    /// A file of the collection, for reading at any place.
    package func file(_ number: UInt64, of collection: CollectionState) throws -> DataFile {
        DataFile(
            try collection.file(number), directory: "collections/\(collection.id)/data",
            cache: dataFiles)
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
