import Foundation
import Testing

/// Points as dumps of YDB, by the program itself and read by a program that knows nothing of it.
@Suite struct DumpOutTests {
    private let sandbox: Sandbox

    init() throws { sandbox = try Sandbox() }

    private func shell(_ script: String) throws -> String {
        let result = try sandbox.run("/bin/bash", ["-ec", script])
        #expect(result.status == 0, "\(script): \(result.errors)")
        return result.output
    }

    private func program(_ name: String) -> String {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().path + name
    }

    /// Reads a dump and writes its tables as ydbfs shows them.
    private func undump(_ directory: String, _ output: String) throws {
        let result = try sandbox.run(
            "/usr/bin/env",
            ["python3", program("/CommandLineTests/undump.py"), directory, output])
        #expect(result.status == 0, "\(directory): \(result.errors)")
    }

    @Test(arguments: ["A", "B", "C"])
    func `The dump of every point of a dump says the same, and makes the same points again`(
        generation: String
    ) throws {
        let made = try sandbox.run(
            "/usr/bin/env", ["python3", program("/DumpSourceTests/dump.py"), "golden", "."])
        try #require(made.status == 0, "\(made.errors)")
        let name = "generation" + generation
        #expect(try sandbox.ydbfs(name, "m").status == 0)
        let points = try shell("ls \(name).expected").split(separator: "\n").map(String.init)
        #expect(points.count == 4)
        _ = try shell("cp -r m/\(name)/dump again")
        let sizes = "find . -type f -printf '%p %s\\n' | sort"
        #expect(
            try shell("cd m/\(name)/dump && \(sizes)") == shell("cd again && \(sizes)"))
        let compare =
            "cd \(name).expected/$P && for f in $(find . -name '*.csv'); do cmp $f $OLDPWD/$T/$f; done"
        for point in points {
            try undump("again/\(point)", "tables/\(point)")
            _ = try shell("P=\(point) T=tables/\(point); \(compare)")
        }
        #expect(try sandbox.ydbfs("unmount", "m").status == 0)
        let mounted = try sandbox.ydbfs("again", "m")
        #expect(mounted.status == 0, "\(mounted.errors)")
        #expect(mounted.output.contains("4 backup points"), "\(mounted.output)")
        for point in points { _ = try shell("P=\(point) T=m/again/\(point); \(compare)") }
        // And once more.
        _ = try shell("diff -r again m/again/dump -x README")
        #expect(try sandbox.ydbfs("unmount", "m").status == 0)
    }

    private static let tables = """
        CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT, price REAL, data BLOB);
        CREATE TABLE codes (code TEXT PRIMARY KEY, n INT);
        CREATE TABLE gaps (code TEXT PRIMARY KEY, n INT);
        CREATE TABLE log (line TEXT);
        CREATE TABLE mixed (id INTEGER PRIMARY KEY, v);
        CREATE TABLE reals (x REAL PRIMARY KEY, y INT);
        CREATE TABLE pairs (a TEXT, b BLOB, n INT, PRIMARY KEY (a, b)) WITHOUT ROWID;
        CREATE TABLE "shop/stock" (id INTEGER PRIMARY KEY, n INT);
        CREATE TABLE empty (id INTEGER PRIMARY KEY, n INT);
        CREATE TABLE exact (x REAL PRIMARY KEY, y INT) WITHOUT ROWID;
        CREATE TABLE "two words" (id INTEGER PRIMARY KEY);
        CREATE TABLE spaces (id INTEGER PRIMARY KEY, "first name" TEXT);
        CREATE TABLE "log/inner" (id INTEGER PRIMARY KEY);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
        INSERT INTO orders SELECT i, CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN
            'ä ' || i || char(10) || '"%+,' ELSE 'item ' || i END, i / 7.0,
            CASE i % 3 WHEN 0 THEN NULL ELSE randomblob(i % 40) END FROM n;
        INSERT INTO codes SELECT 'c' || id, id FROM orders;
        INSERT INTO gaps SELECT CASE WHEN id % 100 > 1 THEN 'c' || id END, id FROM orders;
        INSERT INTO log SELECT item FROM orders;
        INSERT INTO mixed VALUES (1, 1), (2, '1'), (3, x'31'), (4, NULL), (5, 1.5), (6, 'null');
        INSERT INTO reals SELECT price, id FROM orders;
        INSERT INTO pairs SELECT 'a' || id % 10, CAST(id AS BLOB), id FROM orders;
        INSERT INTO "shop/stock" VALUES (-9223372036854775808, 1), (9223372036854775807, NULL);
        INSERT INTO exact VALUES (1.5, 1);
        INSERT INTO spaces VALUES (1, 'x');
        """

    @Test func `Tables of SQLite are dumped with a key that YDB can have, or left out by name`()
        throws
    {
        try sandbox.sql(Self.tables)
        #expect(
            try sandbox.ydbfs(
                "run", "database.db",
                "CREATE BACKUP COLLECTION shop DATABASE WITH (STORAGE = 'cluster', "
                    + "INCREMENTAL_BACKUP_ENABLED = 'true'); BACKUP shop"
            ).status == 0)
        try sandbox.sql(
            """
            DELETE FROM orders WHERE id % 7 = 3; UPDATE orders SET item = 'x y' WHERE id % 50 = 1;
            UPDATE gaps SET code = 'd' || n WHERE code IS NULL;
            DELETE FROM log WHERE rowid % 9 = 0; INSERT INTO log VALUES ('new'), (NULL);
            """)
        #expect(try sandbox.ydbfs("run", "database.db", "BACKUP shop INCREMENTAL").status == 0)
        #expect(try sandbox.ydbfs("database.db", "m").status == 0)
        let keys = [
            "codes": "code", "empty": "id", "mixed": "id", "orders": "id", "pairs": "a,b",
            "log": "__ydbfs_rowid", "reals": "__ydbfs_rowid", "shop/stock": "id",
        ]
        for (point, keyOfGaps) in [("latest-full", "__ydbfs_rowid"), ("latest", "code")] {
            let result = try sandbox.ydbfs(
                "export", "database.db", "shop/\(point)", "out", "--format", "dump")
            #expect(result.status == 3, "\(result.errors)")
            for (table, reason) in [
                ("exact", "type Double"), ("two words", "its name"), ("spaces", "first name"),
                ("log/inner", "tables within tables"),
            ] {
                let said = result.output.split(separator: "\n").contains {
                    $0.hasPrefix("left out: \(table): ") && $0.contains(reason)
                }
                #expect(said, "\(table): \(result.output)")
                #expect(try sandbox.text("out/README").contains("\(table): "))
            }
            _ = try shell(
                """
                cd out && sha256sum -c --strict --quiet SHA256SUMS && cd ..
                diff -r out m/shop/dump/$(readlink m/shop/\(point)) -x SHA256SUMS -x backup.json
                """)
            try undump("out", "tables")
            for (table, key) in keys.merging(["gaps": keyOfGaps], uniquingKeysWith: { $1 }) {
                #expect(try sandbox.text("tables/\(table).key") == key + "\n", "\(table)")
                let cut = key == "__ydbfs_rowid" ? "sed 's/^[^,]*,//'" : "cat"
                // Lines that continue a field have no rowid: only tables without such ones are cut.
                if table == "log" { continue }
                _ = try shell("\(cut) tables/\(table).csv | cmp - m/shop/\(point)/\(table).csv")
            }
            #expect(
                try shell("find tables -name '*.csv' | wc -l") == "\(keys.count + 1)\n")
            let counts = try sandbox.python(
                "sum(t['rows'] for t in j['tables'] if t['path'] == 'log')",
                json: sandbox.text("out/backup.json"))
            #expect(try shell("cat out/log/data_*.csv | wc -l") == counts + "\n")
            _ = try shell("rm -r out tables")
        }
        #expect(
            try shell("cat m/shop/dump/$(readlink m/shop/latest)/mixed/data_00.csv")
                == "1,\"1\"\n2,\"%271%27\"\n3,\"X%2731%27\"\n4,null\n5,\"1.5\"\n6,\"%27null%27\"\n")
        let some = try sandbox.ydbfs(
            "export", "m", "shop/latest", "some", "--format", "dump", "--table", "shop/stock")
        #expect(some.status == 0, "\(some.errors)")
        #expect(
            try shell("cd some && find . -type f | sort") == """
                ./README
                ./SHA256SUMS
                ./backup.json
                ./permissions.pb
                ./shop/permissions.pb
                ./shop/stock/data_00.csv
                ./shop/stock/permissions.pb
                ./shop/stock/scheme.pb

                """)
        #expect(
            try shell("cat some/shop/stock/data_00.csv")
                == "-9223372036854775808,1\n9223372036854775807,null\n")
    }

    @Test func `NOT NULL, literal defaults and indexes are in the scheme, what can't be is named`()
        throws
    {
        try sandbox.sql(
            """
            CREATE TABLE goods (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE,
                name TEXT DEFAULT 'it''s "new"', price REAL NOT NULL DEFAULT 1.5, n INT DEFAULT -3,
                data BLOB DEFAULT x'00ff41', at TEXT DEFAULT CURRENT_TIMESTAMP, nil INT DEFAULT NULL,
                twice INT AS (n * 2) STORED);
            CREATE INDEX by_name ON goods (name DESC, n);
            CREATE UNIQUE INDEX by_n ON goods (n);
            CREATE INDEX by_price ON goods (price);
            CREATE INDEX by_lower ON goods (lower(name));
            CREATE INDEX some ON goods (name) WHERE n > 0;
            CREATE INDEX "odd name" ON goods (name);
            INSERT INTO goods (code, n, data) VALUES ('a', 1, x'01'), ('b', 2, x'02');
            """)
        let made = try sandbox.ydbfs("run", "database.db", SmallDisk.create + "BACKUP shop")
        #expect(made.status == 0, "\(made.errors)")
        let out = try sandbox.ydbfs(
            "export", "database.db", "shop/latest", "out", "--format", "dump")
        #expect(out.status == 0, "\(out)")
        #expect(
            try sandbox.text("out/goods/scheme.pb") == #"""
                columns {
                  name: "id"
                  type { optional_type { item { type_id: INT64 } } }
                }
                columns {
                  name: "code"
                  type { type_id: UTF8 }
                  not_null: true
                }
                columns {
                  name: "name"
                  type { optional_type { item { type_id: UTF8 } } }
                  from_literal {
                    type {
                      type_id: UTF8
                    }
                    value {
                      text_value: "it's \"new\""
                    }
                  }
                }
                columns {
                  name: "price"
                  type { type_id: DOUBLE }
                  not_null: true
                  from_literal {
                    type {
                      type_id: DOUBLE
                    }
                    value {
                      double_value: 1.5
                    }
                  }
                }
                columns {
                  name: "n"
                  type { optional_type { item { type_id: INT64 } } }
                  from_literal {
                    type {
                      type_id: INT64
                    }
                    value {
                      int64_value: -3
                    }
                  }
                }
                columns {
                  name: "data"
                  type { optional_type { item { type_id: STRING } } }
                  from_literal {
                    type {
                      type_id: STRING
                    }
                    value {
                      bytes_value: "\000\377A"
                    }
                  }
                }
                columns {
                  name: "at"
                  type { optional_type { item { type_id: UTF8 } } }
                }
                columns {
                  name: "nil"
                  type { optional_type { item { type_id: INT64 } } }
                }
                columns {
                  name: "twice"
                  type { optional_type { item { type_id: INT64 } } }
                }
                primary_key: "id"
                indexes {
                  name: "by_name"
                  index_columns: "name"
                  index_columns: "n"
                  global_index {
                  }
                }
                indexes {
                  name: "by_n"
                  index_columns: "n"
                  global_index {
                  }
                }

                """#)
        let readme = try sandbox.text("out/README")
        let left = readme.components(separatedBy: "Not in the tables' schemes:\n\n").last ?? ""
        #expect(
            left == """
                goods: column at: its default, as it is no Utf8
                goods: column twice: how it is computed
                goods: UNIQUE (code)
                goods: index by_n: that it is UNIQUE
                goods: index by_price: its column price is of type Double, and YDB has no such keys
                goods: index by_lower: it is over an expression or what isn't backed up
                goods: index some: it has some rows only
                goods: index odd name: its name has other characters than letters, digits, - and _, \
                or is too long

                """)
        // Another reader of dumps takes it, and a catalog keeps it.
        try undump("out", "tables")
        #expect(try sandbox.ydbfs("out", "m").status == 0)
        _ = try shell("diff -r out/goods m/*/dump/2*/goods; test -s tables/goods.csv")
    }
}
