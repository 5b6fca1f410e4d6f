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
        (OpenControl(tree, collection: try name(), text: try text(), caller), .direct)
    }
}

/// One open handle of a control file.
private final class OpenControl: OpenFile {
    private let engine: Engine
    /// Who gets what is decided after the last close.
    private let owner: UInt32
    private let collection: String?
    /// What reading it shows.
    private let text: OpenText
    /// Process that opened it.
    private let opener: Int32
    private let content: Mutex<ControlText>

    init(_ tree: TreeContext, collection: String?, text: [UInt8], _ caller: Caller) {
        engine = tree.engine
        owner = tree.options.uid
        self.collection = collection
        self.text = OpenText(text)
        opener = caller.process
        content = Mutex(ControlText(scope: collection.map { CollectionScope(name: $0) }))
    }

    func read(at offset: UInt64, count: Int, into output: ByteBuffer) throws(Errno) {
        try text.read(at: offset, count: count, into: output)
    }

    func write(_ bytes: [UInt8], _ caller: Caller) throws(Errno) {
        try decide(caller) { text throws(Failure) in
            try text.write(bytes) { statements throws(Failure) in
                try engine.validate(statements)
            }
        }
    }

    func flush(_ caller: Caller) throws(Errno) {
        let byOpener = caller.process == opener
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
            engine.refuse(
                discarded.text, discarded.failure, snippet: discarded.snippet,
                collection: collection, owner: owner)
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
            engine.refuse(
                refusal.text, refusal.failure, snippet: refusal.snippet, collection: collection,
                owner: caller.uid)
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
            _ = try engine.submit(statements, owner: owner)
        } catch {
            engine.refuse(
                statements.map(\.text).joined(separator: ";\n"), error, collection: collection,
                owner: owner)
            throw error
        }
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
