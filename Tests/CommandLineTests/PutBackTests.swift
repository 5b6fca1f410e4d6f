import Foundation
import Testing

/// Rows put back into tables that are there. What is right is said by SQLite, from copies of the
/// database as it was.
@Suite struct PutBackTests {
    private let sandbox: Sandbox

    init() throws { sandbox = try Sandbox() }

    private static let create =
        "CREATE BACKUP COLLECTION c DATABASE WITH (STORAGE = 'cluster', "
        + "INCREMENTAL_BACKUP_ENABLED = 'true'); BACKUP c"

    private static let shop = """
        CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT UNIQUE, total REAL);
        CREATE TABLE items (id INTEGER PRIMARY KEY, o INT REFERENCES orders(id), n INT CHECK (n > 0));
        CREATE TABLE users (name TEXT PRIMARY KEY, age INT, twice INT AS (age * 2) STORED);
        CREATE TABLE pairs (a TEXT, b INT, v, PRIMARY KEY (a, b)) WITHOUT ROWID;
        CREATE TABLE log (msg);
        CREATE TRIGGER noted AFTER INSERT ON orders BEGIN INSERT INTO log VALUES (new.id); END;
        INSERT INTO orders VALUES (1, 'x', 1.5), (2, 'y', 2), (3, NULL, 3), (4, 'z', 4);
        INSERT INTO items VALUES (1, 1, 1), (2, 2, 1), (3, 3, 9);
        INSERT INTO users (name, age) VALUES ('anna', 1), ('bob', 2), (NULL, 4), (NULL, 5);
        INSERT INTO pairs VALUES ('k,1', 1, 'v'), ('', 2, NULL), ('a/b', 3, x'00ff');
        DELETE FROM log;
        INSERT INTO log VALUES ('a'), (5), (x'01');
        """

    /// Makes the shop and its first point.
    private func begin(_ sql: String = shop) throws {
        try sandbox.sql(sql)
        #expect(try sandbox.ydbfs("run", "database.db", Self.create).status == 0)
        try FileManager.default.copyItem(
            atPath: "\(sandbox.path)/database.db", toPath: "\(sandbox.path)/0.db")
    }

    private func backUp() throws {
        #expect(try sandbox.ydbfs("run", "database.db", "BACKUP c INCREMENTAL").status == 0)
    }

    private func points() throws -> [String] {
        try sandbox.ydbfs("show", "database.db", "c").output.split(separator: "\n").dropFirst().map
        {
            String($0.prefix { $0 != " " })
        }
    }

    private func put(
        _ what: String, with options: String = "", at point: Int = 0, into: String? = nil
    ) throws -> Sandbox.Result {
        let statement =
            "RESTORE c AT '\(try points()[point])' (\(what))"
            + (options.isEmpty ? "" : " WITH (\(options))")
        let into = into.map { ["--into", $0] } ?? []
        return try sandbox.run(Sandbox.binary, ["run", "database.db"] + into + [statement])
    }

    private func query(_ sql: String, _ database: String = "database.db") throws -> String {
        let result = try sandbox.run("/usr/bin/sqlite3", [database, sql])
        #expect(result.status == 0 && result.errors == "", "\(sql): \(result.errors)")
        return result.output
    }

    private static let orders = "SELECT id, quote(email), quote(total) FROM orders ORDER BY id"

    @Test func `Deleted rows come back, and no other row changes`() throws {
        try begin()
        try sandbox.sql(
            "DELETE FROM orders WHERE id IN (1, 3); DELETE FROM pairs; DELETE FROM log WHERE msg = 5;"
                + "UPDATE orders SET total = 20 WHERE id = 2")
        let result = try put(
            "TABLE orders WHERE KEY IN (3, 1, 3), TABLE pairs WHERE KEY IN (('a/b', 3), ('', 2)), "
                + "TABLE log WHERE KEY IN (2)")
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.contains("note: orders: inserted 2, replaced 0"), "\(result.output)")
        #expect(result.output.contains("rows=5 "), "\(result.output)")
        #expect(result.output.contains("its triggers (noted) didn't run"))
        #expect(
            try query(Self.orders) == "1|'x'|1.5\n2|'y'|20.0\n3|NULL|3.0\n4|'z'|4.0\n")
        #expect(
            try query("SELECT quote(a), b, quote(v) FROM pairs") == "''|2|NULL\n'a/b'|3|X'00FF'\n")
        #expect(try query("SELECT rowid, quote(msg) FROM log") == "1|'a'\n2|5\n3|X'01'\n")
        #expect(try query("PRAGMA integrity_check") == "ok\n")
    }

    @Test func `Rows that are others by now are a conflict, which the statement decides`() throws {
        try begin()
        try sandbox.sql(
            """
            ALTER TABLE orders ADD COLUMN note DEFAULT 'new';
            UPDATE orders SET note = 'kept';
            UPDATE orders SET email = 'other' WHERE id = 2;
            DELETE FROM orders WHERE id = 4;
            """)
        let before = try query(".dump")
        let keys = "TABLE log WHERE KEY IN (1), TABLE orders WHERE KEY IN (1, 2, 4)"
        let refused = try put(keys)
        #expect(refused.status == 1)
        #expect(
            refused.errors.contains("orders: 1 row that is there is another one by now (2)"),
            "\(refused.errors)")
        let tried = try put(keys, with: "on_conflict = replace, dry_run = true")
        #expect(tried.status == 0)
        #expect(
            tried.output.contains(
                "orders: would insert 1, replace 1, 1 already there as at the point"),
            "\(tried.output)")
        #expect(try query(".dump") == before)
        let skipped = try put(keys, with: "on_conflict = skip")
        #expect(skipped.output.contains("orders: inserted 1, replaced 0, left 1 alone, 1 already"))
        let notes = "SELECT id, email, note FROM orders WHERE id IN (2, 4) ORDER BY id"
        #expect(try query(notes) == "2|other|kept\n4|z|new\n")
        let replaced = try put(keys, with: "on_conflict = replace")
        #expect(replaced.status == 0 && replaced.output.contains("inserted 0, replaced 1"))
        #expect(try query(notes) == "2|y|kept\n4|z|new\n")
    }

    @Test func `Values that rows have swapped are swapped back`() throws {
        try begin()
        try sandbox.sql(
            """
            ALTER TABLE orders ADD COLUMN note;
            UPDATE orders SET note = 'of ' || id;
            UPDATE orders SET email = NULL WHERE id = 1;
            UPDATE orders SET email = 'x' WHERE id = 2;
            UPDATE orders SET email = 'y' WHERE id = 1;
            """)
        let alone = try put("TABLE orders WHERE KEY IN (1)", with: "on_conflict = replace")
        #expect(alone.status == 1)
        #expect(alone.errors.contains("UNIQUE constraint failed: orders.email"), "\(alone.errors)")
        #expect(alone.errors.contains("nothing was put back"))
        let both = try put("TABLE orders WHERE KEY IN (1, 2)", with: "on_conflict = replace")
        #expect(both.status == 0, "\(both.errors)")
        #expect(
            try query("SELECT id, email, note FROM orders WHERE id < 3")
                == "1|x|of 1\n2|y|of 2\n")
        #expect(try query("PRAGMA integrity_check") == "ok\n")
    }

    @Test func `All tables of a statement get their rows, or none does`() throws {
        try begin()
        try sandbox.sql(
            """
            DELETE FROM orders WHERE id = 3; DELETE FROM users WHERE name = 'bob';
            INSERT INTO orders (id, email) VALUES (9, 'z2');
            UPDATE orders SET email = NULL WHERE id = 4; UPDATE orders SET email = 'z' WHERE id = 9;
            DELETE FROM orders WHERE id = 4;
            """)
        let before = try query(".dump")
        let refused = try put("TABLE users WHERE KEY IN ('bob'), TABLE orders WHERE KEY IN (3, 4)")
        #expect(refused.status == 1 && refused.errors.contains("orders.email"), "\(refused.errors)")
        #expect(try query(".dump") == before)
        let skipped = try put(
            "TABLE users WHERE KEY IN ('bob'), TABLE orders WHERE KEY IN (3, 4)",
            with: "on_conflict = skip")
        #expect(skipped.status == 3, "\(skipped.errors)")
        #expect(skipped.output.contains("left out: orders: 1 row can't be there beside others"))
        #expect(try query(Self.orders) == "1|'x'|1.5\n2|'y'|2.0\n3|NULL|3.0\n9|'z'|NULL\n")
        #expect(try query("SELECT age, twice FROM users WHERE name = 'bob'") == "2|4\n")
    }

    @Test func `What can't be as it was is named`() throws {
        try begin()
        try sandbox.sql(
            """
            DELETE FROM items; DELETE FROM orders WHERE id = 1;
            ALTER TABLE users DROP COLUMN twice; ALTER TABLE users RENAME COLUMN age TO years;
            DELETE FROM users WHERE name = 'bob';
            """)
        let orphan = try put("TABLE items WHERE KEY IN (1, 2)")
        #expect(orphan.status == 0)
        #expect(
            orphan.output.contains("items: 1 row refers to rows of orders that aren't there"),
            "\(orphan.output)")
        let missing = try put("TABLE items WHERE KEY IN (3, 77)")
        #expect(missing.status == 3 && missing.output.contains("has no row 77"))
        #expect(try query("SELECT count(*) FROM items") == "3\n")
        let strict = try put("TABLE orders WHERE KEY IN (1, 78)", with: "strict = true")
        #expect(strict.status == 1 && strict.errors.contains("has no row 78"))
        #expect(try query("SELECT count(*) FROM orders WHERE id = 1") == "0\n")
        let none = try put("TABLE orders WHERE KEY IN (78)")
        #expect(none.status == 1 && none.errors.contains("nothing was put back"))
        let columns = try put("TABLE users WHERE KEY IN ('bob')")
        #expect(columns.status == 3, "\(columns.errors)")
        #expect(columns.output.contains("column age of the point isn't in the table any more"))
        #expect(try query("SELECT quote(years) FROM users WHERE name = 'bob'") == "NULL\n")
        // A rule that came later.
        try sandbox.sql(
            "DELETE FROM items; DROP TABLE items;"
                + "CREATE TABLE items (id INTEGER PRIMARY KEY, o INT, n INT CHECK (n > 1))")
        let check = try put("TABLE items WHERE KEY IN (1)")
        #expect(check.status == 1 && check.errors.contains("CHECK constraint failed"))
    }

    @Test func `Triggers run when that is asked for`() throws {
        try begin()
        try sandbox.sql("DELETE FROM orders; DELETE FROM log")
        let result = try put("TABLE orders WHERE KEY IN (2, 4)", with: "triggers = on")
        #expect(result.status == 0, "\(result.errors)")
        #expect(try query("SELECT msg FROM log ORDER BY 1") == "2\n4\n")
    }

    @Test func `Rows go into another table, and into another database`() throws {
        try begin()
        try sandbox.sql(
            "CREATE TABLE kept (id INTEGER PRIMARY KEY, email TEXT, total REAL)")
        #expect(try put("TABLE orders AS kept WHERE KEY IN (1, 4)").status == 0)
        #expect(try query("SELECT * FROM kept") == "1|x|1.5\n4|z|4.0\n")
        try sandbox.sql(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, email, total)", in: "other.db")
        #expect(try put("TABLE orders WHERE KEY IN (3)", into: "other.db").status == 0)
        #expect(try query("SELECT id, total FROM orders", "other.db") == "3|3.0\n")
        let missing = try put("TABLE orders WHERE KEY IN (3)", into: "none.db")
        #expect(missing.status == 1 && missing.errors.contains("there is no database"))
        #expect(!sandbox.exists("none.db"))
    }

    @Test(arguments: [
        ("TABLE orders WHERE KEY IN ('x')", "x is no key of orders, which is known by id (Int64)"),
        ("TABLE pairs WHERE KEY IN ('a')", "is known by a (Utf8), b (Int64)"),
        ("TABLE nix WHERE KEY IN (1)", "has no table nix"),
        ("TABLE orders AS nix WHERE KEY IN (1)", "there is no table nix in"),
        ("TABLE orders CHANGED SINCE 'nonsense'", "it is no time"),
        ("TABLE words_content WHERE KEY IN (1)", "virtual table words"),
        ("TABLE users AS log WHERE KEY IN ('bob')", "another key than users had"),
    ])
    func `What can't be is refused at once`(what: String, words: String) throws {
        try begin(Self.shop + "CREATE VIRTUAL TABLE words USING fts4(w);")
        let result = try put(what)
        #expect(result.status == 1)
        #expect(result.errors.contains(words), "\(result.errors)")
        let newest = try sandbox.ydbfs("status", "database.db", "--json")
        #expect(!newest.output.contains("operation 3"))
    }

    // MARK: Any history

    private static let tables = """
        CREATE TABLE r (id INTEGER PRIMARY KEY, a, b TEXT);
        CREATE TABLE t (k TEXT PRIMARY KEY COLLATE NOCASE, a, b);
        CREATE TABLE w (x, y INT, a, PRIMARY KEY (x, y)) WITHOUT ROWID;
        CREATE TABLE n (a, b);
        """

    /// Changes that depend on `seed` alone.
    private static func changes(_ seed: Int) -> String {
        let value =
            "CASE (i * 31 + \(seed)) % 6 WHEN 0 THEN NULL WHEN 1 THEN i WHEN 2 THEN 'text ' || i "
            + "WHEN 3 THEN i / 4.0 WHEN 4 THEN x'00FF' ELSE '' END"
        func some(_ factor: Int, _ of: Int) -> String { "(i * \(factor) + \(seed)) % \(of) = 0" }
        let numbers =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 60)"
        return """
            DELETE FROM r WHERE (id * 7 + \(seed)) % 5 = 0;
            DELETE FROM t WHERE (rowid * 11 + \(seed)) % 4 = 0;
            DELETE FROM w WHERE (y * 13 + \(seed)) % 5 = 0;
            DELETE FROM n WHERE (rowid * 17 + \(seed)) % 5 = 0;
            \(numbers) INSERT OR REPLACE INTO r SELECT i, \(value), i % 7 FROM n WHERE \(some(3, 4));
            \(numbers) INSERT OR REPLACE INTO t
            SELECT CASE i % 2 WHEN \(seed % 2) THEN 'Key' ELSE 'kEY' END || i, \(value), i
            FROM n WHERE \(some(5, 4));
            \(numbers) INSERT OR REPLACE INTO w SELECT i % 3, i, \(value) FROM n WHERE \(some(7, 4));
            \(numbers) INSERT OR REPLACE INTO n (rowid, a, b) SELECT i, \(value), i FROM n
            WHERE \(some(11, 5));
            """
    }

    private struct Table: Sendable {
        let name: String
        let key: String
        let columns: [String]
    }

    private static let described = [
        Table(name: "r", key: "id", columns: ["id", "a", "b"]),
        Table(name: "t", key: "k", columns: ["k", "a", "b"]),
        Table(name: "w", key: "(x, y)", columns: ["x", "y", "a"]),
        Table(name: "n", key: "rowid", columns: ["rowid", "a", "b"]),
    ]

    private func rows(_ table: Table, _ sql: String) throws -> Set<Substring> {
        Set(
            try query(
                "ATTACH '0.db' AS old; ATTACH 'before.db' AS before; "
                    + "SELECT \(table.columns.map { "quote(\($0))" }.joined(separator: "||' '||")) "
                    + "FROM \(sql)"
            ).split(separator: "\n"))
    }

    @Test(arguments: 1...8)
    func `After any changes the point's rows are back, and newer ones are as they were`(
        seed: Int
    ) throws {
        try begin(Self.tables + Self.changes(seed * 3) + Self.changes(seed * 3 + 1))
        try sandbox.sql(Self.changes(seed * 3 + 2))
        try backUp()
        try FileManager.default.copyItem(
            atPath: "\(sandbox.path)/database.db", toPath: "\(sandbox.path)/before.db")
        let point = try points()[0]
        let all = Self.described.map { "TABLE \($0.name) CHANGED SINCE '\(point)'" }
        let rule = seed % 2 == 0 ? "replace" : "skip"
        let result = try put(all.joined(separator: ", "), with: "on_conflict = \(rule)")
        #expect(result.status == 0, "\(result.errors) \(result.output)")
        for table in Self.described {
            let (first, second) = rule == "replace" ? ("old", "before") : ("before", "old")
            let name = table.name
            let expected =
                try rows(table, "\(first).\(name)")
                .union(
                    rows(
                        table,
                        "\(second).\(name) WHERE \(table.key) NOT IN "
                            + "(SELECT \(table.key.filter { !"()".contains($0) }) FROM \(first).\(name))"
                    ))
            #expect(try rows(table, "main.\(name)") == expected, "\(name)")
        }
        #expect(try query("PRAGMA integrity_check") == "ok\n")
    }

    @Test func `Between two points it is what changed between them`() throws {
        try begin()
        try sandbox.sql(
            "UPDATE orders SET total = total * 10 WHERE id < 3; INSERT INTO orders VALUES (7, 'q', 7)"
        )
        try backUp()
        try sandbox.sql("DELETE FROM orders WHERE id <> 4; UPDATE orders SET total = 44")
        let first = try points()[0]
        let result = try put("TABLE orders CHANGED SINCE '\(first)'", at: 1)
        #expect(result.status == 0, "\(result.errors)")
        #expect(try query(Self.orders) == "1|'x'|15.0\n2|'y'|20.0\n4|'z'|44.0\n7|'q'|7.0\n")
        // Of rows that changed since the second point, what the first one has.
        try backUp()
        try sandbox.sql("DELETE FROM orders")
        let second = try points()[1]
        let old = try put("TABLE orders CHANGED SINCE '\(second)'", at: 0)
        #expect(old.status == 0, "\(old.errors)")
        #expect(try query(Self.orders) == "3|NULL|3.0\n4|'z'|4.0\n")
    }

    @Test func `A mount takes the statement, and writers wait for it only as for each other`()
        throws
    {
        try begin()
        try sandbox.sql("DELETE FROM orders WHERE id < 3")
        let point = try points()[0]
        let script = """
            set -e
            \(Sandbox.binary) database.db mnt >/dev/null
            echo "RESTORE AT '\(point)' (TABLE orders WHERE KEY IN (1, 2))" > mnt/c/control
            cat mnt/c/operation/wait
            ! echo "RESTORE (TABLE orders WHERE KEY IN ('x'))" > mnt/c/control
            \(Sandbox.binary) unmount mnt >/dev/null
            """
        let result = try sandbox.run("/bin/bash", ["-c", script])
        #expect(result.output.hasPrefix("done point=\(point) rows=2 "), "\(result)")
        #expect(result.status == 0, "\(result)")
        #expect(try query("SELECT count(*) FROM orders") == "4\n")
    }
}
