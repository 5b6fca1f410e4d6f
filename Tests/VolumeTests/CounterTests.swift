import Bytes
import Engine
import Foundation
import Tables
import TestSupport
import Testing

/// What looking costs, counted rather than timed.
@Suite struct CounterTests {
    @Test func `looking at all points opens no row file, through ls and stat too`() throws {
        let shop = try Shop(rows: 5000)
        let first = try Product(shop.database)
        try withTree(.direct, first) { tree in
            try tree.write("control", Shop.create)
            try shop.takeChain(tree, incrementals: 5, oneIn: 100)
        }
        // Another mount, which has nothing in memory.
        let product = try Product(shop.database)
        defer { product.close() }
        try withMount(product) { mount in
            // What changed has to be found out.
            let listing = try check(
                "cd \"$1\"; ls -lR --ignore=changes; find . -name changes -prune -o -exec stat {} +",
                mount)
            #expect(listing.components(separatedBy: "orders.csv").count > 12)
            #expect(product.engine.figures.rowFilesOpened == 0)
            #expect(product.engine.figures.pagesDecoded == 0)
            try check("cat \"$1\"/shop/latest/backup.json \"$1\"/shop/chain > /dev/null", mount)
            #expect(product.engine.figures.rowFilesOpened == 0)
            try check("cat \"$1\"/shop/latest/orders.csv > /dev/null", mount)
            #expect(product.engine.figures.rowFilesOpened > 0)
        }
    }

    @Test func `a cold read of 4 KiB decodes few pages at the full and at the newest point`() throws
    {
        let shop = try Shop(rows: 60_000)
        let runs = 6
        try withTree(.direct, Product(shop.database)) { tree in
            try tree.write("control", Shop.create)
            try shop.takeChain(tree, incrementals: runs, oneIn: 200)
        }
        var random = SeededGenerator(seed: 9)
        for isNewest in [false, true] {
            for _ in 0..<6 {
                let product = try Product(shop.database)
                try withTree(.direct, product) { tree in
                    let points = try tree.list("shop").filter { $0.hasPrefix("20") }
                    #expect(points.count == runs + 1)
                    let path = "shop/\(isNewest ? points.last! : points[0])/orders.csv"
                    let bytes = try tree.status(path).bytes
                    let offset = UInt64.random(in: 0..<bytes - 4096, using: &random)
                    #expect(try tree.read(path, at: offset, count: 4096).count == 4096)
                    let figures = product.engine.figures
                    // 4 KiB meet at most two rendered pages of four columns; the edits of so few
                    // rows lie in at most two pages of each run.
                    let pages = 2 + (isNewest ? 2 * UInt64(runs) : 0)
                    #expect(figures.pagesRendered <= 2)
                    #expect(figures.pagesDecoded <= 4 * pages)
                    // In Parquet a window meets one column, or two; of this or the next page.
                    let parquet = "shop/\(isNewest ? points.last! : points[0])/orders.parquet"
                    let size = try tree.status(parquet).bytes
                    let place = UInt64.random(in: 0..<size - 8192, using: &random)
                    #expect(try tree.read(parquet, at: place, count: 4096).count == 4096)
                    let after = product.engine.figures
                    #expect(after.pagesRendered - figures.pagesRendered <= 2)
                    #expect(after.pagesDecoded - figures.pagesDecoded <= pages)
                }
            }
        }
    }
}
