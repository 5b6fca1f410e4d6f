import Bytes
import Engine
import Foundation
import Repository
import SQLiteSource
import Tables
import TestSupport
import Testing

/// Every call by which an operation writes to the repository is a place to die at, to be refused at,
/// to find no room at: what was there before is left, or what the operation makes, never a third.
@Suite struct EngineCrashTests {
    /// An operation, and a repository before it.
    struct Story: CustomTestStringConvertible {
        var testDescription: String
        /// What is done to a collection of a full and three incrementals; `POINT` is the second one.
        var before: String?
        var statement: String

        static let all = [
            Story(testDescription: "full", statement: "BACKUP shop"),
            Story(testDescription: "incremental", statement: "BACKUP shop INCREMENTAL"),
            Story(
                testDescription: "drop a point",
                statement: "ALTER BACKUP COLLECTION shop DROP BACKUP 'POINT'"),
            Story(
                testDescription: "prune",
                before: "ALTER BACKUP COLLECTION shop SET (KEEP_LAST = '2')",
                statement: "PRUNE shop"),
            Story(testDescription: "compact", statement: "COMPACT shop"),
            Story(testDescription: "drop all", statement: "DROP BACKUP COLLECTION shop"),
        ]
    }

    /// A database, a disk with its backups, and what each point has to show.
    struct Stage {
        let scratch: Scratch
        var disk = SimulatedDisk()
        var time: Int64 = 1_767_225_600_000_000
        var contents: [String: [String: String]] = [:]
        /// The tables as they are now.
        var now: [String: String] = [:]

        init(_ scratch: Scratch) { self.scratch = scratch }
    }

    /// An engine over a stage's disk, and over a copy of its database.
    final class Life {
        let engine: Engine
        let clock: TestClock
        let database: String

        init(_ stage: Stage, _ disk: SimulatedDisk, database: String) throws {
            self.database = database
            clock = TestClock(stage.time)
            let clock = clock
            var options = Engine.Options()
            options.repository.pause = { _, _ in }
            options.limits = .tiny
            options.repository.catalogInterval = 3
            options.repository.removalDelay = 0
            options.repository.now = { clock.microseconds }
            // A full's three files are made durable together, an incremental's one by one.
            options.storage = { DirectoryStorage($0.description, calls: disk, fewFiles: 2) }
            engine = try Engine(
                location: .directory("/r/p"),
                database: Engine.Database(path: "/Root/database") { _ in
                    ClockedSource(try SQLiteSource(path: database), clock)
                }, cache: SharedCache(maxBytes: 1 << 20), options: options)
        }

        deinit { engine.close() }

        /// Carries a statement out; answers how it ended.
        func run(_ statement: String) -> (isDone: Bool, error: String?) {
            do {
                let status = try engine.submit(Statement.parse(statement), owner: 0).last!.wait()
                return (status.state == .done, status.error)
            } catch {
                return (false, "refused: \(error)")
            }
        }

        func expectDone(_ statement: String, _ what: Comment) {
            let (isDone, error) = run(statement)
            #expect(isDone, "\(what): \(statement): \(error ?? "")")
        }

        var points: [String] { engine.collection("shop")?.points.map(\.name) ?? [] }

        /// Every table at a point, as CSV.
        func contents(_ point: String) throws -> [String: String] {
            let state = try #require(engine.collection("shop"))
            let sequence = try #require(state.point(named: point)).sequence
            var found: [String: String] = [:]
            for table in state.tables(at: sequence) {
                let file = CSVFile(engine.snapshot(table, of: state))
                var (text, offset) = ("", UInt64(0))
                while let part = try file.part(at: offset) {
                    let bytes = try file.render(part, isSequential: false)
                    text += bytes.withBytes { String(decoding: $0, as: UTF8.self) }
                    offset += part.bytes
                }
                #expect(offset == table.sizes["csv"])
                found[table.path] = text
            }
            return found
        }
    }

    // MARK: The stage

    private static let create = """
        CREATE BACKUP COLLECTION shop ( TABLE orders, TABLE products )
        WITH ( STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true', KEEP_LAST = '50',
               KEEP_DROPPED = '0s' )
        """

    /// The tables as SQLite itself tells them.
    private static func tables(_ database: String) throws -> [String: String] {
        let text = try sqlite(
            """
            SELECT id || ',' || item || ',' || amount FROM orders ORDER BY id;
            SELECT '-';
            SELECT sku || ',' || price FROM products ORDER BY rowid;
            """, on: database)
        let parts = text.split(separator: "-\n", omittingEmptySubsequences: false)
        return ["orders": "id,item,amount\n" + parts[0], "products": "sku,price\n" + parts[1]]
    }

    private func makeStage(_ story: Story) throws -> Stage {
        var stage = Stage(try Scratch())
        let database = stage.scratch / "database.db"
        try sqlite(
            """
            CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT, amount INTEGER);
            CREATE TABLE products (sku TEXT PRIMARY KEY NOT NULL, price INTEGER);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 40)
            INSERT INTO orders SELECT i, 'item ' || i * 7919 % 97, i % 13 FROM n;
            INSERT INTO products VALUES ('apple', 3), ('fig', 4), ('pear', 5);
            """, on: database)
        let life = try Life(stage, stage.disk, database: database)
        life.expectDone(Self.create, "at the start")
        for round in 0..<4 {
            life.clock.advance(seconds: 3_600)
            life.expectDone(round == 0 ? "BACKUP shop" : "BACKUP shop INCREMENTAL", "at the start")
            stage.contents[life.points.last!] = try Self.tables(database)
            try sqlite(
                """
                UPDATE orders SET amount = amount + 1 WHERE id % 7 = \(round);
                DELETE FROM orders WHERE id % 11 = \(round);
                INSERT INTO orders(item, amount) VALUES ('new', \(round)), ('newer', \(round));
                UPDATE products SET price = \(round) WHERE sku = 'fig' AND \(round) % 2 = 0;
                """, on: database)
        }
        if let before = story.before { life.expectDone(before, "at the start") }
        life.clock.advance(seconds: 3_600)
        stage.time = life.clock.microseconds
        stage.now = try Self.tables(database)
        return stage
    }

    // MARK: Lives

    /// What an undisturbed run makes of the stage.
    struct Plot {
        let statement: String
        let old: [String]
        let new: [String]
        /// Calls of it that write, and of all kinds.
        let changes: Range<Int>
        let calls: Range<Int>
    }

    private func rehearse(_ story: Story, _ stage: inout Stage) throws -> Plot {
        let disk = stage.disk.survivor(.none)
        let life = try begin(stage, disk)
        let old = life.points
        let statement = story.statement.replacing("POINT", with: old[1])
        let before = (disk.changes, disk.calls)
        life.expectDone(statement, "undisturbed")
        let new = life.points
        #expect(new != old)
        for point in new where stage.contents[point] == nil {
            // COMPACT shows what the newest point showed.
            let isCompacted = statement.hasPrefix("COMPACT")
            stage.contents[point] = isCompacted ? stage.contents[old.last!] : stage.now
        }
        for point in new { #expect(try life.contents(point) == stage.contents[point]) }
        return Plot(
            statement: statement, old: old, new: new, changes: before.0 + 1..<disk.changes + 1,
            calls: before.1 + 1..<disk.calls + 1)
    }

    private func begin(_ stage: Stage, _ disk: SimulatedDisk) throws -> Life {
        let copy = stage.scratch / UUID().uuidString
        try FileManager.default.copyItem(atPath: stage.scratch / "database.db", toPath: copy)
        return try Life(stage, disk, database: copy)
    }

    /// What is there is the old or the new state, the new one if `isDone`; all of it reads; and the
    /// next operations succeed and leave nothing behind.
    private func check(
        _ life: Life, _ disk: SimulatedDisk, _ plot: Plot, _ stage: Stage, isDone: Bool,
        _ what: Comment
    ) throws {
        // An error may hide that the log has the entry already.
        try life.engine.refresh()
        let points = life.points
        #expect(points == plot.new || (!isDone && points == plot.old), what)
        for point in points {
            #expect(try life.contents(point) == stage.contents[point], "\(what): \(point)")
        }
        life.clock.advance(seconds: 3_600)
        if life.engine.collection("shop") == nil {
            life.expectDone(Self.create, what)
            life.expectDone("BACKUP shop", what)
        }
        life.expectDone("BACKUP shop INCREMENTAL", what)
        life.expectDone("PRUNE shop", what)
        life.expectDone("VERIFY shop WITH (level = hashes)", what)
        let newest = try #require(life.points.last)
        #expect(try life.contents(newest) == stage.now, what)
        let state = try #require(life.engine.collection("shop"))
        let named = state.files.values.map(\.name) + state.catalogs.map(\.reference.name)
        let found = disk.files().keys.filter { $0.contains("/data/") || $0.contains("/tables/") }
            .map { String($0.split(separator: "/").last!) }
        #expect(Set(found) == Set(named), what)
    }

    /// The statement with a fault in it; answers whether it said that it is done.
    private func live(_ plot: Plot, _ stage: Stage, _ disk: SimulatedDisk) throws -> (Life, Bool) {
        let life = try begin(stage, disk)
        return (life, life.run(plot.statement).isDone)
    }

    // MARK: Tests

    @Test(arguments: Story.all)
    func `killed wherever it writes, the old or the new state is left`(_ story: Story) throws {
        var stage = try makeStage(story)
        let plot = try rehearse(story, &stage)
        var outcomes: Set<[String]> = []
        for change in plot.changes {
            let disk = stage.disk.survivor(.none)
            disk.fail(atChange: change, .kill)
            let (life, isDone) = try live(plot, stage, disk)
            life.engine.close()
            for cut in SimulatedDisk.PowerCut.allCases {
                let survivor = disk.survivor(cut, seed: UInt64(change))
                let next = try Life(stage, survivor, database: life.database)
                outcomes.insert(next.points)
                try check(
                    next, survivor, plot, stage, isDone: isDone, "change \(change), \(cut)")
            }
        }
        #expect(outcomes == [plot.old, plot.new])
    }

    @Test(arguments: Story.all, [EIO, ENOSPC])
    func `refused wherever it writes, the old or the new state is left`(
        _ story: Story, _ number: Int32
    ) throws {
        var stage = try makeStage(story)
        let plot = try rehearse(story, &stage)
        // Two of three each, so that the tests take seconds.
        for change in plot.changes where change % 3 != (number == EIO ? 0 : 1) {
            let disk = stage.disk.survivor(.none)
            disk.fail(atChange: change, .error(number))
            try checkRefused(plot, stage, disk, "change \(change)")
        }
    }

    @Test(arguments: Story.all)
    func `what can't be read fails an operation, and nothing else`(_ story: Story) throws {
        var stage = try makeStage(story)
        let plot = try rehearse(story, &stage)
        for call in stride(from: plot.calls.lowerBound, to: plot.calls.upperBound, by: 11) {
            let disk = stage.disk.survivor(.none)
            disk.fail(at: call, .error(EIO))
            try checkRefused(plot, stage, disk, "call \(call)")
        }
    }

    /// The process goes on, or its power is cut.
    private func checkRefused(
        _ plot: Plot, _ stage: Stage, _ disk: SimulatedDisk, _ what: Comment
    ) throws {
        let (life, isDone) = try live(plot, stage, disk)
        disk.heal()
        let copy = life.database + ".copy"
        try FileManager.default.copyItem(atPath: life.database, toPath: copy)
        let survivor = disk.survivor(.unsyncedLost)
        try check(life, disk, plot, stage, isDone: isDone, what)
        try check(
            Life(stage, survivor, database: copy), survivor, plot, stage, isDone: isDone,
            "\(what), power cut")
    }
}
