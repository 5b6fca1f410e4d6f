import Bytes
import Engine
import Foundation
import Repository
import Tables
import TestSupport
import Testing

/// Rowids that VACUUM gives out anew, and tables that get another storage key.
@Suite struct RenumberingTests {
    private let shop: Shop

    init() throws { shop = try Shop(rows: 0) }

    private func withCollection(
        _ table: String, _ body: (Product, _ record: () throws -> TableRecord) throws -> Void
    ) throws {
        try shop.run(table)
        var settings = Settings()
        settings.limits = .tiny
        let product = try Product(shop.database, settings)
        defer { product.close() }
        try product.tree.write(
            "control",
            "CREATE BACKUP COLLECTION c (TABLE t) WITH (STORAGE = 'cluster', "
                + "INCREMENTAL_BACKUP_ENABLED = 'true')\n")
        _ = try product.tree.backup("full", of: "c")
        try body(product) {
            let state = try Repository.open(shop.database + ".backups").collection("c")!
            return state.table(path: "t", at: state.newest!.sequence)!
        }
    }

    private func isRight(_ product: Product) throws -> Bool {
        let line = try product.tree.run("VERIFY WITH (level = source)", in: "c")
        let csv = try product.tree.text("c/latest/t.csv")
        let rows = try sqlite(
            "SELECT coalesce(k, '') || ',' || coalesce(v, '') FROM t", on: shop.database)
        return line.hasPrefix("done") && csv == "k,v\n" + rows
    }

    private static let rows = """
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
        INSERT INTO t SELECT 'k' || i, i * 7 FROM n;
        """

    @Test(arguments: ["k TEXT PRIMARY KEY, v INTEGER", "k TEXT, v INTEGER"])
    func `after VACUUM what changed is what is counted`(columns: String) throws {
        try withCollection("CREATE TABLE t(\(columns)); \(Self.rows)") { product, record in
            // The first rows go, so that all others move; a key of some sort is an index, which keeps
            // VACUUM from it: rows are put anew then.
            try shop.run("DELETE FROM t WHERE v <= 70")
            _ = try product.tree.backup("incremental", of: "c")
            #expect(try record().deleted == 10 && !record().isRenumbered)
            try shop.run(
                """
                UPDATE t SET v = -1 WHERE k IN ('k50', 'k60'); DELETE FROM t WHERE k = 'k70';
                INSERT INTO t VALUES ('new', 1), ('new too', 2);
                VACUUM; UPDATE t SET rowid = rowid + 1000 WHERE rowid > 11;
                """)
            _ = try product.tree.backup("incremental", of: "c")
            #expect(try isRight(product))
            let now = try record()
            #expect(now.isRenumbered && now.isReset && now.rows == 91)
            if columns.contains("KEY") {
                #expect((now.inserted, now.updated, now.deleted) == (2, 2, 1))
            } else {
                #expect((now.inserted, now.updated, now.deleted) == (4, 0, 3))
            }
            let notes = product.engine.operations.flatMap(\.status.notes)
            #expect(notes.contains { $0.contains("t: its rowids were given out anew") })
            #expect(try product.tree.text("c/chain").contains("(renumbered)"))
            #expect(try product.tree.text("c/latest/backup.json").contains("\"renumbered\": true"))
            // The next point goes on as usual.
            try shop.run("UPDATE t SET v = 5 WHERE k = 'k90'")
            _ = try product.tree.backup("incremental", of: "c")
            #expect(try record().updated == 1 && !record().isRenumbered && !record().isReset)
            #expect(try isRight(product))
            #expect(try product.tree.text("c/latest/backup.json").contains("\"renumbered\": false"))
        }
    }

    @Test func `VACUUM alone changes nothing that can be seen`() throws {
        try withCollection("CREATE TABLE t(k TEXT, v INTEGER); \(Self.rows)") { product, record in
            try shop.run("DELETE FROM t WHERE v <= 7")
            _ = try product.tree.backup("incremental", of: "c")
            try shop.run("VACUUM")
            #expect(try sqlite("SELECT min(rowid) FROM t", on: shop.database) == "1\n")
            _ = try product.tree.backup("incremental", of: "c")
            #expect(try record().isRenumbered && record().changes == 0)
            #expect(try isRight(product))
        }
    }

    @Test func `other rows under old rowids are changes`() throws {
        try withCollection("CREATE TABLE t(k TEXT, v INTEGER); \(Self.rows)") { product, record in
            try shop.run("UPDATE t SET v = v + 1")
            _ = try product.tree.backup("incremental", of: "c")
            #expect(try record().updated == 100 && !record().isRenumbered && !record().isReset)
            try shop.run("DELETE FROM t WHERE rowid > 20")
            _ = try product.tree.backup("incremental", of: "c")
            #expect(try record().deleted == 80 && !record().isRenumbered)
            #expect(try isRight(product))
        }
    }

    @Test(arguments: ["incremental", "full"])
    func `another storage key makes another table`(kind: String) throws {
        try withCollection(
            "CREATE TABLE t(k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (5, 'a')"
        ) {
            product, record in
            let before = try record()
            let first = try #require(try product.tree.list("c").first { $0.hasSuffix("_full") })
            try shop.run(
                "DROP TABLE t; CREATE TABLE t(k INTEGER, v); INSERT INTO t VALUES (5, 'a')")
            _ = try product.tree.backup(kind, of: "c")
            let now = try record()
            #expect(now.id != before.id && now.tid != before.tid && now.rows == 1)
            #expect(try isRight(product))
            let state = try #require(
                try Repository.open(shop.database + ".backups").collection("c"))
            let removed = try #require(state.newest?.removed)
            #expect(removed == (kind == "full" ? [] : [before.id]))
            #expect(try product.tree.text("c/\(first)/t.csv") == "k,v\n5,a\n")
        }
    }
}
