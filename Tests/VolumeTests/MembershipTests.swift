import Bytes
import Engine
import Foundation
import Tables
import TestSupport
import Testing
import Volume

/// `ALTER BACKUP COLLECTION`: tables that come and go, settings that change.
@Suite struct MembershipTests {
    private func withShop(
        _ way: Way, _ settings: Settings = Settings(), create: String = Shop.create,
        _ body: (any Tree, Shop, Product) throws -> Void
    ) throws {
        let shop = try Shop(rows: 40)
        try shop.run(
            """
            CREATE TABLE suppliers(id INTEGER PRIMARY KEY, name TEXT);
            INSERT INTO suppliers VALUES (1, 'Ada'), (2, 'Bob');
            CREATE TABLE keyless(rowid, oid, _rowid_);
            """)
        let product = try Product(shop.database, settings)
        try withTree(way, product) { tree in
            try tree.write("control", create)
            try body(tree, shop, product)
        }
    }

    private func tables(_ tree: any Tree, _ point: String) throws -> [String] {
        try Manifest(tree, point).tables.map(\.path)
    }

    @Test(arguments: Way.allCases)
    func `tables come and go from the next backup on, and points before stay as they were`(
        way: Way
    ) throws {
        var settings = Settings()
        settings.limits = .tiny
        try withShop(way, settings) { tree, shop, _ in
            let full = try tree.backup("full", of: "shop")
            let before = try tree.files(below: full).map { ($0, try tree.read($0)) }

            try tree.write(
                "control", "ALTER BACKUP COLLECTION shop ADD TABLE `/Root/database/suppliers`;")
            #expect(try tables(tree, "shop/latest") == ["orders", "sub/products"])
            try shop.run(
                "UPDATE suppliers SET name = 'Cy' WHERE id = 2; DELETE FROM orders WHERE id = 3")
            let added = try tree.backup("incremental", of: "shop")
            #expect(try tables(tree, added) == ["orders", "sub/products", "suppliers"])
            #expect(try tree.text(added + "/suppliers.csv") == "id,name\n1,Ada\n2,Cy\n")
            let chain = try tree.text("shop/chain.json")
            #expect(chain.contains("\"path\": \"suppliers\"") && chain.contains("\"whole\": true"))

            // What comes next is its changes alone.
            try shop.run("INSERT INTO suppliers VALUES (3, 'Di')")
            let next = try tree.backup("incremental", of: "shop")
            #expect(try tree.text("shop/operation/wait").contains(" rows=1 "))
            #expect(try tree.text(next + "/suppliers.csv") == "id,name\n1,Ada\n2,Cy\n3,Di\n")

            try tree.write("shop/control", "ALTER BACKUP COLLECTION DROP TABLE orders\n")
            #expect(try tree.read(next + "/orders.csv").count > 100)
            let dropped = try tree.backup("incremental", of: "shop")
            #expect(try tables(tree, dropped) == ["sub/products", "suppliers"])
            #expect(try tables(tree, next) == ["orders", "sub/products", "suppliers"])

            // Another table under the old name, for the collection as for us.
            try shop.run("DROP TABLE orders; CREATE TABLE orders(k TEXT PRIMARY KEY NOT NULL);")
            try shop.run("INSERT INTO orders VALUES ('b'), ('a')")
            try tree.write(
                "shop/control",
                "ALTER BACKUP COLLECTION shop ADD TABLE orders, DROP TABLE `sub/products`; incremental\n"
            )
            #expect(try tree.text("shop/operation/wait").hasPrefix("done point="))
            #expect(try tables(tree, "shop/latest") == ["orders", "suppliers"])
            #expect(try tree.text("shop/latest/orders.csv") == "k\nb\na\n")
            for (path, bytes) in before { #expect(try tree.read(path) == bytes, "\(path)") }
            for (point, rows) in [(full, 40), (next, 39)] {
                let lines = try tree.text(point + "/orders.csv").split(separator: "\n")
                #expect(lines.count == rows + 1 && lines[0] == "id,customer,amount,note")
            }
        }
    }

    @Test(arguments: Way.allCases)
    func `collection.sql is the present definition, as its author spelled it`(way: Way) throws {
        try withShop(
            way,
            create: """
                CREATE BACKUP COLLECTION shop ( TABLE `/Root/database/orders`, TABLE `sub/products` )
                WITH ( STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true' );
                """
        ) { tree, shop, _ in
            try tree.write(
                "shop/control",
                """
                ALTER BACKUP COLLECTION shop ADD TABLE `/Root/database/suppliers`,
                    DROP TABLE `/Root/database/sub/products`, SET (CAPTURE = scan);

                """)
            let sql = try tree.text("shop/collection.sql")
            #expect(
                sql == """
                    CREATE BACKUP COLLECTION `shop`
                        ( TABLE `/Root/database/orders`
                        , TABLE `/Root/database/suppliers`
                        )
                    WITH
                        ( STORAGE = 'cluster'
                        , INCREMENTAL_BACKUP_ENABLED = 'true'
                        , CAPTURE = 'scan'
                        );

                    """)
            // It makes the same collection again.
            try tree.write("control", "DROP BACKUP COLLECTION shop;" + sql)
            #expect(try tree.text("shop/collection.sql") == sql)
            try tree.write("shop/control", "ALTER BACKUP COLLECTION RESET (capture);")
            #expect(try !tree.text("shop/collection.sql").contains("CAPTURE"))
            _ = try tree.backup("full", of: "shop")
            #expect(try tables(tree, "shop/latest") == ["orders", "suppliers"])
        }
    }

    @Test func `what can't be altered is refused, and nothing of the statement happens`() throws {
        try withShop(.mounted) { tree, shop, _ in
            let sql = try tree.text("shop/collection.sql")
            let refusals: [(String, Int32, String)] = [
                ("ADD TABLE nothing", ENOENT, "there is no table nothing"),
                ("ADD TABLE Suppliers", ENOENT, "did you mean suppliers?"),
                ("ADD TABLE keyless", EOPNOTSUPP, "no PRIMARY KEY"),
                ("ADD TABLE orders", EEXIST, "orders is in shop already"),
                ("ADD TABLE `/Root/database/orders`", EEXIST, "orders is in shop already"),
                (
                    "ADD TABLE suppliers, ADD TABLE suppliers", EEXIST,
                    "suppliers is in shop already"
                ),
                ("ADD TABLE `/Root/other/orders`", ENOENT, "not below this database"),
                (
                    "ADD TABLE suppliers, DROP TABLE suppliers, DROP TABLE suppliers", ENOENT,
                    "has no table"
                ),
                ("DROP TABLE suppliers", ENOENT, "shop has no table suppliers; it has: orders"),
                ("DROP TABLE orders, DROP TABLE `sub/products`", EINVAL, "no table left"),
                (
                    "SET (STORAGE = 'filesystem', LOCATION = '/tmp/x')", EOPNOTSUPP,
                    "can't be changed"
                ),
                ("ADD TABLE suppliers, SET (OMIT_INDEXES = 'true')", EOPNOTSUPP, "isn't built yet"),
                (
                    "SET (INCREMENTAL_EVERY = '1h'), RESET (INCREMENTAL_BACKUP_ENABLED)", EINVAL,
                    "needs"
                ),
                ("SET (NONSENSE = 1)", EINVAL, "unknown setting"),
            ]
            for (change, error, words) in refusals {
                let got = errno {
                    try tree.write("control", "ALTER BACKUP COLLECTION shop \(change);")
                }
                let errors = try tree.text("errors")
                let last = errors.split(separator: "\n").suffix(4).joined(separator: "\n")
                #expect(got == error && last.contains(words), "\(change): \(got) \(last)")
            }
            #expect(
                errno { try tree.write("control", "ALTER BACKUP COLLECTION x ADD TABLE orders;") }
                    == ENOENT)
            #expect(try tree.text("shop/collection.sql") == sql)

            try tree.write(
                "control",
                "CREATE BACKUP COLLECTION all DATABASE WITH (STORAGE = 'cluster');")
            for change in ["ADD", "DROP"] {
                let text = "ALTER BACKUP COLLECTION all \(change) TABLE orders;"
                #expect(errno { try tree.write("control", text) } == EOPNOTSUPP)
            }
            // Settings and dropping tables need no database.
            try check("mv \"$1\" \"$1\".away; rm -f \"$1\"-wal \"$1\"-shm", shop.database)
            try tree.write(
                "control", "ALTER BACKUP COLLECTION shop SET (CAPTURE = scan), DROP TABLE orders;")
            #expect(
                errno {
                    try tree.write("control", "ALTER BACKUP COLLECTION shop ADD TABLE orders;")
                } == EHOSTUNREACH)
            try check("mv \"$1\".away \"$1\"", shop.database)
        }
    }

    @Test func `while a backup runs, ALTER is refused with EBUSY; another process's is seen`()
        throws
    {
        let gate = Gate()
        var settings = Settings()
        settings.gate = gate
        try withShop(.direct, settings) { tree, shop, _ in
            defer { gate.open() }
            let alter = "ALTER BACKUP COLLECTION shop ADD TABLE suppliers;"
            try tree.write("shop/control", "full\n")
            #expect(eventually { gate.waiting == 1 })
            #expect(errno { try tree.write("control", alter) } == EBUSY)
            try withTree(.direct, Product(shop.database)) { other in
                #expect(errno { try other.write("control", alter) } == EBUSY)
                gate.open()
                #expect(try tree.text("shop/operation/wait").hasPrefix("refused: "))
                #expect(try tree.text("operations/latest/wait").hasPrefix("done"))
                try other.write("control", alter)
                // At once, not at the next look around.
                #expect(errno { try tree.write("control", alter) } == EEXIST)
            }
        }
    }
}
