import Bytes
import Engine
import Glibc
import Synchronization

/// Room for files whose bytes can't be known by arithmetic: small ones are kept in memory, others in
/// temporary files without names, together no more than a limit. What was made longest ago goes first,
/// to be made again when it is opened again.
final class Spool: Sendable {
    private struct State {
        var used = Room()
        /// Oldest first, those that are gone among them.
        var kept: [Kept] = []
        /// How many may be kept before those that are gone are looked for.
        var keptMax = 1024
    }

    private struct Kept {
        weak var file: SpooledFile?
    }

    /// What is taken.
    fileprivate struct Room {
        var bytes: UInt64 = 0
        var memory: UInt64 = 0
        /// Descriptors that are open.
        var files = 0
    }

    private static let memoryMax: UInt64 = 16 << 20
    /// A small part of what the process may have open.
    private static let filesMax = OpenFiles.share(least: 8, most: 256)

    fileprivate let directory: String
    private let maxBytes: UInt64
    private let state = Mutex(State())

    init(directory: String = SpillFile.defaultDirectory, maxBytes: UInt64) {
        self.directory = directory
        self.maxBytes = maxBytes
    }

    /// What `body` writes. Throws `EFBIG` if it is more than there is room for.
    fileprivate func make(_ body: (any ByteSink) throws -> Void) throws -> SpooledBytes {
        let bytes = SpooledBytes(self)
        try body(bytes)
        return bytes
    }

    /// What was just made may go again when there is no room.
    fileprivate func keep(_ file: SpooledFile) {
        // A file whose last reference this is goes behind the lock, which it takes itself.
        var alive: [SpooledFile] = []
        state.withLock { state in
            state.kept.append(Kept(file: file))
            guard state.kept.count > state.keptMax else { return }
            alive = state.kept.compactMap(\.file)
            state.kept = alive.map { Kept(file: $0) }
            state.keptMax = max(1024, 2 * alive.count)
        }
        withExtendedLifetime(alive) {}
    }

    fileprivate func take(_ room: Room) throws {
        while true {
            let (fits, isOutOfFiles, oldest) = state.withLock { state -> (Bool, Bool, Kept?) in
                let bytes = state.used.bytes + room.bytes
                let memory = state.used.memory + room.memory
                let files = state.used.files + room.files
                if bytes <= maxBytes, memory <= Self.memoryMax, files <= Self.filesMax {
                    state.used = Room(bytes: bytes, memory: memory, files: files)
                    return (true, false, nil)
                }
                let oldest = state.kept.isEmpty ? nil : state.kept.removeFirst()
                return (false, files > Self.filesMax, oldest)
            }
            if fits { return }
            guard let oldest else { throw isOutOfFiles ? Errno.tooManyOpen : Errno.tooBig }
            oldest.file?.forget()
        }
    }

    fileprivate func giveBack(_ room: Room) {
        state.withLock { state in
            state.used.bytes -= room.bytes
            state.used.memory -= room.memory
            state.used.files -= room.files
        }
    }
}

/// Bytes in memory or in a temporary file, for as long as somebody refers to them. Written by one
/// thread first, then read by any.
final class SpooledBytes: ByteSink, OpenFile, @unchecked Sendable {
    private static let memoryMax = 64 << 10
    private static let setting = "mount with -o cache_dir=DIR, a directory that has more"

    private let spool: Spool
    private var taken = Spool.Room()
    /// Negative as long as all is in memory.
    private var descriptor: Int32 = -1
    private let memory = ByteBuffer()
    private(set) var position: UInt64 = 0

    fileprivate init(_ spool: Spool) { self.spool = spool }

    deinit {
        if descriptor >= 0 { close(descriptor) }
        spool.giveBack(taken)
    }

    private func take(_ room: Spool.Room) throws {
        try spool.take(room)
        taken.bytes += room.bytes
        taken.memory += room.memory
        taken.files += room.files
    }

    func append(_ buffer: ByteBuffer) throws {
        let count = UInt64(buffer.count)
        if descriptor < 0, memory.count + buffer.count <= Self.memoryMax,
            (try? take(Spool.Room(memory: count))) != nil
        {
            memory.append(buffer, from: 0, count: buffer.count)
        } else {
            if descriptor < 0 { try leaveMemory() }
            try take(Spool.Room(bytes: count))
            try write(buffer)
        }
        position += count
    }

    private func leaveMemory() throws {
        try take(Spool.Room(bytes: position, files: 1))
        descriptor = try SpillFile.openNameless(in: spool.directory, setting: Self.setting)
        try write(memory)
        memory.removeAll()
        spool.giveBack(Spool.Room(memory: taken.memory))
        taken.memory = 0
    }

    private func write(_ buffer: ByteBuffer) throws {
        try buffer.withBytes { bytes in
            var rest = bytes
            while !rest.isEmpty {
                let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else {
                    throw SpillFile.failure(
                        "can't write a temporary file", in: spool.directory, Self.setting)
                }
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            }
        }
    }

    func read(at offset: UInt64, count: Int, into output: ByteBuffer) throws(Errno) {
        guard offset < position else { return }
        let wanted = Int(min(UInt64(count), position - offset))
        if descriptor < 0 { return output.append(memory, from: Int(offset), count: wanted) }
        var failure: Errno?
        output.append(room: wanted) { room in
            var read = 0
            while read < wanted {
                let part = pread(
                    descriptor, room.baseAddress! + read, wanted - read,
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
    private let keepsName: Bool
    private let modified: TextFile.Time
    /// Names it in `errors`, with what to use instead if it is too large.
    private let words: @Sendable () -> (name: String, instead: String)
    private let render: Render
    private let bytes = Mutex<SpooledBytes?>(nil)

    /// - Parameter keepsName: whether its name will always stand for this very file.
    init(
        _ tree: TreeContext, _ identity: FileIdentity, keepsName: Bool = true,
        modified: @escaping TextFile.Time,
        words: @escaping @Sendable () -> (name: String, instead: String),
        render: @escaping Render
    ) {
        self.tree = tree
        self.identity = identity
        self.keepsName = keepsName
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
        return .file(bytes: bytes.position, modified: try modified(), isImmutable: keepsName)
    }

    func open(_ caller: Caller) throws(Errno) -> (file: any OpenFile, cache: Opened.Cache) {
        guard let bytes = bytes.withLock(\.self) else { throw .again }
        return (bytes, .keep)
    }
}
