import Bytes
import Glibc

/// SIGINT, SIGTERM and SIGHUP as calls on a thread, where everything is allowed, instead of handlers
/// that interrupt whatever runs.
package enum Signals {
    /// Blocks them for this thread and all that it starts, and ignores SIGPIPE: a reader that
    /// goes away is an error of `write`. To be called before any other thread exists.
    package static func block() {
        var set = stopSignals()
        pthread_sigmask(SIG_BLOCK, &set, nil)
        signal(SIGPIPE, SIG_IGN)
    }

    /// Calls `stop` at the first signal and `stopNow` at every later one, also while `stop` runs.
    ///
    /// - Parameter ignored: those of them that mean nothing.
    package static func watch(
        ignoring ignored: Set<Int32> = [],
        stop: @escaping @Sendable (_ signal: Int32) -> Void,
        stopNow: @escaping @Sendable () -> Void
    ) throws(Failure) {
        try startThread("signals") {
            var set = stopSignals()
            var isFirst = true
            while true {
                var number: Int32 = 0
                guard sigwait(&set, &number) == 0, !ignored.contains(number) else { continue }
                let signal = number
                if isFirst, (try? startThread("stop") { stop(signal) }) != nil {
                    isFirst = false
                } else {
                    stopNow()
                }
            }
        }
    }

    /// Takes up a signal that has come while nobody watches; false if there is none.
    package static func takePending() -> Bool {
        var set = stopSignals()
        var pending = sigset_t()
        guard sigpending(&pending) == 0,
            [SIGINT, SIGTERM, SIGHUP].contains(where: { sigismember(&pending, $0) == 1 })
        else { return false }
        var signal: Int32 = 0
        return sigwait(&set, &signal) == 0
    }

    private static func stopSignals() -> sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for number in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&set, number) }
        return set
    }
}
