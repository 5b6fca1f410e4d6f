/// How often a mount looks for what other processes did to its repository.
package struct Polling: Sendable {
    let seconds: Double
    /// The same while nobody asks the mount for anything.
    let idleSeconds: Double

    /// Where looking costs next to nothing: everything shows within a second, together with what the
    /// kernel may keep of a directory.
    package static let local = Polling(seconds: 0.5, idleSeconds: 0.5)
    /// Where each look goes over a network.
    package static let remote = Polling(seconds: 5)

    private init(seconds: Double, idleSeconds: Double) {
        self.seconds = seconds
        self.idleSeconds = idleSeconds
    }

    package init(seconds: Double) {
        let idleFactor = 6.0
        self.init(seconds: seconds, idleSeconds: idleFactor * seconds)
    }

    private static let idleAfterNanoseconds: UInt64 = 60_000_000_000

    /// Whether to look again, given when it was looked last and the mount was last asked for something, by
    /// `RequestTimes.now`.
    package func isDue(now: UInt64, last: UInt64, request: UInt64) -> Bool {
        let isIdle = now > request + Self.idleAfterNanoseconds
        return !isIdle || Double(now - last) / 1e9 >= idleSeconds
    }
}
