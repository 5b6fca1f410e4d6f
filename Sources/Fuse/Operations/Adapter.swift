import Bytes
import CFuse
import Glibc
import Synchronization
import Volume

/// A request of the kernel that waits for its one answer. libfuse allows answers from any thread.
struct Request: @unchecked Sendable {
    let pointer: fuse_req_t

    func fail(_ error: Errno) { fuse_reply_err(pointer, error.answer) }

    /// Answers 0, or an error if nobody took the answer.
    @discardableResult
    func succeed(_ bytes: UnsafeRawBufferPointer) -> Int32 {
        fuse_reply_buf(pointer, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
    }

    var caller: Caller {
        let context = fuse_req_ctx(pointer).pointee
        return Caller(uid: context.uid, gid: context.gid, pid: context.pid)
    }
}

extension Errno {
    /// What may go to the kernel: `ENOSYS` would switch a call off for good, `ENOTCONN` reads as
    /// "Transport endpoint is not connected", which is how a dead mount looks, and 0 is no error.
    var answer: Int32 {
        switch rawValue {
        case ENOSYS: EOPNOTSUPP
        case ...0, ENOTCONN: EIO
        default: rawValue
        }
    }
}

/// One opened directory: the listing as it was when it was opened or last rewound.
final class OpenDirectory: Sendable {
    private struct State {
        var entries: [DirectoryEntry]
        var wasRead = false
    }

    let node: NodeID
    private let state: Mutex<State>

    init(_ node: NodeID, _ entries: [DirectoryEntry]) {
        self.node = node
        state = Mutex(State(entries: entries))
    }

    /// The listing that serves a read at `offset`. A read at 0 after others is a `rewinddir`, for
    /// which POSIX asks for the directory as it is now.
    func entries(at offset: Int, in fileSystem: any FileSystem) throws(Errno) -> [DirectoryEntry] {
        let (kept, isRewound) = state.withLock { state in
            let isRewound = offset == 0 && state.wasRead
            state.wasRead = true
            return (state.entries, isRewound)
        }
        guard isRewound else { return kept }
        let fresh = try fileSystem.list(node)
        state.withLock { $0.entries = fresh }
        return fresh
    }
}

/// What libfuse's callbacks share: the filesystem, what the kernel holds open, the requests that
/// wait, and the buffers that answers are built in. Usable from all threads.
final class Adapter: Sendable {
    /// The largest read and listing reply; the kernel's own limit is 256 pages.
    static let requestBytesMax = 1 << 20

    private struct Open {
        var files: [UInt64: Opened.Cache] = [:]
        var directories: [UInt64: OpenDirectory] = [:]
        var nextDirectory: UInt64 = 1
    }

    private struct Waiting {
        let request: Request
        var ticket: UInt64?
        var isInterrupted = false
    }

    private struct WaitingRequests {
        var byKey: [UInt: Waiting] = [:]
        var lastKey: UInt = 0
    }

    let fileSystem: any FileSystem
    private let open = Mutex(Open())
    private let waiting = Mutex(WaitingRequests())
    private let idleBuffers = Mutex<[ByteBuffer]>([])
    private let idleBuffersMax: Int

    init(_ fileSystem: any FileSystem, threads: Int) {
        self.fileSystem = fileSystem
        idleBuffersMax = threads
    }

    // MARK: Buffers

    /// Lends a buffer that earlier requests have already paged in: a fresh mebibyte for each
    /// request costs more than the copy into it.
    func withBuffer<R, E: Error>(_ body: (ByteBuffer) throws(E) -> R) throws(E) -> R {
        let buffer =
            idleBuffers.withLock { $0.popLast() } ?? ByteBuffer(capacity: Self.requestBytesMax)
        defer {
            buffer.removeAll()
            idleBuffers.withLock { idle in
                if idle.count < idleBuffersMax, buffer.capacity <= 2 * Self.requestBytesMax {
                    idle.append(buffer)
                }
            }
        }
        return try body(buffer)
    }

    // MARK: What is open

    func remember(_ opened: Opened) {
        open.withLock { $0.files[opened.handle] = opened.cache }
    }

    func isBlocking(_ handle: UInt64) -> Bool {
        open.withLock { $0.files[handle]?.waits ?? false }
    }

    func forget(_ handle: UInt64) {
        _ = open.withLock { $0.files.removeValue(forKey: handle) }
        fileSystem.release(handle)
    }

    func remember(_ directory: OpenDirectory) -> UInt64 {
        open.withLock { open in
            let handle = open.nextDirectory
            open.nextDirectory += 1
            open.directories[handle] = directory
            return handle
        }
    }

    func directory(_ handle: UInt64) throws(Errno) -> OpenDirectory {
        guard let directory = open.withLock({ $0.directories[handle] }) else {
            throw Errno(rawValue: EBADF)
        }
        return directory
    }

    func forgetDirectory(_ handle: UInt64) {
        _ = open.withLock { $0.directories.removeValue(forKey: handle) }
    }

    // MARK: Requests that wait

    /// Begins what may be answered long after its handler returned; no thread waits for it.
    ///
    /// The interrupt function is registered first, while nobody can have answered (and so freed)
    /// the request. It gets a key instead of a pointer, because libfuse may call it while
    /// another thread answers. It may be called before the ticket is known, even during the
    /// registration: then it only leaves a mark, which is looked at as soon as there is a ticket.
    ///
    /// - Parameters:
    ///   - begin: as `Answer.later` has it.
    ///   - answer: gives the answer to the kernel, once. Answers what is left to do if nobody took it.
    func answerLater<Value>(
        _ request: Request, _ begin: (_ reply: @escaping Answer<Value>.Reply) -> UInt64?,
        _ answer: @escaping @Sendable (Value) -> (@Sendable () -> Void)?
    ) {
        let key = waiting.withLock { waiting in
            waiting.lastKey += 1
            waiting.byKey[waiting.lastKey] = Waiting(request: request)
            return waiting.lastKey
        }
        fuse_req_interrupt_func(
            request.pointer,
            { pointer, data in
                guard let pointer else { return }
                Adapter.of(pointer).interrupt(UInt(bitPattern: data))
            }, UnsafeMutableRawPointer(bitPattern: key))
        let ticket = begin { [self] result in finish(key, result, answer) }
        guard let ticket else { return }
        let isInterrupted = waiting.withLock { waiting in
            waiting.byKey[key]?.ticket = ticket
            return waiting.byKey[key]?.isInterrupted ?? false
        }
        if isInterrupted { fileSystem.interrupt(ticket) }
    }

    /// Answers now or later.
    func answer<Value>(
        _ request: Request, _ value: Answer<Value>,
        _ answer: @escaping @Sendable (Value) -> (@Sendable () -> Void)?
    ) {
        switch value {
        case .now(let value): answer(value)?()
        case .later(let begin): answerLater(request, begin, answer)
        }
    }

    private func interrupt(_ key: UInt) {
        let ticket = waiting.withLock { waiting in
            waiting.byKey[key]?.isInterrupted = true
            return waiting.byKey[key]?.ticket
        }
        if let ticket { fileSystem.interrupt(ticket) }
    }

    /// Answers under the lock, so that `close` can't free the session in the middle of an answer;
    /// writing an answer to the kernel doesn't wait for anyone.
    private func finish<Value>(
        _ key: UInt, _ result: Result<Value, Errno>, _ answer: (Value) -> (@Sendable () -> Void)?
    ) {
        let left = waiting.withLock { waiting -> (@Sendable () -> Void)? in
            guard let request = waiting.byKey.removeValue(forKey: key)?.request else { return nil }
            switch result {
            case .success(let value): return answer(value)
            case .failure(let error):
                request.fail(error)
                return nil
            }
        }
        left?()
    }

    // MARK: Start and end

    static func of(_ request: fuse_req_t) -> Adapter {
        Unmanaged<Adapter>.fromOpaque(fuse_req_userdata(request)).takeUnretainedValue()
    }

    /// Answers the requests that still wait with `EINTR` and releases what the kernel didn't. To be
    /// called when the session's loop has ended and before the session is freed.
    func close() {
        let left = waiting.withLock { waiting in
            let left = Array(waiting.byKey.values)
            waiting.byKey = [:]
            for waiting in left { waiting.request.fail(Errno(rawValue: EINTR)) }
            return left
        }
        for waiting in left {
            if let ticket = waiting.ticket { fileSystem.interrupt(ticket) }
        }
        let files = open.withLock { open in
            let files = Array(open.files.keys)
            open.files = [:]
            open.directories = [:]
            return files
        }
        for handle in files { fileSystem.release(handle) }
    }
}
