import Bytes
import Engine
import Foundation
import Tables
import Testing
import Volume

/// How far operations are, and how fast they may go.
@Suite struct ProgressTests {
    /// An operation at work on some megabytes that can't be compressed.
    private func withSlowBackup(
        _ body: (any Tree, Product) throws -> Void
    ) throws {
        let shop = try Shop(rows: 10)
        try shop.run(
            """
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
            INSERT INTO orders(customer, note) SELECT 'c', randomblob(100) FROM n;
            """)
        var settings = Settings()
        settings.rate = 1 << 20
        settings.limits.rowGroupRows = 1000
        let product = try Product(shop.database, settings)
        try withTree(.direct, product) { tree in
            try tree.write("control", Shop.create)
            try body(tree, product)
        }
    }

    private func values(_ tree: any Tree) throws -> [String: String] {
        let lines = try tree.text("shop/operation/progress").split(separator: "\n")
        return Dictionary(
            lines.map { line in
                let words = line.split(separator: " ", maxSplits: 1).map(String.init)
                return (words[0], words[1])
            }, uniquingKeysWith: { $1 })
    }

    @Test func `progress counts rows and bytes and says when it may end; the rate limit holds`()
        throws
    {
        try withSlowBackup { tree, product in
            let started = ContinuousClock.now
            try tree.write("shop/control", "full\n")
            var seen: [[String: String]] = []
            while product.engine.newestOperation(of: "shop")?.status.state.isFinal == false {
                seen.append(try values(tree))
                usleep(50_000)
            }
            let seconds = (ContinuousClock.now - started) / .seconds(1)
            let last = try values(tree)
            let bytes = try #require(last["bytes"].flatMap(Double.init))
            #expect(bytes > 3e6)
            // Twice as fast would be wrong, twice as slow may be the machine.
            #expect(seconds > bytes / Double(1 << 20) * 0.9)
            let running = seen.filter { $0["seconds_left"] != nil }
            #expect(running.count >= 2)
            for values in running {
                #expect(values["total_rows"] == "30013")
                let left = try #require(values["seconds_left"].flatMap(Double.init))
                #expect(left <= 60 && values["expected_end"]?.hasSuffix("Z") == true)
            }
            let counts = seen.compactMap { $0["bytes"].flatMap(Int.init) }
            #expect(counts == counts.sorted() && Set(counts).count >= 3)
            #expect(last["seconds_left"] == nil && last["ended"] != nil)
        }
    }

    @Test func `an operation that waits for its turn to write can be cancelled at once`() throws {
        try withSlowBackup { tree, product in
            try tree.write("shop/control", "full\n")
            #expect(try eventually { try values(tree)["bytes"].flatMap(Int.init) ?? 0 > 1 << 19 })
            let taken = try seconds {
                try tree.write("shop/operation/cancel", "1\n")
                #expect(try tree.text("shop/operation/wait").hasPrefix("cancelled: on request"))
            }
            #expect(taken < 2)
            let data = product.location + "/collections"
            #expect(try check("find \"$1\" -name '*.parquet'", data) == "")
        }
    }
}
