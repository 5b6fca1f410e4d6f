import Bytes
import Engine
import Fuse
import Glibc
import Repository
import SQLiteSource
import Tables
import Volume

/// One mount from its start to its end.
struct ServedVolume {
    private let source: SourceArgument
    private let mountPoint: String
    private let options: MountOptions
    private let cacheDirectory: String?
    private let logWord: String?

    init(
        _ source: String, at mountPoint: String, _ repository: String?, _ options: MountOptions
    ) throws {
        self.source = try SourceArgument.given(
            source, repository: repository ?? options.repository,
            trustsFileSystem: options.trustsFileSystem)
        self.mountPoint = mountPoint
        self.options = options
        if options.pullsNew, self.source.points == nil || options.isReadOnly {
            throw Failure(
                .invalid,
                "mount option pull=new is for dumps of YDB and directories of copies that are mounted "
                    + "without ro: leave it out"
            )
        }
        cacheDirectory = try options.cacheDirectory.map(Paths.canonical)
        logWord = try options.log.map { word in
            word == MountLog.systemWord ? word : try Paths.absolute(word)
        }
    }

    /// Mounts, tells so, serves until the end.
    func serve(_ daemon: Daemon?) throws {
        Allocator.boundFreedMemory()
        let imported = try source.importNewPoints().map(\.line)
        var problem = source.problem(isReadOnly: options.isReadOnly)
        if let found = problem, !source.hasRepository {
            throw Failure(
                found.code, "\(found.message), and it has no backups at \(source.location)")
        }
        var engineOptions = Engine.Options()
        engineOptions.isReadOnly = options.isReadOnly
        engineOptions.rate = options.rate
        engineOptions.isBesideDatabase = source.isBesideDatabase
        engineOptions.storage = source.storage
        engineOptions.adopts = options.adopts
        engineOptions.points = source.points
        engineOptions.repository.reserveBytes = options.reserveBytes
        let engine = try Engine(
            location: source.location,
            database: source.database(isReadOnly: options.isReadOnly),
            cache: SharedCache(maxBytes: options.cacheBytes), options: engineOptions)
        let hooks = try hooks(engine)
        if let cacheDirectory, mkdir(cacheDirectory, 0o700) != 0, errno != EEXIST {
            throw Failure("can't make cache_dir \(cacheDirectory)")
        }
        let volume = try Volume(engine: engine, source: source.name, options: volumeOptions)
        let place = try MountPoint(
            preparing: mountPoint, protected: source.protected + [cacheDirectory].compactMap(\.self)
        )
        do {
            let log = try MountLog(logWord, isDaemon: daemon != nil)
            let presence = Presence(at: place.path)
            defer { withExtendedLifetime(presence) {} }
            let mount = try Mount(volume, at: place.path, options: fuseOptions)
            do {
                // A terminal that is closed is no reason to end a mount.
                try Signals.watch(
                    ignoring: [SIGHUP], stop: { _ in mount.unmount() },
                    stopNow: { mount.unmount(now: true) })
                let greeting = Greeting(
                    engine: engine, source: source, place: mount.path,
                    suggests: !options.isReadOnly)
                problem = problem ?? greeting.problem
                let text = ([greeting.text(problem)] + Greeting.shown(imported))
                    .joined(separator: "\n")
                engine.listen { event in
                    log.write(event)
                    hooks.call(event)
                }
                if let daemon {
                    try daemon.report(success: text, log: logFile)
                } else {
                    Output.print(text)
                    ServiceManager.tell("READY=1")
                }
            } catch {
                mount.unmount(now: true)
                throw error
            }
            engine.keepSchedules()
            if options.pullsNew {
                engine.keepPulling(every: options.poll.map { Double($0.seconds) } ?? 5)
            }
            let end = mount.waitUntilUnmounted()
            ServiceManager.tell("STOPPING=1")
            engine.close()
            _ = mount.waitUntilEnded()
            hooks.finish(seconds: 5)
            log.finish(seconds: 2)
            volume.close()
            place.remove()
            if case .failed(let failure) = end {
                Output.error("\(Instant.now) \(failure.message)")
                exit(ExitStatus.failure)
            }
        } catch {
            place.remove()
            throw error
        }
    }

    /// The log's, if it is a file.
    private var logFile: String? { logWord == MountLog.systemWord ? nil : logWord }

    private func hooks(_ engine: Engine) throws -> Hooks {
        let owner = source.owner
        func program(_ option: String, _ path: String?) throws -> HookProgram? {
            try path.map { try HookProgram(option, $0, uid: owner.uid, gid: owner.gid) }
        }
        return Hooks(
            success: try program("on_success", options.onSuccess),
            failure: try program("on_failure", options.onFailure),
            facts: [
                "YDBFS_SOURCE": try Paths.absolute(source.name),
                "YDBFS_REPOSITORY": source.location.description,
                "YDBFS_MOUNTPOINT": try Paths.absolute(mountPoint),
            ],
            complain: { [weak engine] program, reason in
                engine?.errors.add(
                    "\(program.option)=\(program.path)", message: "\(program.option): \(reason)")
            })
    }

    private var volumeOptions: Volume.Options {
        let modes = source.modes
        let owner = options.owner(
            of: FileOwner(uid: geteuid(), gid: getegid()), database: modes?.owner)
        var volumeOptions = Volume.Options(uid: owner.uid, gid: owner.gid)
        if let umask = options.umask {
            volumeOptions.fileMode &= ~umask
            volumeOptions.directoryMode &= ~umask
        } else if let modes {
            // A group that was asked for may see what the database's may.
            let group = options.gid == nil ? owner.gid : modes.owner.gid
            volumeOptions.fileMode = modes.shownFile(group: group)
            volumeOptions.directoryMode = modes.shownDirectory(group: group)
        }
        volumeOptions.controlMode = options.controlMode
        volumeOptions.formats = options.formats
        volumeOptions.spoolDirectory = cacheDirectory
        if let period = options.poll {
            volumeOptions.polling = Polling(seconds: Double(period.seconds))
        } else if source.location.path.flatMap(LyingFileSystem.name) != nil {
            volumeOptions.polling = .remote
        }
        return volumeOptions
    }

    private var fuseOptions: Mount.Options {
        Mount.Options(
            location: source.location.description,
            allowOther: options.allowsOthers,
            extendedAttributes: options.hasExtendedAttributes,
            others: options.kernelWords + (options.isReadOnly ? ["ro"] : []))
    }
}

/// What `mount` says when it is usable.
private struct Greeting {
    var engine: Engine
    var source: SourceArgument
    var place: String
    private let tables: Result<[SourceTable], any Error>?

    /// Beyond this many tables the suggestion takes the whole database.
    private static let tablesMax = 100

    init(engine: Engine, source: SourceArgument, place: String, suggests: Bool) {
        self.engine = engine
        self.source = source
        self.place = place
        let database = suggests && engine.collections.isEmpty ? source.database : nil
        tables = database.map { database in
            Result { try database.open(Engine.handlerPatience).listTables() }
        }
    }

    /// Why the tables can't be listed.
    var problem: Failure? {
        guard case .failure(let error) = tables else { return nil }
        return error as? Failure ?? Failure(.system, "\(error)")
    }

    /// One line, and what the user should know or do next.
    func text(_ problem: Failure?) -> String {
        let collections = engine.collections
        let points = collections.reduce(0) { $0 + $1.points.count }
        let counts = "\(count(points, "backup point")) in \(count(collections.count, "collection"))"
        var lines = [
            "\(source.name) mounted at \(place): \(counts); to unmount: "
                + "ydbfs unmount \(PathText.shellWord(place))"
        ]
        if let problem {
            lines.append(
                "\(problem.message): showing the backups at \(source.location); statements that "
                    + "need the database fail until it is back")
        }
        if let note = engine.ownershipNote { lines.append(note) }
        for damage in engine.repository?.failures ?? [] {
            lines.append("damaged: \(damage.message): what was read before it is shown")
        }
        if case .success(let tables) = tables { lines += suggestion(tables) }
        return lines.map { $0.hasSuffix("END") ? $0 : oneLine($0) }.joined(separator: "\n")
    }

    /// What came of importing, without growing beyond what a terminal shows.
    static func shown(_ imported: [String]) -> [String] {
        let maxLines = 20
        let rest = imported.count - maxLines
        return Array(imported.prefix(maxLines)) + (rest > 0 ? ["… and \(rest) more lines"] : [])
    }

    private func count(_ number: Int, _ noun: String) -> String {
        number == 1 ? "1 \(noun)" : "\(number) \(noun)s"
    }

    /// A line of a name could end the text that a shell is given.
    private static func canBePasted(_ table: SourceTable) -> Bool {
        oneLine(table.path).hasSameBytes(as: table.path)
    }

    /// A command that makes a collection of all tables.
    private func suggestion(_ tables: [SourceTable]) -> [String] {
        guard let root = source.databasePath else { return [] }
        let usable = tables.filter { $0.refusal == nil }
        var lines = tables.compactMap(\.refusal).prefix(10).map { "can't be backed up: \($0)" }
        if usable.isEmpty {
            return lines + ["the database has no tables to back up yet"]
        }
        var settings = CollectionSettings()
        _ = settings.set(.incrementalBackupEnabled, "true")
        let specification = CollectionSpecification(
            name: "my_backup_collection",
            members: usable.count > Self.tablesMax || !usable.allSatisfy(Self.canBePasted)
                ? .database : .tables(usable.map { "\(root)/\($0.path)" }),
            settings: settings)
        lines.append("there is no collection yet; paste this to make one of all tables:")
        lines.append("cat > \(PathText.shellWord(place + "/control")) <<'END'")
        return lines + [specification.sql + "END"]
    }
}
