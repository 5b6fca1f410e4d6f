import Bytes
import Foundation
import SQLiteSource
import Tables
import TestSupport
import Testing

/// What a look at pages finds, and what it doesn't claim.
@Suite struct PageTests {
    let bench: Workbench
    /// 2,000 rows, by number.
    private let numbers =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"

    init() throws { bench = try Workbench(inMemory: true) }

    private func make(_ create: String, _ values: String) throws {
        try bench.shell(
            "PRAGMA journal_mode = WAL; CREATE TABLE t\(create); INSERT INTO t \(numbers) SELECT \(values) FROM n"
        )
    }

    /// How many rows of table t have to be compared after a change, which a scan agrees with.
    private func compared(_ chain: Chain, after sql: String) throws -> Int {
        try bench.shell(sql)
        try chain.takePoint()
        #expect(chain.doubts.isEmpty)
        return try #require(chain.ranged["t"], "\(chain.scanned)")
    }

    private func chain(rules: PageRules = PageRules()) throws -> Chain {
        let chain = try Chain(bench.path(), rules: rules)
        try chain.takePoint()
        return chain
    }

    @Test(arguments: [
        ("(id INTEGER PRIMARY KEY, v)", "i, 'value ' || i"),
        ("(k TEXT PRIMARY KEY, v)", "hex(i * 7919 % 10007), 'value ' || i"),
        ("(v)", "'value ' || i"),
        ("(id INT, k TEXT, v, PRIMARY KEY(id, k)) WITHOUT ROWID", "i, 'k' || i, 'value ' || i"),
        ("(k BLOB PRIMARY KEY, v) WITHOUT ROWID", "randomblob(8 + i % 40), 'value ' || i"),
        ("(r REAL PRIMARY KEY, v) WITHOUT ROWID", "i / 4.0 - 200, 'value ' || i"),
        (
            "(k TEXT COLLATE NOCASE, v, PRIMARY KEY(k COLLATE BINARY)) WITHOUT ROWID",
            "char(65 + i % 58) || i, 'value ' || i"
        ),
    ])
    func `Few rows are compared if few have changed, none if none has`(
        _ create: String, _ values: String
    ) throws {
        try make(create, values)
        let chain = try chain()
        #expect(try compared(chain, after: "SELECT 1") == 0)
        let update = try compared(chain, after: "UPDATE t SET v = 'new' WHERE v = 'value 700'")
        #expect(1...100 ~= update)
        let delete = try compared(chain, after: "DELETE FROM t WHERE v = 'value 100'")
        #expect(delete < 100)
        let statistics = try compared(
            chain, after: "CREATE INDEX i ON t(v); ANALYZE; REINDEX; DROP INDEX i")
        #expect(statistics == 0)
    }

    @Test func `A file that was written anew is known again`() throws {
        try make("(id INTEGER PRIMARY KEY, v)", "i * 3, hex(randomblob(20))")
        try bench.shell("DELETE FROM t WHERE id % 7 = 0; INSERT INTO t SELECT id + 1, v FROM t")
        let chain = try chain()
        #expect(try compared(chain, after: "VACUUM") == 0)
    }

    @Test func `All rows may be gone, or all new`() throws {
        try make("(id INTEGER PRIMARY KEY, v)", "i, i")
        let chain = try chain()
        #expect(try compared(chain, after: "DELETE FROM t") == 0)
        #expect(try compared(chain, after: "SELECT 1") == 0)
        let all = "INSERT INTO t \(numbers) SELECT i, i FROM n"
        #expect(try compared(chain, after: all) == 2000)
        let edges = "INSERT INTO t VALUES (-9223372036854775808, 1), (9223372036854775807, 2)"
        #expect(try compared(chain, after: edges) < 100)
        #expect(try compared(chain, after: "DELETE FROM t WHERE id IN (1, 2000)") < 100)
    }

    @Test func `What old rows say may change without them`() throws {
        try make("(id INTEGER PRIMARY KEY, v)", "i, i")
        try bench.shell("ALTER TABLE t ADD COLUMN z DEFAULT 'old'")
        let change = """
            PRAGMA writable_schema = 1;
            UPDATE sqlite_schema SET sql = replace(sql, 'old', 'new'); PRAGMA schema_version = 99
            """
        var wrong = PageRules()
        wrong.tellsTablesApart = false
        let (right, careless) = (try chain(), try chain(rules: wrong))
        try bench.shell(change)
        #expect(throws: Chain.Wrong.self) { try careless.takePoint() }
        try right.takePoint()
        #expect(right.scanned["t"] == "t: its definition was changed")
    }

    @Test func `Pages that one table frees and another fills are the other's`() throws {
        try make("(id INTEGER PRIMARY KEY, v)", "i, hex(randomblob(20))")
        try bench.shell("CREATE TABLE u(id INTEGER PRIMARY KEY, v)")
        let chain = try Chain(bench.path())
        try chain.takePoint(of: ["t", "u"])
        try bench.shell(
            """
            CREATE TEMP TABLE x AS SELECT * FROM t; DROP TABLE t; INSERT INTO u SELECT * FROM x;
            CREATE TABLE t(id INTEGER PRIMARY KEY, v)
            """)
        try chain.takePoint(of: ["t", "u"])
        #expect(chain.ranged == ["t": 0, "u": 2000])
    }

    @Test func `One byte at the end of a chain of overflow pages counts`() throws {
        try make("(id INTEGER PRIMARY KEY, v)", "i, randomblob(9000)")
        let chain = try chain()
        try bench.python(
            """
            c = sqlite3.connect(P, isolation_level=None)
            b = c.blobopen('t', 'v', 77)
            b[8999:9000] = bytes([b[8999] ^ 1])
            b.close()
            """)
        #expect(try 1...100 ~= compared(chain, after: "SELECT 1"))
        // Rows exchange what they have elsewhere.
        let exchange = """
            UPDATE t SET v = (SELECT CAST(substr(t.v, 1, 500) || substr(o.v, 501) AS BLOB) FROM t o
            WHERE o.id = CASE t.id WHEN 800 THEN 801 ELSE 800 END) WHERE id IN (800, 801)
            """
        #expect(try 2...100 ~= compared(chain, after: exchange))
    }

    @Test func `With little memory the same is found`() throws {
        try make("(id INTEGER PRIMARY KEY, v)", "i, randomblob(300)")
        try bench.shell(
            "INSERT INTO t SELECT id + 2000 * i, v FROM t, (\(numbers) SELECT i FROM n LIMIT 20)")
        var rules = PageRules()
        rules.memoryBytes = 1
        let chain = try chain(rules: rules)
        #expect(try compared(chain, after: "SELECT 1") == 0)
        #expect(
            try 1...100 ~= compared(chain, after: "UPDATE t SET v = randomblob(9) WHERE id = 41000")
        )
    }

    @Test func `Tables whose b-tree isn't in our order are compared whole`() throws {
        try bench.shell(
            """
            CREATE TABLE a(k TEXT COLLATE NOCASE PRIMARY KEY, v) WITHOUT ROWID;
            CREATE TABLE b(k INT, v, PRIMARY KEY(k DESC)) WITHOUT ROWID;
            CREATE TABLE c(k PRIMARY KEY, v) WITHOUT ROWID;
            INSERT INTO a VALUES ('a', 1), ('B', 2); INSERT INTO b VALUES (1, 1), (2, 2);
            INSERT INTO c VALUES (1, 1), ('x', 2)
            """)
        let chain = try Chain(bench.path())
        for _ in 0..<2 { try chain.takePoint(of: ["a", "b", "c"]) }
        #expect(Set(chain.scanned.keys) == ["a", "b", "c"])
        #expect(chain.doubts.isEmpty)
    }

    @Test func `What was kept is believed only as it was written`() throws {
        try make("(id INTEGER PRIMARY KEY, v)", "i, i")
        let chain = try chain()
        let kept = chain.known!
        let bytes = ByteBuffer()
        try kept.read(at: 0, count: Int(kept.sizeBytes), into: bytes)
        try bench.shell("UPDATE t SET v = 77 WHERE id = 5")
        let seed = UInt64.random(in: 0..<1 << 40)
        var random = SeededGenerator(seed: seed)
        for round in 0..<120 {
            var damaged = bytes.array
            if round % 4 == 0 {
                damaged = Array(damaged.prefix(random.below(damaged.count)))
            } else {
                damaged[random.below(damaged.count)] ^= 1 << UInt8(random.below(8))
            }
            let file = MemoryObject()
            let buffer = ByteBuffer()
            buffer.append(damaged)
            file.append(buffer)
            chain.known = file
            try chain.takePoint(commits: false)
            #expect(chain.scanned["t"] != nil, "seed \(seed)")
            #expect(chain.doubts.count == 1, "seed \(seed)")
        }
    }

    @Test(arguments: [512, 4096]) func `Damaged pages are noticed or do no harm`(size: Int) throws {
        let names = ["t", "w"]
        try bench.shell(
            """
            PRAGMA page_size = \(size); CREATE TABLE t(id INTEGER PRIMARY KEY, a);
            CREATE TABLE w(k TEXT PRIMARY KEY, b) WITHOUT ROWID;
            INSERT INTO t \(numbers) SELECT i, randomblob(60 + (i % 40 = 0) * 1500) FROM n LIMIT 300;
            INSERT INTO w SELECT 'k' || id, a FROM t
            """)
        let whole = try Data(contentsOf: URL(fileURLWithPath: bench.path()))
        let chain = try Chain(bench.path())
        try chain.takePoint(of: names)
        let seed = UInt64.random(in: 0..<1 << 40)
        var random = SeededGenerator(seed: seed)
        var (refused, read) = (0, 0)
        for _ in 0..<300 {
            var bytes = whole
            for _ in 0...random.below(3) {
                let page = (1 + random.below(bytes.count / size - 1)) * size
                let within = random.chance(50) ? random.below(40) : random.below(size)
                bytes[page + within] = UInt8(random.below(256))
            }
            try bytes.write(to: URL(fileURLWithPath: bench.path()))
            do {
                try chain.takePoint(of: names, commits: false)
                read += 1
            } catch is Failure {
                refused += 1
            } catch let wrong as Chain.Wrong where wrong.description.contains("out of order") {
                // A b-tree that isn't in order, and that SQLite reads as it lies.
                refused += 1
            } catch let wrong as Chain.Wrong where wrong.description.contains("count of") {
                refused += 1
            }
        }
        #expect(read > 20 && refused > 5, "seed \(seed)")
    }

    @Test func `A large file with a rollback journal is let go of, or read quickly`() throws {
        try bench.shell(
            """
            PRAGMA journal_mode = DELETE; CREATE TABLE t(id INTEGER PRIMARY KEY, v);
            INSERT INTO t \(numbers) SELECT i, zeroblob(40000) FROM n
            """)
        let chain = try Chain(bench.path())
        // All is to be read: others may write meanwhile.
        try chain.takePoint {
            try bench.shell("UPDATE t SET v = x'01' WHERE id = 1000")
        }
        #expect(chain.tables["t"]?.rows[999][1] != .bytes([1]))
        // Little is: they wait.
        try chain.takePoint {
            let held = "PRAGMA busy_timeout = 0; UPDATE t SET v = x'02' WHERE id = 7"
            #expect(throws: Failure.self) { try bench.shell(held) }
        }
        #expect(try 1...100 ~= #require(chain.ranged["t"]))
        #expect(chain.tables["t"]?.rows[999][1] == .bytes([1]))
    }

    @Test
    func `A rollback of what a dead writer left is told, and is refused where nothing is written`()
        throws
    {
        try bench.shell("CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'a')")
        try bench.python(
            """
            import shutil
            c = sqlite3.connect(P, isolation_level=None)
            c.execute('PRAGMA cache_size = 1')
            c.execute('BEGIN')
            for i in range(3, 9000): c.execute('INSERT INTO t VALUES(?, ?)', (i, 'x' * 100))
            shutil.copy(P, P + '.copy'); shutil.copy(P + '-journal', P + '.copy-journal')
            c.execute('ROLLBACK')
            """)
        let path = bench.path("database.db.copy")
        let digest = try bench.digest("database.db.copy")
        let refusal = #expect(throws: Failure.self) {
            try SQLiteSource(path: path, isReadOnly: true)
        }
        #expect(refusal?.code == .readOnly)
        #expect(refusal?.message.contains("died within a transaction") == true)
        #expect(try bench.digest("database.db.copy") == digest)
        let source = try SQLiteSource(path: path)
        try source.atCut { cut in
            #expect(cut.notes.count == 1)
            let rows = try cut.read("t").rows.count
            #expect(rows == 1)
        }
        #expect(try source.atCut { $0.notes.isEmpty })
    }

    @Test func `What earlier versions left is found and removed`() throws {
        try bench.shell(
            """
            CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'a');
            CREATE TABLE _ydbfs_meta(k PRIMARY KEY, v); CREATE TABLE _ydbfs_log_1(seq INTEGER PRIMARY KEY, k1);
            CREATE TRIGGER _ydbfs_1_ai AFTER INSERT ON t BEGIN INSERT INTO _ydbfs_log_1(k1) VALUES (new.id); END;
            CREATE TABLE xydbfs_mine(a)
            """)
        let source = try SQLiteSource(path: bench.path())
        let statements = [
            "DROP TRIGGER \"_ydbfs_1_ai\"", "DROP TABLE \"_ydbfs_meta\"",
            "DROP TABLE \"_ydbfs_log_1\"",
        ]
        #expect(try source.leftoverRemoval() == statements)
        #expect(try source.removeLeftoverCapture() == statements)
        #expect(try source.leftoverRemoval().isEmpty)
        #expect(
            try bench.shell("SELECT group_concat(name) FROM sqlite_schema WHERE type <> 'index'")
                == "t,xydbfs_mine")
    }

    @Test(arguments: ["WAL", "DELETE"]) func `Not a byte changes`(_ journal: String) throws {
        let writer = try Writer(.python, path: bench.path())
        try writer.execute([
            "PRAGMA journal_mode = \(journal)", "PRAGMA wal_autocheckpoint = 0",
            "CREATE TABLE t(id INTEGER PRIMARY KEY, v)",
            "INSERT INTO t \(numbers) SELECT i, randomblob(100) FROM n",
        ])
        func digests() throws -> [String] {
            try bench.files.filter { !$0.hasSuffix("-shm") }.map { try bench.digest($0) }
        }
        let before = try digests()
        let chain = try chain()
        try chain.takePoint()
        #expect(chain.ranged["t"] == 0)
        #expect(try digests() == before)
    }
}
