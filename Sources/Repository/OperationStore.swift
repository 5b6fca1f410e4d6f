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
    /// Who runs it.
    package internal(set) var process: ProcessIdentity?

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

    package init(
        state: State, error: String? = nil, time: Int64, rows: UInt64 = 0, bytes: UInt64 = 0,
        point: String? = nil, notes: [String] = []
    ) {
        self.state = state
        self.error = error
        self.time = time
        self.rows = rows
        self.bytes = bytes
        self.point = point
        self.notes = notes
    }
}

package struct OperationRecord: Sendable, Equatable {
    package var start: OperationStart
    /// Nil while it runs, and for ever if its process was killed.
    package var end: OperationEnd?

    /// True if it has no end and nobody is left who could write one.
    package var isInterrupted: Bool { end == nil && start.process?.isGone ?? true }
}

/// The journal of operations in `operations/`: a file at the start of each, another at its end. The
/// newest 1,000 are kept.
package final class OperationStore: Sendable {
    private let storage: any Storage
    /// Ids that are still stored, once they were listed; at most a few more than `limit`.
    private let stored = Mutex<Set<UInt64>?>(nil)

    package static let limit: UInt64 = 1000
    private static let recordLimitBytes = 4 << 20

    init(_ storage: any Storage) { self.storage = storage }

    private static func name(_ id: UInt64, _ suffix: String) -> String {
        "operations/\(paddedName(id))\(suffix).json"
    }

    /// Journals the start, durably, and returns the record with its id.
    package func begin(_ operation: OperationStart) throws -> OperationStart {
        var operation = operation
        operation.process = .current
        var ids = try stored.withLock { $0 } ?? list()
        repeat {
            operation.id = (ids.max() ?? 0) + 1
            ids.insert(operation.id)
        } while try !storage.publish(
            Trailer.sealed(json(operation)).bytes, as: Self.name(operation.id, ""))
        for id in ids where id + Self.limit <= operation.id {
            try storage.remove(Self.name(id, ".end"))
            try storage.remove(Self.name(id, ""))
            ids.remove(id)
        }
        stored.withLock { $0 = ids }
        return operation
    }

    /// Journals the end, durably. False if the operation had another end already.
    @discardableResult
    package func end(_ id: UInt64, _ end: OperationEnd) throws -> Bool {
        try storage.publish(Trailer.sealed(json(end)).bytes, as: Self.name(id, ".end"))
    }

    /// The newest operations, newest first. One that can't be read is left out: the journal tells
    /// what happened, nothing is derived from it.
    package func newest(_ count: Int = Int(limit)) throws -> [OperationRecord] {
        try list().sorted(by: >).prefix(count).compactMap { try? record($0) }
    }

    /// Throws `.notFound` if there is none, or no longer.
    package func record(_ id: UInt64) throws -> OperationRecord {
        guard let start: OperationStart = try read(Self.name(id, "")) else {
            throw Failure(.notFound, "there is no operation \(id)")
        }
        return OperationRecord(start: start, end: try read(Self.name(id, ".end")))
    }

    /// Removes temporaries of processes that were killed while they wrote here.
    package func removeUnfinished() throws {
        try storage.removeUnfinished(in: "operations", olderThan: 3600)
    }

    private func list() throws -> Set<UInt64> {
        Set(try storage.list("operations").compactMap(LogFile.number))
    }

    private func json(_ value: some JSONValue) -> [UInt8] {
        var json = JSONWriter()
        value.write(json: &json)
        return json.bytes
    }

    private func read<T: JSONValue>(_ name: String) throws -> T? {
        guard let bytes = try storage.read(name, limit: Self.recordLimitBytes) else { return nil }
        do {
            _ = try Trailer.check(bytes)
            var json = JSONReader(bytes[...])
            return try T(json: &json)
        } catch let failure as Failure {
            throw Failure(failure.code, "\(storage.location)/\(name): \(failure.message)")
        }
    }
}

extension OperationEnd.State: JSONValue {}

extension OperationStart: JSONValue {
    init(json: inout JSONReader) throws {
        var id: UInt64?
        var statement: String?
        var owner: UInt32?
        var collection: String?
        var kind: String?
        var time: Int64?
        var uid: String?
        var process: ProcessIdentity?
        try json.object { key, json in
            switch key {
            case "id": id = try json.integer(UInt64.self)
            case "statement": statement = try json.string()
            case "owner": owner = try json.integer(UInt32.self)
            case "collection": collection = try json.string()
            case "kind": kind = try json.string()
            case "time": time = try json.integer(Int64.self)
            case "uid": uid = try json.string()
            case "process": process = try ProcessIdentity(json: &json)
            default: try json.skip()
            }
        }
        self.init(
            statement: try json.required(statement, key: "statement"),
            owner: try json.required(owner, key: "owner"), collection: collection,
            kind: try json.required(kind, key: "kind"), time: try json.required(time, key: "time"),
            uid: uid)
        self.id = try json.required(id, key: "id")
        self.process = process
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
            json.member("process", process)
            // Two that start alike at the same time must not take each other's file for their own.
            json.member("attempt", randomHex())
        }
    }
}

extension OperationEnd: JSONValue {
    init(json: inout JSONReader) throws {
        var state: State?
        var error: String?
        var time: Int64?
        var rows: UInt64 = 0
        var bytes: UInt64 = 0
        var point: String?
        var notes: [String] = []
        try json.object { key, json in
            switch key {
            case "state": state = try State(json: &json)
            case "error": error = try json.string()
            case "time": time = try json.integer(Int64.self)
            case "rows": rows = try json.integer(UInt64.self)
            case "bytes": bytes = try json.integer(UInt64.self)
            case "point": point = try json.string()
            case "notes": notes = try json.array(of: String.self)
            default: try json.skip()
            }
        }
        self.init(
            state: try json.required(state, key: "state"), error: error,
            time: try json.required(time, key: "time"), rows: rows, bytes: bytes, point: point,
            notes: notes)
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
        }
    }
}
