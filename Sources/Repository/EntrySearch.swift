import Bytes

/// Where lost entries of a log may still be found: in other files of the log, which something has
/// renamed or moved aside, then in a copy of the repository.
struct EntrySearch {
    struct Found {
        var file: LogFile
        var bytes: [UInt8]
        /// For users.
        var place: String
    }

    private let repository: Repository
    private let id: String
    private let copy: (any Storage)?
    private let journaled: JournaledLog
    /// By number, the log's own files that hold such an entry without being it.
    private let misplaced: [UInt64: [String]]

    /// - Parameter wrong: numbers under which something else lies than their entries.
    init(
        _ repository: Repository, _ id: String, wrong: Set<UInt64>, copy: (any Storage)?,
        _ journaled: JournaledLog
    ) throws {
        self.repository = repository
        self.id = id
        self.copy = copy
        self.journaled = journaled
        let folder = "collections/\(id)/log"
        let shared = SharedValues()
        var misplaced: [UInt64: [String]] = [:]
        for name in try repository.storage.list(folder).sorted() {
            if let number = LogFile.number(name), !wrong.contains(number) { continue }
            let found = try? repository.storage.entry("\(folder)/\(name)", shared)
            if let found { misplaced[found.file.number, default: []].append("\(folder)/\(name)") }
        }
        self.misplaced = misplaced
    }

    /// Nil if nobody has it. Throws what keeps from knowing that.
    func find(_ number: UInt64) throws -> Found? {
        let shared = SharedValues()
        let storage = repository.storage
        for name in misplaced[number] ?? [] {
            guard let (file, bytes) = try? storage.entry(name, shared),
                isRight(file, number, isOwn: true)
            else {
                continue
            }
            return Found(file: file, bytes: bytes, place: "\(storage.location)/\(name)")
        }
        let name = Repository.entryName(number, id)
        guard let copy, let (file, bytes) = try copy.entry(name, shared),
            isRight(file, number, isOwn: false)
        else { return nil }
        return Found(file: file, bytes: bytes, place: "\(copy.location)/\(name)")
    }

    /// Whether it is the entry: it follows the one before, and the one behind it says so, as does what
    /// is recorded of its loss. Where none is there to be asked the journal must not know better: a copy may
    /// have gone on by itself.
    private func isRight(_ file: LogFile, _ number: UInt64, isOwn: Bool) -> Bool {
        guard file.number == number else { return false }
        let shared = SharedValues()
        if number == 1 {
            guard file.previous == nil, file.collection.map(repository.collectionID) == id else {
                return false
            }
        } else if let before = try? repository.entry(number - 1, id, shared), before.lost == nil,
            before.hash != file.previous
        {
            return false
        }
        if let hash = (try? repository.entry(number, id, shared))?.lost?.hash, hash != file.hash {
            return false
        }
        // What stands for a lost entry knows only what was there when it was written.
        if let after = try? repository.entry(number + 1, id, shared), after.lost == nil {
            return after.previous == file.hash
        }
        return file.lost == nil && (isOwn || journaled.has(file) != false)
    }
}

extension Storage {
    /// What an object holds, if it is an entry of a log, whatever its name; otherwise nil. Throws what
    /// keeps from knowing that.
    func entry(
        _ name: String, _ shared: SharedValues
    ) throws -> (file: LogFile, bytes: [UInt8])? {
        do {
            guard let bytes = try read(name, limit: LogFile.limitBytes) else { return nil }
            return (try LogFile(bytes, shared: shared), bytes)
        } catch let failure as Failure where failure.code == .corrupt {
            return nil
        }
    }
}
