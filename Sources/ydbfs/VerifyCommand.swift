import ArgumentParser
import Bytes
import Engine
import Fuse
import Repository

extension CheckLevel: ExpressibleByArgument {}

struct VerifyCommand: ParsableCommand, QuietVerb {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Check that stored backups would restore.",
        discussion: """
            Begins with the log: what it names must be there and right, whatever else is. Needs \
            neither a mount nor the database (but for level source), and takes no lock. Each level \
            does what those before it do:
              catalog   every file of every point is there in its size; the log's chain of hashes
              hashes    reads every file: SHA-256, checksums of pages and of index blocks
              content   merges every table of every point: rows, keys in order, sizes in every
                        format, content hash (the default: what passes would restore)
              source    compares the newest point, or the one named, with the database as it is
                        now, and the database's indexes with its tables

            Says of all damage which file, points, tables and keys it concerns, and what still \
            reads. The result is kept beside the log, if that can be written, and shown by status \
            and in chain; a later and lower level doesn't hide it.

            --json prints one object: source, location, level, right, damage (of collections that \
            can't be read at all), collections. A collection has collection, level, right, files, \
            bytes, rows, points (name, tables, harmed), damages (file, message, harms: table, \
            points, after, before), source_point, differences (table, message, rows, first_keys), \
            left_out (path, reason), notes. Keys without a value are left out.

            Exit status: 0 all is right, 1 something is damaged, differs or failed, 2 wrong usage, \
            3 what is stored is right, but tables of the database aren't in the point, or can't be \
            compared (level source).
            """)

    @Argument(
        help: ArgumentHelp(
            "A SQLite database, a dump of YDB, copies of databases, a repository, or a mount point.",
            valueName: "SOURCE"
        ))
    var source: String

    @Argument(
        help: ArgumentHelp("Only this collection, or this point.", valueName: "COLLECTION[/POINT]"))
    var target: String?

    @Option(help: "How much to look at: catalog, hashes, content or source.")
    var level = CheckLevel.content

    @Option(
        help: ArgumentHelp(
            "Where the backups are (default: SOURCE.backups).", valueName: "LOCATION"))
    var repository: String?

    @Flag(help: "For programs.")
    var json = false

    @OptionGroup var quiet: QuietOption

    func validate() throws {
        if json, quiet.isOn { throw ValidationError("--quiet and --json contradict each other") }
    }

    private struct Report: Encodable {
        var source: String
        var location: String
        var level: String
        var right: Bool
        var damage: [String]
        var collections: [VerifyReport]
    }

    func run() throws {
        Signals.block()
        let argument = try SourceArgument.given(source, repository: repository)
        try argument.importPoints()
        let repository = try Repository.open(argument.location)
        let target = try target.map { try PointArgument($0, in: repository) }
        let moment = try target?.moment(in: repository)
        let names = target.map { [$0.collection] } ?? repository.collections.map(\.name)
        if level == .source, argument.database == nil {
            throw Failure(
                .unsupported, "level source needs the database: name it instead of \(source)")
        }
        let operation = Operation.unrecorded("verify \(self.target ?? "")")
        try ShownProgress.watchSignals(cancelling: [operation])
        var report = Report(
            source: source, location: argument.location.description, level: level.rawValue,
            right: true,
            damage: target == nil ? unreadable(repository) : [], collections: [])
        for name in names {
            let verifier = Verifier(
                repository, collection: name, at: moment, level: level, operation: operation)
            let found = try ShownProgress.run(operation) {
                try verifier.run(source: level == .source ? argument.database?.open(nil) : nil)
            }
            report.collections.append(found)
            if !json, !(quiet.isOn && found.isRight && found.leftOut.isEmpty) { show(found) }
        }
        report.right = report.damage.isEmpty && report.collections.allSatisfy(\.isRight)
        if json {
            try Output.json(report, isPretty: true)
        } else {
            for line in report.damage { Output.print("DAMAGED \(oneLine(line))") }
            if names.isEmpty, report.right { Output.say("no collections: nothing to verify") }
        }
        if !report.right { throw ExitCode(ExitStatus.failure) }
        if report.collections.contains(where: { !$0.leftOut.isEmpty }) {
            throw ExitCode(ExitStatus.incomplete)
        }
    }

    /// Why collections are unknown that should be there.
    private func unreadable(_ repository: Repository) -> [String] {
        let known = repository.collections.compactMap { repository.damage(of: $0.name)?.message }
        return (repository.failures + repository.placeFaults()).map(\.message).filter {
            !known.contains($0)
        }
    }

    private func show(_ report: VerifyReport) {
        Output.print(oneLine(report.summary))
        for line in report.details { Output.print("  " + oneLine(line)) }
    }
}
