import ArgumentParser
import Bytes
import Engine
import Fuse
import Glibc
import Repository
import Synchronization

struct RunCommand: ParsableCommand, QuietVerb {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Carry out statements and wait for what they start.",
        discussion: """
            Needs no mount; while SOURCE is mounted with the same repository, by you or by root, and \
            you may write there, the statements go to that mount. Without statements as arguments they \
            are read from the standard input. Each is checked when its turn comes; when one is refused \
            or fails, those behind it are cancelled.

              ydbfs run shop.db "CREATE BACKUP COLLECTION shop ( TABLE orders )
                  WITH ( STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true' )"
              ydbfs run shop.db 'BACKUP shop'
              ydbfs run shop.db 'BACKUP shop INCREMENTAL' --json
              ydbfs run shop.db < statements.sql
              ydbfs run shop.db --into new.db "RESTORE shop AT 'yesterday'"
              ydbfs run shop.db 'SHOW OPERATIONS'

            Prints a line for each statement: operation 17 done 20261121100000Z_full rows=… bytes=…. \
            What had to be left out of it has a line each before that, with the reason, and \
            incomplete=N in it. With --json an object with the keys id, statement, state (done, \
            failed, cancelled; queued, running after --no-wait), point, rows, bytes, seconds, \
            error, notes, incomplete, left_out (path, reason); keys without a value are left out. \
            Notes are what PRUNE and VERIFY have to say. SHOW is answered here, also where nothing \
            can be written, with lines of a table, with --json an object that has statement and \
            answer, an object for each line. Ctrl-C cancels what runs.

            Exit status: 0 all is done, 1 something failed, 2 wrong usage, 3 all is done, but \
            something was left out.
            """)

    @Argument(
        help: ArgumentHelp(
            "A SQLite database, a dump of YDB, copies of databases, or a mount point.",
            valueName: "SOURCE"))
    var source: String

    @Argument(
        help: ArgumentHelp("Statements, each argument one or more.", valueName: "STATEMENT"))
    var statements: [String] = []

    @Option(
        help: ArgumentHelp(
            "Restore into this database instead; it may be a new file.", valueName: "SOURCE"))
    var into: String?

    @Option(
        help: ArgumentHelp(
            "Where the backups are (default: SOURCE.backups).", valueName: "LOCATION"))
    var repository: String?

    @Option(
        help: ArgumentHelp(
            "Bytes per second that operations may write, such as 10M.", valueName: "SIZE"))
    var rate: String?

    @Option(
        help: ArgumentHelp(
            "Bytes kept back so that a full disk has a way out; 0 for none.", valueName: "SIZE"))
    var reserve: String?

    @Flag(help: "Take the backups of another database for those of SOURCE.")
    var adopt = false

    @Flag(help: "Rely on locks and shared memory on any file system (see mount --help).")
    var trustFs = false

    @Flag(help: "Leave running operations to the mount instead of waiting for them.")
    var noWait = false

    @Flag(help: "One JSON object per operation.")
    var json = false

    @OptionGroup var quiet: QuietOption

    func validate() throws {
        if json, quiet.isOn { throw ValidationError("--quiet and --json contradict each other") }
    }

    func run() throws {
        Signals.block()
        let source = try SourceArgument.given(
            source, repository: repository, trustsFileSystem: trustFs)
        let text = try statementText()
        let answers = Answers(source)
        let orders = text.statements.filter { !$0.isQuestion }
        // Who only asks needs nobody who may write.
        let target = orders.isEmpty ? nil : try target(for: source, engineOptions())
        defer { target?.close() }
        if noWait, let target, target.outlivesUs {
            for operation in try target.submit(orders, of: text) { try show(operation.now()) }
            for question in text.statements where question.isQuestion {
                try show(answers.answer(question, of: text), to: question)
            }
            return
        }
        if noWait, target != nil { Output.remark("nothing is mounted that could go on: waiting") }
        let turn = Turn()
        try Signals.watch(stop: { _ in turn.stop() }, stopNow: { _exit(128 + SIGINT) })
        try runInTurn(text, target, answers, turn)
    }

    /// One after another, each checked when its turn comes.
    private func runInTurn(
        _ text: StatementText, _ target: (any StatementTarget)?, _ answers: Answers, _ turn: Turn
    ) throws {
        var isWhole = true
        for (index, statement) in text.statements.enumerated() {
            let rest = text.statements[(index + 1)...]
            do {
                if statement.isQuestion {
                    try show(answers.answer(statement, of: text), to: statement)
                    continue
                }
                for operation in try target?.submit([statement], of: text) ?? [] {
                    turn.begin(operation)
                    let report = wait(for: operation)
                    try show(report)
                    isWhole = isWhole && report.incomplete == nil
                    if !report.isDone { throw ExitCode(ExitStatus.failure) }
                }
            } catch {
                if let failure = error as? Failure { Output.error(wayOut(failure, statement)) }
                for statement in rest {
                    var report = OperationReport(
                        id: nil, statement: statement.text, state: "cancelled")
                    report.error = "statement \(index + 1) failed"
                    try show(report)
                }
                throw ExitCode(ExitStatus.failure)
            }
            if turn.isStopped, !rest.isEmpty {
                throw Failure(.cancelled, "stopped behind statement \(index + 1)")
            }
        }
        if !isWhole { throw ExitCode(ExitStatus.incomplete) }
    }

    /// A database that is lost comes back into a new file.
    private func wayOut(_ failure: Failure, _ statement: Statement) -> Failure {
        guard case .restore = statement.action, into == nil, !Paths.exists(source) else {
            return failure
        }
        let place = PathText.shellWord(source)
        return Failure(
            failure.code,
            "\(failure.message): ydbfs run \(place) --into \(place) \(PathText.shellWord(statement.text)) "
                + "makes it anew", snippet: failure.snippet)
    }

    private func statementText() throws -> StatementText {
        let text =
            statements.isEmpty
            ? try StatementText(StatementText.readInput())
            : try StatementText(arguments: statements)
        if text.statements.isEmpty { throw ValidationError("There is no statement to run") }
        return text
    }

    private func engineOptions() throws -> Engine.Options {
        var options = Engine.Options()
        options.adopts = adopt
        if let rate {
            guard let bytes = MountOptions.bytes(rate), bytes >= MountOptions.rateMin else {
                throw ValidationError("--rate \(rate): expected \(MountOptions.rateWords)")
            }
            options.rate = bytes
        }
        if let reserve {
            guard let bytes = MountOptions.reserve(reserve) else {
                throw ValidationError("--reserve \(reserve): expected \(MountOptions.reserveWords)")
            }
            options.repository.reserveBytes = bytes
        }
        return options
    }

    private func target(
        for source: SourceArgument, _ options: Engine.Options
    ) throws -> any StatementTarget {
        // A mount has no word for another database; reading backups needs none.
        if let into {
            var options = options
            options.restoresInto = try DestinationArgument(into, owner: source.modes?.owner).open
            return try EngineTarget(source, options)
        }
        guard let mounted = try MountTarget.serving(source) else {
            if case .mounted(let place) = source.kind {
                throw Failure(
                    .denied,
                    "\(place) takes no statements of yours: it is mounted read-only, or you may not "
                        + "write to its control file; name the database instead")
            }
            return try EngineTarget(source, options)
        }
        let mountWords = [
            ("rate", "rate=", rate != nil), ("reserve", "reserve=", reserve != nil),
            ("adopt", "adopt", adopt), ("trust-fs", "trust_fs", trustFs),
        ]
        for (word, option, isGiven) in mountWords where isGiven {
            throw Failure(
                .invalid,
                "--\(word): a mount carries the statements out: give it -o \(option) instead")
        }
        return mounted
    }

    /// The statement that runs now, which a signal cancels.
    private final class Turn: Sendable {
        private let state = Mutex<(operation: (any SubmittedOperation)?, isStopped: Bool)>(
            (nil, false))

        var isStopped: Bool { state.withLock(\.isStopped) }

        func begin(_ operation: any SubmittedOperation) {
            let isStopped = state.withLock { state in
                state.operation = operation
                return state.isStopped
            }
            if isStopped { operation.cancel() }
        }

        func stop() {
            let operation = state.withLock { state in
                state.isStopped = true
                return state.operation
            }
            operation?.cancel()
        }
    }

    private func wait(for operation: any SubmittedOperation) -> OperationReport {
        let (secondsBeforeBar, secondsBetween) = (0.3, 0.2)
        var report = operation.wait(seconds: secondsBeforeBar)
        let bar = Output.showsProgress ? ProgressBar(operation.statement) : nil
        while report == nil {
            bar?.draw(operation.progress())
            report = operation.wait(seconds: secondsBetween)
        }
        bar?.erase()
        return report!
    }

    private func show(_ answer: Answer, to question: Statement) throws {
        if json { return try Output.json(AnswerReport(question, answer)) }
        for line in Shown.output(isUTC: false).lines(answer) { Output.print(line) }
    }

    private func show(_ report: OperationReport) throws {
        if json { return try Output.json(report) }
        for note in report.notes { Output.say("note: \(oneLine(note))") }
        for line in report.leftOutLines { Output.leftOut(line) }
        if report.error == nil { Output.say(report.line) } else { Output.error(report.line) }
    }
}
