import Bytes
import Foundation
import Repository
import TestSupport
import Testing

/// What every storage promises, whatever it is made of.
enum StorageKind: CaseIterable {
    case directory, directoryWithoutLinks, simulatedDisk, memory

    /// - Parameter disk: where it lies, if it is simulated.
    func make(
        _ directory: TemporaryDirectory, disk: SimulatedDisk = SimulatedDisk()
    ) -> any Storage {
        switch self {
        case .directory: return DirectoryStorage(directory.path)
        case .directoryWithoutLinks:
            disk.forbidLinks()
            return DirectoryStorage("/", calls: disk)
        case .simulatedDisk: return DirectoryStorage("/", calls: disk)
        case .memory: return MemoryStorage()
        }
    }
}

@Suite struct StorageTests {
    let directory = TemporaryDirectory()

    private func bytes(_ storage: any Storage, _ name: String) throws -> [UInt8]? {
        try storage.read(name, limit: 1 << 20)
    }

    private func write(_ writer: any ObjectWriter, _ bytes: [UInt8]) throws {
        for byte in bytes { try [byte].withUnsafeBytes { try writer.append($0) } }
        try writer.finish()
    }

    @Test(arguments: StorageKind.allCases)
    func `A name is given once`(_ kind: StorageKind) throws {
        let storage = kind.make(directory)
        #expect(try bytes(storage, "a/b") == nil)
        #expect(try storage.putIfAbsent([1, 2], as: "a/b"))
        #expect(try !storage.putIfAbsent([1, 2], as: "a/b"))
        #expect(try !storage.putIfAbsent([3], as: "a/b"))
        #expect(try bytes(storage, "a/b") == [1, 2])
        #expect(try storage.size(of: "a/b") == 2)
        // The same again is an answer that was lost; other bytes aren't.
        #expect(try storage.publish([1, 2], as: "a/b"))
        #expect(try !storage.publish([2, 1], as: "a/b"))
        #expect(try !storage.publish([1], as: "a/b"))
        #expect(try storage.publish([], as: "a/empty"))
        #expect(try bytes(storage, "a/empty") == [])
        #expect(Set(try storage.list("a")) == ["b", "empty"])
        #expect(try storage.list("") == ["a"])
        #expect(try storage.list("nowhere").isEmpty)
    }

    @Test(arguments: StorageKind.allCases)
    func `Of many that want a name one gets it`(_ kind: StorageKind) async throws {
        let storage = kind.make(directory)
        let winners = try await withThrowingTaskGroup(of: UInt8?.self) { group in
            for number in 0..<8 as Range<UInt8> {
                group.addTask {
                    try storage.putIfAbsent([number, number], as: "log/1") ? number : nil
                }
            }
            return try await group.reduce(into: []) { $0 += [$1].compactMap(\.self) }
        }
        #expect(winners.count == 1)
        #expect(try bytes(storage, "log/1") == [winners[0], winners[0]])
    }

    @Test(arguments: StorageKind.allCases)
    func `What is longer than allowed is not read`(_ kind: StorageKind) throws {
        let storage = kind.make(directory)
        _ = try storage.putIfAbsent([1, 2, 3], as: "x")
        #expect(try storage.read("x", limit: 3) == [1, 2, 3])
        let failure = #expect(throws: Failure.self) { try storage.read("x", limit: 2) }
        #expect(failure?.code == .corrupt)
        #expect(failure?.message.contains("/x") == true)
    }

    @Test(arguments: StorageKind.allCases)
    func `Objects are written from front to back and read at any place`(
        _ kind: StorageKind
    ) throws {
        let storage = kind.make(directory)
        let batch = storage.beginBatch()
        for name in ["d/1", "d/2", "e/f/3"] {
            try write(try batch.create(name), Array(name.utf8))
        }
        try batch.settle()
        let object = try #require(try storage.open("e/f/3"))
        #expect(try object.sizeBytes == 5)
        var room = [UInt8](repeating: 0, count: 4)
        #expect(try room.withUnsafeMutableBytes { try object.read(at: 1, into: $0) } == 4)
        #expect(room == Array("/f/3".utf8))
        #expect(try room.withUnsafeMutableBytes { try object.read(at: 4, into: $0) } == 1)
        #expect(try room.withUnsafeMutableBytes { try object.read(at: 5, into: $0) } == 0)
        #expect(try storage.open("d/3") == nil)
        #expect(throws: Failure.self) { try write(try batch.create("d/1"), [1]) }
        #expect(try bytes(storage, "d/1") == Array("d/1".utf8))
    }

    @Test(arguments: StorageKind.allCases)
    func `What takes another's place does so whole`(_ kind: StorageKind) throws {
        let storage = kind.make(directory)
        try write(try storage.replace("c/capture"), [1])
        do {
            let given = try storage.replace("c/capture")
            try [9].withUnsafeBytes { try given.append($0) }
        }
        #expect(try bytes(storage, "c/capture") == [1])
        try write(try storage.replace("c/capture"), [2, 3])
        #expect(try bytes(storage, "c/capture") == [2, 3])
        #expect(try storage.list("c") == ["capture"])
    }

    @Test(arguments: StorageKind.allCases)
    func `Removing what isn't there is success`(_ kind: StorageKind) throws {
        let storage = kind.make(directory)
        _ = try storage.putIfAbsent([1], as: "a/b")
        try storage.remove("a/b")
        try storage.remove("a/b")
        storage.removeEmpty("a")
        #expect(try storage.list("").isEmpty)
        #expect(try storage.putIfAbsent([2], as: "a/b"))
    }

    @Test(arguments: StorageKind.allCases, ["a", "a/b", "a/b/c"])
    func `A folder that vanishes is made again by whatever is written next`(
        _ kind: StorageKind, _ vanishing: String
    ) throws {
        let disk = SimulatedDisk()
        let storage = kind.make(directory, disk: disk)
        /// Somebody else's `rm -r`.
        func wipe() throws {
            if let memory = storage as? MemoryStorage {
                memory.objects = memory.objects.filter { !$0.key.hasPrefix(vanishing + "/") }
            } else if kind == .directory {
                try FileManager.default.removeItem(atPath: "\(directory.path)/\(vanishing)")
            } else {
                disk.put(vanishing, nil)
            }
        }
        let batch = storage.beginBatch()
        /// Each way in which something is written.
        func writeNew(_ way: Int, _ name: String) throws {
            switch way {
            case 0: #expect(try storage.putIfAbsent([1], as: name))
            case 1: try write(try storage.replace(name), [1])
            case 2: #expect(try storage.lock(name)?.isHeld == true)
            case 3:
                try write(try batch.create(name), [1])
                try batch.settle()
            default: try write(try batch.create(name), [1])
            }
        }
        for number in 0..<5 {
            let before = "a/b/c/\(number)"
            _ = try storage.putIfAbsent([0], as: before)
            try write(try batch.create("a/b/c/batch\(number)"), [2])
            if number != 4 { try batch.settle() }
            try wipe()
            #expect(try bytes(storage, before) == nil)
            try writeNew(number, "a/b/c/new\(number)")
            #expect(try storage.putIfAbsent([3], as: before))
            #expect(try bytes(storage, before) == [3])
            if number == 3 { #expect(try bytes(storage, "a/b/c/new3") == [1]) }
        }
    }

    @Test func `A location that vanishes isn't made again: its disk may be gone`() throws {
        let storage = DirectoryStorage(directory.path + "/r")
        for name in ["first", "a/b"] { #expect(try storage.putIfAbsent([1], as: name)) }
        try FileManager.default.removeItem(atPath: directory.path + "/r")
        let batch = storage.beginBatch()
        #expect(throws: Failure.self) { try storage.putIfAbsent([1], as: "a/c") }
        #expect(throws: Failure.self) { try storage.putIfAbsent([1], as: "e") }
        #expect(throws: Failure.self) { _ = try storage.lock("lock") }
        #expect(throws: Failure.self) { _ = try storage.replace("a/d") }
        #expect(throws: Failure.self) { _ = try batch.create("a/f") }
        #expect(!FileManager.default.fileExists(atPath: directory.path + "/r"))
    }

    @Test(arguments: StorageKind.allCases)
    func `A lock has one holder, and who asks is told`(_ kind: StorageKind) throws {
        let storage = kind.make(directory)
        #expect(try !storage.isLocked("c/lock"))
        do {
            let lock = try #require(try storage.lock("c/lock"))
            #expect(try lock.isHeld)
            #expect(try storage.lock("c/lock") == nil)
            #expect(try storage.isLocked("c/lock"))
            #expect(try storage.lock("c/other") != nil)
            withExtendedLifetime(lock) {}
        }
        #expect(try !storage.isLocked("c/lock"))
        #expect(try storage.lock("c/lock") != nil)
    }

    @Test func `A lock whose file is replaced is lost`() throws {
        let storage = DirectoryStorage(directory.path)
        let lock = try #require(try storage.lock("c/lock"))
        try FileManager.default.removeItem(atPath: directory.path + "/c/lock")
        #expect(try !lock.isHeld)
        let other = try #require(try storage.lock("c/lock"))
        #expect(try !lock.isHeld)
        #expect(try other.isHeld)
    }

    @Test func `A lock that a store takes away is lost`() throws {
        let storage = MemoryStorage()
        let lock = try #require(try storage.lock("c/lock"))
        storage.breakLock("c/lock")
        #expect(try !lock.isHeld)
    }

    /// All that isn't a file system's own holds for a repository on any storage.
    @Test(arguments: StorageKind.allCases)
    func `A repository works on it`(_ kind: StorageKind) throws {
        let storage = kind.make(directory)
        let repository = try Repository.create(storage)
        do {
            let lock = try repository.lock(collection: "shop")
            try lock.append(.define(definition("shop")))
            try lock.append(.point(try nextPoint(lock)))
            try lock.append(.point(try nextPoint(lock)))
        }
        let operation = try repository.operations.begin(
            OperationStart(
                statement: "BACKUP shop", owner: 0, collection: "shop", kind: "backup", time: 1))
        #expect(operation.id == 1)
        let again = try Repository.open(storage)
        #expect(again.failures.isEmpty)
        #expect(again.collection("shop")?.points.count == 2)
        #expect(try again.operations.newest().map(\.start.id) == [1])
    }

    @Test func `A file system that can't keep two writers apart is refused`() throws {
        let disk = SimulatedDisk()
        disk.forbidLinks()
        disk.forbidRenamingNew()
        let failure = #expect(throws: Failure.self) {
            try Repository.create(DirectoryStorage("/r", calls: disk))
        }
        #expect(failure?.code == .unsupported)
        #expect(failure?.message.contains("hard links") == true)
    }
}
