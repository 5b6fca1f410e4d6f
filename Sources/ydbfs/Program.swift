import ArgumentParser
import Bytes
import Glibc
import Repository
import Tables

/// The program: words in, exit status out.
@main
package enum Program {
    package static let version = "0.1.0"

    /// The program's version and those of what it reads and writes.
    static var versions: String {
        let rendered = RowFormat.all.map { "\($0.id) \($0.version)" }.joined(separator: ", ")
        return "ydbfs \(version) (repository format \(Repository.format); renders \(rendered))"
    }

    /// A file beyond RLIMIT_FSIZE is an error of `write`; the others mean nothing to us.
    /// So is a reader that has gone.
    static let ignoredSignals = [SIGXFSZ, SIGUSR1, SIGUSR2, SIGALRM, SIGPIPE]

    static func main() {
        for number in ignoredSignals { signal(number, SIG_IGN) }
        var words: [String] = []
        do {
            words = try MountHelper.translate(PathText.arguments)
            // Also for words that are no right ones.
            Output.isJSON = words.contains("--json")
            words = try UnknownWords.checked(words)
            var command = try Ydbfs.parseAsRoot(DashedWord.marked(words))
            if let verb = command as? any QuietVerb { verb.quiet.apply() }
            try command.run()
            if let loss = Output.loss { throw loss }
        } catch {
            exit(report(error, words.first { UnknownWords.verbs.contains($0) }))
        }
    }

    /// Prints what there is to say about the end of a command and answers the exit status: 0 for
    /// help that was asked for, 1 for failure, 2 for usage, 3 for what was left out.
    ///
    /// - Parameter verb: whose help there is.
    private static func report(_ error: any Error, _ verb: String? = nil) -> Int32 {
        if let failure = error as? Failure {
            Output.error(failure)
            return ExitStatus.failure
        }
        if let usage = error as? BareUsage {
            Output.error(usage.text, code: "usage")
            return ExitStatus.usage
        }
        switch Ydbfs.exitCode(for: error) {
        case .success:
            Output.print(Ydbfs.fullMessage(for: error))
            if let loss = Output.loss { return report(loss) }
            return 0
        case .validationFailure:
            var line = Ydbfs.message(for: error).split(separator: "\n").joined(separator: " ")
            if let missing = line.wholeMatch(
                of: #/Missing expected argument '<(.+)>'(?: \.\.\.)?/#)?.1
            {
                line = "\(missing) is missing"
            }
            let help = ["ydbfs", verb, "--help"].compactMap(\.self).joined(separator: " ")
            Output.error("\(line) (\(help) explains)", code: "usage")
            return ExitStatus.usage
        case let status:
            let message = Ydbfs.message(for: error)
            if !message.isEmpty { Output.error(message) }
            if status.rawValue == ExitStatus.incomplete, let loss = Output.loss {
                return report(loss)
            }
            return status.rawValue
        }
    }
}

package enum ExitStatus {
    package static let failure: Int32 = 1
    package static let usage: Int32 = 2
    /// All is done, but something was left out.
    package static let incomplete: Int32 = 3
}

struct Ydbfs: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ydbfs",
        abstract: "Backup collections of a database, as directories of CSV and Parquet files.",
        discussion: """
            A backup collection is a named set of tables that are backed up together. ydbfs mounts \
            the collections of a database: every backup point is a read-only folder with the whole \
            tables as they were then, and a file named control takes statements.

            SOURCE is a SQLite database file (its backups are kept in SOURCE.backups unless \
            --repository names another place), a repository (such a directory of backups, without \
            its database), or the mount point of a running ydbfs.

            A first tour:
              ydbfs shop.db /mnt/shop          mount; prints the statement to start with
              cat /mnt/shop/README             what is in there
              echo 'BACKUP shop;' > /mnt/shop/control
              cat /mnt/shop/shop/operation/wait
              head /mnt/shop/shop/latest/orders.csv
              cp -rL /mnt/shop/shop/latest /somewhere
              ydbfs unmount /mnt/shop

            Without a mount:
              ydbfs backup shop.db             full or incremental, whichever is possible
              ydbfs restore shop.db --at yesterday --into old.db
              ydbfs run shop.db 'BACKUP shop INCREMENTAL'
              ydbfs status shop.db

            Exit status: 0 done, 1 failed, 2 wrong usage, 3 done, but something was left out.
            """,
        version: Program.versions,
        subcommands: [
            MountCommand.self, UnmountCommand.self, RunCommand.self, BackupCommand.self,
            RestoreCommand.self, StatusCommand.self,
            VerifyCommand.self, ExportCommand.self, DiffCommand.self, HistoryCommand.self,
            ShowCommand.self, FindCommand.self, RepairCommand.self, RekeyCommand.self,
            HookCommand.self,
        ],
        defaultSubcommand: MountCommand.self)
}
