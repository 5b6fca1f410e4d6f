import ArgumentParser
import Bytes
import Engine
import Fuse
import Repository
import SQLiteSource

struct RepairCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repair",
        abstract: "Mend what verify names.",
        discussion: """
            Says what it is going to do, a line for each step, and does it. Nothing is deleted: what \
            is damaged gets a name ending in .damaged beside its own.

              a file that is missing or damaged is put back from a copy of the repository (--from), if \
            the copy has the very bytes that the log tells of; the copy may be older
              an entry of the log that no copy has: its loss is recorded, so that backups can go on. \
            The points before it, full backups behind it, and incrementals of those stay
              a stray file in the log is moved aside
              a catalog that says something else than the log is made anew
              files of the repository that others may read than those who may read the database: \
            their modes are narrowed
              triggers and tables named _ydbfs_… that earlier versions wrote into the database are \
            removed, in one transaction

            Exit status: 0 nothing is left to mend, 1 something is, 2 wrong usage.
            """)

    @Argument(
        help: ArgumentHelp("A SQLite database or a repository.", valueName: "SOURCE"))
    var source: String

    @Option(
        help: ArgumentHelp("A copy of the repository, however old.", valueName: "COPY"))
    var from: String?

    @Option(
        help: ArgumentHelp(
            "Where the backups are (default: SOURCE.backups).", valueName: "LOCATION"))
    var repository: String?

    @Flag(help: "Only say what would be done.")
    var dryRun = false

    func run() throws {
        Signals.block()
        let (file, location) = try place()
        let operation = Operation.unrecorded("repair \(source)")
        try ShownProgress.watchSignals(cancelling: [operation])
        var isWhole = true
        if Paths.exists(location) {
            isWhole = try mend(location, operation)
        } else if from != nil {
            throw Failure(.notFound, "there is no repository at \(location)")
        }
        if let file {
            try narrowModes(location, as: file)
            try removeLeftovers(file)
        }
        if !isWhole { throw ExitCode(ExitStatus.failure) }
    }

    /// The database, if there is one, and the repository, whose description may be what is damaged.
    private func place() throws -> (file: String?, location: String) {
        if let repository {
            let argument = try SourceArgument(source, repository: repository)
            return (argument.file, argument.location.description)
        }
        if (try? Paths.kind(of: source)) == .directory, Paths.exists(source + "/collections") {
            return (nil, try Paths.canonical(source))
        }
        if (try? Paths.kind(of: source)) == .file {
            return (try Paths.absolute(source), try Paths.canonical(source + ".backups"))
        }
        let argument = try SourceArgument(source)
        return (argument.file, argument.location.description)
    }

    /// False if something is left that can't be mended.
    private func mend(_ location: String, _ operation: Operation) throws -> Bool {
        let copy = try from.map { DirectoryStorage(try Paths.canonical($0)) }
        let repair = Repair(DirectoryStorage(location), from: copy, operation: operation)
        // Each round shows what rests on the one before.
        let roundsMax = 1000
        for round in 1...roundsMax {
            let (steps, hopeless) = try ShownProgress.run(operation) { try repair.next() }
            for step in steps { Output.print((dryRun ? "would mend " : "mends ") + step.text) }
            if dryRun || steps.isEmpty {
                for line in hopeless { Output.error("can't mend \(line)") }
                if steps.isEmpty, hopeless.isEmpty {
                    Output.print(
                        "\(location): " + (round == 1 ? "there is nothing to mend" : "mended"))
                }
                return steps.isEmpty && hopeless.isEmpty
            }
            for step in steps { try step.run() }
        }
        throw Failure(.system, "\(location): there is no end of what is to be mended")
    }

    private func narrowModes(_ location: String, as file: String) throws {
        guard Paths.exists(location), let modes = PrivateModes(of: file) else { return }
        let wide = try modes.tooWide(below: location)
        if wide.isEmpty { return }
        if !dryRun { for (path, mode) in wide { try PrivateModes.set(mode, of: path) } }
        Output.print(
            "\(dryRun ? "would narrow" : "narrows") the modes of \(wide.count) files and directories "
                + "below \(location) to that of \(file)")
    }

    private func removeLeftovers(_ file: String) throws {
        let database = try SQLiteSource(path: file)
        let planned = try database.leftoverRemoval()
        // Only then is the database opened for writing.
        if planned.isEmpty { return }
        let statements = try dryRun ? planned : database.removeLeftoverCapture()
        Output.print(statements.map { "\($0);" }.joined(separator: "\n"))
        let verb = dryRun ? "would be removed" : "removed"
        Output.print("\(source): \(statements.count) objects of earlier versions \(verb)")
    }
}
