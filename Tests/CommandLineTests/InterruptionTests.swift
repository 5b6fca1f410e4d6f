import Foundation
import Testing

/// Operations seen from other processes: while they run, and after they were killed.
@Suite(.serialized) struct InterruptionTests {
    private let sandbox: Sandbox

    init() throws {
        sandbox = try Sandbox()
        try sandbox.sql(
            """
            CREATE TABLE orders (id INTEGER PRIMARY KEY, item BLOB);
            CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 30000)
            INSERT INTO orders SELECT i, randomblob(100) FROM n;
            """)
        let made = try sandbox.ydbfs("run", "database.db", Sandbox.create)
        try #require(made.status == 0, "\(made.errors)")
    }

    private var data: [String] {
        get throws {
            try sandbox.run("/bin/sh", ["-c", Sandbox.dataFiles + " -size +0"]).output
                .split(separator: "\n").map(String.init)
        }
    }

    /// A full and an incremental, so slow that the first is at work when this returns.
    private func startSlowly() throws -> (process: Process, end: () throws -> Sandbox.Result) {
        let run = try sandbox.start(
            Sandbox.binary,
            ["run", "database.db", "--rate", "500K", "BACKUP shop; BACKUP shop INCREMENTAL"])
        try #require(try eventually { try !data.isEmpty })
        return run
    }

    /// The same, both of them queued in a mount of its own.
    private func startSlowMount() throws -> (process: Process, end: () throws -> Sandbox.Result) {
        let served = try sandbox.start(
            Sandbox.binary, ["database.db", "slow", "-f", "-o", "rate=500K"])
        try #require(try eventually { try sandbox.mounts.contains("slow") })
        let asked = try sandbox.run(
            "/bin/sh", ["-c", "echo 'BACKUP shop; BACKUP shop INCREMENTAL;' > slow/control"])
        try #require(asked.status == 0, "\(asked.errors)")
        try #require(try eventually { try !data.isEmpty })
        return served
    }

    private func eventually(_ condition: () throws -> Bool) throws -> Bool {
        for _ in 0..<200 {
            if try condition() { return true }
            usleep(50_000)
        }
        return false
    }

    private func mount() throws {
        let mounted = try sandbox.ydbfs("database.db", "mnt")
        try #require(mounted.status == 0, "\(mounted.errors)")
    }

    @Test func `After a kill the next start cleans up, and says what became of each`() throws {
        let run = try startSlowMount()
        kill(run.process.processIdentifier, SIGKILL)
        _ = try run.end()
        let left = try data.count
        #expect(left > 0)
        try mount()
        let running = try sandbox.text("mnt/operations/2/error")
        #expect(
            running.hasPrefix("its process was killed: removed \(left) unfinished files of "),
            "\(running)")
        #expect(
            try sandbox.text("mnt/operations/3/error")
                == "its process was killed before it had begun\n")
        for id in [2, 3] {
            #expect(try sandbox.text("mnt/operations/\(id)/state") == "failed\n")
            #expect(sandbox.exists("database.db.backups/operations/000000000\(id).end.json"))
        }
        #expect(
            try sandbox.text("mnt/errors").contains("operation 2 failed: its process was killed"))
        #expect(try data.isEmpty)
        let again = try sandbox.ydbfs("run", "database.db", "BACKUP shop; BACKUP shop INCREMENTAL")
        #expect(again.status == 0, "\(again.errors)")
    }

    @Test func `A mount sees when another process is killed`() throws {
        let run = try startSlowMount()
        try mount()
        #expect(try sandbox.text("mnt/operations/2/state") == "running\n")
        #expect(try sandbox.text("mnt/operations/3/state") == "queued\n")
        let status = try sandbox.ydbfs("status", "database.db", "--json").output
        #expect(try sandbox.python("j['collections'][0]['running']['id']", json: status) == "2")
        kill(run.process.processIdentifier, SIGKILL)
        _ = try run.end()
        #expect(
            try sandbox.text("mnt/operations/2/wait").hasPrefix("failed: its process was killed"))
        #expect(try eventually { try sandbox.text("mnt/operations/3/state") == "failed\n" })
        #expect(try data.isEmpty)
    }

    @Test func `An operation of another process can be waited for and cancelled`() throws {
        let run = try startSlowly()
        try mount()
        let cancel = try sandbox.run("/bin/sh", ["-c", "echo 1 > mnt/operations/2/cancel"])
        #expect(cancel.status == 0)
        #expect(try sandbox.text("mnt/operations/2/wait").hasPrefix("cancelled: on request"))
        let result = try run.end()
        #expect(result.status == 1 && result.errors.contains("operation 2 cancelled"))
        // The second statement's turn never came.
        #expect(result.errors.contains("cancelled: statement 1 "), "\(result.errors)")
        #expect(try data.isEmpty)
        let late = try sandbox.run("/bin/sh", ["-c", "echo 1 > mnt/operations/2/cancel"])
        #expect(late.status != 0)
    }

    @Test func `A backup that was killed after its commit is done`() throws {
        try sandbox.sql("DELETE FROM orders WHERE id > 10")
        #expect(try sandbox.ydbfs("run", "database.db", "BACKUP shop WITH (uid = 'a')").status == 0)
        let end = sandbox.path + "/database.db.backups/operations/0000000002.end.json"
        try FileManager.default.removeItem(atPath: end)
        try mount()
        #expect(try sandbox.text("mnt/operations/2/wait").hasPrefix("done point=20"))
        #expect(
            try sandbox.text("mnt/operations/2/progress").contains("note its process was killed"))
        #expect(try sandbox.text("mnt/errors") == "")
        #expect(try sandbox.run("/bin/ls", ["mnt/shop/latest/"]).output.contains("orders.csv"))
    }

    @Test func `--rate is for what this process writes`() throws {
        func bad(_ rate: String) throws -> Int32 {
            try sandbox.ydbfs("run", "database.db", "--rate", rate, "BACKUP shop").status
        }
        for rate in ["", "fast", "0", "100", "-5M", "+5M"] {
            #expect(try bad(rate) == 2, "\(rate)")
        }
        try mount()
        let refused = try sandbox.ydbfs("run", "database.db", "--rate", "10M", "BACKUP shop")
        #expect(refused.status == 1 && refused.errors.contains("-o rate="), "\(refused.errors)")
        #expect(try sandbox.ydbfs("unmount", "mnt").status == 0)
        let limited = try sandbox.ydbfs("database.db", "mnt", "-o", "rate=1M")
        try #require(limited.status == 0, "\(limited.errors)")
        let start = Date()
        #expect(try sandbox.ydbfs("run", "database.db", "BACKUP shop").status == 0)
        #expect(-start.timeIntervalSinceNow > 2.5)
        // A restore pays for what it loads, and never while it keeps others from writing.
        let (_, end) = try sandbox.start(
            Sandbox.binary, ["run", "database.db", "RESTORE shop (TABLE orders AS again)"])
        let begun = Date()
        var written = 0
        while -begun.timeIntervalSinceNow < 2 {
            let result = try sandbox.run(
                "/usr/bin/sqlite3",
                ["-cmd", ".timeout 1000", "database.db", "INSERT INTO products(name) VALUES ('x')"])
            #expect(result.status == 0, "\(result.errors)")
            written += 1
        }
        #expect(written > 5)
        #expect(try end().status == 0)
        #expect(-begun.timeIntervalSinceNow > 2.5)
    }
}
