import Bytes
import Engine
import Foundation
import Repository
import Synchronization
import TestSupport
import Testing
import Volume

/// `SKIP_UNCHANGED`: a run that finds nothing to do leaves nothing but the word that it looked.
@Suite struct UnchangedTests {
    private static func create(_ settings: String = "", members: String = "DATABASE") -> String {
        "CREATE BACKUP COLLECTION shop \(members) WITH ( STORAGE = 'cluster', "
            + "INCREMENTAL_BACKUP_ENABLED = 'true', SKIP_UNCHANGED = 'true'\(settings) )\n"
    }

    private let shop: Shop

    init() throws { shop = try Shop(rows: 30) }

    /// Of all that is stored but the journal and what may be lost: paths and sums.
    private var stored: String {
        get throws {
            try check(
                "cd \"$1\" && find tables collections/*/data collections/*/log -type f "
                    + "-exec sha256sum {} +", shop.database + ".backups")
        }
    }

    private func points(_ tree: any Tree) throws -> [String] {
        try tree.list("shop").filter { $0.first == "2" }.sorted()
    }

    @Test(arguments: ["auto", "scan"])
    func `an incremental that finds no change makes no point and leaves no file`(capture: String)
        throws
    {
        let product = try Product(shop.database)
        defer { product.close() }
        let tree = product.tree
        try tree.write("control", Self.create(", CAPTURE = '\(capture)'"))
        let full = try tree.backup("full", of: "shop").dropFirst("shop/".count)
        let before = try stored
        for _ in 0..<3 {
            let line = try tree.run("incremental", in: "shop")
            #expect(line.hasPrefix("done point=\(full) rows=0 bytes=0 "), "\(line)")
            let progress = try tree.text("shop/operation/progress")
            #expect(
                progress.contains("note nothing changed since \(full): no point was made\n"),
                "\(progress)")
        }
        let after = try stored
        #expect(before == after)
        #expect(try tree.text("shop/status").contains(" and found nothing changed\n"))
        // A full is a point whatever it finds, and what changed since is found by the next one.
        try shop.run("UPDATE orders SET amount = -1 WHERE id = 3")
        let second = try tree.backup("incremental", of: "shop").dropFirst("shop/".count)
        #expect(try points(tree) == [String(full), String(second)])
        let orders = try tree.text("shop/\(second)/orders.csv")
        #expect(orders.contains("\n3,0,-1.0,"), "\(orders)")
        #expect(try !tree.text("shop/status").contains("found nothing changed"))
        #expect(try tree.run("VERIFY WITH (level = source)", in: "shop").hasPrefix("done"))
    }

    @Test func `whatever differs makes a point, and where nobody asked each incremental does`()
        throws
    {
        let product = try Product(shop.database)
        defer { product.close() }
        let tree = product.tree
        try tree.write("control", Self.create())
        _ = try tree.backup("full", of: "shop")
        let changes = [
            "INSERT INTO orders(customer) VALUES ('new')", "DELETE FROM orders WHERE id = 1",
            "CREATE INDEX by_amount ON orders(amount)", "DROP INDEX by_amount",
            "CREATE TABLE more(id INTEGER PRIMARY KEY)", "DROP TABLE more",
            "CREATE VIEW names AS SELECT customer FROM orders", "DROP VIEW names",
            "PRAGMA user_version = 7", "ALTER TABLE orders ADD COLUMN extra TEXT",
            "CREATE TABLE odd(rowid TEXT, _rowid_ TEXT, oid TEXT)", "DROP TABLE odd",
        ]
        for (index, change) in changes.enumerated() {
            try shop.run(change)
            _ = try tree.run("incremental", in: "shop")
            #expect(try points(tree).count == index + 2, "\(change)")
            _ = try tree.run("incremental", in: "shop")
            #expect(try points(tree).count == index + 2, "\(change), looked at twice")
        }
        try tree.write("control", "ALTER BACKUP COLLECTION shop RESET (SKIP_UNCHANGED)\n")
        _ = try tree.backup("incremental", of: "shop")
        #expect(try points(tree).count == changes.count + 2)
        #expect(try tree.run("VERIFY WITH (level = source)", in: "shop").hasPrefix("done"))
    }

    @Test func `what was left out is left out aloud, each time`() throws {
        let product = try Product(shop.database)
        defer { product.close() }
        let tree = product.tree
        try shop.run("CREATE TABLE odd(rowid TEXT, _rowid_ TEXT, oid TEXT)")
        try tree.write("control", Self.create())
        #expect(try tree.run("full", in: "shop").contains(" incomplete=1 "))
        for _ in 0..<2 {
            #expect(try tree.run("incremental", in: "shop").contains(" incomplete=1 "))
        }
        #expect(try points(tree).count == 1)
    }

    @Test func `looks count as trust: an audit finds what they missed`() throws {
        let script = RangedSource.Script()
        var settings = Settings()
        settings.script = script
        settings.auditInterval = 4
        let product = try Product(shop.database, settings)
        defer { product.close() }
        let tree = product.tree
        try tree.write("control", Self.create(members: "( TABLE orders )"))
        _ = try tree.backup("full", of: "shop")
        script.lies = [.hidesUpdates("orders")]
        try shop.run("UPDATE orders SET amount = -1 WHERE id = 3")
        for _ in 0..<3 { _ = try tree.run("incremental", in: "shop") }
        #expect(try points(tree).count == 1)
        _ = try tree.run("incremental", in: "shop")
        #expect(try points(tree).count == 2)
        #expect(
            try tree.text("shop/operation/progress").contains(
                "1 changed rows would have been missed"))
    }

    @Test func `a schedule's idle runs count as taken, once each, also after a restart`() throws {
        let clock = Clock(.now)
        var settings = Settings()
        settings.clock = { clock.now }
        let product = try Product(shop.database, settings)
        try product.tree.write(
            "control", Self.create(", INCREMENTAL_EVERY = '10s'"))
        let anchor = Instant(
            microseconds: product.engine.collection("shop")!.definition!.time
        ).floorToSecond
        func at(_ seconds: Int64, _ product: Product) -> UInt64 {
            clock.set(Instant(seconds: anchor.seconds + seconds))
            product.engine.takeDueBackups()
            for operation in product.engine.operations where !operation.isForeign {
                _ = operation.wait()
            }
            return product.engine.operations.last!.id
        }
        let full = at(10, product)
        #expect(product.engine.collection("shop")!.points.count == 1)
        var last = full
        for run in 2...30 as ClosedRange<Int64> {
            let id = at(run * 10, product)
            #expect(id == last + 1)
            #expect(at(run * 10 + 1, product) == id)
            last = id
        }
        #expect(product.engine.collection("shop")!.points.count == 1)
        // Neither the journal nor the mount is full of them.
        let journal = try FileManager.default.contentsOfDirectory(
            atPath: product.location + "/operations")
        #expect(journal.count { $0.hasSuffix(".end.json") } == 3, "\(journal)")
        #expect(product.engine.operations.count == 3)
        product.close()
        let next = try Product(shop.database, settings)
        defer { next.close() }
        #expect(at(305, next) == last)
        #expect(at(310, next) == last + 1)
        try shop.run("DELETE FROM orders")
        _ = at(320, next)
        #expect(next.engine.collection("shop")!.points.count == 2)
    }

    private final class Clock: Sendable {
        private let time: Mutex<Instant>

        init(_ now: Instant) { time = Mutex(now) }

        var now: Instant { time.withLock(\.self) }
        func set(_ now: Instant) { time.withLock { $0 = now } }
    }
}
