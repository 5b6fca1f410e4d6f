import Bytes
import Engine
import Glibc
import Synchronization

/// Room for files whose bytes can't be known by arithmetic: they are rendered into temporary files
/// without names, together no more than a limit. What was made longest ago goes first, to be made
/// again when it is opened again.
final class Spool: Sendable {
    private struct State {
        var bytes: UInt64 = 0
        /// Oldest first.
        var kept: [Kept] = []
    }

    private struct Kept {
        weak var file: SpooledFile?
    }

    private let directory: String
    private let maxBytes: UInt64
    private let state = Mutex(State())

    init(directory: String = SpillFile.defaultDirectory, maxBytes: UInt64) {
        self.directory = directory
        self.maxBytes = maxBytes
    }

    /// What `body` writes. Throws `EFBIG` if it is more than there is room for.
    fileprivate func make(_ body: (any ByteSink) throws -> Void) throws -> SpooledBytes {
        let bytes = SpooledBytes(try SpillFile.openNameless(in: directory), self)
        try body(bytes)
        return bytes
    }

    fileprivate func keep(_ file: SpooledFile) {
        state.withLock { state in
            state.kept.removeAll { $0.file == nil || $0.file === file }
            state.kept.append(Kept(file: file))
        }
    }

    fileprivate func take(_ bytes: UInt64) throws {
        while true {
            let (hasRoom, oldest) = state.withLock { state -> (Bool, Kept?) in
                if state.bytes + bytes <= maxBytes {
                    state.bytes += bytes
                    return (true, nil)
                }
                return (false, state.kept.isEmpty ? nil : state.kept.removeFirst())
            }
            if hasRoom { return }
            guard let oldest else { throw Errno.tooBig }
            oldest.file?.forget()
        }
    }

    fileprivate func giveBack(_ bytes: UInt64) { state.withLock { $0.bytes -= bytes } }
}

/// Bytes in a temporary file, for as long as somebody refers to them. Written by one thread first,
/// then read by any.
final class SpooledBytes: ByteSink, OpenFile, @unchecked Sendable {
    private let descriptor: Int32
    private let spool: Spool
    private(set) var position: UInt64 = 0

    fileprivate init(_ descriptor: Int32, _ spool: Spool) {
        self.descriptor = descriptor
        self.spool = spool
    }

    deinit {
        close(descriptor)
        spool.giveBack(position)
    }

    func append(_ buffer: ByteBuffer) throws {
        try spool.take(UInt64(buffer.count))
        position += UInt64(buffer.count)
        try buffer.withBytes { bytes in
            var rest = bytes
            while !rest.isEmpty {
                let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw Failure("can't write a temporary file") }
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            }
        }
    }

    func read(at offset: UInt64, count: Int, into output: ByteBuffer) throws(Errno) {
        guard offset < position else { return }
        let wanted = Int(min(UInt64(count), position - offset))
        var failure: Errno?
        output.append(room: wanted) { memory in
            var read = 0
            while read < wanted {
                let part = pread(
                    descriptor, memory.baseAddress! + read, wanted - read,
                    off_t(offset) + off_t(read))
                if part < 0, errno == EINTR { continue }
                if part <= 0 {
                    failure = part < 0 ? .current : .io
                    break
                }
                read += part
            }
            return read
        }
        if let failure { throw failure }
    }
}

/// A file of a tree that is rendered as a whole when it is first looked up. What it shows never
/// changes; it may be rendered again.
final class SpooledFile: TreeFile {
    typealias Render =
        @Sendable (
            _ sink: any ByteSink, _ checkpoint: @escaping @Sendable () throws -> Void
        ) throws -> Void

    let identity: FileIdentity
    private let tree: TreeContext
    private let modified: TextFile.Time
    /// Names it in `errors`, with what to use instead if it is too large.
    private let words: @Sendable () -> (name: String, instead: String)
    private let render: Render
    private let bytes = Mutex<SpooledBytes?>(nil)

    init(
        _ tree: TreeContext, _ identity: FileIdentity, modified: @escaping TextFile.Time,
        words: @escaping @Sendable () -> (name: String, instead: String),
        render: @escaping Render
    ) {
        self.tree = tree
        self.identity = identity
        self.modified = modified
        self.words = words
        self.render = render
    }

    var needsPreparation: Bool { bytes.withLock { $0 == nil } }

    func prepare(_ checkpoint: @escaping @Sendable () throws -> Void) throws {
        do {
            let made = try tree.spool.make { sink in try render(sink, checkpoint) }
            bytes.withLock { $0 = made }
            tree.spool.keep(self)
        } catch {
            let (name, instead) = words()
            if (error as? Errno) == .tooBig {
                tree.engine.errors.add(
                    name, message: "\(name) is too large to be shown here: use \(instead)")
            } else if (error as? Failure)?.code != .cancelled, !(error is Errno) {
                let message = (error as? Failure)?.message ?? "\(error)"
                tree.engine.errors.add(name, message: message)
            }
            throw error
        }
    }

    fileprivate func forget() { bytes.withLock { $0 = nil } }

    func appearance() throws(Errno) -> Appearance {
        // It may have had to go in the moment since it was prepared.
        guard let bytes = bytes.withLock(\.self) else { throw .again }
        return .file(bytes: bytes.position, modified: try modified(), isImmutable: true)
    }

    func open(_ caller: Caller) throws(Errno) -> (file: any OpenFile, cache: Opened.Cache) {
        guard let bytes = bytes.withLock(\.self) else { throw .again }
        return (bytes, .keep)
    }
}
