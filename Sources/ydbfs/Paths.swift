import Bytes
import Glibc

/// Paths as the kernel sees them.
package enum Paths {
    package enum Kind: Sendable { case file, directory, other }

    /// What tells a file from all others, symlinks followed; nil if nothing is there.
    static func node(of path: String) -> (device: UInt64, inode: UInt64)? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return (UInt64(status.st_dev), UInt64(status.st_ino))
    }

    /// What is there, symlinks followed.
    package static func kind(of path: String) throws(Failure) -> Kind {
        var status = stat()
        guard stat(path, &status) == 0 else { throw Failure("can't open \(path)") }
        return switch status.st_mode & S_IFMT {
        case S_IFREG: .file
        case S_IFDIR: .directory
        default: .other
        }
    }

    package static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// Whether both are there and the same directory, whatever their names.
    static func isSame(_ path: String, as other: String) -> Bool {
        guard let first = node(of: path), let second = node(of: other) else { return false }
        return first == second
    }

    /// Absolute and without symlinks as far as it exists; the rest may come into being later.
    package static func canonical(_ path: String) throws(Failure) -> String {
        var existing = path.hasPrefix("/") ? path : "./" + path
        var missing: [String] = []
        while true {
            if let base = PathText.resolved(existing) {
                return missing.reversed().reduce(base) { $0 == "/" ? "/\($1)" : "\($0)/\($1)" }
            }
            guard errno == ENOENT || errno == ENOTDIR else {
                throw Failure("can't resolve \(path)")
            }
            while existing.hasSuffix("/") { existing.removeLast() }
            guard let slash = existing.utf8.lastIndex(of: UInt8(ascii: "/")) else {
                throw Failure("can't resolve \(path)")
            }
            let name = String(existing[slash...].unicodeScalars.dropFirst())
            guard name != ".." else {
                throw Failure(.invalid, "can't resolve \(path): it goes back from what isn't there")
            }
            if name != "." { missing.append(name) }
            existing = String(Substring(existing.utf8[...slash]))
        }
    }

    /// Absolute; symlinks stay, so that a name keeps its meaning.
    package static func absolute(_ path: String) throws(Failure) -> String {
        if path.hasPrefix("/") { return path }
        guard let directory = getcwd(nil, 0) else {
            throw Failure("can't find the current directory")
        }
        defer { free(directory) }
        let base = PathText.text(directory)
        return base == "/" ? "/" + path : base + "/" + path
    }

}
