import Bytes

/// A point of others that couldn't be taken in, in `collections/CID/refused`. Beside the log, as nothing rests
/// on it: without it such points are looked at once more.
package struct RefusedPoint: Sendable, Hashable {
    /// Which files it was.
    package var token: String
    /// What it is to the user: a file's name.
    package var name: String
    package var reason: String

    package init(token: String, name: String, reason: String) {
        self.token = token
        self.name = name
        self.reason = reason
    }
}

extension Repository {
    fileprivate static let refusedKept = 500
    private static let refusedLimitBytes = 1 << 20

    fileprivate static func refusedName(_ id: String) -> String { "collections/\(id)/refused" }

    /// Those that are known, oldest first.
    package func refusedPoints(of collection: CollectionState) -> [RefusedPoint] {
        let found: RefusedPoints? = try? storage.record(
            Self.refusedName(collection.id), limit: Self.refusedLimitBytes)
        return found?.points ?? []
    }
}

extension WriterLock {
    /// Puts these in the place of those that are known; the newest, if there are very many.
    package func record(refused points: [RefusedPoint]) throws {
        try repository.checkPlace()
        try repository.storage.replace(
            Repository.refusedName(id),
            with: RefusedPoints(points: Array(points.suffix(Repository.refusedKept))))
    }
}

private struct RefusedPoints: JSONValue {
    var points: [RefusedPoint]

    init(points: [RefusedPoint]) { self.points = points }

    init(json: inout JSONReader) throws {
        let member = try json.members()
        try self.init(points: member("points"))
    }

    func write(json: inout JSONWriter) { json.object { $0.member("points", points) } }
}

extension RefusedPoint: JSONValue {
    private static let reasonLength = 300

    init(json: inout JSONReader) throws {
        let member = try json.members()
        try self.init(
            token: member("token"), name: member("name"), reason: member("reason"))
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("token", token)
            json.member("name", name)
            json.member("reason", String(reason.prefix(Self.reasonLength)))
        }
    }
}
