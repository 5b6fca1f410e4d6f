import Bytes
import Crypto
import Synchronization

package enum DataFileKind: String, Sendable, CaseIterable {
    case parquet
    case idx
    /// A catalog of the log, which isn't data but lies and goes with it.
    case cat

    /// The kind that a well-formed data file name says; nil for any other name.
    init?(name: String) {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, isHex(parts[0], count: 32) else { return nil }
        self.init(rawValue: String(parts[1]))
    }
}

/// A data file being written from front to back, by one thread at a time. Small pieces are
/// collected, so that a system call is worth its price.
package final class DataFileWriter: ByteSink {
    /// What the file will be called in the collection once an entry commits it.
    package let number: UInt64
    package let name: String
    /// The `tid` of the table whose rows it holds.
    private let table: String?
    /// Bytes so far: where the next ones will lie.
    package private(set) var position: UInt64 = 0
    /// Hears of bytes before they are written; may wait, or throw to end it.
    package var willWrite: ((Int) throws -> Void)?
    private let writer: any ObjectWriter
    private let pending = ByteBuffer(capacity: 1 << 12)
    private var hasher = SHA256()
    private var isFinished = false

    private static let pieceBytes = 1 << 18

    init(number: UInt64, name: String, table: String?, _ writer: any ObjectWriter) {
        self.number = number
        self.name = name
        self.table = table
        self.writer = writer
    }

    package func append(_ bytes: UnsafeRawBufferPointer) throws {
        precondition(!isFinished)
        if pending.count + bytes.count > Self.pieceBytes { try flush() }
        position += UInt64(bytes.count)
        if bytes.count > Self.pieceBytes {
            try write(bytes)
        } else {
            pending.append(bytes)
        }
    }

    package func append(_ buffer: ByteBuffer) throws { try buffer.withBytes { try append($0) } }

    package func append(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try append($0) } }

    private func flush() throws {
        try pending.withBytes { try write($0) }
        pending.removeAll()
    }

    private func write(_ bytes: UnsafeRawBufferPointer) throws {
        try willWrite?(bytes.count)
        hasher.update(bufferPointer: bytes)
        try writer.append(bytes)
    }

    /// The file is whole and can be read. It is durable once `WriterLock.settle` returned. After any
    /// error it is a leftover.
    package func finish(rows: UInt64) throws -> FileReference {
        precondition(!isFinished)
        try flush()
        isFinished = true
        try writer.finish()
        return FileReference(
            number: number, name: name, table: table, bytes: position, rows: rows,
            sha256: hexText(hasher.finalize()))
    }
}

/// A committed data file, read by any thread at any place. It is opened when it is needed.
package struct DataFile: RandomAccess {
    package let reference: FileReference
    private let object: String
    private let cache: DataFileCache

    init(_ reference: FileReference, object: String, cache: DataFileCache) {
        self.reference = reference
        self.object = object
        self.cache = cache
    }

    /// For messages.
    package var name: String { "\(cache.location)/\(object)" }

    package var sizeBytes: UInt64 { reference.bytes }

    /// Appends `count` bytes from `offset` to the buffer. Throws `.corrupt` if the file is missing
    /// or hasn't got them.
    package func read(at offset: UInt64, count: Int, into buffer: ByteBuffer) throws {
        try buffer.append(room: count) { (room: UnsafeMutableRawBufferPointer) throws -> Int in
            try read(at: offset, into: room)
            return count
        }
    }

    /// Fills all of `room`.
    package func read(at offset: UInt64, into room: UnsafeMutableRawBufferPointer) throws {
        let (end, overflow) = offset.addingReportingOverflow(UInt64(room.count))
        guard !overflow, end <= reference.bytes else {
            throw Failure(
                .corrupt,
                "\(name): \(room.count) bytes at \(offset) are beyond its \(reference.bytes)")
        }
        let file = try cache.open(object, sizeBytes: reference.bytes)
        guard try file.read(at: offset, into: room) == room.count else {
            throw Failure(.corrupt, "\(name) ends before byte \(end)")
        }
    }

    package func willNeed(at offset: UInt64, count: Int) {
        // Whoever reads meets the same error and reports it.
        try? cache.open(object, sizeBytes: reference.bytes).willNeed(at: offset, count: count)
    }

    /// Whether it is there in its full size, without reading it; throws `.corrupt` if it isn't.
    package func checkSize() throws {
        _ = try cache.open(object, sizeBytes: reference.bytes)
    }

    /// Reads all of it and compares with what its entry says. `progress` hears of each piece's
    /// bytes and may throw to end it.
    package func verify(progress: (Int) throws -> Void = { _ in }) throws {
        var hasher = SHA256()
        let buffer = ByteBuffer(capacity: 1 << 20)
        var position: UInt64 = 0
        while position < reference.bytes {
            buffer.removeAll()
            let count = Int(min(1 << 20, reference.bytes - position))
            try read(at: position, count: count, into: buffer)
            buffer.withBytes { hasher.update(bufferPointer: $0) }
            position += UInt64(count)
            try progress(count)
        }
        guard hexText(hasher.finalize()) == reference.sha256 else {
            throw Failure(.corrupt, "\(name) is changed: its SHA-256 doesn't match")
        }
        // Also for a file without bytes.
        try checkSize()
    }
}

/// The data files that are open: at most `limit`, the least recently used goes first. A file that is
/// being read while it goes stays open until that read is done.
final class DataFileCache: Sendable {
    private let limit: Int
    private let storage: any Storage
    private let state = Mutex(State())

    private struct State: Sendable {
        var open: [String: (object: any StoredObject, used: UInt64)] = [:]
        var clock: UInt64 = 0
        /// How many hold a file, and the file itself once it is about to be removed.
        var held: [String: (count: Int, object: (any StoredObject)?)] = [:]
    }

    init(_ storage: any Storage, limit: Int) {
        self.storage = storage
        self.limit = limit
    }

    var location: String { storage.location }

    func open(_ name: String, sizeBytes: UInt64) throws -> any StoredObject {
        let known = state.withLock { state in
            state.clock += 1
            state.open[name]?.used = state.clock
            return state.open[name]?.object ?? state.held[name]?.object
        }
        if let known { return known }
        guard let object = try opened(name) else {
            throw Failure(.corrupt, "\(location)/\(name) is missing")
        }
        let size = try object.sizeBytes
        guard size == sizeBytes else {
            throw Failure(
                .corrupt, "\(location)/\(name) has \(size) bytes instead of \(sizeBytes)")
        }
        // Closed outside of the lock.
        let evicted: (any StoredObject)? = state.withLock { state in
            state.clock += 1
            var evicted: (any StoredObject)?
            if state.open.count >= limit, state.open[name] == nil,
                let oldest = state.open.min(by: { $0.value.used < $1.value.used })
            {
                evicted = oldest.value.object
                state.open[oldest.key] = nil
            }
            state.open[name] = (object, state.clock)
            return evicted
        }
        _ = evicted
        return object
    }

    /// If the process can't open one more file, those that are idle are closed for it.
    private func opened(_ name: String) throws -> (any StoredObject)? {
        do {
            return try storage.open(name)
        } catch let failure as Failure where failure.code == .system {
            closeAll()
            return try storage.open(name)
        }
    }

    /// Closes all that isn't held or being read. What is read later is opened again.
    func closeAll() {
        let closed = state.withLock { state in
            defer { state.open = [:] }
            return state.open
        }
        _ = closed
    }

    // MARK: Held files

    func hold(_ names: [String]) {
        state.withLock { state in
            for name in names { state.held[name, default: (0, nil)].count += 1 }
        }
    }

    func release(_ names: [String]) {
        // Closed outside of the lock.
        let closed = state.withLock { state in
            names.compactMap { name -> (any StoredObject)? in
                state.held[name]?.count -= 1
                guard state.held[name]?.count == 0 else { return nil }
                return state.held.removeValue(forKey: name)?.object
            }
        }
        _ = closed
    }

    /// Opens those of these files that are held: what is open can be read after its removal. One
    /// that can't be opened is missing for whoever reads it. The others are closed: as long as it is
    /// open, a file that is removed, by whomever, gives no room back.
    func secure(_ names: some Sequence<String>) {
        for name in names {
            let known = state.withLock { $0.open.removeValue(forKey: name)?.object }
            let isNeeded = state.withLock { $0.held[name].map { $0.object == nil } ?? false }
            guard isNeeded, let object = known ?? (try? storage.open(name)) else { continue }
            state.withLock { $0.held[name]?.object = object }
        }
    }

    /// Closes a file that was removed, unless it is held.
    func close(_ name: String) {
        let closed = state.withLock { $0.open.removeValue(forKey: name)?.object }
        _ = closed
    }
}

/// Keeps files readable while it lives.
package final class FileHold: Sendable {
    private let names: [String]
    private let cache: DataFileCache

    init(_ names: [String], cache: DataFileCache) {
        self.names = names
        self.cache = cache
        cache.hold(names)
    }

    deinit { cache.release(names) }
}
