import Bytes
import Glibc

/// The directory that a filesystem is mounted on: made ready before, put back as it was after.
package struct MountPoint: Sendable {
    /// Absolute and without symlinks.
    package let path: String
    /// The directories made for it, outermost first.
    private let created: [String]

    /// Makes `path` ready: heals a dead mount there, creates what is missing, and refuses what isn't
    /// an empty directory or is, contains or lies in one of `protected` (which needn't exist).
    ///
    /// - Throws: `busy` if something of ours is mounted there, `invalid` for refusals.
    package init(preparing path: String, protected: [String]) throws(Failure) {
        try Mounts.heal(at: path)
        if let live = try Mounts.at(path) {
            throw Failure(
                .busy,
                "\(path) already shows \(live.source): unmount it first (ydbfs unmount "
                    + "\(PathText.shellWord(path)))")
        }
        let mounts = try Mounts.all()
        let place = try Place(path, mounts)
        for other in protected {
            let guarded = try Place(other, mounts)
            let relation =
                switch (place.isWithin(guarded), guarded.isWithin(place)) {
                case (true, true): "is"
                case (true, false): "lies in"
                case (false, true): "contains"
                case (false, false): ""
                }
            if !relation.isEmpty {
                throw Failure(
                    .invalid,
                    "can't mount at \(path): it \(relation) \(other); choose another place")
            }
        }
        if place.missing.isEmpty { try Self.requireEmptyDirectory(path) }
        created = try Self.create(place)
        self.path = canonicalPath(path) ?? place.path
    }

    /// Removes the directories that were created, unless something else is in them by now.
    package func remove() {
        for directory in created.reversed() where rmdir(directory) != 0 { return }
    }

    private static func create(_ place: Place) throws(Failure) -> [String] {
        var created: [String] = []
        var path = place.existing
        for name in place.missing {
            path = path == "/" ? "/" + name : path + "/" + name
            if mkdir(path, 0o755) != 0 {
                let failure = Failure("can't create the mount point \(path)")
                for directory in created.reversed() { rmdir(directory) }
                throw failure
            }
            created.append(path)
        }
        return created
    }

    private static func requireEmptyDirectory(_ path: String) throws(Failure) {
        guard let directory = opendir(path) else {
            let isOther = errno == ENOTDIR
            if isOther { throw Failure(.invalid, "can't mount at \(path): it is no directory") }
            throw Failure("can't mount at \(path)")
        }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let name = entry.pointee.d_name
            let isDots = name.0 == 0x2e && (name.1 == 0 || (name.1 == 0x2e && name.2 == 0))
            if !isDots {
                throw Failure(
                    .invalid, "can't mount at \(path): the directory isn't empty; choose another")
            }
        }
    }
}

/// Where a path is, beyond its spelling: the files from the root to it by device and inode, which
/// symlinks and whole bind mounts can't disguise, and its place in its filesystem, which a bind
/// mount of a subdirectory can't.
private struct Place {
    private struct Identity: Equatable {
        var device: UInt
        var inode: UInt
    }

    /// The longest part that exists, without symlinks, and the names after it.
    let existing: String
    let missing: [String]
    var path: String { missing.reduce(existing == "/" ? "" : existing) { $0 + "/" + $1 } }

    /// From the root to `existing`.
    private let ancestors: [Identity]
    private let device: String
    private let components: [String]

    init(_ path: String, _ mounts: [MountEntry]) throws(Failure) {
        var (existing, missing) = (path, [String]())
        if !existing.hasPrefix("/") { existing = "./" + existing }
        var resolved = PathText.resolved(existing)
        while resolved == nil {
            // A link to nowhere can't be completed.
            guard errno == ENOENT, existing != "/", existing != "." else {
                throw Failure("can't resolve \(path)")
            }
            let slash = existing.utf8.lastIndex(of: UInt8(ascii: "/"))!
            let name = String(existing[slash...].unicodeScalars.dropFirst())
            existing = PathText.parent(existing)
            if !name.isEmpty, name != "." { missing.insert(name, at: 0) }
            resolved = PathText.resolved(existing)
        }
        guard let resolved, !missing.contains("..") else {
            throw Failure(.invalid, "can't resolve \(path): it goes back from what doesn't exist")
        }
        self.existing = resolved
        self.missing = missing

        var ancestors: [Identity] = []
        let names = PathText.names(resolved)
        for depth in 0...names.count {
            let ancestor = "/" + names.prefix(depth).joined(separator: "/")
            var status = stat()
            guard lstat(ancestor, &status) == 0 else {
                throw Failure("can't look at \(ancestor)")
            }
            ancestors.append(Identity(device: status.st_dev, inode: status.st_ino))
        }
        self.ancestors = ancestors

        let mount = mounts.enumerated()
            .map { order, entry in
                (
                    names: PathText.names(entry.mountPoint), order: order,
                    entry: entry
                )
            }
            .filter { names.starts(with: $0.names) }
            .max { ($0.names.count, $0.order) < ($1.names.count, $1.order) }
        device = mount?.entry.device ?? ""
        components =
            (mount.map { PathText.names($0.entry.root) } ?? [])
            + names.dropFirst(mount?.names.count ?? 0) + missing
    }

    /// Whether this is `other` or lies in it.
    func isWithin(_ other: Place) -> Bool {
        if device == other.device, components.starts(with: other.components) { return true }
        guard let last = other.ancestors.last else { return false }
        if other.missing.isEmpty { return ancestors.contains(last) }
        return ancestors.last == last && missing.starts(with: other.missing)
    }
}
