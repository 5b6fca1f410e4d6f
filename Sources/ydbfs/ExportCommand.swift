import ArgumentParser
import Bytes
import Engine
import Fuse
import Repository
import Tables
import Volume

struct ExportCommand: ParsableCommand, QuietVerb {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Copy a backup point into a directory or a SQLite file, without a mount.",
        discussion: """
            Makes what cp -rL of the point's folder would make, with the tables in one format: \
            TABLE.csv or TABLE.parquet, TABLE.sql, backup.json, and SHA256SUMS (sha256sum -c \
            checks it). Several tables are written at a time; each is read again before it counts, \
            and appears under its name only when it is complete and on the disk.

            The same command again skips what is complete and right, by size and SHA-256, and does \
            the rest: after an interruption, or for another format or more tables of the same \
            point. Files that an export didn't make are never overwritten.

            --format dump makes what ydb tools restore -i takes: a folder for each table, with \
            scheme.pb and data_NN.csv. Tables that YDB can't have are left out, and named in README.

            --format sqlite makes one SQLite database of the point, a file that must not be there \
            yet; - is the standard output. What comes of it is what RESTORE makes.

            - also takes the one table that --table names, as csv or parquet.

              ydbfs export shop.db shop/latest /srv/out
              ydbfs export shop.db.backups shop/20261121100000Z_full out --format parquet \
            --table orders
              ydbfs export shop.db shop/latest /srv/dump --format dump
              ydbfs export shop.db shop/yesterday before.db --format sqlite
              ydbfs export shop.db shop/latest - --table orders | head

            Exit status: 0 all is there, 1 failed, 2 wrong usage, 3 all that the point has is \
            there, but tables are missing from the point or can't be in a dump (a line each, with the \
            reason).
            """)

    @Argument(
        help: ArgumentHelp(
            "A SQLite database, a dump of YDB, copies of databases, a repository, or a mount point.",
            valueName: "SOURCE"
        ))
    var source: String

    @Argument(
        help: ArgumentHelp(
            "A point as status shows it, or latest.", valueName: "COLLECTION/POINT"))
    var target: String

    @Argument(
        help: ArgumentHelp(
            "Made if it isn't there; a file for --format sqlite.", valueName: "DIRECTORY"))
    var directory: String

    @Option(help: "csv, parquet, dump or sqlite.")
    var format = "csv"

    @Option(
        name: .customLong("table"),
        help: ArgumentHelp("Only this table; may be given several times.", valueName: "T"))
    var tables: [String] = []

    @Option(
        help: ArgumentHelp(
            "Where the backups are (default: SOURCE.backups).", valueName: "LOCATION"))
    var repository: String?

    @OptionGroup var quiet: QuietOption

    func validate() throws {
        if directory.isEmpty { throw ValidationError("DIRECTORY is empty: name one") }
        if ![Self.dump, Self.sqlite].contains(format), RowFormat(id: format) == nil {
            let known = RowFormat.all.map(\.id) + [Self.dump, Self.sqlite]
            throw ValidationError(
                "--format \(format): expected " + known.joined(separator: ", "))
        }
        if directory == Self.output, format != Self.sqlite,
            RowFormat(id: format) == nil || tables.count != 1
        {
            throw ValidationError(
                "- is the standard output: it takes one --table as csv or parquet, or --format sqlite"
            )
        }
    }

    private static let output = "-"
    private static let sqlite = "sqlite"
    private static let dump = "dump"

    func run() throws {
        Signals.block()
        if directory.lowercased().hasPrefix("s3://") {
            throw Failure(
                .unsupported,
                "\(directory): exporting to S3 isn't built yet in this version: name a directory")
        }
        let argument = try SourceArgument.given(source, repository: repository)
        try argument.importPoints()
        let stored = try Repository.open(argument.location)
        let (state, point) = try PointArgument(target, in: stored).find(in: stored)
        let operation = Operation.unrecorded("export \(target)", of: state.name)
        try ShownProgress.watchSignals(cancelling: [operation])
        if format == Self.sqlite { return try writeDatabase(argument, state, point, operation) }
        let export = try Export(
            argument, state, point,
            content: RowFormat(id: format).map { .folder($0) } ?? .dump, tables: tables,
            to: directory,
            operation: operation)
        defer { export.close() }
        if directory == Self.output {
            return try ShownProgress.run(operation, unit: "bytes") { try export.writeTables() }
        }
        let done = try ShownProgress.run(operation, unit: "bytes") { try export.run() }
        for path in done.repaired {
            Output.say("note: \(path) wasn't what was exported before: written anew")
        }
        Output.say(
            "\(state.name)/\(point.name) in \(directory): \(done.files) files, \(done.bytes) bytes"
                + (done.skipped > 0 ? ", \(done.skipped) of them were there already" : ""))
        var leftOut = export.leftOut.map { "\($0.path): \($0.reason)" }
        if tables.isEmpty { leftOut += point.notBackedUp.map { point.lacks($0).line } }
        if leftOut.isEmpty { return }
        for line in leftOut { Output.leftOut(oneLine(line)) }
        throw ExitCode(ExitStatus.incomplete)
    }
    private func writeDatabase(
        _ source: SourceArgument, _ state: CollectionState, _ point: BackupPoint,
        _ operation: Operation
    ) throws {
        let export = DatabaseExport(source, point, tables: tables, operation: operation)
        let isOutput = directory == Self.output
        let bytes = try ShownProgress.run(operation, unit: "rows") {
            try isOutput ? export.writeToOutput() : export.write(to: directory)
        }
        let status = operation.status
        // The standard output is the database.
        let tell = isOutput ? Output.remark : Output.say
        for note in status.notes { tell("note: \(oneLine(note))") }
        if !isOutput {
            tell("\(state.name)/\(point.name) in \(directory): \(status.rows) rows, \(bytes) bytes")
        }
        if status.leftOutLines.isEmpty { return }
        for line in status.leftOutLines {
            isOutput ? Output.error("left out: \(line)") : Output.leftOut(line)
        }
        throw ExitCode(ExitStatus.incomplete)
    }
}
