import Bytes

/// The newest look at the source that found nothing to back up, in `collections/CID/looked`. Beside the
/// log, as nothing rests on it: without it a schedule looks once more.
package struct Look: Sendable, Equatable {
    /// Microseconds since 1970.
    package var time: Int64
    /// The token of the operation, which no point bears.
    package var uid: String?
    /// How many there were since what is known of the newest point's cut was written.
    package var count: UInt32
    /// Sequence and hash of that point.
    fileprivate var point: UInt64
    fileprivate var hash: String
}

extension Repository {
    private static let lookLimitBytes = 1 << 16

    fileprivate static func lookName(_ id: String) -> String { "collections/\(id)/looked" }

    /// The newest look since the newest point was made; nil if there was none.
    package func look(of collection: CollectionState) -> Look? {
        let found: Look?? = try? storage.record(
            Self.lookName(collection.id), limit: Self.lookLimitBytes)
        guard let newest = collection.newest, let look = found ?? nil,
            look.point == newest.sequence, look.hash == newest.hash
        else { return nil }
        return look
    }
}

extension WriterLock {
    /// Records that there was nothing to back up since the newest point.
    ///
    /// - Parameter countsAnew: everything was compared, or what is known was written anew.
    package func recordLook(time: Int64, uid: String?, countsAnew: Bool) throws {
        guard let state = current, let newest = state.newest else { return }
        let before = repository.look(of: state)?.count ?? 0
        let look = Look(
            time: time, uid: uid, count: countsAnew ? 0 : before &+ 1, point: newest.sequence,
            hash: newest.hash)
        try repository.checkPlace()
        try repository.storage.replace(Repository.lookName(id), with: look)
    }
}

extension Look: JSONValue {
    init(json: inout JSONReader) throws {
        let member = try json.members()
        try self.init(
            time: member("time"), uid: member.optional("uid"), count: member("count"),
            point: member("point"), hash: member("hash"))
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("time", time)
            json.member("uid", uid)
            json.member("count", count)
            json.member("point", point)
            json.member("hash", hash)
        }
    }
}
