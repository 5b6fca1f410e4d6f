import Bytes
import Engine
import Foundation
import Synchronization
import Tables
import TestSupport
import Testing

@Suite struct WindowTests {
    /// A chain of a full and three incrementals, and what each point's orders were.
    private func makeChain(_ shop: Shop, _ tree: any Tree) throws -> [String] {
        try tree.write("control", Shop.create)
        var points = [try tree.backup("full", of: "shop")]
        for salt in 1...3 {
            try shop.change(oneIn: 50, salt: salt)
            if salt == 2 { try shop.add(30) }
            points.append(try tree.backup("incremental", of: "shop"))
        }
        return points
    }

    /// Orders as the sqlite3 shell says them, in our quoting.
    private func orders(_ shop: Shop) throws -> [UInt8] {
        let rows = try sqlite(
            """
            SELECT id || ',' || coalesce(customer, '') || ',' || amount || ',' ||
                CASE WHEN note IS NULL THEN '' WHEN note = '' OR instr(note, '"')
                THEN '"' || replace(note, '"', '""') || '"' ELSE note END
            FROM (SELECT id, customer, amount, CAST(note AS TEXT) note FROM orders) ORDER BY id;
            """, on: shop.database)
        return Array("id,customer,amount,note\n\(rows)".utf8)
    }

    @Test(arguments: Way.allCases, [true, false])
    func `any window of a file is that part of the whole, whoever reads beside`(
        way: Way, isTiny: Bool
    ) throws {
        let shop = try Shop(rows: isTiny ? 700 : 30_000)
        var settings = Settings()
        settings.cacheBytes = 64 << 10
        if isTiny { settings.limits = .tiny }
        try withTree(way, Product(shop.database, settings)) { tree in
            let points = try makeChain(shop, tree)
            for (index, point) in points.enumerated() {
                let path = point + "/orders.csv"
                let whole = try tree.read(path, pieceBytes: 1 << 20)
                #expect(try tree.status(path).bytes == UInt64(whole.count))
                let parquet = try tree.read(point + "/orders.parquet", pieceBytes: 1 << 20)
                #expect(try tree.status(point + "/orders.parquet").bytes == UInt64(parquet.count))
                try compareWindows(tree, point + "/orders.parquet", parquet)
                // `note` is a BLOB of digits, so it comes back as it is.
                if index == points.count - 1 { #expect(try whole == orders(shop)) }
                try compareWindows(tree, path, whole)
            }
        }
    }

    @Test(arguments: Way.allCases)
    func `a dump's data files are as long as st_size says, whichever windows are read`(
        way: Way
    ) throws {
        let shop = try Shop(rows: 700)
        var settings = Settings()
        settings.cacheBytes = 64 << 10
        settings.limits = .tiny
        settings.dumpFileBytes = 4000
        try withTree(way, Product(shop.database, settings)) { tree in
            for point in try makeChain(shop, tree) {
                let name = point.split(separator: "/").last!
                let place = "shop/dump/\(name)/orders"
                let files = try tree.list(place).filter { $0.hasPrefix("data_") }.sorted()
                #expect(files.count > 2)
                var lines = 0
                for (index, file) in files.enumerated() {
                    #expect(file == "data_0\(index).csv")
                    let whole = try tree.read(place + "/" + file)
                    #expect(try tree.status(place + "/" + file).bytes == UInt64(whole.count))
                    #expect(whole.last == 10 && (whole.count >= 4000 || file == files.last))
                    try compareWindows(tree, place + "/" + file, whole)
                    lines += whole.count { $0 == 10 }
                }
                let rows = try tree.text(point + "/orders.csv").split(separator: "\n").count - 1
                #expect(lines == rows)
            }
        }
    }

    private func compareWindows(_ tree: any Tree, _ path: String, _ whole: [UInt8]) throws {
        let wrong = Mutex<[String]>([])
        let readers = try (0..<6).map { reader in
            try WorkerThread {
                var random = SeededGenerator(seed: UInt64(reader))
                for _ in 0..<40 {
                    let count = [1, 7, 100, 4096, 65_536, 1 << 20].randomElement(using: &random)!
                    let offset = Int.random(in: 0...whole.count + 10, using: &random)
                    let expected = whole.dropFirst(offset).prefix(count)
                    let got = Result {
                        try tree.read(path, at: UInt64(offset), count: count)
                    }
                    if (try? got.get()).map({ $0.elementsEqual(expected) }) != true {
                        wrong.withLock { $0.append("\(path) \(offset)+\(count): \(got)") }
                    }
                }
                if reader == 0, (try? tree.read(path, pieceBytes: 1 << 16)) != whole {
                    wrong.withLock { $0.append("\(path) as a whole") }
                }
            }
        }
        for reader in readers { reader.join() }
        let faults = wrong.withLock(\.self).prefix(3)
        #expect(faults == [])
    }

    @Test func `a file read to its end in pieces of any size is as long as st_size says`() throws {
        let shop = try Shop(rows: 300)
        var settings = Settings()
        settings.limits = .tiny
        settings.cacheBytes = 4 << 10
        try withTree(.direct, Product(shop.database, settings)) { tree in
            for point in try makeChain(shop, tree) {
                for file in [
                    "/orders.csv", "/sub/products.csv", "/orders.parquet", "/sub/products.parquet",
                ] {
                    let whole = try tree.read(point + file)
                    #expect(try tree.status(point + file).bytes == UInt64(whole.count))
                    let isParquet = file.hasSuffix("parquet")
                    for piece in isParquet ? [61, 1000, 4095] : [1, 2, 3, 5, 64, 1000, 4095] {
                        #expect(try tree.read(point + file, pieceBytes: piece) == whole)
                    }
                }
            }
        }
    }
}
