import Bytes
import Repository
import Synchronization
import Tables

/// A backup, definition, … as it goes: shown under `operations/ID/`.
package final class Operation: Sendable {
    package enum State: String, Sendable {
        case queued, running, cancelling, done, failed, cancelled

        package var isFinal: Bool { self == .done || self == .failed || self == .cancelled }
    }

    package struct Status: Sendable {
        package var state: State = .queued
        /// It was never accepted.
        package fileprivate(set) var isRefusal = false
        package var rows: UInt64 = 0
        /// Rows to go through in all, if that is known.
        package var totalRows: UInt64?
        package var bytes: UInt64 = 0
        /// Of `totalRows`: those of tables that are done, and those of the table at work; nil if it
        /// doesn't go by tables.
        private var doneRows: UInt64 = 0
        private var tableRows: UInt64?
        /// `rows` when the table at work began.
        private var rowsBefore: UInt64 = 0
        /// What it looked at in stored files, once it has written its own; nil for one of an earlier
        /// process.
        package var figures: FilePool.Figures?
        package var started: Instant?
        package var ended: Instant?
        /// Why it failed or was cancelled.
        package var error: String?
        /// Name of the point that it made.
        package var point: String?
        /// What the user should know although it succeeded, a line each.
        package var notes: [String] = []
        /// What it waits for just now; nil if it works, or nobody knows.
        package var waitsFor: String? {
            state == .queued ? "what was asked for before it" : reasonToWait
        }
        fileprivate var reasonToWait: String?
        /// It was a backup that found nothing to do.
        package var foundNothing = false
        /// How many tables it left out: it ends as done all the same, if it gets so far.
        package private(set) var incomplete: UInt64 = 0
        /// The tables left out; only the first of them, if it is told by the journal.
        package private(set) var leftOut: [NotBackedUp] = []

        /// A table isn't in what the operation makes, or wasn't looked at.
        package mutating func leaveOut(_ table: NotBackedUp) {
            incomplete += 1
            leftOut.append(table)
        }

        /// From here on it goes through a table that counts for so many rows of `totalRows`.
        mutating func beginTable(rows count: UInt64) {
            doneRows = [doneRows, tableRows ?? 0].total
            tableRows = count
            rowsBefore = rows
        }

        /// Seconds until its end if it goes on as until now; nil as long as nobody can say.
        package func secondsLeft(at now: Instant) -> Int64? {
            guard state == .running, let started, let totalRows else { return nil }
            let passed = rows - min(rows, rowsBefore)
            let behind = doneRows + min(tableRows ?? passed, passed)
            let elapsed = now.microseconds - started.microseconds
            guard behind > 0, elapsed >= Self.estimatedAfterMicroseconds else { return nil }
            let left = Double(totalRows - min(totalRows, behind))
            let seconds = (Double(elapsed) / 1e6 * left / Double(behind)).rounded(.up)
            return seconds <= Double(Period.maximumSeconds) ? Int64(seconds) : nil
        }

        private static let estimatedAfterMicroseconds: Int64 = 200_000

        fileprivate mutating func takeLeftOut(of end: OperationEnd) {
            incomplete = end.incomplete
            leftOut = end.leftOut
        }
    }

    package let id: UInt64
    package let statement: String
    /// `backup`, `create`, …
    package let kind: String
    package let collection: String
    package let owner: UInt32
    package let accepted: Instant
    package let uid: String?
    /// Another process works on it.
    package let isForeign: Bool
    private let limit: RateLimit?

    private struct Watched: Sendable {
        var status = Status()
        var watchers: [UInt64: @Sendable (Status) -> Void] = [:]
        var nextWatcher: UInt64 = 1
    }

    private let watched: Monitor<Watched>
    /// What may end it besides a request.
    private let condition = Mutex<Kept<@Sendable () throws -> Void>?>(nil)

    package init(
        id: UInt64, statement: String, kind: String, collection: String, owner: UInt32,
        accepted: Instant, uid: String?, isForeign: Bool = false, limit: RateLimit? = nil
    ) {
        self.id = id
        self.statement = statement
        self.kind = kind
        self.collection = collection
        self.owner = owner
        self.accepted = accepted
        self.uid = uid
        self.isForeign = isForeign
        self.limit = limit
        watched = Monitor(Watched())
    }

    /// One that no journal knows: work of a process on its own.
    package static func unrecorded(_ statement: String, of collection: String = "") -> Operation {
        Operation(
            id: 0, statement: statement, kind: "", collection: collection, owner: 0, accepted: .now,
            uid: nil)
    }

    /// A statement that was refused: it is no operation, but what became of it is told like that of
    /// one, so that whoever asks for the newest doesn't hear of an older one.
    static func refusal(
        _ number: UInt64, _ text: String, _ error: String, collection: String, owner: UInt32
    ) -> Operation {
        let refusal = Operation(
            id: refusals | number, statement: text, kind: "refused", collection: collection,
            owner: owner, accepted: .now, uid: nil)
        refusal.update { $0.isRefusal = true }
        refusal.end(.failed, error: error)
        return refusal
    }

    /// Ids of refusals have this bit, those of operations never.
    private static let refusals: UInt64 = 1 << 51

    package var isRefusal: Bool { id & Self.refusals != 0 }

    /// `17`, or `r3` for a refusal.
    package var name: String { isRefusal ? "r\(id & ~Self.refusals)" : "\(id)" }

    /// The id that `name` says; nil if it is none.
    package static func id(named name: String) -> UInt64? {
        let digits = name.hasPrefix("r") ? String(name.dropFirst()) : name
        guard let number = UInt64(digits), "\(number)" == digits, number < refusals else {
            return nil
        }
        return name.hasPrefix("r") ? refusals | number : number
    }

    package var status: Status { watched.withLock(\.status) }

    /// Blocks until it ended, whichever way.
    package func wait() -> Status {
        watched.wait { $0.status.state.isFinal ? $0.status : nil }
    }

    /// As `wait`, for at most `seconds`; nil if it goes on.
    package func wait(seconds: Double) -> Status? {
        watched.wait(seconds: seconds) { $0.status.state.isFinal ? $0.status : nil }
    }

    /// Calls `body` once when it has ended, on any thread, at once if it has already. Answers a
    /// number for `forget`, or nil if `body` was called.
    package func whenEnded(_ body: @escaping @Sendable (Status) -> Void) -> UInt64? {
        let (ended, number): (Status?, UInt64?) = watched.withLock { state in
            if state.status.state.isFinal { return (state.status, nil) }
            let number = state.nextWatcher
            state.nextWatcher += 1
            state.watchers[number] = body
            return (nil, number)
        }
        if let ended { body(ended) }
        return number
    }

    /// Takes back a `whenEnded`; false if its body was called or is being called.
    package func forget(_ watcher: UInt64) -> Bool {
        watched.withLock { $0.watchers.removeValue(forKey: watcher) != nil }
    }

    /// Asks it to stop. Nothing happens if it has ended.
    package func cancel() {
        watched.update { state in
            switch state.status.state {
            case .queued, .running: state.status.state = .cancelling
            case .cancelling, .done, .failed, .cancelled: break
            }
        }
    }

    var isCancelling: Bool { watched.withLock { $0.status.state == .cancelling } }

    /// Begins, unless it was cancelled before.
    func start() -> Bool {
        watched.update { state in
            guard state.status.state == .queued else { return false }
            state.status.state = .running
            state.status.started = .now
            return true
        }
    }

    package func update(_ body: (inout Status) -> Void) { watched.withLock { body(&$0.status) } }

    /// Ends, calls `first`, and then tells everybody who waits.
    func end(
        _ state: State, error: String? = nil, at time: Instant = .now, first: () -> Void = {}
    ) {
        precondition(state.isFinal)
        let (status, watchers) = watched.update { watched in
            precondition(!watched.status.state.isFinal)
            watched.status.state = state
            watched.status.error = error
            watched.status.ended = time
            defer { watched.watchers = [:] }
            first()
            return (watched.status, watched.watchers)
        }
        for watcher in watchers.values { watcher(status) }
    }

    /// Takes over how an operation of another process ended.
    func restore(_ end: OperationEnd, first: () -> Void) {
        if status.state.isFinal { return }
        update { status in
            status.started = accepted
            status.rows = end.rows
            status.bytes = end.bytes
            status.point = end.point
            status.notes = end.notes
            status.takeLeftOut(of: end)
        }
        let state: State =
            switch end.state {
            case .done: .done
            case .cancelled: .cancelled
            case .failed: .failed
            }
        self.end(state, error: end.error, at: Instant(microseconds: end.time), first: first)
    }

    /// To be called before bytes are written: waits as long as the rate limit asks for.
    func willWrite(_ bytes: Int) throws {
        try pay(bytes)
        update { $0.bytes += UInt64(bytes) }
    }

    /// While `body` runs, that is what it waits for.
    func waiting<R>(for reason: String, _ body: () throws -> R) rethrows -> R {
        update { $0.reasonToWait = reason }
        defer { update { $0.reasonToWait = nil } }
        return try body()
    }

    /// Waits as long as the rate limit asks for these bytes.
    @Sendable func pay(_ bytes: Int) throws { try limit?.pay(bytes, checkpoint: checkpoint) }

    /// Checks for cancellation; to be called often while it works.
    package func checkpoint() throws {
        if isCancelling { throw Failure(.cancelled, "cancelled on request") }
        try condition.withLock(\.self)?.closure()
    }

    /// From here on every `checkpoint` asks this, too, which may throw to end the operation.
    package func check(_ condition: (@Sendable () throws -> Void)?) {
        self.condition.withLock { $0 = condition.map { Kept($0) } }
    }
}

extension Operation.Status {
    /// A line for each table that was left out, with the reason.
    package var leftOutLines: [String] { leftOut.lines(of: incomplete) }

    /// `done incomplete=2`: nothing half is called done.
    package var stateWords: String {
        isRefusal
            ? "refused"
            : state == .done && incomplete > 0 ? "done incomplete=\(incomplete)" : state.rawValue
    }

    /// One line that says how it ended, or how far it is.
    package var summary: String {
        switch state {
        case .queued: return "queued"
        case .running, .cancelling:
            let total = totalRows.map { " of \($0)" } ?? ""
            return "\(state.rawValue) rows=\(rows)\(total)"
        case .done:
            return [
                "done", point.map { "point=\($0)" },
                incomplete > 0 ? "incomplete=\(incomplete)" : nil, "rows=\(rows)",
                "bytes=\(bytes)", duration,
            ].compactMap(\.self).joined(separator: " ")
        case .failed: return "\(stateWords): \(error ?? "unknown")"
        case .cancelled: return "cancelled: \(error ?? "on request")"
        }
    }

    private var duration: String? {
        guard let started, let ended else { return nil }
        let tenths = max(0, (ended.microseconds - started.microseconds) / 100_000)
        return "seconds=\(tenths / 10).\(tenths % 10)"
    }
}
