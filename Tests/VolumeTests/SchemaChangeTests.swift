import Bytes
import Engine
import Foundation
import Repository
import Tables
import TestSupport
import Testing
import Volume

/// Tables whose definition changes between the points of one chain.
@Suite struct SchemaChangeTests {
    /// A change, what the backup says of it, and whether it carries the table whole.
    struct Case: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var sql: String
        var words: String
        var isReset = true
    }

    private static func rebuilt(_ columns: String, _ values: String) -> String {
        """
        CREATE TABLE renewed(\(columns)); INSERT INTO renewed SELECT \(values) FROM t;
        DROP TABLE t; ALTER TABLE renewed RENAME TO t;
        """
    }

    static let cases = [
        Case(
            testDescription: "added", sql: "ALTER TABLE t ADD COLUMN e TEXT",
            words: "column e is new: stored rows stay in use", isReset: false),
        Case(
            testDescription: "added with a default",
            sql:
                "ALTER TABLE t ADD COLUMN e INTEGER NOT NULL DEFAULT 7; UPDATE t SET e = 8 WHERE id = 2",
            words: "column e is new: stored rows stay in use", isReset: false),
        Case(
            testDescription: "added and filled",
            sql: "ALTER TABLE t ADD COLUMN e TEXT; UPDATE t SET e = 'for ' || id",
            words: "column e is new: backed up whole, since values of e differ from row to row"),
        Case(
            testDescription: "added with a long default",
            sql: "ALTER TABLE t ADD COLUMN e TEXT DEFAULT '\(String(repeating: "x", count: 300))'",
            words: "column e is new: backed up whole"),
        Case(
            testDescription: "two added, one dropped, rows changed",
            sql: """
                ALTER TABLE t ADD COLUMN e REAL DEFAULT -0.5; ALTER TABLE t DROP COLUMN b;
                ALTER TABLE t ADD COLUMN f TEXT; UPDATE t SET f = 'here', e = NULL WHERE id > 55;
                DELETE FROM t WHERE id = 20; INSERT INTO t VALUES (1000, 1, 'new', 2, 'z')
                """,
            words: "column e is new, column f is new, column b is gone: stored rows stay in use",
            isReset: false),
        Case(
            testDescription: "dropped", sql: "ALTER TABLE t DROP COLUMN c",
            words: "column c is gone: stored rows stay in use", isReset: false),
        Case(
            testDescription: "dropped and added again",
            sql: "ALTER TABLE t DROP COLUMN d; ALTER TABLE t ADD COLUMN d BLOB",
            words: "rows 59", isReset: false),
        Case(
            testDescription: "renamed", sql: "ALTER TABLE t RENAME COLUMN b TO longer_name",
            words: "column b is now longer_name: stored rows stay in use", isReset: false),
        Case(
            testDescription: "renamed, and rows changed",
            sql: """
                ALTER TABLE t RENAME COLUMN b TO "b, too"; DELETE FROM t WHERE id = 3;
                UPDATE t SET "b, too" = 99 WHERE id = 4; INSERT INTO t VALUES (1000, 1, 2, 'new')
                """,
            words: "column b is now b, too: stored rows stay in use", isReset: false),
        Case(
            testDescription: "renamed key", sql: "ALTER TABLE t RENAME COLUMN id TO number",
            words: "column id is now number: stored rows stay in use", isReset: false),
        Case(
            testDescription: "another in the place of one that is gone",
            sql: rebuilt(
                "id INTEGER PRIMARY KEY, b INTEGER, c REAL, other TEXT", "id, b, c, 'x' || id"),
            words: "column d is now other: stored rows stay in use", isReset: false),
        Case(
            testDescription: "changed type",
            sql: rebuilt("id INTEGER PRIMARY KEY, b TEXT, c REAL, d TEXT", "id, b, c, d"),
            words: "column b was Int64 and is Utf8: backed up whole"),
        Case(
            testDescription: "moved",
            sql: rebuilt("id INTEGER PRIMARY KEY, d TEXT, c REAL, b INTEGER", "id, d, c, b"),
            words: "its columns stand in another order: stored rows stay in use", isReset: false),
        Case(
            testDescription: "names swapped",
            sql: """
                ALTER TABLE t RENAME COLUMN b TO x; ALTER TABLE t RENAME COLUMN id TO b;
                ALTER TABLE t RENAME COLUMN x TO id
                """, words: "the key is another one: backed up whole"),
        Case(
            testDescription: "new key",
            sql: rebuilt(
                "id INTEGER, b INTEGER, c REAL, d TEXT PRIMARY KEY NOT NULL", "id, b, c, d || id"),
            words: "the key is another one: backed up whole"),
        Case(
            testDescription: "dropped and created again",
            sql:
                "DROP TABLE t; CREATE TABLE t(k TEXT PRIMARY KEY NOT NULL, v); INSERT INTO t VALUES ('a', 1)",
            words: "column id is gone, column b is gone"),
        Case(
            testDescription: "dropped and created again alike",
            sql: """
                DROP TABLE t; CREATE TABLE t(id INTEGER PRIMARY KEY, b INTEGER, c REAL, d TEXT);
                INSERT INTO t VALUES (5, 1, 2, 'again')
                """, words: "point 20", isReset: false),
        Case(
            testDescription: "a value that doesn't fit",
            sql: "UPDATE t SET b = 'text' WHERE id = 7",
            words: "column b was Int64 and is literals"),
    ]

    /// The table as CSV, by SQLite's own shell; only for values without quotes and blobs.
    private func expected(_ shop: Shop, literal: String? = nil) throws -> String {
        let columns = try sqlite("SELECT name FROM pragma_table_info('t')", on: shop.database)
            .split(separator: "\n").map(String.init)
        let key = try sqlite(
            "SELECT name FROM pragma_table_info('t') WHERE pk = 1", on: shop.database
        )
        .split(separator: "\n")[0]
        let values = columns.map { name in
            name == literal ? "quote(\"\(name)\")" : "coalesce(\"\(name)\", '')"
        }
        let header = columns.map { $0.contains(",") ? "\"\($0)\"" : $0 }.joined(separator: ",")
        let order =
            try sqlite("SELECT wr FROM pragma_table_list WHERE name = 't'", on: shop.database)
            .hasPrefix("1") ? "\"\(key)\"" : "rowid"
        let rows = "SELECT \(values.joined(separator: " || ',' || ")) FROM t ORDER BY \(order)"
        return try header + "\n" + sqlite(rows, on: shop.database)
    }

    @Test(arguments: cases)
    func `each point has its own columns, and those before stay as they were`(
        _ test: Case
    ) throws {
        let shop = try Shop(rows: 0)
        try shop.run(
            """
            CREATE TABLE t(id INTEGER PRIMARY KEY, b INTEGER, c REAL, d TEXT);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
            INSERT INTO t SELECT i, i * 3, i / 8.0, 'row ' || i FROM n;
            """)
        var settings = Settings()
        settings.limits = .tiny
        let product = try Product(shop.database, settings)
        try withTree(.direct, product) { tree in
            try tree.write(
                "control",
                "CREATE BACKUP COLLECTION c (TABLE t) WITH (STORAGE = 'cluster', "
                    + "INCREMENTAL_BACKUP_ENABLED = 'true');")
            var points: [(point: String, csv: String, parquet: [UInt8])] = []
            func point(_ kind: String, literal: String? = nil) throws {
                let point = try tree.backup(kind, of: "c")
                let csv = try expected(shop, literal: literal)
                #expect(try tree.text(point + "/t.csv") == csv)
                #expect(try tree.status(point + "/t.csv").bytes == csv.utf8.count)
                points.append((point, csv, try tree.read(point + "/t.parquet")))
                #expect(try tree.status(point + "/t.parquet").bytes == points.last!.parquet.count)
            }
            try point("full")
            try shop.run("UPDATE t SET d = 'changed' WHERE id % 7 = 0; DELETE FROM t WHERE id = 9")
            try point("incremental")
            try shop.run(test.sql)
            let literal = test.words.contains("is literals") ? "b" : nil
            try point("incremental", literal: literal)
            let progress = try tree.text("c/operation/progress")
            #expect(progress.contains(test.words), "\(progress)")
            let record = product.engine.collection("c")!
            let table = record.table(path: "t", at: record.newest!.sequence)!
            #expect(table.isReset == test.isReset)
            // The chain goes on from there.
            let first = try sqlite(
                "SELECT name FROM pragma_table_info('t') WHERE pk = 1", on: shop.database)
            try shop.run(
                "DELETE FROM t WHERE rowid IN (SELECT rowid FROM t ORDER BY \(first) LIMIT 1)")
            try point("incremental", literal: literal)
            let after = product.engine.collection("c")!
            #expect(after.table(path: "t", at: after.newest!.sequence)!.isReset == false)
            try point("full", literal: literal)
            for old in points {
                #expect(try tree.text(old.point + "/t.csv") == old.csv)
                #expect(try tree.read(old.point + "/t.parquet") == old.parquet)
            }
        }
    }

    /// What stand-ins are for: the table isn't stored again.
    @Test func `an added column costs an index, and lasts through all that rewrites rows`() throws {
        let shop = try Shop(rows: 5000)
        let product = try Product(shop.database)
        defer { product.close() }
        let tree = product.tree
        func stored() -> UInt64 {
            product.engine.collection("shop")!.newest!.files.reduce(0) { $0 + $1.bytes }
        }
        try tree.write("control", Shop.create)
        _ = try tree.backup("full", of: "shop")
        let full = stored()
        try shop.run(
            """
            ALTER TABLE orders ADD COLUMN state TEXT DEFAULT 'open';
            ALTER TABLE orders DROP COLUMN note;
            """)
        let added = try tree.backup("incremental", of: "shop")
        #expect(stored() * 10 < full)
        let rows = """
            SELECT id || ',' || customer || ',' || amount || ',' || coalesce(state, '') FROM orders
            ORDER BY id
            """
        func expectLive(_ point: String) throws {
            let live = try "id,customer,amount,state\n" + sqlite(rows, on: shop.database)
            #expect(try tree.text(point + "/orders.csv") == live)
        }
        try expectLive(added)
        // Rebased, compacted, begun anew: rows are written with the column's values then.
        for round in 1...6 {
            try shop.run(
                """
                UPDATE orders SET state = nullif('closed', 'closed') WHERE id % 9 = \(round);
                UPDATE orders SET amount = amount + 1 WHERE id % 7 = \(round);
                """)
            try expectLive(tree.backup("incremental", of: "shop"))
        }
        try expectLive(tree.backup("COMPACT", of: "shop"))
        try shop.run("INSERT INTO orders VALUES (100000, 'last', 0.5, 'open')")
        try expectLive(tree.backup("incremental", of: "shop"))
        try expectLive(tree.backup("full", of: "shop"))
        let report = try tree.run("VERIFY WITH (level = content)", in: "shop")
        #expect(report.hasPrefix("done"), "\(report)")
        try tree.run(
            "RESTORE AT '\(added.split(separator: "/")[1])' (TABLE orders AS earlier)", in: "shop")
        #expect(
            try sqlite(
                "SELECT count(*), count(DISTINCT state), min(state) FROM earlier", on: shop.database
            )
                == "5000|1|open\n")
    }
}
