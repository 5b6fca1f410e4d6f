import Bytes
import Engine
import Foundation
import Tables
import TestSupport
import Testing

/// The database disappears, breaks, or is another one of a sudden.
@Suite struct SourceTests {
    private var settings: Settings {
        var settings = Settings()
        settings.limits = .tiny
        return settings
    }

    private func replace(_ database: String, by copy: String, inPlace: Bool) throws {
        try check("rm -f \"$1\"-wal \"$1\"-shm", database)
        try check(
            inPlace ? "cat \"$2\" > \"$1\"" : "cp \"$2\" \"$1\".new; mv \"$1\".new \"$1\"",
            database, copy)
    }

    private func copy(_ shop: Shop, to name: String) throws -> String {
        let path = shop.scratch / name
        try shop.run("VACUUM INTO '\(path)'")
        return path
    }

    @Test(arguments: Way.allCases)
    func `reading needs no database; statements say why they fail; then it goes on`(
        way: Way
    ) throws {
        let shop = try Shop(rows: 40)
        try withTree(way, Product(shop.database, settings)) { tree in
            try tree.write("control", Shop.create)
            let full = try tree.backup("full", of: "shop")
            let orders = try tree.read(full + "/orders.csv")
            try check("mv \"$1\" \"$1\".away; rm -f \"$1\"-wal \"$1\"-shm", shop.database)
            #expect(errno(of: { try tree.write("shop/control", "incremental\n") }) == EHOSTUNREACH)
            #expect(try tree.text("shop/control").contains("No such file"))
            #expect(try tree.text("errors").contains("No such file"))
            #expect(try tree.read(full + "/orders.csv") == orders)
            #expect(access(shop.database, F_OK) != 0)

            try check("head -c 5000 /dev/urandom > \"$1\"", shop.database)
            #expect(errno(of: { try tree.write("shop/control", "incremental\n") }) == EHOSTUNREACH)
            #expect(try tree.text("shop/control").contains("it is no SQLite database"))
            #expect(try tree.read(full + "/orders.csv") == orders)

            try check("mv \"$1\".away \"$1\"", shop.database)
            try shop.run("DELETE FROM \"sub/products\" WHERE sku = 'fig'")
            let next = try tree.backup("incremental", of: "shop")
            #expect(try tree.read(next + "/sub/products.csv") == shop.products)
            #expect(try tree.read(next + "/orders.csv") == orders)
        }
    }

    @Test(arguments: Way.allCases)
    func `an operation says what it looked at`(way: Way) throws {
        let shop = try Shop(rows: 40)
        try withTree(way, Product(shop.database, settings)) { tree in
            try tree.write("control", Shop.create)
            _ = try tree.backup("full", of: "shop")
            try shop.run("UPDATE orders SET amount = 99.5 WHERE id IN (1, 2)")
            _ = try tree.backup("incremental", of: "shop")
            #expect(try tree.text("shop/operation/wait").contains(" rows=2 "))
            let progress = try tree.text("shop/operation/progress")
            let lines = progress.split(separator: "\n").map { $0.split(separator: " ") }
            for word in ["read", "decoded"] {
                let figure = lines.first { $0[0] == word }.flatMap { Int($0[1]) }
                #expect(figure.map { $0 > 0 } == true, "\(progress)")
            }
        }
    }

    @Test(arguments: Way.allCases)
    func `a lost catalog is told, costs nothing but time, and is made again`(way: Way) throws {
        let shop = try Shop(rows: 5)
        var settings = Settings()
        settings.catalogInterval = 3
        var points: [String] = []
        try withTree(way, Product(shop.database, settings)) { tree in
            try tree.write("control", Shop.create)
            for _ in 0..<4 { points.append(try tree.backup("full", of: "shop")) }
            #expect(try tree.text("errors") == "")
        }
        try check(
            "set -e; ls \"$1\"/collections/*/data/*.cat; rm \"$1\"/collections/*/data/*.cat",
            shop.database + ".backups")
        try withTree(way, Product(shop.database, settings)) { tree in
            #expect(try tree.text("shop/status").contains("\ncatalog "))
            for file in ["errors", "shop/status"] {
                #expect(try tree.text(file).contains(".cat: it is missing"))
            }
            for point in points {
                #expect(try tree.read(point + "/sub/products.csv") == shop.products)
            }
            _ = try tree.backup("full", of: "shop")
            #expect(try !tree.text("shop/status").contains("\ncatalog "))
        }
        try withTree(way, Product(shop.database, settings)) { tree in
            let errors = try tree.text("errors")
            #expect(errors == "")
        }
    }

    @Test(arguments: [true, false])
    func `after an older copy, and after the newest again, the next point shows what is there`(
        inPlace: Bool
    ) throws {
        let shop = try Shop(rows: 40)
        try withTree(.direct, Product(shop.database, settings)) { tree in
            try tree.write("control", Shop.create)
            _ = try tree.backup("full", of: "shop")
            let old = try copy(shop, to: "old.db")
            try shop.run("UPDATE \"sub/products\" SET price = price + 10")
            let changed = try tree.backup("incremental", of: "shop")
            let changedProducts = try shop.products
            #expect(try tree.read(changed + "/sub/products.csv") == changedProducts)
            let new = try copy(shop, to: "new.db")

            try replace(shop.database, by: old, inPlace: inPlace)
            try shop.run("INSERT INTO \"sub/products\" VALUES ('kiwi', 9)")
            let older = try tree.backup("incremental", of: "shop")
            #expect(try tree.read(older + "/sub/products.csv") == shop.products)

            try replace(shop.database, by: new, inPlace: inPlace)
            let newer = try tree.backup("incremental", of: "shop")
            #expect(try tree.read(newer + "/sub/products.csv") == changedProducts)
            try shop.run("INSERT INTO \"sub/products\" VALUES ('lime', 1)")
            let last = try tree.backup("incremental", of: "shop")
            #expect(try tree.read(last + "/sub/products.csv") == shop.products)
        }
    }

    @Test func `a copy that another mount backs up to another place disturbs nobody`() throws {
        let shop = try Shop(rows: 20)
        let one = try Product(shop.database, settings)
        let two = try Product(shop.database, location: shop.scratch / "other", settings)
        try withTree(.direct, one) { left in
            try withTree(.direct, two) { right in
                try left.write("control", Shop.create)
                try right.write("control", Shop.create)
                for price in 1...6 {
                    let tree: any Tree = price % 2 == 0 ? left : right
                    try shop.run("UPDATE \"sub/products\" SET price = \(price) WHERE sku = 'fig'")
                    let point = try tree.backup(price < 3 ? "full" : "incremental", of: "shop")
                    #expect(try tree.read(point + "/sub/products.csv") == shop.products)
                }
            }
        }
    }
}
