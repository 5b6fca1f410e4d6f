import Bytes
import Foundation
import Repository
import Tables
import TestSupport
import Testing

/// A log with entries that are missing or damaged: what stands before them, behind them and in a
/// catalog is read, and what isn't is named.
@Suite struct LostEntryTests {
    let disk = SimulatedDisk()
    let storage: DirectoryStorage
    let options: Repository.Options
    let log: String
    let id: String

    /// `shop`: 1 defines, 2 full A, 3 incremental B of A, 4 pins A, 5 incremental C of B, 6 full D,
    /// 7 incremental E of D.
    init() throws {
        storage = DirectoryStorage("/r", calls: disk)
        var options = Repository.Options()
        options.catalogInterval = 1000
        self.options = options
        let repository = try Repository.create(storage, options: options)
        id = repository.collectionID("shop")
        log = "/r/collections/\(id)/log"
        let lock = try repository.lock(collection: "shop")
        try lock.append(.define(definition("shop")))
        for (name, kind) in [("A", PointKind.full), ("B", .incremental)] {
            try lock.append(.point(try nextPoint(lock, kind: kind, name: name, uid: name)))
        }
        try lock.append(.pinPoints([1]))
        for (name, kind) in [("C", PointKind.incremental), ("D", .full), ("E", .incremental)] {
            try lock.append(.point(try nextPoint(lock, kind: kind, name: name)))
        }
    }

    private func path(_ number: Int) -> String { log + "/000000000\(number).json" }

    private func open(_ disk: SimulatedDisk? = nil) throws -> Repository {
        try Repository.open(
            disk.map { DirectoryStorage("/r", calls: $0) } ?? storage, options: options)
    }

    private func shop(_ repository: Repository) throws -> CollectionState {
        try #require(repository.collection("shop"))
    }

    /// What is left of the points when one entry can't be read.
    static let losses: [(entry: Int, left: [String], lost: [String], knowsEnd: Bool)] = [
        (2, ["D", "E"], ["B", "C"], true), (3, ["A", "D", "E"], ["C"], true),
        (4, ["A", "B", "C", "D", "E"], [], true), (5, ["A", "B", "D", "E"], [], true),
        (6, ["A", "B", "C"], ["E"], false), (7, ["A", "B", "C", "D"], [], false),
    ]

    @Test(arguments: 0..<losses.count, ["missing", "cut", "changed", "empty", "another's"])
    func `What doesn't rest on a lost entry is read`(_ index: Int, _ how: String) throws {
        let loss = Self.losses[index]
        let bytes = disk.files()[path(loss.entry)]!
        var damaged: [UInt8]? = bytes
        switch how {
        case "missing": damaged = nil
        case "cut": damaged = Array(bytes.dropLast(10))
        case "changed": damaged![bytes.count / 2] ^= 1
        case "empty": damaged = []
        default: damaged = disk.files()[path(loss.entry == 2 ? 3 : 2)]!
        }
        // The last entry missing is an older state, which no one can tell from a log that ends there.
        if loss.entry == 7, how == "missing" { return }
        disk.put(path(loss.entry), damaged)
        let found = try open()
        let state = try shop(found)
        #expect(state.points.map(\.name) == loss.left)
        #expect(state.lostPoints.map(\.name) == loss.lost)
        #expect((state.endIsUnknown == nil) == loss.knowsEnd)
        #expect(state.damage?.message.hasPrefix(path(loss.entry)) == true)
        #expect(found.failures == [state.damage!])
        // Nothing is built on what isn't known.
        #expect(throws: state.damage!) { try found.lock(collection: "shop") }
        for point in state.points { #expect(state.tables(at: point.sequence).count == 2) }
        disk.put(path(loss.entry), bytes)
        #expect(try found.refresh() == ["shop"])
        #expect(try shop(found).points.map(\.name) == ["A", "B", "C", "D", "E"])
        #expect(found.failures.isEmpty)
    }

    @Test func `A catalog behind a lost entry has all that it said`() throws {
        do {
            var often = options
            often.catalogInterval = 1
            let lock = try Repository.open(storage, options: often).lock(collection: "shop")
            try lock.writeCatalogIfDue()
            try lock.append(.point(try nextPoint(lock, name: "F")))
        }
        disk.put(path(3), nil)
        let found = try open()
        #expect(try shop(found).points.map(\.name) == ["A", "B", "C", "D", "E", "F"])
        #expect(try shop(found).lostPoints.isEmpty)
        #expect(try shop(found).endIsUnknown == nil)
        #expect(found.failures.map(\.message) == [path(3) + " is missing"])
        let reread = try found.reread(collection: "shop")
        #expect(reread.state?.points.count == 6)
        #expect(reread.damage?.message == path(3) + " is missing")
    }

    @Test func `What can't be read for lack of permission isn't an older state`() throws {
        disk.refuseReading(path(7), EACCES)
        let state = try shop(open())
        #expect(state.points.map(\.name) == ["A", "B", "C", "D"])
        #expect(state.endIsUnknown?.code == .denied)
        #expect(throws: Failure.self) { try open().lock(collection: "shop") }
    }

    @Test func `Files that bear no number of the log are no entries`() throws {
        for name in [
            "0000000007.json~", "7.json", "0000000008.json.bak", "18446744073709551615.json",
        ] {
            disk.put("\(log)/\(name)", [1, 2, 3])
        }
        let found = try open()
        #expect(found.failures.isEmpty)
        #expect(try found.lock(collection: "shop").current?.lastEntry == 7)
    }

    // MARK: Repair

    private func repair(from copy: SimulatedDisk? = nil) throws -> [String] {
        var said: [String] = []
        while true {
            let steps = try open().repairLogs(
                from: copy.map { DirectoryStorage("/r", calls: $0) })
            if steps.isEmpty { return said }
            for step in steps {
                said.append(step.text)
                try step.run()
            }
            try #require(said.count < 20)
        }
    }

    @Test(arguments: 0..<losses.count, [true, false])
    func `A loss that is recorded lets backups go on`(_ index: Int, _ isThere: Bool) throws {
        let loss = Self.losses[index]
        if loss.entry == 7, !isThere { return }
        let bytes = disk.files()[path(loss.entry)]!
        disk.put(path(loss.entry), isThere ? Array(bytes.dropLast()) : nil)
        let files = Set(disk.files().keys.filter { $0.contains("/data/") })
        let said = try repair()
        #expect(said.count == 1 && said[0].contains("its loss is recorded"))
        if isThere { #expect(disk.files()[path(loss.entry) + ".damaged"] == bytes.dropLast()) }
        var often = options
        often.catalogInterval = 1
        let found = try Repository.open(storage, options: often)
        #expect(found.failures.isEmpty)
        var state = try shop(found)
        #expect(state.points.map(\.name) == loss.left)
        #expect(state.lostPoints.map(\.name) == loss.lost)
        #expect(state.endIsUnknown == nil)
        let lock = try found.lock(collection: "shop")
        try lock.removeUnneeded()
        try lock.append(.point(try nextPoint(lock, name: "G")))
        try lock.append(.point(try nextPoint(lock, kind: .full, name: "H")))
        state = try shop(open())
        #expect(state.points.map(\.name) == loss.left + ["G", "H"])
        // What a lost entry may have named is still there.
        #expect(files.isSubset(of: disk.files().keys))
        #expect(try repair().isEmpty)
        // The same from a catalog.
        try lock.writeCatalogIfDue()
        let again = try shop(open())
        #expect(again.points.map(\.name) == state.points.map(\.name))
        #expect(again.lostPoints == state.lostPoints)
        #expect(try open().reread(collection: "shop").catalogFaults.isEmpty)
    }

    @Test(arguments: 1...7)
    func `A copy gives back what is lost`(_ entry: Int) throws {
        let copy = disk.survivor(.none)
        let bytes = disk.files()[path(entry)]!
        disk.put(path(entry), entry.isMultiple(of: 2) ? nil : Array(bytes.dropLast()))
        if entry == 7 { disk.put(path(entry), [1]) }
        let said = try repair(from: copy)
        #expect(said.count == 1 && said[0].contains("put back from"))
        #expect(disk.files()[path(entry)] == bytes)
        #expect(try open().failures.isEmpty)
    }

    @Test func `A copy that went on otherwise gives nothing wrong back`() throws {
        let copy = disk.survivor(.none)
        do {
            let other = try open(copy)
            let lock = try other.lock(collection: "shop")
            try lock.append(.point(try nextPoint(lock, name: "other")))
        }
        do {
            let lock = try open().lock(collection: "shop")
            try lock.append(.point(try nextPoint(lock, name: "F")))
            try lock.append(.point(try nextPoint(lock, name: "G")))
        }
        disk.put(path(8), nil)
        let said = try repair(from: copy)
        #expect(said.count == 1 && said[0].contains("no copy has it"))
        #expect(try shop(open()).lostPoints.map(\.name) == ["G"])
    }

    @Test func `A stray file far behind the log is moved aside`() throws {
        disk.put("\(log)/0000009999.json", Array("{}".utf8))
        let state = try shop(open())
        #expect(state.points.count == 5)
        #expect(state.damage != nil)
        #expect(try repair().count == 1)
        #expect(try open().failures.isEmpty)
        #expect(disk.files()["\(log)/0000009999.json.damaged"] != nil)
    }

    @Test func `Many lost entries are recorded one by one`() throws {
        for entry in [3, 4, 5] { disk.put(path(entry), nil) }
        #expect(try repair().count == 3)
        #expect(try open().failures.isEmpty)
        #expect(try shop(open()).points.map(\.name) == ["A", "D", "E"])
    }
}
