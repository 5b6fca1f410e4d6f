import Glibc
import Synchronization

/// A lock with a condition, around state that several threads wait for.
package final class Monitor<State>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var state: State

    package init(_ state: State) {
        self.state = state
        pthread_mutex_init(mutex, nil)
        // Waits end after so many seconds, whatever happens to the time of day.
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(changed, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    package func withLock<R, E: Error>(_ body: (inout State) throws(E) -> R) throws(E) -> R {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&state)
    }

    /// Changes the state and wakes every waiter.
    package func update<R, E: Error>(_ body: (inout State) throws(E) -> R) throws(E) -> R {
        pthread_mutex_lock(mutex)
        defer {
            pthread_cond_broadcast(changed)
            pthread_mutex_unlock(mutex)
        }
        return try body(&state)
    }

    /// Blocks until `body` answers something; asks again after every `update`.
    package func wait<R, E: Error>(_ body: (inout State) throws(E) -> R?) throws(E) -> R {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            if let result = try body(&state) { return result }
            pthread_cond_wait(changed, mutex)
        }
    }

    /// As `wait`, but gives up after `seconds` and answers nil.
    package func wait<R, E: Error>(
        seconds: Double, _ body: (inout State) throws(E) -> R?
    ) throws(E) -> R? {
        var deadline = timespec()
        clock_gettime(CLOCK_MONOTONIC, &deadline)
        let nanoseconds = Int(seconds * 1e9) + deadline.tv_nsec
        deadline.tv_sec += nanoseconds / 1_000_000_000
        deadline.tv_nsec = nanoseconds % 1_000_000_000
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            if let result = try body(&state) { return result }
            if pthread_cond_timedwait(changed, mutex, &deadline) == ETIMEDOUT {
                return try body(&state)
            }
        }
    }
}

/// A closure that is kept in a lock. A `Mutex` or `Monitor` of the closure itself is generic over it, and
/// leaves it wrapped once more after each look: calls would take longer and longer, until the stack ends.
package struct Kept<Closure: Sendable>: Sendable {
    package let closure: Closure

    package init(_ closure: Closure) { self.closure = closure }
}

/// A lock that its holder may take again: for an object whose methods call each other.
package final class RecursiveLock: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)

    package init() {
        var attributes = pthread_mutexattr_t()
        pthread_mutexattr_init(&attributes)
        pthread_mutexattr_settype(&attributes, Int32(PTHREAD_MUTEX_RECURSIVE))
        pthread_mutex_init(mutex, &attributes)
        pthread_mutexattr_destroy(&attributes)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    package func withLock<R, E: Error>(_ body: () throws(E) -> R) throws(E) -> R {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body()
    }
}

/// A thread of our own, outside of Swift's cooperative pool, for work that blocks or computes long.
package struct WorkerThread: @unchecked Sendable {
    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    private let thread: pthread_t

    /// Throws if there is no room for another thread, as `RLIMIT_NPROC` may have it.
    package init(_ run: @escaping @Sendable () -> Void) throws(Failure) {
        var thread = pthread_t()
        let body = Unmanaged.passRetained(Body(run))
        let result = pthread_create(
            &thread, nil,
            { argument in
                Unmanaged<Body>.fromOpaque(argument!).takeRetainedValue().run()
                return nil
            }, body.toOpaque())
        guard result == 0 else {
            body.release()
            throw Failure("can't start a thread", errno: Errno(rawValue: result))
        }
        self.thread = thread
    }

    /// Starts a thread that nobody waits for.
    package static func detach(_ run: @escaping @Sendable () -> Void) throws(Failure) {
        pthread_detach(try WorkerThread(run).thread)
    }

    /// Waits for its end. Called once.
    package func join() { pthread_join(thread, nil) }
}

/// Calls `body` with each number below `iterations`, on all processors, or on as many threads as can be
/// had: this one alone, if need be.
package func concurrentPerform(iterations: Int, _ body: @Sendable (Int) -> Void) {
    let processors = max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    withoutActuallyEscaping(body) { body in
        let next = Mutex(0)
        let work = { @Sendable in
            while true {
                let number = next.withLock { next in
                    defer { next += 1 }
                    return next
                }
                guard number < iterations else { return }
                body(number)
            }
        }
        let threads = (1..<max(1, min(iterations, processors))).compactMap { _ in
            try? WorkerThread(work)
        }
        work()
        for thread in threads { thread.join() }
    }
}

/// Waits so many seconds, whatever happens to the time of day; meanwhile calls `checkpoint`, which may
/// throw.
@Sendable package func pauseMonotonically(seconds: Double, checkpoint: () throws -> Void) throws {
    let end = ContinuousClock.now + .seconds(seconds)
    let stepMicroseconds: UInt32 = 50_000
    while ContinuousClock.now < end {
        try checkpoint()
        usleep(stepMicroseconds)
    }
}
