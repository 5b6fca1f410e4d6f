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
}
