import Bytes
import Engine
import Fuse
import Glibc
import Repository
import SQLiteSource
import Tables

/// SOURCE as the user gave it, and where its backups are.
package struct SourceArgument: Sendable, Equatable {
    package enum Kind: Sendable, Equatable {
        /// A SQLite database file by its absolute path; it may be missing as long as it has backups.
        case database(file: String)
        /// A directory with backups that others have made, by its absolute path.
        case points(directory: String, PointKind)
        /// Backups without their database.
        case repository
        /// What a running ydbfs shows there.
        case mounted(at: String)
    }

    /// As it was given.
    package let name: String
    package let kind: Kind
    package let location: Location
    /// Why there is nothing that could be imported, although something was.
    private(set) var absence: String?
    /// Locks and shared memory are relied on whatever file system the database lies on.
    private let trustsFileSystem: Bool

    /// For a verb: from here on this process makes no file that somebody may read who may not read the
    /// source. Throws as `init` does.
    static func given(
        _ name: String, repository: String? = nil, trustsFileSystem: Bool = false
    ) throws -> SourceArgument {
        let source = try SourceArgument(
            name, repository: repository, trustsFileSystem: trustsFileSystem)
        source.modes?.restrict()
        return source
    }

    /// - Parameter repository: the LOCATION that the user chose.
    package init(
        _ name: String, repository: String? = nil, trustsFileSystem: Bool = false
    ) throws {
        self.name = name
        self.trustsFileSystem = trustsFileSystem
        try Self.refuseUnbuilt(name)
        if let repository { try Self.requirePlace(repository) }
        if let mount = try Mounts.at(name) {
            try Self.requireTrusted(mount)
            try Self.requireAlive(mount)
            try Self.refuse(repository, because: "\(name) is a mount point and knows its own")
            kind = .mounted(at: mount.mountPoint)
            location = .directory(mount.source)
            return
        }
        switch Result(catching: { try Paths.kind(of: name) }) {
        case .success(.directory):
            if Self.isRepository(name) {
                try Self.refuse(repository, because: "\(name) is a repository itself")
                kind = .repository
                location = .directory(try Paths.canonical(name))
                return
            }
            switch PointKind.of(name) {
            case .failure(let refusals):
                let refusal = Self.refusal(directory: name, refusals.words)
                let place = try Paths.canonical(repository ?? Paths.canonical(name) + ".backups")
                // What lay there may be gone, or not be mounted.
                guard Self.isRepository(place) else { throw refusal }
                absence = "\(refusal.message): showing what was imported before"
                kind = .repository
                location = .directory(place)
            case .success(let points):
                let directory = try Paths.canonical(name)
                let place = try Paths.canonical(repository ?? directory + ".backups")
                try Self.requireApart(place, from: directory)
                kind = .points(directory: directory, points)
                location = .directory(place)
            }
        case .success(.other):
            throw Failure(
                .invalid, "\(name) is neither a file nor a directory: name a SQLite database")
        case .success(.file):
            kind = .database(file: try Paths.absolute(name))
            if repository == nil { try Self.refuseStrangersLink(name + ".backups") }
            location = .directory(try Paths.canonical(repository ?? name + ".backups"))
        case .failure(let failure):
            let location = try Paths.canonical(repository ?? name + ".backups")
            guard Self.isRepository(location) else {
                throw Failure(
                    .notFound,
                    "\((failure as? Failure)?.message ?? "\(failure)"), and there are no backups "
                        + "of it at \(location): name an existing SQLite database")
            }
            kind = .database(file: try Paths.absolute(name))
            self.location = .directory(location)
        }
    }

    /// Whether there are backups.
    var hasRepository: Bool { location.path.map(Self.isRepository) ?? false }

    static func refuseUnbuilt(_ name: String) throws {
        try Location.refuseUnbuilt(name)
        let schemes = [
            "grpc://": "YDB clusters as a source aren't",
            "grpcs://": "YDB clusters as a source aren't",
        ]
        for (scheme, what) in schemes where name.lowercased().hasPrefix(scheme) {
            throw Failure(
                .unsupported, "\(name): \(what) built yet in this version: use a SQLite database")
        }
        if name.isEmpty { throw Failure(.invalid, "SOURCE is empty: name a SQLite database") }
    }

    /// A repository that the user named may be made, but not in the place of something else.
    private static func requirePlace(_ repository: String) throws {
        try Location.refuseUnbuilt(repository)
        if repository.isEmpty { throw Failure(.invalid, "LOCATION is empty: name a directory") }
        if Paths.exists(repository), try Paths.kind(of: repository) != .directory {
            throw Failure(.invalid, "\(repository) is no directory, so it is no repository")
        }
    }

    /// Root writes into a user's repository, which a link of that user's could lay anywhere.
    private static func refuseStrangersLink(_ path: String) throws {
        var (link, target) = (stat(), stat())
        guard FileOwner.isRoot, lstat(path, &link) == 0, link.st_mode & S_IFMT == S_IFLNK,
            link.st_uid != 0, stat(path, &target) != 0 || target.st_uid != link.st_uid
        else { return }
        throw Failure(
            .denied,
            "\(path) is a link that user \(link.st_uid) has made, to what isn't that user's: name its "
                + "target with --repository if that is right")
    }

    private static func refuse(_ repository: String?, because reason: String) throws {
        if repository == nil { return }
        throw Failure(.invalid, "\(reason): leave out --repository")
    }

    private static func isRepository(_ path: String) -> Bool {
        Paths.exists(path + "/repository.json")
    }

    private static func refusal(directory: String, _ noPoints: String) -> Failure {
        Failure(
            .invalid,
            "\(directory) is a directory without repository.json, so it is no repository, and "
                + "\(noPoints): name a SQLite database, its directory of backups, a dump, or a "
                + "directory of copies of databases")
    }

    /// Nothing is ever written to what others have made.
    private static func requireApart(_ location: String, from directory: String) throws {
        guard Location.directory(directory).contains(location) else { return }
        throw Failure(
            .invalid,
            "\(location) lies in \(directory), which isn't to be changed: name another "
                + "--repository")
    }

    /// What another user's process says to show needn't be so.
    private static func requireTrusted(_ mount: MountEntry) throws {
        if mount.isTrusted { return }
        let user = mount.user.map { "user \($0)'s" } ?? "somebody else's"
        throw Failure(
            .denied,
            "the mount at \(mount.mountPoint) is \(user), neither yours nor root's: name the database "
                + "or its backups")
    }

    private static func requireAlive(_ mount: MountEntry) throws {
        switch try Mounts.health(at: mount.mountPoint) {
        case .alive: return
        case .dead:
            throw Failure(
                .unreachable,
                "the ydbfs behind \(mount.mountPoint) is gone: ydbfs unmount "
                    + PathText.shellWord(mount.mountPoint))
        case .hung:
            throw Failure(.timedOut, "the ydbfs behind \(mount.mountPoint) doesn't answer")
        }
    }

    // MARK: Who may see it

    /// Of the database, of what others have made, or, where it is gone, of the repository that was made of
    /// it; nil if there is nothing yet.
    var modes: PrivateModes? {
        let known: [String] =
            switch kind {
            case .database(let file): [file]
            case .points: points?.files ?? []
            case .repository, .mounted: []
            }
        return PrivateModes(ofAll: known)
            ?? location.path.flatMap { PrivateModes(of: $0 + "/repository.json") }
    }

    /// For an engine: what root makes there belongs to the source's owner.
    var storage: @Sendable (Location) -> any Storage {
        { [owner = modes?.owner] in $0.storage(owner: owner) }
    }

    /// What the user should know of who may see the backups; nil if nobody may who may not see the
    /// database.
    package var exposure: String? {
        guard case .database(let file) = kind, let place = location.path,
            let modes = PrivateModes(of: file),
            modes.isTooWide(place, ["repository.json", "collections", "tables", "operations"])
        else { return nil }
        return "others may read what is in \(location) who may not read \(file): ydbfs repair "
            + "\(PathText.shellWord(name)) narrows that"
    }

    // MARK: The database

    /// The database's file; nil if there is no database.
    var file: String? {
        if case .database(let file) = kind { file } else { nil }
    }

    /// `/Root/database` for `database.db`; nil if there is no database.
    package var databasePath: String? {
        guard case .database(let file) = kind else { return nil }
        let name = PathText.shown(PathText.lastName(file))
        guard let dot = name.lastIndex(of: "."), dot != name.startIndex else {
            return "/Root/" + name
        }
        return "/Root/" + name[..<dot]
    }

    /// The database for an engine, opened anew at each need.
    package var database: Engine.Database? { database(isReadOnly: false) }

    /// - Parameter isReadOnly: even SQLite's own repair of what a dead writer left is refused.
    func database(isReadOnly: Bool) -> Engine.Database? {
        guard case .database(let file) = kind, let databasePath else { return nil }
        let known = KnownDefinitions()
        let trusts = trustsFileSystem
        return Engine.Database(
            path: databasePath, identity: { Self.identity(file) },
            open: { patience in
                try SQLiteSource(
                    path: file, busyTimeout: patience ?? SQLiteSource.patience,
                    isReadOnly: isReadOnly, trustsFileSystem: trusts, known: known)
            })
    }

    static func identity(_ file: String) -> KnownDatabase? {
        guard let (device, inode) = Paths.node(of: file),
            let path = try? Paths.canonical(file)
        else { return nil }
        return KnownDatabase(path: PathText.shown(path), device: device, inode: inode)
    }

    /// Who owns what is backed up, as far as that is there: for root's mounts, whose programs needn't be
    /// root's; anybody else's are his own.
    var owner: (uid: UInt32, gid: UInt32) {
        if geteuid() != 0 { return (geteuid(), getegid()) }
        return modes.map { ($0.owner.uid, $0.owner.gid) } ?? (0, 0)
    }

    /// Whether the backups lie where those of this database are looked for.
    var isBesideDatabase: Bool {
        guard case .database(let file) = kind else { return false }
        return (try? Paths.canonical(file + ".backups")).map(Location.directory) == location
    }

    /// Why the database can't be used now; nil if it can, or if there is none.
    ///
    /// - Parameter isReadOnly: nothing is done about what a writer that died has left.
    package func problem(isReadOnly: Bool = true) -> Failure? {
        guard let database = database(isReadOnly: isReadOnly) else { return nil }
        do {
            _ = try database.open(Engine.handlerPatience)
            return nil
        } catch {
            return error as? Failure ?? Failure(.system, "\(error)")
        }
    }

    /// The SQL that removes what earlier versions left in the database; nil if there is nothing to find.
    var leftovers: [String]? {
        guard case .database(let file) = kind,
            let removal = try? SQLiteSource(
                path: file, busyTimeout: Engine.handlerPatience, isReadOnly: true
            ).leftoverRemoval(), !removal.isEmpty
        else { return nil }
        return removal
    }

    /// Paths that a mount point must keep away from.
    package var protected: [String] {
        let source: String? =
            switch kind {
            case .database(let file): file
            case .points(let directory, _): directory
            case .repository, .mounted: nil
            }
        return [source, location.path].compactMap(\.self)
    }
}

/// The database that `run --into` names, which may not exist yet.
struct DestinationArgument: Sendable {
    private let file: String
    private let owner: FileOwner?

    /// - Parameter owner: whose a new file becomes, if root makes it.
    init(_ name: String, owner: FileOwner?) throws {
        self.owner = owner
        try SourceArgument.refuseUnbuilt(name)
        if Paths.exists(name), try Paths.kind(of: name) != .file {
            throw Failure(.invalid, "\(name) is no file: --into takes a SQLite database")
        }
        file = try Paths.absolute(name)
    }

    /// For an engine.
    var open: @Sendable (Double?) throws -> any RestoreDestination {
        { [file, owner] patience in
            SQLiteDestination(
                path: file, busyTimeout: patience ?? SQLiteSource.patience, mayCreate: true,
                owner: owner)
        }
    }
}
