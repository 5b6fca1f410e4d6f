import Bytes
import Foundation
import SQLiteSource
import Tables
import Testing

/// All of the grammar of definitions comes back to the byte, over b-trees that are what it says.
@Suite struct RestoredTextTests {
    /// Tables by their texts; a table is called t, and has rows by the columns a, b and c.
    static let tables = [
        "CREATE TABLE t(a, b, c)",
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c REAL)",
        "CREATE TABLE t(a INTEGER PRIMARY KEY DESC, b TEXT, c)",
        "CREATE TABLE t(a INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, b TEXT UNIQUE ON CONFLICT REPLACE, c)",
        "CREATE TABLE t(a INTEGER CONSTRAINT \"my key\" PRIMARY KEY ASC ON CONFLICT IGNORE AUTOINCREMENT, b, c)",
        "CREATE TABLE t(a INT PRIMARY KEY ON CONFLICT REPLACE, b NOT NULL ON CONFLICT IGNORE, c NULL ON CONFLICT FAIL)",
        "CREATE TABLE t(a TEXT PRIMARY KEY DESC, b COLLATE NOCASE UNIQUE, c COLLATE RTRIM) WITHOUT ROWID",
        "CREATE TABLE t(a TEXT COLLATE NOCASE PRIMARY KEY, b, c, UNIQUE(b COLLATE RTRIM DESC, c), UNIQUE(c))",
        "CREATE TABLE t(a INT, b TEXT, c ANY, PRIMARY KEY(b, a DESC)) STRICT, WITHOUT ROWID",
        "CREATE TABLE t(a INT NOT NULL, b TEXT CHECK (b <> ')'), c BLOB) STRICT",
        "CREATE TABLE t(a VARCHAR(10, 2) NOT NULL DEFAULT -1.5e-3, b \"odd type\" (7) DEFAULT (1 + (2)), c 'x' DEFAULT x'00ff')",
        "CREATE TABLE t(a DEFAULT +5 NOT NULL, b DEFAULT .5 UNIQUE, c DEFAULT 'it''s, (' CHECK (c IS NOT ','))",
        "CREATE TABLE t(a DEFAULT CURRENT_TIMESTAMP, b DEFAULT word, c DEFAULT \"quoted, name\" COLLATE NOCASE UNIQUE)",
        "CREATE TABLE t(a DEFAULT 0x1e -- UNIQUE, (\n, b DEFAULT 1e5 /* ) */ UNIQUE, c /* , d */ INT)",
        "CREATE TABLE t(a INTEGER REFERENCES t(a) ON DELETE SET NULL ON UPDATE NO ACTION MATCH FULL NOT DEFERRABLE INITIALLY IMMEDIATE, b REFERENCES other, c REFERENCES other(y) DEFERRABLE INITIALLY DEFERRED UNIQUE)",
        "CREATE TABLE t(a, b, c, FOREIGN KEY(a, b) REFERENCES other(x, y) ON DELETE CASCADE DEFERRABLE, CHECK (a > b) UNIQUE(a) CONSTRAINT n UNIQUE(b) CONSTRAINT m CHECK (1))",
        "CREATE TABLE t(a CONSTRAINT x, b CONSTRAINT y NOT NULL CONSTRAINT z, c, CONSTRAINT w, CONSTRAINT k PRIMARY KEY(a, c) ON CONFLICT ABORT)",
        "CREATE TABLE t(a INTEGER, b, c, CONSTRAINT k PRIMARY KEY(a DESC) CONSTRAINT u UNIQUE(\"c\", [b]) ON CONFLICT ROLLBACK)",
        "CREATE TABLE t(a INTEGER, b, c, PRIMARY KEY(a AUTOINCREMENT))",
        "CREATE TABLE t([a] INT, `b` TEXT, \"c\" CHECK (t.c > 0 OR \"t\".\"c\" IS NULL OR [t] . c <= 0))",
        "CREATE TABLE t('a' TEXT, b, c, UNIQUE('a'))",
        "CREATE TABLE \"t\"(a, \"CHECK\" INT, b, \"x \"\" y\" DEFAULT (')'), c, key, unique_ INT, replace TEXT, PRIMARY KEY(a, b))",
        "CREATE TABLE t (\n  a INTEGER NOT NULL\n    PRIMARY KEY -- the key\n, b TEXT /* CHECK ( */ NOT NULL, c)\n/* behind */",
        "CREATE TABLE t(a, b INT GENERATED ALWAYS AS (a * 2) VIRTUAL NOT NULL, c AS (length(a)) STORED UNIQUE)",
        "CREATE TABLE t(a INT, b TEXT AS (a || 'x') UNIQUE, c GENERATED ALWAYS AS (a) STORED)",
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b AS (a < '5'), c AS (a + \"a\") STORED, UNIQUE(b, a))",
        "CREATE TABLE t(a GENERATED, b GENERATED ALWAYS, c always AS (a), UNIQUE(c, a))",
        "CREATE TABLE t(rowid TEXT, a, b, c)",
        "CREATE TABLE t(rowid, _rowid_ INT, a UNIQUE, b, c)",
        "CREATE TABLE t(a INTEGER, b DATETIME, c DECIMAL(10,5), PRIMARY KEY(b, a))",
        "CREATE TABLE t(a FLOATING POINT, b BOOLEAN, c DOUBLE PRECISION UNIQUE)",
        "CREATE TABLE t(a CHARINT PRIMARY KEY, b VARCHAR /* INT */ (3), c GEOMETRY)",
        "CREATE TABLE IF NOT EXISTS t(a,b,c)",
        "CREATE TABLE main.t(a,b,c)",
        "CREATE TABLE t AS SELECT 1 AS a, 'x' AS b, x'00' AS c",
    ]

    @Test(arguments: tables.indices)
    func `a table's text and rows come back, whatever it is written like`(number: Int) throws {
        let bench = try Workbench(inMemory: true)
        let sql = Self.tables[number]
        try bench.python(
            """
            db = sqlite3.connect(P)
            db.execute('CREATE TABLE other(x, y, PRIMARY KEY(x, y))')
            db.execute(\(pythonText(sql)))
            generated = {r[1] for r in db.execute('PRAGMA table_xinfo(t)') if r[6]}
            names = [c for c in 'abc' if c not in generated]
            values = [1, 'x', 2.5, 3.0, 'Abc', 'abc ', b'\\x01', '007', 20, -7, None, 'é']
            for i in range(40):
                row = [values[(i * (k + 3) + k) % len(values)] for k in range(len(names))]
                try: db.execute(f"INSERT INTO t({','.join(names)}) VALUES({','.join('?' * len(names))})", row)
                except sqlite3.Error: pass
            if not db.execute("SELECT wr FROM pragma_table_list('t')").fetchone()[0]:
                db.execute('DELETE FROM t WHERE oid = 3')
            for sql in ['CREATE INDEX i1 ON t(b, c DESC)', "CREATE UNIQUE INDEX i2 ON t(a, b, c) WHERE a <> '5' -- x", 'CREATE INDEX i3 ON t(c COLLATE NOCASE, length(a))']:
                try: db.execute(sql)
                except sqlite3.Error: pass
            db.execute('CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; END')
            db.commit()
            """)
        try bench.expectSame()
        // And it works: a constraint or a default that was lost would not.
        #expect(try bench.check("restored-database.db") == "ok")
        let into = try RoundTrip(
            bench.path(), into: bench.path("restored-database.db"), renames: ["t": "other name"])
        #expect(into.leftOut == [:])
        #expect(try bench.check("restored-database.db") == "ok")
    }

    @Test func `comments and blanks at the end of a text come back to the byte`() throws {
        let bench = try Workbench(inMemory: true)
        try bench.python(
            """
            db = sqlite3.connect(P, isolation_level=None)
            db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, c TEXT CHECK (c <> '--'), d CHECK (d <> '/*'))")
            ends = [' -- x', ' -- x ', ' --', ' --\\n', ' -- x\\n\\n', ' \\n', ' /* x', ' /* x */', " -- it's",
                    ' -- /* x', ' /* -- x', ' /* -- */', ' -- ;\\n -- ;', ' /* ; */ -- "', '']
            for i, end in enumerate(ends):
                db.execute(f'CREATE INDEX i{i} ON t(c){end}')
                db.execute(f'CREATE VIEW v{i} AS SELECT 1{end}')
            db.execute('PRAGMA writable_schema = ON')
            for i, end in enumerate(ends):
                db.execute('UPDATE sqlite_schema SET sql = ? WHERE name = ?', (f'CREATE VIEW v{i} AS SELECT 1{end}', f'v{i}'))
            db.execute('CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1 -- ;\\n; END')
            """)
        try bench.expectSame()
        // Into a database that is there, by the same way.
        try bench.shell("CREATE TABLE mine(x)", on: "live.db")
        #expect(try RoundTrip(bench.path(), into: bench.path("live.db")).notes == [])
        let (old, new) = (try bench.dump("database.db"), try bench.dump("live.db"))
        #expect(old.filter { !new.contains($0) } == [])
    }

    /// Databases of random tables: every way to write a definition, mixed with data that fits it or is
    /// older than it.
    @Test(arguments: 0..<40) func `random definitions and rows come back as they were`(seed: Int)
        throws
    {
        let bench = try Workbench(inMemory: true)
        try bench.run(
            pythonProgram, ["-", bench.path(), "\(seed)"], input: Self.randomTables)
        let trip = try bench.expectSame(sound: false)
        #expect(trip.leftOut == [:])
        let checks = try ["database.db", "restored-database.db"].map { database in
            try bench.check(database).split(separator: "; ").sorted()
        }
        #expect(checks[0] == checks[1])
    }

    private static let randomTables = #"""
        import random, sqlite3, sys
        seed = int(sys.argv[2]); r = random.Random(seed)
        db = sqlite3.connect(sys.argv[1], isolation_level=None)
        db.execute('PRAGMA encoding = ' + r.choice(["'UTF-8'", "'UTF-16le'", "'UTF-16be'"]))
        db.execute(f'PRAGMA page_size = {r.choice([512, 1024, 4096])}')
        q = lambda n: r.choice(['"' + n.replace('"', '""') + '"', '[' + n + ']', '`' + n.replace('`', '``') + '`'])
        names = ['a', 'b c', 'check', 'UNIQUE', 'key', 'rowid', 'é', "it's", 'x"y', 'oid', 'NULL', 'c,d', '(', 'select', 'generated']
        types = ['', 'INTEGER', 'INT', 'TEXT', 'REAL', 'BLOB', 'NUMERIC', 'VARCHAR(10)', 'DECIMAL(10, 2)', 'DATETIME',
                 'FLOATING POINT', 'CHARINT', 'DOUBLE PRECISION', '"odd"', 'ANY', 'BOOLEAN /* INT */', 'unsigned big int']
        def onconf(): return r.choice(['', '', ' ON CONFLICT ' + r.choice(['REPLACE', 'IGNORE', 'ABORT', 'FAIL', 'ROLLBACK'])])
        def space(): return r.choice([' ', ' ', '  ', '\n', '\t', ' -- , ) x\n', ' /* ( */ '])
        def collate(): return r.choice(['', '', ' COLLATE NOCASE', ' collate "RTRIM"', ' COLLATE BINARY'])
        def default(): return r.choice(['5', '-1', '+2.5', '.5e-3', "'x, (y'", "x'00ff'", 'NULL', 'CURRENT_TIMESTAMP', '(1 + (2))',
                                        '"word"', 'word', 'true', '0x1F', "(')')", '1e5', "(abs(-1) || '--')"])
        def rule(n):
            return r.choice([
                'CONSTRAINT ' + r.choice(['c', '"c d"', "'e'"]), 'NOT NULL' + onconf(), 'NULL', 'UNIQUE' + onconf(), 'UNIQUE',
                f'CHECK ({n} IS NOT {r.choice(["1", "NULL", chr(39) + ")" + chr(39)])} OR 1)', 'DEFAULT ' + default(), collate().strip(),
                'REFERENCES other', 'REFERENCES "t0"(a, b) ON DELETE SET NULL ON UPDATE CASCADE'[:r.choice([15, 15])], 'REFERENCES other(x) ON DELETE NO ACTION MATCH FULL DEFERRABLE INITIALLY DEFERRED',
                'NOT DEFERRABLE', 'DEFERRABLE INITIALLY IMMEDIATE'])
        values = [None, 0, 1, -1, 7, 2**31, 2**53, 2**53 + 1, -2**63, 2**63 - 1, 0.5, -0.0, 1.0, 1e15, 1e17, 1e300, float('inf'), 'x', 'X', 'x ', '', '1', '007',
                  '1.0', '1e3', ' 5', 'é', '\0', 'a\0b', '\ufeffx', '\uffff', '\U0001F600', b'', b'\0', b'1', b'abc']
        made = 0
        while made < 10:
            n = r.randint(1, 6); cols = r.sample(names, n); strict = r.random() < .2; without = r.random() < .25
            pk = r.choice(['none', 'column', 'table', 'rowid', 'rowid']); defs = []; plain = []
            quoted = [q(c) for c in cols]
            for k, c in enumerate(quoted):
                t = r.choice(['INT', 'INTEGER', 'TEXT', 'REAL', 'BLOB', 'ANY']) if strict else r.choice(types)
                generated = k > 0 and r.random() < .2
                rules = [x for x in (rule(c) for _ in range(r.choice([0, 0, 1, 2, 3]))) if x]
                if generated: rules = [x for x in rules if not x.startswith('DEFAULT')] + [r.choice(['AS', 'GENERATED ALWAYS AS']) + f' ({r.choice([quoted[0], quoted[0] + " || 1", "abs(" + quoted[0] + ")", quoted[0] + " < 5", "length(" + quoted[0] + ")"])})' + r.choice(['', ' STORED', ' VIRTUAL'])]
                else: plain.append(c)
                if pk == 'column' and k == 0: rules.insert(0, 'PRIMARY KEY' + r.choice(['', ' ASC', ' DESC']) + onconf())
                if pk == 'rowid' and k == 0: t = 'INTEGER'; rules.insert(0, 'PRIMARY KEY' + r.choice(['', ' DESC', ' ASC AUTOINCREMENT'] if not without else ['', ' DESC']))
                r.shuffle(rules)
                defs.append(space().join([c, t] + rules))
            some = lambda: ', '.join(c + collate() + r.choice(['', ' DESC', ' ASC']) for c in r.sample(plain, r.randint(1, len(plain))))
            if pk == 'table': defs.append(f'PRIMARY KEY({some()})' + onconf())
            for _ in range(r.choice([0, 0, 1, 2])):
                defs.append(r.choice(['', 'CONSTRAINT u ']) + r.choice([f'UNIQUE({some()})' + onconf(), f'UNIQUE({r.choice(quoted)})', f'CHECK ({quoted[0]} IS NULL OR 1)', f'FOREIGN KEY({plain[0]}) REFERENCES other(x) ON DELETE CASCADE']))
            tail = ', '.join([w for w, on in (('WITHOUT ROWID', without), ('STRICT', strict)) if on])
            name = f't{made}' + r.choice(['', ' x', "'", '"'])
            text = f'CREATE TABLE {q(name)}' + space() + '(' + (space() + ',' + space()).join(defs) + space() + ')' + space() + tail
            try: db.execute(text)
            except sqlite3.Error: continue
            made += 1
            Q = '"' + name.replace('"', '""') + '"'
            for _ in range(r.choice([0, 3, 60])):
                try: db.execute(f'INSERT INTO {Q} ({", ".join(plain)}) VALUES ({", ".join("?" * len(plain))})', [r.choice(values) for _ in plain])
                except (sqlite3.Error, OverflowError): pass
            if not without:
                try: db.execute(f'DELETE FROM {Q} WHERE oid % 5 = 2')
                except sqlite3.Error: pass
            rewritten = not strict and r.random() < .4
            for k in range(r.choice([0, 1, 2])):
                c = r.choice(quoted); expr = r.choice([c, c + ' COLLATE NOCASE', c + ' DESC', c + ', ' + quoted[0]] if rewritten else [c, f'length({c})', f'{c} DESC, abs({quoted[0]})', c + ' COLLATE RTRIM'])
                where = '' if rewritten else r.choice(['', f' WHERE {c} IS NOT NULL', f" WHERE {c} > '5' -- x"])
                try: db.execute(f'CREATE {r.choice(["", "UNIQUE "])}INDEX "i{made} {k}" ON {Q}({expr}){where}')
                except sqlite3.Error: pass
            if rewritten and ' AS (' not in text and ' AS\n' not in text:
                # Types and rules that are newer than the rows.
                new = text
                for old, type in [(' TEXT', ' INTEGER'), (' NUMERIC', ' TEXT'), (' BLOB', ' REAL NOT NULL CHECK (1 = 2)'), (' INT ', ' TEXT NOT NULL '), ('VARCHAR(10)', 'DECIMAL')]:
                    if 'PRIMARY' not in text and (old != ' BLOB' or 'UNIQUE' not in text): new = new.replace(old, type, 1)
                db.execute('PRAGMA writable_schema = ON')
                db.execute("UPDATE sqlite_schema SET sql = 'CREATE ' || substr(?, 8) WHERE name = ? AND type = 'table'", (new, name))
                db.execute('PRAGMA writable_schema = RESET')
            # SQLite itself makes an index wrong now and then.
            said = [row[0] for row in db.execute(f"PRAGMA quick_check({Q})")] + [row[0] for row in db.execute(f"PRAGMA integrity_check({Q})")]
            if any('index' in line for line in said) or len(said) > 100: db.execute(f'DROP TABLE {Q}')
        if r.random() < .5: db.execute('ANALYZE')
        """#
}
