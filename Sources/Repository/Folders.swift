import Bytes
import Glibc

/// Finds the folders that names of a repository lie in, step by step from its location, and follows
/// no symbolic link on the way: whoever may write there could lead us anywhere else by one. The
/// location itself may be reached by links, as any path that a user names.
struct Folders: Sendable {
    /// With a slash at the end; nil: links are followed everywhere.
    private let location: String?

    init(below location: String?) { self.location = location.map { $0 + "/" } }

    /// An open folder, and a name in it.
    struct Place {
        let folder: Int32
        let name: String
        /// Whether it lies below the location.
        let isBelow: Bool

        var openFlags: Int32 { isBelow ? O_NOFOLLOW : 0 }
        var statusFlags: Int32 { isBelow ? AT_SYMLINK_NOFOLLOW : 0 }

        /// What was wrong with opening it: a link, something else than a directory, a socket.
        func refused(_ error: Errno) -> Errno {
            isBelow && [ELOOP, ENOTDIR, EISDIR, ENXIO].contains(error.rawValue) ? .odd : error
        }
    }

    /// Calls `body` with where `path` lies; what that opens is closed again.
    @discardableResult
    func reach<R>(
        _ path: String, _ body: (Place) throws(Errno) -> R
    ) throws(Errno) -> R {
        guard let location, path.utf8.starts(with: location.utf8) else {
            return try body(Place(folder: AT_FDCWD, name: path, isBelow: false))
        }
        var names = PathText.names(Substring(path.utf8.dropFirst(location.utf8.count)))
        guard let last = names.popLast(), names.allSatisfy({ $0 != ".." }), last != ".." else {
            throw .odd
        }
        var folder = open(location, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw .current }
        defer { close(folder) }
        for name in names {
            let next = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard next >= 0 else {
                throw Place(folder: folder, name: name, isBelow: true).refused(.current)
            }
            close(folder)
            folder = next
        }
        return try body(Place(folder: folder, name: last, isBelow: true))
    }
}

extension Errno {
    /// Something else than a file or directory of ours is in its place: a link, a pipe, a device.
    /// Linux has the number for wrong media, and no file system gives it for a file.
    static let odd = Errno(rawValue: EMEDIUMTYPE)
}

extension Failure {
    private static let oddAdvice = ": put back what was there, or let ydbfs repair move it aside"

    /// The message without what to do about it, for who does it.
    var fault: String {
        message.hasSuffix(Self.oddAdvice)
            ? String(message.dropLast(Self.oddAdvice.count)) : message
    }

    /// As for every call, but for what is odd.
    init(_ what: String, ofPlace error: Errno) {
        if error == .odd {
            self.init(
                .corrupt,
                "\(what): it is no regular file or directory, or lies behind a symbolic link, none "
                    + "of which is followed\(Self.oddAdvice)")
        } else {
            self.init(what, errno: error)
        }
    }
}
