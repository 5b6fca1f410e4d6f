import Bytes
import Foundation
import SQLiteSource
import Tables
import Testing

/// The known ways in which trigger capture loses changes, one by one.
@Suite struct TrapTests {
    let bench: Workbench
    private static let three = "INSERT INTO t VALUES(1,'a',1),(2,'b',2),(3,'c',3);"

    init() throws { bench = try Workbench(inMemory: true) }

    /// A chain whose full is taken.
    private func chain(_ create: String, _ fill: String = three) throws -> Chain {
        try bench.shell("PRAGMA journal_mode = WAL; \(create); \(fill)")
        let chain = try Chain(bench.path())
        try chain.takePoint()
        return chain
    }

    private func expectKeys(_ chain: Chain, _ count: Int, _ sql: String) throws {
        try bench.shell(sql)
        try chain.takePoint()
        #expect(chain.scanned == [:], "\(sql)")
        #expect(chain.keyed["t"] == count, "\(sql)")
    }

    private func expectScan(_ chain: Chain, _ words: String, _ sql: String) throws {
        try bench.shell(sql)
        try chain.takePoint()
        #expect(chain.scanned["t"]?.contains(words) == true, "\(sql): \(chain.scanned)")
    }

    @Test(arguments: [
        "id INTEGER PRIMARY KEY, u UNIQUE, v",
        "id INTEGER PRIMARY KEY, u TEXT UNIQUE COLLATE NOCASE, v",
        "id INTEGER PRIMARY KEY, u UNIQUE ON CONFLICT REPLACE, v",
    ])
    func `A row replaced through another UNIQUE column is gone`(_ columns: String) throws {
        let chain = try chain("CREATE TABLE t(\(columns))")
        try expectKeys(chain, 2, "REPLACE INTO t VALUES(9,'b',9)")
        try expectKeys(chain, 2, "UPDATE OR REPLACE t SET u = 'a' WHERE id = 3")
        try expectKeys(chain, 2, "UPDATE OR REPLACE t SET id = 9 WHERE id = 3")
        #expect(chain.tables["t"]?.rows.map { $0[0] } == [.int(9)])
    }

    @Test func `A row replaced through its hidden rowid is gone`() throws {
        let chain = try chain("CREATE TABLE t(k TEXT PRIMARY KEY NOT NULL, u, v)")
        try expectKeys(chain, 2, "REPLACE INTO t(rowid, k) VALUES(2, 'new')")
        try expectKeys(chain, 2, "UPDATE OR REPLACE t SET rowid = 2 WHERE k = '1'")
        #expect(chain.tables["t"]?.rows.map { $0[0] } == [.text("1"), .text("3")])
    }

    @Test func `A key that differs only for us leaves a tombstone`() throws {
        let chain = try chain(
            "CREATE TABLE t(k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, u, v)",
            "INSERT INTO t VALUES('a',1,1),('b',2,2);")
        try expectKeys(chain, 2, "REPLACE INTO t VALUES('A',9,9)")
        try expectKeys(chain, 2, "UPDATE t SET k = 'B' WHERE k = 'b'")
        #expect(chain.tables["t"]?.rows.map { $0[0] } == [.text("A"), .text("B")])
    }

    @Test func `Users' conflict clauses and counters are as without us`() throws {
        let chain = try chain("CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE, v)")
        for clause in ["ABORT", "FAIL", "ROLLBACK", "REPLACE", "IGNORE"] {
            try expectKeys(chain, 1, "UPDATE OR \(clause) t SET v = v + 1 WHERE id = 1")
        }
        let seen = try bench.shell(
            "INSERT INTO t VALUES(77, 'x', 1); SELECT last_insert_rowid(), changes();")
        #expect(seen == "77|1")
    }

    @Test func `Numbers of the log are never given twice`() throws {
        let chain = try chain("CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE, v)")
        for round in 0..<5 {
            // OR FAIL stops halfway and keeps what it did.
            _ = try? bench.shell("UPDATE OR FAIL t SET u = 'z', v = \(round) WHERE id < 3")
            try expectKeys(chain, 1, "UPDATE t SET v = \(100 + round) WHERE id = 1")
            let held = try bench.shell("SELECT count(*) FROM _ydbfs_log_1 WHERE k1 IS NULL")
            #expect(held == "1", "the newest marker stays, older ones go")
        }
    }

    @Test func `A table rebuilt by the twelve steps is scanned, then captured again`() throws {
        let chain = try chain("CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE, v)")
        try expectScan(
            chain, "schema",
            """
            BEGIN; CREATE TABLE n(id INTEGER PRIMARY KEY, u UNIQUE, v);
            INSERT INTO n SELECT id, u, v + 1 FROM t; DROP TABLE t; ALTER TABLE n RENAME TO t; COMMIT
            """)
        #expect(chain.lines.contains { $0.contains("removed table _ydbfs_log_1") })
        try expectKeys(chain, 1, "UPDATE t SET v = 0 WHERE id = 1")
    }

    @Test func `A column dropped and added under its name is scanned`() throws {
        let chain = try chain("CREATE TABLE t(id INTEGER PRIMARY KEY, u, v)")
        try expectScan(
            chain, "schema", "ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v")
        #expect(chain.tables["t"]?.rows.map { $0[2] } == [.null, .null, .null])
    }

    @Test func `Dropped or changed triggers are noticed`() throws {
        let chain = try chain("CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE, v)")
        try expectScan(chain, "schema", "DROP TRIGGER _ydbfs_1_ad; DELETE FROM t WHERE id = 1")
        try expectKeys(chain, 0, "SELECT 1")
        // The schema's number stays here: the text alone tells `prepare`, which installs anew.
        try expectScan(
            chain, "schema",
            """
            .dbconfig defensive off
            PRAGMA writable_schema = ON;
            UPDATE sqlite_schema SET sql = replace(sql, 'AFTER DELETE', 'AFTER  DELETE')
            WHERE name = '_ydbfs_1_ad';
            DELETE FROM t WHERE id = 2;
            """)
        #expect(chain.lines.contains { $0.contains("removed table _ydbfs_log_1") })
    }

    @Test func `Triggers switched off by another program are caught by the count`() throws {
        let chain = try chain("CREATE TABLE t(id INTEGER PRIMARY KEY, u, v)")
        try expectScan(chain, "count", ".dbconfig enable_trigger off\nDELETE FROM t WHERE id = 1;")
        try expectKeys(chain, 1, "DELETE FROM t WHERE id = 2")
    }

    @Test func `An older copy of the file is noticed, in place and moved over`() throws {
        let chain = try chain("CREATE TABLE t(id INTEGER PRIMARY KEY, u, v)")
        try bench.shell("PRAGMA wal_checkpoint(TRUNCATE); VACUUM INTO '\(bench.path("vacuumed"))'")
        try bench.run("cp", [bench.path(), bench.path("old")])
        try expectKeys(chain, 1, "UPDATE t SET v = 100 WHERE id = 1")
        try bench.shell("PRAGMA wal_checkpoint(TRUNCATE)")
        try bench.run("cp", [bench.path("old"), bench.path()])
        try expectScan(chain, "newest point", "UPDATE t SET v = 200 WHERE id = 2")
        try bench.shell("PRAGMA wal_checkpoint(TRUNCATE)")
        try bench.run("cp", [bench.path(), bench.path("same")])
        try bench.run("mv", [bench.path("same"), bench.path()])
        try expectScan(chain, "replaced", "UPDATE t SET v = 300 WHERE id = 3")
    }

    @Test func `VACUUM and a new file of the same size are scanned`() throws {
        let chain = try chain("CREATE TABLE t(k TEXT PRIMARY KEY NOT NULL, u, v)")
        try expectScan(chain, "schema", "VACUUM; DELETE FROM t WHERE u = 'a'")
        try expectKeys(chain, 1, "DELETE FROM t WHERE u = 'b'")
    }

    @Test func `A parent that is not the newest point is scanned against`() throws {
        let chain = try chain("CREATE TABLE t(id INTEGER PRIMARY KEY, u, v)")
        let (contents, state) = (chain.tables, chain.state)
        try expectKeys(chain, 1, "UPDATE t SET v = 100 WHERE id = 1")
        try expectKeys(chain, 1, "UPDATE t SET v = 100 WHERE id = 2")
        chain.tables = contents
        chain.state = state
        try expectScan(chain, "newest point", "UPDATE t SET v = 100 WHERE id = 3")
    }

    @Test func `A point whose commit was not told is scanned against, once`() throws {
        let chain = try chain("CREATE TABLE t(id INTEGER PRIMARY KEY, u, v)")
        try bench.shell("UPDATE t SET v = 5 WHERE id = 1")
        try chain.takePoint(commits: false)
        try expectScan(chain, "newest point", "UPDATE t SET v = 6 WHERE id = 2")
        try expectKeys(chain, 1, "UPDATE t SET v = 7 WHERE id = 3")
    }

    @Test(arguments: [
        "CREATE TABLE t(id INTEGER PRIMARY KEY, u NOT NULL DEFAULT 'b' UNIQUE, v)",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, u, v); CREATE UNIQUE INDEX x ON t(lower(u))",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, u, v); CREATE UNIQUE INDEX x ON t(u) WHERE v > 0",
        """
        CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE, v);
        CREATE TRIGGER x /* AFTER */ BEFORE INSERT ON t BEGIN SELECT 1; END
        """,
        """
        CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE, v);
        CREATE TRIGGER "x after insert" UPDATE ON t BEGIN SELECT 1; END
        """,
        """
        CREATE TABLE t(id INTEGER PRIMARY KEY, u, v, g AS (u || 'x'));
        CREATE UNIQUE INDEX x ON t(g)
        """,
    ])
    func `Tables that can not be captured safely are scanned, and nothing is written`(
        _ create: String
    ) throws {
        let fill = "INSERT INTO t(id, u, v) VALUES(1,'a',1),(2,'b',2),(3,'c',3);"
        let chain = try chain(create, fill)
        try expectScan(chain, "not captured", "INSERT OR REPLACE INTO t(id, u) VALUES(9, NULL)")
        #expect(
            try bench.shell("SELECT count(*) FROM sqlite_schema WHERE name LIKE '_ydbfs_%'") == "0")
    }

    @Test func `Users' AFTER triggers and cascades are captured`() throws {
        let chain = try chain(
            """
            CREATE TABLE p(id INTEGER PRIMARY KEY);
            CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE, v, p REFERENCES p ON DELETE CASCADE);
            CREATE TRIGGER "my ""own" AFTER UPDATE OF u ON t BEGIN UPDATE t SET v = 1000 WHERE id = 3; END;
            """,
            "INSERT INTO p VALUES(1); INSERT INTO t VALUES(1,'a',1,1),(2,'b',2,1),(3,'c',3,NULL);")
        try expectKeys(chain, 2, "UPDATE t SET u = 'z' WHERE id = 1")
        try expectKeys(chain, 2, "PRAGMA foreign_keys = ON; DELETE FROM p")
        #expect(chain.tables["t"]?.rows.count == 1)
    }

    @Test func `Two collections share a log, and the slower one loses nothing`() throws {
        let chain = try chain("CREATE TABLE t(id INTEGER PRIMARY KEY, u, v)")
        let slow = try Chain(bench.path(), collection: "slow's \"one\"/é")
        try slow.takePoint()
        for round in 0..<4 {
            try expectKeys(chain, 1, "UPDATE t SET v = \(round + 50) WHERE id = 1")
        }
        try expectKeys(chain, 1, "DELETE FROM t WHERE id = 2")
        try slow.takePoint()
        #expect(slow.keyed["t"] == 2)
        #expect(
            try bench.shell("SELECT count(*) FROM sqlite_schema WHERE name LIKE '_ydbfs_log%'")
                == "1")
        try chain.source.remove(collection: "c")
        #expect(
            try bench.shell("SELECT count(*) FROM sqlite_schema WHERE name LIKE '_ydbfs_%'") > "1")
        try slow.source.remove(collection: slow.collection)
        #expect(try bench.shell("SELECT group_concat(name) FROM sqlite_schema") == "t")
    }

    @Test func `A log that somebody emptied misleads no other collection's marker`() throws {
        let chain = try chain("CREATE TABLE t(id INTEGER PRIMARY KEY, u, v)")
        let other = try Chain(bench.path(), collection: "other")
        try chain.takePoint()
        _ = try bench.shell("UPDATE t SET v = 'lost' WHERE id = 1; DELETE FROM _ydbfs_log_1")
        // Takes the number that the first collection's marker had.
        try other.takePoint()
        try chain.takePoint()
        #expect(chain.scanned["t"] != nil)
        try expectKeys(chain, 1, "UPDATE t SET v = 'kept' WHERE id = 1")
    }

    @Test func `A collection that takes no backups does not fill the file`() throws {
        try bench.shell("PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, u, v)")
        let (busy, idle) = (
            try Chain(bench.path(), logLimit: 50), try Chain(bench.path(), collection: "idle")
        )
        try idle.takePoint()
        try bench.shell("INSERT INTO t(id) VALUES(1)")
        try idle.takePoint()
        try busy.takePoint()
        for round in 0..<20 {
            try bench.shell("INSERT INTO t(v) SELECT \(round) FROM sqlite_schema, sqlite_schema")
            try busy.takePoint()
        }
        let held = Int(try bench.shell("SELECT count(*) FROM _ydbfs_log_1"))
        #expect(held! < 200)
        try idle.takePoint()
        #expect(idle.scanned["t"] != nil)
        try bench.shell("DELETE FROM t WHERE id = 1")
        try idle.takePoint()
        #expect(idle.keyed["t"] == 1)
    }

    @Test func `What is written is said, and DROP leaves the schema as it was`() throws {
        let before = try bench.shell(
            "PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE, v); "
                + "\(Self.three) SELECT sql FROM sqlite_schema")
        let chain = try Chain(bench.path(), captureAbove: 2)
        try chain.takePoint()
        let added = try bench.shell("SELECT name FROM sqlite_schema WHERE name LIKE '_ydbfs_%'")
            .split(separator: "\n")
        #expect(added.count == 7)
        for name in added { #expect(chain.lines.contains { $0.contains(name) }, "\(name)") }
        try chain.takePoint()
        #expect(chain.lines == [])
        try chain.source.remove(collection: "c")
        #expect("wal\n" + (try bench.shell("SELECT sql FROM sqlite_schema")) == before)
        try chain.source.remove(collection: "c")
    }

    @Test func `Small tables are not captured`() throws {
        try bench.shell(
            "PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, u, v); \(Self.three)"
        )
        let chain = try Chain(bench.path(), captureAbove: 3)
        try chain.takePoint()
        #expect(chain.lines == [])
        #expect(try bench.shell("SELECT count(*) FROM sqlite_schema") == "1")
    }

    @Test func `A table that had few rows is counted again once it is known to have grown`() throws
    {
        try bench.shell(
            "PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, u, v); \(Self.three) "
                + "CREATE TABLE keyless(v); INSERT INTO keyless VALUES (1), (2), (3)")
        let source = try SQLiteSource(path: bench.path(), captureAbove: 2)
        func prepare(_ rows: [String: UInt64]) throws -> [String] {
            try source.prepare(collection: "c", tables: nil, rows: rows, capture: .auto)
        }
        #expect(try prepare(["t": 1]) == [])
        #expect(try bench.shell("SELECT count(*) FROM sqlite_schema") == "2")
        #expect(try prepare(["t": 3]).contains { $0.contains("table t has more than 2 rows") })
        // Captured ones stay so, whatever their rows were.
        let names = try bench.shell("SELECT name FROM sqlite_schema")
        #expect(try prepare(["t": 1]) == [])
        #expect(try bench.shell("SELECT name FROM sqlite_schema") == names)
    }

    @Test func `A database locked for good is an error with words`() throws {
        let chain = try chain("CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE, v)")
        let source = try SQLiteSource(path: bench.path(), captureAbove: 0, busyTimeout: 0.2)
        _ = try source.prepare(
            collection: "c", tables: ["t"], rows: [:], capture: .auto)
        let holder = try Writer(.python, path: bench.path())
        try holder.hold("BEGIN IMMEDIATE")
        let failure = #expect(throws: Failure.self) {
            try source.openCut(collection: "c", nonce: "n")
        }
        #expect(failure?.code == .busy)
        #expect(failure?.message.contains("locked") == true)
        try holder.execute([])
        try chain.takePoint()
        #expect(chain.keyed["t"] == 0)
    }
}
