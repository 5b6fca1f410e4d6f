import Foundation
import Testing

/// Backups write nothing to the database, and the application's statements do what they do without them.
@Suite struct CasesWriters {
    /// A database of an application, statements of its before an incremental, and those that are then
    /// compared with what they do in a database that never was backed up.
    struct Case: CustomTestStringConvertible {
        var create: String
        var early = "SELECT 1"
        var statements: [String]

        var testDescription: String { statements.joined(separator: "; ") }
    }

    private static func numbers(_ insert: String, _ count: Int = 20_000) -> String {
        """
        WITH RECURSIVE s(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM s LIMIT \(count))
            \(insert) FROM s;
        """
    }

    private static let users = """
        CREATE TABLE users(id INTEGER PRIMARY KEY, email TEXT, name TEXT);
        CREATE UNIQUE INDEX users_email ON users(email);
        \(numbers("INSERT INTO users SELECT v, 'u' || v, 'n'"))
        """

    @Test(arguments: [
        // RAISE(IGNORE) ends the triggers that come after it.
        Case(
            create: """
                CREATE TABLE acc(id INTEGER PRIMARY KEY, v INTEGER);
                \(numbers("INSERT INTO acc SELECT v, 0", 200_001))
                """,
            early: """
                CREATE TRIGGER app_au AFTER UPDATE ON acc WHEN NEW.v = OLD.v + 1
                    BEGIN SELECT RAISE(IGNORE); END
                """,
            statements: ["UPDATE acc SET v = v + 1 WHERE id = 7", "DELETE FROM acc WHERE id = 8"]),
        Case(
            create: """
                CREATE TABLE acc(k TEXT PRIMARY KEY NOT NULL, v);
                \(numbers("INSERT INTO acc SELECT 'k' || v, 0"))
                CREATE TRIGGER app_bd BEFORE DELETE ON acc WHEN OLD.v > 0
                    BEGIN SELECT RAISE(IGNORE); END;
                CREATE TRIGGER app_ai AFTER INSERT ON acc BEGIN
                    UPDATE acc SET v = 5 WHERE k = NEW.k; SELECT RAISE(IGNORE); END;
                """,
            statements: ["INSERT INTO acc VALUES('new', 1)", "DELETE FROM acc WHERE k > 'k9'"]),
        // Migrations.
        Case(
            create: users,
            statements: ["DROP INDEX users_email", "ALTER TABLE users DROP COLUMN email"]),
        Case(
            create: users,
            statements: [
                "ALTER TABLE users RENAME COLUMN email TO mail",
                "ALTER TABLE users RENAME TO people",
                "ALTER TABLE people ADD COLUMN age INT DEFAULT 7",
                "DELETE FROM people WHERE id % 1000 = 0",
            ]),
        Case(
            create: users,
            statements: [
                "CREATE TABLE new(id INTEGER PRIMARY KEY, name TEXT)",
                "INSERT INTO new SELECT id, name FROM users WHERE id < 1000", "DROP TABLE users",
                "ALTER TABLE new RENAME TO users", "VACUUM",
            ]),
        // REPLACE fires delete triggers when they are recursive.
        Case(
            create: """
                CREATE TABLE t(id INTEGER PRIMARY KEY, u INT UNIQUE, n TEXT);
                CREATE UNIQUE INDEX tn ON t(n);
                \(numbers("INSERT INTO t SELECT v, v, v", 200_001))
                """,
            early: "PRAGMA recursive_triggers = ON",
            statements: [
                "PRAGMA recursive_triggers = ON",
                "UPDATE OR REPLACE t SET id = 1, u = 2 WHERE id = 1",
                "INSERT OR REPLACE INTO t VALUES(77, 78, '79')", "REPLACE INTO t VALUES(1, 9, '9')",
            ]),
        Case(
            create: """
                PRAGMA journal_mode = WAL;
                CREATE TABLE t(a, b); \(numbers("INSERT INTO t SELECT v, v", 5000))
                """,
            statements: [
                "UPDATE t SET b = b + 1 WHERE a < 3 RETURNING a, b", "DELETE FROM t", "VACUUM",
            ]),
    ])
    func `What the application does, it does as without backups`(_ test: Case) throws {
        let database = try CaseDatabase(test.create)
        try database.backUp()
        try database.execute(test.early)
        try database.backUp(incremental: true)
        try database.python(
            """
            source, target = sqlite3.connect("\(CaseDatabase.name)"), sqlite3.connect("without.db")
            source.backup(target)
            """)
        let told = try ["without.db", CaseDatabase.name].map { name in
            try database.python(
                """
                connection = connect(sys.argv[1])
                for statement in sys.argv[2:]:
                    try:
                        print(connection.execute(statement).fetchall(), connection.total_changes)
                    except sqlite3.Error as error:
                        print(repr(error))
                """, [name] + test.statements)
        }
        #expect(told[0] == told[1])
        try database.expectSame("without.db", CaseDatabase.name)
        try database.backUp(incremental: true)
        try database.expectAllPoints()
        let objects = "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%ydbfs%'"
        #expect(try database.rows(objects) == "[(0,)]")
    }

    @Test(arguments: ["WAL", "DELETE", "PERSIST"])
    func `No byte of the file or of its log changes while the application has it open`(
        _ mode: String
    ) throws {
        let database = try CaseDatabase(
            """
            PRAGMA journal_mode = \(mode);
            CREATE TABLE t(a, b); \(Self.numbers("INSERT INTO t SELECT v, v"))
            """)
        let told = try database.python(
            """
            import subprocess
            def digest():
                whole = hashlib.sha256()
                for name in ("\(CaseDatabase.name)", "\(CaseDatabase.name)-wal"):
                    if os.path.exists(name):
                        with open(name, "rb") as file:
                            whole.update(file.read())
                return whole.hexdigest()
            def run(*words):
                subprocess.run([sys.argv[1], *words], check=True, stdout=subprocess.DEVNULL)
            connection = connect()
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            for statement in ("BACKUP c", "BACKUP c INCREMENTAL", "BACKUP c INCREMENTAL"):
                connection.execute("UPDATE t SET b = b + 1 WHERE a % 100 = 1")
                before = digest()
                run("run", "\(CaseDatabase.name)", statement)
                run("verify", "\(CaseDatabase.name)", "c", "--level", "source")
                run("status", "\(CaseDatabase.name)")
                print(digest() == before)
            """, Sandbox.binary)
        #expect(told == "True\nTrue\nTrue\n")
    }

    @Test func `A rolled back transaction is in no point, and its journal is left alone`() throws {
        let database = try CaseDatabase(
            "CREATE TABLE t(a, b); \(Self.numbers("INSERT INTO t SELECT v, v"))")
        try database.backUp()
        let told = try database.python(
            """
            import subprocess
            connection = connect()
            connection.execute("BEGIN")
            connection.execute("UPDATE t SET b = 'not yet'")
            ran = subprocess.run(
                [sys.argv[1], "run", "\(CaseDatabase.name)", "BACKUP c INCREMENTAL"])
            connection.execute("ROLLBACK")
            print(ran.returncode)
            """, Sandbox.binary)
        #expect(told.hasSuffix("0\n"), "\(told)")
        try database.restore(0, into: "new.db")
        let latest = try database.run(["--into", "latest.db", "RESTORE c"])
        #expect(latest.state == "done")
        try database.expectSame("new.db", "latest.db")
    }
}
