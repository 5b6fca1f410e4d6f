import Bytes
import Foundation
import Repository
import Testing

/// Which tables of consecutive points are the same table: those of one path and one storage key.
@Suite struct TableIdentityTests {
    /// What the newest point shows at the path `t`.
    private func newest(_ shop: Shop) throws -> TableRecord {
        let repository = try Repository.open(shop.database + ".backups")
        let state = try #require(repository.collection("shop"))
        let point = try #require(state.newest)
        let record = try #require(state.table(path: "t", at: point.sequence))
        for file in point.files where file.table == record.tid {
            let path = repository.file(file, of: state).name
            #expect(path.contains("/tables/\(state.id)/\(record.tid)/"))
            #expect(FileManager.default.fileExists(atPath: path))
        }
        return record
    }

    @Test func `a table keeps its folder until it is absent or has another storage key`() throws {
        let shop = try Shop(rows: 0)
        try shop.run("CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'a')")
        let product = try Product(shop.database)
        defer { product.close() }
        let tree = product.tree
        try tree.write(
            "control",
            Shop.create.replacing("( TABLE orders, TABLE `sub/products` )", with: "DATABASE"))
        var shown: [String: String] = [:]
        func backUp(_ what: String, _ sql: String = "") throws -> TableRecord {
            try shop.run(sql)
            _ = try tree.backup(what, of: "shop")
            shown[try #require(tree.list("shop").filter { $0.first == "2" }.max())] =
                try tree.text("shop/latest/t.csv")
            return try newest(shop)
        }
        let first = try backUp("full")
        #expect(first.tid.utf8.count == 32)
        let second = try backUp("incremental", "INSERT INTO t VALUES (2, 'b')")
        let third = try backUp("full", "INSERT INTO t VALUES (3, 'c')")
        let altered = try backUp("incremental", "ALTER TABLE t ADD COLUMN w DEFAULT 1")
        for same in [second, third, altered] {
            #expect(same.tid == first.tid && same.id == first.id)
        }
        // Another key, at an incremental and at a full.
        let keyed = try backUp(
            "incremental",
            """
            DROP TABLE t; CREATE TABLE t(k TEXT PRIMARY KEY NOT NULL, v) WITHOUT ROWID;
            INSERT INTO t VALUES ('x', 1)
            """)
        #expect(keyed.tid != first.tid && keyed.id != first.id)
        #expect(keyed.isReset && keyed.inserted == 1 && keyed.deleted == 0)
        let again = try backUp(
            "full",
            "DROP TABLE t; CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (9, 'z')"
        )
        #expect(![first.tid, keyed.tid].contains(again.tid))
        // Absent at a point, then there again.
        try shop.run("ALTER TABLE t RENAME TO away")
        _ = try tree.backup("incremental", of: "shop")
        let back = try backUp("incremental", "ALTER TABLE away RENAME TO t")
        #expect(![first.tid, keyed.tid, again.tid].contains(back.tid))
        for (point, text) in shown { #expect(try tree.text("shop/\(point)/t.csv") == text) }
        let checked = try tree.run("VERIFY shop WITH (level = content)", in: "shop")
        #expect(checked.hasPrefix("done"))
    }
}
