import Bytes
import Glibc
import Repository
import Tables

/// `VERIFY_EVERY`: a live mount reads a share of a collection's files now and then, so that each is read
/// once in a period, and compares them with the log. Only what is wrong becomes an operation.
struct ShareReading {
    let repository: Repository
    let collection: CollectionState
    let period: Period
    let now: Instant

    /// A period has so many shares.
    private static let shares: Int64 = 24

    /// Nil if no share is due. What was noted by a clock that was ahead doesn't keep it from being so.
    init?(_ repository: Repository, _ collection: CollectionState, now: Instant) {
        guard let stored = collection.definition?.settings,
            let period = (try? CollectionSettings(stored: stored))?.verifyEvery
        else { return nil }
        self.repository = repository
        self.collection = collection
        self.period = period
        self.now = now
        let pause = max(1, period.seconds / Self.shares)
        guard let round = repository.readingRound(of: collection) else { return }
        let last = Instant(microseconds: round.read)
        if last <= now, now < last + Period(seconds: pause) { return nil }
    }

    /// Reads a share; answers whether everything in it was as the log says.
    func run(_ checkpoint: () throws -> Void) throws -> Bool {
        guard let lock = try repository.roundLock(collection) else { return true }
        defer { withExtendedLifetime(lock) {} }
        var round =
            repository.readingRound(of: collection)
            ?? ReadingRound(began: now.microseconds, read: now.microseconds, next: 0)
        let files = collection.presentFiles
        let share = files.reduce(0) { $0 + $1.bytes / UInt64(Self.shares) } + 1
        var (bytes, isRight) = (UInt64(0), true)
        for file in files where file.number >= round.next && bytes < share {
            isRight = try isWhole(file, checkpoint) && isRight
            bytes += file.bytes
            round.next = file.number + 1
        }
        round.read = now.microseconds
        if (files.last?.number ?? 0) < round.next || files.isEmpty {
            round = ReadingRound(
                began: now.microseconds, completed: now.microseconds, read: now.microseconds,
                next: 0)
        }
        try repository.keep(round, of: collection)
        return isRight
    }

    private func isWhole(_ reference: FileReference, _ checkpoint: () throws -> Void) throws -> Bool
    {
        let file = repository.file(reference, of: collection)
        do {
            try file.verify { _ in try checkpoint() }
            if reference.name.hasSuffix(".parquet") {
                try RowFile(file).checkPages(progress: checkpoint)
            }
            return true
        } catch let failure as Failure where failure.code == .corrupt {
            // Whoever dropped its points may just have removed it.
            let present = try repository.reread(collection: collection.name).state?.presentFiles
            return present?.contains { $0.number == reference.number } == false
        }
    }
}

extension Engine {
    /// Reads the shares that are due, and verifies the whole of what isn't as it should be: that names
    /// the points that are harmed.
    package func readDueShares() {
        guard let repository else { return }
        for collection in collections {
            guard let share = ShareReading(repository, collection, now: options.clock()) else {
                continue
            }
            do {
                let isRight = try share.run {
                    if state.withLock(\.isClosing) { throw Failure(.cancelled, "unmounted") }
                }
                if isRight { continue }
                let text = "VERIFY \(quotedName(collection.name)) WITH (level = hashes)"
                _ = try submit(Statement.parse(text), owner: geteuid())
            } catch let failure as Failure where failure.code != .cancelled {
                errors.add(
                    "VERIFY_EVERY", message: "a share couldn't be read: \(failure.message)",
                    collection: collection.name)
            } catch {}
        }
    }
}
