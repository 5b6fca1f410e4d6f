import Foundation
import Testing

/// `RESTORE` by the program: into other files, beside other writers, killed.
@Suite(.serialized) struct RestoreTests {
    private let sandbox: Sandbox

    init() throws { sandbox = try Sandbox() }

    /// A table of many rows with an index and a trigger, and its backup.
    private func makeBackup(rows: Int) throws {
        try sandbox.sql(
            """
            PRAGMA journal_mode = WAL;
            CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, w REAL);
            CREATE TABLE other (id INTEGER PRIMARY KEY, v TEXT);
            CREATE TABLE u (k TEXT PRIMARY KEY NOT NULL, v INTEGER UNIQUE);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT \(rows))
            INSERT INTO t SELECT i, 'value ' || i * 7, i / 8.0 FROM n;
            INSERT INTO u SELECT 'key ' || id, id FROM t WHERE id % 3 = 0 ORDER BY 1;
            CREATE INDEX by_v ON t(v);
            CREATE TRIGGER added AFTER INSERT ON t BEGIN INSERT INTO other(v) VALUES (NEW.v); END;
            """)
        let create = try sandbox.ydbfs(
            "run", "database.db",
            "CREATE BACKUP COLLECTION c (TABLE t, TABLE u) WITH (STORAGE = 'cluster', "
                + "INCREMENTAL_BACKUP_ENABLED = 'true'); BACKUP c")
        try #require(create.status == 0, "\(create.errors)")
    }

    /// The shell's dump, as its lines: a difference is told by a few of them.
    private func dump(_ database: String) throws -> [Substring] {
        let result = try sandbox.run("/usr/bin/sqlite3", [database, ".dump t u"])
        #expect(result.status == 0 && result.errors == "")
        return result.output.split(separator: "\n")
    }

    private func expect(
        _ database: String, is whole: [Substring], _ comment: String = "",
        at location: SourceLocation = #_sourceLocation
    ) throws {
        let found = try dump(database)
        let isSame = found == whole
        let difference = zip(found, whole).first { $0 != $1 }
        #expect(
            isSame,
            "\(comment) \(found.count) of \(whole.count): \(String(describing: difference))",
            sourceLocation: location)
    }

    private func query(_ sql: String, in database: String = "database.db") throws -> String {
        let result = try sandbox.run(
            "/usr/bin/sqlite3", ["-cmd", ".timeout 20000", database, sql])
        #expect(result.status == 0, "\(result.errors)")
        return result.output
    }

    private static let hidden = """
        SELECT name FROM sqlite_schema WHERE name LIKE '\\_ydbfs\\_restore%' ESCAPE '\\'
        """

    private func leftovers() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: sandbox.path)
            .filter { $0.contains("ydbfs-restore") }
    }

    @Test func `A new database is made, and the same one is added to`() throws {
        try makeBackup(rows: 500)
        let before = try dump("database.db")
        let refused = try sandbox.ydbfs("run", "database.db", "--into", "new.db", "BACKUP c")
        #expect(refused.status == 1)
        #expect(refused.errors.contains("only RESTORE can go into another database"))
        #expect(!sandbox.exists("new.db"))
        let made = try sandbox.ydbfs("run", "database.db", "--into", "new.db", "RESTORE c")
        #expect(made.status == 0, "\(made.errors)")
        #expect(made.output.contains("Z_full rows=666 "), "\(made.output)")
        try expect("new.db", is: before)
        #expect(try leftovers() == [])
        // A repository alone is enough, and what is there stays.
        let again = try sandbox.ydbfs(
            "run", "database.db.backups", "--into", "new.db", "RESTORE c")
        #expect(again.status == 1)
        #expect(again.errors.contains("table t exists already; table u exists already"))
        let beside = try sandbox.ydbfs(
            "run", "database.db.backups", "--into", "new.db", "RESTORE c (TABLE t AS t2)", "--json")
        #expect(beside.status == 0, "\(beside.errors)")
        #expect(try sandbox.python("j['rows']", json: beside.output) == "500")
        #expect(try sandbox.python("j['notes'][0]", json: beside.output).contains("t2_by_v"))
        try expect("new.db", is: before)
        #expect(try query("SELECT count(*) FROM t2", in: "new.db") == "500\n")
        #expect(try query("PRAGMA integrity_check", in: "new.db") == "ok\n")
        for (name, says) in [
            ("mnt/no/x.db", "No such file"), ("database.db.backups", "is no file"),
        ] {
            let result = try sandbox.ydbfs("run", "database.db", "--into", name, "RESTORE c")
            #expect(result.status == 1 && result.errors.contains(says), "\(result.errors)")
        }
    }

    @Test func `Killed at any moment, a restore has happened or it hasn't`() throws {
        try makeBackup(rows: 150_000)
        let whole = try dump("database.db")
        try sandbox.sql("INSERT INTO other VALUES (1, 'stays'); DROP TABLE t; DROP TABLE u;")
        let empty = try dump("database.db")
        // Kills are spread over the time that a restore takes here and now.
        let start = ContinuousClock.now
        try #require(sandbox.ydbfs("run", "database.db", "RESTORE c").status == 0)
        let taken = ContinuousClock.now - start
        try sandbox.sql("DROP TABLE t; DROP TABLE u;")
        var (killed, unfinished) = (0, 0)
        for round in 0..<24 {
            let isNew = round % 4 == 3
            let arguments =
                ["run", "database.db"] + (isNew ? ["--into", "new.db"] : []) + ["RESTORE c"]
            let (process, end) = try sandbox.start(Sandbox.binary, arguments)
            usleep(UInt32(taken * round / 24 / Duration.microseconds(1)))
            kill(process.processIdentifier, SIGKILL)
            let result = try end()
            if result.status != 0 { killed += 1 }
            if isNew {
                if sandbox.exists("new.db") {
                    try expect("new.db", is: whole, "round \(round)")
                    try FileManager.default.removeItem(atPath: sandbox.path + "/new.db")
                }
                continue
            }
            #expect(try query("PRAGMA integrity_check") == "ok\n", "round \(round)")
            #expect(try query("SELECT v FROM other") == "stays\n", "round \(round)")
            if try query(Self.hidden) != "" { unfinished += 1 }
            if try dump("database.db").count > empty.count {
                try expect("database.db", is: whole, "round \(round)")
                try sandbox.sql("DROP TABLE t; DROP TABLE u;")
            } else {
                try expect("database.db", is: empty, "round \(round)")
            }
        }
        #expect(killed > 4 && unfinished > 0, "\(killed) killed, \(unfinished) at work")
        // The next operation, whichever it is, removes what they have left.
        let first = try sandbox.ydbfs("run", "database.db", "RESTORE c (TABLE t)")
        #expect(first.status == 0, "\(first.errors)")
        #expect(try query(Self.hidden) == "")
        let new = try sandbox.ydbfs("run", "database.db", "--into", "new.db", "RESTORE c")
        #expect(new.status == 0, "\(new.errors)")
        #expect(try leftovers() == [])
        let rest = try sandbox.ydbfs("run", "database.db", "RESTORE c (TABLE u)")
        #expect(rest.status == 0, "\(rest.errors)")
        try expect("database.db", is: whole)
        try expect("new.db", is: whole)
    }

    @Test func `Others go on writing while a large table is restored`() throws {
        try makeBackup(rows: 150_000)
        let whole = try dump("database.db")
        try sandbox.sql("DROP TABLE t; DROP TABLE u;")
        let writer = """
            import os, sqlite3, time
            database = sqlite3.connect("database.db", isolation_level=None, timeout=5)
            count = 0
            while not os.path.exists("stop"):
                database.execute("INSERT INTO other(v) VALUES ('row')")
                count += 1
                time.sleep(0.001)
            # A connection that was open all the time sees what was restored.
            print(count, database.execute("SELECT count(*) FROM t").fetchone()[0])
            """
        let (_, end) = try sandbox.start(Sandbox.python, ["-c", writer])
        while try query("SELECT count(*) FROM other") == "0\n" {}
        let restored = try sandbox.ydbfs("run", "database.db", "RESTORE c")
        #expect(restored.status == 0, "\(restored.errors)")
        try sandbox.write("", to: "stop")
        let result = try end()
        #expect(result.status == 0, "\(result.errors)")
        let said = result.output.split(whereSeparator: \.isWhitespace)
        try #require(said.count == 2, "\(result.output)")
        #expect(said[1] == "150000")
        #expect(try query("SELECT count(*) FROM other") == said[0] + "\n")
        #expect(Int(said[0]) ?? 0 > 3)
        try expect("database.db", is: whole)
        #expect(try query("PRAGMA integrity_check") == "ok\n")
    }

    @Test func `Rows that are being loaded keep nobody from deleting what they refer to`() throws {
        try sandbox.sql(
            """
            PRAGMA journal_mode = WAL;
            CREATE TABLE parent (id INTEGER PRIMARY KEY);
            CREATE TABLE child (
                id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent(id) ON DELETE CASCADE,
                q INTEGER, v TEXT, FOREIGN KEY (q) REFERENCES "parent"(id));
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000)
            INSERT INTO parent SELECT i FROM n;
            INSERT INTO child SELECT id, id, 20001 - id, 'value ' || id FROM parent;
            """)
        let create = try sandbox.ydbfs(
            "run", "database.db",
            "CREATE BACKUP COLLECTION c (TABLE child) WITH (STORAGE = 'cluster'); BACKUP c")
        try #require(create.status == 0, "\(create.errors)")
        let child = try query("SELECT * FROM child")
        try sandbox.sql("DROP TABLE child;")
        let (_, end) = try sandbox.start(
            Sandbox.binary, ["run", "database.db", "--rate", "200K", "RESTORE c"])
        var loading = ""
        while loading.isEmpty { loading = try query(Self.hidden) }
        let name = String(loading.prefix { $0 != "\n" })
        while try query("SELECT count(*) FROM \"\(name)\"") == "0\n" {}
        let delete = "PRAGMA foreign_keys = ON; DELETE FROM parent WHERE id < 3;"
        #expect(try query("\(delete) SELECT changes();") == "2\n")
        let result = try end()
        #expect(result.status == 0, "\(result.errors)")
        let restored = try query("SELECT * FROM child") == child
        #expect(restored)
        // From now on they bind.
        let refused = try sandbox.run(
            "/usr/bin/sqlite3",
            ["database.db", "PRAGMA foreign_keys = ON; DELETE FROM parent WHERE id = 3"])
        #expect(refused.errors.contains("FOREIGN KEY constraint failed"))
    }

    @Test func `A mount restores, and shows how far it is`() throws {
        try makeBackup(rows: 2_000)
        let whole = try dump("database.db")
        try #require(sandbox.ydbfs("database.db", "mnt").status == 0)
        try sandbox.sql("DROP TABLE t; DROP TABLE u;")
        // Through the mount, since there is one.
        let result = try sandbox.ydbfs("run", "database.db", "RESTORE c")
        #expect(result.status == 0, "\(result.errors)")
        try expect("database.db", is: whole)
        #expect(try sandbox.text("mnt/operations/latest/statement").hasPrefix("RESTORE c"))
        let progress = try sandbox.text("mnt/operations/latest/progress")
        #expect(progress.contains("rows 2666\n") && progress.contains("total_rows 2666\n"))
        #expect(try sandbox.text("mnt/c/operation/wait").hasPrefix("done point=2"))
        // Reading needs no mount's help: into another file it goes beside it.
        let beside = try sandbox.ydbfs("run", "mnt", "--into", "new.db", "RESTORE c")
        #expect(beside.status == 0, "\(beside.errors)")
        try expect("new.db", is: whole)
    }
}
