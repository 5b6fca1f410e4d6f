import Bytes
import Foundation
import SQLiteSource
import Synchronization
import Tables
import Testing

@Suite struct ReadingTests {
    let bench: Workbench

    init() throws { bench = try Workbench() }

    private func contents(_ sql: String, _ table: String = "t") throws -> Contents {
        try bench.shell(sql)
        let source = try SQLiteSource(path: bench.path())
        return try source.atCut { try $0.read(table) }
    }

    private func types(_ contents: Contents) -> [String] {
        contents.schema.columns.map { $0.isLiteral ? "literal" : $0.type.name }
    }

    @Test func `Affinity decides types`() throws {
        let found = try contents(
            """
            CREATE TABLE t(a INTEGER PRIMARY KEY, b VARCHAR(10), c BLOB, d DOUBLE, e DECIMAL(10,2), f,
            g DATE, h BIGINT, i BOOLEAN, j);
            INSERT INTO t VALUES(2,'b',x'00ff',1,1.5,'x','2026-01-01',-9223372036854775808,1,NULL),
            (1,'',NULL,0.1,2.5,'y',NULL,9223372036854775807,NULL,NULL);
            """)
        #expect(
            types(found) == [
                "Int64", "Utf8", "String", "Double", "Double", "Utf8", "Utf8", "Int64", "Int64",
                "Utf8",
            ])
        #expect(found.schema.columns.map(\.id) == Array(1...10))
        #expect(
            found.rows == [
                [
                    .int(1), .text(""), .null, .real(0.1), .real(2.5), .text("y"), .null,
                    .int(.max),
                    .null, .null,
                ],
                [
                    .int(2), .text("b"), .bytes([0, 255]), .real(1), .real(1.5), .text("x"),
                    .text("2026-01-01"), .int(.min), .int(1), .null,
                ],
            ])
    }

    @Test func `Values that do not fit make a column literal`() throws {
        let found = try contents(
            """
            CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c INTEGER, d NUMERIC, e REAL, f TEXT, g BLOB);
            INSERT INTO t VALUES
            (1,'it''s',5,1<<60,1.0,'a'||char(0)||'b',x'41'),
            (2,x'00c3','1.5x',0.1,'x',CAST(x'c328' AS TEXT),'A'),
            (3,'é',NULL,1.0/3,9e999,'plain',NULL);
            """)
        #expect(types(found) == ["Int64"] + Array(repeating: "literal", count: 6))
        let text = found.rows.map { row in row.dropFirst().map { "\($0)" } }
        #expect(
            text == [
                [
                    "SQL 'it''s'", "SQL 5", "SQL 1152921504606846976", "SQL 1.0",
                    "SQL CAST(X'610062' AS TEXT)",
                    "SQL X'41'",
                ],
                [
                    "SQL X'00C3'", "SQL '1.5x'", "SQL 0.1", "SQL 'x'",
                    "SQL CAST(X'C328' AS TEXT /* UTF-8 */)",
                    "SQL 'A'",
                ],
                [
                    "SQL 'é'", "NULL", "SQL 3.33333333333333314829e-01", "SQL 9.0e+999",
                    "SQL 'plain'", "NULL",
                ],
            ])
    }

    @Test func `Names are exact, quoted or not ASCII`() throws {
        try bench.shell(
            #"""
            CREATE TABLE "we""ird 'name'/é"("k ""1""" INTEGER PRIMARY KEY, "naïve" TEXT, [a]]b] INT);
            INSERT INTO "we""ird 'name'/é" VALUES(1,'ü',2);
            CREATE TABLE Orders(ID INTEGER PRIMARY KEY); CREATE VIEW v AS SELECT * FROM Orders;
            CREATE VIEW broken AS SELECT * FROM nowhere;
            CREATE VIRTUAL TABLE f USING fts5(x); CREATE TABLE nokey(a, b);
            CREATE TABLE _ydbfs_meta(a INTEGER PRIMARY KEY); CREATE TABLE auto(a INTEGER PRIMARY KEY AUTOINCREMENT);
            """#.replacing("[a]]b]", with: "\"a]b\""))
        let source = try SQLiteSource(path: bench.path())
        let tables = try source.listTables()
        #expect(
            tables.map(\.path) == [
                "Orders", "auto", "f_config", "f_content", "f_data", "f_docsize", "f_idx", "nokey",
                "we\"ird 'name'/é",
            ])
        #expect(tables.allSatisfy { $0.refusal == nil })
        #expect(
            tables.filter { $0.kind == .shadow(of: "f") }.map(\.path) == tables[2...6].map(\.path))
        try source.atCut { cut in
            let found = try cut.read("we\"ird 'name'/é")
            #expect(found.schema.columns.map(\.name) == ["k \"1\"", "naïve", "a]b"])
            #expect(found.rows == [[.int(1), .text("ü"), .int(2)]])
            #expect(#expect(throws: Failure.self) { try cut.read("orders") }?.code == .notFound)
            #expect(
                (cut as? SQLiteCut)?.views == """
                    CREATE VIRTUAL TABLE f USING fts5(x);
                    CREATE VIEW v AS SELECT * FROM Orders;
                    CREATE VIEW broken AS SELECT * FROM nowhere;

                    """)
        }
    }

    @Test func `A table whose rowid has no name goes by its key, if that never holds NULL`() throws
    {
        try bench.shell(
            """
            CREATE TABLE t(rowid TEXT, oid INT, _rowid_, PRIMARY KEY(rowid, oid));
            INSERT INTO t VALUES('x', NULL, 1); CREATE TABLE u(rowid, oid, _rowid_);
            """)
        let source = try SQLiteSource(path: bench.path())
        let refusal = try #require(try source.listTables()[0].refusal)
        #expect(refusal.contains("table t") && refusal.contains("column oid"))
        #expect(try source.listTables()[1].refusal?.contains("u has no PRIMARY KEY") == true)
        try bench.shell("UPDATE t SET oid = 1")
        #expect(try source.listTables()[0].refusal == nil)
    }

    @Test(arguments: ["UTF-8", "UTF-16le", "UTF-16be"])
    func `Text keys come by their UTF-8 bytes`(_ encoding: String) throws {
        let keys = ["", "A", "B", "a", "b", "é", "Ω", "\u{FFFD}", "𐍈", "b ", "aa", "\u{E000}"]
        let values = keys.map { "('\($0)')" }.joined(separator: ",")
        for column in [
            "k TEXT PRIMARY KEY", "k TEXT COLLATE NOCASE PRIMARY KEY",
            "k TEXT PRIMARY KEY COLLATE RTRIM",
        ] {
            // What a collation takes for equal can't be there twice.
            let found = try contents(
                "PRAGMA encoding = '\(encoding)'; DROP TABLE IF EXISTS t; CREATE TABLE t(\(column)) WITHOUT ROWID; INSERT OR IGNORE INTO t VALUES\(values)"
            )
            #expect(found.isOrdered && found.rows.count >= 9, "\(column) \(found.rows)")
        }
    }

    @Test(arguments: ["UTF-16le", "UTF-16be"])
    func `Broken UTF-16 is kept as a literal`(_ encoding: String) throws {
        let big = encoding == "UTF-16be"
        let lone = big ? "d8000061" : "00d86100"
        let found = try contents(
            "PRAGMA encoding = '\(encoding)'; CREATE TABLE t(k INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES(1, CAST(x'\(lone)' AS TEXT)), (2, 'é'), (3, char(65,0,66))"
        )
        #expect(
            found.rows.map { "\($0[1])" } == [
                "SQL CAST(X'\(lone.uppercased())' AS TEXT /* \(encoding) */)", "SQL 'é'",
                "SQL CAST(X'410042' AS TEXT)",
            ])
    }

    @Test func `Literals give back every value, bit for bit`() throws {
        try bench.python(
            """
            import random, struct
            r = random.Random(7)
            c = sqlite3.connect(P)
            c.execute('CREATE TABLE t(k INTEGER PRIMARY KEY, v)')
            c.execute("INSERT INTO t(v) VALUES('first'), (x'00'), (-0.0), (9e999), (-9e999)")
            for i in range(3000):
                x = struct.unpack('<d', struct.pack('<Q', r.getrandbits(64)))[0]
                v = [x, r.random(), r.getrandbits(62) - 2**61, bytes(r.getrandbits(8) for _ in range(r.randrange(9))),
                    ''.join(chr(r.choice([39, 65, 233, 0x10348, 10])) for _ in range(r.randrange(6)))][i % 5]
                c.execute('INSERT INTO t(v) VALUES(?)', (v,))
            c.commit()
            """)
        let found = try SQLiteSource(path: bench.path()).atCut { try $0.read("t") }
        #expect(types(found) == ["Int64", "literal"])
        // Another program evaluates the literals and compares; digits are read by C's strtod.
        let lines = found.rows.map { row in
            guard case .int(let key) = row[0] else { return "" }
            if case .literal(let bytes) = row[1] {
                return "\(key) \(Data(bytes).base64EncodedString())"
            }
            return "\(key) -"
        }
        try lines.joined(separator: "\n").write(
            toFile: bench.path("literals"), atomically: false, encoding: .utf8)
        let verdict = try bench.python(
            """
            import base64, struct
            c = sqlite3.connect(P); m = sqlite3.connect(':memory:'); wrong = 0; n = 0
            for line in open('\(bench.path("literals"))'):
                k, b = line.split()
                v = c.execute('SELECT v FROM t WHERE k = ?', (int(k),)).fetchone()[0]
                text = None if b == '-' else base64.b64decode(b).decode()
                if isinstance(v, float):
                    back = float('inf') if text == '9.0e+999' else float('-inf') if text == '-9.0e+999' else float(text)
                    ok = struct.pack('d', back) == struct.pack('d', v)
                elif text is None: ok = v is None
                else:
                    back = m.execute('SELECT ' + text).fetchone()[0]
                    ok = type(back) == type(v) and back == v
                wrong += not ok; n += 1
            print(n, wrong)
            """)
        #expect(verdict == "3005 0")
    }

    @Test func `Every affinity, storage class and key order agrees with SQLite's own words`() throws
    {
        // The oracle is another program that sorts by Python's rules.
        try bench.python(
            """
            import random
            r = random.Random(3)
            c = sqlite3.connect(P)
            c.execute('CREATE TABLE t(a INT, b TEXT, c BLOB, d REAL, e NUMERIC, g INT AS (a * 2), h TEXT AS (b || 1) STORED, PRIMARY KEY(c DESC, b COLLATE NOCASE, a)) WITHOUT ROWID')
            for i in range(2000):
                c.execute('INSERT OR IGNORE INTO t VALUES(?,?,?,?,?)', (r.getrandbits(6) - 30, ''.join(r.choice('aAbéZ~') for _ in range(r.randrange(3))), bytes(r.randrange(256) for _ in range(r.randrange(3))), r.choice([None, r.random(), 5]), r.choice([None, r.randrange(9)])))
            c.commit()
            """)
        let found = try SQLiteSource(path: bench.path()).atCut { try $0.read("t") }
        #expect(found.isOrdered)
        let mine = found.rows.map { row in
            row.map { value in
                switch value {
                case .null: "-"
                case .int(let number): "\(number)"
                case .double(let bits): String(bits, radix: 16)
                case .bytes(let bytes), .literal(let bytes):
                    "=" + bytes.map { String($0, radix: 16) }.joined(separator: ".")
                }
            }.joined(separator: " ")
        }.joined(separator: "\n")
        let theirs = try bench.python(
            """
            import struct
            def show(v):
                if v is None: return '-'
                if isinstance(v, int): return str(v)
                if isinstance(v, float): return '%x' % struct.unpack('<Q', struct.pack('<d', v))
                b = v.encode() if isinstance(v, str) else v
                return '=' + '.'.join('%x' % x for x in b)
            rows = sqlite3.connect(P).execute('SELECT a,b,c,d,e,g,h FROM t').fetchall()
            rows.sort(key=lambda r: (r[2], r[1].encode(), r[0]))
            print('\\n'.join(' '.join(map(show, r)) for r in rows))
            """)
        #expect(mine == theirs)
    }

    @Test func `Columns keep their ids, new and changed ones get new`() throws {
        let first = try contents(
            "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c); INSERT INTO t VALUES(1,'x',NULL)")
        #expect(types(first) == ["Int64", "Utf8", "Utf8"])
        try bench.shell("ALTER TABLE t ADD COLUMN d REAL; UPDATE t SET c = 5")
        let source = try SQLiteSource(path: bench.path())
        let second = try source.atCut { try $0.read("t", parent: first.schema, nextColumnID: 4) }
        #expect(second.schema.columns.map(\.id) == [1, 2, 4, 5])
        #expect(types(second) == ["Int64", "Utf8", "Int64", "Double"])
        try bench.shell("UPDATE t SET b = x'00'; INSERT INTO t VALUES(2, 'y', 'text', 1)")
        let third = try source.atCut { try $0.read("t", parent: second.schema, nextColumnID: 6) }
        #expect(types(third) == ["Int64", "literal", "literal", "Double"])
        #expect(third.schema.columns.map(\.id) == [1, 6, 7, 5])
        try bench.shell("UPDATE t SET b = 'text'")
        let fourth = try source.atCut { try $0.read("t", parent: third.schema, nextColumnID: 8) }
        #expect(fourth.schema == third.schema, "a literal column stays one")
    }

    @Test func `The statements of a table are its own, ours left out`() throws {
        try bench.shell(
            """
            CREATE TABLE T(a INTEGER PRIMARY KEY, b UNIQUE); CREATE TABLE other(a INTEGER PRIMARY KEY);
            CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; END; CREATE INDEX i ON t(b);
            INSERT INTO t VALUES(1,1),(2,2);
            """)
        let chain = try Chain(bench.path())
        try chain.takePoint(of: ["T"])
        let sql = try chain.source.atCut {
            try $0.describe("T", parent: nil, nextColumnID: 1, exactly: false).sql
        }
        #expect(
            sql == """
                CREATE TABLE T(a INTEGER PRIMARY KEY, b UNIQUE);
                CREATE INDEX i ON t(b);
                CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; END;

                """)
    }

    @Test func `Empty tables, single rows, and rows of several megabytes`() throws {
        let found = try contents(
            """
            CREATE TABLE t(k INTEGER PRIMARY KEY, b BLOB, s TEXT); CREATE TABLE empty(k TEXT PRIMARY KEY, v);
            INSERT INTO t VALUES(1, zeroblob(5000000), NULL), (2, x'', hex(zeroblob(2000000))), (3, NULL, '');
            """)
        #expect(found.rows.map { $0[0] } == [.int(1), .int(2), .int(3)])
        #expect(found.rows[0][1] == .bytes(Array(repeating: 0, count: 5_000_000)))
        #expect(found.rows[1][2] == .bytes(Array(repeating: UInt8(ascii: "0"), count: 4_000_000)))
        let source = try SQLiteSource(path: bench.path())
        try source.atCut { cut in
            #expect(try cut.read("empty").rows == [])
            #expect(try cut.countRows("empty") == 0)
            let schema = try cut.describe("t", parent: nil, nextColumnID: 1, exactly: false).schema
            let batch = RowBatch(schema)
            let cursor = try cut.scan("t", schema: schema, checkpoint: {})
            #expect(try cursor.next(into: batch, maxRows: 100, maxBytes: 1000))
            #expect(batch.count == 1, "a batch ends at the row that fills it")
        }
    }

    @Test func `A thousand tables in one cut`() throws {
        let sql = (0..<1000).map {
            "CREATE TABLE t\($0)(k INTEGER PRIMARY KEY, v); INSERT INTO t\($0) VALUES(\($0), 'x');"
        }
        try bench.shell("BEGIN; \(sql.joined(separator: "\n")) COMMIT")
        let source = try SQLiteSource(path: bench.path())
        let clock = ContinuousClock()
        let took = try clock.measure {
            try source.atCut { cut in
                let tables = try cut.listTables()
                #expect(tables.count == 1000 && tables.allSatisfy { $0.refusal == nil })
                for number in 0..<1000 {
                    #expect(try cut.read("t\(number)").rows == [[.int(Int64(number)), .text("x")]])
                }
            }
        }
        print("1,000 tables: \(took)")
    }

    @Test func `Cursors of one cut run side by side on threads`() throws {
        try bench.shell(
            """
            PRAGMA journal_mode = WAL; CREATE TABLE t(k INTEGER PRIMARY KEY, v TEXT);
            WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 20000)
            INSERT INTO t SELECT i, 'v' || i FROM s;
            """)
        let source = try SQLiteSource(path: bench.path())
        try source.atCut { cut in
            let schema = try cut.describe("t", parent: nil, nextColumnID: 1, exactly: false).schema
            nonisolated(unsafe) let shared = cut
            let counts = Mutex<[Int]>([])
            DispatchQueue.concurrentPerform(iterations: 4) { _ in
                let rows =
                    (try? Contents(schema, shared.scan("t", schema: schema, checkpoint: {})))?.rows
                    .count ?? -1
                counts.withLock { $0.append(rows) }
            }
            #expect(counts.withLock { $0 } == [20000, 20000, 20000, 20000])
        }
    }

    @Test func `A cursor that outlives its cut fails in words`() throws {
        try bench.shell("CREATE TABLE t(k INTEGER PRIMARY KEY); INSERT INTO t VALUES(1)")
        let source = try SQLiteSource(path: bench.path())
        let cut = try source.openCut(CutRequest())
        let schema = try cut.describe("t", parent: nil, nextColumnID: 1, exactly: false).schema
        let cursor = try cut.scan("t", schema: schema, checkpoint: {})
        cut.close()
        let failure = #expect(throws: Failure.self) {
            _ = try cursor.next(into: RowBatch(schema), maxRows: 1, maxBytes: 1)
        }
        #expect(failure?.code == .cancelled)
    }
}

extension ReadingTests {
    @Test func `A rowid table is stored by its rowid, whatever key it declares`() throws {
        try bench.shell(
            """
            CREATE TABLE plain(a, b); INSERT INTO plain(rowid, a) VALUES(5, 'x'), (-1, 'y'), (9, 'x');
            CREATE TABLE keyed(k TEXT PRIMARY KEY, n INT); INSERT INTO keyed VALUES('b', 1), (NULL, 2), (NULL, 3), ('a', 4);
            CREATE TABLE named(rowid TEXT, __ydbfs_rowid, oid, v, UNIQUE(v)); INSERT INTO named VALUES('r', 1, 2, 3);
            CREATE TABLE own(v, id INTEGER PRIMARY KEY); INSERT INTO own VALUES('v', 3), ('w', 1);
            CREATE TABLE sorted(k TEXT, id INTEGER PRIMARY KEY DESC); INSERT INTO sorted VALUES('v', 3), ('w', 1);
            """)
        let source = try SQLiteSource(path: bench.path())
        try source.atCut { cut in
            let plain = try cut.read("plain")
            #expect(plain.schema.columns.map(\.name) == ["a", "b", "__ydbfs_rowid"])
            #expect(plain.schema.columns[2].id == TableSchema.rowIDColumnID)
            #expect(plain.schema.columns.map(\.isHidden) == [false, false, true])
            #expect(plain.schema.key == [2] && plain.schema.primaryKey == [])
            #expect(plain.rows.map { $0[2] } == [.int(-1), .int(5), .int(9)])
            let keyed = try cut.read("keyed")
            #expect(keyed.schema.key == [2] && keyed.schema.primaryKey == [0])
            #expect(keyed.shown.map { $0[0] } == [.text("b"), .null, .null, .text("a")])
            let named = try cut.read("named")
            #expect(named.schema.columns.last?.name == "__ydbfs_rowid_")
            #expect(named.rows == [[.text("r"), .int(1), .int(2), .int(3), .int(1)]])
            let own = try cut.read("own")
            #expect(own.schema.key == [1] && own.schema.columns.count == 2)
            #expect(own.rows.map { $0[1] } == [.int(1), .int(3)])
            let sorted = try cut.read("sorted")
            #expect(sorted.schema.key == [2] && sorted.schema.primaryKey == [1])
        }
    }

    @Test func `A column takes the class that all its values have, whatever it was declared`()
        throws
    {
        let found = try contents(
            """
            CREATE TABLE t(k INTEGER PRIMARY KEY, geom POINT, price DECIMAL(10,2), whole NUMERIC,
            large NUMERIC, text INT, exact);
            INSERT INTO t VALUES(1, x'4750', 9.5, 1, 0.5, 'a', 1), (2, NULL, 18.00, 2, 1 << 60, 'b', 1.5),
            (3, x'', 1e300, NULL, NULL, NULL, NULL);
            """)
        #expect(
            types(found)
                == ["Int64", "String", "Double", "Int64", "literal", "Utf8", "literal"])
        #expect(found.rows.map { $0[2] } == [.real(9.5), .real(18), .real(1e300)])
        #expect(found.rows.map { "\($0[6])" } == ["SQL 1", "SQL 1.5", "NULL"])
    }

    @Test func `Collations and functions that only the application has`() throws {
        try bench.python(
            """
            c = sqlite3.connect(P)
            c.create_collation('unicase', lambda a, b: (a > b) - (a < b))
            c.create_function('fold', 1, str.lower, deterministic=True)
            c.execute('CREATE TABLE word(w TEXT COLLATE unicase PRIMARY KEY NOT NULL, n)')
            c.execute("INSERT INTO word VALUES('b', 1), ('A', 2)")
            c.execute('CREATE TABLE tag(w TEXT COLLATE unicase PRIMARY KEY, n) WITHOUT ROWID')
            c.execute("INSERT INTO tag VALUES('b', 1), ('A', 2), ('c', 3)")
            c.execute('CREATE TABLE p(id INTEGER PRIMARY KEY, n TEXT, low AS (fold(n)), kept AS (fold(n)) STORED)')
            c.execute("INSERT INTO p(n) VALUES('Ann')")
            c.execute("CREATE TABLE j(id INTEGER PRIMARY KEY, x, y AS (x))")
            c.execute("INSERT INTO j(x) VALUES('7'), ('no json')")
            c.execute('PRAGMA writable_schema = ON')
            c.execute("UPDATE sqlite_schema SET sql = replace(sql, 'AS (x)', 'AS (json(x))') WHERE name = 'j'")
            c.commit()
            """)
        try SQLiteSource(path: bench.path()).atCut { cut in
            #expect(try cut.read("word").shown.map { $0[0] } == [.text("b"), .text("A")])
            let tag = try cut.read("tag")
            #expect(tag.isOrdered && tag.rows.count == 3)
            let p = try cut.describe("p", parent: nil, nextColumnID: 1, exactly: false)
            #expect(p.schema.columns.map(\.name) == ["id", "n", "kept"])
            #expect(p.notes.count == 1 && p.notes[0].contains("column low"))
            #expect(try cut.read("p").rows == [[.int(1), .text("Ann"), .text("ann")]])
            #expect(try cut.read("j").schema.columns.map(\.name) == ["id", "x"])
        }
    }

    @Test func `A damaged index loses nothing`() throws {
        try bench.shell(
            """
            CREATE TABLE t(k TEXT PRIMARY KEY NOT NULL, n INT); CREATE INDEX i ON t(n);
            WITH RECURSIVE s(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM s WHERE v < 500)
            INSERT INTO t SELECT 'k' || v, v FROM s;
            """)
        // Both indexes now are those of another table, which is empty.
        try bench.python(
            """
            c = sqlite3.connect(P)
            c.execute('CREATE TABLE e(k TEXT PRIMARY KEY, n INT)'); c.execute('CREATE INDEX ei ON e(n)')
            c.execute('PRAGMA writable_schema = ON')
            c.execute("UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'ei') WHERE name = 'i'")
            c.execute("UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_e_1') WHERE name = 'sqlite_autoindex_t_1'")
            c.commit()
            """)
        try SQLiteSource(path: bench.path()).atCut { cut throws in
            #expect(try cut.countRows("t") == 500)
            #expect(try cut.read("t").rows.count == 500)
        }
    }

    @Test func `What identifies the file, numbers given to rows, and statistics`() throws {
        try bench.shell(
            """
            PRAGMA page_size = 1024; PRAGMA auto_vacuum = 2; PRAGMA encoding = 'UTF-16be';
            PRAGMA user_version = 86; PRAGMA application_id = 1196444487;
            CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, v); CREATE INDEX i ON t(v);
            INSERT INTO t(v) VALUES(1), (2); DELETE FROM t WHERE id = 2; ANALYZE;
            CREATE TABLE u(id INTEGER PRIMARY KEY);
            """)
        try SQLiteSource(path: bench.path()).atCut { cut in
            let facts = try #require(try cut.facts)
            #expect(
                facts
                    == DatabaseFacts(
                        userVersion: 86, applicationID: 1_196_444_487, encoding: "UTF-16be",
                        pageSize: 1024, autoVacuum: 2))
            let tables = try cut.listTables()
            #expect(tables.map(\.path).contains("sqlite_stat1"))
            #expect(
                tables.filter { $0.kind == .statistics }.allSatisfy {
                    $0.path.hasPrefix("sqlite_stat")
                })
            #expect(!tables.map(\.path).contains("sqlite_sequence"))
            func sequence(_ table: String) throws -> Int64? {
                try cut.describe(table, parent: nil, nextColumnID: 1, exactly: false).sequence
            }
            #expect(try sequence("t") == 2)
            #expect(try sequence("u") == nil)
        }
    }

    @Test func `Omitted tables are never looked at, nor what virtual ones are made of`() throws {
        try bench.shell(
            """
            CREATE TABLE a(x); CREATE TABLE b(x); CREATE VIRTUAL TABLE f USING fts5(x);
            CREATE VIRTUAL TABLE f_more USING fts5(x);
            """)
        let source = try SQLiteSource(path: bench.path())
        try source.atCut(CutRequest(omitted: ["a", "f"])) { cut in
            let paths = try cut.listTables().map(\.path)
            #expect(paths.filter { !$0.hasPrefix("f_more_") } == ["b"])
            #expect(paths.count == 6)
            #expect(cut.views == "CREATE VIRTUAL TABLE f_more USING fts5(x);\n")
        }
    }
}
