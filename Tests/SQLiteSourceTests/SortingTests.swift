import Bytes
import SQLiteSource
import Tables
import Testing

/// Tables without rowid that don't lie in key order, read through a sort with so little memory that it is of many
/// runs, against the order in which SQLite itself gives the rows.
@Suite struct SortingTests {
    private static let count = 4000

    private struct Shape: CustomStringConvertible {
        var description: String
        /// Of the rows, by SQLite.
        var order: String
        /// The table's definition.
        var sql: String
        /// What all of k begins with.
        var beginning = ""
        var encoding = "UTF-8"
    }

    private static let shapes = [
        Shape(
            description: "text", order: "k",
            sql: "(k TEXT, n INT, v BLOB, PRIMARY KEY(k DESC)) WITHOUT ROWID"),
        Shape(
            description: "text that begins alike", order: "k",
            sql: "(k TEXT, n INT, v BLOB, PRIMARY KEY(k DESC)) WITHOUT ROWID",
            beginning: String(repeating: "same-", count: 40)),
        Shape(
            description: "text without case", order: "k COLLATE BINARY",
            sql: "(k TEXT COLLATE NOCASE PRIMARY KEY, n INT, v BLOB) WITHOUT ROWID"),
        Shape(
            description: "two columns", order: "n, k COLLATE BINARY",
            sql: """
                (k TEXT NOT NULL, n INT NOT NULL, v BLOB, PRIMARY KEY(n DESC, k COLLATE RTRIM)) WITHOUT ROWID
                """),
        Shape(
            description: "bytes", order: "v",
            sql: "(k TEXT, n INT, v BLOB, PRIMARY KEY(v DESC)) WITHOUT ROWID"),
        Shape(
            description: "integers", order: "n",
            sql: "(k TEXT, n INT, v BLOB, PRIMARY KEY(n DESC)) WITHOUT ROWID"),
        Shape(
            description: "numbers", order: "n",
            sql: "(k TEXT, n REAL, v BLOB, PRIMARY KEY(n DESC)) WITHOUT ROWID"),
        Shape(
            description: "UTF-16", order: "k",
            sql: "(k TEXT PRIMARY KEY, n INT, v BLOB) WITHOUT ROWID", encoding: "UTF-16le"),
    ]

    private static var limits: SortLimits {
        var limits = SortLimits()
        limits.runBytes = 20_000
        limits.recordBytes = 300
        limits.mergeBytes = 10_000
        limits.mergedRuns = 8
        return limits
    }

    private let bench: Workbench

    init() throws { bench = try Workbench(inMemory: true) }

    private func make(_ shape: Shape) throws {
        try bench.python(
            """
            import random
            r = random.Random(11)
            c = sqlite3.connect(P)
            c.execute("PRAGMA encoding = '\(shape.encoding)'")
            c.execute("CREATE TABLE t\(shape.sql)")
            for i in range(\(Self.count)):
                k = '\(shape.beginning)' + ''.join(r.choice('aAbé ~€𐍈zZ') for _ in range(r.randrange(12)))
                n = r.choice([i - 2000, r.getrandbits(62) - 2**61]) if r.random() < .9 else r.randrange(9)
                v = bytes(r.randrange(256) for _ in range(r.choice([0, 1, 5, 20, 90]))) + (b'x' * 50000 if i % 500 == 3 else b'')
                c.execute('INSERT OR IGNORE INTO t VALUES(?,?,?)', (k, n, v))
            c.commit()
            """)
    }

    @Test(arguments: shapes.indices) func `the order is SQLite's`(number: Int) throws {
        let shape = Self.shapes[number]
        try make(shape)
        let found = try SQLiteSource(path: bench.path(), sortLimits: Self.limits)
            .atCut { try $0.read("t") }
        #expect(found.isOrdered, "\(shape)")
        #expect(found.rows.count > 2500, "\(shape)")
        let mine = found.rows.map { row in
            row.map { value in
                switch value {
                case .null: "NULL"
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
                if v is None: return 'NULL'
                if isinstance(v, int): return str(v)
                if isinstance(v, float): return '%x' % struct.unpack('<Q', struct.pack('<d', v))
                b = v.encode() if isinstance(v, str) else v
                return '=' + '.'.join('%x' % x for x in b)
            order = "\(shape.order)"
            rows = sqlite3.connect(P).execute('SELECT k, n, v FROM t ORDER BY ' + order).fetchall()
            if '\(shape.encoding)' != 'UTF-8': rows.sort(key=lambda r: r[0].encode())
            print('\\n'.join(' '.join(map(show, r)) for r in rows))
            """)
        // Not in words: a million of them.
        #expect(mine == theirs ? true : false, "\(shape)")
    }

    @Test func `keys that are literals, and a value that doesn't fit met in the middle`() throws {
        try bench.python(
            """
            import random
            r = random.Random(2)
            c = sqlite3.connect(P)
            c.execute('CREATE TABLE t(k PRIMARY KEY, v INT) WITHOUT ROWID')
            for i in range(4000):
                k = [i, -i * 1.5, 'text %d' % r.getrandbits(40), r.randbytes(r.randrange(9))][i % 4]
                c.execute('INSERT OR IGNORE INTO t VALUES(?, ?)', (k, 'odd' if i == 3000 else i))
            c.commit()
            """)
        let found = try SQLiteSource(path: bench.path(), sortLimits: Self.limits)
            .atCut { try $0.read("t") }
        #expect(found.isOrdered)
        #expect(found.rows.count > 3500)
        #expect(found.schema.columns.map(\.isLiteral) == [true, true])
    }

    @Test func `a scan stops when asked, before there is a first row`() throws {
        struct Stop: Error {}
        try make(Self.shapes[0])
        let source = try SQLiteSource(path: bench.path(), sortLimits: Self.limits)
        try source.atCut { cut in
            let schema = try cut.describe("t", parent: nil, nextColumnID: 1, exactly: false).schema
            var checks = 0
            let rows = try cut.scan(
                "t", schema: schema,
                checkpoint: {
                    checks += 1
                    if checks == 4 { throw Stop() }
                })
            #expect(checks == 0)
            let batch = RowBatch(schema)
            #expect(throws: Stop.self) { try rows.next(into: batch, maxRows: 1, maxBytes: 1) }
            #expect(batch.count == 0)
        }
    }
}
