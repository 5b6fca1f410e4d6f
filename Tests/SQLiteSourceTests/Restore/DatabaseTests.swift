import Bytes
import Foundation
import SQLiteSource
import Tables
import Testing

/// What a restore brings back besides ordinary tables: virtual ones, and the database itself.
@Suite struct RestoredDatabaseTests {
    private let bench: Workbench

    init() throws { bench = try Workbench(inMemory: true) }

    // MARK: Virtual tables

    private static let virtual = """
        CREATE TABLE docs(id INTEGER PRIMARY KEY, title TEXT, body TEXT);
        CREATE VIRTUAL TABLE docs_fts USING fts5(title, body, content='docs', content_rowid='id');
        CREATE TRIGGER docs_ai AFTER INSERT ON docs BEGIN
            INSERT INTO docs_fts(rowid, title, body) VALUES (NEW.id, NEW.title, NEW.body); END;
        CREATE TABLE plain(title TEXT);
        CREATE VIRTUAL TABLE plain_fts USING fts5(title, content=plain, tokenize='porter unicode61');
        CREATE TRIGGER plain_ai AFTER INSERT ON plain BEGIN
            INSERT INTO plain_fts(rowid, title) VALUES (NEW.rowid, NEW.title); END;
        INSERT INTO docs VALUES (7, 'hello world', 'one'), (2, 'other', 'two words');
        INSERT INTO plain(rowid, title) VALUES (5, 'running'), (900, 'runs; and "more"');
        CREATE VIRTUAL TABLE notes USING fts5(body, "se;c'ret" UNINDEXED, prefix='2 3');
        INSERT INTO notes VALUES ('kept only here', 1), ('and there', x'00');
        CREATE VIRTUAL TABLE less USING fts5(x, content='');
        INSERT INTO less(rowid, x) VALUES (3, 'content less');
        CREATE VIRTUAL TABLE old USING fts4(subject, body); INSERT INTO old VALUES ('s', 'an old one');
        CREATE VIRTUAL TABLE older USING fts3(body); INSERT INTO older VALUES ('very old');
        CREATE VIRTUAL TABLE "odd ""name" USING rtree(id, x0, x1, +label);
        INSERT INTO "odd ""name" VALUES (1, 0.0, 2.0, 'a'), (2, 5.0, 6.0, 'b');
        CREATE VIEW found AS SELECT rowid FROM notes WHERE notes MATCH 'here';
        """

    private func expectUsable(_ name: String, at location: SourceLocation = #_sourceLocation) throws
    {
        let found = try bench.shell(
            """
            SELECT rowid FROM docs_fts WHERE docs_fts MATCH 'hello'; SELECT rowid FROM plain_fts('run') ORDER BY rowid;
            SELECT * FROM found; SELECT rowid FROM less('less'); SELECT rowid FROM old WHERE old MATCH 'an';
            SELECT rowid FROM older WHERE older MATCH 'very'; SELECT id || label FROM "odd ""name" WHERE x1 >= 5;
            INSERT INTO docs(title, body) VALUES ('new hello', ''); INSERT INTO plain VALUES ('run');
            INSERT INTO notes VALUES ('more', 2); INSERT INTO "odd ""name" VALUES (3, 1, 2, 'c');
            INSERT INTO old VALUES ('t', 'new'); INSERT INTO less(rowid, x) VALUES (4, 'new');
            INSERT INTO docs_fts(docs_fts) VALUES ('integrity-check');
            INSERT INTO docs_fts(docs_fts, rank) VALUES ('integrity-check', 1);
            INSERT INTO plain_fts(plain_fts, rank) VALUES ('integrity-check', 1);
            INSERT INTO notes(notes) VALUES ('integrity-check'); INSERT INTO old(old) VALUES ('integrity-check');
            INSERT INTO older(older) VALUES ('integrity-check'); SELECT rtreecheck('odd "name');
            SELECT count(*) FROM docs_fts('hello'); SELECT count(*) FROM plain_fts('run'); PRAGMA integrity_check;
            """, on: name)
        let expected = "7\n5\n900\n1\n3\n1\n1\n2b\nok\n2\n3\nok"
        #expect(found == expected, sourceLocation: location)
    }

    @Test(arguments: ["", "PRAGMA encoding = 'UTF-16be';"])
    func `virtual tables work as before, in a new database and in one that is there`(
        encoding: String
    ) throws {
        try bench.shell(encoding + Self.virtual)
        let trip = try bench.expectSame()
        #expect(trip.notes == [])
        try expectUsable("restored-database.db")
        try bench.shell("CREATE TABLE mine(x); INSERT INTO mine VALUES (1);", on: "live.db")
        let live = try RoundTrip(bench.path(), into: bench.path("live.db"))
        #expect(live.leftOut == [:])
        try expectUsable("live.db")
        #expect(try bench.shell("SELECT * FROM mine", on: "live.db") == "1")
        // The names are taken now, each of them.
        let failure = #expect(throws: Failure.self) {
            try RoundTrip(bench.path(), into: bench.path("live.db"))
        }
        #expect(failure?.message.contains("table notes exists already") == true)
        #expect(failure?.message.contains("table notes_data exists already") == true)
    }

    @Test func `a virtual table of which a part is missing is left out as a whole`() throws {
        try bench.shell(Self.virtual)
        let trip = try RoundTrip(bench.path(), into: bench.path("new.db")) {
            if $0.path == "notes_idx" { $0.sql = "damaged" }
        }
        #expect(
            Set(trip.leftOut.keys)
                == ["notes_config", "notes_content", "notes_data", "notes_docsize", "notes_idx"])
        #expect(trip.notes.contains("notes is left out, because a table that holds its content is"))
        let names = try bench.shell("SELECT group_concat(name) FROM sqlite_schema", on: "new.db")
        #expect(!names.contains("notes") && names.contains("docs_fts"))
        #expect(try bench.check("new.db") == "ok")
    }

    @Test func `a virtual table of an unknown module comes back with a note`() throws {
        try bench.shell(
            "CREATE TABLE t(a); CREATE TABLE geo_node(x); INSERT INTO geo_node VALUES (1);")
        try bench.shell(
            """
            .dbconfig defensive off
            PRAGMA writable_schema = ON;
            INSERT INTO sqlite_schema VALUES ('table', 'geo', 'geo', 0, 'CREATE VIRTUAL TABLE geo USING spatial(a, b='';)'')');
            PRAGMA schema_version = 9;
            """)
        let trip = try bench.expectSame()
        #expect(
            trip.notes == [
                "virtual table geo is there, but can't be used here: no such module: spatial"
            ])
    }

    // MARK: The database

    @Test func `a new file is known by the same numbers, and one that is there keeps its own`()
        throws
    {
        try bench.shell(
            """
            PRAGMA page_size = 1024; PRAGMA auto_vacuum = 2; PRAGMA encoding = 'UTF-16le';
            PRAGMA user_version = -86; PRAGMA application_id = 1196444487;
            CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT COLLATE NOCASE);
            CREATE INDEX i ON t(v); CREATE TABLE "T 2"(id INTEGER PRIMARY KEY AUTOINCREMENT);
            CREATE TABLE never(id INTEGER PRIMARY KEY AUTOINCREMENT);
            INSERT INTO t(v) VALUES ('é'), ('b'), ('c'); INSERT INTO "T 2" VALUES (70); DELETE FROM "T 2";
            ANALYZE; UPDATE sqlite_sequence SET seq = 500 WHERE name = 't';
            """)
        #expect(try bench.expectSame().notes == [])
        try bench.shell(
            "INSERT INTO \"T 2\" VALUES (NULL); INSERT INTO t(v) VALUES ('x'); INSERT INTO never VALUES (NULL)",
            on: "restored-database.db")
        #expect(
            try bench.shell("SELECT * FROM sqlite_sequence ORDER BY 1", on: "restored-database.db")
                == "T 2|71\nnever|1\nt|501")
        try bench.shell("PRAGMA user_version = 3; CREATE TABLE mine(x); ANALYZE;", on: "live.db")
        let live = try RoundTrip(bench.path(), into: bench.path("live.db"))
        #expect(live.leftOut == [:])
        let note =
            "\(bench.path("live.db")) is left as it is: user_version is 3 and was -86, application_id is 0 "
            + "and was 1196444487, encoding is UTF-8 and was UTF-16le, page_size is 4096 and was 1024, "
            + "auto_vacuum is 0 and was 2, statistics of the planner aren't taken over (run ANALYZE)"
        #expect(live.notes == [note])
        #expect(
            try bench.shell("SELECT * FROM sqlite_sequence ORDER BY 1", on: "live.db")
                == "T 2|70\nt|500")
        #expect(
            try bench.shell("SELECT v FROM t; PRAGMA user_version", on: "live.db") == "é\nb\nc\n3")
    }

    // MARK: Text

    /// Of a column `v`: hexadecimal digits of the text's bytes, and of its characters in UTF-8.
    private func texts(_ name: String, raw: Bool) throws -> String {
        try bench.python(
            """
            db = sqlite3.connect(P); db.text_factory = bytes
            for id, kind, raw, text in db.execute('SELECT id, typeof(v), hex(CAST(v AS BLOB)), v FROM t ORDER BY id'):
                print(id, kind.decode(), raw.decode() if \(raw ? "True" : "False") else text.hex())
            """, on: name)
    }

    @Test(arguments: ["UTF-8", "UTF-16le", "UTF-16be"], ["UTF-8", "UTF-16le", "UTF-16be"])
    func `well-formed text is the same in any encoding, and other text where it can be`(
        from: String, to: String
    ) throws {
        try bench.python(
            """
            db = sqlite3.connect(P); db.execute("PRAGMA encoding = '\(from)'")
            db.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, w)')
            for v in ['', 'a\\0b', '\\0', 'é\\0\\0\\U0001F600', '\\ufeffbom', 'it''s', '\\0\\ufeff', "'\\0'", 'plain', '\\ufffe\\uffff', '\\0\\uffff\\U0001FFFE']:
                db.execute('INSERT INTO t(v, w) VALUES (?, ?)', (v, v))
            db.commit()
            """)
        try bench.shell("PRAGMA encoding = '\(to)'; CREATE TABLE mine(x);", on: "live.db")
        let trip = try RoundTrip(bench.path(), into: bench.path("live.db"))
        #expect(trip.leftOut == [:])
        #expect(try texts("live.db", raw: false) == texts("database.db", raw: false))
        try bench.expectSame()
        // Text that is none.
        let broken =
            from == "UTF-8"
            ? ["ff", "61c328", "00c3", "eda080"]
            : ["00d8", "d800", "6100dc00", "fffe00d8", "feffd800"]
        try bench.shell(
            broken.map { "INSERT INTO t(v) VALUES (CAST(x'\($0)' AS TEXT));" }.joined()
                + "CREATE TABLE u(id INTEGER PRIMARY KEY);")
        try bench.expectSame()
        #expect(try texts("restored-database.db", raw: true) == texts("database.db", raw: true))
        try FileManager.default.removeItem(atPath: bench.path("live.db"))
        try bench.shell("PRAGMA encoding = '\(to)'; CREATE TABLE mine(x);", on: "live.db")
        let other = try RoundTrip(bench.path(), into: bench.path("live.db"))
        if from == to {
            #expect(other.leftOut == [:])
            #expect(try texts("live.db", raw: true) == texts("database.db", raw: true))
        } else {
            #expect(
                other.leftOut == [
                    "t":
                        "column v holds text that is no well-formed \(from), and the database is \(to), "
                        + "where there is no such text: restore into a new file"
                ])
            #expect(try bench.shell(".tables", on: "live.db").contains("u"))
        }
    }
}
