import Foundation
import Testing

/// What only the application has, and names that only look like ours: nothing is made up, nothing is
/// lost, nothing is left behind.
@Suite struct ForeignCases {
    private let sandbox: Sandbox

    private static let create = """
        CREATE BACKUP COLLECTION c DATABASE
        WITH (STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true')
        """

    init() throws { sandbox = try Sandbox() }

    /// Runs statements in a database whose program knows a collation of its own, and a function.
    private func application(_ statements: [String]) throws -> String {
        let program = """
            import json, sqlite3, sys
            c = sqlite3.connect('app.db')
            fold = lambda a, b: (a.lower() > b.lower()) - (a.lower() < b.lower())
            c.create_collation('unicase', fold)
            for statement in json.loads(sys.argv[1]): rows = c.execute(statement).fetchall()
            c.commit()
            print(rows)
            """
        let list = String(decoding: try JSONEncoder().encode(statements), as: UTF8.self)
        let result = try sandbox.run(Sandbox.python, ["-c", program, list])
        try #require(result.status == 0, "\(result.errors)")
        return result.output
    }

    private func run(_ arguments: String...) throws -> Sandbox.Result {
        try sandbox.run(Sandbox.binary, ["run", "app.db"] + arguments)
    }

    @Test(arguments: [
        "a < 'b'", "min(a, 'B')", "nullif(a, 'B')", "a in ('b')", "case a when 'b' then 1 end",
        "a between 'A' and 'b'", "max('B', a)", "a is not 'b'",
    ])
    func `A column computed by the application's collation is left out, not made up`(
        _ expression: String
    ) throws {
        let rows = try application([
            "create table t(id integer primary key, a text collate unicase, g as (\(expression)))",
            "create index i on t(g)", "insert into t(a) values('A'), ('C'), ('b')",
            "select * from t",
        ])
        let taken = try run(Self.create, "BACKUP c")
        #expect(taken.status == 0, "\(taken.errors)")
        #expect(taken.output.contains("column g is computed"), "\(taken.output)")
        #expect(taken.output.contains("unicase"))
        #expect(try sandbox.ydbfs("export", "app.db", "c/latest", "out").status == 0)
        #expect(try sandbox.text("out/t.csv") == "id,a\n1,A\n2,C\n3,b\n")
        let restored = try run("--into", "new.db", "RESTORE c")
        #expect(restored.status == 0, "\(restored.errors)")
        // The application finds in the restored file what it had.
        _ = try sandbox.run("/bin/mv", ["new.db", "app.db"])
        #expect(try application(["select * from t"]) == rows)
    }

    @Test func `Columns that only carry such text are computed as ever`() throws {
        _ = try application([
            "create table t(id integer primary key, a text collate unicase, g as (a || 'x'))",
            "insert into t(a) values('A')",
        ])
        let taken = try run(Self.create, "BACKUP c")
        #expect(!taken.output.contains("note"), "\(taken.output)")
        #expect(try sandbox.ydbfs("export", "app.db", "c/latest", "out").status == 0)
        #expect(try sandbox.text("out/t.csv") == "id,a,g\n1,A,Ax\n")
    }

    @Test func `An index that needs the application's collation anywhere isn't called damaged`()
        throws
    {
        _ = try application([
            "create table t(id integer primary key, a text collate unicase, b text, g as (a > 'a'))",
            "create index p on t(id) where a < 'b'", "create index e on t(a > 'a')",
            "create index v on t(g)", "create index c on t(id) where b collate unicase > 'a'",
            "create index plain on t(b)",
            "insert into t(a, b) values('A', 'x'), ('C', 'Y')",
        ])
        #expect(try run(Self.create, "BACKUP c").status == 0)
        let verified = try sandbox.ydbfs("verify", "app.db", "c", "--level", "source")
        #expect(verified.status == 0, "\(verified.output)")
        #expect(!verified.output.contains("REINDEX"), "\(verified.output)")
        for index in ["p", "e", "v", "c"] {
            #expect(verified.output.contains("index \(index) of t not checked"), "\(index)")
        }
        #expect(!verified.output.contains("plain"))
    }

    @Test func `Names that only begin like ours are the user's`() throws {
        try sandbox.sql(
            """
            CREATE TABLE _ydbfs_mine(a); INSERT INTO _ydbfs_mine VALUES ('mine');
            CREATE TABLE _YDBFS_log(a); CREATE TABLE _ydbfs_log_x(a); CREATE TABLE _ydbfs_restore_1(a);
            CREATE TABLE ok(a); CREATE INDEX _ydbfs_i ON ok(a); CREATE VIEW _ydbfs_v AS SELECT 1;
            CREATE TRIGGER _ydbfs_t AFTER INSERT ON ok BEGIN SELECT 1; END;
            """, in: "app.db")
        let schema = "SELECT type, name FROM sqlite_schema ORDER BY 1, 2"
        let before = try sandbox.run("/usr/bin/sqlite3", ["app.db", schema]).output
        #expect(try run(Self.create, "BACKUP c").status == 0)
        #expect(try sandbox.ydbfs("repair", "app.db").status == 0)
        #expect(try sandbox.run("/usr/bin/sqlite3", ["app.db", schema]).output == before)
        #expect(try run("--into", "new.db", "RESTORE c").status == 0)
        #expect(try sandbox.run("/usr/bin/sqlite3", ["new.db", schema]).output == before)
    }

    @Test func `Verifying says what the point lacks, whether the database has it or not`() throws {
        try sandbox.sql("CREATE TABLE a(x); CREATE TABLE b(x);", in: "app.db")
        let create = "CREATE BACKUP COLLECTION c (TABLE a, TABLE b) WITH (STORAGE = 'cluster')"
        #expect(try run(create, "BACKUP c").status == 0)
        try sandbox.sql("DROP TABLE b;", in: "app.db")
        #expect(try run("BACKUP c").status == 3)
        let verified = try sandbox.ydbfs("verify", "app.db", "c", "--level", "source")
        #expect(verified.status == 3, "\(verified.output)")
        #expect(verified.output.contains("left out: b:"), "\(verified.output)")
    }

    @Test func `Nothing is left beside a WAL database that nobody has open`() throws {
        try sandbox.sql(
            "PRAGMA journal_mode = wal; CREATE TABLE a(x); INSERT INTO a VALUES (1);", in: "app.db")
        #expect(try run(Self.create, "BACKUP c").status == 0)
        #expect(try run("BACKUP c INCREMENTAL").status == 0)
        _ = try sandbox.ydbfs("verify", "app.db", "--level", "source")
        _ = try sandbox.ydbfs("status", "app.db")
        let names = try FileManager.default.contentsOfDirectory(atPath: sandbox.path).sorted()
        #expect(names == ["app.db", "app.db.backups"])
    }
}
