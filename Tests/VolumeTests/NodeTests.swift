import Bytes
import Engine
import Foundation
import Repository
import Synchronization
import Testing
import Volume

/// The numbers that the kernel knows files by.
@Suite struct NodeTests {
    @Test func `look-ups that are forgotten leave nothing behind, and no number is used twice`()
        throws
    {
        let shop = try Shop()
        let product = try Product(shop.database)
        defer { product.close() }
        try product.tree.write("control", Shop.create)
        try shop.takeChain(product.tree, incrementals: 1, oneIn: 50)
        let volume = product.volume
        let shopNode = try volume.lookup("shop", in: 1).get().node
        let before = volume.knownNodes
        var last = shopNode
        for _ in 0..<20_000 {
            let point = try volume.lookup("latest", in: shopNode).get().node
            let again = try volume.lookup("latest", in: shopNode).get().node
            #expect(point == again && point > last)
            last = point
            volume.forget(point, lookups: 1)
            #expect(try volume.readLink(point) != "")
            volume.forget(point, lookups: 1)
        }
        #expect(volume.knownNodes == before)
        let forgotten = errno { _ = try volume.readLink(last) }
        #expect(forgotten == ESTALE)
        // What has no attributes any more counts no look-up.
        let missing = errno { _ = try volume.lookup("nothing", in: shopNode).get() }
        #expect(missing == ENOENT)
        #expect(volume.knownNodes == before)
    }

    @Test func `what a mount lists is forgotten when the kernel drops it`() throws {
        let shop = try Shop()
        let product = try Product(shop.database)
        defer { product.close() }
        try product.tree.write("control", Shop.create)
        try shop.takeChain(product.tree, incrementals: 3, oneIn: 50)
        // Those that were looked up directly.
        let before = product.volume.knownNodes
        try withMount(product) { mount in
            try check("ls -lR \"$1\" > /dev/null", mount)
            #expect(product.volume.knownNodes > before + 30)
            try check("echo 2 > /proc/sys/vm/drop_caches", mount)
            #expect(eventually { product.volume.knownNodes < before + 10 })
            try check("cat \"$1\"/shop/latest/orders.csv > /dev/null", mount)
        }
    }

    @Test func `many look at one file at once that has to be found out, and are told the same`()
        throws
    {
        let shop = try Shop(rows: 2000)
        let product = try Product(shop.database)
        defer { product.close() }
        try product.tree.write("control", Shop.create)
        try shop.takeChain(product.tree, incrementals: 3, oneIn: 20)
        let volume = product.volume
        let points = try product.tree.list("shop").filter { $0.hasPrefix("20") }
        let diffs = try volume.lookup("diff", in: volume.lookup("shop", in: 1).get().node).get()
            .node
        for (old, new) in [(0, 1), (0, 2), (0, 3), (1, 3), (3, 0)] {
            let place = try volume.lookup("\(points[old])..\(points[new])", in: diffs).get().node
            for name in ["orders.csv", "orders.parquet", "summary"] {
                let found = Mutex<[Entry]>([])
                let threads = try (0..<8).map { _ in
                    try WorkerThread {
                        if let entry = try? volume.lookup(name, in: place).get() {
                            found.withLock { $0.append(entry) }
                        }
                    }
                }
                for thread in threads { thread.join() }
                let entries = found.withLock(\.self)
                #expect(entries.count == 8 && Set(entries.map(\.node)).count == 1)
                #expect(entries.allSatisfy { $0.attributes == entries[0].attributes })
            }
        }
    }

    /// Collections' ids hash their names. Two whose first 20 bits are alike, found by trying.
    private func namesWithIDsAlike(_ repository: Repository) throws -> [String] {
        var known: [Substring: String] = [:]
        for number in 0..<100_000 {
            let name = "c\(number)"
            let start = repository.collectionID(name).prefix(5)
            if let other = known[start] { return [other, name] }
            known[start] = name
        }
        throw Failure(.system, "no two of 100,000 ids begin alike")
    }

    @Test func `collections whose ids begin alike keep their own pages, whatever comes and goes`()
        throws
    {
        let shop = try Shop(rows: 400)
        let product = try Product(shop.database)
        defer { product.close() }
        // The repository comes with the first collection.
        try product.tree.write("control", Shop.create)
        let names = try namesWithIDsAlike(try #require(product.engine.repository))
        try withMount(product) { mount in
            var texts: [String] = []
            for (name, table) in zip(names, ["orders", "`sub/products`"]) {
                try product.tree.write(
                    "control",
                    "CREATE BACKUP COLLECTION \(name) ( TABLE \(table) ) WITH (STORAGE = 'cluster')\n"
                )
                _ = try product.tree.backup("full", of: name)
                let files =
                    "cat \"$1\"/\(name)/latest/*.csv \"$1\"/\(name)/latest/sub/*.csv 2>/dev/null"
                texts.append(try check("\(files) || true", mount))
                let inodes = "stat -Lc %i \"$1\"/\(name)/latest \"$1\"/\(name)/latest/backup.json"
                texts.append(try check(inodes, mount))
            }
            #expect(Set(texts).count == 4)
            // The first one goes; the second one is what it was.
            try product.tree.write("control", "DROP BACKUP COLLECTION \(names[0])\n")
            let name = names[1]
            #expect(
                try check("cat \"$1\"/\(name)/latest/sub/*.csv", mount) == texts[2])
            #expect(
                try check(
                    "stat -Lc %i \"$1\"/\(name)/latest \"$1\"/\(name)/latest/backup.json", mount)
                    == texts[3])
        }
    }
}
