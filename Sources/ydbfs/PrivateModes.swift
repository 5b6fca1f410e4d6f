import Bytes
import Glibc

/// Who may read a repository: nobody who may not read the database.
struct PrivateModes {
    private let files: mode_t
    private let directories: mode_t

    private static let all: mode_t = 0o777
    private static let owner: mode_t = 0o700

    /// Nil if the database's file isn't there to be asked.
    init?(of database: String) {
        var status = stat()
        guard stat(database, &status) == 0 else { return nil }
        files = status.st_mode & Self.all
        // Whoever may read files may look for them.
        let readable = files & 0o044
        directories = Self.owner | readable | readable >> 2
    }

    /// Files and directories below `root`, and itself, that others may do more with. No link is followed.
    func tooWide(below root: String) throws -> [(path: String, mode: mode_t)] {
        var found: [(String, mode_t)] = []
        var pending = [root]
        while let path = pending.popLast() {
            var status = stat()
            guard lstat(path, &status) == 0 else { continue }
            let isDirectory = status.st_mode & S_IFMT == S_IFDIR
            guard isDirectory || status.st_mode & S_IFMT == S_IFREG else { continue }
            let mode = status.st_mode & Self.all
            let wanted = mode & (isDirectory ? directories : files | 0o600)
            if wanted != mode { found.append((path, wanted)) }
            if isDirectory { pending += try Paths.names(in: path).map { "\(path)/\($0)" } }
        }
        return found
    }

    static func set(_ mode: mode_t, of path: String) throws {
        guard chmod(path, mode) == 0 else { throw Failure("can't narrow the mode of \(path)") }
    }
}
