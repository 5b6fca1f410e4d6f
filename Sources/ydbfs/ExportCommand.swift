import ArgumentParser
import Bytes
import Engine
import Fuse
import Repository
import Volume

struct ExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Copy a backup point into a directory, without a mount.",
        discussion: """
            Makes what cp -rL of the point's folder would make, with the tables in one format: \
            TABLE.csv or TABLE.parquet, TABLE.sql, backup.json, and SHA256SUMS (sha256sum -c \
            checks it). Several tables are written at a time; each is read again before it counts, \
            and appears under its name only when it is complete and on the disk.

            The same command again skips what is complete and right, by size and SHA-256, and does \
            the rest: after an interruption, or for another format or more tables of the same \
            point. Files that an export didn't make are never overwritten.

              ydbfs export shop.db shop/latest /srv/out
              ydbfs export shop.db.backups shop/20261121100000Z_full out --format parquet \
            --table orders

            Exit status: 0 all is there, 1 failed, 2 wrong usage, 3 all that the point has is \
            there, but tables are missing from the point (a line each, with the reason).
            """)

    @Argument(
        help: ArgumentHelp(
            "A SQLite database, a dump of YDB, a repository, or a mount point.", valueName: "SOURCE"
        ))
    var source: String

    @Argument(
        help: ArgumentHelp(
            "A point as status shows it, or latest.", valueName: "COLLECTION/POINT"))
    var target: String

    @Argument(help: ArgumentHelp("Made if it isn't there.", valueName: "DIRECTORY"))
    var directory: String

    @Option(help: "csv or parquet.")
    var format = "csv"

    @Option(
        name: .customLong("table"),
        help: ArgumentHelp("Only this table; may be given several times.", valueName: "T"))
    var tables: [String] = []

    @Option(
        help: ArgumentHelp(
            "Where the backups are (default: SOURCE.backups).", valueName: "LOCATION"))
    var repository: String?

    func validate() throws {
        if format != "dump", TableFormat(rawValue: format) == nil {
            throw ValidationError("--format \(format): expected csv or parquet")
        }
    }

    func run() throws {
        Signals.block()
        guard let format = TableFormat(rawValue: format) else {
            throw Failure(
                .unsupported,
                "--format dump isn't built yet in this version: use csv or parquet")
        }
        if directory.lowercased().hasPrefix("s3://") {
            throw Failure(
                .unsupported,
                "\(directory): exporting to S3 isn't built yet in this version: name a directory")
        }
        let argument = try SourceArgument(source, repository: repository)
        try argument.importPoints()
        let stored = try Repository.open(argument.location)
        let (state, point) = try PointArgument(target, in: stored).find(in: stored)
        let operation = Operation.unrecorded("export \(target)")
        try ShownProgress.watchSignals(cancelling: [operation])
        let export = try Export(
            argument, state, point, format: format, tables: tables, to: directory,
            operation: operation)
        defer { export.close() }
        let done = try ShownProgress.run(operation, unit: "bytes") { try export.run() }
        for path in done.repaired {
            Output.print("note: \(path) wasn't what was exported before: written anew")
        }
        Output.print(
            "\(state.name)/\(point.name) in \(directory): \(done.files) files, \(done.bytes) bytes"
                + (done.skipped > 0 ? ", \(done.skipped) of them were there already" : ""))
        if !tables.isEmpty || point.notBackedUp.isEmpty { return }
        for table in point.notBackedUp { Output.print("left out: \(point.lacks(table).line)") }
        throw ExitCode(ExitStatus.incomplete)
    }
}
