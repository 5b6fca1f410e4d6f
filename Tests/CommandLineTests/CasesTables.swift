import Foundation
import Testing

/// Tables of every kind are in the point and come back: without a key, with NULLs in it, with rows that
/// move, renumbered by VACUUM.
@Suite struct CasesTables {
    /// What a table is, and how it changes before each incremental.
    struct Case: CustomTestStringConvertible {
        var create: String
        var changes: [String]

        var testDescription: String { create }
    }

    private func expectChain(_ test: Case) throws {
        let database = try CaseDatabase(test.create)
        try database.backUp()
        for change in test.changes {
            try database.execute(change)
            try database.backUp(incremental: true)
        }
        let verified = try database.sandbox.ydbfs(
            "verify", CaseDatabase.name, "c", "--level", "source")
        #expect(verified.status == 0, "\(verified.output)\(verified.errors)")
        try database.expectAllPoints()
    }

    @Test(arguments: [
        Case(
            create: """
                CREATE TABLE orders(id INTEGER PRIMARY KEY, x);
                CREATE TABLE audit(at TEXT, what TEXT);
                CREATE TRIGGER tr AFTER INSERT ON orders
                    BEGIN INSERT INTO audit VALUES('then', NEW.id); END;
                INSERT INTO orders VALUES(1, 'a'), (2, 'b');
                """,
            changes: ["INSERT INTO orders VALUES(3, 'c')", "DELETE FROM audit WHERE what = 2"]),
        Case(
            create: """
                CREATE TABLE tiles(z integer, x integer, y integer, d blob, UNIQUE(z, x, y));
                INSERT INTO tiles VALUES(0, 0, 0, x'00'), (1, 0, 0, x'01'), (1, 1, 0, NULL);
                """,
            changes: [
                "UPDATE tiles SET d = x'ff' WHERE x = 1", "DELETE FROM tiles WHERE z = 0",
            ]),
        Case(
            create: """
                CREATE TABLE t(a, b);
                INSERT INTO t VALUES(1, 'same'), (1, 'same'), (1, 'same'), (NULL, NULL);
                """,
            changes: [
                "DELETE FROM t WHERE rowid = 2", "INSERT INTO t VALUES(NULL, NULL), (1, 'same')",
            ]),
        Case(
            create: """
                CREATE TABLE t(rowid TEXT, oid INTEGER, v);
                INSERT INTO t VALUES('a', 1, 1.5), ('b', 2, x'00');
                """,
            changes: [
                "UPDATE t SET rowid = 'A' WHERE oid = 1", "INSERT INTO t VALUES('c', 1, 0)",
            ]),
        Case(
            create: """
                CREATE TABLE t(_ROWID_, v);
                INSERT INTO t(rowid, _ROWID_, v) VALUES(-5, 'x', 1), (9223372036854775807, 'y', 2);
                """,
            changes: ["INSERT INTO t(rowid, v) VALUES(-9223372036854775808, 3)", "DELETE FROM t"]),
        Case(
            create: """
                CREATE TABLE t(id INTEGER PRIMARY KEY DESC, v);
                INSERT INTO t VALUES(3, 'c'), (1, 'a'), (NULL, 'n'), (NULL, 'm');
                """,
            changes: [
                "UPDATE t SET v = 'N' WHERE v = 'n'", "UPDATE t SET id = 9 WHERE v = 'm'",
            ]),
        Case(
            create: """
                CREATE TABLE t("id" INT PRIMARY KEY, v);
                INSERT INTO t VALUES(10, 'ten'), (2.5, 'real'), ('x', 'text'), (x'31', 'blob');
                """,
            changes: ["INSERT INTO t VALUES(1, 'one')", "DELETE FROM t WHERE id = 'x'"]),
        Case(
            create: """
                CREATE TABLE s(a INTEGER PRIMARY KEY, v TEXT);
                INSERT INTO s VALUES(5, 'e'), (6, 'f'), (7, NULL);
                CREATE TABLE t AS SELECT v, a FROM s;
                CREATE TABLE empty(a, b UNIQUE);
                """,
            changes: ["INSERT INTO empty VALUES(1, 2)", "DELETE FROM empty; DELETE FROM t"]),
    ])
    func `A table without a key comes back, with its rowids, at every point`(_ test: Case) throws {
        try expectChain(test)
    }

    @Test(arguments: [
        Case(
            create: """
                CREATE TABLE members(email TEXT PRIMARY KEY, name);
                CREATE TABLE other(id INTEGER PRIMARY KEY);
                INSERT INTO members VALUES('b@example.org', 'B'), ('a@example.org', 'A');
                """,
            changes: [
                "INSERT INTO members VALUES(NULL, 'no mail'), (NULL, 'none either')",
                "DELETE FROM members WHERE name = 'no mail'",
            ]),
        Case(
            create: """
                CREATE TABLE t(a INT, b TEXT, v, PRIMARY KEY(a, b));
                INSERT INTO t VALUES(1, NULL, 'x'), (1, NULL, 'y'), (NULL, NULL, 'z'), (1, 'b', '');
                """,
            changes: [
                "UPDATE t SET b = 'now' WHERE v = 'x'", "UPDATE t SET a = NULL WHERE v = 'y'",
            ]),
        Case(
            create: """
                CREATE TABLE t(k BLOB PRIMARY KEY, v) ;
                INSERT INTO t VALUES(NULL, 1);
                """,
            changes: ["INSERT INTO t VALUES(NULL, 1)", "INSERT INTO t VALUES(x'', 1)"]),
    ])
    func `Rows whose key is NULL never make their table vanish`(_ test: Case) throws {
        try expectChain(test)
    }

    @Test(arguments: [
        Case(
            create: """
                CREATE TABLE t(k TEXT PRIMARY KEY NOT NULL, v);
                INSERT INTO t VALUES('c', 1), ('a', 2), ('b', 3), ('d', 4);
                """,
            changes: [
                "UPDATE t SET rowid = rowid + 1000 WHERE k <> 'a'",
                "DELETE FROM t WHERE k = 'a'; INSERT INTO t VALUES('a', 2)",
                "UPDATE t SET k = CASE k WHEN 'a' THEN 'z' ELSE k || k END",
                "REPLACE INTO t VALUES('z', 9)",
            ]),
        Case(
            create: """
                CREATE TABLE t(id INTEGER PRIMARY KEY, v);
                INSERT INTO t VALUES(1, 'one'), (2, 'two'), (3, 'three');
                """,
            changes: [
                "UPDATE t SET id = -id; UPDATE t SET id = 4 + id",
                "UPDATE t SET id = id + 100; INSERT INTO t VALUES(1, 'one')",
            ]),
        Case(
            create: """
                CREATE TABLE t(k TEXT COLLATE NOCASE, n INT, v, PRIMARY KEY(k, n DESC)) WITHOUT ROWID;
                INSERT INTO t VALUES('b', 1, 1), ('A', 2, 2), ('a', 3, 3), ('C', 1, 4);
                """,
            changes: [
                "UPDATE t SET k = upper(k)", "UPDATE t SET n = -n WHERE k = 'A'",
                "DELETE FROM t WHERE k = 'b'; INSERT INTO t VALUES('b', 1, 1)",
            ]),
        Case(
            create: """
                CREATE TABLE a(x, y); CREATE TABLE b(x, y);
                INSERT INTO a VALUES(1, 1), (2, 2); INSERT INTO b VALUES(3, 3);
                """,
            changes: [
                "INSERT INTO b SELECT * FROM a; DELETE FROM a",
                "ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a; ALTER TABLE c RENAME TO b",
                "DROP TABLE a; CREATE TABLE a(x, y); INSERT INTO a VALUES(3, 3)",
            ]),
    ])
    func `Rows that move between points are where they moved to`(_ test: Case) throws {
        try expectChain(test)
    }

    @Test(arguments: [
        "CREATE TABLE t(a, b)", "CREATE TABLE t(a INTEGER, b TEXT NOT NULL)",
    ])
    func `VACUUM renumbers rowids, and every point is what the table was`(_ create: String) throws {
        let database = try CaseDatabase(
            """
            \(create);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000)
                INSERT INTO t SELECT i % 97, 'value ' || i % 1001 FROM n;
            """)
        try database.backUp()
        try database.execute(
            """
            DELETE FROM t WHERE rowid % 500 = 7; VACUUM;
            INSERT INTO t VALUES(1, 'new'), (2, 'new'), (3, 'new');
            """)
        #expect(try database.rows("SELECT max(rowid), count(*) FROM t") == "[(4993, 4993)]")
        try database.backUp(incremental: true)
        try database.execute("VACUUM")
        try database.backUp(incremental: true)
        try database.expectAllPoints()
    }

    @Test func `Where columns take all names of the rowid, the declared key stands in`() throws {
        let database = try CaseDatabase(
            """
            CREATE TABLE t(rowid TEXT PRIMARY KEY NOT NULL, _rowid_, oid);
            INSERT INTO t VALUES('b', 1, 2), ('a', 3, 4);
            """)
        try database.backUp()
        try database.execute("UPDATE t SET oid = 9 WHERE rowid = 'a'; DELETE FROM t WHERE oid = 2")
        try database.backUp(incremental: true)
        try database.expectAllPoints()
    }
}
