import Bytes
import Foundation
import Repository
import TestSupport
import Testing

/// What a writer makes is durable before its entry, whatever it takes, and what it leaves is found.
@Suite struct DurabilityTests {
    let directory = TemporaryDirectory()
    var location: String { directory.path + "/r" }

    @Test func `The folder of a new table is durable before the entry, too`() throws {
        let disk = SimulatedDisk()
        let repository = try Repository.create(DirectoryStorage("/r", calls: disk))
        let lock = try repository.lock(collection: "shop")
        try lock.append(.define(definition("shop")))
        try lock.append(.point(try nextPoint(lock)))
        disk.forgetTrace()
        var record = try nextPoint(lock, kind: .full)
        let writer = try lock.createFile(.parquet, table: tid(1))
        try writer.append([1])
        record.files.append(try writer.finish(rows: 1))
        try lock.append(.point(record))
        let tables = "/r/tables/\(repository.collectionID("shop"))"
        let file = "\(tables)/\(tid(1))/\(record.files[1].name)"
        let commit = try #require(disk.trace.firstIndex { $0.hasPrefix("link") })
        for place in ["/r", "/r/tables", tables, "\(tables)/\(tid(1))", file] {
            #expect(disk.trace[..<commit].contains("sync \(place)"), "\(place)")
        }
        // What is known to be durable isn't synced again.
        disk.forgetTrace()
        let next = try lock.createFile(.parquet, table: tid(1))
        try next.append([1])
        _ = try next.finish(rows: 1)
        try lock.settle()
        let synced = disk.trace.filter { $0.hasPrefix("sync") }
        #expect(synced == ["sync \(tables)/\(tid(1))/\(next.name)", "sync \(tables)/\(tid(1))"])
    }

    @Test func `Many files are made durable by one call, or one by one where there is none`() throws
    {
        for hasSyncAll in [true, false] {
            let disk = SimulatedDisk()
            if !hasSyncAll { disk.forbidSyncAll() }
            let repository = try Repository.create(DirectoryStorage("/r", calls: disk, fewFiles: 4))
            let lock = try repository.lock(collection: "shop")
            try lock.append(.define(definition("shop")))
            let before = disk.trace.count
            var files: [String] = []
            for table in 1...9 as ClosedRange<UInt32> {
                let writer = try lock.createFile(.parquet, table: tid(table))
                try writer.append([1])
                files.append(try writer.finish(rows: 1).name)
            }
            try lock.settle()
            let syncs = disk.trace[before...].filter { $0.hasPrefix("sync") }
            if hasSyncAll {
                #expect(syncs == ["sync all"])
            } else {
                // Files, their folders, and what those lie in: /r, tables, tables/CID.
                #expect(syncs.count == 9 + 9 + 3)
                #expect(files.allSatisfy { file in syncs.contains { $0.hasSuffix(file) } })
            }
            for cut in SimulatedDisk.PowerCut.allCases {
                let kept = disk.survivor(cut).files().filter { $0.key.hasSuffix(".parquet") }
                #expect(kept.count == 9 && kept.values.allSatisfy { $0 == [1] })
            }
        }
    }

    @Test(arguments: [ENOSYS, EPERM]) func `A call that turns out not to be there is made up for`(
        _ number: Int32
    ) throws {
        let disk = SimulatedDisk()
        let repository = try Repository.create(DirectoryStorage("/r", calls: disk, fewFiles: 1))
        let lock = try repository.lock(collection: "shop")
        try lock.append(.define(definition("shop")))
        for table in 1...3 as ClosedRange<UInt32> {
            let writer = try lock.createFile(.parquet, table: tid(table))
            try writer.append([1])
            _ = try writer.finish(rows: 1)
        }
        disk.fail(atChange: disk.changes + 1, .error(number))
        try lock.settle()
        let kept = disk.survivor(.unsyncedLost).files().filter { $0.key.hasSuffix(".parquet") }
        #expect(kept.count == 3 && kept.values.allSatisfy { $0 == [1] })
    }

    @Test func `What couldn't be made durable by one call is never committed`() throws {
        let disk = SimulatedDisk()
        let repository = try Repository.create(DirectoryStorage("/r", calls: disk, fewFiles: 0))
        let lock = try repository.lock(collection: "shop")
        try lock.append(.define(definition("shop")))
        let record = try nextPoint(lock)
        disk.fail(atChange: disk.changes + 1, .error(EIO))
        let failure = #expect(throws: Failure.self) { try lock.append(.point(record)) }
        #expect(throws: failure!) { try lock.append(.point(record)) }
        #expect(disk.trace.count { $0 == "sync all" } == 1)
        #expect(lock.current?.points.isEmpty == true)
    }

    @Test func `A folder that another process has removed is made again`() throws {
        let repository = try Repository.create(location)
        let lock = try repository.lock(collection: "shop")
        try lock.append(.define(definition("shop")))
        for _ in 0..<3 {
            let writer = try lock.createFile(.parquet, table: tid(1))
            try writer.append([1])
            let file = try writer.finish(rows: 1)
            try lock.settle()
            let folder = "\(location)/tables/\(repository.collectionID("shop"))/\(tid(1))"
            #expect(FileManager.default.fileExists(atPath: "\(folder)/\(file.name)"))
            try FileManager.default.removeItem(atPath: folder)
        }
    }

    @Test func `What couldn't be made durable is never committed`() throws {
        let disk = SimulatedDisk()
        let repository = try Repository.create(DirectoryStorage("/r", calls: disk))
        let lock = try repository.lock(collection: "shop")
        try lock.append(.define(definition("shop")))
        let record = try nextPoint(lock)
        disk.fail(atChange: disk.changes + 1, .error(EIO))
        let failure = #expect(throws: Failure.self) { try lock.settle() }
        #expect(failure?.message.contains(record.files[0].name) == true)
        for _ in 0..<2 { #expect(throws: failure!) { try lock.append(.point(record)) } }
        // Given up, the lock is as good as before.
        lock.removeUncommitted()
        try lock.append(.point(try nextPoint(lock)))
        #expect(lock.current?.points.count == 1)
    }
}
