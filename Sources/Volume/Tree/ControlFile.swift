import Bytes
import Engine
import Glibc
import Synchronization

/// `control` of the mount or of a collection: what is written are statements, what is read is the last
/// refusal, recent results and how to use it.
final class ControlFile: TreeFile {
    let identity: FileIdentity
    private let tree: TreeContext
    /// Id of the collection whose it is; nil: the mount's.
    private let collection: String?

    init(_ tree: TreeContext, _ identity: FileIdentity, collection: String?) {
        self.tree = tree
        self.identity = identity
        self.collection = collection
    }

    var isWritable: Bool { true }

    private func name() throws(Errno) -> String? {
        guard let collection else { return nil }
        return try tree.collection(collection).name
    }

    private func text() throws(Errno) -> [UInt8] {
        try tree.text(identity) { () throws(Errno) in
            [UInt8](ControlUsage.text(tree.engine, try name()).utf8)
        }
    }

    func appearance() throws(Errno) -> Appearance {
        let modified =
            if let collection { tree.modified(try tree.collection(collection)) } else {
                tree.lastOperationTime
            }
        return .file(
            bytes: UInt64(try text().count), modified: modified,
            permissions: tree.options.controlMode)
    }

    func open(_ caller: Caller) throws(Errno) -> (file: any OpenFile, cache: Opened.Cache) {
        (try handle(caller), .direct)
    }

    func open(
        _ mode: OpenMode, _ caller: Caller
    ) throws(Errno) -> (file: any OpenFile, cache: Opened.Cache) {
        mode == .readWrite ? (try handle(caller), .stream) : try open(caller)
    }

    private func handle(_ caller: Caller) throws(Errno) -> OpenControl {
        OpenControl(tree, collection: try name(), text: try text(), caller)
    }
}

/// One open handle of a control file. One that can be written and read answers: what is read from it is
/// first the file's text, and after a write what became of each statement that the handle wrote.
private final class OpenControl: OpenFile {
    private let engine: Engine
    /// Who gets what is decided after the last close.
    private let owner: UInt32
    private let collection: String?
    /// What reading it shows.
    private let text: OpenText
    private let opener: Caller
    /// The process that opened it.
    private let process: Int32
    private let content: Mutex<ControlText>
    private let answers: Mutex<ControlAnswers>

    init(_ tree: TreeContext, collection: String?, text: [UInt8], _ caller: Caller) {
        engine = tree.engine
        owner = tree.options.uid
        self.collection = collection
        self.text = OpenText(text)
        opener = caller
        process = caller.process
        content = Mutex(ControlText(scope: collection.map { CollectionScope(name: $0) }))
        answers = Mutex(ControlAnswers(text))
    }

    // MARK: Reading

    func read(at offset: UInt64, count: Int, into output: ByteBuffer) throws(Errno) {
        try text.read(at: offset, count: count, into: output)
    }

    /// Offsets mean nothing: a shell's descriptor has one position, for what it writes and what it reads.
    func readLater(
        at _: UInt64, count: Int, reply: @escaping @Sendable (Result<[UInt8], Errno>) -> Void
    ) -> (@Sendable () -> Void)? {
        do throws(Errno) {
            try decide(opener) { text throws(Failure) in
                try text.flush(byOpener: true) { statements throws(Failure) in
                    try engine.validate(statements)
                }
            }
        } catch {
            // A refusal is an answer; what is no statement yet is none.
            guard answers.withLock(\.hasMore) else {
                reply(.failure(error))
                return nil
            }
        }
        guard let next = answers.withLock({ $0.takeNext() }) else {
            reply(.success(answers.withLock { $0.take(count) }))
            return nil
        }
        let awaited: Operation
        switch next {
        case .operation(let operation): awaited = operation
        case .question(let statement):
            let answer = answer(to: statement)
            reply(
                .success(
                    answers.withLock { answers in
                        answers.add(answer)
                        return answers.take(count)
                    }))
            return nil
        }
        let watcher = awaited.whenEnded { [self] status in
            reply(
                .success(
                    answers.withLock { answers in
                        answers.add(WaitFile.line(status))
                        return answers.take(count)
                    }))
        }
        guard let watcher else { return nil }
        return { [self] in
            if !awaited.forget(watcher) { return }
            answers.withLock { $0.putBack(.operation(awaited)) }
            reply(.failure(.interrupted))
        }
    }

    /// As it is when its turn to be read has come: what the handle asked for before has ended.
    private func answer(to question: Statement) -> [UInt8] {
        do throws(Failure) {
            return Array(try engine.answer(question).text.utf8)
        } catch {
            return Array("refused: \(oneLine(error.message))\n".utf8)
        }
    }

    // MARK: Writing

    func write(_ bytes: [UInt8], _ caller: Caller) throws(Errno) {
        try decide(caller) { text throws(Failure) in
            try text.write(bytes) { statements throws(Failure) in
                try engine.validate(statements)
            }
        }
        answers.withLock { $0.forgetText() }
    }

    func flush(_ caller: Caller) throws(Errno) {
        let byOpener = caller.process == process
        try decide(caller) { text throws(Failure) in
            try text.flush(byOpener: byOpener) { statements throws(Failure) in
                try engine.validate(statements)
            }
        }
    }

    func release() {
        let (start, discarded) = content.withLock { text in
            text.release { statements throws(Failure) in try engine.validate(statements) }
        }
        if let discarded {
            refuse(discarded.text, discarded.failure, discarded.snippet, owner: owner)
        }
        if !start.isEmpty { _ = try? submit(start, owner: owner) }
    }

    /// Lets the handle's text decide, and starts what it gives.
    private func decide(
        _ caller: Caller, _ body: (inout ControlText) throws(Failure) -> [Statement]
    ) throws(Errno) {
        let (outcome, refusal) = content.withLock { text in
            do throws(Failure) {
                return (Result<[Statement], Failure>.success(try body(&text)), text.refusal)
            } catch {
                return (.failure(error), text.refusal)
            }
        }
        if let refusal {
            refuse(refusal.text, refusal.failure, refusal.snippet, owner: caller.uid)
        }
        do throws(Failure) {
            let start = try outcome.get()
            if !start.isEmpty { try submit(start, owner: caller.uid) }
        } catch {
            throw error.errno
        }
    }

    private func submit(_ statements: [Statement], owner: UInt32) throws(Failure) {
        do {
            var operations = try engine.submit(statements, owner: owner)[...]
            answers.withLock { answers in
                answers.wait(
                    for: statements.map { statement in
                        statement.isQuestion
                            ? .question(statement) : .operation(operations.removeFirst())
                    })
            }
        } catch {
            refuse(statements.map(\.text).joined(separator: ";\n"), error, owner: owner)
            throw error
        }
    }

    private func refuse(
        _ text: String, _ failure: Failure, _ snippet: String? = nil, owner: UInt32
    ) {
        let refusal = engine.refuse(
            text, failure, snippet: snippet, collection: collection, owner: owner)
        answers.withLock { $0.wait(for: [.operation(refusal)]) }
    }
}

/// What a handle has to tell, in the order in which it is read.
private struct ControlAnswers {
    /// What is left of a line, or of the usual text.
    private var rest: ArraySlice<UInt8>
    private var isText = true
    /// What was asked for and not told yet.
    private var awaited: [Awaited] = []

    enum Awaited {
        case operation(Operation)
        case question(Statement)
    }

    init(_ text: [UInt8]) { rest = text[...] }

    var hasMore: Bool { !rest.isEmpty || !awaited.isEmpty }

    /// Who has written wants answers, not the usual text.
    mutating func forgetText() {
        if isText { rest = [] }
        isText = false
    }

    mutating func wait(for more: [Awaited]) {
        forgetText()
        awaited += more
    }

    /// What to tell of next; nil as long as there is a rest, and at the end.
    mutating func takeNext() -> Awaited? {
        rest.isEmpty && !awaited.isEmpty ? awaited.removeFirst() : nil
    }

    mutating func putBack(_ first: Awaited) { awaited.insert(first, at: 0) }

    mutating func add(_ line: [UInt8]) { rest += line }

    mutating func take(_ count: Int) -> [UInt8] {
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }
}

extension Caller {
    /// The process that the caller's thread belongs to, as /proc tells; the thread's own number if it
    /// can't.
    fileprivate var process: Int32 {
        guard pid > 0, let file = fopen("/proc/\(pid)/status", "r") else { return pid }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, 256, file) != nil {
            let text = String(
                decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
            if text.hasPrefix("Tgid:") {
                return Int32(text.dropFirst(5).filter { $0.isNumber }) ?? pid
            }
        }
        return pid
    }
}
