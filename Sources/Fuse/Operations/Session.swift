import Bytes
import CFuse
import Glibc
import Synchronization
import Volume

/// libfuse's session: the connection to the kernel and the threads that serve it. `Mount` decides
/// when to do what; this type only makes libfuse's pointers safe to use from several threads.
final class Session: Sendable {
    /// Wakes the thread that waits inside the loop. Ignored by default, so a stray one does no harm.
    private static let wakeSignal = SIGURG

    /// libfuse's session; nil once freed. Only touched under the lock or by the loop's own thread.
    private struct Life: @unchecked Sendable {
        var session: OpaquePointer?
        var loopThread: pthread_t?
    }

    private let adapter: Adapter
    private let threads: Int
    private let life: Mutex<Life>

    /// - Parameter options: mount options in libfuse's form, commas and backslashes escaped.
    init(
        _ fileSystem: any FileSystem, options: [String], threads: Int, extendedAttributes: Bool
    ) throws(Failure) {
        adapter = Adapter(fileSystem, threads: threads)
        self.threads = threads
        Log.install()
        var arguments = fuse_args()
        defer { fuse_opt_free_args(&arguments) }
        fuse_opt_add_arg(&arguments, "ydbfs")
        for option in options {
            PathText.withCString("-o" + option) { _ = fuse_opt_add_arg(&arguments, $0) }
        }
        var operations = makeOperations(extendedAttributes: extendedAttributes)
        let userData = Unmanaged.passRetained(adapter)
        guard
            let session = fuse_session_new(
                &arguments, &operations, MemoryLayout<fuse_lowlevel_ops>.size, userData.toOpaque())
        else {
            userData.release()
            throw Failure(.invalid, "can't use the mount options: \(Log.take())")
        }
        life = Mutex(Life(session: session))
    }

    /// Mounts; as root by `mount(2)`, else by `fusermount3`.
    func mount(at path: String) throws(Failure) {
        let (isMounted, words) = hearingErrors {
            life.withLock { life in
                PathText.withCString(path) { fuse_session_mount(life.session, $0) == 0 }
            }
        }
        guard isMounted else {
            let reason = words.isEmpty ? Log.take() : words
            throw Failure(.system, "can't mount at \(path): \(reason)")
        }
    }

    /// Serves the kernel until the mount is gone or `stop` was called; returns 0 or an errno.
    func loop() -> Int32 {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { _ in }
        sigaction(Self.wakeSignal, &action, nil)
        var wake = sigset_t()
        sigemptyset(&wake)
        sigaddset(&wake, Self.wakeSignal)
        pthread_sigmask(SIG_UNBLOCK, &wake, nil)
        let session = life.withLock { life in
            life.loopThread = pthread_self()
            return Life(session: life.session)
        }
        let configuration = fuse_loop_cfg_create()
        defer { fuse_loop_cfg_destroy(configuration) }
        // Threads that come and go cost more than threads that wait.
        fuse_loop_cfg_set_idle_threads(configuration, UInt32(threads))
        fuse_loop_cfg_set_max_threads(configuration, UInt32(threads))
        fuse_loop_cfg_set_clone_fd(configuration, 0)
        return abs(fuse_session_loop_mt(session.session, configuration))
    }

    /// Asks the loop to end. A wake-up can come too early to be seen, so the caller repeats this
    /// until the loop has ended.
    func stop() {
        life.withLock { life in
            guard let session = life.session else { return }
            fuse_session_exit(session)
            if let thread = life.loopThread { pthread_kill(thread, Self.wakeSignal) }
        }
    }

    /// Answers what still waits and closes the connection: from now on the kernel answers
    /// `ENOTCONN` to whoever still holds something open. The loop must have ended or never run.
    func close() {
        adapter.close()
        life.withLock { life in
            guard let session = life.session else { return }
            fuse_session_destroy(session)
            life.session = nil
            life.loopThread = nil
            Unmanaged.passUnretained(adapter).release()
        }
    }
}

/// Keeps what `body` writes to the error stream: `fusermount3` alone says why it refuses, and there. Root
/// mounts without it. The stream is the whole process's, so that one at a time listens.
private func hearingErrors(_ body: () -> Bool) -> (Bool, words: String) {
    if geteuid() == 0 { return (body(), "") }
    return errorStream.withLock { _ in hearErrors(body) }
}

private let errorStream = Mutex(())

private func hearErrors(_ body: () -> Bool) -> (Bool, words: String) {
    var ends: [Int32] = [-1, -1]
    let stream = dup(STDERR_FILENO)
    guard stream >= 0, pipe(&ends) == 0 else { return (body(), "") }
    for descriptor in ends + [stream] { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
    dup2(ends[1], STDERR_FILENO)
    close(ends[1])
    let result = body()
    dup2(stream, STDERR_FILENO)
    close(stream)
    // Whoever still has the other end isn't waited for.
    _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
    var part = [UInt8](repeating: 0, count: 4096)
    let count = max(0, read(ends[0], &part, part.count))
    close(ends[0])
    let lines = String(decoding: part[..<count], as: UTF8.self).split(separator: "\n")
    return (result, lines.joined(separator: "; "))
}

/// libfuse's own messages, which would else go to standard error: the newest few, for the `Failure`
/// that they explain.
private enum Log {
    private static let linesMax = 4
    private static let lines = Mutex<[String]>([])

    static func install() {
        lines.withLock { $0 = [] }
        fuse_set_log_func { _, format, arguments in
            guard let format, let arguments else { return }
            var text = [CChar](repeating: 0, count: 512)
            vsnprintf(&text, text.count, format, arguments)
            let bytes = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            let line = String(decoding: bytes, as: UTF8.self)
            Log.lines.withLock { lines in
                if lines.count == Log.linesMax { lines.removeFirst() }
                lines.append(line.split(separator: "\n").joined(separator: " "))
            }
        }
    }

    static func take() -> String {
        lines.withLock { lines in
            defer { lines = [] }
            return lines.isEmpty ? "libfuse doesn't say why" : lines.joined(separator: "; ")
        }
    }
}
