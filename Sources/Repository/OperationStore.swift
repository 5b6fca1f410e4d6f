import Bytes
import Synchronization

/// What an operation was asked to do.
package struct OperationStart: Sendable, Equatable {
    /// Increasing, never used again; given by `OperationStore.begin`.
    package internal(set) var id: UInt64 = 0
    package var statement: String
    /// Who asked.
    package var owner: UInt32
    package var collection: String?
    /// `backup`, `restore`, …: the engine's word.
    package var kind: String
    /// Microseconds since 1970.
    package var time: Int64
    /// The user's token for a backup.
    package var uid: String?
    /// Who runs it: the name of the file that its process has locked, see `OperationOwner`.
    package internal(set) var runner: String?

    package init(
        statement: String, owner: UInt32, collection: String?, kind: String, time: Int64,
        uid: String? = nil
    ) {
        self.statement = statement
        self.owner = owner
        self.collection = collection
        self.kind = kind
        self.time = time
        self.uid = uid
    }
}

/// How an operation ended.
package struct OperationEnd: Sendable, Equatable {
    package enum State: String, Sendable { case done, failed, cancelled }

    package var state: State
    package var error: String?
    /// Microseconds since 1970.
    package var time: Int64
    package var rows: UInt64
    package var bytes: UInt64
    /// Name of the point that it made or worked on.
    package var point: String?
    /// What the user should know although it succeeded, a line each.
    package var notes: [String]
    /// How many tables it left out although it is done.
    package var incomplete: UInt64
    /// The first of them, with the reasons.
    package var leftOut: [NotBackedUp]
    /// The last entry that it added to the log of its collection, if any.
    package var entry: EntryMark?

    package init(
        state: State, error: String? = nil, time: Int64, rows: UInt64 = 0, bytes: UInt64 = 0,
        point: String? = nil, notes: [String] = [], incomplete: UInt64 = 0,
        leftOut: [NotBackedUp] = [], entry: EntryMark? = nil
    ) {
        self.state = state
        self.error = error
        self.time = time
        self.rows = rows
        self.bytes = bytes
        self.point = point
        self.notes = notes
        self.incomplete = incomplete
        self.leftOut = leftOut
        self.entry = entry
    }
}

/// Which entry of a log, and what it said: its SHA-256.
package struct EntryMark: Sendable, Equatable {
    package var number: UInt64
    package var hash: String

    package init(number: UInt64, hash: String) {
        self.number = number
        self.hash = hash
    }
}

package struct OperationRecord: Sendable, Equatable {
    package var start: OperationStart
    /// Nil while it runs, and for ever if its process was killed.
    package var end: OperationEnd?
    /// True if it has no end and nobody is left who could write one.
    package var isInterrupted: Bool
}

/// The journal of operations in `operations/`: a file at the start of each, another at its end, and
/// one in between if somebody else than its process asked to cancel it. The newest 1,000 are kept.
package final class OperationStore: Sendable {
    private let storage: any Storage
    private let reserve: Reserve
    /// Throws if the journal isn't that of the repository that was opened any more.
    private let checkPlace: @Sendable () throws -> Void
    private let owner: OperationOwner
    package static let limit: UInt64 = 1000
    static let directory = "operations"
    private static let recordLimitBytes = 4 << 20

    init(
        _ storage: any Storage, _ reserve: Reserve,
        checkPlace: @escaping @Sendable () throws -> Void
    ) {
        self.storage = storage
        self.reserve = reserve
        self.checkPlace = checkPlace
        owner = OperationOwner(storage)
    }

    /// Whether this process, by this store, runs it.
    package func isOwn(_ operation: OperationStart) -> Bool { owner.isOwn(operation.runner) }

    /// No operation is running any more.
    package func close() { owner.end() }

    private static func name(_ id: UInt64, _ suffix: String) -> String {
        "\(directory)/\(paddedName(id))\(suffix).json"
    }

    /// Journals the start, durably, and returns the record with its id.
    ///
    /// - Parameters:
    ///   - claim: what may be given up for it on a full disk.
    ///   - last: a number that was used, whether the journal still knows it or not.
    package func begin(
        _ operation: OperationStart, _ claim: Reserve.Claim = .recording, after last: UInt64 = 0
    ) throws -> OperationStart {
        try checkPlace()
        var operation = operation
        operation.runner = try owner.name()
        // Listed each time: a number that was used and removed since must not be used again.
        let listed = try storage.list(Self.directory)
        try owner.removeEnded(among: listed)
        try removeUnfinished()
        var ids = Self.listing(listed).ids
        repeat {
            operation.id = max(ids.max() ?? 0, last) + 1
            ids.insert(operation.id)
        } while try !reserve.publish(
            operation.sealed, as: Self.name(operation.id, ""),
            claim)
        for id in ids.sorted().dropLast(Int(Self.limit)) { try remove(id) }
        return operation
    }

    /// Forgets an operation, which must not be the newest: its number would be used again.
    package func remove(_ id: UInt64) throws {
        for suffix in [".end", ".cancel", ""] { try storage.remove(Self.name(id, suffix)) }
    }

    /// Operations that stay in the journal whatever room is needed.
    private static let keptOperations = 4

    /// Forgets the oldest operation that has ended, for its room.
    static func forgetOldest(_ storage: any Storage) throws -> Bool {
        let listing = listing(try storage.list("operations"))
        let old = listing.ids.sorted().dropLast(keptOperations)
        guard let oldest = old.first(where: listing.ended.contains) else { return false }
        for suffix in [".end", ".cancel", ""] { try storage.remove(name(oldest, suffix)) }
        return true
    }

    /// Journals the end, durably. False if the operation had another end already.
    ///
    /// - Parameter claim: what may be given up for it on a full disk.
    @discardableResult
    package func end(
        _ id: UInt64, _ end: OperationEnd, _ claim: Reserve.Claim = .recording
    ) throws -> Bool {
        try checkPlace()
        return try reserve.publish(end.sealed, as: Self.name(id, ".end"), claim)
    }

    /// Asks the process that runs the operation to cancel it, durably.
    package func requestCancel(_ id: UInt64) throws {
        try checkPlace()
        var json = JSONWriter()
        json.object { $0.member("id", id) }
        _ = try reserve.publish(
            Trailer.sealed(json.bytes).bytes, as: Self.name(id, ".cancel"), .recording)
    }

    /// What the journal's names tell, without reading any of it.
    package struct Listing: Sendable {
        package var ids: Set<UInt64> = []
        package var ended: Set<UInt64> = []
        package var cancelled: Set<UInt64> = []
    }

    package func look() throws -> Listing { Self.listing(try storage.list(Self.directory)) }

    private static func listing(_ names: [String]) -> Listing {
        var listing = Listing()
        for name in names {
            let parts = name.split(separator: ".", omittingEmptySubsequences: false)
            guard let id = LogFile.number("\(parts[0]).json"), parts.last == "json" else {
                continue
            }
            switch parts.dropFirst().dropLast() {
            case []: listing.ids.insert(id)
            case ["end"]: listing.ended.insert(id)
            case ["cancel"]: listing.cancelled.insert(id)
            default: continue
            }
        }
        return listing
    }

    /// The newest operations, newest first. One that can't be read is left out: the journal tells
    /// what happened, nothing is derived from it.
    package func newest(_ count: Int = Int(limit)) throws -> [OperationRecord] {
        records(try look().ids.sorted(by: >).prefix(count).map(\.self))
    }

    /// Those of these operations that can be read, in the same order. All processors read: on a disk
    /// that was idle, hundreds of small files take most of the time until a mount is usable.
    package func records(_ ids: [UInt64]) -> [OperationRecord] {
        let size = 16
        let found = Mutex<[Int: [OperationRecord]]>([:])
        concurrentPerform(iterations: (ids.count + size - 1) / size) { chunk in
            let records = ids.dropFirst(chunk * size).prefix(size).compactMap { try? record($0) }
            found.withLock { $0[chunk] = records }
        }
        return found.withLock { $0.sorted { $0.key < $1.key }.flatMap(\.value) }
    }

    /// Throws `.notFound` if there is none, or no longer.
    package func record(_ id: UInt64) throws -> OperationRecord {
        guard let start: OperationStart = try read(Self.name(id, "")) else {
            throw Failure(.notFound, "there is no operation \(id)")
        }
        guard start.id == id else {
            throw Failure(
                .corrupt,
                "\(storage.location)/\(Self.name(id, "")) is that of operation \(start.id)")
        }
        let end: OperationEnd? = try read(Self.name(id, ".end"))
        if end != nil || isRunning(start) {
            return OperationRecord(start: start, end: end, isInterrupted: false)
        }
        // It may have ended just before its process did.
        let late: OperationEnd? = try read(Self.name(id, ".end"))
        return OperationRecord(start: start, end: late, isInterrupted: late == nil)
    }

    private func isRunning(_ start: OperationStart) -> Bool {
        start.runner.map { !owner.hasEnded($0) } ?? false
    }

    /// The record as it is now, if nobody works on it any more.
    package func interrupted(_ record: OperationRecord) -> OperationRecord? {
        isRunning(record.start) ? nil : try? self.record(record.start.id)
    }

    /// Removes temporaries of processes that were killed while they wrote here.
    private func removeUnfinished() throws {
        try storage.removeUnfinished(in: Self.directory, olderThan: 3600)
    }

    private func read<T: JSONValue>(_ name: String) throws -> T? {
        try storage.record(name, limit: Self.recordLimitBytes)
    }
}

extension OperationEnd.State: JSONValue {}

extension OperationStart: JSONValue {
    init(json: inout JSONReader) throws {
        let member = try json.members()
        try self.init(
            statement: member("statement"), owner: member("owner"),
            collection: member.optional("collection"), kind: member("kind"), time: member("time"),
            uid: member.optional("uid"))
        id = try member("id")
        runner = try member.optional("runner")
        try checkBounds()
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("id", id)
            json.member("statement", statement)
            json.member("owner", owner)
            json.member("collection", collection)
            json.member("kind", kind)
            json.member("time", time)
            json.member("uid", uid)
            json.member("runner", runner)
            // Two that start alike at the same time must not take each other's file for their own.
            json.member("attempt", randomHex())
        }
    }
}

extension OperationEnd: JSONValue {
    init(json: inout JSONReader) throws {
        let member = try json.members()
        try self.init(
            state: member("state"), error: member.optional("error"), time: member("time"),
            rows: member.optional("rows") ?? 0, bytes: member.optional("bytes") ?? 0,
            point: member.optional("point"), notes: member.optional("notes") ?? [],
            incomplete: member.optional("incomplete") ?? 0,
            leftOut: member.optional("leftOut") ?? [], entry: member.optional("entry"))
        try checkBounds()
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("state", state)
            json.member("error", error)
            json.member("time", time)
            json.member("rows", rows)
            json.member("bytes", bytes)
            json.member("point", point)
            if !notes.isEmpty { json.member("notes", notes) }
            if incomplete > 0 { json.member("incomplete", incomplete) }
            if !leftOut.isEmpty { json.member("leftOut", leftOut) }
            json.member("entry", entry)
        }
    }
}

extension EntryMark: JSONValue {
    init(json: inout JSONReader) throws {
        let member = try json.members()
        try self.init(number: member("number"), hash: member("hash"))
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("number", number)
            json.member("hash", hash)
        }
    }
}
