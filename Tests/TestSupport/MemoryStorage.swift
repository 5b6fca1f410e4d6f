import Bytes
import Repository
import Synchronization

/// Objects in memory, with an object store's manners: no folders, nothing half made, an object that
/// was removed can't be read by whoever had opened it, and locks that end when they are taken away.
package final class MemoryStorage: Storage {
    package let location: String
    fileprivate let state = Mutex(State())

    fileprivate struct State: Sendable {
        var objects: [String: [UInt8]] = [:]
        /// By name, the number of the lock that has it.
        var locks: [String: UInt64] = [:]
        var nextLock: UInt64 = 1
    }

    package init(_ location: String = "memory") { self.location = location }

    // MARK: What tests do with it

    /// Takes a lock away from its holder, as a store does whose lease has ended.
    package func breakLock(_ name: String) { state.withLock { $0.locks[name] = nil } }

    package var objects: [String: [UInt8]] {
        get { state.withLock(\.objects) }
        set { state.withLock { $0.objects = newValue } }
    }

    // MARK: Reading

    package func list(_ directory: String) throws -> [String] {
        let prefix = directory.isEmpty ? "" : directory + "/"
        let names = state.withLock { $0.objects.keys.filter { $0.hasPrefix(prefix) } }
        return Array(
            Set(names.map { String($0.dropFirst(prefix.count).prefix { $0 != "/" }) }))
    }

    package func read(_ name: String, limit: Int) throws -> [UInt8]? {
        guard let bytes = state.withLock({ $0.objects[name] }) else { return nil }
        guard bytes.count <= limit else {
            throw Failure(.corrupt, "\(location)/\(name) has \(bytes.count) bytes")
        }
        return bytes
    }

    package func size(of name: String) throws -> UInt64? {
        state.withLock { $0.objects[name].map { UInt64($0.count) } }
    }

    package func open(_ name: String) throws -> (any StoredObject)? {
        try size(of: name).map { _ in Object(storage: self, name: name) }
    }

    fileprivate func bytes(_ name: String) throws -> [UInt8] {
        guard let bytes = state.withLock({ $0.objects[name] }) else {
            throw Failure(.stale, "\(location)/\(name) is gone")
        }
        return bytes
    }

    package func space() throws -> Space? { nil }

    // MARK: Writing

    package func beginBatch() -> any ObjectBatch { Batch(self) }

    package func putIfAbsent(_ bytes: [UInt8], as name: String) throws -> Bool {
        state.withLock { state in
            if state.objects[name] != nil { return false }
            state.objects[name] = bytes
            return true
        }
    }

    fileprivate func put(_ bytes: [UInt8], as name: String) {
        state.withLock { $0.objects[name] = bytes }
    }

    package func replace(_ name: String) throws -> any ObjectWriter { Writer(self, name) }

    package func settle(_ directory: String) throws {}

    package func remove(_ name: String) throws {
        state.withLock { _ = $0.objects.removeValue(forKey: name) }
    }

    package func setAside(_ name: String) throws -> String {
        state.withLock { state in
            var aside = name + ".damaged"
            while state.objects[aside] != nil { aside += "'" }
            state.objects[aside] = state.objects.removeValue(forKey: name)
            return String(
                aside[(aside.lastIndex(of: "/").map(aside.index(after:)) ?? aside.startIndex)...])
        }
    }

    package func removeEmpty(_ directory: String) {}

    package func removeUnfinished(in directory: String, olderThan seconds: Int64) throws {}

    // MARK: Locks

    package func lock(_ name: String) throws -> (any StorageLock)? {
        let number = state.withLock { state -> UInt64? in
            if state.locks[name] != nil { return nil }
            defer { state.nextLock += 1 }
            state.locks[name] = state.nextLock
            return state.nextLock
        }
        return number.map { Lock(self, name, $0) }
    }

    package func isLocked(_ name: String) throws -> Bool {
        state.withLock { $0.locks[name] != nil }
    }

    private final class Lock: StorageLock {
        private let storage: MemoryStorage
        private let name: String
        private let number: UInt64

        init(_ storage: MemoryStorage, _ name: String, _ number: UInt64) {
            self.storage = storage
            self.name = name
            self.number = number
        }

        deinit {
            storage.state.withLock { if $0.locks[name] == number { $0.locks[name] = nil } }
        }

        var isHeld: Bool { storage.state.withLock { $0.locks[name] == number } }
    }

    // MARK: Objects

    private struct Object: StoredObject {
        let storage: MemoryStorage
        let name: String

        var sizeBytes: UInt64 { get throws { UInt64(try storage.bytes(name).count) } }

        func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
            let bytes = try storage.bytes(name).dropFirst(Int(clamping: offset)).prefix(
                buffer.count)
            buffer.copyBytes(from: bytes)
            return bytes.count
        }

        func willNeed(at offset: UInt64, count: Int) {}
    }

    private final class Batch: ObjectBatch {
        private let storage: MemoryStorage

        init(_ storage: MemoryStorage) { self.storage = storage }

        func create(_ name: String) throws -> any ObjectWriter {
            guard try storage.size(of: name) == nil else {
                throw Failure(.exists, "can't create \(storage.location)/\(name): it exists")
            }
            return Writer(storage, name)
        }

        func settle() throws {}
    }

    private final class Writer: ObjectWriter {
        private let storage: MemoryStorage
        private let name: String
        private var bytes: [UInt8] = []

        init(_ storage: MemoryStorage, _ name: String) {
            self.storage = storage
            self.name = name
        }

        func append(_ bytes: UnsafeRawBufferPointer) throws { self.bytes += bytes }

        func finish() throws { storage.put(bytes, as: name) }
    }
}
