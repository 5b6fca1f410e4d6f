import Bytes
import Glibc
import Tables

/// The transactions in which a restore writes, so that other programs get their turns: bounded in
/// length while tables are loaded, with a pause after each.
final class WriteTurns {
    /// Seconds for which the database is locked at a time.
    private static let lockSeconds = 0.06
    /// The part of that time for which others may have it afterwards.
    private static let pauseShare = 0.15

    private let connection: Connection
    /// Whether others may use the database.
    private let isShared: Bool
    private let patience: Double
    private let attempt: RestoreAttempt
    /// When the open transaction began, in seconds; nil if there is none.
    private var lockedSince: Double?
    /// Bytes of rows that it has loaded.
    private var loadedBytes = 0
    private var pauseSeconds = 0.0
    /// What took a transaction away with all that was in it.
    private var loss: Failure?

    /// - Parameter patience: seconds to wait for others' locks.
    init(
        _ connection: Connection, isShared: Bool, patience: Double, attempt: RestoreAttempt
    ) {
        self.connection = connection
        self.isShared = isShared
        self.patience = patience
        self.attempt = attempt
    }

    /// Writes within the open transaction, or a new one after a pause for others; ends it if it has
    /// lasted long enough. Of many small tables, several come into one. What `body` did before it throws
    /// isn't undone.
    func write(bytes: Int = 0, _ body: () throws -> Void) throws {
        if let loss { throw loss }
        if lockedSince == nil {
            if pauseSeconds > 0 { usleep(UInt32(pauseSeconds * 1_000_000)) }
            try lock()
            lockedSince = Self.now()
        }
        do {
            try body()
        } catch {
            try findLoss(error)
            throw error
        }
        loadedBytes += bytes
        if Self.now() - lockedSince! > Self.lockSeconds { try end() }
    }

    /// Some errors (a full disk) end a transaction, and what other tables had in it is gone as well.
    private func findLoss(_ error: any Error) throws {
        guard lockedSince != nil, !connection.isInTransaction else { return }
        lockedSince = nil
        let failure = error as? Failure ?? Failure(.system, "\(error)")
        let lost = Failure(
            failure.code == .cancelled ? .cancelled : .noSpace,
            "\(failure.message); what was being written is gone")
        loss = lost
        throw lost
    }

    /// Ends the transaction of `write`.
    func end() throws {
        if let loss { throw loss }
        guard let since = lockedSince else { return }
        try retrying("COMMIT")
        lockedSince = nil
        if isShared { pauseSeconds = min(0.02, (Self.now() - since) * Self.pauseShare) }
        defer { loadedBytes = 0 }
        try attempt.hasWritten(loadedBytes)
    }

    /// Undoes the transaction of `write`.
    func abandon() {
        if lockedSince != nil { try? connection.execute("ROLLBACK") }
        lockedSince = nil
    }

    /// One transaction, which happens as a whole or not at all.
    func transaction<R>(_ body: () throws -> R) throws -> R {
        try end()
        return try connection.sync { _ in
            try lock()
            do {
                let result = try body()
                try retrying("COMMIT")
                return result
            } catch {
                try? connection.execute("ROLLBACK")
                throw error
            }
        }
    }

    private func lock() throws { try retrying("BEGIN IMMEDIATE") }

    /// Waits for locks of other programs in small steps, so that it can be cancelled.
    private func retrying(_ sql: String) throws {
        let start = Self.now()
        while true {
            do {
                return try connection.execute(sql)
            } catch let failure as Failure where failure.code == .busy {
                if attempt.isCancelled() { throw Failure(.cancelled, "cancelled on request") }
                if Self.now() - start > patience { throw failure }
            }
        }
    }

    private static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
