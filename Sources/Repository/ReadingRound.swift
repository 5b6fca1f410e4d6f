import Bytes

/// How far the files of a collection have been read in turn, share by share, so that all of them are
/// read once in a while. In `collections/CID/round`: a note that may be lost, the next round begins
/// anew then.
package struct ReadingRound: Sendable, Equatable {
    /// When this round began, and when the last one ended; microseconds since 1970.
    package var began: Int64
    package var completed: Int64?
    /// When the last share was read.
    package var read: Int64
    /// Files of smaller numbers are done with.
    package var next: UInt64

    package init(began: Int64, completed: Int64? = nil, read: Int64, next: UInt64) {
        self.began = began
        self.completed = completed
        self.read = read
        self.next = next
    }
}

extension Repository {
    private static let roundLimitBytes = 1 << 12

    private func roundName(_ collection: CollectionState) -> String {
        "collections/\(collection.id)/round"
    }

    /// Nil if none was begun, or what tells of it is damaged.
    package func readingRound(of collection: CollectionState) -> ReadingRound? {
        let found: ReadingRound?? = try? storage.record(
            roundName(collection), limit: Self.roundLimitBytes)
        return found ?? nil
    }

    package func keep(_ round: ReadingRound, of collection: CollectionState) throws {
        try checkPlace()
        try storage.replace(roundName(collection), with: round)
    }

    /// The right to read a share, which no two processes have; nil if another has it.
    package func roundLock(_ collection: CollectionState) throws -> (any StorageLock)? {
        try checkPlace()
        return try storage.lock("collections/\(collection.id)/round.lock")
    }
}

extension ReadingRound: JSONValue {
    init(json: inout JSONReader) throws {
        let member = try json.members()
        try self.init(
            began: member("began"), completed: member.optional("completed"), read: member("read"),
            next: member("next"))
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("began", began)
            json.member("completed", completed)
            json.member("read", read)
            json.member("next", next)
        }
    }
}
