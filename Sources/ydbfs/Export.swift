import Bytes
import Engine
import Glibc
import Repository
import Synchronization
import Tables
import Volume

/// Copies a point's files into a directory, several at a time.
struct Export {
    /// Which files.
    enum Content {
        /// Those of the point's folder, with the tables in one format.
        case folder(RowFormat)
        /// What `ydb tools restore` takes, and the point's manifest.
        case dump
    }

    struct Outcome: Sendable {
        var files = 0
        var bytes: UInt64 = 0
        var skipped = 0
        /// Files of an earlier export that were changed since.
        var repaired: [String] = []
    }

    private let engine: Engine
    private let volume: Volume
    private let directory: String
    private let files: [PointFile]
    /// Tables of the point that a dump can't have.
    let leftOut: [NotBackedUp]
    private let operation: Operation
    private let owner: FileOwner?

    private static let cacheBytes = 64 << 20
    private static let threads = 4
    static let manifest = "backup.json"

    /// - Parameter tables: paths; none: all.
    init(
        _ source: SourceArgument, _ collection: CollectionState, _ point: BackupPoint,
        content: Content, tables: [String], to directory: String, operation: Operation
    ) throws {
        self.operation = operation
        owner = source.modes?.owner
        self.directory = try Paths.canonical(directory)
        if source.location.contains(self.directory) {
            throw Failure(.invalid, "\(directory) lies in the repository: name another directory")
        }
        var options = Engine.Options()
        options.isReadOnly = true
        engine = try Engine(
            location: source.location, database: nil,
            cache: SharedCache(maxBytes: Self.cacheBytes), options: options)
        volume = try Volume(
            engine: engine, source: source.name,
            options: Volume.Options(uid: geteuid(), gid: getegid()))
        do {
            let all = try volume.files(of: collection, point)
            let known = all.compactMap(\.table)
            for table in tables where !known.contains(where: { $0.hasSameBytes(as: table) }) {
                throw Failure(
                    .notFound,
                    "\(point.missing(table).message); there are: "
                        + Array(Set(known)).sorted().prefix(10).joined(separator: ", "))
            }
            func isWanted(_ table: String) -> Bool {
                tables.isEmpty || tables.contains { $0.hasSameBytes(as: table) }
            }
            switch content {
            case .folder(let format):
                files = all.filter { file in
                    (file.format == nil || file.format == format)
                        && file.table.map(isWanted) ?? true
                }
                leftOut = []
            case .dump:
                let dump = try volume.dump(of: collection, point)
                let wanted = dump.files.filter { $0.table.map(isWanted) ?? false }
                // Directories that hold none of them are left out too.
                let others = dump.files.filter { file in
                    guard let slash = file.path.lastIndex(of: "/") else { return true }
                    let directory = file.path[...slash]
                    return file.table == nil
                        && wanted.contains { $0.path.hasPrefix(directory) }
                }
                files = all.filter { $0.path == Self.manifest } + others + wanted
                leftOut = dump.leftOut.filter { isWanted($0.path) }
            }
        } catch {
            volume.close()
            throw error
        }
    }

    func close() { volume.close() }

    func run() throws -> Outcome {
        let total = files.map(\.bytes).total
        operation.update { $0.totalRows = total }
        let sums = try prepare()
        // Largest first, so that no thread is left alone with it at the end.
        let rest = Mutex(files.filter { $0.path != Self.manifest }.sorted { $0.bytes < $1.bytes })
        let outcome = Mutex((done: Outcome(), failure: Failure?.none))
        let copying = { @Sendable [self] in
            while let file = rest.withLock({ $0.popLast() }) {
                do {
                    let wasThere = try copy(file, sums)
                    outcome.withLock { state in
                        state.done.files += 1
                        state.done.bytes += file.bytes
                        if wasThere == true { state.done.skipped += 1 }
                        if wasThere == false { state.done.repaired.append(file.path) }
                    }
                } catch {
                    let failure = error as? Failure ?? Failure(.system, "\(error)")
                    outcome.withLock { $0.failure = $0.failure ?? failure }
                    rest.withLock { $0 = [] }
                }
            }
        }
        // Where no threads are to be had, this one does it.
        let workers = (1..<max(1, min(Self.threads, files.count))).compactMap { _ in
            try? WorkerThread(copying)
        }
        copying()
        for worker in workers { worker.join() }
        if let failure = outcome.withLock(\.failure) { throw failure }
        try sums.finish()
        return outcome.withLock(\.done)
    }

    /// The tables' own files, as they are, to the standard output.
    func writeTables() throws {
        let wanted = files.filter { $0.format != nil }
        if wanted.contains(where: { $0.format == .parquet }), isatty(STDOUT_FILENO) == 1 {
            throw Failure(
                .invalid, "Parquet is nothing for a terminal: name a directory instead of -")
        }
        operation.update { $0.totalRows = wanted.map(\.bytes).total }
        for file in wanted {
            try read(file) { piece in
                try operation.checkpoint()
                try piece.withBytes { try Output.write($0) }
                operation.update { $0.rows += UInt64(piece.count) }
            }
        }
    }

    // MARK: What is there

    /// Looks at the directory before anything is written, and marks it as this point's.
    private func prepare() throws -> ChecksumList {
        try ExportedFile.makeDirectory(directory, owner: owner)
        let manifest = files.first { $0.path == Self.manifest }!
        let text = try read(manifest)
        let place = "\(directory)/\(Self.manifest)"
        let isOurs = try ExportedFile.contents(place).map { $0 == text }
        if isOurs == false {
            throw Failure(
                .exists,
                "\(directory) holds another point or other files (\(Self.manifest) isn't "
                    + "this point's): name another directory")
        }
        let sums = try ChecksumList(directory, owner: owner)
        if isOurs == nil, Paths.exists(sums.path) {
            throw Failure(
                .exists,
                "\(sums.path) is there and not of an export of this point: name another "
                    + "directory")
        }
        for file in files where file.path != Self.manifest && sums[file.path] == nil {
            if Paths.exists(path(of: file)) {
                throw Failure(
                    .exists,
                    "\(directory)/\(file.path) is there and wasn't exported from this "
                        + "point: move it away")
            }
        }
        if isOurs == nil {
            try ExportedFile.write(to: place, owner: owner) { try $0.append(text) }
        }
        return sums
    }

    private func path(of file: PointFile) -> String {
        "\(directory)/\(PathText.text(ofName: file.path))"
    }

    private func read(_ file: PointFile) throws -> [UInt8] {
        var bytes: [UInt8] = []
        try read(file) { bytes += $0.array }
        return bytes
    }

    /// All of a file's bytes, piece by piece.
    private func read(_ file: PointFile, _ body: (ByteBuffer) throws -> Void) throws {
        do {
            let caller = Caller(uid: geteuid(), gid: getegid(), pid: getpid())
            let handle = try volume.open(file, caller: caller)
            defer { volume.release(handle) }
            let piece = ByteBuffer(capacity: 1 << 20)
            var offset: UInt64 = 0
            repeat {
                piece.removeAll()
                try volume.read(handle, at: offset, count: 1 << 20, into: piece)
                offset += UInt64(piece.count)
                if piece.count > 0 { try body(piece) }
            } while piece.count > 0 && offset < file.bytes
            guard offset == file.bytes else {
                throw Failure(.corrupt, "\(file.path) has \(offset) bytes, not \(file.bytes)")
            }
        } catch let errno as Errno {
            // The number alone doesn't say what is damaged.
            let reason = engine.errors.newest().last?.message ?? "\(errno)"
            throw Failure(.corrupt, "can't read \(file.path): \(reason)")
        }
    }

    // MARK: Copying

    /// Answers true if the file was there already, false if it was there and wrong, nil otherwise.
    private func copy(_ file: PointFile, _ sums: ChecksumList) throws -> Bool? {
        let place = path(of: file)
        let known = sums[file.path]
        let isThere = known != nil && Paths.exists(place)
        if isThere, try ExportedFile.size(place) == file.bytes,
            try ExportedFile.checksum(place, progress: operation.checkpoint) == known
        {
            operation.update { $0.rows += file.bytes }
            return true
        }
        try ExportedFile.makeDirectory(PathText.parent(place), owner: owner)
        try ExportedFile.write(
            to: place, owner: owner,
            before: { try sums.add(file.path, $0) },
            { writer in
                try read(file) { piece in
                    try operation.checkpoint()
                    try writer.append(piece)
                    operation.update { $0.rows += UInt64(piece.count) }
                }
            })
        return isThere ? false : nil
    }
}
