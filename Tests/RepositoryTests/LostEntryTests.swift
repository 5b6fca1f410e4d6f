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
            let plan = try open().repairLogs(
                from: copy.map { DirectoryStorage("/r", calls: $0) })
            if plan.steps.isEmpty { return said + plan.hopeless }
            for step in plan.steps {
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
        #expect(state.lostPoints.map(\.name) == ["entry \(loss.entry) of its log"] + loss.lost)
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
        #expect(try shop(open()).lostPoints.map(\.name) == ["entry 8 of its log", "G"])
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

    // MARK: What else has it

    @Test func `Entries that were exchanged are found in each other's files`() throws {
        let (three, four) = (disk.files()[path(3)]!, disk.files()[path(4)]!)
        disk.put(path(3), four)
        disk.put(path(4), three)
        let said = try repair()
        #expect(said.count == 2 && said.allSatisfy { $0.contains("put back from \(log)") })
        #expect(disk.files()[path(3)] == three && disk.files()[path(4)] == four)
        #expect(try open().failures.isEmpty)
        #expect(try shop(open()).lostPoints.isEmpty)
    }

    @Test(arguments: ["0000000005.json~", "0000000005.json.damaged", "5", "0000000009.json"])
    func `An entry that was renamed is found`(_ name: String) throws {
        let bytes = disk.files()[path(5)]!
        disk.put(path(5), nil)
        disk.put("\(log)/\(name)", bytes)
        #expect(try repair().first?.contains("put back from \(log)/\(name)") == true)
        #expect(disk.files()[path(5)] == bytes)
        #expect(try open().failures.isEmpty)
        #expect(try shop(open()).points.map(\.name) == ["A", "B", "C", "D", "E"])
    }

    @Test func `What a catalog has isn't lost, and repair comes to an end`() throws {
        var often = options
        often.catalogInterval = 1
        do {
            let lock = try Repository.open(storage, options: often).lock(collection: "shop")
            for name in ["F", "G"] {
                try lock.writeCatalogIfDue()
                try lock.append(.point(try nextPoint(lock, name: name)))
            }
        }
        disk.put(path(3), nil)
        let all = ["A", "B", "C", "D", "E", "F", "G"]
        let said = try repair()
        #expect(said.count == 1 && said[0].contains("nothing is lost"), "\(said)")
        let found = try open()
        #expect(found.failures.isEmpty)
        #expect(try shop(found).points.map(\.name) == all)
        #expect(try shop(found).lostPoints.isEmpty)
        let again = try found.reread(collection: "shop")
        #expect(again.damage == nil && again.catalogFaults.isEmpty)
        #expect(again.state?.points.map(\.name) == all)
        // Later catalogs go on from there.
        let lock = try Repository.open(storage, options: often).lock(collection: "shop")
        for name in ["H", "I", "J"] {
            try lock.append(.point(try nextPoint(lock, name: name)))
            try lock.writeCatalogIfDue()
            try lock.removeUnneeded()
        }
        #expect(try open().reread(collection: "shop").state?.points.count == 10)
        #expect(try open().reread(collection: "shop").catalogFaults.isEmpty)
    }

    @Test func `A catalog in use that is damaged is made anew`() throws {
        for damage in [nil, [1, 2, 3]] as [[UInt8]?] {
            var often = options
            often.catalogInterval = 1
            let lock = try Repository.open(storage, options: often).lock(collection: "shop")
            try lock.writeCatalogIfDue()
            let name = try #require(lock.current?.catalogs.last?.reference.name)
            disk.put("/r/collections/\(id)/data/\(name)", damage)
            #expect(try open().reread(collection: "shop").catalogFaults.isEmpty == false)
            withExtendedLifetime(lock) {}
        }
        #expect(try !repair().isEmpty)
        #expect(try open().reread(collection: "shop").catalogFaults.isEmpty)
        #expect(try open().failures.isEmpty)
    }

    @Test(arguments: 2...7)
    func `A recorded loss is undone by a copy that has the entry`(_ entry: Int) throws {
        let copy = disk.survivor(.none)
        let bytes = disk.files()[path(entry)]!
        disk.put(path(entry), Array(bytes.dropLast()))
        #expect(try repair()[0].contains("its loss is recorded"))
        try open().lock(collection: "shop").writeCatalogIfDue()
        let said = try repair(from: copy)
        #expect(said[0].contains("is recorded as lost: it is put back from"), "\(said)")
        #expect(disk.files()[path(entry)] == bytes)
        let again = try open().reread(collection: "shop")
        #expect(again.state?.points.map(\.name) == ["A", "B", "C", "D", "E"])
        #expect(again.state?.lostEntries == [] && again.catalogFaults.isEmpty)
    }

    @Test func `Losses recorded in a row are undone together`() throws {
        let copy = disk.survivor(.none)
        for entry in 3...5 { disk.put(path(entry), nil) }
        _ = try repair()
        _ = try repair(from: copy)
        #expect(try shop(open()).points.map(\.name) == ["A", "B", "C", "D", "E"])
        #expect(try open().reread(collection: "shop").damage == nil)
    }

    @Test func `A loss that backups rest on stays, and where its points are is said`() throws {
        let copy = disk.survivor(.none)
        for entry in 6...7 { disk.put(path(entry), [1]) }
        _ = try repair()
        let lock = try open().lock(collection: "shop")
        try lock.append(.point(try nextPoint(lock, name: "G")))
        let files = disk.files()
        _ = try repair(from: copy)
        #expect(try shop(open()).points.map(\.name) == ["A", "B", "C", "G"])
        #expect(disk.files() == files)
    }

    // MARK: Logs that end too early

    private let start = OperationStart(
        statement: "BACKUP shop", owner: 0, collection: "shop", kind: "full", time: 1)

    /// The journal says that these points were made.
    private func journal(_ points: [String]) throws {
        let operations = try open().operations
        // The points of these tests say that operation 17 made them.
        for _ in 1...17 { _ = try operations.begin(start) }
        for point in points {
            let begun = try operations.begin(start)
            try operations.end(begun.id, OperationEnd(state: .done, time: 2, point: point))
        }
    }

    @Test(arguments: ["E", "D E", "C D E", "A B C D E"])
    func `The journal tells of a lost end`(_ gone: String) throws {
        let gone = gone.split(separator: " ").map(String.init)
        try journal(["A", "B", "C", "D", "E"])
        #expect(try open().failures.isEmpty)
        let copy = disk.survivor(.none)
        // Entry 4 pins a point.
        let last = ["E": 6, "D": 5, "C": 4, "A": 1][gone[0]]!
        for entry in last + 1...7 { disk.put(path(entry), nil) }
        let before = disk.files()
        let found = try open()
        #expect(found.failures.count == 1)
        #expect(found.failures.first?.message.hasPrefix(path(last + 1) + " is missing") == true)
        #expect(try shop(found).endIsUnknown != nil)
        #expect(throws: Failure.self) { try found.lock(collection: "shop") }
        #expect(try found.reread(collection: "shop").damage != nil)
        #expect(disk.files() == before)
        // A copy has it, or its loss is recorded, and named.
        let other = disk.survivor(.none)
        let said = try repair(from: copy)
        #expect(said.count == 1 && said[0].contains("put back from"), "\(said)")
        #expect(try shop(open()).points.map(\.name) == ["A", "B", "C", "D", "E"])
        let left = try Repository.open(DirectoryStorage("/r", calls: other), options: options)
        for step in try left.repairLogs(from: nil).steps { try step.run() }
        let state = try shop(open(other))
        #expect(state.lostPoints.map(\.name) == gone)
        #expect(try open(other).failures.isEmpty)
        let lock = try open(other).lock(collection: "shop")
        try lock.removeUnneeded()
        try lock.append(.point(try nextPoint(lock, kind: .full, name: "G")))
        #expect(try shop(open(other)).points.last?.name == "G")
        let data = before.keys.filter { $0.contains("/data/") }
        #expect(Set(data).isSubset(of: other.files().keys))
    }

    @Test func `Points that were dropped and forgotten since aren't missed`() throws {
        try journal(["A", "B", "C", "D", "E"])
        let lock = try open().lock(collection: "shop")
        try lock.append(.dropPoints([5]))
        try lock.removeUnneeded(forgetting: [5])
        #expect(try open().failures.isEmpty)
        try lock.append(.unpinPoints([1]))
        try lock.append(.drop)
        try lock.removeUnneeded(forgetting: [1, 2, 3, 4])
        #expect(try open().failures.isEmpty)
    }

    // MARK: Logs that are gone

    @Test(arguments: ["log", "collection", "all"], [true, false])
    func `A log that is gone beside data is no new collection`(
        _ what: String, _ isJournaled: Bool
    ) throws {
        if isJournaled { try journal(["A", "B", "C", "D", "E"]) }
        if what == "all", !isJournaled { return }
        _ = try storage.putIfAbsent([1], as: "tables/\(id)/\(tid(1))/\(tid(2)).parquet")
        let live = try open()
        let copy = disk.survivor(.none)
        for path in disk.files().keys {
            let isGone =
                switch what {
                case "log": path.hasPrefix(log)
                case "collection": path.hasPrefix("/r/collections")
                default: path.hasPrefix("/r/collections") || path.hasPrefix("/r/tables")
                }
            if isGone { disk.put(path, nil) }
        }
        let before = disk.files()
        for repository in [try open(), live] {
            try repository.refresh()
            #expect(repository.failures.count == 1)
            #expect(repository.failures.first?.message.hasPrefix(path(1)) == true)
            #expect(throws: Failure.self) { try repository.lock(collection: "shop") }
        }
        // What was read stays known.
        #expect(live.collection("shop")?.points.count == 5)
        for (path, bytes) in before { #expect(disk.files()[path] == bytes) }
        let said = try repair()
        #expect(said.first?.contains("no copy has it") == isJournaled, "\(said)")
        if isJournaled {
            #expect(try shop(open()).lostPoints.map(\.name) == ["A", "B", "C", "D", "E"])
            let lock = try open().lock(collection: "shop")
            try lock.append(.define(definition("shop")))
            try lock.removeUnneeded()
            for (path, bytes) in before { #expect(disk.files()[path] == bytes) }
            return
        }
        #expect(try repair(from: copy).count == 1)
        #expect(try shop(open()).points.map(\.name) == ["A", "B", "C", "D", "E"])
        #expect(try open().failures.isEmpty)
    }

    @Test func `A log that is gone is taken from a catalog`() throws {
        var often = options
        often.catalogInterval = 1
        do {
            let lock = try Repository.open(storage, options: often).lock(collection: "shop")
            for _ in 0..<100 { try lock.append(.define(definition("shop"))) }
            try lock.writeCatalogIfDue()
            try lock.append(.point(try nextPoint(lock, name: "F")))
        }
        try journal(["A", "F"])
        for path in disk.files().keys where path.hasPrefix(log) { disk.put(path, nil) }
        let said = try repair()
        #expect(said.first?.contains("has what it said up to entry 107") == true, "\(said)")
        #expect(said.last?.contains("F") == true)
        let state = try shop(open())
        #expect(state.points.map(\.name) == ["A", "B", "C", "D", "E"])
        #expect(state.lostPoints.map(\.name) == ["F"])
        #expect(try open().reread(collection: "shop").state?.points.count == 5)
        #expect(try open().reread(collection: "shop").damage == nil)
        #expect(throws: Never.self) { try open().lock(collection: "shop") }
    }

    @Test func `A log whose beginning is gone keeps its end`() throws {
        do {
            let lock = try open().lock(collection: "shop")
            for _ in 0..<100 { try lock.append(.define(definition("shop"))) }
            try lock.append(.point(try nextPoint(lock, kind: .full, name: "F")))
        }
        let end = disk.files().filter { $0.key.hasPrefix(log) && $0.key > log + "/0000000090" }
        for path in disk.files().keys where path.hasPrefix(log) && path < log + "/0000000090" {
            disk.put(path, nil)
        }
        let said = try repair()
        #expect(said.count == 1 && said[0].contains("its loss is recorded"), "\(said)")
        for (path, bytes) in end { #expect(disk.files()[path] == bytes) }
        #expect(try shop(open()).points.map(\.name) == ["F"])
    }

    @Test func `An entry that can't be read for lack of permission isn't recorded as lost`() throws
    {
        disk.refuseReading(path(3), EACCES)
        let plan = try open().repairLogs(from: nil)
        #expect(plan.steps.isEmpty && plan.hopeless.count == 1)
    }
}
