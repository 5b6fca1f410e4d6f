import Bytes
import Foundation
import Repository
import TestSupport
import Testing

/// A commit checks what it stands on: the repository, its lock, and the entry before.
@Suite struct GroundTests {
    let directory = TemporaryDirectory()
    var location: String { directory.path + "/r" }

    private func make(_ location: String, points: Int = 1) throws -> Repository {
        let repository = try Repository.create(location)
        let lock = try repository.lock(collection: "shop")
        try lock.append(.define(definition("shop")))
        for _ in 0..<points { try lock.append(.point(try nextPoint(lock))) }
        return repository
    }

    private func swap(_ one: String, _ other: String) throws {
        let files = FileManager.default
        try files.moveItem(atPath: one, toPath: one + "~")
        try files.moveItem(atPath: other, toPath: one)
        try files.moveItem(atPath: one + "~", toPath: other)
    }

    @Test func `Another repository in its place is left alone`() throws {
        let repository = try make(location)
        _ = try make(directory.path + "/other", points: 2)
        let lock = try repository.lock(collection: "shop")
        let record = try nextPoint(lock)
        try swap(location, directory.path + "/other")
        let before = directory.contents()
        let failure = #expect(throws: Failure.self) { try lock.append(.point(record)) }
        #expect(failure?.code == .stale)
        #expect(throws: Failure.self) { try repository.refresh() }
        #expect(throws: Failure.self) { try repository.lock(collection: "shop") }
        #expect(repository.failures.first?.code == .stale)
        #expect(throws: Failure.self) { try repository.operations.requestCancel(1) }
        #expect(directory.contents() == before)
        // Put back, it goes on.
        try swap(location, directory.path + "/other")
        #expect(try repository.refresh().isEmpty)
        #expect(repository.failures.isEmpty)
        try lock.append(.point(record))
    }

    @Test func `A repository that is gone is no empty one`() throws {
        let repository = try make(location)
        let lock = try repository.lock(collection: "shop")
        let record = try nextPoint(lock)
        try FileManager.default.moveItem(atPath: location, toPath: location + "~")
        let failure = #expect(throws: Failure.self) { try lock.append(.point(record)) }
        #expect(failure?.code == .unreachable)
        #expect(throws: Failure.self) { try repository.refresh() }
        #expect(repository.collection("shop")?.points.count == 1)
        #expect(!FileManager.default.fileExists(atPath: location))
    }

    @Test func `An older copy put back is read anew, and said`() throws {
        let repository = try make(location)
        try FileManager.default.copyItem(atPath: location, toPath: location + "~")
        do {
            let lock = try repository.lock(collection: "shop")
            for _ in 0..<2 { try lock.append(.point(try nextPoint(lock))) }
        }
        let before = try #require(repository.collection("shop"))
        #expect(repository.takeSetbacks().isEmpty)
        try FileManager.default.removeItem(atPath: location)
        try FileManager.default.moveItem(atPath: location + "~", toPath: location)
        #expect(try repository.refresh() == ["shop"])
        let state = try #require(repository.collection("shop"))
        #expect(state.points.count == 1)
        #expect(state.epoch > before.epoch)
        #expect(repository.failures.isEmpty)
        let said = repository.takeSetbacks()
        #expect(said.count == 1)
        for point in before.points.dropFirst() {
            #expect(said.first?.message.contains(point.name) == true)
        }
        #expect(repository.takeSetbacks().isEmpty)
        let lock = try repository.lock(collection: "shop")
        try lock.append(.point(try nextPoint(lock)))
        #expect(try Repository.open(location).collection("shop")?.points.count == 2)
    }

    @Test func `A collection that is gone and made again is another one`() throws {
        let repository = try make(location)
        let folder = "\(location)/collections/\(repository.collectionID("shop"))"
        try FileManager.default.removeItem(atPath: folder)
        #expect(try repository.refresh() == ["shop"])
        #expect(repository.collection("shop") == nil)
        #expect(repository.takeSetbacks().count == 1)
        #expect(try repository.refresh().isEmpty)
        try FileManager.default.createDirectory(
            atPath: folder + "/log", withIntermediateDirectories: true)
        do {
            let lock = try repository.lock(collection: "shop")
            try lock.append(.define(definition("shop")))
            #expect(lock.current?.epoch == 1)
            try lock.append(.point(try nextPoint(lock)))
        }
        #expect(repository.collection("shop")?.epoch == 1)
        // The same if somebody else makes it.
        try FileManager.default.removeItem(atPath: folder)
        #expect(try repository.refresh() == ["shop"])
        _ = try make(location)
        #expect(try repository.refresh() == ["shop"])
        #expect(repository.collection("shop")?.epoch == 2)
        #expect(repository.collection("shop")?.points.count == 1)
    }

    @Test func `A log that went on elsewhere isn't continued by who doesn't know it`() throws {
        let repository = try make(location)
        try FileManager.default.copyItem(atPath: location, toPath: location + "~")
        let lock = try repository.lock(collection: "shop")
        try lock.append(.point(try nextPoint(lock)))
        let record = try nextPoint(lock)
        do {
            let other = try Repository.open(location + "~").lock(collection: "shop")
            try other.append(.point(try nextPoint(other)))
        }
        // As many entries, but other ones.
        try FileManager.default.removeItem(atPath: location)
        try FileManager.default.moveItem(atPath: location + "~", toPath: location)
        #expect(throws: Failure.self) { try lock.append(.point(record)) }
        #expect(try Repository.open(location).collection("shop")?.points.count == 2)
        #expect(try Repository.open(location).failures.isEmpty)
        #expect(try repository.refresh() == ["shop"])
        #expect(repository.collection("shop")?.epoch == 1)
    }

    @Test func `A lost lock is found out before the commit`() throws {
        let storage = MemoryStorage()
        let repository = try Repository.create(storage)
        let lock = try repository.lock(collection: "shop")
        try lock.append(.define(definition("shop")))
        storage.breakLock("collections/\(repository.collectionID("shop"))/lock")
        let failure = #expect(throws: Failure.self) { try lock.append(.point(try nextPoint(lock))) }
        #expect(failure?.code == .busy)
    }

    @Test func `An entry behind the next number stops the writer`() throws {
        let repository = try make(location)
        let log = "\(location)/collections/\(repository.collectionID("shop"))/log"
        do {
            let other = try Repository.open(location).lock(collection: "shop")
            for _ in 0..<2 { try other.append(.point(try nextPoint(other))) }
        }
        try FileManager.default.removeItem(atPath: log + "/0000000003.json")
        let failure = #expect(throws: Failure.self) { try repository.lock(collection: "shop") }
        #expect(failure?.message.contains("0000000003.json is missing") == true)
        #expect(FileManager.default.fileExists(atPath: log + "/0000000004.json"))
    }

    @Test(arguments: ["missing", "damaged"], ["at the start", "before the commit"])
    func `Nothing is added behind a hole that memory doesn't show`(
        _ how: String, _ when: String
    ) throws {
        let repository = try make(location, points: 3)
        let log = "\(location)/collections/\(repository.collectionID("shop"))/log"
        let hole = log + "/0000000003.json"
        func dig() throws {
            try FileManager.default.removeItem(atPath: hole)
            if how == "damaged" { try Data([1, 2, 3]).write(to: URL(filePath: hole)) }
        }
        if when == "at the start" {
            try dig()
            let failure = #expect(throws: Failure.self) {
                try repository.lock(collection: "shop")
            }
            #expect(failure?.message.hasPrefix(hole) == true)
        } else if how == "missing" {
            let lock = try repository.lock(collection: "shop")
            let record = try nextPoint(lock)
            try dig()
            let failure = #expect(throws: Failure.self) { try lock.append(.point(record)) }
            #expect(failure?.message.hasPrefix(hole) == true)
        } else {
            return
        }
        // It is named from then on.
        #expect(repository.failures.first?.message.hasPrefix(hole) == true)
        #expect(!FileManager.default.fileExists(atPath: log + "/0000000005.json"))
    }

    @Test func `Databases that were accepted are known by path or by file`() throws {
        let repository = try make(location)
        let one = KnownDatabase(path: "/a.db", device: 1, inode: 2)
        #expect(try repository.knownDatabases().isEmpty)
        try repository.accept(one)
        try repository.accept(KnownDatabase(path: "/b.db", device: 1, inode: 3))
        let known = try Repository.open(location).knownDatabases()
        #expect(known.map(\.path) == ["/a.db", "/b.db"])
        #expect(one.isSame(as: KnownDatabase(path: "/a.db", device: 7, inode: 7)))
        #expect(one.isSame(as: KnownDatabase(path: "/moved.db", device: 1, inode: 2)))
        #expect(!one.isSame(as: KnownDatabase(path: "/moved.db", device: 2, inode: 2)))
    }
}
