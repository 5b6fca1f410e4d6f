import Foundation
import Testing

/// Functions and collations that only the application has: they keep no row from being backed up or
/// from coming back, and what can't be made without them is told with what to run.
@Suite struct CasesFunctions {
    struct Case: CustomTestStringConvertible {
        var create: String
        var change: String
        /// Objects whose text can't come back as it was: notes hold it.
        var excused: [String] = []

        var testDescription: String { create }
    }

    @Test(arguments: [
        Case(
            create: """
                CREATE TABLE item(id INTEGER PRIMARY KEY, sku TEXT CHECK (sku REGEXP '^[A-Z]+$'));
                INSERT INTO item VALUES(1, 'AB'), (2, 'CD');
                """,
            change: "INSERT INTO item VALUES(3, 'EF'); UPDATE item SET sku = 'X' WHERE id = 1"),
        Case(
            create: """
                CREATE TABLE item(sku TEXT, n, CONSTRAINT c CHECK (fold(sku) = sku AND n > 0));
                INSERT INTO item VALUES('ab', 1), ('cd', 2);
                """,
            change: "DELETE FROM item WHERE n = 1"),
        Case(
            create: """
                CREATE TABLE item(id INTEGER PRIMARY KEY, sku TEXT COLLATE unicase, n DEFAULT (fold('X')));
                INSERT INTO item VALUES(1, 'AB', NULL); INSERT INTO item(sku) VALUES('ab');
                """,
            change: "INSERT INTO item(sku) VALUES('Ab')"),
        Case(
            create: """
                CREATE TABLE p(id INTEGER PRIMARY KEY, n TEXT, low TEXT AS (fold(n)) STORED);
                INSERT INTO p(id, n) VALUES(1, 'Ann'), (2, 'BOB');
                """,
            change: "UPDATE p SET n = 'Eve' WHERE id = 1"),
        Case(
            create: """
                CREATE TABLE t(a); INSERT INTO t VALUES('A'), ('B');
                CREATE VIEW v AS SELECT fold(a) AS f FROM t ORDER BY a COLLATE unicase;
                CREATE TRIGGER r AFTER INSERT ON t WHEN fold(NEW.a) = 'x'
                    BEGIN UPDATE t SET a = fold(a); END;
                """,
            change: "INSERT INTO t VALUES('C')"),
    ])
    func `A database that needs them comes back as it was`(_ test: Case) throws {
        let database = try CaseDatabase(test.create)
        try database.backUp()
        try database.execute(test.change)
        try database.backUp(incremental: true)
        for level in ["content", "source"] {
            let verified = try database.sandbox.ydbfs(
                "verify", CaseDatabase.name, "c", "--level", level)
            #expect(verified.status == 0, "\(verified.output)\(verified.errors)")
        }
        try database.expectAllPoints()
    }

    @Test(arguments: [
        Case(
            create: """
                CREATE TABLE item(id INTEGER PRIMARY KEY, sku TEXT);
                CREATE INDEX item_sku ON item(fold(sku));
                INSERT INTO item VALUES(1, 'AB'), (2, 'cd');
                """,
            change: "INSERT INTO item VALUES(3, 'ef')", excused: ["item_sku"]),
        Case(
            create: """
                CREATE TABLE item(sku TEXT, n);
                CREATE UNIQUE INDEX by_sku ON item(sku COLLATE unicase);
                CREATE INDEX part ON item(n) WHERE fold(sku) = 'ab';
                CREATE INDEX plain ON item(n);
                INSERT INTO item VALUES('AB', 1), ('cd', 2);
                """,
            change: "UPDATE item SET n = 3", excused: ["by_sku", "part"]),
    ])
    func `An index that can't be built is told with its statement`(_ test: Case) throws {
        let database = try CaseDatabase(test.create)
        try database.backUp()
        try database.execute(test.change)
        try database.backUp(incremental: true)
        for number in 0..<2 {
            let name = "new\(number).db"
            let ran = try database.sandbox.ydbfs(
                "run", CaseDatabase.name, "--into", name, "--json",
                "RESTORE c AT '\(database.points[number])'")
            #expect(ran.status == 0 || ran.status == 3, "\(ran.output)\(ran.errors)")
            try database.expectSame("copy\(number).db", name, excused: test.excused)
            // The application runs what the notes say, and has what it had.
            for index in test.excused {
                let text = try database.python(
                    """
                    sql = "SELECT sql FROM sqlite_schema WHERE name = ?"
                    print(connect().execute(sql, sys.argv[1:]).fetchone()[0], end="")
                    """, index)
                #expect(ran.output.contains(text), "\(ran.output)")
                try database.execute(text, in: name)
            }
            try database.expectSame("copy\(number).db", name)
        }
    }

    @Test(arguments: [
        Case(
            create: """
                CREATE TABLE word(w TEXT COLLATE unicase PRIMARY KEY NOT NULL, n);
                INSERT INTO word VALUES('b', 1), ('A', 2), ('C', 3);
                """,
            change: "UPDATE word SET n = 9 WHERE w = 'a'; DELETE FROM word WHERE w = 'B'",
            excused: ["word"]),
        Case(
            create: """
                CREATE TABLE tags(tag TEXT NOT NULL PRIMARY KEY COLLATE unicase, n) WITHOUT ROWID;
                INSERT INTO tags VALUES('b', 1), ('A', 2), ('C', 3);
                """,
            change: "UPDATE tags SET tag = 'a' WHERE n = 2; INSERT INTO tags VALUES('é', 4)",
            excused: ["tags"]),
        Case(
            create: """
                CREATE TABLE names(n INT, name TEXT COLLATE unicase, v, UNIQUE(n, name));
                INSERT INTO names VALUES(1, 'b', 1), (1, 'A', 2), (NULL, NULL, 3);
                """,
            change: "DELETE FROM names WHERE v = 1", excused: ["names"]),
        Case(
            create: """
                CREATE TABLE deep(a INT, b TEXT COLLATE unicase, c,
                    PRIMARY KEY(a DESC, b)) WITHOUT ROWID;
                INSERT INTO deep VALUES(1, 'b', 1), (1, 'A', 2), (2, 'x', 3);
                """,
            change: "UPDATE deep SET c = c + 1; DELETE FROM deep WHERE a = 2", excused: ["deep"]),
    ])
    func `A key with a foreign collation keeps no row, and no other table, from coming back`(
        _ test: Case
    ) throws {
        let database = try CaseDatabase(
            test.create
                + "CREATE TABLE notes(id INTEGER PRIMARY KEY, t); INSERT INTO notes VALUES(1, 'x');"
        )
        try database.backUp()
        try database.execute(test.change)
        try database.backUp(incremental: true)
        for number in 0..<2 {
            let name = "new\(number).db"
            let ran = try database.sandbox.ydbfs(
                "run", CaseDatabase.name, "--into", name, "--json",
                "RESTORE c AT '\(database.points[number])'")
            #expect(ran.status == 0 || ran.status == 3, "\(ran.output)\(ran.errors)")
            try database.expectSame("copy\(number).db", name, excused: test.excused)
            #expect(ran.output.contains("COLLATE unicase"), "\(ran.output)")
            // SQLite itself, which hasn't got the collation, finds no fault with the file.
            let check = try database.sandbox.run(
                "/usr/bin/sqlite3", [name, "PRAGMA integrity_check"])
            #expect(check.output == "ok\n", "\(check.errors)")
        }
    }

    @Test func `A VIRTUAL column that can't be computed is left out with a note`() throws {
        let database = try CaseDatabase(
            """
            CREATE TABLE notes(id INTEGER PRIMARY KEY, t); INSERT INTO notes VALUES(1, 'precious');
            CREATE TABLE p(id INTEGER PRIMARY KEY, n TEXT, low TEXT AS (fold(n)), m AS (n || '!'));
            INSERT INTO p(id, n) VALUES(1, 'Ann');
            """)
        let outcome = try database.backUp()
        #expect(outcome.words.contains("low"), "\(outcome)")
        try database.expectAllPoints()
        #expect(try database.csv(0, "notes") == "id,t\n1,precious\n")
        #expect(try database.csv(0, "p").hasPrefix("id,n"))
        #expect(try !database.csv(0, "p").contains("low"))
    }
}
