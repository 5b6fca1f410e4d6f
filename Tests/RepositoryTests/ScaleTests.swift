import Bytes
import Foundation
import Repository
import Tables
import Testing

/// The machine's own file system without waiting for its disk: only for building what is measured.
private struct Unsynced: SystemCalls {
    let kernel = Kernel()
    func open(_ path: String, _ access: FileAccess) throws(Errno) -> Int32 {
        try kernel.open(path, access)
    }
    func close(_ descriptor: Int32) { kernel.close(descriptor) }
    func read(
        _ descriptor: Int32, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(Errno) -> Int { try kernel.read(descriptor, at: offset, into: buffer) }
    func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(Errno) -> Int {
        try kernel.write(descriptor, bytes)
    }
    func sync(_ descriptor: Int32) throws(Errno) {}
    func canSyncAll(_ descriptor: Int32) -> Bool { true }
    func syncAll(_ descriptor: Int32) throws(Errno) {}
    func size(_ descriptor: Int32) throws(Errno) -> UInt64 { try kernel.size(descriptor) }
    func link(_ path: String, as name: String) throws(Errno) { try kernel.link(path, as: name) }
    func rename(_ path: String, to name: String) throws(Errno) {
        try kernel.rename(path, to: name)
    }
    func renameNew(_ path: String, to name: String) throws(Errno) {
        try kernel.renameNew(path, to: name)
    }
    func unlink(_ path: String) throws(Errno) { try kernel.unlink(path) }
    func makeDirectory(_ path: String) throws(Errno) { try kernel.makeDirectory(path) }
    func removeDirectory(_ path: String) throws(Errno) { try kernel.removeDirectory(path) }
    func list(_ path: String) throws(Errno) -> [String] { try kernel.list(path) }
    func status(_ path: String) throws(Errno) -> FileStatus { try kernel.status(path) }
    func lock(_ descriptor: Int32) throws(Errno) { try kernel.lock(descriptor) }
    func isLocked(_ descriptor: Int32) throws(Errno) -> Bool { try kernel.isLocked(descriptor) }
    func number(_ descriptor: Int32) throws(Errno) -> UInt64 { try kernel.number(descriptor) }
    func space(_ path: String) throws(Errno) -> Space { try kernel.space(path) }
}

@Suite(.serialized) struct ScaleTests {
    let directory = TemporaryDirectory()

    func milliseconds(_ what: String, _ body: () throws -> Void) rethrows -> Double {
        let start = ContinuousClock.now
        try body()
        let time = ContinuousClock.now - start
        let value =
            Double(time.components.attoseconds) / 1e15 + Double(time.components.seconds) * 1e3
        print("\(what): \(String(format: "%.2f", value)) ms")
        return value
    }

    func build(points: Int, tables: Int, changed: Int) throws {
        let storage = DirectoryStorage(directory.path, calls: Unsynced())
        let lock = try Repository.create(storage).lock(collection: "shop")
        try lock.append(.define(definition("shop")))
        let paths = (0..<tables).map { "sub/table\($0)" }
        for point in 0..<points {
            let some = (0..<changed).map { paths[(point * 7 + $0) % tables] }
            try lock.append(.point(try nextPoint(lock, paths: point == 0 ? paths : some)))
            try lock.writeCatalogIfDue()
        }
    }

    @Test func `A thousand points of twenty tables are read at once`() throws {
        try build(points: 1000, tables: 20, changed: 20)
        var repository: Repository?
        let times = try (0..<5).map { _ in
            try milliseconds("open 1,000 points × 20 tables") {
                repository = try Repository.open(directory.path)
            }
        }
        let state = try #require(repository?.collection("shop"))
        #expect(state.points.count == 1000)
        var log = Repository.Options()
        log.usesCatalogs = false
        let whole = try milliseconds("the same without catalogs") {
            _ = try Repository.open(DirectoryStorage(directory.path), options: log)
        }
        // A ratio of two times in one run.
        #expect(times.min()! * 3 < whole)
        #expect(times.min()! < 1000)
        let idle = try milliseconds("100 idle refreshes") {
            for _ in 0..<100 {
                let changed = try repository!.refresh()
                #expect(changed == [])
            }
        }
        #expect(idle < 500)
        _ = milliseconds("tables(at:) of 1,000 points") {
            for point in state.points { #expect(state.tables(at: point.sequence).count == 20) }
        }
    }

    @Test func `Ten thousand tables cost nothing at points that don't change them`() throws {
        try build(points: 1000, tables: 10_000, changed: 1)
        var repository: Repository?
        let times = try (0..<3).map { _ in
            try milliseconds("open 1,000 points × 10,000 tables, 1 changed each") {
                repository = try Repository.open(directory.path)
            }
        }
        #expect(times.min()! < 2000)
        let state = try #require(repository?.collection("shop"))
        _ = milliseconds("tables(at:) of one of 10,000 tables") {
            #expect(state.tables(at: 500).count == 10_000)
        }
        let lookups = milliseconds("10,000 look-ups by path") {
            for index in 0..<10_000 {
                #expect(state.table(path: "sub/table\(index)", at: 999) != nil)
            }
        }
        #expect(lookups < 1000)
        // Table 7 was changed by point 2, of which the counter is 1.
        let seventh = state.table(path: "sub/table7", at: 1000)!
        #expect(state.changed(seventh.id, at: 1000) == 1_763_596_800_000_002)
        #expect(state.changed(seventh.id, at: 1) == 1_763_596_800_000_001)
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        print(status.split(separator: "\n").filter { $0.hasPrefix("Vm") && $0.contains("HWM") })
    }
}
