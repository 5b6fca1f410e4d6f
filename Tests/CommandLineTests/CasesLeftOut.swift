import Foundation
import Testing

/// Nothing half is called done: what can't be read is left out aloud, and nothing else is.
@Suite struct CasesLeftOut {
    @Test func `What can't be read is left out aloud, and nothing else is`() throws {
        let database = try CaseDatabase(
            """
            CREATE TABLE t(rowid, _rowid_, oid); INSERT INTO t VALUES(1, 2, 3);
            CREATE TABLE precious(v); INSERT INTO precious VALUES('kept');
            """)
        let outcome = try database.backUp(status: 3)
        #expect(outcome.state == "done" && outcome.incomplete == 1)
        #expect(outcome.leftOut?.map(\.path) == ["t"], "\(outcome)")
        #expect(outcome.leftOut?.first?.reason.contains("rowid") == true, "\(outcome)")
        let line = try database.sandbox.ydbfs("run", CaseDatabase.name, "BACKUP c INCREMENTAL")
        #expect(line.status == 3 && line.output.contains("incomplete=1"), "\(line.output)")
        for arguments in [["status", CaseDatabase.name], ["status", CaseDatabase.name, "--json"]] {
            let status = try database.sandbox.run(Sandbox.binary, arguments)
            #expect(status.output.lowercased().contains("incomplete"), "\(status.output)")
        }
        let verified = try database.sandbox.ydbfs(
            "verify", CaseDatabase.name, "c", "--level", "source")
        #expect(verified.status == 3, "\(verified.output)\(verified.errors)")
        let restored = try database.restore(0, into: "new.db", status: 3)
        #expect(restored.words.contains("t"), "\(restored)")
        #expect(try database.rows("SELECT * FROM precious", in: "new.db") == "[('kept',)]")
    }

    @Test func `What is named in OMIT_TABLES is no omission`() throws {
        let database = try CaseDatabase(
            """
            CREATE TABLE t(rowid, _rowid_, oid); INSERT INTO t VALUES(1, 2, 3);
            CREATE VIRTUAL TABLE notes USING fts5(body); INSERT INTO notes VALUES('not this');
            CREATE TABLE precious(v); INSERT INTO precious VALUES('kept');
            """, settings: ", OMIT_TABLES = 't, notes'")
        let outcome = try database.backUp()
        #expect(outcome.incomplete ?? 0 == 0)
        try database.restore(0, into: "new.db")
        let names = try database.rows("SELECT name FROM sqlite_schema", in: "new.db")
        #expect(names == "[('precious',)]")
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

    @Test(arguments: [
        "CREATE INDEX i ON t(v)", "CREATE UNIQUE INDEX i ON t(v)", "CREATE INDEX i ON t(n, v, id)",
        "CREATE INDEX i ON t(n) WHERE n > 0",
    ])
    func `VERIFY source says which index disagrees with its table`(_ index: String) throws {
        let database = try CaseDatabase(CasesDamage.damage(index))
        try database.backUp()
        let verified = try database.sandbox.ydbfs(
            "verify", CaseDatabase.name, "c", "--level", "source")
        #expect((verified.output + verified.errors).contains("REINDEX"), "\(verified.output)")
    }

    @Test(arguments: [
        "CREATE TABLE t(a, b)", "CREATE TABLE t(a INTEGER, b TEXT NOT NULL)",
    ])
    func `Where VACUUM renumbered rowids, only what changed is counted`(_ create: String) throws {
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
        let status = try database.sandbox.ydbfs("status", CaseDatabase.name, "--json")
        let counts =
            "[(p['inserted'], p['updated'], p['deleted'])"
            + " for p in j['collections'][0]['points'][1:]]"
        let found = try database.sandbox.python(counts, json: status.output)
        #expect(found == "[(3, 0, 10), (0, 0, 0)]")
    }
}
