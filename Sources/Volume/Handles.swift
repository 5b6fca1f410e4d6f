import Bytes
import Engine
import Glibc
import Synchronization
import Tables

/// What is open.
enum Handle: Sendable {
    /// Text as it was at `open`.
    case text([UInt8])
    /// Readable also when its point is dropped.
    case table(FileReader, PointHold)
    case control(ControlHandle)
    case cancel(Operation)
    case wait(Operation)
}

/// One open handle of a control file.
final class ControlHandle: Sendable {
    let collection: String?
    /// What reading it shows.
    let text: [UInt8]
    /// Process that opened it.
    let opener: Int32
    let content: Mutex<ControlText>

    init(collection: String?, text: [UInt8], opener: Int32) {
        self.collection = collection
        self.text = text
        self.opener = opener
        content = Mutex(ControlText(scope: collection.map { CollectionScope(name: $0) }))
    }
}

/// A read that waits for the end of an operation.
struct Wait: Sendable {
    var operation: Operation
    var watcher: UInt64
    var reply: @Sendable (Result<[UInt8], Errno>) -> Void
}

extension Volume {
    /// Bytes of `wait`: known before it is.
    static let waitBytes = 128

    package func open(_ inode: Inode, mode: OpenMode, caller: Caller) throws(Errno) -> Opened {
        guard let node = Node(inode: inode) else { throw .noEntry }
        let isWriting = mode != .read
        switch node {
        case .rootFile(.control):
            return add(control(nil, node, caller), .direct)
        case .collectionFile(let number, .control):
            return add(control(try shown(number).name, node, caller), .direct)
        case .operationFile(let id, .cancel):
            guard let operation = engine.operation(id) else { throw .noEntry }
            return add(.cancel(operation), .direct)
        default: break
        }
        if isWriting { throw .readOnly }
        switch node {
        case .tableFile(.sql, _, _, _), .manifest: return add(.text(try text(node)), .keep)
        case .tableFile(let kind, let number, let sequence, let table):
            let (shown, record) = try self.table(number, sequence, table)
            let hold = engine.hold(record, of: shown.state)
            let snapshot = engine.snapshot(record, of: shown.state)
            let file: any RenderedFile =
                kind == .parquet ? ParquetFile(snapshot) : CSVFile(snapshot)
            return add(.table(FileReader(file, prefetcher: prefetcher), hold), .keep)
        case .operationFile(let id, .wait):
            guard let operation = engine.operation(id) else { throw .noEntry }
            return add(.wait(operation), .blocking)
        case .rootFile, .operationFile, .collectionFile(_, _):
            return add(.text(try text(node)), .direct)
        default: throw .isDirectory
        }
    }

    private func control(_ name: String?, _ node: Node, _ caller: Caller) -> Handle {
        .control(
            ControlHandle(
                collection: name, text: (try? text(node)) ?? [], opener: process(of: caller.pid)))
    }

    private func add(_ handle: Handle, _ cache: Opened.Cache) -> Opened {
        state.withLock { state in
            let number = state.nextHandle
            state.nextHandle += 1
            state.handles[number] = handle
            return Opened(handle: number, cache: cache)
        }
    }

    private func handle(_ number: UInt64) throws(Errno) -> Handle {
        guard let handle = state.withLock({ $0.handles[number] }) else { throw .badHandle }
        return handle
    }

    // MARK: Reading

    package func read(
        _ number: UInt64, at offset: UInt64, count: Int, into output: ByteBuffer
    ) throws(Errno) {
        switch try handle(number) {
        case .text(let text): Self.copy(text, at: offset, count: count, into: output)
        case .control(let control):
            Self.copy(control.text, at: offset, count: count, into: output)
        case .table(let reader, _):
            do {
                try reader.read(at: offset, count: count, into: output)
            } catch let failure as Failure {
                engine.errors.add("reading a backup", message: failure.message)
                throw failure.errno
            } catch {
                engine.errors.add("reading a backup", message: "\(error)")
                throw .io
            }
        case .cancel: return
        case .wait: throw .invalid
        }
    }

    private static func copy(
        _ text: [UInt8], at offset: UInt64, count: Int, into output: ByteBuffer
    ) {
        guard offset < UInt64(text.count) else { return }
        output.append(Array(text[Int(offset)...].prefix(count)))
    }

    package func readLater(
        _ number: UInt64, at offset: UInt64, count: Int,
        reply: @escaping @Sendable (Result<[UInt8], Errno>) -> Void
    ) -> UInt64? {
        guard case .wait(let operation)? = try? handle(number) else {
            reply(.failure(.badHandle))
            return nil
        }
        let ticket = state.withLock { state in
            state.nextWait += 1
            return state.nextWait
        }
        let watcher = operation.whenEnded { [weak self] status in
            self?.state.withLock { _ = $0.waits.removeValue(forKey: ticket) }
            let line = Self.waitLine(status)
            let start = min(Int(clamping: offset), line.count)
            reply(.success(Array(line[start...].prefix(count))))
        }
        guard let watcher else { return nil }
        // If it ends right now, the entry stays behind; `interrupt` then finds nothing to forget.
        state.withLock {
            $0.waits[ticket] = Wait(operation: operation, watcher: watcher, reply: reply)
        }
        if operation.status.state.isFinal {
            state.withLock { _ = $0.waits.removeValue(forKey: ticket) }
        }
        return ticket
    }

    package func interrupt(_ ticket: UInt64) {
        guard let wait = state.withLock({ $0.waits.removeValue(forKey: ticket) }) else { return }
        if wait.operation.forget(wait.watcher) { wait.reply(.failure(.interrupted)) }
    }

    /// One line of `waitBytes` bytes, spaces before its end.
    private static func waitLine(_ status: Operation.Status) -> [UInt8] {
        let summary = status.summary.replacing("\n", with: " ")
        var line = [UInt8](summary.utf8)
        if line.count > waitBytes - 1 {
            let kept = String(decoding: line.prefix(waitBytes - 4), as: UTF8.self)
            line = [UInt8](kept.prefix { $0 != "\u{FFFD}" }.utf8) + Array("...".utf8)
        }
        line += [UInt8](repeating: UInt8(ascii: " "), count: max(0, waitBytes - 1 - line.count))
        return line.prefix(waitBytes - 1) + [UInt8(ascii: "\n")]
    }

    // MARK: Writing

    package func write(_ number: UInt64, bytes: [UInt8], caller: Caller) throws(Errno) {
        switch try handle(number) {
        case .control(let control):
            try decide(control, caller) { text throws(Failure) in
                try text.write(bytes) { statements throws(Failure) in
                    try engine.validate(statements)
                }
            }
        case .cancel(let operation):
            do throws(Failure) {
                try engine.cancel(operation)
            } catch {
                engine.errors.add(
                    "cancel", message: error.message, collection: operation.collection)
                throw error.errno
            }
        default: throw .badHandle
        }
    }

    package func flush(_ number: UInt64, caller: Caller) throws(Errno) {
        guard case .control(let control) = try handle(number) else { return }
        let byOpener = process(of: caller.pid) == control.opener
        try decide(control, caller) { text throws(Failure) in
            try text.flush(byOpener: byOpener) { statements throws(Failure) in
                try engine.validate(statements)
            }
        }
    }

    package func release(_ number: UInt64) {
        let handle = state.withLock { $0.handles.removeValue(forKey: number) }
        guard case .control(let control) = handle else { return }
        let (start, discarded) = control.content.withLock { text in
            text.release { statements throws(Failure) in try engine.validate(statements) }
        }
        if let discarded {
            engine.refuse(
                discarded.text, discarded.failure, snippet: discarded.snippet,
                collection: control.collection, owner: options.uid)
        }
        if !start.isEmpty { _ = try? submit(start, control, owner: options.uid) }
    }

    /// Lets the handle's text decide, and starts what it gives.
    private func decide(
        _ control: ControlHandle, _ caller: Caller,
        _ body: (inout ControlText) throws(Failure) -> [Statement]
    ) throws(Errno) {
        let (outcome, refusal) = control.content.withLock { text in
            do throws(Failure) {
                return (Result<[Statement], Failure>.success(try body(&text)), text.refusal)
            } catch {
                return (.failure(error), text.refusal)
            }
        }
        if let refusal {
            engine.refuse(
                refusal.text, refusal.failure, snippet: refusal.snippet,
                collection: control.collection, owner: caller.uid)
        }
        do throws(Failure) {
            let start = try outcome.get()
            if !start.isEmpty { try submit(start, control, owner: caller.uid) }
        } catch {
            throw error.errno
        }
    }

    private func submit(
        _ statements: [Statement], _ control: ControlHandle, owner: UInt32
    ) throws(Failure) {
        do {
            _ = try engine.submit(statements, owner: owner)
        } catch {
            engine.refuse(
                statements.map(\.text).joined(separator: ";\n"), error,
                collection: control.collection, owner: owner)
            throw error
        }
    }

    /// The process that a thread belongs to, as /proc tells; the thread's own number if it can't.
    private func process(of thread: Int32) -> Int32 {
        guard thread > 0, let file = fopen("/proc/\(thread)/status", "r") else { return thread }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, 256, file) != nil {
            let text = String(
                decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
            if text.hasPrefix("Tgid:") {
                return Int32(text.dropFirst(5).filter { $0.isNumber }) ?? thread
            }
        }
        return thread
    }
}
