import ArgumentParser
import Bytes
import Fuse
import Glibc

/// What a mount runs to run a hook: takes the rights of a user and becomes the program.
struct HookCommand: ParsableCommand {
    static let name = "run-hook"
    static let configuration = CommandConfiguration(commandName: name, shouldDisplay: false)

    @Argument var uid: UInt32
    @Argument var gid: UInt32
    @Argument var program: String

    func run() throws {
        if geteuid() == 0 {
            let name = getpwuid(uid)?.pointee.pw_name
            let isAlone = name.map { initgroups($0, gid) == 0 } ?? (setgroups(0, nil) == 0)
            guard isAlone, setgid(gid) == 0, setuid(uid) == 0 else {
                throw Failure("can't take the rights of user \(uid)")
            }
        }
        guard chdir("/") == 0 else { throw Failure("can't change to /") }
        for number in Program.ignoredSignals { signal(number, SIG_DFL) }
        // What this program has opened is no hook's business.
        closeInherited(after: STDERR_FILENO)
        var arguments = [strdup(program), nil]
        execv(arguments[0]!, &arguments)
        throw Failure("can't run \(program)")
    }
}
