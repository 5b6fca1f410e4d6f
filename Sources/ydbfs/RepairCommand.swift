import ArgumentParser
import Bytes
import Engine
import Fuse
import Repository
import SQLiteSource

struct RepairCommand: ParsableCommand, QuietVerb {
    static let configuration = CommandConfiguration(
        commandName: "repair",
        abstract: "Mend what verify names.",
        discussion: """
            Says what it is going to do, a line for each step, and does it. Nothing is deleted: what \
            is damaged gets a name ending in .damaged beside its own.

              a file that is missing or damaged is put back from a copy of the repository (--from), if \
            the copy has the very bytes that the log tells of; the copy may be older
              an entry of the log that is missing, damaged, or recorded as lost is looked for in the \
            log's other files, in the copy, and in catalogs; so is the end of a log that lacks what the \
            journal says was done, and a log that is gone
              an entry that none of them has: its loss is recorded, so that backups can go on. The \
            points before it, full backups behind it, and incrementals of those stay; what is lost is \
            LOST in status and verify until it is given up (--forget-lost)
              a stray file in the log, and whatever lies in the place of a file of ours and is none, is \
            moved aside
              a catalog that is damaged, or says something else than the log, is made anew
              repository.json is put back from the copy, or made from what is left of it; where nothing \
            is, --new-identity makes another one
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

    @Flag(
        help: ArgumentHelp(
            "Make another repository.json where it is damaged and no copy has it. Copies made before "
                + "are those of another repository then."))
    var newIdentity = false

    @Flag(
        help: ArgumentHelp(
            "Give up what is LOST: it isn't named any more, and files kept for it go with the next "
                + "backup."))
    var forgetLost = false

    @Flag(help: "Only say what would be done.")
    var dryRun = false

    @OptionGroup var quiet: QuietOption

    func run() throws {
        Signals.block()
        let (file, location) = try place()
        PrivateModes(of: file ?? location + "/repository.json")?.restrict()
        let operation = Operation.unrecorded("repair \(source)")
        try ShownProgress.watchSignals(cancelling: [operation])
        var isWhole = true
        if Paths.exists(location) {
            isWhole = try mend(location, of: file, operation)
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
            let argument = try SourceArgument.given(source, repository: repository)
            return (argument.file, argument.location.path ?? "")
        }
        if (try? Paths.kind(of: source)) == .directory, Paths.exists(source + "/collections") {
            return (nil, try Paths.canonical(source))
        }
        if (try? Paths.kind(of: source)) == .file {
            return (try Paths.absolute(source), try Paths.canonical(source + ".backups"))
        }
        let argument = try SourceArgument.given(source)
        return (argument.file, argument.location.path ?? "")
    }

    /// False if something is left that can't be mended.
    private func mend(
        _ location: String, of file: String?, _ operation: Operation
    ) throws -> Bool {
        let copy = try from.map { try Self.copy($0, of: location) }
        let repair = Repair(
            DirectoryStorage(location), from: copy, makesNewIdentity: newIdentity,
            forgetsLosses: forgetLost,
            database: file.flatMap {
                try? Paths.canonical($0 + ".backups") == location
                    ? SourceArgument.identity($0) : nil
            },
            operation: operation)
        // Each round shows what rests on the one before.
        var (round, before) = (1, [String]())
        while true {
            let plan = try ShownProgress.run(operation) { try repair.next() }
            let (steps, hopeless) = (plan.steps, plan.hopeless)
            if !steps.isEmpty, steps.map(\.text) == before {
                throw Failure(.system, "\(before[0]): that has been done, and it is still so")
            }
            for step in steps {
                dryRun ? Output.print("would mend \(step.text)") : Output.say("mends \(step.text)")
            }
            if dryRun || steps.isEmpty {
                for line in hopeless { Output.error("can't mend \(line)") }
                for line in plan.notes { Output.remark("note: \(line)") }
                if steps.isEmpty, hopeless.isEmpty {
                    Output.say(
                        "\(location): " + (round == 1 ? "there is nothing to mend" : "mended"))
                }
                return steps.isEmpty && hopeless.isEmpty
            }
            for step in steps {
                try operation.checkpoint()
                try step.run()
            }
            before = steps.map(\.text)
            round += 1
        }
    }

    /// The repository under another name, as a bind mount gives it one, is no copy: what it lacks would be
    /// taken for lost.
    private static func copy(_ path: String, of location: String) throws -> DirectoryStorage {
        let copy = try Paths.canonical(path)
        if Paths.isSame(copy, as: location) {
            throw Failure(.invalid, "\(path) is the repository itself: name a copy of it")
        }
        return DirectoryStorage(copy)
    }

    private func narrowModes(_ location: String, as file: String) throws {
        guard Paths.exists(location), let modes = PrivateModes(of: file) else { return }
        let wide = try modes.tooWide(below: location)
        if wide.isEmpty { return }
        if !dryRun { for (path, mode) in wide { try PrivateModes.set(mode, of: path) } }
        Output.say(
            "\(dryRun ? "would narrow" : "narrows") the modes of \(wide.count) files and directories "
                + "below \(location) to that of \(file)")
    }

    private func removeLeftovers(_ file: String) throws {
        let database = try SQLiteSource(path: file)
        let planned = try database.leftoverRemoval()
        // Only then is the database opened for writing.
        if planned.isEmpty { return }
        let statements = try dryRun ? planned : database.removeLeftoverCapture()
        Output.say(statements.map { "\($0);" }.joined(separator: "\n"))
        let verb = dryRun ? "would be removed" : "removed"
        Output.say("\(source): \(statements.count) objects of earlier versions \(verb)")
    }
}
