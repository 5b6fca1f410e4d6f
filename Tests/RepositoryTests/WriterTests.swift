import Bytes
import Crypto
import Foundation
import Repository
import Synchronization
import Tables
import TestSupport
import Testing

/// Storage whose locks keep nobody out, as on a network file system that forgets them.
struct LocklessStorage: Storage {
    final class Nothing: StorageLock {
        var isHeld: Bool { true }
    }

    let base: DirectoryStorage
    var location: String { base.location }
    func list(_ directory: String) throws -> [String] { try base.list(directory) }
    func read(_ name: String, limit: Int) throws -> [UInt8]? { try base.read(name, limit: limit) }
    func size(of name: String) throws -> UInt64? { try base.size(of: name) }
    func open(_ name: String) throws -> (any StoredObject)? { try base.open(name) }
    func beginBatch() -> any ObjectBatch { base.beginBatch() }
    func putIfAbsent(_ bytes: [UInt8], as name: String) throws -> Bool {
        try base.putIfAbsent(bytes, as: name)
    }
    func replace(_ name: String) throws -> any ObjectWriter { try base.replace(name) }
    func settle(_ directory: String) throws { try base.settle(directory) }
    func setAside(_ name: String) throws -> String { try base.setAside(name) }
    func remove(_ name: String) throws { try base.remove(name) }
    func removeEmpty(_ directory: String) { base.removeEmpty(directory) }
    func removeUnfinished(in directory: String, olderThan seconds: Int64) throws {
        try base.removeUnfinished(in: directory, olderThan: seconds)
    }
    func lock(_ name: String) throws -> (any StorageLock)? {
        _ = try base.lock(name)
        return Nothing()
    }
    func isLocked(_ name: String) throws -> Bool { false }
    func space() throws -> Space? { try base.space() }
    func holdRoom(_ bytes: UInt64, as name: String) throws { try base.holdRoom(bytes, as: name) }
}

@Suite struct WriterTests {
    let directory = TemporaryDirectory()
    var location: String { directory.path + "/r" }

    @Test func `A second writer is refused until the first is gone`() throws {
        let first = try Repository.create(location)
        let second = try Repository.open(location)
        do {
            let lock = try first.lock(collection: "shop")
            try lock.append(.define(definition("shop")))
            for repository in [first, second] {
                let failure = #expect(throws: Failure.self) {
                    try repository.lock(collection: "shop")
                }
                #expect(failure?.code == .busy)
                #expect(failure?.message.contains("shop") == true)
            }
            // Other collections are free.
            _ = try second.lock(collection: "other")
            #expect(lock.current?.lastEntry == 1)
        }
        #expect(try second.lock(collection: "shop").current?.lastEntry == 1)
    }

    /// A child has copies of all open files until it runs its program, which may take a while.
    @Test func `A lock is free once its owner is gone, whoever has a copy of its file`() throws {
        let repository = try Repository.create(location)
        var copies: [Int32] = []
        defer { for copy in copies { close(copy) } }
        do {
            let lock = try repository.lock(collection: "shop")
            try lock.append(.define(definition("shop")))
            for name in try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
                let path = try? FileManager.default.destinationOfSymbolicLink(
                    atPath: "/proc/self/fd/\(name)")
                if path?.hasPrefix(location) == true, path?.hasSuffix("/lock") == true {
                    copies.append(dup(Int32(name)!))
                }
            }
            #expect(!copies.isEmpty)
        }
        #expect(try repository.lock(collection: "shop").current?.lastEntry == 1)
    }

    @Test func `Of writers without locks one wins each number, and nothing is lost`() throws {
        let open: @Sendable () throws -> Repository = { [location] in
            try Repository.open(LocklessStorage(base: DirectoryStorage(location)))
        }
        do {
            let repository = try Repository.create(location)
            try repository.lock(collection: "shop").append(.define(definition("shop")))
        }
        let committed = Mutex<[String]>([])
        let lost = Mutex(0)
        DispatchQueue.concurrentPerform(iterations: 4) { writer in
            var done = 0
            while done < 10 {
                do {
                    let lock = try open().lock(collection: "shop")
                    let name = "\(writer)-\(done)"
                    try lock.append(.point(try nextPoint(lock, name: name)))
                    committed.withLock { $0.append(name) }
                    done += 1
                } catch {
                    #expect((error as? Failure)?.code == .busy, "\(error)")
                    lost.withLock { $0 += 1 }
                }
            }
        }
        let state = try #require(try Repository.open(location).collection("shop"))
        #expect(state.damage == nil)
        #expect(state.points.map(\.name).sorted() == committed.withLock { $0.sorted() })
        #expect(state.points.map(\.sequence) == Array(1...40))
        #expect(state.lastEntry == 41)
    }

    @Test func `A file that was condemned can't be committed by a writer thought dead`() throws {
        let storage = LocklessStorage(base: DirectoryStorage(location))
        let repository = try Repository.create(storage)
        let slow = try repository.lock(collection: "shop")
        try slow.append(.define(definition("shop")))
        let record = try nextPoint(slow)

        let other = try Repository.open(storage).lock(collection: "shop")
        #expect(try other.removeUnneeded() == (1, 3))
        // The loser's entry is the longer one, then the shorter one.
        let busy = #expect(throws: Failure.self) { try slow.append(.point(record)) }
        #expect(throws: busy!) { try slow.append(.drop) }
        #expect(busy?.code == .busy)
        let again = try repository.lock(collection: "shop")
        let refused = #expect(throws: Failure.self) { try again.append(.point(record)) }
        #expect(refused?.message.contains("condemned") == true)
        #expect(try Repository.open(location).collection("shop")?.lastEntry == 2)
        try again.append(.point(try nextPoint(again)))
    }

    @Test func `Leftovers go, what any entry refers to stays`() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        let repository = try Repository.create(location)
        let id = repository.collectionID("shop")
        var live: Set<String> = []
        for round in 0..<30 {
            let lock = try repository.lock(collection: "shop")
            if lock.current?.definition == nil { try lock.append(.define(definition("shop"))) }
            var left: UInt64 = 0
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                let table = Bool.random(using: &random) ? tid(.random(in: 1...4)) : nil
                let writer = try lock.createFile(table == nil ? .idx : .parquet, table: table)
                try writer.append([UInt8](repeating: 1, count: 300_000))
                if Bool.random(using: &random) { _ = try writer.finish(rows: 1) }
                left += 1
            }
            let kind: PointKind =
                lock.current!.newest == nil || round % 7 == 0 ? .full : .incremental
            let record = try nextPoint(lock, kind: kind)
            if Bool.random(using: &random) {
                try lock.append(.point(record))
                live.formUnion(record.files.map { "collections/\(id)/data/\($0.name)" })
            } else {
                left += 1
            }
            if round % 11 == 10 { try lock.append(.drop) }
            let entries = lock.current!.lastEntry
            #expect(try lock.removeUnneeded().files == Int(left), "seed \(seed)")
            #expect(lock.current!.lastEntry == entries + (left > 0 ? 1 : 0), "seed \(seed)")
            #expect(try lock.removeUnneeded() == (0, 0), "seed \(seed)")
            let there = directory.contents().keys.map { $0.dropFirst("r/".count) }
                .filter { $0.contains("/data/") || $0.hasPrefix("tables/") }
            #expect(Set(there.map(String.init)) == live, "seed \(seed)")
            let tables = try? FileManager.default.contentsOfDirectory(
                atPath: "\(location)/tables/\(id)")
            #expect(tables ?? [] == [], "folders go with their last file, seed \(seed)")
        }
        #expect(try Repository.open(location).failures == [])
    }

    @Test func `Files of strangers in the data directory are left alone`() throws {
        let repository = try Repository.create(location)
        let lock = try repository.lock(collection: "shop")
        try lock.append(.define(definition("shop")))
        try lock.append(.point(try nextPoint(lock)))
        let id = repository.collectionID("shop")
        let folders = ["collections/\(id)/data", "tables/\(id)/\(tid(1))", "tables/\(id)/mine"]
        let own = String(repeating: "a", count: 32)
        let strangers =
            ["notes.txt", "ABCDEF.parquet", ".hidden", "0.idx"].flatMap { name in
                folders.map { "\($0)/\(name)" }
            } + ["\(folders[0])/\(own).parquet", "\(folders[1])/\(own).idx", "tables/\(id)/\(own)"]
        for folder in folders {
            try FileManager.default.createDirectory(
                atPath: "\(location)/\(folder)", withIntermediateDirectories: true)
        }
        for name in strangers {
            #expect(
                FileManager.default.createFile(
                    atPath: "\(location)/\(name)", contents: Data([1])))
        }
        #expect(try lock.removeUnneeded() == (0, 0))
        let there = directory.contents().keys
        for name in strangers { #expect(there.contains("r/\(name)"), "\(name)") }
    }

    @Test func `Names of collections never reach the file system`() throws {
        let names = [
            "a/b", "../../etc", "", ".", "ünï🙂", "e\u{301}", "\u{e9}", "x\u{0}y", "\n", "lock",
            String(repeating: "long", count: 5000),
        ]
        let repository = try Repository.create(location)
        for name in names {
            let lock = try repository.lock(collection: name)
            try lock.append(.define(definition(name)))
            try lock.append(.point(try nextPoint(lock)))
        }
        let again = try Repository.open(location)
        #expect(again.failures == [])
        #expect(again.collections.count == names.count)
        for name in names {
            let code = HMAC<SHA256>.authenticationCode(
                for: Data(name.utf8), using: SymmetricKey(data: Data(repository.id.utf8)))
            let id = code.prefix(16).map { String(format: "%02x", $0) }.joined()
            #expect(again.collectionID(name) == id)
            #expect(again.collection(name)?.name.utf8.elementsEqual(name.utf8) == true)
            #expect(again.collection(name)?.id == id)
        }
        let allowed = Set("0123456789abcdefghijklmnopqrstuvwxyz./")
        #expect(directory.contents().keys.allSatisfy { $0.allSatisfy(allowed.contains) })
    }

    @Test func `A point is durable in the right order`() throws {
        let disk = SimulatedDisk()
        let repository = try Repository.create(DirectoryStorage("/r", calls: disk))
        let lock = try repository.lock(collection: "shop")
        try lock.append(.define(definition("shop")))
        try lock.append(.point(try nextPoint(lock)))
        disk.forgetTrace()
        let record = try nextPoint(lock)
        try lock.append(.point(record))
        let root = "/r/collections/\(repository.collectionID("shop"))"
        let data = "\(root)/data/\(record.files[0].name)"
        let before = "\(root)/data/\(lock.current!.points[0].files[0].name)"
        let temporary = try #require(
            disk.trace.first { $0.hasPrefix("open create \(root)/log/.") }?.split(separator: " ")[2]
        )
        let reads = ["open read", "read ", "size", "list "]
        let changes = disk.trace.filter { line in !reads.contains { line.hasPrefix($0) } }
        #expect(
            changes == [
                "open create \(data)", "write \(data)", "status \(root)/lock", "status \(before)",
                "sync \(data)", "open directory \(root)/data", "sync \(root)/data",
                "status \(root)/lock", "open create \(temporary)", "write \(temporary)",
                "sync \(temporary)",
                "link \(temporary) \(root)/log/0000000003.json", "unlink \(temporary)",
                "open directory \(root)/log", "sync \(root)/log",
            ])
        // What it stands on is looked at last before the entry is made.
        let entry = try #require(disk.trace.firstIndex { $0.hasPrefix("open create \(temporary)") })
        let synced = try #require(disk.trace.firstIndex { $0 == "sync \(root)/data" })
        let looks = disk.trace[synced..<entry]
        #expect(looks.contains("open read /r/repository.json"))
        #expect(looks.contains("open read \(root)/log/0000000002.json"))
    }

    @Test func `No file is written twice, or over another, but what may be lost`() throws {
        let disk = SimulatedDisk()
        try CrashTests().live(disk, CrashTests.Acknowledged())
        let words = disk.trace.map { $0.split(separator: " ") }
        let created = words.filter { $0.starts(with: ["open", "create"]) }.map { $0[2] }
        let linked = words.filter { $0[0] == "link" }.map { $0[2] }
        #expect(created.count > 10 && linked.count > 10)
        #expect(Set(created + linked).count == created.count + linked.count)
        #expect(words.allSatisfy { $0[0] != "rename" || $0[2].hasSuffix("/capture") })
    }

    @Test func `An incremental on a base that lost a file is refused, a full is not`() throws {
        let repository = try Repository.create(location)
        let lock = try repository.lock(collection: "shop")
        try lock.append(.define(definition("shop")))
        let full = try nextPoint(lock)
        try lock.append(.point(full))
        let id = repository.collectionID("shop")
        let path = "\(location)/collections/\(id)/data/\(full.files[0].name)"
        for damage in [[1, 2], nil] as [[UInt8]?] {
            try FileManager.default.removeItem(atPath: path)
            if let damage {
                #expect(FileManager.default.createFile(atPath: path, contents: Data(damage)))
            }
            let failure = #expect(throws: Failure.self) {
                try lock.append(.point(try nextPoint(lock)))
            }
            #expect(failure?.code == .corrupt)
            #expect(failure?.message.contains(full.files[0].name) == true)
            let file = try repository.file(1, of: lock.current!)
            #expect(throws: Failure.self) { try file.verify() }
        }
        try lock.append(.point(try nextPoint(lock, kind: .full)))
    }

    @Test func `Dropped and made again, a collection goes on where it was`() throws {
        let repository = try Repository.create(location)
        let lock = try repository.lock(collection: "shop")
        try lock.append(.define(definition("shop")))
        try lock.append(.point(try nextPoint(lock, uid: "u")))
        try lock.append(.drop)
        #expect(repository.collection("shop") == nil)
        #expect(repository.collections.isEmpty)
        #expect(throws: Failure.self) { try lock.append(.drop) }
        try lock.append(.define(definition("shop", sql: "again")))
        let state = try #require(repository.collection("shop"))
        #expect(state.points.isEmpty && state.droppedPoints.count == 1)
        #expect(state.point(uid: "u") == nil && !state.isTaken(uid: "u"))
        #expect(state.isTaken(name: state.droppedPoints[0].name))
        #expect(state.nextSequence == 2 && state.nextFileNumber == 2)
        #expect(throws: Failure.self) {
            try lock.append(.point(try nextPoint(lock, kind: .incremental)))
        }
        try lock.append(.point(try nextPoint(lock, uid: "u")))
        #expect(try Repository.open(location).collection("shop")?.points.map(\.sequence) == [2])
    }

    @Test func `Another process's commits appear at the next refresh`() throws {
        let writer = try Repository.create(location)
        let reader = try Repository.open(location)
        let lock = try writer.lock(collection: "shop")
        #expect(try reader.refresh() == [])
        try lock.append(.define(definition("shop")))
        #expect(try reader.refresh() == ["shop"])
        for _ in 0..<3 { try lock.append(.point(try nextPoint(lock))) }
        #expect(try reader.refresh() == ["shop"])
        #expect(try reader.refresh() == [])
        #expect(reader.collection("shop")?.points == lock.current?.points)
        #expect(try reader.space()?.blocks ?? 0 > 0)
    }

    @Test func `Tables that look alike but differ in bytes are two tables`() throws {
        let repository = try Repository.create(location)
        let lock = try repository.lock(collection: "shop")
        try lock.append(.define(definition("shop")))
        let record = try nextPoint(lock)
        var twins = record
        twins.tables[0].path = "caf\u{e9}"
        twins.tables[1].path = "cafe\u{301}"
        try lock.append(.point(twins))
        let state = try #require(try Repository.open(location).collection("shop"))
        #expect(state.table(path: "caf\u{e9}", at: 1)?.id == 1)
        #expect(state.table(path: "cafe\u{301}", at: 1)?.id == 2)
        #expect(state.tables(at: 1).map(\.id) == [2, 1])
    }
}
