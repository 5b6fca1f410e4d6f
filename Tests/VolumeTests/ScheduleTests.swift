import Bytes
import Engine
import Foundation
import Repository
import Synchronization
import Tables
import Testing
import Volume

/// `INCREMENTAL_EVERY` and `FULL_EVERY`, by a clock of our own.
@Suite struct ScheduleTests {
    private static let hour: Int64 = 3600
    private static let week: Int64 = 7 * 24 * hour

    /// A shop with a schedule, products of it, and the time that they go by.
    private final class Scheduled: Sendable {
        let shop: Shop
        let anchor: Instant
        let product: Product
        private let time: Time

        final class Time: Sendable {
            let now = Mutex(Instant.now)
        }

        init(_ schedule: String, gate: Gate? = nil) throws {
            shop = try Shop(rows: 10)
            time = Time()
            product = try Self.product(shop, time, gate)
            let create = Shop.create.replacingOccurrences(
                of: "'true' )", with: "'true'\(schedule) )")
            try product.tree.write("control", create)
            anchor =
                Instant(
                    microseconds: product.engine.collection("shop")!.definition!.time
                ).floorToSecond
        }

        private static func product(_ shop: Shop, _ time: Time, _ gate: Gate?) throws -> Product {
            var settings = Settings()
            settings.gate = gate
            settings.clock = { time.now.withLock(\.self) }
            return try Product(shop.database, settings)
        }

        func another() throws -> Product { try Self.product(shop, time, nil) }

        func set(_ seconds: Int64) {
            time.now.withLock { $0 = Instant(seconds: anchor.seconds + seconds) }
        }

        /// What is due so many seconds after the collection was made is taken by `product`.
        func at(_ seconds: Int64, _ other: Product? = nil) {
            set(seconds)
            let engine = (other ?? product).engine
            engine.takeDueBackups()
            for operation in engine.operations where !operation.isForeign { _ = operation.wait() }
        }

        /// Kinds and due times, in seconds after the collection was made, of all points.
        func points(_ other: Product? = nil) throws -> [String] {
            try (other ?? product).engine.refresh()
            return (other ?? product).engine.collection("shop")!.points.map { point in
                let due = point.uid.flatMap { Instant(pointName: String($0.dropFirst(9))) }
                return
                    "\(point.kind.rawValue) \(due.map { "\($0.seconds - anchor.seconds)" } ?? "-")"
            }
        }
    }

    private static let both = ", FULL_EVERY = '7d', INCREMENTAL_EVERY = '1h'"

    @Test func `runs are due at multiples of the period, and of missed ones the newest is taken`()
        throws
    {
        let test = try Scheduled(Self.both)
        defer { test.product.close() }
        for early in [-5, 0, 10, 3599] as [Int64] { test.at(early) }
        #expect(try test.points() == [])
        test.at(3600)
        test.at(3601)
        // An incremental is due first, but there is nothing yet for it to continue.
        #expect(try test.points() == ["full 3600"])
        test.at(2 * 3600 + 5)
        #expect(try test.points() == ["full 3600", "incremental 7200"])
        // Late by seven hours and half an hour: one run, and the next at the full hour again.
        test.at(10 * 3600 + 1800)
        test.at(10 * 3600 + 1801)
        test.at(11 * 3600)
        #expect(
            try test.points().dropFirst(2) == ["incremental 36000", "incremental 39600"])
        // One full does for both.
        test.at(Self.week + 7200 + 10)
        test.at(Self.week + 7200 + 11)
        test.at(Self.week + 3 * 3600)
        #expect(
            try test.points().dropFirst(4) == [
                "full \(Self.week + 7200)", "incremental \(Self.week + 3 * 3600)",
            ])
        // A clock that was wrong for a while, by years, changes nothing.
        test.at(-1_000_000)
        test.at(Self.week + 4 * 3600)
        #expect(try test.points().count == 7)
        test.at(500 * Self.week)
        test.at(Self.week + 5 * 3600)
        #expect(
            try test.points().dropFirst(7) == [
                "full \(500 * Self.week)", "incremental \(Self.week + 5 * 3600)",
            ])
        #expect(try test.product.tree.text("errors") == "")
    }

    @Test func `after a restart one missed run is caught up, and none is taken twice`() throws {
        let test = try Scheduled(Self.both)
        test.at(3600)
        test.product.close()
        for _ in 0..<2 {
            let next = try test.another()
            defer { next.close() }
            test.at(20 * 3600 + 59, next)
            #expect(try test.points(next) == ["full 3600", "incremental 72000"])
        }
        let later = try test.another()
        defer { later.close() }
        test.at(21 * 3600, later)
        #expect(try test.points(later).last == "incremental 75600")
        let status = try later.tree.text("shop/status")
        #expect(status.contains("full_every 7d next "))
        let next = Instant(seconds: test.anchor.seconds + 3600)
        #expect(status.contains("incremental_every 1h next \(next)\n"), "\(status)")
        let due = Instant(seconds: test.anchor.seconds + 21 * 3600)
        #expect(status.contains("_incremental due \(due)\n"), "\(status)")
    }

    @Test func `of several mounts one takes the backups, and when it ends another`() throws {
        let test = try Scheduled(", INCREMENTAL_EVERY = '1h'")
        let other = try test.another()
        defer { other.close() }
        func together(_ hours: ClosedRange<Int64>) throws {
            for hour in hours {
                test.set(hour * 3600)
                let threads = try [test.product, other, other, test.product].map { product in
                    try WorkerThread { test.at(hour * 3600, product) }
                }
                for thread in threads { thread.join() }
            }
        }
        try together(1...6)
        #expect(
            try test.points(other) == ["full 3600"] + (2...6).map { "incremental \($0 * 3600)" })
        test.product.close()
        test.at(6 * 3600, other)
        test.at(7 * 3600, other)
        test.at(8 * 3600, other)
        #expect(try test.points(other).suffix(3) == (6...8).map { "incremental \($0 * 3600)" })
        #expect(try other.tree.text("errors") == "")
    }

    @Test func `while the database is away runs fail, say so, and are tried when next due`() throws
    {
        let test = try Scheduled(Self.both)
        defer { test.product.close() }
        test.at(3600)
        try check("mv \"$1\" \"$1\".away; rm -f \"$1\"-wal \"$1\"-shm", test.shop.database)
        for second in 0..<5 as Range<Int64> { test.at(7200 + second) }
        let errors = try test.product.tree.text("errors")
        let due = Instant(seconds: test.anchor.seconds + 7200)
        #expect(errors.contains("the backup scheduled for \(due) was not taken: "), "\(errors)")
        #expect(errors.contains("No such file"))
        #expect(errors.components(separatedBy: "was not taken").count == 2)
        // It is an operation like those that began, and the next mount knows of it.
        let failed = try #require(test.product.engine.operations.last)
        #expect(failed.status.state == .failed && failed.kind == "incremental")
        let other = try test.another()
        defer { other.close() }
        let told = try other.tree.text("operations/\(failed.name)/error")
        #expect(told.hasPrefix("the backup scheduled for \(due) was not taken: "))
        try check("mv \"$1\".away \"$1\"", test.shop.database)
        test.at(7300)
        test.at(3 * 3600 - 1)
        #expect(try test.points() == ["full 3600"])
        test.at(3 * 3600)
        #expect(try test.points() == ["full 3600", "incremental 10800"])
    }

    @Test func `a run waits for what is at work, and tells if it couldn't begin at all`() throws {
        let gate = Gate()
        let test = try Scheduled(", FULL_EVERY = '1h'", gate: gate)
        defer {
            gate.open()
            test.product.close()
        }
        let other = try test.another()
        defer { other.close() }
        try test.product.tree.write("shop/control", "full\n")
        #expect(eventually { gate.waiting == 1 })
        // In the same process: it isn't even queued.
        test.set(3600)
        test.product.engine.takeDueBackups()
        #expect(test.product.engine.operations.count == 2)
        // In another one it is refused, and tried again.
        test.at(3600, other)
        test.at(3601, other)
        #expect(try other.tree.text("errors") == "")
        test.at(7200, other)
        #expect(try other.tree.text("errors").contains("was not taken: collection shop is being"))
        gate.open()
        #expect(try test.product.tree.text("operations/2/wait").hasPrefix("done"))
        test.at(7202, other)
        test.at(7203, other)
        #expect(try test.points(other) == ["full -", "full 7200"])
    }

    @Test func `ALTER sets and ends a schedule; what was due before isn't missed`() throws {
        let test = try Scheduled("")
        defer { test.product.close() }
        let tree = test.product.tree
        test.at(100 * 3600)
        #expect(try test.points() == [])
        usleep(1_200_000)
        try tree.write("control", "ALTER BACKUP COLLECTION shop SET (FULL_EVERY = '1s');")
        #expect(try tree.text("operations/latest/progress").contains("while it is mounted"))
        test.at(1)
        #expect(try test.points() == [])
        test.at(1000)
        #expect(try test.points() == ["full 1000"])
        try tree.write("control", "ALTER BACKUP COLLECTION shop RESET (FULL_EVERY);")
        test.at(2000)
        #expect(try test.points() == ["full 1000"])
        #expect(try !tree.text("shop/status").contains("_every"))
    }
}
