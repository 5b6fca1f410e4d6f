import Bytes
import Engine
import Foundation
import Repository
import Synchronization
import Tables
import TestSupport
import Testing
import Volume

/// Points that are dropped, had back, pinned and pruned: what stays is what it was.
@Suite struct RetentionTests {
    @Test func `any point can be dropped, the full too, and no other is harmed`() throws {
        for victim in 0..<5 {
            let story = try RetentionStory("KEEP_DROPPED = '0s'") { $0.removalDelay = 0 }
            var points = [try story.backup("full")]
            for _ in 0..<4 { points.append(try story.backup()) }
            let before = try story.dataFiles
            try story.alter("DROP", points.remove(at: victim))
            #expect(try story.points == points)
            try story.check("dropped \(victim)")
            // The run of a later point isn't needed by anybody else.
            if victim == 4 { #expect(try story.dataFiles.isStrictSubset(of: before)) }
            points.append(try story.backup())
            points.append(try story.backup("full"))
            points.append(try story.backup())
            try story.check("dropped \(victim), later")
            #expect(try story.points == points)
            try story.reopen()
            try story.check("dropped \(victim), opened again")
            // The old chain goes but for its first point.
            for point in points.dropFirst().prefix(4) { try story.alter("DROP", point) }
            try story.check("dropped \(victim) and most others")
            let files = Set(story.state.files.values.map(\.name))
            #expect(try story.dataFiles.filter { !$0.hasSuffix(".cat") } == files)
        }
    }

    @Test func `a dropped point comes back as long as KEEP_DROPPED says`() throws {
        let story = try RetentionStory("KEEP_DROPPED = '24h'")
        let full = try story.backup("full")
        let second = try story.backup()
        let third = try story.backup()
        try story.alter("DROP", third)
        #expect(errno { _ = try story.tree.list("shop/" + third) } == ENOENT)
        #expect(try story.tree.text("shop/status").contains("dropped \(third)"))
        // The next one continues the second point, and has its own changes to find.
        let fourth = try story.backup()
        #expect(try story.tree.text("shop/chain").contains("\(fourth) "))
        #expect(story.state.newest?.parentName == second)
        try story.check("the third is dropped")
        try story.alter("UNDROP", third)
        #expect(try story.points == [full, second, third, fourth])
        try story.check("the third is back")
        try story.backup()
        try story.check("and one more is there")
        try story.reopen()
        try story.check("opened again")

        try story.alter("DROP", third)
        try story.backup("incremental", hours: 23)
        try story.alter("UNDROP", third)
        try story.check("back after 23 hours")
        try story.alter("DROP", third)
        try story.backup("incremental", hours: 25)
        #expect(errno { try story.alter("UNDROP", third) } == ENOENT)
        try story.check("gone for good")
        try story.reopen()
        try story.check("gone for good, opened again")
    }

    @Test func `one jump of the clock ends the time of no dropped point`() throws {
        let story = try RetentionStory("KEEP_DROPPED = '24h'")
        try story.backup("full")
        let second = try story.backup()
        try story.backup()
        try story.alter("DROP", second)
        let years: Int64 = 12 * 365 * 86_400
        story.clock.advance(seconds: years)
        try story.backup()
        story.clock.advance(seconds: -years)
        try story.alter("UNDROP", second)
        try story.check("it is back")
    }

    @Test func `a clock that stays ahead is believed`() throws {
        let story = try RetentionStory("KEEP_DROPPED = '24h'")
        try story.backup("full")
        let second = try story.backup()
        try story.alter("DROP", second)
        try story.backup("incremental", hours: 12 * 365 * 24)
        #expect(story.state.droppedPoint(named: second) != nil)
        try story.backup("incremental", hours: 2)
        #expect(errno { try story.alter("UNDROP", second) } == ENOENT)
        try story.check("it is gone for good")
    }

    @Test func `what must not be dropped is refused`() throws {
        let story = try RetentionStory()
        let full = try story.backup("full")
        #expect(errno { try story.alter("DROP", full) } == EBUSY)
        #expect(try story.tree.text("errors").contains("is the only point left"))
        #expect(errno { try story.alter("DROP", "20200101000000Z_full") } == ENOENT)
        try story.backup()
        try story.alter("PIN", full)
        #expect(try story.tree.text("shop/chain").contains("pinned"))
        #expect(errno { try story.alter("DROP", full) } == EBUSY)
        #expect(try story.tree.text("errors").contains("is pinned"))
        #expect(
            errno { try story.tree.write("shop/control", "PRUNE WITH (dry_run = true)\n") }
                == EINVAL)
        #expect(try story.tree.text("errors").contains("has no KEEP_ setting"))
        try story.reopen()
        #expect(errno { try story.alter("DROP", full) } == EBUSY)
        try story.alter("UNPIN", full)
        try story.alter("DROP", full)
        try story.alter("DROP", full)
        #expect(errno { try story.alter("PIN", full) } == ENOENT)
    }

    @Test func `PRUNE says why each point stays or goes, a dry run drops nothing`() throws {
        let story = try RetentionStory("KEEP_LAST = '2', KEEP_DAILY = '2'")
        // Applied after each backup too: of many hours of three days few stay.
        var names: [String] = [try story.backup("full", hours: 1)]
        for _ in 0..<60 { names.append(try story.backup("incremental", hours: 1)) }
        #expect(try story.points.count == 3)
        try story.check("after 61 hours")
        let pinned = try #require(try story.points.first)
        try story.alter("PIN", pinned)
        for _ in 0..<24 { names.append(try story.backup()) }
        #expect(try story.points.count == 4)
        let dropped = try #require(story.state.droppedPoints.last?.name)
        try story.alter("UNDROP", dropped)
        try story.tree.run("PRUNE WITH (dry_run = true)", in: "shop")
        let plan = try story.tree.text("shop/operation/progress")
        #expect(plan.contains("note keep \(pinned): pinned\n"))
        #expect(plan.contains("note drop \(dropped): no rule keeps it\n"))
        #expect(plan.contains("note keep \(names.last!): last, daily\n"))
        #expect(plan.contains("note 1 of 5 points would be dropped\n"))
        #expect(try story.points.contains(dropped))
        try story.tree.run("PRUNE", in: "shop")
        #expect(try !story.points.contains(dropped))
        #expect(
            try story.tree.text("shop/operation/progress").contains("note 1 of 5 points dropped"))
        try story.check("pruned")
    }

    @Test func `while PRUNE waits for readers others may write, and it removes what it condemned`()
        throws
    {
        let others = Mutex<(@Sendable () -> Void)?>(nil)
        let story = try RetentionStory("KEEP_DROPPED = '0h'") { settings in
            let clock = settings.testClock!
            settings.pause = { seconds in
                if seconds == 10 { others.withLock { $0 }?() }
                clock.advance(seconds: Int64(seconds))
            }
        }
        for _ in 0..<3 { try story.backup("full") }
        let names = try story.points
        try story.alter("DROP", names[0])
        let (database, clock) = (story.shop.database, story.clock)
        let backups = Mutex<[String]>([])
        var settings = story.settings
        settings.pause = nil
        let other = settings
        others.withLock {
            $0 = {
                // Another process, as far as locks go.
                clock.advance(seconds: 3)
                guard let product = try? Product(database, other) else { return }
                let line = (try? product.tree.run("full", in: "shop")) ?? ""
                backups.withLock { $0.append(line) }
                product.close()
            }
        }
        let before = try story.dataFiles
        let line = try story.tree.run("PRUNE", in: "shop")
        #expect(line.hasPrefix("done "), "\(line)")
        #expect(backups.withLock { $0.map { $0.hasPrefix("done point=") } } == [true])
        let prune = try #require(story.product.engine.operations.last { $0.kind == "prune" })
        let notes = prune.status.notes.joined(separator: "\n")
        #expect(notes.contains("0 of 2 points dropped, "), "\(notes)")
        #expect(!notes.contains(", 0 files of 0 bytes removed"), "\(notes)")
        #expect(try story.points.count == 3)
        let gone = try before.subtracting(story.dataFiles).filter { !$0.hasSuffix(".cat") }
        #expect(!gone.isEmpty)
        let files = Set(story.state.files.values.map(\.name))
        #expect(try story.dataFiles.filter { !$0.hasSuffix(".cat") } == files)
        for name in names.dropFirst() {
            let now = try story.content(name)
            #expect(now == story.contents[name], "\(name)")
        }
        let verify = try story.tree.run("VERIFY", in: "shop")
        #expect(verify.hasPrefix("done "), "\(verify)")
    }

    @Test
    func `a PRUNE that is cancelled while it waits removes nothing, and the next one goes on`()
        throws
    {
        let cancels = Mutex<(@Sendable () -> Void)?>(nil)
        let story = try RetentionStory("KEEP_DROPPED = '0h'") { settings in
            settings.pause = { if $0 == 10 { cancels.withLock { $0 }?() } }
        }
        for _ in 0..<3 { try story.backup("full") }
        try story.alter("DROP", story.points[0])
        let engine = story.product.engine
        cancels.withLock { $0 = { engine.operations.last?.cancel() } }
        let before = try story.dataFiles
        let line = try story.tree.run("PRUNE", in: "shop")
        #expect(line == "cancelled: on request")
        #expect(try story.dataFiles.isSuperset(of: before))
        cancels.withLock { $0 = nil }
        let again = try story.tree.run("PRUNE", in: "shop")
        #expect(again.hasPrefix("done "), "\(again)")
        #expect(try !story.dataFiles.isSuperset(of: before))
    }

    @Test func `an open file is read to its end though its point is gone`() throws {
        let story = try RetentionStory("KEEP_DROPPED = '0s'") {
            $0.removalDelay = 0
            $0.cacheBytes = 1 << 10
        }
        let full = try story.backup("full")
        for _ in 0..<3 { try story.backup() }
        let last = try story.backup()
        try story.backup("full")
        let volume = story.product.volume
        var open: [(name: String, node: NodeID, handle: UInt64)] = []
        for name in ["orders.csv", "orders.parquet"] {
            for point in [full, last] {
                var node = NodeID(1)
                for part in ["shop", point, name] {
                    node = try volume.lookup(part, in: node).get().node
                }
                let handle = try volume.open(
                    node, mode: .read, caller: Caller(uid: 0, gid: 0, pid: 1)
                ).get().handle
                open.append(("shop/\(point)/\(name)", node, handle))
            }
        }
        let names = try story.points
        for name in names.dropLast() { try story.alter("DROP", name) }
        #expect(
            try story.dataFiles.filter { !$0.hasSuffix(".cat") }.count == story.state.files.count)
        for (name, node, handle) in open {
            let content = ByteBuffer()
            while true {
                let piece = ByteBuffer()
                try volume.read(handle, at: UInt64(content.count), count: 100, into: piece)
                if piece.count == 0 { break }
                content.append(piece, from: 0, count: piece.count)
            }
            let point = String(name.split(separator: "/")[1])
            let expected = story.contents[point]?[name]
            #expect(content.withBytes { [UInt8]($0[0..<content.count]) } == expected, "\(name)")
            #expect(
                errno { _ = try volume.open(node, mode: .read, caller: story.tree.caller).get() }
                    == ESTALE)
            volume.release(handle)
        }
        try story.check("the others")
    }

    @Test func `a dropped collection comes back within its time, then its files go`() throws {
        let story = try RetentionStory("KEEP_DROPPED = '2h'") { $0.removalDelay = 0 }
        let full = try story.backup("full")
        let second = try story.backup()
        let files = try story.dataFiles
        try story.tree.write("control", "DROP BACKUP COLLECTION shop\n")
        #expect(errno { _ = try story.tree.list("shop") } == ENOENT)
        #expect(try story.dataFiles.isSuperset(of: files))
        try story.create("KEEP_DROPPED = '2h'")
        try story.alter("UNDROP", second)
        try story.check("back")
        // Continues what there is, although the collection was away.
        let third = try story.backup()
        #expect(try story.points == [second, third])
        try story.alter("UNDROP", full)
        try story.check("all back")
        try story.tree.write("control", "DROP BACKUP COLLECTION shop\n")
        story.clock.advance(seconds: 7_300)
        // Whatever is done next, to whichever collection.
        try story.tree.write(
            "control",
            "CREATE BACKUP COLLECTION other ( TABLE orders ) WITH ( STORAGE = 'cluster' )\n")
        _ = try story.tree.backup("full", of: "other")
        let repository = try #require(story.product.engine.repository)
        #expect(repository.droppedCollections.allSatisfy { $0.droppedPoints.isEmpty })
        let id = repository.collectionID("shop")
        let location = story.product.location
        let left = try check("find $1/collections/$2/data $1/tables/$2 -mindepth 1", location, id)
        #expect(left.split(separator: "\n").filter { !$0.hasSuffix(".cat") } == [])
        try story.create()
        #expect(errno { try story.alter("UNDROP", full) } == ENOENT)
    }
}
