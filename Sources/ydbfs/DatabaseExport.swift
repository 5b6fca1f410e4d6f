import Bytes
import Engine
import Glibc
import Repository
import SQLiteSource

/// Writes a point into a SQLite database that doesn't exist yet, or to the standard output.
struct DatabaseExport {
    private let source: SourceArgument
    private let point: BackupPoint
    private let tables: [String]
    private let operation: Operation

    private static let cacheBytes = 64 << 20

    /// - Parameters:
    ///   - tables: paths; none: all.
    ///   - operation: of the point's collection.
    init(
        _ source: SourceArgument, _ point: BackupPoint, tables: [String], operation: Operation
    ) {
        self.source = source
        self.point = point
        self.tables = tables
        self.operation = operation
    }

    /// Makes the file, which nobody may read who may not read the database, under another name: it gets
    /// its own when it is complete and on the disk. Answers its size.
    func write(to file: String) throws -> UInt64 {
        let place = try Paths.canonical(file)
        if source.location.contains(place) {
            throw Failure(.invalid, "\(file) lies in the repository: name another file")
        }
        var status = stat()
        guard lstat(file, &status) != 0 else {
            throw Failure(.exists, "\(file) is there already: name a file that isn't")
        }
        var options = Engine.Options()
        options.isReadOnly = true
        options.restoresInto = { [owner = source.modes?.owner] patience in
            SQLiteDestination(
                path: place, busyTimeout: patience ?? SQLiteSource.patience, mayCreate: true,
                owner: owner)
        }
        let engine = try Engine(
            location: source.location, database: nil,
            cache: SharedCache(maxBytes: Self.cacheBytes), options: options)
        defer { engine.close() }
        try engine.export(point, tables: tables, operation)
        return try ExportedFile.size(place) ?? 0
    }

    /// By way of a file where temporary files are, since a database isn't written from its begin to its end.
    func writeToOutput() throws -> UInt64 {
        guard isatty(STDOUT_FILENO) == 0 else {
            throw Failure(
                .invalid, "a database is nothing for a terminal: name a file instead of -")
        }
        var directory = PathText.cString("\(SpillFile.defaultDirectory)/ydbfs-XXXXXX")
        guard let made = mkdtemp(&directory) else {
            throw Failure("can't make a directory in \(SpillFile.defaultDirectory)")
        }
        let place = PathText.text(made)
        let file = place + "/point.db"
        defer {
            unlink(file)
            rmdir(place)
        }
        let bytes = try write(to: file)
        try ExportedFile.read(file) { bytes in
            try operation.checkpoint()
            try Output.write(bytes)
        }
        return bytes
    }
}
