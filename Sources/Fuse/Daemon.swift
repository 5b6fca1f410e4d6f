import Bytes
import Glibc

/// Starting in the background: the foreground process ends only when the mount is usable or has
/// failed, and says so.
///
/// `fork` after threads have started is unsafe, and Swift starts some, so the program runs itself
/// again. The new process keeps terminal, standard streams and directory until it reports success,
/// so that it can ask for a passphrase, warn, and be stopped by Ctrl-C; then it lets go of them.
package struct Daemon: Sendable {
    /// What the foreground process should print and exit with.
    package struct Outcome: Sendable, Equatable {
        package var exitStatus: Int32
        package var text: String
    }

    /// Names the descriptor of the status pipe in the environment of the background process.
    private static let variable = "YDBFS_STATUS_DESCRIPTOR"
    private static let descriptorInChild: Int32 = 3
    private static let textBytesMax = 1 << 16

    private let descriptor: Int32

    // MARK: Foreground

    /// Runs this program again with `arguments`, `argv[0]` included, and waits until the new process
    /// has reported or ended.
    package static func launch(arguments: [String]) throws(Failure) -> Outcome {
        try launch(program: "/proc/self/exe", arguments: arguments)
    }

    package static func launch(program: String, arguments: [String]) throws(Failure) -> Outcome {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw Failure("can't make a pipe") }
        defer { close(ends[0]) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        let started = Result { () throws(Failure) in
            try startProgram(
                program, arguments, variables: ["\(variable)=\(descriptorInChild)"],
                inherited: ends[1])
        }
        close(ends[1])
        let pid = try started.get()
        let message = receive(ends[0])
        guard let status = message.first else {
            let status = exitStatus(of: pid)
            let end =
                status > 128 ? "was killed by signal \(status - 128)" : "ended, exit \(status)"
            return Outcome(
                exitStatus: status == 0 ? 1 : status,
                text: "the background process \(end), before the mount was usable")
        }
        return Outcome(
            exitStatus: Int32(status), text: String(decoding: message.dropFirst(), as: UTF8.self))
    }

    private static func receive(_ descriptor: Int32) -> [UInt8] {
        var message: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 4096)
        while message.count <= textBytesMax {
            let count = read(descriptor, &part, part.count)
            if count < 0, errno == EINTR { continue }
            if count <= 0 { break }
            message += part[..<count]
        }
        return message
    }

    // MARK: Background

    /// The way back to the foreground process, or nil if `launch` didn't start this one. To be asked
    /// for before anything is opened: all other inherited descriptors are closed.
    package static func attached() -> Daemon? {
        guard let value = getenv(variable), String(cString: value) == "\(descriptorInChild)" else {
            return nil
        }
        unsetenv(variable)
        takeName()
        var status = stat()
        guard fstat(descriptorInChild, &status) == 0, status.st_mode & S_IFMT == S_IFIFO,
            fcntl(descriptorInChild, F_SETFD, FD_CLOEXEC) == 0
        else { return nil }
        closeInherited(after: descriptorInChild)
        return Daemon(descriptor: descriptorInChild)
    }

    /// The process was run as `/proc/self/exe`, of which the kernel would call it `exe`.
    private static func takeName() {
        guard let file = fopen("/proc/self/comm", "w") else { return }
        fputs("ydbfs", file)
        fclose(file)
    }

    /// Tells success and becomes a daemon: own session, directory `/`, standard streams to
    /// `/dev/null`, output to the end of `log` if given. Paths must be absolute from here on.
    ///
    /// - Throws: if nobody listens any more, because the user gave up: then stop.
    package func report(success line: String, log: String? = nil) throws(Failure) {
        let input = open("/dev/null", O_RDWR | O_CLOEXEC)
        guard input >= 0 else { throw Failure("can't open /dev/null") }
        defer { close(input) }
        var output = input
        if let log {
            // A pipe that nobody reads would have us wait.
            output = open(
                log, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0o600)
            guard output >= 0 else { throw Failure("can't open the log file \(log)") }
        }
        defer { if output != input { close(output) } }
        setsid()
        guard chdir("/") == 0 else { throw Failure("can't change to /") }
        dup2(input, STDIN_FILENO)
        dup2(output, STDOUT_FILENO)
        dup2(output, STDERR_FILENO)
        try send(0, line)
    }

    /// Tells why it failed; the process should end with the same status.
    package func report(failure line: String, exitStatus: Int32 = 1) throws(Failure) {
        precondition((1...255).contains(exitStatus))
        try send(UInt8(exitStatus), line)
    }

    /// One message, then the end of the pipe. SIGPIPE must be ignored (`Signals.block`).
    private func send(_ status: UInt8, _ line: String) throws(Failure) {
        defer { close(descriptor) }
        var rest = [status] + line.utf8.prefix(Self.textBytesMax)
        while !rest.isEmpty {
            let count = write(descriptor, rest, rest.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Failure("the foreground process is gone") }
            rest.removeFirst(count)
        }
    }
}
