import Bytes
import Engine
import Fuse
import Glibc

/// Programs that are run when an operation has ended: `-o on_success=`, `-o on_failure=`. One at a time,
/// in the order of what happened, without a shell, as the database's owner.
final class Hooks: Sendable {
    private let success: HookProgram?
    private let failure: HookProgram?
    /// Facts that are the same for all.
    private let facts: [String: String]
    /// Told of a program that couldn't be run, or failed.
    private let complain: @Sendable (HookProgram, String) -> Void

    private struct Call: Sendable {
        var program: HookProgram
        var facts: [String: String]
    }

    private let calls: Backlog<Call>
    /// The process that runs now.
    private let running: Monitor<pid_t?>
    private static let callsMax = 100

    init(
        success: HookProgram?, failure: HookProgram?, facts: [String: String],
        complain: @escaping @Sendable (HookProgram, String) -> Void
    ) {
        self.success = success
        self.failure = failure
        self.facts = facts
        self.complain = complain
        let running = Monitor<pid_t?>(nil)
        self.running = running
        calls = Backlog(limit: Self.callsMax) { call in
            do {
                try call.program.run(call.facts) { pid in running.update { $0 = pid } }
            } catch {
                complain(call.program, (error as? Failure)?.message ?? "\(error)")
            }
        }
    }

    func call(_ event: Event) {
        guard case .ended(let operation) = event, let result = Self.result(of: operation),
            let program = result == "done" ? success : failure
        else { return }
        let facts = facts.merging(Self.facts(operation, result)) { $1 }
        do throws(Failure) {
            if try !calls.add(Call(program: program, facts: facts)) {
                complain(program, "not run: \(Self.callsMax) calls wait already")
            }
        } catch {
            calls.clear()
            complain(program, "not run: \(error.message)")
        }
    }

    /// Lets what is under way come to its end; what doesn't is ended, since nobody would do it later.
    func finish(seconds: Double) {
        if calls.finish(seconds: seconds) { return }
        calls.clear()
        running.withLock { pid in
            if let pid { _ = kill(-pid, SIGKILL) }
        }
        _ = calls.finish(seconds: 1)
    }

    /// Nil if nobody is to be told: what somebody cancelled he knows of, and statements that are
    /// finished when they are written tell whoever writes them.
    private static func result(of operation: Operation) -> String? {
        let status = operation.status
        if ["create", "alter", "drop"].contains(operation.kind) { return nil }
        switch status.state {
        case .done: return status.incomplete > 0 ? "incomplete" : "done"
        case .failed: return "failed"
        case .cancelled, .queued, .running, .cancelling: return nil
        }
    }

    private static func facts(_ operation: Operation, _ result: String) -> [String: String] {
        let status = operation.status
        return [
            "YDBFS_RESULT": result, "YDBFS_OPERATION": operation.name,
            "YDBFS_COLLECTION": operation.collection, "YDBFS_KIND": operation.kind,
            "YDBFS_STATEMENT": operation.statement, "YDBFS_SUMMARY": status.summary,
            "YDBFS_POINT": status.point ?? "", "YDBFS_ERROR": status.error ?? "",
        ]
    }
}

/// A program that is run with facts in its environment.
struct HookProgram: Sendable {
    /// The option's word, for messages.
    let option: String
    let path: String
    /// Whose rights it has.
    private let uid: UInt32
    private let gid: UInt32

    private static let seconds = 60.0
    private static let outputBytesMax = 4096
    private static let factBytesMax = 16 << 10
    private static let searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    /// - Throws: if it isn't there, or somebody else could put another one in its place.
    init(_ option: String, _ path: String, uid: UInt32, gid: UInt32) throws {
        (self.option, self.path, self.uid, self.gid) = (option, path, uid, gid)
        _ = try checked()
    }

    /// The file itself, which nobody but root and the user it runs as may change.
    private func checked() throws -> String {
        guard path.hasPrefix("/") else { throw refusal("its path must be absolute") }
        let file = try Paths.canonical(path)
        var status = stat()
        guard stat(file, &status) == 0 else { throw Failure("\(option)=\(path)") }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_mode & 0o111 != 0 else {
            throw refusal("it is no program")
        }
        var place = file
        while true {
            guard stat(place, &status) == 0 else { throw Failure("\(option)=\(path)") }
            let isOthers = status.st_uid != 0 && status.st_uid != uid
            if isOthers || status.st_mode & 0o002 != 0
                || (status.st_mode & 0o020 != 0 && status.st_uid != 0)
            {
                throw refusal(
                    "others than root and the database's owner may change \(place): narrow its mode"
                )
            }
            if place == "/" { return file }
            place = PathText.parent(place)
        }
    }

    private func refusal(_ reason: String) -> Failure {
        Failure(.invalid, "\(option)=\(path): \(reason)")
    }

    /// Runs it to its end. Throws if it can't be run, takes too long, or says that it failed.
    ///
    /// - Parameter runs: is told of the process, and of its end by nil.
    func run(_ facts: [String: String], _ runs: (pid_t?) -> Void) throws {
        let file = try checked()
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw Failure("can't make a pipe") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(ends[0]) }
        let started = Result { try start(file, facts, output: ends[1]) }
        close(ends[1])
        let pid = try started.get()
        runs(pid)
        let (status, output) = wait(pid, ends[0])
        runs(nil)
        let said = output.isEmpty ? "" : ": \(output)"
        guard let status else {
            throw Failure(.timedOut, "it was stopped after \(Int(Self.seconds)) seconds\(said)")
        }
        let signal = status & 0x7f
        if signal != 0 { throw Failure(.system, "it was ended by signal \(signal)\(said)") }
        let code = (status >> 8) & 0xff
        if code != 0 { throw Failure(.system, "it ended with exit status \(code)\(said)") }
    }

    /// This program, which takes the user's rights and then becomes the hook: after `fork` a process of
    /// many threads could do neither.
    private func start(
        _ file: String, _ facts: [String: String], output: Int32
    ) throws(Failure) -> pid_t {
        let fixed = ["PATH=\(Self.searchPath)", "LANG=C.UTF-8"]
        let variables = facts.sorted { $0.key < $1.key }.map { key, value in
            let text = String(decoding: value.utf8.prefix(Self.factBytesMax), as: UTF8.self)
            return "\(key)=\(text.filter { $0 != "\0" })"
        }
        return try startProgram(
            "/proc/self/exe", ["ydbfs", HookCommand.name, "\(uid)", "\(gid)", file],
            variables: fixed + variables, isApart: true, output: output)
    }

    /// Its status as `waitpid` has it, nil if it had to be killed, and how its output begins.
    private func wait(_ pid: pid_t, _ descriptor: Int32) -> (status: Int32?, output: String) {
        var output: [UInt8] = []
        var (status, isOpen): (Int32, Bool) = (0, true)
        let end = SuspendingClock.now + .seconds(Self.seconds)
        while true {
            // What it has left running may keep the pipe open.
            if waitpid(pid, &status, WNOHANG) == pid {
                drain(descriptor, into: &output, waiting: 0)
                return (status, Self.text(output))
            }
            if SuspendingClock.now > end {
                // Where that isn't allowed, it goes on by itself.
                if kill(-pid, SIGKILL) == 0 {
                    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
                }
                return (nil, Self.text(output))
            }
            if isOpen {
                isOpen = drain(descriptor, into: &output, waiting: 50)
            } else {
                usleep(50_000)
            }
        }
    }

    /// Reads what is there; false at the end.
    @discardableResult
    private func drain(
        _ descriptor: Int32, into output: inout [UInt8], waiting milliseconds: Int32
    ) -> Bool {
        var part = [UInt8](repeating: 0, count: 4096)
        var wait = milliseconds
        while true {
            var poll = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard Glibc.poll(&poll, 1, wait) > 0 else { return true }
            let count = read(descriptor, &part, part.count)
            if count <= 0 { return count < 0 && errno == EINTR }
            output += part[..<count].prefix(max(0, Self.outputBytesMax - output.count))
            wait = 0
        }
    }

    private static func text(_ output: [UInt8]) -> String {
        oneLine(
            String(decoding: output, as: UTF8.self).split(separator: "\n").joined(separator: " "))
    }
}
