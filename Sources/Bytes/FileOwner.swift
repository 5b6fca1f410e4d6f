import Glibc

/// Whose files are that this process makes. Only root can make files that are somebody else's, and
/// must: what it leaves in a user's repository has to stay usable for that user.
package struct FileOwner: Sendable, Equatable {
    package let uid: UInt32
    package let gid: UInt32

    package init(uid: UInt32, gid: UInt32) {
        self.uid = uid
        self.gid = gid
    }

    /// The owner of an open file or directory.
    package init?(of descriptor: Int32) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        self.init(uid: status.st_uid, gid: status.st_gid)
    }

    package static var isRoot: Bool { geteuid() == 0 }

    /// Gives a file or directory away that root has just made. What can't be given is closed to all
    /// but root. What has a second name may be any file of root's, and stays.
    package func take(_ descriptor: Int32) {
        guard Self.isRoot else { return }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_uid == 0,
            (status.st_uid, status.st_gid) != (uid, gid),
            status.st_mode & S_IFMT == S_IFDIR || status.st_nlink == 1
        else { return }
        if fchown(descriptor, uid, gid) != 0 { fchmod(descriptor, status.st_mode & 0o700) }
    }

    package func take(_ path: String) {
        guard Self.isRoot else { return }
        let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        take(descriptor)
    }
}
