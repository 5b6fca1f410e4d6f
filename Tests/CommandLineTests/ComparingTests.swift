import Foundation
import Testing

/// diff, history, show and find.
@Suite struct ComparingTests {
    private let sandbox: Sandbox
    private let points: [String]

    private static let steps = [
        """
        PRAGMA user_version = 1;
        CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT UNIQUE, total REAL);
        CREATE TABLE users (name TEXT PRIMARY KEY, age INT, twice INT AS (age * 2) STORED);
        CREATE TABLE pairs (a TEXT, b INT, v, PRIMARY KEY (a, b)) WITHOUT ROWID;
        CREATE TABLE log (msg);
        CREATE TABLE "odd ""name" ("from" TEXT, rowid TEXT);
        CREATE TABLE kinds (k, l, v, PRIMARY KEY (k, l)) WITHOUT ROWID;
        CREATE INDEX by_total ON orders (total);
        CREATE TRIGGER noted AFTER DELETE ON orders BEGIN INSERT INTO log VALUES (old.id); END;
        CREATE VIEW large AS SELECT * FROM orders WHERE total > 10;
        INSERT INTO orders VALUES (1, 'x', 1.5), (2, 'it''s', 2), (3, NULL, 3), (9, 'y', 1e300);
        INSERT INTO users (name, age) VALUES ('anna', 1), ('bob', 2), ('cy', 3), (NULL, 4), (NULL, 5);
        INSERT INTO pairs VALUES ('k,1', 1, 'v'), ('', 2, NULL), ('a/b', 3, 'w');
        INSERT INTO log VALUES ('a'), (5), (x'00ff'), (NULL), ('a' || char(0) || 'b');
        INSERT INTO "odd ""name" VALUES ('a' || char(13, 10) || 'b', '--'), (';', '/* ');
        """,
        """
        PRAGMA user_version = 2;
        UPDATE orders SET email = CASE id WHEN 1 THEN 'swap' ELSE email END;
        UPDATE orders SET email = 'x' WHERE id = 9;
        UPDATE orders SET email = 'y' WHERE id = 1;
        DELETE FROM orders WHERE id = 3;
        INSERT INTO orders VALUES (20, 'new', -0.0);
        DELETE FROM orders WHERE id = 20;
        DELETE FROM users WHERE name = 'bob';
        INSERT INTO users (name, age) VALUES ('bob', 22), ('dan', 4);
        UPDATE users SET age = 6 WHERE age = 5;
        UPDATE pairs SET v = 'z' WHERE b = 1;
        DELETE FROM log WHERE msg = 5;
        UPDATE "odd ""name" SET rowid = 'x''y' WHERE "from" = ';';
        """,
        """
        INSERT INTO kinds VALUES (1, 'x', 1), (2, 'y', 2);
        ALTER TABLE pairs ADD COLUMN extra INT DEFAULT 7;
        ALTER TABLE users RENAME COLUMN age TO years;
        CREATE TABLE fresh (a PRIMARY KEY, b BLOB);
        INSERT INTO fresh VALUES (1, x'01'), ('one', 'text');
        DROP TABLE "odd ""name";
        DROP INDEX by_total;
        CREATE UNIQUE INDEX by_both ON orders (email, total);
        DROP VIEW large;
        CREATE VIEW small AS SELECT id FROM orders WHERE total < 10;
        CREATE TRIGGER seen INSTEAD OF INSERT ON small BEGIN INSERT INTO log VALUES (new.id); END;
        DROP TRIGGER noted;
        DELETE FROM log WHERE msg IS NULL;
        """,
        """
        VACUUM;
        DROP TABLE fresh;
        INSERT INTO kinds VALUES ('x', 'x', 1), (9007199254740993, x'00', NULL);
        UPDATE kinds SET v = 5 WHERE k = 2;
        UPDATE users SET years = 'old' WHERE name = 'anna';
        CREATE TABLE "Log2" (id INTEGER PRIMARY KEY, msg TEXT);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
        INSERT INTO "Log2" SELECT i, 'line ' || i FROM n;
        CREATE TRIGGER noted AFTER UPDATE ON pairs BEGIN DELETE FROM log; END;
        """,
    ]

    init() throws {
        sandbox = try Sandbox()
        try sandbox.sql(Self.steps[0])
        let create =
            "CREATE BACKUP COLLECTION shop DATABASE "
            + "WITH ( STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true' ); "
        #expect(try sandbox.ydbfs("run", "database.db", create + "BACKUP shop").status == 0)
        for step in Self.steps.dropFirst() {
            try sandbox.sql(step)
            let result = try sandbox.ydbfs("run", "database.db", "BACKUP shop INCREMENTAL")
            #expect(result.status == 0, "\(result.errors)")
        }
        let status = try sandbox.ydbfs("status", "database.db", "--json")
        points = try sandbox.python(
            #"" ".join(p["name"] for p in j["collections"][0]["points"])"#, json: status.output
        ).split(separator: " ").map(String.init)
        try #require(points.count == Self.steps.count)
        // Everything here works without the database.
        _ = try shell("rm database.db")
    }

    private func shell(_ script: String) throws -> Sandbox.Result {
        try sandbox.run("/bin/bash", ["-c", script])
    }

    private func output(_ arguments: String...) throws -> String {
        let result = try sandbox.run(Sandbox.binary, arguments)
        #expect(result.status == 0 && result.errors == "", "\(arguments): \(result.errors)")
        return result.output
    }

    /// All that a database holds, in no order, with rowids where a table has no other key.
    private func dump(_ file: String) throws -> String {
        let result = try shell(
            """
            { sqlite3 \(file) .dump | grep -v '^INSERT INTO sqlite_sequence\\|^DELETE FROM sqlite_seq'
              sqlite3 \(file) 'SELECT rowid, quote(msg) FROM log; SELECT rowid, name FROM users'
              sqlite3 \(file) 'SELECT * FROM sqlite_sequence; PRAGMA user_version'; } | sort
            """)
        #expect(result.errors == "")
        return result.output
    }

    @Test func `SQL turns every point into every other`() throws {
        var dumps: [String] = []
        for (number, point) in points.enumerated() {
            _ = try output(
                "run", "database.db.backups", "--into", "point\(number).db",
                "RESTORE shop AT '\(point)'")
            dumps.append(try dump("point\(number).db"))
        }
        #expect(Set(dumps).count == points.count)
        for old in points.indices {
            for new in points.indices {
                let script = try output(
                    "diff", "database.db.backups", "shop/\(points[old])", points[new], "--format",
                    "sql")
                try sandbox.write(script, to: "script.sql")
                let applied = try shell(
                    "cp point\(old).db c.db && sqlite3 -bail c.db < script.sql && rm script.sql")
                #expect(applied.status == 0 && applied.errors == "", "\(applied.errors)")
                #expect(try dump("c.db") == dumps[new], "\(old) to \(new)")
                if old == new { #expect(!script.contains("DROP") && !script.contains("UPDATE ")) }
            }
        }
    }

    @Test func `diff tells what changed, in a summary and row by row`() throws {
        let summary = try output("diff", "database.db", "shop/\(points[0])", points[1])
        #expect(
            summary == """
                shop/\(points[0]) → shop/\(points[1])
                TABLE      INSERTED  UPDATED  DELETED
                log               2        0        1
                odd "name         0        1        0
                orders            0        2        1
                pairs             0        1        0
                users             1        2        0
                1 table is the same

                """)
        let columns = try output("diff", "database.db", "shop/\(points[1])", "shop/\(points[2])")
        #expect(
            columns.contains("column extra is new") && columns.contains("column age is now years"))
        #expect(columns.contains("new table") && columns.contains("table is gone"))
        #expect(columns.contains("its definition changed"))
        let users = try output(
            "diff", "database.db.backups", "shop/\(points[0])", points[1], "--table", "users",
            "--format", "csv")
        #expect(
            users == """
                _change_type,name,age,twice
                update_preimage,,5,10
                update_postimage,,6,12
                update_preimage,bob,2,4
                update_postimage,bob,22,44
                insert,dan,4,8

                """)
        #expect(
            try output("diff", "database.db", "shop/latest", "latest").hasSuffix(
                "tables are the same\n"))
    }

    @Test func `a row is shown, and through all points`() throws {
        // A column that is called otherwise, and then holds literals, changes no row that looks the same.
        let bob = try output("history", "database.db", "shop", "users", "bob").split(
            separator: "\n")
        #expect(bob.count == 3 && bob[0].hasPrefix("_point,_change_type,name,years,twice"))
        #expect(bob[1].hasPrefix("\(points[0]),insert,bob,"))
        #expect(bob[2].hasPrefix("\(points[1]),update_postimage,bob,"))
        let orders = try output("history", "database.db", "shop", "orders", "3")
        #expect(
            orders == """
                _point,_change_type,id,email,total
                \(points[0]),insert,3,,3.0
                \(points[1]),delete,3,,3.0

                """)
        let pair = try output("history", "database.db", "shop", "pairs", "a/b", "3")
        #expect(
            pair == "_point,_change_type,a,b,v,extra\n\(points[0]),insert,a/b,3,w,\n")
        #expect(
            try output("show", "database.db", "shop/\(points[0])/users/bob")
                == "{\n  \"name\": \"bob\",\n  \"age\": 2,\n  \"twice\": 4\n}\n")
        // Two rows have no name; the empty key is NULL.
        let rows = try output("show", "database.db", "shop/\(points[1])/users/")
        #expect(try sandbox.python("[r['age'] for r in j]", json: rows) == "[4, 6]")
        let key = try output("show", "database.db", "shop/\(points[0])/pairs/\"k%2C1\",1")
        #expect(try sandbox.python("j['a'], j['b']", json: key) == "k,1 1")
        let slash = try output("show", "database.db", "shop/\(points[0])/pairs/a%2Fb,3")
        #expect(try sandbox.python("j['a']", json: slash) == "a/b")
        let tables = try output("show", "database.db", "shop/latest")
        #expect(
            tables.split(separator: "\n").map { $0.split(separator: " ")[0] } == [
                "TABLE", "Log2", "kinds", "log", "orders", "pairs", "users",
            ])
        #expect(try output("show", "database.db", "shop").split(separator: "\n").count == 5)
        #expect(try output("show", "database.db", "shop/latest/log").hasPrefix("CREATE TABLE log"))
    }

    @Test func `a row is known by its key's value, also where the column holds literals`() throws {
        try sandbox.sql(
            "CREATE TABLE t (k TEXT PRIMARY KEY, v); INSERT INTO t VALUES ('it''s', 1), ('b', 2)",
            in: "keys.db")
        let create =
            "CREATE BACKUP COLLECTION keys DATABASE WITH (STORAGE = 'cluster'); BACKUP keys"
        #expect(try sandbox.ydbfs("run", "keys.db", create).status == 0)
        for change in ["INSERT INTO t VALUES (x'ff', 3)", "DELETE FROM t WHERE v = 3"] {
            try sandbox.sql(change, in: "keys.db")
            #expect(try sandbox.ydbfs("run", "keys.db", "BACKUP keys").status == 0)
        }
        let found = try output("show", "keys.db", "keys").split(separator: "\n").dropFirst()
        let points = found.map { String($0.prefix { $0 != " " }) }
        try #require(points.count == 3)
        #expect(try output("show", "keys.db", "keys/latest/t").contains("known by k"))
        for point in points {
            #expect(
                try output("show", "keys.db", "keys/\(point)/t/it's")
                    == "{\n  \"k\": \"it's\",\n  \"v\": 1\n}\n")
        }
        #expect(
            try output("history", "keys.db", "keys", "t", "it's")
                == "_point,_change_type,k,v\n\(points[0]),insert,it's,1\n")
        #expect(
            try output("history", "keys.db", "keys", "t", "\\xff") == """
                _point,_change_type,k,v
                \(points[1]),insert,\\xff,3
                \(points[2]),delete,\\xff,3

                """)
        #expect(try sandbox.ydbfs("history", "keys.db", "keys", "t", "'b'").status == 1)
    }

    @Test func `a point may be named by a word or a time, wherever one is meant`() throws {
        let words = [
            ("latest", 3), ("previous", 2), ("oldest", 0), ("latest-full", 0), ("-0h", 3),
        ]
        for (word, number) in words {
            #expect(
                try output("show", "database.db", "shop/\(word)")
                    == output("show", "database.db", "shop/\(points[number])"))
            #expect(
                try output("diff", "database.db", "shop/\(points[1])", word).hasPrefix(
                    "shop/\(points[1]) → shop/\(points[number])\n"))
        }
        #expect(
            try output("diff", "database.db", "shop/oldest", "shop/latest-full").hasSuffix(
                "tables are the same\n"))
    }

    @Test func `the same columns in another order, and others of the same place, are told apart`()
        throws
    {
        try sandbox.sql(
            "CREATE TABLE t (a TEXT, b INT); INSERT INTO t VALUES ('x', 1)", in: "order.db")
        let create =
            "CREATE BACKUP COLLECTION one DATABASE WITH (STORAGE = 'cluster'); BACKUP one;"
            + "CREATE BACKUP COLLECTION two DATABASE WITH (STORAGE = 'cluster')"
        #expect(try sandbox.ydbfs("run", "order.db", create).status == 0)
        try sandbox.sql(
            "DROP TABLE t; CREATE TABLE t (b INT, a TEXT); INSERT INTO t VALUES (1, 'x')",
            in: "order.db")
        #expect(try sandbox.ydbfs("run", "order.db", "BACKUP one; BACKUP two").status == 0)
        for (old, new) in [("one/oldest", "latest"), ("one/oldest", "two/latest")] {
            let summary = try output("diff", "order.db", old, new)
            #expect(
                summary.contains(
                    "t             0        0        0  its columns are in another order"))
        }
    }

    @Test func `rows are found by a value, each once, with the points that have it`() throws {
        #expect(
            try output("find", "database.db", "orders.email = 'y'") == """
                _points,id,email,total
                \(points[0]),9,y,1e+300
                \(points[1])..\(points[3]),1,y,1.5

                """)
        let nulls = try output("find", "database.db", "shop", "users.name IS NULL")
        #expect(nulls.split(separator: "\n").count >= 4)
        let blob = try output("find", "database.db", "log.msg = x'00FF'")
        // VACUUM gave the row another rowid, and there is no other key.
        #expect(
            blob == """
                _points,msg
                \(points[0])..\(points[2]),X'00FF'
                \(points[3]),X'00FF'

                """)
        #expect(
            try output("find", "database.db", "\"odd \"\"name\".rowid = 'x''y'").contains(points[1])
        )
        let none = try sandbox.ydbfs("find", "database.db", "orders.total = 77")
        #expect(none.status == 0 && none.output == "" && none.errors.contains("no row"))
    }

    @Test func `what isn't there is named, with what is`() throws {
        for (arguments, says) in [
            (["diff", "database.db", "shop/latest", "nothing"], "no backup point nothing"),
            (["diff", "database.db", "shop/latest", "no/thing"], "there is no collection no"),
            (["diff", "database.db", "shop/latest", "-2h"], "no backup point as old as"),
            (["diff", "database.db", "-2h", "latest"], "there is no collection -2h"),
            (["history", "database.db", "shop", "users", "-2h"], "no row -2h"),
            (["find", "database.db", "orders.id != 1"], "equal values only"),
            (["diff", "database.db", "shop", "latest"], "name a point"),
            (
                ["diff", "database.db", "shop/latest", "latest", "--table", "nix"],
                "there are: Log2"
            ),
            (
                ["diff", "database.db", "shop/\(points[0])", "latest", "--format", "csv"],
                "say --table"
            ),
            (["history", "database.db", "shop", "nix", "1"], "there are: Log2"),
            (["history", "database.db", "shop", "orders", "77"], "no row 77 at any of 4 points"),
            (["history", "database.db", "shop", "orders", "-77"], "no row -77"),
            (["history", "database.db", "shop", "orders", "1", "2"], "the key has 1 column (id)"),
            (["show", "database.db", "nix"], "there are: shop"),
            (["show", "database.db", "shop/nix"], "no backup point nix"),
            (["show", "database.db", "shop/latest/nix"], "there are: Log2"),
            (["show", "database.db", "shop/latest/nix/1"], "there are: Log2"),
            (["show", "database.db", "shop/latest/orders/x"], "it has id (Int64)"),
            (["show", "database.db", "shop/latest/orders/77"], "no row 77"),
            (["find", "database.db", "nix.x = 1"], "there are: Log2"),
            (["find", "database.db", "orders.x = 1"], "there are: id, email, total"),
            (["find", "database.db", "orders"], "expected TABLE.COLUMN"),
            (["find", "database.db", "orders.id = yes"], "expected TABLE.COLUMN"),
        ] {
            let result = try sandbox.run(Sandbox.binary, arguments)
            #expect(result.status == 1, "\(arguments)")
            #expect(result.errors.contains(says), "\(arguments): \(result.errors)")
            #expect(result.errors.split(separator: "\n").count == 1 && result.output == "")
        }
        #expect(try sandbox.ydbfs("find", "database.db").status == 2)
        // Never taken for help.
        let unknown = try sandbox.ydbfs("show", "-2h")
        #expect(unknown.status == 2 && unknown.errors.contains("Unknown option '-2h'"))
        #expect(
            try sandbox.ydbfs("diff", "database.db", "shop/latest", "latest", "--format", "x")
                .status == 2)
    }
}
