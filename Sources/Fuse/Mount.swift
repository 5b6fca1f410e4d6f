import Bytes
import Dispatch
import Glibc
import Synchronization
import Volume

/// A `FileSystem` mounted at a directory, from when it is usable until the last open handle is
/// closed or given up.
///
/// It ends in two steps. First the tree disappears from the mount point, because `unmount` was
/// called or somebody else unmounted it: then `waitUntilUnmounted` returns, and operations should
/// be stopped. What is still open is served until it is closed or `graceSeconds` are over: then
/// `waitUntilEnded` returns.
package final class Mount: Sendable {
    package struct Options: Sendable {
        /// Shown as the mount's source; `ydbfs run` finds live mounts by it.
        package var location: String
        /// Lets other users than the mounting one in; what they may do is up to permission bits.
        package var allowOther: Bool
        /// Whether the kernel may ask for them.
        package var extendedAttributes: Bool
        /// Further options for mount(8), such as `noexec`.
        package var others: [String]
        /// Requests served at once.
        package var threads: Int
        /// How long open handles are served after the tree is gone.
        package var graceSeconds: Int

        package init(
            location: String, allowOther: Bool = false, extendedAttributes: Bool = false,
            others: [String] = [], threads: Int = 8, graceSeconds: Int = 30
        ) {
            self.location = location
            self.allowOther = allowOther
            self.extendedAttributes = extendedAttributes
            self.others = others
            self.threads = threads
            self.graceSeconds = graceSeconds
        }

        /// In libfuse's form. The kernel checks permission bits, so that `umask=` and 0600 count.
        fileprivate var words: [String] {
            var words = [
                "fsname=" + Self.escape(location), "subtype=ydbfs", "default_permissions",
                "max_read=\(Adapter.requestBytesMax)",
            ]
            if allowOther { words.append("allow_other") }
            return words + others.map(Self.escape)
        }

        private static func escape(_ text: String) -> String {
            text.unicodeScalars.map { $0 == "," || $0 == "\\" ? "\\\($0)" : "\($0)" }.joined()
        }
    }

    /// Why the tree disappeared.
    package enum End: Sendable, Equatable {
        /// `unmount` was called.
        case requested
        /// Somebody else unmounted it.
        case external
        /// The connection to the kernel failed.
        case failed(Failure)
    }

    private struct State {
        var end: End?
        /// Its numbers may belong to another mount by now.
        var isGone = false
    }

    /// As resolved by the kernel.
    package let path: String
    private let id: Int
    private let device: String
    private let session: Session
    private let graceSeconds: Int
    private let state = Mutex(State())
    private let unmounted = DispatchGroup()
    private let ended = DispatchGroup()

    /// Mounts `fileSystem` at `path`, a canonical path as `MountPoint` gives it, and returns when
    /// the kernel has agreed on terms and the root answers `stat`.
    package init(_ fileSystem: any FileSystem, at path: String, options: Options) throws(Failure) {
        self.path = path
        graceSeconds = options.graceSeconds
        session = try Session(
            fileSystem, options: options.words, threads: options.threads,
            extendedAttributes: options.extendedAttributes)
        do throws(Failure) {
            try session.mount(at: path)
        } catch {
            session.close()
            throw error
        }
        do throws(Failure) {
            guard let entry = try Mounts.at(path) else {
                throw Failure(.system, "can't find the mount at \(path) in /proc/self/mountinfo")
            }
            (id, device) = (entry.id, entry.device)
        } catch {
            session.close()
            try? Mounts.detach(path)
            throw error
        }
        do throws(Failure) {
            ended.enter()
            try startThread("fuse") { self.serve() }
        } catch {
            ended.leave()
            session.close()
            try? Mounts.detach(path)
            throw error
        }
        do throws(Failure) {
            try becomeReady()
        } catch {
            unmount(now: true)
            throw error
        }
        raiseReadAhead()
    }

    private func becomeReady() throws(Failure) {
        let startSecondsMax = 30
        unmounted.enter()
        do throws(Failure) {
            try startThread("mountinfo") { self.watch() }
        } catch {
            unmounted.leave()
            throw error
        }
        let answer = try Mounts.probe(path, seconds: startSecondsMax)
        guard answer == 0 else {
            let cause = answer.map { Errno(rawValue: $0).words } ?? "no answer"
            throw Failure(.system, "the mount at \(path) isn't usable: \(cause)")
        }
    }

    /// From 128 KiB, beyond which FUSE can't ask, to the largest request. Only root may; without it
    /// reads work too, in smaller requests.
    private func raiseReadAhead() {
        let descriptor = open("/sys/class/bdi/\(device)/read_ahead_kb", O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        write(descriptor, "1024\n", 5)
        close(descriptor)
    }

    // MARK: The end

    /// Takes the tree away; a busy one is detached at once. With `now`, also stops serving what is
    /// open. Returns when the tree is gone; may be called again and from any thread.
    package func unmount(now: Bool = false) {
        state.withLock { state in
            if state.end == nil { state.end = .requested }
        }
        removeFromTree()
        if now { stop() }
    }

    /// Blocks until the tree is gone, by whomever, and says why.
    package func waitUntilUnmounted() -> End {
        unmounted.wait()
        return state.withLock { $0.end ?? .external }
    }

    /// Blocks until nothing is served any more, and says why the tree disappeared.
    package func waitUntilEnded() -> End {
        ended.wait()
        return state.withLock { $0.end ?? .external }
    }

    /// Where the tree is now (it may have been moved), or nil if it is gone. Another mount at the
    /// same place isn't ours to unmount. Throws if nobody can say, as for lack of descriptors.
    private func placeInTree() throws(Failure) -> String? {
        if state.withLock({ $0.isGone }) { return nil }
        return try Mounts.all().first {
            $0.id == id && $0.device == device && $0.type == Mounts.type
        }?.mountPoint
    }

    /// False only if it is known to be gone.
    private var isInTree: Bool {
        do throws(Failure) {
            return try placeInTree() != nil
        } catch {
            return true
        }
    }

    /// - Parameter ifDead: only a tree that nobody serves any more: once ours is gone, the kernel gives
    ///   its numbers to the next mount, which `placeInTree` takes for ours until `watch` has noticed.
    private func removeFromTree(ifDead: Bool = false) {
        guard let place = placeToLeave() else { return }
        if ifDead, (try? Mounts.health(at: place)) != .dead { return }
        // An error here means that somebody else was faster.
        if (try? Mounts.unmountIfIdle(place)) != true {
            guard isInTree, (try? Mounts.detach(place)) != nil else { return }
        }
        state.withLock { $0.isGone = true }
    }

    /// Where the tree is that is to go: asked for again for a while if nobody can say, since what holds
    /// all descriptors may just be ending.
    private func placeToLeave() -> String? {
        let (attempts, pauseMicroseconds): (Int, UInt32) = (30, 100_000)
        for _ in 0..<attempts {
            do throws(Failure) {
                return try placeInTree()
            } catch {
                usleep(pauseMicroseconds)
            }
        }
        return nil
    }

    /// Ends the loop. The wake-up is repeated because it may come before the loop waits.
    private func stop() {
        repeat { session.stop() } while ended.wait(timeout: .now() + .milliseconds(20)) == .timedOut
    }

    private func serve() {
        let error = session.loop()
        state.withLock { state in
            guard state.end == nil, error != 0 else { return }
            let words = Errno(rawValue: error).words
            state.end = .failed(Failure(.system, "the kernel's connection for \(path): \(words)"))
        }
        session.close()
        // After an abort through /sys/fs/fuse the tree is still there, dead.
        removeFromTree(ifDead: true)
        ended.leave()
    }

    /// Notices when the tree disappears, which the connection doesn't tell while files are open, and
    /// limits the time after that. `/proc/self/mountinfo` wakes `poll` at every change; the pause
    /// is for the case that it can't be polled.
    private func watch() {
        let pauseMilliseconds: Int32 = 1000
        let descriptor = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC)
        while isInTree, ended.wait(timeout: .now()) == .timedOut {
            var change = pollfd(fd: descriptor, events: Int16(POLLPRI), revents: 0)
            poll(&change, 1, pauseMilliseconds)
        }
        close(descriptor)
        state.withLock { state in
            state.isGone = true
            if state.end == nil { state.end = .external }
        }
        unmounted.leave()
        if ended.wait(timeout: .now() + .seconds(graceSeconds)) == .timedOut { stop() }
    }
}
