import Bytes
import Foundation
import SQLiteSource
import Tables
import Testing

/// What the data passed long ago isn't asked again, and what isn't there any more is said.
@Suite struct RestoredLawTests {
    private let bench: Workbench

    init() throws { bench = try Workbench(inMemory: true) }

    /// Runs SQL in Python with functions and a collation of an application's own.
    private func application(_ statements: String..., name: String = "database.db") throws {
        let list = statements.map(pythonText).joined(separator: ", ")
        try bench.python(
            """
            db = sqlite3.connect(P, isolation_level=None)
            db.create_function('regexp', 2, lambda p, s: True, deterministic=True)
            db.create_function('fold', 1, lambda s: s if s is None else s.lower(), deterministic=True)
            db.create_collation('unicase', lambda a, b: (a.lower() > b.lower()) - (a.lower() < b.lower()))
            for sql in [\(list)]: db.execute(sql)
            """, on: name)
    }

    /// Gives a table another text, as a program does through `writable_schema`.
    private func rewrite(_ table: String, _ sql: String) throws {
        try bench.shell(
            """
            .dbconfig defensive off
            PRAGMA writable_schema = ON;
            UPDATE sqlite_schema SET sql = '\(sql.replacing("'", with: "''"))' WHERE name = '\(table)';
            PRAGMA schema_version = 77;
            """)
    }

    @Test func `rows older than NOT NULL, CHECK or a type come back, and the note says so`() throws
    {
        try bench.shell(
            """
            CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, w UNIQUE); CREATE INDEX i ON t(v, w);
            INSERT INTO t VALUES (1, '007', 'b'), (2, NULL, '1'), (3, 'x', 1);
            CREATE TABLE u(k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID; INSERT INTO u VALUES ('1', '1'), ('02', '2');
            CREATE TABLE s(v) ; INSERT INTO s VALUES ('x'), (1), (2.5), (NULL);
            CREATE TABLE n(v TEXT, w REAL UNIQUE); INSERT INTO n VALUES ('12', 1.5), (NULL, 2.0);
            """)
        try rewrite(
            "t",
            "CREATE TABLE t(id INTEGER PRIMARY KEY, v INTEGER NOT NULL CHECK (t.v > 7), w TEXT UNIQUE)"
        )
        try rewrite("u", "CREATE TABLE u(k INTEGER PRIMARY KEY, v REAL) WITHOUT ROWID")
        try rewrite("s", "CREATE TABLE s(v INT NOT NULL) STRICT")
        try rewrite("n", "CREATE TABLE n(v NUMERIC, w TEXT UNIQUE)")
        let trip = try bench.expectSame(sound: false)
        for note in [
            "t: column v is NOT NULL, and holds NULL in rows from before it was",
            "t: rows from before don't keep CHECK (t.v > 7)",
            "s: column v is NOT NULL, and holds NULL in rows from before it was",
        ] {
            #expect(trip.notes.contains(note), "\(trip.notes)")
        }
        // The same as of the source: nothing of b-trees and indexes.
        let checks = try ["database.db", "restored-database.db"].map { database in
            try bench.check(database).split(separator: "; ").sorted()
        }
        #expect(checks[0] == checks[1])
    }

    @Test func `what only the application has keeps nothing from coming back`() throws {
        try application(
            "CREATE TABLE a(id INTEGER PRIMARY KEY, sku TEXT CHECK (sku REGEXP '^[A-Z]+$') DEFAULT (fold('X')))",
            "INSERT INTO a(id, sku) VALUES (1, 'AB')",
            "CREATE INDEX folded ON a(fold(sku))", "CREATE INDEX plain ON a(sku)",
            "CREATE INDEX partial ON a(id) WHERE fold(sku) = 'x'",
            "CREATE TABLE b(id INTEGER PRIMARY KEY, sku TEXT COLLATE unicase, other TEXT)",
            "INSERT INTO b VALUES (1, 'AB', 'x'), (2, 'ac', 'y')", "CREATE INDEX b_sku ON b(sku)",
            "CREATE INDEX b_binary ON b(sku COLLATE BINARY)",
            "CREATE TABLE c(v TEXT, stored AS (fold(v)) STORED, virtual AS (fold(v)) VIRTUAL, UNIQUE(stored))",
            "INSERT INTO c(v) VALUES ('A'), ('b')", "CREATE INDEX c_virtual ON c(virtual, v)",
            "CREATE TRIGGER tr AFTER INSERT ON a BEGIN SELECT fold(NEW.sku); END",
            "CREATE VIEW v AS SELECT fold(sku) COLLATE unicase FROM a -- the end ")
        let trip = try RoundTrip(bench.path(), into: bench.path("new.db"))
        #expect(trip.leftOut == [:])
        let missing = ["folded", "partial", "b_sku", "c_virtual"]
        let expected = try bench.dump("database.db").filter { line in
            !missing.contains { line.hasPrefix("schema b'index' b'\($0)'") }
        }
        let found = try bench.dump("new.db")
        let isSame = found == expected
        #expect(isSame, "\(Workbench.difference(expected, found))")
        for words in [
            "a: index folded can't be built here (no such function: fold): once it can, run "
                + "CREATE INDEX folded ON a(fold(sku));",
            "a: CHECK (sku REGEXP '^[A-Z]+$') can't be asked here (no such function: REGEXP)",
            "b: index b_sku can't be built here (no such collation sequence: unicase)",
            "c: index c_virtual can't be built here",
            "c: column stored is computed by what only its application has",
        ] {
            #expect(trip.notes.contains { $0.hasPrefix(words) }, "\(words): \(trip.notes)")
        }
        #expect(try bench.check("new.db") == "ok")
        // In the application everything works, and what the notes say does.
        try application(
            "INSERT INTO a VALUES (2, 'CD')", "CREATE INDEX folded ON a(fold(sku))",
            "CREATE INDEX b_sku ON b(sku)", "CREATE INDEX c_virtual ON c(virtual, v)",
            "INSERT INTO c(v) VALUES ('Z')", name: "new.db")
        #expect(try bench.check("new.db") == "ok")
    }

    @Test func `a key by the application's collation comes back without it, and the note has it`()
        throws
    {
        let texts = [
            "a": "CREATE TABLE a(k TEXT COLLATE unicase PRIMARY KEY, v COLLATE unicase)",
            "b": "CREATE TABLE b(k TEXT COLLATE unicase PRIMARY KEY, v) WITHOUT ROWID",
            "c":
                "CREATE TABLE c(v, w TEXT COLLATE unicase, UNIQUE(v, w COLLATE unicase), UNIQUE(w COLLATE NOCASE))",
            "d": "CREATE TABLE d(id INTEGER PRIMARY KEY COLLATE unicase, w COLLATE unicase)",
        ]
        for (name, text) in texts {
            try application(text, "INSERT INTO \(name) VALUES (1, 'x'), (2, 'Y'), (3, 'z')")
        }
        let trip = try RoundTrip(bench.path(), into: bench.path("new.db"))
        #expect(trip.leftOut == [:])
        // Sound for everybody, and so with the application's collation.
        #expect(try bench.check("new.db") == "ok")
        #expect(try bench.shell("PRAGMA integrity_check", on: "new.db") == "ok")
        let stored = try bench.shell(
            "SELECT name || ':' || sql FROM sqlite_schema WHERE type = 'table' ORDER BY 1",
            on: "new.db")
        #expect(
            stored.contains("a:CREATE TABLE a(k TEXT   PRIMARY KEY, v COLLATE unicase)"),
            "\(stored)")
        #expect(stored.contains("d:" + texts["d"]!), "\(stored)")
        #expect(stored.contains("UNIQUE(v, w  )"), "\(stored)")
        for name in ["a", "b", "c"] {
            #expect(
                trip.notes.contains {
                    $0.hasPrefix("\(name): COLLATE unicase is left out of its key")
                        && $0.contains(texts[name]!)
                }, "\(trip.notes)")
        }
        #expect(!trip.notes.contains { $0.hasPrefix("d:") })
        // What the note says works.
        try application(
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_schema SET sql = '\(texts["a"]!)' WHERE name = 'a'",
            "PRAGMA writable_schema = RESET", "REINDEX a", name: "new.db")
        #expect(try bench.check("new.db") == "ok")
    }

    @Test func `a table that isn't right is named and left out, and the others come back`() throws {
        try bench.shell(
            """
            CREATE TABLE a(id INTEGER PRIMARY KEY, v); INSERT INTO a VALUES (1, 2);
            CREATE TABLE b(id INTEGER PRIMARY KEY, v); INSERT INTO b VALUES (1, 2);
            CREATE TABLE c(k TEXT PRIMARY KEY); INSERT INTO c VALUES ('x'), ('X');
            CREATE VIEW v AS SELECT * FROM a; CREATE TRIGGER t AFTER INSERT ON b BEGIN SELECT 1; END;
            """)
        let damages: [(sql: String, says: String)] = [
            ("CREATE TABLE b(id INTEGER PRIMARY KEY, v", "is not one table"),
            ("CREATE TABLE b(id INTEGER PRIMARY KEY, v UNIQUE ON);", "can't be read near \"ON)\""),
            ("CREATE TABLE b(id INTEGER PRIMARY KEY, w);", "has other columns than its rows"),
            ("CREATE INDEX b ON a(v);", "is not one table"),
            ("CREATE TABLE b(id INTEGER PRIMARY KEY, v UNIQUE 'x);", "a quote without an end"),
            ("CREATE TABLE b(id INTEGER PRIMARY KEY, v CHECK (+));", "near \")\": syntax error"),
            ("CREATE TABLE b(id INTEGER PRIMARY KEY, v) WITHOUT;", "incomplete input"),
        ]
        for (number, damage) in damages.enumerated() {
            let trip = try RoundTrip(bench.path(), into: bench.path("new\(number).db")) {
                if $0.path == "b" { $0.sql = damage.sql }
            }
            #expect(Array(trip.leftOut.keys) == ["b"], "\(damage.sql)")
            #expect(trip.leftOut["b"]!.contains(damage.says), "\(trip.leftOut)")
            #expect(!trip.leftOut["b"]!.contains("_ydbfs"), "\(trip.leftOut)")
            let names = try bench.shell(
                "SELECT group_concat(name) FROM sqlite_schema WHERE sql IS NOT NULL",
                on: "new\(number).db")
            #expect(names == "a,c,v")
            #expect(try bench.check("new\(number).db") == "ok")
        }
        // Rows that a constraint forbids: the table's index was damaged, or this text isn't its own.
        let trip = try RoundTrip(bench.path(), into: bench.path("new.db")) {
            if $0.path == "c" { $0.sql = "CREATE TABLE c(k TEXT COLLATE NOCASE PRIMARY KEY);" }
        }
        #expect(
            trip.leftOut["c"]?.contains("UNIQUE constraint failed: c.k") == true, "\(trip.leftOut)")
        #expect(!trip.leftOut["c"]!.contains("_ydbfs"), "\(trip.leftOut)")
    }
}
