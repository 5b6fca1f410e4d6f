import Bytes
import Crypto
import Foundation
import Repository
import Tables
import TestSupport
import Testing

/// A catalog and what came after it say the same as the whole log; without it nothing is lost.
@Suite struct CatalogTests {
    let disk = SimulatedDisk()

    func options(every interval: UInt64 = 3, uses: Bool = true) -> Repository.Options {
        var options = Repository.Options()
        options.catalogInterval = interval
        options.usesCatalogs = uses
        return options
    }

    func open(uses: Bool = true) throws -> Repository {
        try Repository.open(DirectoryStorage("/r", calls: disk), options: options(uses: uses))
    }

    /// As a writer finds it, dropped or not.
    func state(uses: Bool = true) throws -> CollectionState? {
        try open(uses: uses).lock(collection: "shop").current
    }

    /// A collection of `entries` entries and those of its catalogs.
    func build(_ entries: Int, seed: UInt64 = 1) throws {
        var history = try History(
            Repository.create(DirectoryStorage("/r", calls: disk), options: options()), seed: seed)
        for _ in 0..<entries { try history.step() }
    }

    /// What anybody can learn of two states is the same.
    func expectSame(_ a: CollectionState?, _ b: CollectionState?, _ what: Comment) throws {
        let (a, b) = try (#require(a, what), #require(b, what))
        #expect(a.name == b.name && a.id == b.id, what)
        #expect(a.definition == b.definition, what)
        #expect(a.points == b.points && a.droppedPoints == b.droppedPoints, what)
        #expect(a.lastEntry == b.lastEntry && a.lastHash == b.lastHash, what)
        #expect(a.nextSequence == b.nextSequence, what)
        #expect(a.nextFileNumber == b.nextFileNumber, what)
        #expect(a.nextTableID == b.nextTableID, what)
        #expect(a.neededFiles == b.neededFiles && a.hasCondemned == b.hasCondemned, what)
        #expect(a.mostlyDeadFiles == b.mostlyDeadFiles, what)
        #expect(a.lastUID == b.lastUID && a.lastFullUID == b.lastFullUID, what)
        #expect(a.lastName == b.lastName && a.storedBytes == b.storedBytes, what)
        #expect(a.catalogs.map(\.entry) == b.catalogs.map(\.entry), what)
        #expect(a.catalogs.map(\.reference) == b.catalogs.map(\.reference), what)
        for number in 0..<a.nextFileNumber {
            #expect((try? a.file(number)) == (try? b.file(number)), what)
        }
        for point in a.points + a.droppedPoints {
            #expect(b.isTaken(name: point.name), what)
            #expect(a.point(named: point.name) == b.point(named: point.name), what)
            if let uid = point.uid { #expect(a.point(uid: uid) == b.point(uid: uid), what) }
            let tables = a.tables(at: point.sequence)
            #expect(tables == b.tables(at: point.sequence), what)
            for table in tables {
                let same = b.table(path: table.path, at: point.sequence)
                // After DROP and CREATE again two tables may have had a path.
                if point.dropped == nil { #expect(same == table, what) }
                let changed = a.changed(table.id, at: point.sequence)
                #expect(b.changed(table.id, at: point.sequence) == changed, what)
            }
        }
    }

    @Test(arguments: 0..<40)
    func `From a catalog or from the whole log, the state is the same and goes on the same`(
        _ seed: UInt64
    ) throws {
        try build(25, seed: seed)
        let (short, whole) = try (open(), open(uses: false))
        #expect(short.failures == [] && whole.failures == [])
        try expectSame(state(), state(uses: false), "seed \(seed)")
        // A writer that knows only the catalog goes on with a log that can be read from its begin.
        var history = try History(short, seed: seed &+ 1000)
        for _ in 0..<10 { try history.step() }
        try expectSame(state(), state(uses: false), "seed \(seed), later")
    }

    @Test func `Opening reads the catalog and what is after it`() throws {
        try build(60)
        let state = try #require(try self.state(uses: false))
        disk.forgetTrace()
        _ = try open()
        let entries = disk.trace.filter { $0.hasPrefix("open read") && $0.contains("/log/") }
        #expect(entries.count == Int(state.lastEntry - state.catalogs.last!.entry) + 1)
        #expect(entries.count < 8)
    }

    @Test func `Without the catalog or with a damaged one the whole log is read, and it says so`()
        throws
    {
        try build(20)
        let whole = try state(uses: false)
        let newest = try #require(whole?.catalogs.last?.reference)
        let path = disk.files().keys.first { $0.hasSuffix(newest.name) }!
        let bytes = disk.files()[path]!
        var damages: [[UInt8]?] = [nil, [], bytes + [0]]
        for length in stride(from: 1, to: bytes.count, by: 53) {
            damages.append(Array(bytes.prefix(length)))
        }
        for index in stride(from: 0, to: bytes.count, by: 5) {
            var changed = bytes
            changed[index] ^= 1 << UInt8(index % 8)
            damages.append(changed)
        }
        for damage in damages {
            disk.put(path, damage)
            let repository = try open()
            #expect(repository.failures == [])
            let state = try repository.lock(collection: "shop").current
            #expect(state?.lastHash == whole?.lastHash && state?.points == whole?.points)
            #expect(state?.catalogDamage?.code == .corrupt)
            #expect(state?.catalogDamage?.message.hasPrefix(path) == true)
        }
        // The next writer makes a new one at once.
        try open().lock(collection: "shop").writeCatalogIfDue()
        let healed = try #require(try self.state())
        #expect(healed.catalogDamage == nil)
        #expect(healed.lastEntry == whole!.lastEntry + 1)
    }

    @Test func `Doctored catalogs with a right checksum throw and never trap`() throws {
        try build(6)
        let state = try #require(open().lock(collection: "shop").current)
        let (entry, reference) = try #require(state.catalogs.last)
        let directory = "/r/collections/\(state.id)"
        let path = "\(directory)/data/\(reference.name)"
        let entryPath = "\(directory)/log/" + String(format: "%010d.json", entry)
        for later in disk.files().keys where later.contains("/log/") && later > entryPath {
            disk.put(later, nil)
        }
        let file = ByteBuffer()
        file.append(disk.files()[path]!)
        let size = Int(file.load(at: 8, as: UInt64.self))
        let content = try file.withBytes { try Zstd.decompress($0.from(16), size: size) }.array
        let named = String(decoding: disk.files()[entryPath]!.dropLast(77), as: UTF8.self)
        /// Whether the log is read by a catalog of this content, named by an entry that is right.
        func opens(_ content: [UInt8]) throws -> Bool {
            let (raw, sealed) = (ByteBuffer(), ByteBuffer())
            raw.append(content)
            sealed.append("YDBFSCT6")
            sealed.append(fixed: UInt64(content.count))
            try raw.withBytes { try Zstd.compress($0, level: 1, into: sealed) }
            let hash = SHA256.hash(data: sealed.array).map { String(format: "%02x", $0) }.joined()
            disk.put(path, sealed.array)
            let entry =
                named.replacing("\"bytes\":\(reference.bytes)", with: "\"bytes\":\(sealed.count)")
                .replacing(reference.sha256, with: hash)
            disk.put(entryPath, LogTests.seal(entry + "}"))
            let state = try open().lock(collection: "shop").current
            #expect(state?.lastEntry == entryNumber)
            return state?.catalogDamage == nil
        }
        let entryNumber = entry
        #expect(try opens(content))
        #expect(try !opens(Array(content.dropLast())))
        #expect(try !opens(content + [0]))
        var refused = 0
        for index in content.indices {
            for value in [0xFF, content[index] ^ 1] {
                var changed = content
                changed[index] = value
                if try !opens(changed) { refused += 1 }
            }
        }
        // Most bytes are letters and digits of names and hashes, which only the checksum guards.
        #expect(refused > 20)
    }
}

/// A random life of the collection `shop`, one entry or so at a time.
private struct History {
    private let repository: Repository
    private var random: SeededGenerator
    private static let paths = ["a", "b", "c/d", "é", "e\u{301}"]

    init(_ repository: Repository, seed: UInt64) throws {
        self.repository = repository
        random = SeededGenerator(seed: seed)
    }

    mutating func step() throws {
        let lock = try repository.lock(collection: "shop")
        defer { withExtendedLifetime(lock) {} }
        if lock.current?.definition == nil {
            try lock.append(.define(definition("shop", sql: "CREATE \(random.next())")))
        } else {
            switch random.next() % 32 {
            case 0: try lock.append(.drop)
            case 3...13: try retain(lock)
            case 1: try lock.append(.define(definition("shop", sql: "again")))
            case 2:
                try lock.createFile(.parquet, table: tid(9)).append([1])
                try lock.removeUnneeded()
            default: try lock.append(.point(point(lock)))
            }
        }
        try lock.writeCatalogIfDue()
    }

    /// Drops, brings back, pins, unpins or forgets some point.
    private mutating func retain(_ lock: WriterLock) throws {
        let state = lock.current!
        let live = state.points.filter { !$0.isPinned }.randomElement(using: &random)?.sequence
        let pinned = state.points.filter(\.isPinned).randomElement(using: &random)?.sequence
        let dropped = state.droppedPoints.randomElement(using: &random)?.sequence
        switch random.next() % 5 {
        case 0, 1: if let live, state.points.count > 1 { try lock.append(.dropPoints([live])) }
        case 2: if let dropped { try lock.append(.undropPoints([dropped])) }
        case 3:
            if let pinned { try lock.append(.unpinPoints([pinned])) }
            if let live { try lock.append(.pinPoints([live])) }
        default: try lock.removeUnneeded(forgetting: dropped.map { [$0] } ?? [])
        }
    }

    private mutating func point(_ lock: WriterLock) throws -> PointRecord {
        let state = lock.current!
        let present = state.newest.map { state.tables(at: $0.sequence) } ?? []
        var paths = Self.paths.filter { _ in random.next() % 2 == 0 }
        if paths.isEmpty { paths = ["a"] }
        let isFull = state.newest == nil || random.next() % 4 == 0
        let word = "t\(random.next() % 3)"
        var point = try nextPoint(
            lock, kind: isFull ? .full : .incremental,
            uid: random.next() % 3 == 0 ? "uid \(random.next())" : nil, paths: paths)
        for index in point.tables.indices {
            if random.next() % 2 == 0 { point.tables[index].sql = word }
            point.tables[index].isReset = random.next() % 3 == 0
            point.tables[index].contentHash = String(random.next(), radix: 16)
            point.tables[index].snapshot.hash = random.next()
            if random.next() % 4 == 0 { point.tables[index].formats = ["csv": 7] }
            point.tables[index].isRenumbered = random.next() % 4 == 0
            if random.next() % 3 == 0 { point.tables[index].sequence = number() }
            if random.next() % 4 == 0 { point.tables[index].shadowOf = "d\(word)" }
            if random.next() % 4 == 0 { point.tables[index].notes = [word, ""] }
        }
        if random.next() % 3 == 0 { point.facts = facts() }
        if random.next() % 3 == 0 {
            point.ownership = FileOwnership(
                owner: random.next(), group: random.next(), mode: random.next())
        }
        if random.next() % 3 == 0 { point.notBackedUp = [] }
        if !isFull {
            // Tables go, and their names may come back as those of others.
            let carried = Set(point.tables.map(\.id))
            point.removed = present.map(\.id).filter {
                !carried.contains($0) && random.next() % 3 == 0
            }
        }
        return point
    }

    private mutating func facts() -> DatabaseFacts {
        DatabaseFacts(
            userVersion: number(), applicationID: number(), encoding: "UTF-16le",
            pageSize: number(), autoVacuum: number())
    }

    private mutating func number() -> Int64 { Int64(bitPattern: random.next()) }
}
