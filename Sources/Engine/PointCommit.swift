import Bytes
import Glibc
import Repository
import Tables

/// Adds one point to a collection: what backup and compaction have in common, and whatever else makes
/// points. The writer's lock first; then files, of which nothing stays if they are given up; then the
/// entry, from which on the point is there whatever happens; then what can be done later too.
struct PointCommit {
    let repository: Repository
    let collection: String
    let operation: Operation
    /// What makes the point, for the user: `the backup`.
    let maker: String

    /// Seconds to wait for a lock that others hold for an instant only.
    private static let patience = 5.0

    /// The writer's lock, and the collection as it is under it.
    func begin() throws -> (WriterLock, CollectionState, CollectionDefinition) {
        let lock = try operation.waiting(for: "another process that writes to \(collection)") {
            try repository.patientLock(collection: collection, seconds: Self.patience)
        }
        guard let state = lock.current, let definition = state.definition else {
            throw Failure(.notFound, "there is no collection \(collection)")
        }
        return (lock, state, definition)
    }

    /// Commits the point whose files `write` makes. If this throws, there is no point and no file,
    /// unless the entry itself failed: an error may hide that it is there.
    func commit(_ lock: WriterLock, write: () throws -> PointRecord) throws -> PointRecord {
        let point: PointRecord
        do {
            point = try write()
            try operation.checkpoint()
            try lock.settle()
        } catch {
            // On a full disk there would be no room for the next attempt.
            lock.removeUncommitted()
            throw error
        }
        try lock.append(.point(point))
        return point
    }

    /// What is left to do after the commit. Failures are told, but the point is durable.
    func finish(_ lock: WriterLock, _ body: () throws -> Void = {}) {
        do {
            try body()
            try lock.writeCatalogIfDue()
        } catch {
            let reason = (error as? Failure)?.message ?? "\(error)"
            operation.update { $0.notes.append("after \(maker): \(reason)") }
        }
    }
}

extension PointRecord {
    /// The point behind the newest one of `state`.
    ///
    /// - Parameters:
    ///   - name: nil for one by the cut's second.
    ///   - parent: nil for a full.
    ///   - files: those that were written for it.
    ///   - tables: those that changed since the parent; all of them in a full.
    init(
        after state: CollectionState, named name: String? = nil, parent: BackupPoint?, cut: Int64,
        operation: Operation, uid: String? = nil, files: [FileReference], tables: [TableRecord],
        removed: [UInt32] = [],
        notBackedUp: [NotBackedUp], views: String, facts: DatabaseFacts?,
        ownership: FileOwnership? = nil
    ) {
        self.init(
            sequence: state.nextSequence,
            name: name ?? state.nextPointName(cut: cut, isIncremental: parent != nil),
            kind: parent == nil ? .full : .incremental, parent: parent?.sequence,
            parentHash: parent?.hash, cut: cut, operation: operation.id, uid: uid,
            files: files, tables: tables, removed: removed, notBackedUp: notBackedUp,
            views: views, facts: facts, ownership: ownership)
    }
}

extension Repository {
    /// The writer's lock, asked for again for a while: others hold it for an instant when they only
    /// look whether they could have it, or while one of their children starts.
    func patientLock(collection: String, seconds: Double) throws -> WriterLock {
        let pauseSeconds = 0.01
        var rest = seconds
        while true {
            do {
                return try lock(collection: collection)
            } catch let failure as Failure where failure.code == .busy && rest > 0 {
                usleep(UInt32(pauseSeconds * 1_000_000))
                rest -= pauseSeconds
            }
        }
    }
}

extension CollectionState {
    /// UTC, in YDB's form: the cut's second. Where a point, live, dropped or lost, has that already, a
    /// number tells them apart: `20261121100000Z~2_full`.
    func nextPointName(cut: Int64, isIncremental: Bool) -> String {
        let second = Instant(microseconds: cut).pointName
        var base = second
        var number = 1
        while hasPoint(namedFrom: base) {
            number += 1
            base = "\(second)~\(number)"
        }
        return base + Self.nameEnding(isIncremental)
    }

    static func nameEnding(_ isIncremental: Bool) -> String {
        isIncremental ? "_incremental" : "_full"
    }

    private func hasPoint(namedFrom base: String) -> Bool {
        [false, true].contains { isIncremental in
            let name = base + Self.nameEnding(isIncremental)
            return isTaken(name: name) || lostPoints.contains { $0.name == name }
        }
    }
}

extension Repository {
    /// Waits for the next second if the newest point is named by the present one, so that every point
    /// has a second of its own; not if the clock has jumped back, or stands still.
    func waitForName(after state: CollectionState, _ operation: Operation) throws {
        guard let last = state.lastName.flatMap({ Instant(pointName: $0) }) else { return }
        let (pauseSeconds, pauses) = (0.02, 100)
        try operation.waiting(for: "the next second") {
            for _ in 0..<pauses {
                guard Instant(microseconds: options.now()).floorToSecond == last else { return }
                try options.pause(pauseSeconds) { try operation.checkpoint() }
            }
        }
    }
}
