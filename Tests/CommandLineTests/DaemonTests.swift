import Foundation
import Testing

/// What must hold whatever happens to the process: killed at any moment, watched at its system
/// calls, reading much more than it may keep.
@Suite(.serialized) struct DaemonTests {
    private let sandbox: Sandbox

    init() throws { sandbox = try Sandbox() }

    /// The table as CSV, by SQLite itself.
    private func expected() throws -> String {
        let query =
            "SELECT 'id,v'; SELECT id || ',' || v FROM t ORDER BY id; SELECT 'id,v'; "
            + "SELECT id || ',' || v FROM u ORDER BY id;"
        return try sandbox.run("/usr/bin/sqlite3", ["database.db", query]).output
    }

    private func shown(_ point: String) throws -> String {
        try sandbox.text("mnt/c/\(point)/t.csv") + sandbox.text("mnt/c/\(point)/u.csv")
    }

    @Test func `Starting loads neither Foundation nor its tables of the world's languages`() throws
    {
        let libraries = try sandbox.run("/usr/bin/ldd", [Sandbox.binary]).output
        #expect(libraries.contains("libsqlite3"))
        #expect(!libraries.contains("libFoundation.so"))
        #expect(!libraries.contains("ICU"))
    }

    @Test
    func `Killed at any moment, every acknowledged point is whole and nothing half made shows`()
        throws
    {
        var random = SystemRandomNumberGenerator()
        try sandbox.sql(
            """
            PRAGMA journal_mode = WAL;
            CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER);
            CREATE TABLE u (id INTEGER PRIMARY KEY, v INTEGER);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 60000)
            INSERT INTO t SELECT i, i * 7 FROM n;
            INSERT INTO u SELECT id, v FROM t WHERE id % 3 = 0;
            """)
        let create = try sandbox.ydbfs(
            "run", "database.db",
            "CREATE BACKUP COLLECTION c (TABLE t, TABLE u) WITH (STORAGE = 'cluster', "
                + "INCREMENTAL_BACKUP_ENABLED = 'true'); BACKUP c")
        try #require(create.status == 0, "\(create.errors)")
        var acknowledged: [String: String] = [:]
        for round in 0..<14 {
            let mounted = try sandbox.ydbfs("database.db", "mnt")
            try #require(mounted.status == 0, "round \(round): \(mounted.errors)")
            for (point, text) in acknowledged {
                #expect(try shown(point) == text, "round \(round): \(point) changed")
            }
            try checkNewest(&acknowledged)
            let kind = round % 3 == 2 ? "full" : "incremental"
            try sandbox.sql(
                "UPDATE t SET v = v + 1 WHERE id % 50 = \(round); DELETE FROM u WHERE id % 97 = "
                    + "\(round); INSERT INTO t SELECT max(id) + 1, \(round) FROM t;")
            _ = try sandbox.run(
                "/bin/bash", ["-c", "echo \(kind) > mnt/c/control; echo \(kind) > mnt/c/control"])
            usleep(UInt32.random(in: 0...120_000, using: &random))
            for server in try sandbox.servers(of: "mnt") { kill(server, SIGKILL) }
        }
        #expect(acknowledged.count == 14)
    }

    /// One more backup must succeed and show what SQLite holds now; nothing but whole points shows.
    private func checkNewest(_ acknowledged: inout [String: String]) throws {
        let end = try sandbox.run(
            "/bin/bash", ["-c", "echo incremental > mnt/c/control && cat mnt/c/operation/wait"])
        try #require(end.output.hasPrefix("done point="), "\(end.output) \(end.errors)")
        let point = String(end.output.split(separator: " ")[1].dropFirst("point=".count))
        let text = try expected()
        #expect(try shown(point) == text)
        acknowledged[point] = text
        let points = try sandbox.run("/bin/bash", ["-c", "ls -d mnt/c/2*"])
        for path in points.output.split(separator: "\n") {
            let files = try sandbox.run("/bin/ls", [String(path)])
            #expect(
                files.output
                    == "SHA256SUMS\nbackup.json\nt.csv\nt.parquet\nt.sql\nu.csv\nu.parquet\nu.sql\n",
                "\(path): \(files)")
        }
        let data = try sandbox.run(
            "/bin/bash", ["-c", Sandbox.dataFiles + " | wc -l"])
        let named = try sandbox.run(
            "/bin/bash",
            [
                "-c",
                "cat database.db.backups/collections/*/log/*.json | "
                    + "grep -oE '[0-9a-f]{32}\\.(parquet|idx)' | sort -u > named; "
                    + Sandbox.dataFiles
                    + " | grep -v cat$ | sed 's,.*/,,' | sort | comm -23 - named",
            ])
        #expect(named.output == "", "leftovers of \(data.output): \(named.output)")
    }

    @Test func `Data files and directories are durable before the entry that names them`() throws {
        try sandbox.makeShop()
        let create = try sandbox.ydbfs("run", "database.db", Sandbox.create)
        try #require(create.status == 0, "\(create.errors)")
        let traced = try sandbox.run(
            "/usr/bin/strace",
            [
                "-f", "-y", "-o", "trace", "-e",
                "trace=open,openat,creat,fsync,fdatasync,link,linkat,rename,renameat,renameat2",
                Sandbox.binary, "run", "database.db", "BACKUP shop",
            ])
        try #require(traced.status == 0, "\(traced.errors)")
        let lines = try sandbox.text("trace").split(separator: "\n").map(String.init)
        let commit = try #require(
            lines.firstIndex { $0.contains("link") && $0.contains("/log>, \"0000000002.json\"") })
        let stored = try sandbox.run(
            "/bin/bash", ["-c", Sandbox.dataFiles + " | sed 's,.*/,,'"]
        ).output.split(separator: "\n").map(String.init)
        #expect(stored.count == 3)
        for name in stored {
            let opens = lines.filter {
                $0.contains("open") && $0.contains(name)
                    && ($0.contains("O_WRONLY") || $0.contains("O_RDWR"))
            }
            #expect(opens.count == 1, "\(name) is opened for writing once: \(opens)")
            #expect(
                lines[..<commit].contains { $0.contains("fsync(") && $0.contains(name) },
                "\(name) is synced before the commit")
        }
        let folders = try sandbox.run(
            "/bin/bash",
            ["-c", "find database.db.backups/tables database.db.backups/*/*/data -type d"]
        ).output.split(separator: "\n")
        #expect(folders.count == 5)
        for folder in folders {
            #expect(
                lines[..<commit].contains { $0.contains("fsync(") && $0.contains("\(folder)>") },
                "\(folder) is synced before the commit")
        }
        #expect(
            lines[commit...].contains { $0.contains("fsync(") && $0.contains("/log>") },
            "the directory of the log is synced after it")
    }

    @Test func `A gigabyte is read in bounded memory`() throws {
        try sandbox.sql(
            """
            CREATE TABLE big (id INTEGER PRIMARY KEY, v TEXT);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000)
            INSERT INTO big SELECT i, hex(randomblob(20)) || printf('%960d', i) FROM n;
            """)
        let backup = try sandbox.ydbfs(
            "run", "database.db",
            "CREATE BACKUP COLLECTION c (TABLE big) WITH (STORAGE = 'cluster'); BACKUP c")
        try #require(backup.status == 0, "\(backup.errors)")
        try #require(try sandbox.ydbfs("database.db", "mnt", "-o", "cache_size=16M").status == 0)
        let size = try sandbox.run("/usr/bin/wc", ["-c", "mnt/c/latest/big.csv"])
        let read = try sandbox.run("/bin/bash", ["-c", "cat mnt/c/latest/big.csv | wc -c"])
        let bytes = try #require(Int(read.output.trimmingCharacters(in: .whitespacesAndNewlines)))
        #expect(bytes > 1_000_000_000)
        #expect(size.output.hasPrefix("\(bytes) "))
        let server = try #require(try sandbox.servers(of: "mnt").first)
        let status = try String(contentsOfFile: "/proc/\(server)/status", encoding: .utf8)
        let peak = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") })
        let kilobytes = try #require(Int(peak.filter(\.isNumber)))
        #expect(kilobytes < (64 + 16) * 1024, "peak memory \(kilobytes) KiB")
    }
}
