import Bytes
import Foundation
import Repository
import TestSupport
import Testing

/// The room that is kept back, and what is removed to make some. What a really full disk does to the
/// program is in `FullDiskTests`.
@Suite struct ReserveTests {
    let directory = TemporaryDirectory()
    var location: String { directory.path + "/r" }

    private func repository(_ reserve: UInt64?, _ clock: TestClock? = nil) throws -> Repository {
        var options = Repository.Options()
        options.reserveBytes = reserve
        if let clock { options.now = { clock.microseconds } }
        return try Repository.create(DirectoryStorage(location), options: options)
    }

    /// Bytes of its blocks; nil if there is none.
    private var allocated: UInt64? {
        var status = stat()
        guard stat(location + "/reserve", &status) == 0 else { return nil }
        return UInt64(status.st_blocks) * 512
    }

    @Test func `The reserve's blocks are allocated, as many as are wanted`() throws {
        let repository = try repository(256 << 10)
        #expect(allocated == nil)
        let before = try #require(try repository.reserve.room())
        repository.reserve.keep()
        #expect(try #require(allocated) >= 256 << 10)
        // Set aside or not, it isn't there for others.
        let after = try #require(try repository.reserve.room())
        let difference = before > after ? before - after : after - before
        #expect(difference < 128 << 10)
        repository.reserve.keep()
        #expect(try #require(allocated) >= 256 << 10)
    }

    @Test func `Another size takes its place, none takes it away, and nobody's wish leaves it`()
        throws
    {
        for (wanted, expected) in [
            (128 << 10, 128 << 10), (nil, 128 << 10), (1 << 20, 1 << 20), (nil, 1 << 20), (0, nil),
        ] as [(UInt64?, UInt64?)] {
            try repository(wanted).reserve.keep()
            #expect(allocated == expected, "\(wanted ?? 1)")
        }
    }

    @Test func `By itself it is a 32nd of the volume, at most 4 MiB`() throws {
        let repository = try repository(nil)
        repository.reserve.keep()
        let volume = try #require(try repository.space()).bytes
        #expect(allocated == min(4 << 20, max(64 << 10, volume / 32) / 4096 * 4096))
    }

    @Test func `What is cut off or more than half of what is free is made anew or not at all`()
        throws
    {
        let repository = try repository(128 << 10)
        #expect(FileManager.default.createFile(atPath: location + "/reserve", contents: Data()))
        repository.reserve.keep()
        #expect(allocated == 128 << 10)
        let greedy = try self.repository(try #require(try repository.reserve.room()) / 4 * 3)
        greedy.reserve.keep()
        #expect(allocated == nil)
    }

    /// Files of the collection.
    private var files: Int {
        directory.contents().keys.count { $0.hasSuffix(".idx") || $0.hasSuffix(".parquet") }
    }

    private func dropped(_ repository: Repository) throws -> WriterLock {
        let lock = try repository.lock(collection: "shop")
        try lock.append(.define(definition("shop")))
        for _ in 0..<2 { try lock.append(.point(try nextPoint(lock, kind: .full))) }
        try lock.append(.dropPoints([1]))
        return lock
    }

    @Test func `What was condemned by a clock that ran ahead goes all the same`() throws {
        let year: Int64 = 365 * 86_400
        let clock = TestClock(1_767_225_600_000_000 + year * 1_000_000)
        let lock = try dropped(repository(nil, clock))
        #expect(try lock.removeUnneeded(forgetting: [1]).files == 0)
        clock.advance(seconds: -year)
        // By the right time it begins to wait only now.
        #expect(try lock.removeUnneeded().files == 0)
        clock.advance(seconds: 9)
        #expect(try lock.removeUnneeded().files == 0)
        clock.advance(seconds: 2)
        #expect(try lock.removeUnneeded() == (1, 3))
        #expect(files == 1)
        #expect(try Repository.open(location).collection("shop")?.points.map(\.sequence) == [2])
    }

    @Test
    func `What is condemned goes when its time is over, whatever the clock says, without the lock`()
        throws
    {
        let clock = TestClock(1_767_225_600_000_000)
        let repository = try repository(nil, clock)
        var lock: WriterLock? = try dropped(repository)
        #expect(try lock!.condemnedFiles().isEmpty)
        #expect(try lock!.removeUnneeded(forgetting: [1]) == (0, 0))
        let waiting = try lock!.condemnedFiles()
        #expect(waiting.count == 1)
        lock = nil
        clock.advance(seconds: -1000)
        // Others write meanwhile.
        let other = try Repository.open(location)
        let held = try other.lock(collection: "shop")
        try held.append(.point(try nextPoint(held)))
        #expect(files == 3)
        #expect(try repository.removeCondemned(waiting, of: "shop") == (1, 3))
        #expect(files == 2)
        #expect(try held.condemnedFiles().isEmpty)
        // Again is nothing.
        #expect(try repository.removeCondemned(waiting, of: "shop") == (0, 0))
        #expect(try held.removeUnneeded() == (0, 0))
        #expect(files == 2)
    }

    @Test func `A file that another process removes isn't kept open, unless somebody reads it`()
        throws
    {
        let clock = TestClock(1_767_225_600_000_000)
        let reader = try repository(nil, clock)
        let id = reader.collectionID("shop")
        let lock = try dropped(reader)
        let files = lock.current!.files.values.sorted { $0.number < $1.number }
        try lock.append(.point(try nextPoint(lock, kind: .full)))
        try lock.append(.dropPoints([2]))
        let collection = lock.current!
        func read() throws {
            for file in files { try reader.file(file, of: collection).checkSize() }
        }
        /// Removed data files of the repository that this process has open.
        func open() throws -> Int {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count { name in
                let path = try? FileManager.default.destinationOfSymbolicLink(
                    atPath: "/proc/self/fd/\(name)")
                return path?.hasPrefix("\(location)/collections/\(id)/data/") == true
                    && path?.hasSuffix(" (deleted)") == true
            }
        }
        try read()
        var hold: FileHold? = reader.hold([files[1]], of: collection)
        do {
            var options = Repository.Options()
            options.now = { clock.microseconds }
            let other = try Repository.open(DirectoryStorage(location), options: options)
            // What this lock keeps from it is only the name.
            try FileManager.default.removeItem(atPath: "\(location)/collections/\(id)/lock")
            let writer = try other.lock(collection: "shop")
            #expect(try writer.removeUnneeded(forgetting: [1, 2]) == (0, 0))
            try reader.refresh()
            // Somebody has a look before it goes.
            try read()
            clock.advance(seconds: 11)
            #expect(try writer.removeUnneeded() == (2, 6))
            #expect(try open() == 2)
            try writer.append(.define(definition("shop")))
        }
        try reader.refresh()
        #expect(try open() == 1)
        try reader.file(files[1], of: collection).checkSize()
        #expect(throws: Failure.self) { try reader.file(files[0], of: collection).checkSize() }
        withExtendedLifetime(hold) {}
        hold = nil
        #expect(try open() == 0)
    }

    @Test func `What no entry condemns isn't removed as condemned`() throws {
        let repository = try repository(nil)
        let id = repository.collectionID("shop")
        let lock = try dropped(repository)
        let places = lock.current!.files.values.map(\.place)
        #expect(places.count == 2)
        #expect(try repository.removeCondemned(places, of: "shop") == (0, 0))
        #expect(try repository.removeCondemned(places, of: "other") == (0, 0))
        #expect(files == 2)
        // A log that is gone, with all it said, condemns nothing.
        #expect(try lock.removeUnneeded(forgetting: [1]) == (0, 0))
        let waiting = try lock.condemnedFiles()
        let log = "\(location)/collections/\(id)/log"
        try FileManager.default.moveItem(atPath: log, toPath: log + ".away")
        _ = try? repository.removeCondemned(waiting, of: "shop")
        #expect(files == 2)
    }
}
