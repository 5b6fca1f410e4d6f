import Bytes
import Engine
import Foundation
import Repository
import Tables
import TestSupport
import Testing

/// COMPACT: a point that shows what the newest one shows and needs no older file.
@Suite struct CompactTests {
    private let shop: Shop
    private static let files = ["orders.csv", "sub/products.csv", "orders.sql"]

    init() throws { shop = try Shop(rows: 80) }

    private var location: String { shop.database + ".backups" }

    private func product(hasDatabase: Bool = true) throws -> Product {
        var settings = Settings()
        settings.limits = .tiny
        settings.hasDatabase = hasDatabase
        return try Product(shop.database, settings)
    }

    private func state() throws -> CollectionState {
        try #require(try Repository.open(location).collection("shop"))
    }

    private func makeChain(_ tree: any Tree, points: Int, create: String = Shop.create) throws {
        try tree.write("control", create)
        _ = try tree.backup("full", of: "shop")
        for salt in 1..<points {
            try shop.change(oneIn: 3, salt: salt)
            try shop.add(4)
            _ = try tree.backup("incremental", of: "shop")
        }
    }

    private func contents(_ tree: any Tree, _ point: String) throws -> [[UInt8]] {
        try Self.files.map { try tree.read("shop/\(point)/\($0)") }
    }

    private func names(_ tree: any Tree) throws -> [String] {
        try tree.list("shop").filter { $0.hasPrefix("2") }
    }

    @Test func `the compacted point reads with every older file away, and goes on as a chain`()
        throws
    {
        let product = try product()
        defer { product.close() }
        let tree = product.tree
        try makeChain(tree, points: 5)
        let before = try contents(tree, "latest")
        let old = try names(tree)
        let parent = try #require(try state().newest)
        let point = try tree.backup("COMPACT", of: "shop")
        #expect(try names(tree) == old + [String(point.dropFirst(5))])
        #expect(try contents(tree, "latest") == before)
        let compacted = try #require(try state().newest)
        #expect(compacted.cut == parent.cut && compacted.parent == parent.sequence)
        #expect(compacted.kind == .incremental && compacted.notBackedUp == parent.notBackedUp)
        // The same cut has the same second.
        #expect(compacted.name.hasPrefix(Instant(microseconds: parent.cut).pointName + "~"))
        // The next one continues it, by captured changes.
        try shop.change(oneIn: 5, salt: 9)
        let rows = try shop.products
        _ = try tree.backup("incremental", of: "shop")
        #expect(!product.engine.operations.last!.status.notes.contains { $0.contains("whole") })
        #expect(try tree.read("shop/latest/sub/products.csv") == rows)
        let newest = try contents(tree, "latest")
        let repository = try Repository.open(location)
        for file in try state().points.dropLast(2).flatMap(\.files) {
            try FileManager.default.removeItem(atPath: repository.file(file, of: state()).name)
        }
        let reader = try self.product(hasDatabase: false)
        defer { reader.close() }
        #expect(try contents(reader.tree, String(point.dropFirst(5))) == before)
        #expect(try contents(reader.tree, "latest") == newest)
        #expect(throws: Errno.self) { try contents(reader.tree, old[0]) }
    }

    @Test func `what the point holds beside tables comes along`() throws {
        try shop.run(
            "CREATE VIEW large AS SELECT * FROM orders WHERE amount > 5; CREATE TABLE bad(rowid, oid, _rowid_)"
        )
        let product = try product()
        defer { product.close() }
        let members = "( TABLE orders, TABLE `sub/products` )"
        try makeChain(
            product.tree, points: 2, create: Shop.create.replacing(members, with: "DATABASE"))
        let parent = try #require(try state().newest)
        _ = try product.tree.backup("COMPACT", of: "shop")
        let compacted = try #require(try state().newest)
        #expect(compacted.views == parent.views && compacted.views.contains("VIEW large"))
        #expect(compacted.notBackedUp == parent.notBackedUp && compacted.notBackedUp.count == 1)
    }

    @Test func `a point that needs no older one isn't compacted again`() throws {
        let product = try product()
        defer { product.close() }
        try makeChain(product.tree, points: 2)
        _ = try product.tree.backup("COMPACT", of: "shop")
        let names = try names(product.tree)
        let line = try product.tree.run("COMPACT", in: "shop")
        #expect(line.hasPrefix("done rows=0"), "\(line)")
        #expect(try self.names(product.tree) == names)
        _ = try product.tree.backup("full", of: "shop")
        #expect(try product.tree.run("COMPACT", in: "shop").hasPrefix("done rows=0"))
    }

    @Test func `a chain past MAX_CHAIN is compacted by its next backup`() throws {
        let product = try product()
        defer { product.close() }
        let create = Shop.create.replacing("'true' )", with: "'true', MAX_CHAIN = 3 )")
        try makeChain(product.tree, points: 10, create: create)
        let state = try state()
        // After the full, each fourth is a compacted one.
        let whole = state.points.map(state.isWhole)
        #expect(
            whole == [
                true, false, false, false, true, false, false, false, true, false, false, false,
                true,
            ])
        for (point, isWhole) in zip(state.points, whole).dropFirst() where isWhole {
            let parent = try #require(state.point(sequence: point.parent!))
            #expect(try contents(product.tree, point.name) == contents(product.tree, parent.name))
        }
        let notes = product.engine.operations.flatMap(\.status.notes)
        #expect(notes.count { $0.contains("compacted as") } == 3)
    }

    @Test func `what can't be read can't be compacted, and nothing changes`() throws {
        let product = try product()
        defer { product.close() }
        try makeChain(product.tree, points: 3)
        let state = try state()
        let largest = state.points[0].files.filter { $0.name.hasSuffix(".parquet") }
            .max { $0.bytes < $1.bytes }!
        let path = try Repository.open(location).file(largest, of: state).name
        var bytes = Array(FileManager.default.contents(atPath: path)!)
        bytes[40] ^= 1
        try Data(bytes).write(to: URL(filePath: path))
        func dataFiles() throws -> String {
            try check("cd $1 && find tables */*/data -type f | sort", location)
        }
        let files = try dataFiles()
        let reader = try self.product()
        defer { reader.close() }
        let line = try reader.tree.run("COMPACT", in: "shop")
        #expect(line.hasPrefix("failed: row file "), "\(line)")
        #expect(try self.state().lastEntry == state.lastEntry)
        #expect(try dataFiles() == files)
    }
}
