import Bytes
import Foundation
import SQLiteSource
import Tables
import TestSupport
import Testing

/// What happens to the file itself, and around it.
@Suite struct FileTests {
    let bench: Workbench
    private let fill =
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES(1,'a'),(2,'b');"

    init() throws { bench = try Workbench() }

    private func failure(_ name: String) -> Failure? {
        #expect(throws: Failure.self) { try SQLiteSource(path: bench.path(name)) }
    }

    @Test func `File systems that share no memory are refused by name, others aren't`() throws {
        try bench.shell(fill)
        #expect(LyingFileSystem.name(of: bench.path()) == nil)
        #expect(LyingFileSystem.name(of: bench.path("missing")) == nil)
        #expect(throws: Never.self) { try LyingFileSystem.refuse(bench.path()) }
        let refusal = #expect(throws: Failure.self) {
            try LyingFileSystem.refuse(bench.path()) { _ in "9p" }
        }
        #expect(refusal?.code == .unsupported)
        for word in ["9p", "--trust-fs", bench.path()] {
            #expect(refusal?.message.contains(word) == true, "\(word)")
        }
    }

    @Test func `A missing file is not created`() throws {
        #expect(failure("database.db")?.code == .notFound)
        #expect(bench.files == [])
    }

    @Test func `What is no database is refused in words`() throws {
        try bench.run("sh", ["-c", "head -c 100000 /dev/urandom > \(bench.path("noise"))"])
        #expect(failure("noise")?.code == .invalid)
        #expect(failure("noise")?.message.contains("no SQLite database") == true)
        #expect(failure(".")?.code == .invalid)
        try bench.shell(fill)
        try bench.shell(
            "WITH RECURSIVE s(i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM s WHERE i < 9999) INSERT INTO t SELECT i, hex(randomblob(50)) FROM s"
        )
        let size = Int(try bench.run("stat", ["-c", "%s", bench.path()]))!
        for (from, to) in [(100, 4096), (4096, size)] {
            try bench.run("cp", [bench.path(), bench.path("broken")])
            let noise = try bench.run(
                "sh",
                [
                    "-c",
                    "head -c \(to - from) /dev/urandom | dd of=\(bench.path("broken")) bs=1 seek=\(from) conv=notrunc status=none",
                ])
            #expect(noise == "")
            let code = #expect(throws: Failure.self) {
                try SQLiteSource(path: bench.path("broken")).atCut { _ = try $0.read("t") }
            }?.code
            #expect(code == .corrupt)
        }
        try bench.run("truncate", ["-s", "0", bench.path("empty")])
        #expect(try SQLiteSource(path: bench.path("empty")).listTables().isEmpty)
    }

    @Test func `Definitions that other sources know are read again once they are others`() throws {
        let known = KnownDefinitions()
        func columns() throws -> [String: [String]] {
            let source = try SQLiteSource(path: bench.path(), known: known)
            return try source.atCut { cut in
                var found: [String: [String]] = [:]
                for table in try cut.listTables() {
                    found[table.path] =
                        try cut.read(table.path).schema.visibleColumns.map(\.name)
                }
                return found
            }
        }
        try bench.shell("PRAGMA journal_mode = WAL; \(fill)")
        #expect(try columns() == ["t": ["k", "v"]])
        #expect(try columns() == ["t": ["k", "v"]])
        try bench.shell("ALTER TABLE t ADD COLUMN w; CREATE TABLE u(a PRIMARY KEY NOT NULL)")
        #expect(try columns() == ["t": ["k", "v", "w"], "u": ["a"]])
        // Written over in place, by one whose schema has changed as often.
        try bench.shell("VACUUM INTO '\(bench.path("other"))'")
        let version = try bench.shell("PRAGMA schema_version")
        try bench.shell(
            "ALTER TABLE u RENAME COLUMN a TO b; PRAGMA schema_version = \(version)", on: "other")
        try bench.run("sh", ["-c", "cat \(bench.path("other")) > \(bench.path())"])
        #expect(try bench.shell("PRAGMA schema_version") == version)
        #expect(try columns() == ["t": ["k", "v", "w"], "u": ["b"]])
    }

    @Test(arguments: ["wal", "delete"])
    func `What is written after the look at a database is in the cut, and nothing is left open`(
        _ journal: String
    ) throws {
        try bench.shell("PRAGMA journal_mode = \(journal); \(fill)")
        let files = bench.files
        for isReplaced in [false, true] {
            let source = try SQLiteSource(path: bench.path(), busyTimeout: 1)
            _ = try source.listTables()
            if isReplaced {
                try bench.shell("VACUUM INTO '\(bench.path("other"))'")
                try bench.shell("PRAGMA journal_mode = \(journal)", on: "other")
                try bench.run("mv", [bench.path("other"), bench.path()])
            }
            try bench.shell(
                """
                CREATE TABLE late\(isReplaced)(k INTEGER PRIMARY KEY); INSERT INTO t(v) VALUES('x')
                """)
            try source.atCut { cut in
                let rows = try cut.read("t").rows
                #expect(rows.count == (isReplaced ? 4 : 3))
                let tables = try cut.listTables().map(\.path)
                #expect(tables.contains("late\(isReplaced)"))
            }
            // SQLite removes its log as the last program closes: we have nothing open any more.
            try bench.shell("SELECT count(*) FROM t")
            #expect(bench.files == files)
        }
    }

    @Test func `Damaged files throw, and never crash`() throws {
        let small = try Workbench(inMemory: true)
        try small.shell(
            """
            PRAGMA page_size = 512; CREATE TABLE t(k TEXT PRIMARY KEY NOT NULL, v, n DECIMAL); CREATE INDEX i ON t(v);
            WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 200)
            INSERT INTO t SELECT 'key' || i, randomblob(i), i FROM s; \(fill.replacing("TABLE t", with: "TABLE x").replacing("INTO t", with: "INTO x"))
            """)
        let whole = try Data(contentsOf: URL(fileURLWithPath: small.path()))
        let seed = UInt64.random(in: 0..<1 << 40)
        var random = SeededGenerator(seed: seed)
        var thrown = 0
        for round in 0..<400 {
            var bytes = whole
            // Half of the damage goes to the header and the schema.
            let end = round % 2 == 0 ? 1500 : bytes.count
            for _ in 0...random.below(8) { bytes[random.below(end)] = UInt8(random.below(256)) }
            if random.chance(10) { bytes = bytes.prefix(random.below(bytes.count)) }
            try bytes.write(to: URL(fileURLWithPath: small.path()))
            do {
                let source = try SQLiteSource(path: small.path(), busyTimeout: 1)
                try source.atCut { cut in
                    for table in try cut.listTables() where table.refusal == nil {
                        _ = try cut.read(table.path)
                    }
                    _ = try cut.facts
                }
            } catch is Failure {
                thrown += 1
            }
        }
        #expect(thrown > 20, "seed \(seed)")
    }

    @Test(arguments: ["DELETE", "TRUNCATE", "PERSIST", "WAL"])
    func `Reading writes nothing, and leaves nothing behind`(_ journal: String) throws {
        try bench.shell("PRAGMA journal_mode = \(journal); \(fill)")
        let (digest, files) = (try bench.digest(), bench.files)
        let times = try bench.run("stat", ["-c", "%Y %y %s %i", bench.path()])
        let chain = try Chain(bench.path())
        for _ in 0..<3 { try chain.takePoint() }
        _ = try chain.source.listTables()
        #expect(try bench.digest() == digest)
        #expect(try bench.run("stat", ["-c", "%Y %y %s %i", bench.path()]) == times)
        #expect(bench.files == files)
    }

    @Test func `A log that others keep is neither checkpointed nor removed`() throws {
        let writer = try Writer(.python, path: bench.path())
        try writer.execute(["PRAGMA journal_mode = WAL", "PRAGMA wal_autocheckpoint = 0"])
        try writer.execute(fill.split(separator: ";").map(String.init))
        let digest = try bench.digest()
        let log = try bench.digest("database.db-wal")
        #expect(try SQLiteSource(path: bench.path()).atCut { try $0.read("t").rows.count } == 2)
        #expect(try bench.digest() == digest)
        #expect(try bench.digest("database.db-wal") == log)
        let chain = try Chain(bench.path())
        try chain.takePoint()
        try chain.takePoint()
        #expect(try bench.digest() == digest)
        #expect(try bench.digest("database.db-wal") == log)
    }

    @Test(arguments: ["WAL", "DELETE"])
    func `A cut stays as it was while others write`(_ journal: String) throws {
        try bench.shell("PRAGMA journal_mode = \(journal); \(fill)")
        let source = try SQLiteSource(path: bench.path())
        try source.atCut { cut in
            try bench.shell(
                "UPDATE t SET v = 'new'; CREATE TABLE u(k INTEGER PRIMARY KEY); DROP TABLE u; INSERT INTO t VALUES(3,'c')"
            )
            #expect(try cut.read("t").rows.map { $0[1] } == [.text("a"), .text("b")])
            #expect(try cut.countRows("t") == 2)
        }
        let now = Int64(Date().timeIntervalSince1970 * 1_000_000)
        #expect(try source.atCut { abs($0.instant - now) } < 60_000_000)
    }

    @Test func `A transaction that died halfway is rolled back by SQLite`() throws {
        try bench.shell("PRAGMA journal_mode = DELETE; \(fill)")
        // The writer's pages reach the file, its commit doesn't: copied, journal and all.
        try bench.python(
            """
            import shutil
            c = sqlite3.connect(P, isolation_level=None)
            c.execute('PRAGMA cache_size = 1')
            c.execute('BEGIN')
            for i in range(3, 5000): c.execute('INSERT INTO t VALUES(?, ?)', (i, 'x' * 100))
            c.execute("UPDATE t SET v = 'dirty' WHERE k = 1")
            for i in range(5000, 9000): c.execute('INSERT INTO t VALUES(?, ?)', (i, 'x' * 100))
            shutil.copy(P, P + '.copy'); shutil.copy(P + '-journal', P + '.copy-journal')
            c.execute('ROLLBACK')
            """)
        let source = try SQLiteSource(path: bench.path("database.db.copy"))
        #expect(
            try source.atCut { try $0.read("t").rows.map { $0[1] } } == [.text("a"), .text("b")])
    }

    @Test(arguments: ["WAL", "DELETE"])
    func `A read-only medium is read and scanned`(_ journal: String) throws {
        try bench.shell("PRAGMA journal_mode = \(journal); \(fill)")
        let mounted = bench.path("mounted")
        try FileManager.default.createDirectory(atPath: mounted, withIntermediateDirectories: true)
        guard
            (try? bench.run(
                "sh",
                [
                    "-c",
                    "mount --bind \(bench.folder) \(mounted) && mount -o remount,ro,bind \(mounted)",
                ])) != nil
        else { return }  // Only root may mount.
        defer { _ = try? bench.run("umount", [mounted]) }
        let chain = try Chain(mounted + "/database.db")
        for _ in 0..<2 { try chain.takePoint() }
        #expect(chain.tables["t"]?.rows.count == 2)
    }

    @Test(arguments: ["WAL", "DELETE"])
    func `Points taken while other programs write are consistent`(_ journal: String) throws {
        let bench = try Workbench(inMemory: true)
        try bench.shell(
            """
            PRAGMA journal_mode = \(journal); CREATE TABLE t(id INTEGER PRIMARY KEY, u INT UNIQUE, v);
            CREATE TABLE sums(k TEXT PRIMARY KEY NOT NULL, n INT) WITHOUT ROWID; INSERT INTO sums VALUES('t', 0);
            INSERT INTO t VALUES(1, 1, 1);
            """)
        // The second writer keeps a sum in another table, within its transactions.
        let program = """
            import os, random, time
            r = random.Random(int(sys.argv[1])); end = time.time() + 100
            c = sqlite3.connect(sys.argv[2], isolation_level=None, timeout=60)
            while time.time() < end and not os.path.exists(sys.argv[3]):
                k = r.randrange(300)
                try:
                    q = r.randrange(6)
                    if q == 0: c.execute('replace into t values(?,?,1)', (k, r.randrange(400)))
                    elif q == 1: c.execute('update or replace t set u=? where id=?', (r.randrange(400), k))
                    elif q == 2: c.execute('delete from t where id=?', (k,))
                    elif q == 3: c.execute('update or fail t set u=u+1 where id between ? and ?', (k, k + 3))
                    elif q == 4: c.execute('update or replace t set id=? where id=?', (r.randrange(300), k))
                    else:
                        c.execute('begin immediate')
                        for _ in range(20): c.execute('insert or ignore into t values(?,?,1)', (r.randrange(300), r.randrange(400)))
                        c.execute("update sums set n = (select count(*) from t)")
                        c.execute(r.choice(['commit', 'rollback']))
                    c.execute("update sums set n = (select count(*) from t)")
                    if r.random() < 0.2: time.sleep(0.005)
                except sqlite3.Error:
                    if c.in_transaction: c.execute('rollback')
            """
        try ("import sqlite3, sys\n" + program).write(
            toFile: bench.path("writer.py"), atomically: false, encoding: .utf8)
        let writers = try (1...2).map { seed in
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = [
                pythonProgram, bench.path("writer.py"), "\(seed)", bench.path(), bench.path("stop"),
            ]
            try process.run()
            return process
        }
        let chain = try Chain(bench.path())
        let slow = try Chain(bench.path())
        var points = 0
        defer {
            _ = FileManager.default.createFile(atPath: bench.path("stop"), contents: nil)
            for writer in writers { writer.waitUntilExit() }
        }
        while points < 40 {
            try chain.takePoint(of: ["sums", "t"])
            points += 1
            if points % 5 == 0 { try slow.takePoint() }
        }
    }
}
