import Bytes
import Engine
import Foundation
import Repository
import Tables
import TestSupport
import Testing
import Volume

/// Points that are dropped, had back, pinned and pruned: what stays is what it was.
@Suite struct RetentionTests {
    /// A shop on a clock of its own, and what each of its points showed when it was made.
    final class Story {
        let shop: Shop
        let clock = TestClock(1_767_225_600_000_000)
        var settings = Settings()
        private(set) var product: Product
        private(set) var contents: [String: [String: [UInt8]]] = [:]
        private var salt = 0

        var tree: DirectTree { product.tree }

        init(_ with: String = "", _ change: (inout Settings) -> Void = { _ in }) throws {
            shop = try Shop(rows: 40)
            settings.limits = Settings.tiny
            settings.testClock = clock
            settings.catalogInterval = 5
            change(&settings)
            product = try Product(shop.database, settings)
            try create(with)
        }

        deinit { product.close() }

        func create(_ with: String = "") throws {
            let settings = with.isEmpty ? "" : ", " + with
            try tree.write(
                "control",
                Shop.create.replacing("'true' )", with: "'true'\(settings) )"))
        }

        /// The same repository, as another process finds it.
        func reopen() throws {
            product.close()
            product = try Product(shop.database, settings)
        }

        private func change() throws {
            salt += 1
            try shop.change(oneIn: 5, salt: salt)
            if salt % 3 == 0 { try shop.add(7) }
            if salt % 4 == 0 {
                try shop.run("UPDATE \"sub/products\" SET price = \(salt) WHERE sku = 'fig'")
            }
        }

        /// Changes the tables, by these statements if there are some, takes a point, and remembers it.
        /// Answers its name.
        @discardableResult
        func backup(
            _ kind: String = "incremental", hours: Int64 = 1, changes: String? = nil
        ) throws -> String {
            clock.advance(seconds: hours * 3_600)
            if let changes { try shop.run(changes) } else { try change() }
            let point = String(try tree.backup(kind, of: "shop").dropFirst("shop/".count))
            contents[point] = try content(point)
            let orders = try String(
                decoding: tree.read("shop/\(point)/orders.csv"), as: UTF8.self)
            let rows = try sqlite("SELECT count(*) FROM orders", on: shop.database)
            #expect("\(orders.count { $0 == "\n" } - 1)\n" == rows)
            return point
        }

        func content(_ point: String) throws -> [String: [UInt8]] {
            var files: [String: [UInt8]] = [:]
            for file in try tree.files(below: "shop/" + point) { files[file] = try tree.read(file) }
            return files
        }

        var points: [String] {
            get throws { try tree.list("shop").filter { $0.first == "2" }.sorted() }
        }

        var state: CollectionState { product.engine.collection("shop")! }

        func alter(_ what: String, _ point: String) throws {
            try tree.write(
                "control", "ALTER BACKUP COLLECTION shop \(what) BACKUP '\(point)'\n")
        }

        /// Every point there is shows what it showed when it was made.
        func check(_ what: Comment, at location: SourceLocation = #_sourceLocation) throws {
            for point in try points {
                let now = try content(point)
                #expect(now == contents[point], "\(what): \(point)", sourceLocation: location)
            }
        }

        /// Names of the data files on disk.
        var dataFiles: Set<String> {
            get throws {
                let collections = product.location + "/collections"
                let id = try FileManager.default.contentsOfDirectory(atPath: collections)[0]
                return try Set(
                    FileManager.default.contentsOfDirectory(atPath: "\(collections)/\(id)/data"))
            }
        }
    }

    @Test func `any point can be dropped, the full too, and no other is harmed`() throws {
        for victim in 0..<5 {
            let story = try Story("KEEP_DROPPED = '0s'") { $0.removalDelay = 0 }
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
        let story = try Story("KEEP_DROPPED = '24h'")
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

    @Test func `what must not be dropped is refused`() throws {
        let story = try Story()
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
        let story = try Story("KEEP_LAST = '2', KEEP_DAILY = '2'")
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

    @Test func `an open file is read to its end though its point is gone`() throws {
        let story = try Story("KEEP_DROPPED = '0s'") {
            $0.removalDelay = 0
            $0.cacheBytes = 1 << 10
        }
        let full = try story.backup("full")
        for _ in 0..<3 { try story.backup() }
        let last = try story.backup()
        try story.backup("full")
        let volume = story.product.volume
        var open: [(name: String, inode: Inode, handle: UInt64)] = []
        for name in ["orders.csv", "orders.parquet"] {
            for point in [full, last] {
                var inode = Inode(1)
                for part in ["shop", point, name] {
                    inode = try volume.lookup(part, in: inode).attributes.inode
                }
                let handle = try volume.open(
                    inode, mode: .read, caller: Caller(uid: 0, gid: 0, pid: 1)
                ).handle
                open.append(("shop/\(point)/\(name)", inode, handle))
            }
        }
        let names = try story.points
        for name in names.dropLast() { try story.alter("DROP", name) }
        #expect(
            try story.dataFiles.filter { !$0.hasSuffix(".cat") }.count == story.state.files.count)
        for (name, inode, handle) in open {
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
                errno { _ = try volume.open(inode, mode: .read, caller: story.tree.caller) }
                    == ESTALE)
            volume.release(handle)
        }
        try story.check("the others")
    }

    @Test func `a dropped collection comes back within its time, then its files go`() throws {
        let story = try Story("KEEP_DROPPED = '2h'") { $0.removalDelay = 0 }
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
        let data = "\(story.product.location)/collections/\(repository.collectionID("shop"))/data"
        let left = try FileManager.default.contentsOfDirectory(atPath: data)
        #expect(left.filter { !$0.hasSuffix(".cat") } == [])
        try story.create()
        #expect(errno { try story.alter("UNDROP", full) } == ENOENT)
    }

    @Test(arguments: 0..<12)
    func `random policies over random chains: every point kept is what it was`(
        _ seed: UInt64
    ) throws {
        var random = SeededGenerator(seed: seed)
        let rules = ["LAST", "HOURLY", "DAILY", "WEEKLY", "MONTHLY"].filter { _ in
            random.chance(50)
        }.map { "KEEP_\($0) = '\(1 + random.below(4))'" }
        let within = random.chance(30) ? ["KEEP_WITHIN = '\(1 + random.below(3))d'"] : []
        let kept = ["0s", "3h", "2d"].randomElement(using: &random)!
        let story = try Story(
            (rules + within + ["KEEP_DROPPED = '\(kept)'"]).joined(separator: ", ")
        ) {
            $0.removalDelay = [0, 10].randomElement(using: &random)!
            $0.captureAbove = [0, 200_000].randomElement(using: &random)!
            $0.limits.rebaseMinEdits = random.below(8)
            $0.limits.maxRuns = 1 + random.below(4)
        }
        let hours: [Int64] = [1, 1, 5, 24, 100]
        try story.backup("full")
        for step in 0..<20 {
            let what: Comment = "seed \(seed), step \(step)"
            let name = try story.points.randomElement(using: &random)!
            let before = try story.points
            switch random.below(12) {
            case 0, 1: try? story.alter("DROP", name)
            case 2:
                if let gone = story.state.droppedPoints.randomElement(using: &random) {
                    try? story.alter("UNDROP", gone.name)
                }
            case 3: try story.alter(random.chance(50) ? "PIN" : "UNPIN", name)
            case 4: _ = try? story.tree.run("PRUNE", in: "shop")
            case 5: try story.reopen()
            case 6: try story.backup("full", hours: hours.randomElement(using: &random)!)
            default:
                try story.backup(hours: hours.randomElement(using: &random)!)
            }
            try story.check(what)
            #expect(try !story.points.isEmpty, what)
            for point in story.state.points where point.isPinned {
                #expect(try story.points.contains(point.name), what)
            }
            #expect(try story.points.contains(before.last!) || before.count > 1, what)
            #expect(story.state.neededFiles.isSubset(of: Set(story.state.files.keys)), what)
        }
        try story.reopen()
        try story.check("seed \(seed), at the end")
        let point = try story.points.randomElement(using: &random)!
        let line = try story.tree.run(
            "RESTORE AT '\(point)' ( TABLE orders AS restored )", in: "shop")
        #expect(line.hasPrefix("done "), "seed \(seed): \(line)")
        let rows = try sqlite("SELECT count(*) FROM restored", on: story.shop.database)
        let csv = String(
            decoding: story.contents[point]!["shop/\(point)/orders.csv"]!, as: UTF8.self)
        #expect(rows == "\(csv.count { $0 == "\n" } - 1)\n", "seed \(seed)")
    }
}
