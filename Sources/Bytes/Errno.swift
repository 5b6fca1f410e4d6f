import Glibc

/// A C `errno` value: what a filesystem handler answers when it refuses.
package struct Errno: Error, Sendable, Equatable, RawRepresentable {
    package let rawValue: Int32

    package init(rawValue: Int32) { self.rawValue = rawValue }

    /// The errno that the last C call of this thread left.
    package static var current: Errno { Errno(rawValue: Glibc.errno) }

    /// The C library's words for it, as `strerror_r` gives them.
    package var words: String { String(cString: strerror(rawValue)) }
}

extension Failure {
    /// A failed system call: `what` names the call's purpose and object, as in `"can't open a.idx"`.
    package init(_ what: String, errno: Errno = .current) {
        let code: Code =
            switch errno.rawValue {
            case ENOENT, ENOTDIR: .notFound
            case EEXIST: .exists
            case EACCES, EPERM: .denied
            case EROFS: .readOnly
            case ENOSPC, EDQUOT: .noSpace
            case EBUSY: .busy
            default: .system
            }
        self.init(code, "\(what): \(errno.words)")
    }

    /// What a filesystem handler answers for this failure.
    package var errno: Errno {
        let value: Int32 =
            switch code {
            case .invalid: EINVAL
            case .notFound: ENOENT
            case .exists: EEXIST
            case .busy: EBUSY
            case .denied: EACCES
            case .unsupported: EOPNOTSUPP
            case .noData: ENODATA
            case .queueFull: EAGAIN
            case .unreachable: EHOSTUNREACH
            case .timedOut: ETIMEDOUT
            case .noSpace: ENOSPC
            case .readOnly: EROFS
            case .tooLong: EMSGSIZE
            case .stale: ESTALE
            case .cancelled: EINTR
            case .corrupt, .system: EIO
            }
        return Errno(rawValue: value)
    }
}
