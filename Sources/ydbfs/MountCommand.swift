import ArgumentParser
import Bytes
import Fuse
import Glibc

struct MountCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mount",
        abstract: "Show the backups of SOURCE at MOUNTPOINT (the word mount may be left out).",
        discussion: """
            Returns when the mount is usable and prints what it shows and how to unmount it; a \
            process in the background serves it. MOUNTPOINT must be an empty directory, or is made \
            and removed again. When the database is missing or damaged but has backups, they are \
            shown all the same.

            Options behind -o, separated by commas (a comma in a word is written \\,):
              ro                 refuse all statements
              allow_other        let other users read what the database's mode lets them read
              uid=U gid=G        owner of all files (default: who mounts; where root mounts, the \
            database's owner)
              umask=BITS         permissions taken from files and directories, in octal (default: as the \
            database's mode has it)
              control=BITS       permissions of control files (default 600)
              formats=csv:parquet  formats of tables in points
              cache_size=SIZE    memory for rendered and decoded pages (default 128M)
              cache_dir=DIR      where files of changes, diff and history are kept while they are shown
                                 (default: where temporary files are)
              xattr              extended attributes user.ydbfs.rows, kind, parent and backup_id
              poll=PERIOD        how often to look for backups that other processes took (default: \
            0.5s on a
                                 local disk, 5s on NFS and the like); after a minute of rest a sixth \
            as often
              rate=SIZE          bytes per second that operations may write, all together: 10M
              reserve=SIZE       kept back so that a full disk has a way out, 0 for nothing (default: \
            a 32nd of the disk, at most 4M)
              pull=new           import what appears in a dump or among copies while it is mounted; poll says how \
            often to look
                                 (default: 5s)
              adopt              take the backups of another database for those of SOURCE
              trust_fs           read a WAL database on 9p, virtiofs, NFS or SMB too: only if no
                                 other machine or container has it open
              log=FILE           where to write what happens (default: the system's log, in the
                                 foreground standard error); log=syslog is the system's log
              on_success=PROGRAM  run when a backup or another operation is done, by its absolute path
              on_failure=PROGRAM  run when one failed, left something out or couldn't begin; facts are
                                 in its environment: YDBFS_RESULT (done, incomplete, failed), …
              repository=DIR     the same as --repository
            and the generic words of mount(8): rw, nosuid, noatime, nofail, _netdev, x-…

            In /etc/fstab, with ydbfs linked as /sbin/mount.ydbfs:
              /srv/shop.db  /mnt/shop  ydbfs  ro,nofail  0  0
            """)

    @Argument(
        help: ArgumentHelp(
            "A SQLite database, a dump of YDB, copies of databases, or a repository.",
            valueName: "SOURCE"))
    var source: String

    @Argument(help: ArgumentHelp("Where to show its backups.", valueName: "MOUNTPOINT"))
    var mountPoint: String

    @Flag(name: [.customShort("f"), .long], help: "Stay in the foreground.")
    var foreground = false

    @Option(
        name: .customShort("o"),
        help: ArgumentHelp("Mount options, separated by commas.", valueName: "OPT[,OPT...]"))
    var options: [String] = []

    @Option(
        help: ArgumentHelp(
            "Where the backups are (default: SOURCE.backups).", valueName: "LOCATION"))
    var repository: String?

    @Flag(help: "The same as -o adopt.")
    var adopt = false

    @Flag(help: "The same as -o trust_fs.")
    var trustFs = false

    @Flag(help: .hidden) var sloppy = false
    @Flag(help: .hidden) var fake = false

    func validate() throws {
        if mountPoint.isEmpty { throw ValidationError("MOUNTPOINT is empty: name a directory") }
        if (try? Paths.kind(of: mountPoint)) == .file,
            (try? Paths.kind(of: source)) != .file || !MountCommand.isDatabase(source),
            MountCommand.isDatabase(mountPoint)
        {
            throw ValidationError(
                "\(mountPoint) is the database: ydbfs \(PathText.shellWord(mountPoint)) "
                    + PathText.shellWord(source))
        }
        do throws(Failure) {
            _ = try MountOptions(options, ignoresUnknown: sloppy)
        } catch  where error.code == .invalid {
            throw ValidationError(error.message)
        } catch {
            // Right usage of what isn't built: `run` says so.
        }
    }

    /// Whether the file begins as SQLite's do.
    private static func isDatabase(_ path: String) -> Bool {
        guard let file = fopen(path, "r") else { return false }
        defer { fclose(file) }
        var start = [UInt8](repeating: 0, count: 16)
        return fread(&start, 1, 16, file) == 16 && start == Array("SQLite format 3\0".utf8)
    }

    func run() throws {
        Signals.block()
        let daemon = Daemon.attached()
        if daemon == nil, !foreground, !fake {
            let outcome = try Daemon.launch(arguments: PathText.arguments)
            // What else it says stands on lines of its own.
            let lines = outcome.text.split(separator: "\n", maxSplits: 1).map(String.init)
            if outcome.exitStatus != 0 {
                throw Failure(
                    .system, lines.first ?? "", snippet: lines.count > 1 ? lines[1] : nil)
            }
            return Output.print(outcome.text)
        }
        do {
            var options = try MountOptions(options, ignoresUnknown: sloppy)
            options.adopts = options.adopts || adopt
            options.trustsFileSystem = options.trustsFileSystem || trustFs
            let served = try ServedVolume(source, at: mountPoint, repository, options)
            if fake { return }
            try served.serve(daemon)
        } catch {
            guard let daemon else { throw error }
            // Who started us says it to the user; if nobody listens there is nobody to tell.
            try? daemon.report(failure: (error as? Failure)?.message ?? "\(error)")
            throw ExitCode(ExitStatus.failure)
        }
    }
}
