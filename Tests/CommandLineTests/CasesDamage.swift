import Foundation
import Testing

/// Damaged files: the table itself is read, never through an index, and one bad table doesn't stop the
/// others.
@Suite struct CasesDamage {
    /// A table of some rows, whose index `i` then misses some and holds others too many: the index is
    /// taken out of the schema while rows are written, and put back.
    private static func damage(_ index: String) -> String {
        """
        CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, n INT);
        WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s LIMIT 400)
            INSERT INTO t SELECT i, 'value ' || i, i % 10 FROM s;
        \(index);
        CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE name = 'i';
        PRAGMA writable_schema = ON;
        DELETE FROM sqlite_schema WHERE name = 'i';
        PRAGMA writable_schema = RESET;
        INSERT INTO t VALUES(1001, 'missed', 1), (1002, 'missed, too', 2);
        DELETE FROM t WHERE id IN (5, 77);
        UPDATE t SET v = 'renamed', n = 77 WHERE id = 200;
        PRAGMA writable_schema = ON;
        INSERT INTO sqlite_schema SELECT type, name, tbl_name, rootpage, sql FROM kept;
        PRAGMA writable_schema = RESET;
        """
    }

    @Test(arguments: [
        "CREATE INDEX i ON t(v)", "CREATE UNIQUE INDEX i ON t(v)", "CREATE INDEX i ON t(n, v, id)",
        "CREATE INDEX i ON t(n) WHERE n > 0",
    ])
    func `A damaged index loses nothing`(_ index: String) throws {
        let database = try CaseDatabase(Self.damage(index))
        let health = try database.rows("PRAGMA integrity_check")
        #expect(health.contains("index i"), "the test has damaged nothing: \(health)")
        try database.backUp()
        try database.execute("UPDATE t SET n = n + 1 WHERE id BETWEEN 300 AND 310")
        try database.backUp(incremental: true)
        let verified = try database.sandbox.ydbfs(
            "verify", CaseDatabase.name, "c", "--level", "source")
        #expect((verified.output + verified.errors).contains("REINDEX"), "\(verified.output)")
        try database.expectAllPoints()
        #expect(try database.rows("PRAGMA integrity_check", in: "new1.db") == "[('ok',)]")
    }

    @Test(arguments: ["bad", "also WITHOUT ROWID"])
    func `A table that can't be read is left out aloud, and the others aren't`(_ kind: String)
        throws
    {
        let isRowID = kind == "bad"
        let database = try CaseDatabase(
            """
            PRAGMA page_size = 4096;
            CREATE TABLE good(v); INSERT INTO good VALUES('precious');
            CREATE TABLE bad(k\(isRowID ? ", v)" : " PRIMARY KEY, v) WITHOUT ROWID");
            WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s LIMIT 3000)
                INSERT INTO bad SELECT i, 'value ' || i FROM s;
            CREATE TABLE zlast(v); INSERT INTO zlast VALUES('precious, too');
            """)
        try database.backUp()
        // The root page of the table becomes one of no kind.
        try database.python(
            """
            connection = connect()
            connection.execute("INSERT INTO good VALUES('newer')")
            (page,) = connection.execute(
                "SELECT rootpage FROM sqlite_schema WHERE name = 'bad'").fetchone()
            connection.close()
            with open("\(CaseDatabase.name)", "r+b") as file:
                file.seek((page - 1) * 4096)
                file.write(b"\\xff" * 64)
            """)
        let outcome = try database.run(["BACKUP c INCREMENTAL"], status: 3)
        #expect(outcome.state == "done" && outcome.incomplete == 1, "\(outcome)")
        #expect(outcome.leftOut?.map(\.path) == ["bad"], "\(outcome)")
        let restored = try database.run(
            ["--into", "new.db", "RESTORE c AT 'latest'"], status: 3)
        #expect(restored.words.contains("bad"), "\(restored)")
        #expect(
            try database.rows("SELECT * FROM good", in: "new.db")
                == "[('precious',), ('newer',)]")
        #expect(try database.rows("SELECT * FROM zlast", in: "new.db") == "[('precious, too',)]")
        // The point before has it still.
        try database.restore(0, into: "new0.db")
        try database.expectSame("copy0.db", "new0.db")
    }
}
