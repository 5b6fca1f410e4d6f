import Bytes
import Engine
import Foundation
import Repository
import Tables
import TestSupport
import Testing
import Volume

/// What was closed is gone: no thread, no cache and no closure keeps an engine, or a file of its.
@Suite struct LifetimeTests {
    /// Weak references to what one product is made of.
    private struct Traces {
        weak var engine: Engine?
        weak var repository: Repository?
        weak var volume: Volume?
        weak var cache: SharedCache?
    }

    /// Files below `folder` that this process has open.
    private func open(below folder: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").compactMap { name in
            let target = try? FileManager.default.destinationOfSymbolicLink(
                atPath: "/proc/self/fd/\(name)")
            return target?.hasPrefix(folder) == true ? target : nil
        }
    }

    /// Backs up, reads, verifies and restores, and ends the product in the usual way.
    private func useAndClose(_ shop: Shop, _ way: Way) throws -> Traces {
        var settings = Settings()
        settings.limits = .tiny
        let product = try Product(shop.database, settings)
        product.engine.keepSchedules()
        var traces = Traces(
            engine: product.engine, volume: product.volume, cache: product.engine.cache)
        try withTree(way, product) { tree in
            if product.engine.collections.isEmpty {
                try tree.write("control", Shop.create)
                _ = try tree.backup("full", of: "shop")
            }
            try shop.add(5)
            _ = try tree.backup("incremental", of: "shop")
            for name in try tree.files(below: "shop") where name.contains("/2") {
                _ = try tree.read(name, pieceBytes: 64)
            }
            #expect(try tree.run("VERIFY", in: "shop").hasPrefix("done"))
            let restored = try tree.run("RESTORE ( TABLE orders AS again )", in: "shop")
            #expect(restored.hasPrefix("done"), "\(restored)")
            try shop.run("DROP TABLE again")
        }
        traces.repository = product.engine.repository
        return traces
    }

    @Test(arguments: Way.allCases)
    func `nothing outlives a product that was closed`(_ way: Way) throws {
        let shop = try Shop(rows: 60)
        let traces = try useAndClose(shop, way)
        // Threads end in their own time.
        #expect(eventually { traces.engine == nil }, "the engine")
        #expect(eventually { traces.volume == nil }, "the volume")
        #expect(eventually { traces.repository == nil }, "the repository")
        #expect(eventually { traces.cache == nil }, "the cache")
        #expect(try open(below: shop.scratch.path) == [])
    }

    @Test func `closed engines have no file open, whoever still refers to them`() throws {
        let shop = try Shop(rows: 60)
        var products: [Product] = []
        var most = 0
        for round in 0..<30 {
            let product = try Product(shop.database)
            products.append(product)
            try withTree(.direct, product) { tree in
                if round == 0 {
                    try tree.write("control", Shop.create)
                    _ = try tree.backup("full", of: "shop")
                }
                try shop.add(1)
                _ = try tree.backup("incremental", of: "shop")
                _ = try tree.read("shop/latest/orders.csv")
                most = max(most, try open(below: shop.scratch.path).count)
            }
            #expect(try open(below: shop.scratch.path) == [], "round \(round)")
        }
        #expect(most > 1, "what is being read is open")
        withExtendedLifetime(products) {}
    }
}
