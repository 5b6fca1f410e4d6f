import Foundation
import Testing

/// Resources that run out: that operation fails with the reason, the next one works, the mount lives.
@Suite struct LimitTests {
    private let sandbox: Sandbox

    init() throws {
        sandbox = try Sandbox()
        try sandbox.sql(
            """
            PRAGMA journal_mode = wal;
            CREATE TABLE orders (id INTEGER PRIMARY KEY, v BLOB);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
            INSERT INTO orders SELECT i, randomblob(500) FROM n;
            """)
    }

    private static let create = """
        CREATE BACKUP COLLECTION shop DATABASE
        WITH (STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true');
        """

    private func bash(_ script: String, _ arguments: String...) throws -> Sandbox.Result {
        try sandbox.run("/bin/bash", ["-c", script, "bash"] + arguments)
    }

    private var status: Sandbox.Result {
        get throws { try sandbox.ydbfs("status", "database.db", "--json") }
    }

    private func points() throws -> String {
        try sandbox.python("len(j['collections'][0]['points'])", json: status.output)
    }

    /// Sets a soft limit of the process behind the mount at `m`.
    private func limit(_ limit: String) throws {
        let ran = try sandbox.run("/usr/bin/prlimit", ["--pid", server(), limit])
        try #require(ran.status == 0, "\(ran.errors)")
    }

    /// The process behind the mount at `m`.
    private func server() throws -> String {
        let servers = try sandbox.servers(of: "m")
        #expect(servers.count == 1)
        return "\(try #require(servers.first))"
    }

    @Test(arguments: [25, 64])
    func `a few descriptors are enough for many tables`(limit: Int) throws {
        let tables = (1...31).map { "CREATE TABLE t\($0) (v); INSERT INTO t\($0) VALUES (\($0));" }
        try sandbox.sql(tables.joined())
        let script = """
            ulimit -n \(limit)
            set -e
            "$1" database.db m > /dev/null
            echo "$2" > m/control
            for n in 1 2; do
              echo full > m/shop/control; cat m/shop/operation/wait
              cat m/shop/latest/t*.csv | grep -c '^[0-9]'
            done
            """
        let ran = try bash(script, Sandbox.binary, Self.create)
        #expect(ran.status == 0, "\(ran)")
        let lines = ran.output.split(separator: "\n")
        #expect(lines.count == 4 && lines[1] == "31" && lines[3] == "31", "\(ran.output)")
        #expect(lines.count == 4 && lines[0].hasPrefix("done ") && lines[2].hasPrefix("done "))
    }

    @Test(arguments: ["run", "mount"])
    func `a file beyond RLIMIT_FSIZE is an error, not the end`(way: String) throws {
        #expect(try sandbox.ydbfs("run", "database.db", Self.create).status == 0)
        var failed: Sandbox.Result
        if way == "run" {
            failed = try sandbox.run(
                "/usr/bin/prlimit",
                ["--fsize=100000", Sandbox.binary, "run", "database.db", "BACKUP shop"])
        } else {
            #expect(try sandbox.ydbfs("database.db", "m").status == 0)
            try limit("--fsize=100000:")
            failed = try sandbox.ydbfs("run", "database.db", "BACKUP shop")
        }
        #expect(failed.status == 1)
        #expect(failed.errors.contains("File too large"), "\(failed.errors)")
        #expect(try points() == "0")
        let left = try bash("find database.db.backups/tables -type f")
        #expect(left.output == "")
        if way == "mount" {
            try limit("--fsize=unlimited:")
        }
        #expect(try sandbox.ydbfs("run", "database.db", "BACKUP shop").status == 0)
        #expect(try points() == "1")
    }

    @Test func `a mount without descriptors refuses, says why, and lives`() throws {
        #expect(try sandbox.ydbfs("run", "database.db", Self.create + "BACKUP shop").status == 0)
        #expect(try sandbox.ydbfs("database.db", "m").status == 0)
        // Those that are open stay so; not one more can be had.
        try limit("--nofile=3:")
        for word in ["full", "incremental"] {
            let failed = try bash("echo $1 > m/shop/control", word)
            #expect(failed.status != 0, "\(word)")
        }
        // Long enough for everything that looks now and then, mountinfo among it.
        sleep(3)
        #expect(try sandbox.mounts == ["m"])
        #expect(try sandbox.servers(of: "m").count == 1)
        try limit("--nofile=1024:")
        let errors = try sandbox.text("m/errors")
        #expect(errors.contains("Too many open files"), "\(errors)")
        let rows = try bash("wc -l < m/shop/latest/orders.csv")
        #expect(rows.output == "2001\n", "\(rows.errors)")
        let done = try bash("echo full > m/shop/control && cat m/shop/operation/wait")
        #expect(done.output.hasPrefix("done"), "\(done.output)\(done.errors)")
        #expect(try points() == "2")
        #expect(try sandbox.ydbfs("unmount", "m").status == 0)
    }

    @Test func `an operation that can't have a thread fails with the reason, the next one works`()
        throws
    {
        // Nobody's processes are limited, root's never are.
        let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"]
        #expect(try sandbox.ydbfs("run", "database.db", Self.create).status == 0)
        #expect(try bash("chmod a+rx . && chown -R 65534:65534 .").status == 0)
        let backup = [Sandbox.binary, "run", "database.db", "BACKUP shop"]
        let failed = try sandbox.run(
            "/usr/bin/setpriv", nobody + ["/usr/bin/prlimit", "--nproc=1"] + backup)
        #expect(failed.status == 1)
        #expect(failed.errors.contains("Resource temporarily unavailable"), "\(failed.errors)")
        #expect(try points() == "0")
        let done = try sandbox.run("/usr/bin/setpriv", nobody + backup)
        #expect(done.status == 0, "\(done.errors)")
        #expect(try points() == "1")
    }

    @Test func `memory that runs out may end the process, but loses nothing`() throws {
        #expect(try sandbox.ydbfs("run", "database.db", Self.create + "BACKUP shop").status == 0)
        try sandbox.sql(
            "WITH RECURSIVE n(i) AS (SELECT 2001 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
                + "INSERT INTO orders SELECT i, randomblob(500) FROM n")
        var made = 1
        var failed = 0
        for megabytes in stride(from: 60, through: 220, by: 20) {
            let ran = try sandbox.run(
                "/usr/bin/prlimit",
                ["--as=\(megabytes << 20)", Sandbox.binary, "run", "database.db", "BACKUP shop"],
                // A long look at its own stack takes memory, too.
                environment: ["SWIFT_BACKTRACE": "enable=no"])
            let found = try #require(Int(points()))
            #expect(found == made + 1 || found == made && ran.status != 0, "\(megabytes)")
            if ran.status != 0 { failed += 1 }
            let next = try sandbox.ydbfs("run", "database.db", "BACKUP shop INCREMENTAL")
            #expect(next.status == 0, "\(megabytes): \(next.errors)")
            made = found + 1
        }
        #expect(failed > 0)
        let verified = try sandbox.ydbfs("verify", "database.db", "--level", "source")
        #expect(verified.status == 0, "\(verified.output)\(verified.errors)")
    }

    @Test func `schedules hold no descriptor each`() throws {
        let scheduled = (0..<5).map { number in
            "CREATE BACKUP COLLECTION c\(number) DATABASE WITH (STORAGE = 'cluster', "
                + "FULL_EVERY = '1000d');"
        }
        #expect(try sandbox.ydbfs("run", "database.db", scheduled.joined()).status == 0)
        #expect(try sandbox.ydbfs("database.db", "m").status == 0)
        let held = "ls -l /proc/$1/fd | grep -o 'database.db.backups/.*schedule.*'"
        var found = ""
        for _ in 0..<50 where found.isEmpty {
            usleep(100_000)
            found = try bash(held, server()).output
        }
        #expect(found == "database.db.backups/schedules\n")
    }
}
