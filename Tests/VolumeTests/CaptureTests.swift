import Bytes
import Engine
import Foundation
import Repository
import Tables
import TestSupport
import Testing

/// Incrementals by what a source knows of changes: exact if it is right, found out if it is wrong, and
/// nothing but slower if it is lost.
@Suite struct CaptureTests {
    private let shop: Shop
    private let script = RangedSource.Script()

    init() throws { shop = try Shop(rows: 60) }

    private func product(auditInterval: Int = 100) throws -> Product {
        var settings = Settings()
        settings.limits = .tiny
        settings.script = script
        settings.auditInterval = auditInterval
        return try Product(shop.database, settings)
    }

    private func state() throws -> CollectionState {
        try #require(try Repository.open(shop.database + ".backups").collection("shop"))
    }

    private var capture: String {
        get throws { try "\(shop.database).backups/collections/\(state().id)/capture" }
    }

    private func notes(_ product: Product) -> [String] {
        product.engine.operations.last!.status.notes
    }

    /// Whether the newest point shows what is in the database.
    private func isRight(_ product: Product) throws -> Bool {
        let line = try product.tree.run("VERIFY WITH (level = source)", in: "shop")
        let products = try product.tree.read("shop/latest/sub/products.csv")
        return try line.hasPrefix("done") && products == shop.products
    }

    private func incremental(_ product: Product) throws -> [String] {
        _ = try product.tree.backup("incremental", of: "shop")
        return notes(product)
    }

    @Test func `what is known is enough for every point`() throws {
        let product = try product()
        defer { product.close() }
        try product.tree.write("control", Shop.create)
        _ = try product.tree.backup("full", of: "shop")
        for salt in 1...6 {
            if salt != 3 {
                try shop.change(oneIn: 9, salt: salt)
                try shop.add(3)
            }
            #expect(try incremental(product) == [])
            let ranges = script.takeRanges()
            #expect(ranges["sub/products"] == 0)
            #expect((ranges["orders"] == 0) == (salt == 3), "\(ranges)")
            // What isn't there can't be read: the table without changes took nothing.
            #expect(try state().newest?.changed.count == (salt == 3 ? 0 : 1))
            #expect(try isRight(product))
        }
        #expect(script.known.contains(true))
        // New columns: what is known of rows isn't asked for.
        try shop.run(
            "ALTER TABLE orders ADD COLUMN more TEXT DEFAULT 'x'; UPDATE orders SET more = 'y' WHERE id = 9"
        )
        _ = try incremental(product)
        #expect(script.takeRanges()["orders"] == nil)
        #expect(try isRight(product))
    }

    @Test(arguments: [
        RangedSource.Lie.hidesRows("orders"), .givesAllRows("orders"), .counts("orders", 1),
        .counts("orders", -1), .counts("orders", 1000), .counts("sub/products", 1),
        .takesBack("orders"),
    ])
    func `claims that can't be true are said, and the point is right`(lie: RangedSource.Lie) throws
    {
        let product = try product()
        defer { product.close() }
        try product.tree.write("control", Shop.create)
        _ = try product.tree.backup("full", of: "shop")
        try shop.run("DELETE FROM orders WHERE id = 7; UPDATE orders SET amount = 0 WHERE id = 30")
        script.lies = [lie]
        let said = try incremental(product)
        #expect(said.count == 1 && said[0].contains("compared as a whole; please report this"))
        script.lies = []
        #expect(try isRight(product))
        // What is kept now is right again.
        try shop.change(oneIn: 5, salt: 1)
        #expect(try incremental(product) == [])
        #expect(try isRight(product))
    }

    @Test func `an audit finds what was missed, says it aloud, and puts it right`() throws {
        let product = try product(auditInterval: 3)
        defer { product.close() }
        try product.tree.write("control", Shop.create)
        _ = try product.tree.backup("full", of: "shop")
        script.lies = [.hidesUpdates("orders")]
        for id in 1...2 {
            try shop.run("UPDATE orders SET amount = -1 WHERE id = \(id)")
            #expect(try incremental(product) == [])
        }
        try shop.run(
            "UPDATE orders SET amount = -1 WHERE id = 3; UPDATE \"sub/products\" SET price = 9")
        let said = try incremental(product)
        #expect(
            said.count == 1 && said[0].contains("orders: 3 changed rows would have been missed"))
        #expect(said.first?.contains("report this") == true)
        script.lies = []
        #expect(try isRight(product))
        // The count begins anew; an audit that finds nothing says nothing.
        for salt in 1...4 {
            try shop.change(oneIn: 7, salt: salt)
            #expect(try incremental(product) == [])
            #expect(try isRight(product))
        }
    }

    @Test(arguments: ["missing", "cut", "changed", "foreign", "empty", "unreadable"])
    func `a capture file that can't be trusted costs time alone`(harm: String) throws {
        let product = try product()
        defer { product.close() }
        try product.tree.write("control", Shop.create)
        _ = try product.tree.backup("full", of: "shop")
        let path = try capture
        let first = try #require(FileManager.default.contents(atPath: path))
        try shop.change(oneIn: 5, salt: 1)
        #expect(try incremental(product) == [])
        #expect(script.known == [false, true])
        try check("rm -rf \"$1\"", path)
        let bytes = first
        switch harm {
        case "cut": try bytes.prefix(bytes.count / 2).write(to: URL(filePath: path))
        case "changed":
            var changed = bytes
            changed[40] ^= 1
            try changed.write(to: URL(filePath: path))
        case "foreign": try bytes.write(to: URL(filePath: path))
        case "empty": try Data().write(to: URL(filePath: path))
        case "unreadable": try check("mkdir \"$1\"", path)
        default: break
        }
        try shop.change(oneIn: 5, salt: 2)
        let said = try incremental(product)
        #expect(said.count == (harm == "unreadable" ? 1 : 0), "\(said)")
        #expect(script.known == [false, true, false])
        #expect(try isRight(product))
        try check("if test -d \"$1\"; then rmdir \"$1\"; fi", path)
        _ = try incremental(product)
        try shop.change(oneIn: 5, salt: 3)
        #expect(try incremental(product) == [])
        #expect(script.known.last == true)
        #expect(try isRight(product))
    }

    @Test func `knowledge that can't be kept fails nothing`() throws {
        let product = try product()
        defer { product.close() }
        try product.tree.write("control", Shop.create)
        script.keepsNothing = true
        _ = try product.tree.backup("full", of: "shop")
        #expect(notes(product).count == 1)
        #expect(notes(product).first?.contains("the next one compares everything") == true)
        script.keepsNothing = false
        try shop.change(oneIn: 5, salt: 2)
        #expect(try incremental(product) == [])
        #expect(script.known == [false, false])
        #expect(try isRight(product))
    }

    @Test func `COMPACT passes it on, a dropped newest point takes it along`() throws {
        let product = try product()
        defer { product.close() }
        let tree = product.tree
        try tree.write("control", Shop.create)
        _ = try tree.backup("full", of: "shop")
        try shop.change(oneIn: 5, salt: 1)
        _ = try incremental(product)
        _ = try tree.backup("COMPACT", of: "shop")
        try shop.change(oneIn: 5, salt: 2)
        #expect(try incremental(product) == [])
        #expect(script.known == [false, true, true])
        #expect(try isRight(product))
        let dropped = try #require(try state().newest?.name)
        try tree.write("control", "ALTER BACKUP COLLECTION shop DROP BACKUP '\(dropped)';\n")
        try shop.change(oneIn: 5, salt: 3)
        #expect(try incremental(product) == [])
        #expect(script.known.last == false)
        #expect(try isRight(product))
        // Had back, it isn't the newest one.
        try tree.write("control", "ALTER BACKUP COLLECTION shop UNDROP BACKUP '\(dropped)';\n")
        try shop.change(oneIn: 5, salt: 4)
        #expect(try incremental(product) == [])
        #expect(script.known.last == true)
        #expect(try isRight(product))
        // Neither pruning nor a check by hashes minds the file.
        #expect(try tree.run("VERIFY WITH (level = hashes)", in: "shop").hasPrefix("done"))
        #expect(FileManager.default.fileExists(atPath: try capture))
    }

    @Test func `without incrementals, and with CAPTURE = scan, nothing is kept`() throws {
        let product = try product()
        defer { product.close() }
        let tree = product.tree
        try tree.write(
            "control",
            Shop.create.replacingOccurrences(of: "'true' )", with: "'true', CAPTURE = scan )"))
        _ = try tree.backup("full", of: "shop")
        try shop.change(oneIn: 5, salt: 1)
        #expect(try incremental(product) == [])
        // No cut was asked to keep anything.
        #expect(script.known == [])
        #expect(!FileManager.default.fileExists(atPath: try capture))
        #expect(try isRight(product))
    }
}
