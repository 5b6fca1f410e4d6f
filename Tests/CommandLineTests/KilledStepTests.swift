import Foundation
import Testing

/// The program killed on entering each of its calls that make something durable, one after another:
/// the state of before or after it, never a third.
@Suite struct KilledStepTests {
    private let sandbox: Sandbox

    init() throws { sandbox = try Sandbox() }

    /// A database with what its backups need to be pruned and restored.
    private func makeBackups(_ settings: String) throws {
        try sandbox.sql(
            """
            CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT UNIQUE);
            CREATE TABLE lines (id INTEGER PRIMARY KEY, o INTEGER REFERENCES orders(id), n REAL);
            CREATE INDEX by_order ON lines(o);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 900)
            INSERT INTO orders SELECT i, 'item ' || i FROM n;
            INSERT INTO lines SELECT id, id, id / 8.0 FROM orders;
            """)
        try succeed(
            "CREATE BACKUP COLLECTION shop ( TABLE orders, TABLE lines ) WITH ( STORAGE = 'cluster', "
                + "INCREMENTAL_BACKUP_ENABLED = 'true', KEEP_DROPPED = '0s'\(settings) ); BACKUP shop"
        )
        for round in 1...3 {
            try sandbox.sql("UPDATE orders SET item = item || '+' WHERE id % 90 = \(round)")
            try succeed("BACKUP shop INCREMENTAL")
        }
    }

    private func succeed(_ statements: String, _ what: String = "") throws {
        let result = try sandbox.ydbfs("run", "database.db", statements)
        #expect(result.status == 0, "\(what) \(result.errors)")
    }

    /// Carries a statement out until its thread enters such a call for this time. False if it ended
    /// before.
    private func run(_ statement: String, killedAt call: String, _ number: Int) throws -> Bool {
        let result = try sandbox.run(
            "/usr/bin/strace",
            [
                "-f", "-qq", "-o", "/dev/null", "-e", "trace=\(call)", "-e",
                "inject=\(call):signal=SIGKILL:when=\(number)", Sandbox.binary, "run",
                "database.db", statement,
            ])
        if result.status == 128 + SIGKILL { return true }
        #expect(result.status == 0, "\(result.errors)")
        return false
    }

    /// The statement killed at each step, each time from the same files on. Answers how often.
    private func forEachStep(
        _ statement: String, calls: [String], _ check: (_ what: String) throws -> Void
    ) throws -> Int {
        func shell(_ script: String) throws {
            #expect(try sandbox.run("/bin/sh", ["-c", script]).status == 0)
        }
        try shell("mkdir before && cp -a database.db* before")
        var kills = 0
        for call in calls {
            var number = 1
            while try run(statement, killedAt: call, number) {
                try check("\(call) \(number)")
                try shell("rm -r database.db* && cp -a before/* .")
                (number, kills) = (number + 1, kills + 1)
            }
            try check("\(call) never")
            try shell("rm -r database.db* && cp -a before/* .")
        }
        return kills
    }

    private func points() throws -> [String] {
        let status = try sandbox.ydbfs("status", "database.db", "--json")
        #expect(status.status == 0, "\(status.errors)")
        return try sandbox.python(
            "*[p['name'] for p in j['collections'][0]['points']]", json: status.output
        ).split(separator: " ").map(String.init)
    }

    // MARK: Points that go

    @Test(arguments: ["DROP", "PRUNE"])
    func `a killed DROP BACKUP or PRUNE has happened or it hasn't`(_ what: String) throws {
        try makeBackups(what == "PRUNE" ? ", KEEP_LAST = '9'" : "")
        let old = try points()
        var new = [old[0], old[2], old[3]]
        var statement = "ALTER BACKUP COLLECTION shop DROP BACKUP '\(old[1])'"
        if what == "PRUNE" {
            try succeed("ALTER BACKUP COLLECTION shop SET (KEEP_LAST = '2')")
            (new, statement) = (Array(old[2...]), "PRUNE shop")
        }
        var outcomes: Set<[String]> = []
        let kills = try forEachStep(statement, calls: ["write", "fsync", "linkat", "unlinkat"]) {
            step in
            let found = try points()
            #expect(found == old || found == new, "\(step)")
            outcomes.insert(found)
            try succeed("BACKUP shop INCREMENTAL", step)
            let verify = try sandbox.ydbfs("verify", "database.db", "--json")
            #expect(verify.status == 0, "\(step): \(verify.output)")
            let named = try sandbox.python("j['collections'][0]['files']", json: verify.output)
            let files = try sandbox.run(
                "/bin/sh", ["-c", Sandbox.dataFiles + " | wc -l"])
            // Files that points needed are removed ten seconds after they were condemned.
            if found == old {
                #expect(files.output == named + "\n", "\(step)")
            }
        }
        #expect(outcomes == [old, new])
        #expect(kills > 15)
    }

    // MARK: Tables that come back

    @Test(arguments: ["wal", "delete"])
    func `a killed RESTORE has happened or it hasn't`(_ journal: String) throws {
        try makeBackups("")
        func dump() throws -> String {
            let result = try sandbox.run(
                "/usr/bin/sqlite3", ["database.db", ".dump orders", ".dump lines", ".dump kept"])
            #expect(result.status == 0, "\(result.errors)")
            return result.output
        }
        func query(_ sql: String) throws -> String {
            try sandbox.run("/usr/bin/sqlite3", ["database.db", sql]).output
        }
        try sandbox.sql(
            "PRAGMA journal_mode = \(journal); CREATE TABLE kept(v); INSERT INTO kept VALUES (1);")
        let whole = try dump()
        try sandbox.sql("DROP TABLE lines; DROP TABLE orders;")
        let without = try dump()
        var outcomes: Set<String> = []
        let kills = try forEachStep(
            "RESTORE shop", calls: ["pwrite64", "fdatasync", "fsync", "unlink"]
        ) { step in
            #expect(try query("PRAGMA integrity_check") == "ok\n", "\(step)")
            let faults = "FROM pragma_foreign_key_check WHERE \"table\" NOT GLOB '_ydbfs_*'"
            #expect(try query("SELECT count(*) \(faults)") == "0\n", "\(step)")
            let found = try dump()
            let isOldOrNew = found == whole || found == without
            #expect(isOldOrNew, "\(step)")
            outcomes.insert(found)
            // The next one removes what is left, and brings back what isn't there.
            let next = found == whole ? "BACKUP shop INCREMENTAL" : "RESTORE shop"
            try succeed(next, step)
            let hidden =
                "SELECT count(*) FROM sqlite_schema WHERE name LIKE '!_ydbfs!_%' ESCAPE '!'"
            #expect(try query(hidden) == "0\n", "\(step)")
            let isWhole = try dump() == whole
            #expect(isWhole, "\(step)")
        }
        #expect(outcomes.count == 2)
        #expect(kills > 15)
    }
}
