import Bytes
import Glibc

/// An open file: closed when the last reference goes, so that a cache may forget it while somebody
/// still reads. Calls interrupted by a signal are repeated; short ones are continued.
final class File: Sendable {
    private let calls: any SystemCalls
    private let descriptor: Int32
    /// For messages.
    let path: String

    init(_ path: String, _ access: FileAccess, calls: any SystemCalls) throws(Errno) {
        self.calls = calls
        self.path = path
        descriptor = try uninterrupted { () throws(Errno) in try calls.open(path, access) }
    }

    deinit { calls.close(descriptor) }

    /// Reads until `buffer` is full or the file ends; returns how many bytes there were.
    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        var done = 0
        while done < buffer.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            let count = try attempt("can't read \(path)") { () throws(Errno) in
                try calls.read(descriptor, at: offset + UInt64(done), into: rest)
            }
            if count == 0 { break }
            done += count
        }
        return done
    }

    func willNeed(at offset: UInt64, count: Int) {
        calls.willNeed(descriptor, at: offset, count: count)
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        var done = 0
        while done < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
            let count = try attempt("can't write \(path)") { () throws(Errno) in
                try calls.write(descriptor, rest)
            }
            guard count > 0 else { throw Failure(.system, "can't write \(path): nothing written") }
            done += count
        }
    }

    /// Durable when this returns. An error is final: what was written must be thought lost, and
    /// asking again could only hide that (the kernel reports a failed write once).
    func sync(ignoring ignored: Int32? = nil) throws {
        try attempt("can't make \(path) durable") { () throws(Errno) in
            do throws(Errno) {
                try calls.sync(descriptor)
            } catch {
                if error.rawValue != ignored { throw error }
            }
        }
    }

    /// Of a directory: whether `syncAll` does what it says.
    var canSyncAll: Bool { calls.canSyncAll(descriptor) }

    /// Of a directory: all is durable that was written to its file system, or whatever failed of it
    /// since the directory was opened is thrown. False where there is no such thing after all.
    func syncAll() throws -> Bool {
        do throws(Errno) {
            try uninterrupted { () throws(Errno) in try calls.syncAll(descriptor) }
            return true
        } catch {
            if [ENOSYS, EPERM, EINVAL, EOPNOTSUPP].contains(error.rawValue) { return false }
            throw Failure("can't make \(path) durable", errno: error)
        }
    }

    var sizeBytes: UInt64 {
        get throws {
            try attempt("can't read \(path)") { () throws(Errno) in try calls.size(descriptor) }
        }
    }

    /// Takes the exclusive lock, held until the file is closed; false when another one has it.
    func lock() throws -> Bool {
        do throws(Errno) {
            try uninterrupted { () throws(Errno) in try calls.lock(descriptor) }
            return true
        } catch {
            if error.rawValue == EAGAIN || error.rawValue == EACCES { return false }
            throw Failure("can't lock \(path)", errno: error)
        }
    }

    func unlock() { calls.unlock(descriptor) }

    /// Whether an open file, of this process or another one, has the lock.
    func isLocked() throws -> Bool {
        try attempt("can't look for a lock on \(path)") { () throws(Errno) in
            try calls.isLocked(descriptor)
        }
    }

    /// What tells it from every other file of its file system.
    var number: UInt64 {
        get throws(Errno) { try calls.number(descriptor) }
    }
}

/// Repeats a call as long as signals interrupt it.
func uninterrupted<R>(_ call: () throws(Errno) -> R) throws(Errno) -> R {
    while true {
        do throws(Errno) {
            return try call()
        } catch {
            if error.rawValue != EINTR { throw error }
        }
    }
}

/// `uninterrupted`, with an error that says what for.
@discardableResult
func attempt<R>(_ what: @autoclosure () -> String, _ call: () throws(Errno) -> R) throws -> R {
    do throws(Errno) {
        return try uninterrupted(call)
    } catch {
        throw Failure(what(), ofPlace: error)
    }
}
