import Bytes
import Glibc
import Synchronization

/// How many bytes a second all operations of a process may write together.
///
/// Bytes are paid for when they are written: what a backup stores before that, each piece, and what a
/// restore loads at the end of each short transaction, so that no lock is held meanwhile. Thus the
/// average is never above the limit, and time in which nothing was written isn't saved up.
package final class RateLimit: Sendable {
    package let bytesPerSecond: Int
    /// When all that was let through is paid for.
    private let paid = Mutex<ContinuousClock.Instant>(.now)

    private static let pauseSeconds = 0.05

    package init(bytesPerSecond: Int) {
        precondition(bytesPerSecond > 0)
        self.bytesPerSecond = bytesPerSecond
    }

    /// Waits until `bytes` are paid for. Meanwhile `checkpoint` is called often, and may throw.
    package func pay(_ bytes: Int, checkpoint: () throws -> Void) throws {
        let cost = Duration.seconds(Double(bytes) / Double(bytesPerSecond))
        let end = paid.withLock { paid in
            paid = max(paid, .now) + cost
            return paid
        }
        while true {
            try checkpoint()
            let left = (end - .now) / .seconds(1)
            if left <= 0 { return }
            usleep(UInt32(min(left, Self.pauseSeconds) * 1_000_000))
        }
    }
}
