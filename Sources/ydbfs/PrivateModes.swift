import Bytes
import Glibc

/// Who may see what is made of a database: its file's owner and mode, never more.
///
/// The one switch for all that this process makes is its umask: repository, exports, restored and
/// temporary files. Whose they are is up to `FileOwner`.
package struct PrivateModes: Sendable, Equatable {
    package let owner: FileOwner
    private let files: mode_t
    private var directories: mode_t {
        // Whoever may read files may look for them.
        let readable = files & 0o044
        return 0o700 | readable | readable >> 2
    }

    private static let all: mode_t = 0o777
    private static let group: mode_t = 0o070
    private static let others: mode_t = 0o007

    /// Nil if the database's file isn't there to be asked.
    package init?(of database: String) { self.init(ofAll: [database]) }

    /// Of several files, what all of them allow; they are the first one's owner's. Nil if none is there.
    package init?(ofAll paths: [String]) {
        let found = paths.compactMap { path -> stat? in
            var status = stat()
            return stat(path, &status) == 0 ? status : nil
        }
        guard let first = found.first else { return nil }
        owner = FileOwner(uid: first.st_uid, gid: first.st_gid)
        var modes = found.reduce(Self.all) { $0 & $1.st_mode }
        if found.contains(where: { $0.st_uid != first.st_uid || $0.st_gid != first.st_gid }) {
            modes &= ~(Self.group | Self.others)
        }
        files = modes
    }

    /// From here on nothing is made that somebody may read who may not read the database: where the
    /// owner can't be given, nobody but who makes it.
    package func restrict() {
        var mask = Self.all & ~directories
        if !FileOwner.isRoot {
            if geteuid() != owner.uid { mask |= Self.group | Self.others }
            if getegid() != owner.gid { mask |= Self.group }
        }
        let before = umask(Self.group | Self.others)
        umask(before | mask)
    }

    // MARK: In a mount

    /// What a mount shows of a point's file whose group is `gid`: nobody writes to it.
    package func shownFile(group gid: UInt32) -> UInt16 {
        UInt16(truncatingIfNeeded: shown(files & 0o444 | 0o400, group: gid))
    }

    /// The owner may do everything, so that copies can be deleted.
    package func shownDirectory(group gid: UInt32) -> UInt16 {
        UInt16(truncatingIfNeeded: shown(directories, group: gid))
    }

    private func shown(_ mode: mode_t, group gid: UInt32) -> mode_t {
        gid == owner.gid ? mode : mode & ~Self.group
    }

    // MARK: What is there

    /// Files and directories below `root`, and itself, that others may do more with. No link is followed.
    func tooWide(below root: String) throws -> [(path: String, mode: mode_t)] {
        var found: [(String, mode_t)] = []
        var pending = [root]
        while let path = pending.popLast() {
            guard let (isDirectory, wanted, isWide) = look(at: path) else { continue }
            if isWide { found.append((path, wanted)) }
            if isDirectory {
                pending += try PathText.names(inDirectory: path).map { "\(path)/\($0)" }
            }
        }
        return found
    }

    /// Whether others may look into the directory or one of these in it. What lies deeper nobody comes
    /// to but through them.
    func isTooWide(_ root: String, _ names: [String]) -> Bool {
        guard let (_, _, isWide) = look(at: root) else { return false }
        return isWide || names.contains { look(at: "\(root)/\($0)")?.isWide == true }
    }

    private func look(at path: String) -> (isDirectory: Bool, wanted: mode_t, isWide: Bool)? {
        var status = stat()
        guard lstat(path, &status) == 0 else { return nil }
        let isDirectory = status.st_mode & S_IFMT == S_IFDIR
        guard isDirectory || status.st_mode & S_IFMT == S_IFREG else { return nil }
        let mode = status.st_mode & Self.all
        let wanted = mode & (isDirectory ? directories : files | 0o600)
        return (isDirectory, wanted, wanted != mode)
    }

    static func set(_ mode: mode_t, of path: String) throws {
        guard chmod(path, mode) == 0 else { throw Failure("can't narrow the mode of \(path)") }
    }
}
