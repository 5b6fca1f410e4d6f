import Bytes
import Glibc

extension Errno {
    static var noEntry: Errno { Errno(rawValue: ENOENT) }
    static var notDirectory: Errno { Errno(rawValue: ENOTDIR) }
    static var isDirectory: Errno { Errno(rawValue: EISDIR) }
    static var readOnly: Errno { Errno(rawValue: EROFS) }
    static var invalid: Errno { Errno(rawValue: EINVAL) }
    static var interrupted: Errno { Errno(rawValue: EINTR) }
    static var badHandle: Errno { Errno(rawValue: EBADF) }
    /// The point was dropped.
    static var stale: Errno { Errno(rawValue: ESTALE) }
    static var overflow: Errno { Errno(rawValue: EOVERFLOW) }
    static var tooManyOpen: Errno { Errno(rawValue: EMFILE) }
    static var tooBig: Errno { Errno(rawValue: EFBIG) }
    static var again: Errno { Errno(rawValue: EAGAIN) }
    static var io: Errno { Errno(rawValue: EIO) }
}
