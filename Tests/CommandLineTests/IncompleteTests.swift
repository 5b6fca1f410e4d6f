import Foundation
import Testing

/// What can't be backed up, compared or restored is left out aloud: nothing half is called done.
@Suite struct IncompleteTests {
    private let sandbox: Sandbox

    init() throws { sandbox = try Sandbox() }

    private static let create = """
        CREATE BACKUP COLLECTION c DATABASE
        WITH (STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true');
        """

    /// Three tables, of which one can't be read: its columns have taken every name of the rowid, or its
    /// first page is damaged.
    private func makeDatabase(_ fault: Fault) throws {
        try sandbox.sql(
            """
            CREATE TABLE before(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO before VALUES (1, 'b');
            CREATE TABLE more(v TEXT); INSERT INTO more VALUES ('m'), ('n');
            """)
        try makeOdd(fault)
    }

    private enum Fault: String, CaseIterable { case noName, damagedPage }

    private func makeOdd(_ fault: Fault) throws {
        switch fault {
        case .noName:
            try sandbox.sql(
                "CREATE TABLE odd(rowid, oid, _rowid_); INSERT INTO odd VALUES (1, 2, 3)")
        case .damagedPage:
            try sandbox.sql(
                "CREATE TABLE odd(id INTEGER PRIMARY KEY, v); INSERT INTO odd VALUES (1, 'only copy')"
            )
            try damage("odd")
        }
    }

    /// Overwrites the first page of a table or an index.
    private func damage(_ name: String) throws {
        let program = """
            import sqlite3, sys
            c = sqlite3.connect("database.db")
            page, = c.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", sys.argv[1:]).fetchone()
            size, = c.execute("PRAGMA page_size").fetchone()
            c.close()
            with open("database.db", "r+b") as f:
                f.seek((page - 1) * size)
                f.write(b"\\x55" * 64)
            """
        let result = try sandbox.run("/usr/bin/python3", ["-c", program, name])
        try #require(result.status == 0, "\(result.errors)")
    }

    private func query(_ sql: String, in database: String = "new.db") throws -> String {
        let result = try sandbox.run("/usr/bin/sqlite3", [database, sql])
        #expect(result.status == 0, "\(result.errors)")
        return result.output
    }

    private func run(_ statements: String...) throws -> Sandbox.Result {
        try sandbox.run(Sandbox.binary, ["run", "database.db"] + statements)
    }

    // MARK: Backups

    @Test(arguments: ["noName", "damagedPage"])
    func `One bad table doesn't stop the others, and is named everywhere`(fault: String) throws {
        try makeDatabase(#require(Fault(rawValue: fault)))
        #expect(try run(Self.create).status == 0)
        let backup = try run("BACKUP c")
        #expect(backup.status == 3, "\(backup.output)\(backup.errors)")
        #expect(
            backup.output.contains("\nleft out: odd: ")
                || backup.output.hasPrefix("left out: odd: "))
        let line = #/operation 2 done \d{14}Z_full incomplete=1 rows=3 bytes=\d+ seconds=[\d.]+/#
        #expect(backup.output.contains(line), "\(backup.output)")

        let json = try run("BACKUP c WITH (uid = 'x')", "--json").output
        #expect(try sandbox.python("j['state'], j['incomplete']", json: json) == "done 1")
        let named =
            "len(j['left_out']), j['left_out'][0]['path'], len(j['left_out'][0]['reason']) > 9"
        #expect(try sandbox.python(named, json: json) == "1 odd True")
        #expect(try run("BACKUP c WITH (uid = 'x')").status == 1, "it counts as committed")
        let incremental = try run("BACKUP c INCREMENTAL")
        #expect(incremental.status == 3)
        #expect(incremental.output.contains("incremental incomplete=1 rows=0 "))

        let status = try sandbox.ydbfs("status", "database.db")
        #expect(status.status == 0)
        #expect(
            status.output.contains("INCOMPLETE") && status.output.contains("not backed up: odd: "))
        let report = try sandbox.ydbfs("status", "database.db", "--json").output
        let points =
            "[(p['incomplete'], list(p['not_backed_up'])) for p in j['collections'][0]['points']]"
        #expect(
            try sandbox.python(points, json: report) == "[(1, ['odd']), (1, ['odd']), (1, ['odd'])]"
        )
        let last = "j['collections'][0]['last_incomplete']"
        #expect(
            try sandbox.python("\(last)['state'], \(last)['incomplete']", json: report)
                == "done 1")
        #expect(try sandbox.python("'last_error' in j['collections'][0]", json: report) == "False")
    }

    @Test func `A mount says it in every file of the operation, and to whoever runs through it`()
        throws
    {
        try makeDatabase(.noName)
        #expect(try run(Self.create).status == 0)
        #expect(try sandbox.ydbfs("database.db", "mnt").status == 0)
        try sandbox.sql("CREATE TABLE \"a b%\nc\"(rowid, oid, _rowid_)")
        let backup = try run("BACKUP c", "--json")
        #expect(backup.status == 3, "\(backup.errors)")
        let paths = "j['incomplete'], [t['path'] for t in j['left_out']]"
        #expect(
            try sandbox.python(paths, json: backup.output) == "2 ['a b%\\nc', 'odd']")
        func expectSaid(_ when: String) throws {
            #expect(
                try sandbox.text("mnt/c/operation/state") == "done incomplete=2\n", "\(when)")
            #expect(try sandbox.text("mnt/c/operation/wait").contains("_full incomplete=2 rows=3 "))
            let status = try sandbox.text("mnt/c/status")
            #expect(status.contains("\nincomplete 2\nnot backed up a b%\u{FFFD}c: "), "\(status)")
            #expect(status.contains("\nleft out odd: "), "\(status)")
            let chain = try sandbox.text("mnt/c/chain").split(separator: "\n")
            let column = try #require(
                chain[0].split(separator: " ").firstIndex(of: "INCOMPLETE"))
            #expect(chain[1].split(separator: " ")[column] == "2")
            let json = try sandbox.text("mnt/c/chain.json")
            let point = "j['points'][0]"
            #expect(
                try sandbox.python(
                    "\(point)['incomplete'], \(point)['not_backed_up'][1]['path']", json: json)
                    == "2 odd")
            #expect(
                try sandbox.python(
                    "[t['path'] for t in j['not_backed_up']][1]",
                    json: sandbox.text("mnt/c/latest/backup.json")) == "odd")
        }
        try expectSaid("the mount that did it")
        #expect(try sandbox.ydbfs("unmount", "mnt").status == 0)
        #expect(try sandbox.ydbfs("database.db", "mnt").status == 0)
        try expectSaid("a later mount")
    }

    @Test func `What a point lacks that the one before it had is said`() throws {
        try sandbox.sql(
            """
            CREATE TABLE a(id INTEGER PRIMARY KEY, v); INSERT INTO a VALUES (1, 'a');
            CREATE TABLE odd(id INTEGER PRIMARY KEY, v); INSERT INTO odd VALUES (1, 'only copy');
            CREATE TABLE z(v); INSERT INTO z VALUES ('z');
            """)
        #expect(try run(Self.create, "BACKUP c").status == 0)
        try sandbox.sql("DROP TABLE z")
        try damage("odd")
        let backup = try run("BACKUP c INCREMENTAL")
        #expect(backup.status == 3, "\(backup.output)")
        #expect(
            backup.output.contains("note: table z is gone from the database"), "\(backup.output)")
        #expect(backup.output.contains("note: table odd is not in this point, though it is in 2"))
        #expect(backup.output.contains("left out: odd: "))
        #expect(try sandbox.ydbfs("export", "database.db", "c/latest", "out").status == 3)
        #expect(sandbox.exists("out/a.csv") && !sandbox.exists("out/odd.csv"))
        // The point before still has it.
        let points = try sandbox.ydbfs("status", "database.db", "--json").output
        let first = try sandbox.python("j['collections'][0]['points'][0]['name']", json: points)
        #expect(try run("--into", "old.db", "RESTORE c AT '\(first)'").status == 0)
        #expect(try query("SELECT v FROM odd", in: "old.db") == "only copy\n")
        let again = try run("BACKUP c INCREMENTAL")
        #expect(again.status == 3, "as long as it can't be read")
        #expect(!again.output.contains("note: table"), "\(again.output)")
        try sandbox.sql(
            "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'odd';")
        try sandbox.sql(
            "CREATE TABLE odd(id INTEGER PRIMARY KEY, v); INSERT INTO odd VALUES (2, 'new')")
        let healed = try run("BACKUP c INCREMENTAL")
        #expect(healed.status == 0, "\(healed.output)\(healed.errors)")
        #expect(try run("--into", "healed.db", "RESTORE c").status == 0)
        #expect(try query("SELECT id, v FROM odd", in: "healed.db") == "2|new\n")
    }

    @Test func `A listed table that is missing is left out, unless no other is left`() throws {
        try sandbox.sql("CREATE TABLE a(v); CREATE TABLE b(v); INSERT INTO a VALUES (1)")
        let create =
            "CREATE BACKUP COLLECTION c (TABLE a, TABLE b) WITH (STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true')"
        #expect(try run(create, "BACKUP c").status == 0)
        try sandbox.sql("DROP TABLE b")
        let incremental = try run("BACKUP c INCREMENTAL")
        #expect(incremental.status == 3)
        #expect(
            incremental.output.contains("left out: b: the database has no such table"),
            "\(incremental.output)")
        #expect(try run("BACKUP c").status == 3)
        try sandbox.sql("DROP TABLE a; CREATE TABLE other(v)")
        for statement in ["BACKUP c", "BACKUP c INCREMENTAL"] {
            let none = try run(statement)
            #expect(none.status == 1)
            #expect(
                none.errors.contains("none of its tables can be backed up: a: "), "\(none.errors)")
        }
        let points = try sandbox.ydbfs("status", "database.db", "--json").output
        #expect(try sandbox.python("len(j['collections'][0]['points'])", json: points) == "3")
    }

    @Test func `A database of which nothing can be read is not backed up`() throws {
        try makeOdd(.damagedPage)
        #expect(try run(Self.create).status == 0)
        let backup = try run("BACKUP c")
        #expect(backup.status == 1)
        #expect(
            backup.errors.contains("none of its tables can be backed up: odd: "), "\(backup.errors)"
        )
        try sandbox.sql("CREATE TABLE empty(v)", in: "other.db")
        try sandbox.sql("DROP TABLE empty", in: "other.db")
        let empty = try sandbox.ydbfs("run", "other.db", Self.create, "BACKUP c")
        #expect(empty.status == 0, "nothing is all that there is: \(empty.errors)")
    }

    // MARK: OMIT_TABLES

    @Test func `Omitted tables are never read and are no omission`() throws {
        try makeDatabase(.damagedPage)
        try sandbox.sql("CREATE TABLE \"it's, a log\"(v); INSERT INTO \"it's, a log\" VALUES (1)")
        let create = Self.create.replacing(
            "'cluster'", with: "'cluster', OMIT_TABLES = '`it\\'s, a log`, Odd'")
        let made = try run(create)
        #expect(made.status == 0, "\(made.errors)")
        #expect(
            made.output.contains("note: OMIT_TABLES: there is no table Odd; did you mean odd?"),
            "\(made.output)")
        #expect(
            try run("ALTER BACKUP COLLECTION c SET (OMIT_TABLES = 'odd, \"it\\'s, a log\"')").status
                == 0)
        let backup = try run("BACKUP c")
        #expect(backup.status == 0, "\(backup.output)\(backup.errors)")
        #expect(backup.output.contains("_full rows=3 "), "\(backup.output)")
        #expect(try sandbox.ydbfs("verify", "database.db", "c", "--level", "source").status == 0)
        #expect(try sandbox.ydbfs("database.db", "mnt").status == 0)
        #expect(
            try sandbox.text("mnt/c/collection.sql").contains(
                "OMIT_TABLES = 'odd, \"it\\'s, a log\"'"))
        // What was backed up and is omitted from now on is said once.
        let more = try run(
            "ALTER BACKUP COLLECTION c SET (OMIT_TABLES = '/Root/database/more, odd')",
            "BACKUP c INCREMENTAL")
        #expect(more.status == 0, "\(more.errors)")
        #expect(
            more.output.contains("note: table more is omitted from here on (OMIT_TABLES)"),
            "\(more.output)")
        let reset = try run("ALTER BACKUP COLLECTION c RESET (OMIT_TABLES)", "BACKUP c INCREMENTAL")
        #expect(reset.status == 3)
        #expect(!(try sandbox.text("mnt/c/collection.sql")).contains("OMIT_TABLES"))
        let list = try run(
            "CREATE BACKUP COLLECTION d (TABLE more) WITH (STORAGE = 'cluster', OMIT_TABLES = 'odd')"
        )
        #expect(list.status == 1)
        #expect(
            list.errors.contains("OMIT_TABLES is of collections of the whole DATABASE"),
            "\(list.errors)")
    }

    // MARK: VERIFY and RESTORE

    @Test func `VERIFY and RESTORE say what BACKUP said`() throws {
        try makeDatabase(.noName)
        #expect(try run(Self.create, "BACKUP c").status == 3)
        #expect(
            try sandbox.ydbfs("verify", "database.db", "c").status == 0, "what is stored is right")
        let verify = try sandbox.ydbfs("verify", "database.db", "c", "--level", "source")
        #expect(verify.status == 3, "\(verify.output)")
        #expect(verify.output.contains("left out: odd: "), "\(verify.output)")
        let json = try sandbox.ydbfs("verify", "database.db", "--level", "source", "--json")
        #expect(json.status == 3)
        let found =
            "j['right'], [(t['path'], t['reason'] != '') for t in j['collections'][0]['left_out']]"
        #expect(try sandbox.python(found, json: json.output) == "True [('odd', True)]")
        try sandbox.sql("CREATE TABLE late(v)")
        let statement = try run("VERIFY c WITH (level = source)")
        #expect(statement.status == 3)
        #expect(
            statement.output.contains("left out: late: it was made after 2"), "\(statement.output)")
        #expect(statement.output.contains(" incomplete=2 "), "\(statement.output)")

        let restore = try run("--into", "new.db", "RESTORE c")
        #expect(restore.status == 3, "\(restore.errors)")
        #expect(restore.output.contains("left out: odd: it isn't in 2"), "\(restore.output)")
        #expect(try query("SELECT v FROM before; SELECT v FROM more") == "b\nm\nn\n")
        let some = try run("--into", "some.db", "RESTORE c (TABLE more)")
        #expect(some.status == 0, "all that was asked for")
        let odd = try run("--into", "odd.db", "RESTORE c (TABLE odd)")
        #expect(odd.status == 1)
        #expect(odd.errors.contains("has no table odd: it wasn't backed up: "), "\(odd.errors)")
    }

    @Test func `An export of what a point has ends with 3 if the point is incomplete`() throws {
        try makeDatabase(.noName)
        #expect(try run(Self.create, "BACKUP c").status == 3)
        let export = try sandbox.ydbfs("export", "database.db", "c/latest", "out")
        #expect(export.status == 3)
        #expect(export.output.contains("left out: odd: "), "\(export.output)")
        #expect(sandbox.exists("out/more.csv"))
        #expect(
            try sandbox.ydbfs("export", "database.db", "c/latest", "one", "--table", "more").status
                == 0)
        let odd = try sandbox.ydbfs("export", "database.db", "c/latest", "odd", "--table", "odd")
        #expect(odd.status == 1)
        #expect(odd.errors.contains("has no table odd: it wasn't backed up: "), "\(odd.errors)")
    }

    @Test func `A damaged index loses nothing, and VERIFY says which one to make anew`() throws {
        try sandbox.sql(
            """
            CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, w UNIQUE);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000)
            INSERT INTO t SELECT i, 'value ' || i, -i FROM n;
            CREATE INDEX fine ON t(id, v); CREATE INDEX "by v" ON t(v);
            """)
        try hideRows()
        #expect(try run(Self.create, "BACKUP c").status == 0)
        let verify = try sandbox.ydbfs("verify", "database.db", "c", "--level", "source")
        #expect(verify.status == 0, "\(verify.output)")
        let lines = verify.output.split(separator: "\n").filter { $0.contains("REINDEX") }
        #expect(lines.count == 1)
        #expect(lines.first?.hasSuffix(": REINDEX \"by v\"") == true, "\(lines)")
        #expect(try run("--into", "new.db", "RESTORE c").status == 0)
        #expect(
            try query("SELECT count(*), sum(id), sum(length(v)) FROM t NOT INDEXED")
                == query(
                    "SELECT count(*), sum(id), sum(length(v)) FROM t NOT INDEXED", in: "database.db"
                ))
        try sandbox.sql("REINDEX \"by v\"")
        try damage("fine")
        let damaged = try sandbox.ydbfs("verify", "database.db", "c", "--level", "source")
        let found = damaged.output.split(separator: "\n").filter { $0.contains("REINDEX") }
        #expect(
            found.count == 1 && found.first?.hasSuffix("REINDEX fine") == true, "\(damaged.output)")
    }

    /// Deletes rows of `t` in such a way that the index `by v` doesn't hear of it.
    private func hideRows() throws {
        let program = """
            import sqlite3
            def change(*sql):
                c = sqlite3.connect("database.db", isolation_level=None)
                c.execute("PRAGMA writable_schema = ON")
                for s in sql: c.execute(*s)
                c.close()
            c = sqlite3.connect("database.db")
            row = c.execute("SELECT * FROM sqlite_schema WHERE name = 'by v'").fetchone()
            c.close()
            change(("DELETE FROM sqlite_schema WHERE name = 'by v'",))
            change(("DELETE FROM t WHERE id % 700 = 3",), ("UPDATE t SET v = 'other' WHERE id = 17",))
            change(("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", row))
            """
        let result = try sandbox.run("/usr/bin/python3", ["-c", program])
        try #require(result.status == 0, "\(result.errors)")
    }

    @Test func `An index that only the application can read is named as not checked`() throws {
        let program = """
            import sqlite3
            c = sqlite3.connect("database.db")
            c.create_function("fold", 1, str.lower, deterministic=True)
            c.create_collation("unicase", lambda a, b: (a.lower() > b.lower()) - (a.lower() < b.lower()))
            c.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, w TEXT, x TEXT COLLATE unicase)")
            c.execute("CREATE TABLE u(id INTEGER PRIMARY KEY, v TEXT)")
            c.execute("CREATE INDEX folded ON t(fold(v))")
            c.execute("CREATE INDEX plain ON t(w)")
            c.execute("CREATE INDEX cased ON t(x)")
            c.execute("CREATE INDEX other ON u(v)")
            for i, v in enumerate("bAcBaC" * 50): c.execute("INSERT INTO t VALUES (?, ?, ?, ?)", (i, v, v, v))
            c.commit()
            """
        let result = try sandbox.run("/usr/bin/python3", ["-c", program])
        try #require(result.status == 0, "\(result.errors)")
        #expect(try run(Self.create, "BACKUP c").status == 0)
        let verify = try sandbox.ydbfs("verify", "database.db", "c", "--level", "source")
        #expect(verify.status == 0, "\(verify.output)")
        let lines = verify.output.split(separator: "\n").filter { $0.contains("index ") }
        #expect(lines.count == 2, "\(verify.output)")
        #expect(lines.contains { $0.contains("index folded of t not checked") }, "\(lines)")
        #expect(
            lines.contains { $0.contains("index cased of t not checked") && $0.contains("unicase") }
        )
    }

    // MARK: Words

    @Test func `A schema of a newer SQLite is called that`() throws {
        try sandbox.sql("CREATE TABLE a(id INTEGER PRIMARY KEY); CREATE TABLE b(id INTEGER)")
        #expect(try run(Self.create).status == 0)
        try sandbox.sql(
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE b(id INTEGER) WONDERFUL' WHERE name = 'b'"
        )
        let damaged = try run("BACKUP c")
        #expect(damaged.status == 1 && damaged.errors.contains("damaged"), "\(damaged.errors)")
        let poke =
            "f = open('database.db', 'r+b'); f.seek(96); f.write((3_099_001).to_bytes(4, 'big'))"
        #expect(try sandbox.run("/usr/bin/python3", ["-c", poke]).status == 0)
        let newer = try run("BACKUP c")
        #expect(newer.status == 1)
        #expect(
            newer.errors.contains("SQLite 3.99.1 wrote") && !newer.errors.contains("damaged"),
            "\(newer.errors)")
    }

    @Test func `The query of a table with an unnamed column is one that DuckDB takes`() throws {
        try sandbox.sql(
            """
            CREATE TABLE t(id INTEGER PRIMARY KEY, "" TEXT, column2 TEXT); INSERT INTO t VALUES (1, 'x', 'y');
            """)
        #expect(try run(Self.create, "BACKUP c").status == 0)
        try sandbox.sql("INSERT INTO t VALUES (2, 'v', 'w'); UPDATE t SET \"\" = 'z' WHERE id = 1")
        #expect(try run("BACKUP c INCREMENTAL").status == 0)
        let sql = try sandbox.ydbfs("status", "database.db", "--sql", "c/latest", "--table", "t")
        #expect(sql.status == 0, "\(sql.errors)")
        let duckdb = "import duckdb, sys; print(duckdb.sql(sys.stdin.read()).fetchall())"
        let rows = try sandbox.run(Sandbox.python, ["-c", duckdb], input: sql.output)
        #expect(rows.output == "[(1, 'z', 'y'), (2, 'v', 'w')]\n", "\(rows.errors) \(sql.output)")
    }
}
