import Bytes
import Engine
import Foundation
import Repository
import TestSupport
import Testing

/// Operations that are stopped while they work: nothing has happened, and the next one succeeds.
@Suite struct CancelTests {
    @Test(arguments: [
        "VERIFY WITH (level = hashes)", "VERIFY", "VERIFY AT 'latest' WITH (level = source)",
        "COMPACT",
    ])
    func `cancelled at work, an operation leaves the repository as it was`(
        _ statement: String
    ) throws {
        let shop = try Shop(rows: 80)
        let disk = HeldDisk()
        var settings = Settings()
        settings.limits = .tiny
        settings.storage = { DirectoryStorage($0.description, calls: disk) }
        let first = try Product(shop.database, settings)
        try withTree(.direct, first) { tree in
            try tree.write("control", Shop.create)
            try shop.takeChain(tree, incrementals: 3, oneIn: 3)
        }
        let before = try contents(first.location)
        let product = try Product(shop.database, settings)
        defer { disk.hold(false) }
        try withTree(.direct, product) { tree in
            disk.hold(true)
            try tree.write("shop/control", statement + "\n")
            #expect(eventually { disk.waiting > 0 })
            try tree.write("shop/operation/cancel", "1\n")
            #expect(try tree.text("shop/operation/state") == "cancelling\n")
            disk.hold(false)
            let line = try tree.text("shop/operation/wait")
            #expect(line.hasPrefix("cancelled: on request"), "\(line)")
            #expect(try tree.text("shop/operation/state") == "cancelled\n")
            #expect(try contents(product.location) == before)
            #expect(try tree.run(statement, in: "shop").hasPrefix("done "))
        }
    }

    /// Everything but the journal of operations: files and their bytes.
    private func contents(_ location: String) throws -> [String: Data] {
        var found: [String: Data] = [:]
        let names = FileManager.default.enumerator(atPath: location + "/collections")
        for name in names?.compactMap({ $0 as? String }) ?? [] {
            let path = location + "/collections/" + name
            var isFolder: ObjCBool = false
            _ = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
            if !isFolder.boolValue { found[name] = FileManager.default.contents(atPath: path) }
        }
        return found
    }
}
