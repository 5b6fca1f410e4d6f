import ArgumentParser
import Bytes
import Fuse

struct UnmountCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unmount",
        abstract: "Take the mount at MOUNTPOINT away.",
        discussion: """
            Running backups are cancelled, nothing that was finished is lost. If files are open the \
            tree disappears at once and they can still be read until they are closed, for at most \
            30 seconds; with --now they can't. umount and fusermount3 -u do the same.
            """,
        aliases: ["umount"])

    @Argument(help: ArgumentHelp("Where it is mounted.", valueName: "MOUNTPOINT"))
    var mountPoint: String

    @Flag(help: "Don't wait for files that are open.")
    var now = false

    /// Cancelling takes at most five seconds.
    private static let endSecondsMax = 7.0

    func run() throws {
        guard let entry = try Mounts.at(mountPoint) else {
            throw Failure(.notFound, "nothing of ydbfs is mounted at \(mountPoint)")
        }
        let health = try Mounts.health(at: entry.mountPoint)
        try Mounts.unmount(entry, now: now || health == .hung)
        switch health {
        case .dead:
            return Output.print("\(entry.mountPoint) was dead, its process gone: taken away")
        case .hung:
            return Output.print("\(entry.mountPoint) didn't answer: taken away by force")
        case .alive: break
        }
        // What lies below may be another mount, whose process must be asked for nothing.
        let isFree = try Mounts.at(entry.mountPoint) == nil
        let hasEnded =
            !isFree || Presence.waitForEnd(at: entry.mountPoint, seconds: Self.endSecondsMax)
        Output.print(
            hasEnded
                ? "\(entry.mountPoint) unmounted"
                : "\(entry.mountPoint) taken away; its process still serves open files, for at "
                    + "most 30 seconds")
    }
}
