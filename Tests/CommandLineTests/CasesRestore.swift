import Foundation
import Testing

/// What comes back is the database: its numbers, its text to the byte, rows that no rule of today would
/// take.
@Suite struct CasesRestore {
    // MARK: Old rows

    /// A table with rows, and the text that it has got since then.
    struct Old: CustomTestStringConvertible {
        var create: String
        var text: String

        var testDescription: String { text }
    }

    @Test(arguments: [
        Old(
            create: "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)",
            text: "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT NOT NULL)"),
        Old(
            create: "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)",
            text: "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT CHECK (length(v) > 9))"),
        Old(
            create: "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)",
            text: "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT REFERENCES nowhere NOT NULL)"),
        Old(
            create: "CREATE TABLE t(id INT, v)",
            text: "CREATE TABLE t(id INT NOT NULL CHECK (id > 100), v DEFAULT (1 / 0))"),
    ])
    func `Rows that are older than a constraint come back`(_ test: Old) throws {
        let database = try make(test)
        try database.backUp()
        try database.execute("INSERT INTO ok VALUES(2)")
        try database.backUp(incremental: true)
        for number in 0..<2 {
            let name = "new\(number).db"
            try database.restore(number, into: name)
            let (was, now) = (
                try database.rows(Self.all, in: "copy\(number).db"),
                try database.rows(Self.all, in: name)
            )
            #expect(was == now)
            #expect(try database.rows(Self.texts, in: name).contains(test.text))
        }
    }

    @Test(arguments: [
        Old(
            create: "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)",
            text: "CREATE TABLE t(id INTEGER PRIMARY KEY, v INTEGER)"),
        Old(
            create: "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)",
            text: "CREATE TABLE t(id INTEGER PRIMARY KEY, v NUMERIC)"),
        Old(
            create: "CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB)",
            text: "CREATE TABLE t(id INTEGER PRIMARY KEY, v REAL)"),
        Old(
            create: "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)",
            text: "CREATE TABLE t(id INTEGER PRIMARY KEY, v INT) STRICT"),
    ])
    func `Rows that are older than a type come back as they were, or are named`(_ test: Old) throws
    {
        let database = try make(test)
        try database.backUp()
        let ran = try database.sandbox.ydbfs(
            "run", CaseDatabase.name, "--into", "new.db", "--json", "RESTORE c")
        #expect(try database.rows("SELECT * FROM ok", in: "new.db") == "[(1,)]")
        let tables = try database.rows("SELECT name FROM sqlite_schema", in: "new.db")
        if tables.contains("'t'") {
            #expect(ran.status == 0, "\(ran.output)\(ran.errors)")
            let (was, now) = (
                try database.rows(Self.all, in: "copy0.db"),
                try database.rows(Self.all, in: "new.db")
            )
            #expect(was == now)
        } else {
            #expect(ran.status == 3 && ran.output.contains(#""t"#), "\(ran.output)\(ran.errors)")
        }
        let strict = try database.sandbox.ydbfs(
            "run", CaseDatabase.name, "--into", "strict.db", "RESTORE c WITH (strict = true)")
        #expect(database.sandbox.exists("strict.db") == (strict.status == 0), "\(strict.errors)")
        #expect((strict.status == 0) == (ran.status == 0), "\(strict.errors)")
    }

    private static let all = "SELECT rowid, *, typeof(id), typeof(v) FROM t ORDER BY rowid"
    private static let texts = "SELECT sql FROM sqlite_schema WHERE name = 't'"

    /// A database with a table whose text is newer than its rows.
    private func make(_ test: Old) throws -> CaseDatabase {
        return try CaseDatabase(
            """
            CREATE TABLE ok(id INTEGER PRIMARY KEY); INSERT INTO ok VALUES(1);
            \(test.create);
            INSERT INTO t VALUES(1, '007'), (2, NULL), (3, 'text'), (4, x'31'), (5, 5), (6, '1e3');
            PRAGMA writable_schema = ON;
            UPDATE sqlite_schema SET sql = '\(test.text)' WHERE name = 't';
            PRAGMA schema_version = 77;
            """)
    }

    // MARK: Numbers of the file

    @Test(arguments: [
        "PRAGMA user_version = 86; PRAGMA application_id = 1196444487",
        "PRAGMA user_version = -2147483648; PRAGMA application_id = -1; PRAGMA page_size = 512",
        "PRAGMA auto_vacuum = FULL; PRAGMA page_size = 65536; PRAGMA user_version = 1",
        "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA encoding = 'UTF-16le'",
        "PRAGMA encoding = 'UTF-16be'; PRAGMA page_size = 1024; PRAGMA application_id = 2147483647",
        "PRAGMA journal_mode = WAL; PRAGMA page_size = 8192; PRAGMA user_version = 7",
    ])
    func `A new file has the numbers of the old one`(_ pragmas: String) throws {
        let database = try CaseDatabase(
            """
            \(pragmas);
            CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES(1, 'ü€𝄞');
            CREATE INDEX i ON t(v); ANALYZE;
            """)
        try database.backUp()
        try database.execute("PRAGMA user_version = 99; INSERT INTO t VALUES(2, '')")
        try database.backUp(incremental: true)
        try database.expectAllPoints()
        // Into a file that is there they are left, and that is said where they differ.
        try database.execute("PRAGMA user_version = 5; CREATE TABLE mine(v)", in: "other.db")
        let outcome = try database.run(["--into", "other.db", "RESTORE c"])
        #expect(try database.rows("PRAGMA user_version", in: "other.db") == "[(5,)]")
        #expect(outcome.words.contains("user_version"), "\(outcome)")
    }

    // MARK: Numbers of AUTOINCREMENT

    @Test func `The numbers that AUTOINCREMENT used are kept at every point`() throws {
        let database = try CaseDatabase(
            """
            CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, v);
            INSERT INTO t(v) VALUES(1), (2), (3); DELETE FROM t WHERE id > 1;
            CREATE TABLE never(id INTEGER PRIMARY KEY AUTOINCREMENT);
            """)
        try database.backUp()
        for change in ["INSERT INTO t(v) VALUES(4)", "DELETE FROM t"] {
            try database.execute(change)
            try database.backUp(incremental: true)
        }
        try database.expectAllPoints()
    }

    @Test func `The numbers that AUTOINCREMENT used are kept in a collection of tables, too`()
        throws
    {
        let database = try CaseDatabase(
            """
            CREATE TABLE a(id INTEGER PRIMARY KEY AUTOINCREMENT, v);
            CREATE TABLE b(id INTEGER PRIMARY KEY AUTOINCREMENT, v);
            INSERT INTO a(v) VALUES(1), (2), (3); INSERT INTO b VALUES(70, 1);
            DELETE FROM a WHERE id > 1; DELETE FROM b;
            """, tables: "(TABLE a, TABLE b)")
        try database.backUp()
        try database.restore(0, into: "new.db")
        let sequences = "SELECT * FROM sqlite_sequence ORDER BY 1"
        #expect(try database.rows(sequences, in: "new.db") == "[('a', 3), ('b', 70)]")
        try database.execute("DROP TABLE a")
        try database.run(["RESTORE c (TABLE a)"])
        try database.execute("INSERT INTO a(v) VALUES('next')")
        #expect(try database.rows("SELECT max(id) FROM a") == "[(4,)]")
        #expect(try database.rows("SELECT seq FROM sqlite_sequence WHERE name = 'b'") == "[(70,)]")
    }

    // MARK: Encodings

    @Test(arguments: ["UTF-8", "UTF-16le", "UTF-16be"], ["UTF-8", "UTF-16le", "UTF-16be"])
    func `Text with NUL comes back right from any encoding into any`(_ from: String, _ into: String)
        throws
    {
        let database = try CaseDatabase(
            "PRAGMA encoding = '\(from)'; CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
        try database.python(
            """
            for text in ("a\\0b", "\\0", "ü\\0𝄞\\0", "it's \\0 quoted", "plain", "", "\\ufeff\\0"):
                connect().execute("INSERT INTO t(v) VALUES(?)", (text,))
            """)
        try database.backUp()
        try database.expectAllPoints()
        try database.execute("PRAGMA encoding = '\(into)'; CREATE TABLE mine(v)", in: "other.db")
        try database.run(["--into", "other.db", "RESTORE c"])
        let query = "SELECT *, typeof(v), length(v) FROM t"
        let was = try database.rows(query)
        #expect(try database.rows(query, in: "other.db") == was)
    }

    @Test(arguments: [
        ("UTF-8", "CAST(x'61ff62' AS TEXT)", "UTF-16le"),
        ("UTF-16le", "CAST(x'3dd8' AS TEXT)", "UTF-8"),
        ("UTF-16be", "CAST(x'dc000061' AS TEXT)", "UTF-16le"),
    ])
    func `Ill-formed text comes back bit for bit, or is named`(_ test: (String, String, String))
        throws
    {
        let database = try CaseDatabase(
            """
            PRAGMA encoding = '\(test.0)';
            CREATE TABLE t(v TEXT); INSERT INTO t VALUES(\(test.1)), ('well-formed');
            CREATE TABLE ok(v); INSERT INTO ok VALUES('ok');
            """)
        try database.backUp()
        try database.restore(0, into: "new.db")
        let bits = "SELECT hex(CAST(v AS BLOB)), typeof(v) FROM t"
        #expect(try database.rows(bits, in: "new.db") == database.rows(bits))
        try database.execute("PRAGMA encoding = '\(test.2)'; CREATE TABLE mine(v)", in: "other.db")
        let outcome = try database.run(["--into", "other.db", "RESTORE c"], status: 3)
        #expect(outcome.words.contains("t"), "\(outcome)")
        let names = try database.rows("SELECT name FROM sqlite_schema", in: "other.db")
        #expect(names == "[('mine',), ('ok',)]")
    }

    // MARK: Text of the schema

    @Test(arguments: [
        "CREATE TABLE t(a INTEGER PRIMARY KEY, c TEXT CHECK (c <> '--'))",
        "CREATE TABLE t(a INTEGER PRIMARY KEY, c TEXT -- the last column\n)",
        "create  table\tt /* why */ (a integer primary key, c)\n-- and a comment behind it",
        "CREATE TABLE t(a INTEGER PRIMARY KEY, c TEXT DEFAULT 'it''s /* no comment */')  ",
        "CREATE TABLE \"t\"([a b] INTEGER, `c\"d` TEXT, 'e''f', PRIMARY KEY([a b] DESC)) WITHOUT ROWID",
        "CREATE TABLE [t](\"a\" INTEGER\r\n\tPRIMARY KEY ASC,\u{c}c\u{c} VARCHAR(10, 2))",
        "CREATE TABLE t(a, c); CREATE VIEW v AS SELECT a FROM t -- ",
        "CREATE TABLE t(a, c); CREATE INDEX i ON t /* on it */ (a COLLATE NOCASE DESC) -- why",
        """
        CREATE TABLE t(a, c); CREATE TRIGGER r AFTER INSERT ON t BEGIN
            -- END;
            SELECT 'END;'; UPDATE t SET c = '--' || "a" /* ; */; END
        """,
        "CREATE TABLE \"t\nwith ü and \u{1}\"(a TEXT PRIMARY KEY, \"select\" GENERATED ALWAYS AS (a||'') STORED)",
        "CREATE TABLE t(a INT, c ANY) STRICT; CREATE TABLE \"t.u\"(x UNIQUE ON CONFLICT REPLACE)",
        "CREATE TABLE IF NOT EXISTS main.t(a UNIQUE, c CHECK(c) CHECK(c != 2)); CREATE VIEW v(x) AS SELECT 1",
    ])
    func `The text of the schema is the same to the byte`(_ text: String) throws {
        let database = try CaseDatabase(text)
        try database.backUp()
        try database.execute("CREATE TABLE \"another -- \"(a)")
        try database.backUp(incremental: true)
        try database.expectAllPoints()
    }
}
