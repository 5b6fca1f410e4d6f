import Bytes
import Glibc
import Repository
import TestSupport
import Testing

/// Every call of a repository's life is a place to die at, to be refused at, to fall short at.
@Suite struct CrashTests {
    /// What the story has been told to be durable.
    final class Acknowledged {
        var isCreated = false
        var entries: UInt64 = 0
        var operations: UInt64 = 0
        var finished: Set<UInt64> = []
    }

    /// A repository is made, a collection defined, backed up thrice (one backup is given up, with
    /// its files left behind and swept later), dropped and made again. Goes on where the log is.
    func live(_ disk: SimulatedDisk, _ acknowledged: Acknowledged) throws {
        // The first point's three files are made durable together, those of others one by one.
        let repository = try Repository.create(
            DirectoryStorage("/r/p", calls: disk, fewFiles: 2), options: often)
        acknowledged.isCreated = true
        func commit(_ make: (WriterLock) throws -> LogEntry) throws {
            let operation = try repository.operations.begin(
                OperationStart(
                    statement: "BACKUP shop;", owner: 7, collection: "shop", kind: "backup",
                    time: 1))
            acknowledged.operations = operation.id
            let lock = try repository.lock(collection: "shop")
            acknowledged.entries = try lock.append(make(lock))
            try lock.keepSampleCapture()
            try lock.writeCatalogIfDue()
            acknowledged.entries = lock.current!.lastEntry
            try repository.operations.end(operation.id, OperationEnd(state: .done, time: 2))
            acknowledged.finished.insert(operation.id)
        }
        let steps: [(WriterLock) throws -> LogEntry] = [
            { _ in .define(definition("shop")) },
            { .point(try self.point($0, bytes: [UInt8](repeating: 7, count: 700))) },
            { .point(try self.point($0, paths: ["orders"])) },
            { lock in
                try lock.createFile(.parquet, table: tid(1)).append([9, 9, 9])
                return .point(try nextPoint(lock, kind: .full, bytes: [5]))
            },
        ]
        let log = repository.collection("shop")
        let done = Int(log?.lastEntry ?? 0) - (log?.catalogs.count ?? 0)
        for step in steps.dropFirst(done) {
            try commit(step)
        }
        let lock = try repository.lock(collection: "shop")
        try lock.removeUnneeded()
        acknowledged.entries = lock.current!.lastEntry
        // The full goes, for good; the next point is dropped and had back, the last one pinned.
        for entry: LogEntry in [
            .dropPoints([1]), .dropPoints([2]), .undropPoints([2]), .pinPoints([3]),
        ] {
            try lock.append(entry)
            acknowledged.entries = lock.current!.lastEntry
        }
        try lock.removeUnneeded(forgetting: [1])
        acknowledged.entries = lock.current!.lastEntry
        try lock.append(.drop)
        acknowledged.entries = lock.current!.lastEntry
        try lock.append(.define(definition("shop", sql: "again")))
        acknowledged.entries = lock.current!.lastEntry
    }

    /// The next point, with a row file for each of its tables.
    private func point(
        _ lock: WriterLock, bytes: [UInt8] = [1, 2, 3],
        paths: [String] = ["orders", "sub/products"]
    ) throws -> PointRecord {
        var record = try nextPoint(lock, bytes: bytes, paths: paths)
        for index in record.tables.indices {
            let writer = try lock.createFile(.parquet, table: record.tables[index].tid)
            try writer.append(bytes)
            let file = try writer.finish(rows: 1)
            record.files.append(file)
            record.tables[index].files.append(NeededFile(number: file.number, rows: 1))
        }
        return record
    }

    /// A catalog after every third entry.
    var often: Repository.Options {
        var options = Repository.Options()
        options.catalogInterval = 3
        options.removalDelay = 0
        return options
    }

    /// Calls of an undisturbed life.
    func calls(_ prepare: (SimulatedDisk) -> Void = { _ in }) throws -> Int {
        let disk = SimulatedDisk()
        prepare(disk)
        try live(disk, Acknowledged())
        return disk.calls
    }

    /// The next process finds the old or the new state, whole, and can go on.
    func check(
        _ disk: SimulatedDisk, _ acknowledged: Acknowledged, _ what: Comment
    ) throws {
        let storage = DirectoryStorage("/r/p", calls: disk)
        let repository: Repository
        do {
            repository = try Repository.open(storage, options: often)
        } catch let failure as Failure where failure.code == .notFound {
            #expect(!acknowledged.isCreated, what)
            return
        }
        #expect(repository.failures == [], what)
        let lock = try repository.lock(collection: "shop")
        let entries = lock.current?.lastEntry ?? 0
        #expect([acknowledged.entries, acknowledged.entries + 1].contains(entries), what)
        if let state = lock.current {
            #expect(state.catalogDamage == nil, what)
            for number in state.neededFiles {
                try repository.file(number, of: state).verify()
            }
        }
        if let captured = try lock.captured() {
            #expect(captured == captureContent(lock.current!.newest!.sequence), what)
        }
        let operations = try repository.operations.newest()
        #expect(operations.first?.start.id ?? 0 >= acknowledged.operations, what)
        for id in acknowledged.finished {
            #expect(try repository.operations.record(id).end?.state == .done, what)
        }
        if lock.current?.definition == nil { try lock.append(.define(definition("shop"))) }
        try lock.removeUnneeded()
        try lock.append(.point(try nextPoint(lock, name: "after", bytes: [1])))
        let files = disk.files().keys.filter {
            $0.contains("/data/") || $0.contains("/tables/") || $0.contains("/log/.")
        }
        let state = lock.current!
        #expect(state.neededFiles == Set(state.files.keys), what)
        let referred =
            state.files.values.map(\.name) + state.catalogs.map(\.reference.name)
        #expect(Set(files.map { $0.split(separator: "/").last! }) == Set(referred.map { $0[...] }))
    }

    @Test(arguments: SimulatedDisk.PowerCut.allCases, [true, false])
    func `Killed at any call, the old or the new state is left`(
        _ cut: SimulatedDisk.PowerCut, _ hasLinks: Bool
    ) throws {
        let prepare = { (disk: SimulatedDisk) in if !hasLinks { disk.forbidLinks() } }
        let total = try calls(prepare)
        #expect(total > 100)
        for call in 1...total {
            for seed in 0..<(cut == .torn ? 4 : 1) {
                let disk = SimulatedDisk()
                prepare(disk)
                disk.fail(at: call, .kill)
                let acknowledged = Acknowledged()
                // The very last call may be one whose failure is of no consequence.
                try? live(disk, acknowledged)
                let survivor = disk.survivor(cut, seed: UInt64(call * 10 + seed))
                prepare(survivor)
                try check(survivor, acknowledged, "call \(call), seed \(seed), \(cut)")
            }
        }
    }

    @Test(arguments: [EIO, ENOSPC, EDQUOT])
    func `Refused at any call, the old or the new state is left`(_ number: Int32) throws {
        for call in 1...(try calls()) {
            let disk = SimulatedDisk()
            disk.fail(at: call, .error(number))
            let acknowledged = Acknowledged()
            do {
                try live(disk, acknowledged)
            } catch let failure as Failure {
                #expect(failure.code == (number == EIO ? .system : .noSpace), "call \(call)")
            }
            try check(disk.survivor(.unsyncedLost), acknowledged, "call \(call)")
            // Without a power cut, too, and by the same process.
            try check(disk, acknowledged, "call \(call), no power cut")
        }
    }

    @Test func `A failed sync fails the operation and is never repeated`() throws {
        let probe = SimulatedDisk()
        try live(probe, Acknowledged())
        var failed = 0
        for (index, line) in probe.trace.enumerated() where line.hasPrefix("sync") {
            let disk = SimulatedDisk()
            disk.fail(at: index + 1, .error(EIO))
            #expect(throws: Failure.self, "call \(index + 1)") {
                try live(disk, Acknowledged())
            }
            failed += 1
            let before = disk.trace.count { $0.hasPrefix("sync") }
            #expect(before == probe.trace[...index].count { $0.hasPrefix("sync") })
        }
        #expect(failed > 20)
    }

    @Test func `Signals and short transfers change nothing`() throws {
        for call in 1...(try calls()) {
            let disk = SimulatedDisk()
            disk.fail(at: call, .error(EINTR))
            let acknowledged = Acknowledged()
            try live(disk, acknowledged)
            try check(disk.survivor(.unsyncedLost), acknowledged, "call \(call)")
        }
        let disk = SimulatedDisk()
        disk.limitTransfers(7)
        let acknowledged = Acknowledged()
        try live(disk, acknowledged)
        try check(disk, acknowledged, "7 bytes at a time")
    }
}
