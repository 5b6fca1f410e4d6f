import Bytes
import Engine
import Foundation
import Repository
import Tables
import TestSupport
import Testing

/// The SQL that merges a point without ydbfs, run by DuckDB.
@Suite struct MergeQueryTests {
    private static let create = """
        CREATE BACKUP COLLECTION shop DATABASE
        WITH ( STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true' )

        """

    /// Chains with every kind of file: changed, deleted and returned rows, slices written anew, a table
    /// carried whole again, one that comes and one that goes, compacted points, a second full.
    private func makeChains(_ shop: Shop, _ tree: any Tree) throws {
        try shop.run(
            """
            CREATE TABLE pairs(a TEXT, b REAL, "my ""op" BLOB, __op INTEGER, __point TEXT,
                PRIMARY KEY (b, a)) WITHOUT ROWID;
            INSERT INTO pairs VALUES ('', 0.5, x'00ff', 1, NULL), ('é', -1.5, NULL, NULL, 'p');
            CREATE TABLE loose("__YDBFS_rowid" TEXT, n INTEGER);
            INSERT INTO loose VALUES ('b', 1), ('a', 2), (NULL, NULL), ('b', 1);
            """)
        try tree.write("control", Self.create)
        _ = try tree.backup("full", of: "shop")
        for salt in 1...6 {
            try shop.change(oneIn: 2, salt: salt)
            try shop.add(3)
            try shop.run(
                """
                INSERT OR REPLACE INTO pairs VALUES ('k\(salt % 3)', \(salt % 2), 'b', \(salt), '');
                DELETE FROM pairs WHERE a = 'k\((salt + 1) % 3)';
                INSERT INTO loose VALUES ('n', \(salt));
                UPDATE loose SET n = n + 1 WHERE rowid % 3 = \(salt % 3);
                DELETE FROM loose WHERE rowid = \(salt);
                """)
            _ = try tree.backup("incremental", of: "shop")
            switch salt {
            case 2: try shop.run("ALTER TABLE orders ADD COLUMN more INTEGER DEFAULT 7")
            case 3:
                try shop.run(
                    """
                    CREATE TABLE late(id INTEGER PRIMARY KEY, t TEXT);
                    INSERT INTO late VALUES (1, 'x'); DELETE FROM "sub/products";
                    """)
            case 4:
                _ = try tree.backup("COMPACT", of: "shop")
                try shop.run("UPDATE late SET t = 'y'; INSERT INTO late VALUES (2, 'z')")
            case 5: try shop.run("DROP TABLE late; ALTER TABLE pairs RENAME COLUMN __op TO kind")
            default: break
            }
        }
        _ = try tree.backup("full", of: "shop")
        try shop.change(oneIn: 2, salt: 7)
        _ = try tree.backup("incremental", of: "shop")
    }

    @Test func `DuckDB gives every table of every point as it renders`() throws {
        let shop = try Shop(rows: 60)
        var settings = Settings()
        settings.limits = .tiny
        settings.limits.rebaseMinEdits = 1
        // A path with what DuckDB and SQL take for their own.
        let location = shop.scratch / "it's [here]*"
        let product = try Product(shop.database, location: location, settings)
        defer { product.close() }
        let tree = product.tree
        try makeChains(shop, tree)
        let repository = try Repository.open(location)
        let state = try #require(repository.collection("shop"))
        var queries: [(sql: String, csv: [UInt8])] = []
        for point in state.points {
            let query = MergeQuery(repository, state, point)
            for table in state.tables(at: point.sequence) {
                let csv = try tree.read("shop/\(point.name)/\(table.path).csv")
                queries.append((try query.text(of: table), csv))
            }
        }
        #expect(queries.count > 30)
        #expect(queries.contains { $0.sql.contains("__op_") })
        #expect(queries.contains { $0.sql.contains("\"__ydbfs_rowid_\"") })
        #expect(queries.contains { $0.sql.contains("AS \"kind\"") })
        #expect(queries.contains { $0.sql.contains("CAST('7' AS BIGINT) AS \"more\"") })
        let files = state.points.flatMap(\.files).filter { $0.name.hasSuffix(".parquet") }
            .map { repository.file($0, of: state) }
        let kinds = try files.map { try RowFile($0).metadata["ydbfs.kind"] ?? "" }
        #expect(Set(kinds).isSuperset(of: ["full", "run", "rebase"]), "\(kinds)")
        // Readers that match columns by field id go wrong where one column is without.
        #expect(try ParquetReaders.columnsWithoutID(files.map(\.name)) == "")
        #expect(try ParquetReaders.problem(queries) == nil)
    }

    @Test func `what needs files that are gone is refused, and later chains aren't`() throws {
        let shop = try Shop(rows: 20)
        let product = try Product(shop.database)
        defer { product.close() }
        try product.tree.write("control", Shop.create)
        _ = try product.tree.backup("full", of: "shop")
        try shop.add(2)
        _ = try product.tree.backup("incremental", of: "shop")
        _ = try product.tree.backup("COMPACT", of: "shop")
        let location = shop.database + ".backups"
        let repository = try Repository.open(location)
        let state = try #require(repository.collection("shop"))
        for file in state.points[0].files {
            try FileManager.default.removeItem(
                atPath: repository.file(file, of: state).name)
        }
        let reader = try Repository.open(location)
        let orders = try #require(state.table(path: "orders", at: 2))
        #expect(throws: Failure.self) {
            try MergeQuery(reader, state, state.points[1]).text(of: orders)
        }
        let compacted = try #require(state.table(path: "orders", at: 3))
        let sql = try MergeQuery(reader, state, state.points[2]).text(of: compacted)
        let csv = try product.tree.read("shop/latest/orders.csv")
        #expect(try ParquetReaders.problem([(sql, csv)]) == nil)
    }
}
