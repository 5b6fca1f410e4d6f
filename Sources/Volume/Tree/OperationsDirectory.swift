import Bytes
import Engine
import Tables

/// `operations`: what runs and what ended lately, refusals among it.
final class OperationsDirectory: TreeDirectory {
    let identity = FileIdentity(.operations)
    private let tree: TreeContext

    init(_ tree: TreeContext) { self.tree = tree }

    func appearance() throws(Errno) -> Appearance {
        .directory(modified: tree.lastOperationTime)
    }

    func children() throws(Errno) -> [(name: String, node: any TreeNode)] {
        let operations = tree.engine.operations
        let all = (operations + tree.engine.refusals).map {
            (name: $0.name, node: OperationDirectory(tree, $0.id) as any TreeNode)
        }
        return all + (operations.isEmpty ? [] : [("latest", latest)])
    }

    func child(_ name: String) throws(Errno) -> any TreeNode {
        if name == "latest", !tree.engine.operations.isEmpty { return latest }
        guard let id = Operation.id(named: name), tree.engine.operation(id) != nil else {
            throw .noEntry
        }
        return OperationDirectory(tree, id)
    }

    private var latest: any TreeNode {
        let tree = tree
        return Link(
            FileIdentity(.latestOperation),
            modified: { () throws(Errno) in tree.lastOperationTime },
            { () throws(Errno) in
                guard let newest = tree.engine.operations.last else { throw .noEntry }
                return "\(newest.id)"
            })
    }
}

/// `operations/ID`: one operation, or a refusal.
final class OperationDirectory: TreeDirectory {
    let identity: FileIdentity
    private let tree: TreeContext
    private let id: UInt64

    init(_ tree: TreeContext, _ id: UInt64) {
        self.tree = tree
        self.id = id
        identity = FileIdentity(.operation, id)
    }

    func appearance() throws(Errno) -> Appearance {
        .directory(modified: try tree.operation(id).modified)
    }

    private static let names = ["statement", "state", "progress", "error", "wait", "cancel"]

    func children() throws(Errno) -> [(name: String, node: any TreeNode)] {
        Self.names.map { ($0, file($0)!) }
    }

    func child(_ name: String) throws(Errno) -> any TreeNode {
        guard let file = file(name) else { throw .noEntry }
        return file
    }

    private func file(_ name: String) -> (any TreeNode)? {
        switch name {
        case "statement": text(.statement) { $0.statement + "\n" }
        case "state": text(.state) { $0.status.stateWords + "\n" }
        case "progress": text(.progress, Self.progress)
        case "error":
            text(.error) { operation in
                operation.status.error.map { $0.escapingUnprintable + "\n" } ?? ""
            }
        case "wait": WaitFile(tree, id)
        case "cancel": CancelFile(tree, id)
        default: nil
        }
    }

    private func text(
        _ kind: FileIdentity.Kind, _ make: @escaping @Sendable (Operation) -> String
    ) -> any TreeNode {
        let (tree, id) = (tree, id)
        return TextFile(
            tree, FileIdentity(kind, id),
            modified: { () throws(Errno) in try tree.operation(id).modified },
            { () throws(Errno) in [UInt8](make(try tree.operation(id)).utf8) })
    }

    private static let progress: @Sendable (Operation) -> String = { operation in
        let status = operation.status
        var lines = ["accepted \(operation.accepted)", "rows \(status.rows)"]
        if let total = status.totalRows { lines.append("total_rows \(total)") }
        lines.append("bytes \(status.bytes)")
        if let reason = status.waitsFor { lines.append("waits_for \(reason)") }
        if let figures = status.figures {
            lines.append("read \(figures.bytesRead)")
            lines.append("decoded \(figures.bytesDecoded)")
        }
        let now = Instant.now
        if let seconds = status.secondsLeft(at: now) {
            lines.append("seconds_left \(seconds)")
            lines.append("expected_end \(Instant(seconds: now.seconds + seconds))")
        }
        if let started = status.started { lines.append("started \(started)") }
        if let ended = status.ended { lines.append("ended \(ended)") }
        if let point = status.point { lines.append("point \(point)") }
        lines += status.notes.map { "note \(oneLine($0))" }
        lines += status.leftOut.map { "left_out \($0.record)" }
        return lines.joined(separator: "\n") + "\n"
    }
}

/// `operations/ID/wait`: a read of it answers when the operation has ended, in one line, whose length
/// isn't known before.
final class WaitFile: TreeFile {
    let identity: FileIdentity
    private let tree: TreeContext
    private let id: UInt64

    init(_ tree: TreeContext, _ id: UInt64) {
        self.tree = tree
        self.id = id
        identity = FileIdentity(.wait, id)
    }

    func appearance() throws(Errno) -> Appearance {
        // What can hold a reader up is the owner's alone.
        .file(
            bytes: 0, modified: try tree.operation(id).modified,
            permissions: tree.options.controlMode & 0o444)
    }

    func open(_ caller: Caller) throws(Errno) -> (file: any OpenFile, cache: Opened.Cache) {
        (OpenWait(operation: try tree.operation(id)), .blocking)
    }

    private struct OpenWait: OpenFile {
        let operation: Operation

        func read(at offset: UInt64, count: Int, into output: ByteBuffer) throws(Errno) {
            throw .invalid
        }

        func readLater(
            at offset: UInt64, count: Int,
            reply: @escaping @Sendable (Result<[UInt8], Errno>) -> Void
        ) -> (@Sendable () -> Void)? {
            let watcher = operation.whenEnded { status in
                let line = WaitFile.line(status)
                let start = min(Int(clamping: offset), line.count)
                reply(.success(Array(line[start...].prefix(count))))
            }
            guard let watcher else { return nil }
            return { [operation] in
                if operation.forget(watcher) { reply(.failure(.interrupted)) }
            }
        }
    }

    static func line(_ status: Operation.Status) -> [UInt8] {
        Array("\(oneLine(status.summary))\n".utf8)
    }
}

/// `operations/ID/cancel`: writing anything cancels.
final class CancelFile: TreeFile {
    let identity: FileIdentity
    private let tree: TreeContext
    private let id: UInt64

    init(_ tree: TreeContext, _ id: UInt64) {
        self.tree = tree
        self.id = id
        identity = FileIdentity(.cancel, id)
    }

    var isWritable: Bool { true }

    func appearance() throws(Errno) -> Appearance {
        .file(
            bytes: 0, modified: try tree.operation(id).modified,
            permissions: tree.options.controlMode)
    }

    func open(_ caller: Caller) throws(Errno) -> (file: any OpenFile, cache: Opened.Cache) {
        (OpenCancel(engine: tree.engine, operation: try tree.operation(id)), .direct)
    }

    private struct OpenCancel: OpenFile {
        let engine: Engine
        let operation: Operation

        func read(at offset: UInt64, count: Int, into output: ByteBuffer) throws(Errno) {}

        func write(_ bytes: [UInt8], _ caller: Caller) throws(Errno) {
            do throws(Failure) {
                try engine.cancel(operation)
            } catch {
                engine.errors.add(
                    "cancel", message: error.message, collection: operation.collection)
                throw error.errno
            }
        }
    }
}

extension TreeContext {
    func operation(_ id: UInt64) throws(Errno) -> Operation {
        guard let operation = engine.operation(id) else { throw .noEntry }
        return operation
    }
}

extension Operation {
    /// When it last changed its state.
    fileprivate var modified: Instant {
        let status = status
        return status.ended ?? status.started ?? accepted
    }
}
