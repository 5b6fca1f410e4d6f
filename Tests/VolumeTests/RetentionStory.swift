import Bytes
import Engine
import Foundation
import Repository
import Tables
import TestSupport
import Testing
import Volume

/// A shop on a clock of its own, and what each of its points showed when it was made.
final class RetentionStory {
    let shop: Shop
    let clock = TestClock(1_767_225_600_000_000)
    var settings = Settings()
    private(set) var product: Product
    private(set) var contents: [String: [String: [UInt8]]] = [:]
    /// The rows of each point as SQLite told them when it was made.
    private(set) var rows: [String: String] = [:]
    private var salt = 0

    var tree: DirectTree { product.tree }

    init(_ with: String = "", _ change: (inout Settings) -> Void = { _ in }) throws {
        shop = try Shop(rows: 40)
        settings.limits = .tiny
        settings.testClock = clock
        settings.catalogInterval = 5
        change(&settings)
        product = try Product(shop.database, settings)
        try create(with)
    }

    deinit { product.close() }

    func create(_ with: String = "") throws {
        let settings = with.isEmpty ? "" : ", " + with
        try tree.write(
            "control",
            Shop.create.replacing("'true' )", with: "'true'\(settings) )"))
    }

    /// The same repository, as another process finds it.
    func reopen() throws {
        product.close()
        product = try Product(shop.database, settings)
    }

    private func change() throws {
        salt += 1
        try shop.change(oneIn: 5, salt: salt)
        if salt % 3 == 0 { try shop.add(7) }
        if salt % 4 == 0 {
            try shop.run("UPDATE \"sub/products\" SET price = \(salt) WHERE sku = 'fig'")
        }
    }

    /// Changes the tables, by these statements if there are some, takes a point, and remembers it.
    /// Answers its name.
    @discardableResult
    func backup(
        _ kind: String = "incremental", hours: Int64 = 1, changes: String? = nil
    ) throws -> String {
        clock.advance(seconds: hours * 3_600)
        if let changes { try shop.run(changes) } else { try change() }
        let point = String(try tree.backup(kind, of: "shop").dropFirst("shop/".count))
        contents[point] = try content(point)
        rows[point] = try Self.rows("orders", "sub/products", shop.database)
        return point
    }

    /// Compacts, which must make a point that shows what the newest one shows, if it makes one.
    func compact() throws {
        let newest = state.newest!.name
        clock.advance(seconds: 3_600)
        guard try tree.run("COMPACT", in: "shop").hasPrefix("done point=") else { return }
        let point = state.newest!.name
        contents[point] = try content(point)
        rows[point] = rows[newest]
        func tables(_ point: String) -> [String: [UInt8]] {
            Dictionary(
                uniqueKeysWithValues: contents[point]!.map {
                    (String($0.key.dropFirst("shop/\(point)/".count)), $0.value)
                }
            ).filter { $0.key.hasSuffix(".csv") || $0.key.hasSuffix(".sql") }
        }
        let isSame = tables(point) == tables(newest)
        #expect(isSame, "\(point)")
    }

    /// The rows of two tables like those of the shop.
    static func rows(_ orders: String, _ products: String, _ database: String) throws -> String {
        try sqlite(
            """
            SELECT id, quote(customer), quote(amount), quote(note) FROM "\(orders)" ORDER BY id;
            SELECT quote(sku), quote(price) FROM "\(products)" ORDER BY sku;
            """, on: database)
    }

    /// Restores every point there is, and compares its rows with those of its time.
    func checkRestored(_ what: Comment, at location: SourceLocation = #_sourceLocation) throws {
        for point in try points {
            let line = try tree.run(
                "RESTORE AT '\(point)' ( TABLE orders AS o, TABLE `sub/products` AS p )", in: "shop"
            )
            #expect(line.hasPrefix("done "), "\(what): \(line)", sourceLocation: location)
            let now = try Self.rows("o", "p", shop.database)
            #expect(now == rows[point], "\(what): \(point)", sourceLocation: location)
            try shop.run("DROP TABLE o; DROP TABLE p")
        }
    }

    func content(_ point: String) throws -> [String: [UInt8]] {
        var files: [String: [UInt8]] = [:]
        for file in try tree.files(below: "shop/" + point) { files[file] = try tree.read(file) }
        return files
    }

    var points: [String] {
        get throws { try tree.list("shop").filter { $0.first == "2" }.sorted() }
    }

    var state: CollectionState { product.engine.collection("shop")! }

    func alter(_ what: String, _ point: String) throws {
        try tree.write(
            "control", "ALTER BACKUP COLLECTION shop \(what) BACKUP '\(point)'\n")
    }

    /// Every point there is shows what it showed when it was made.
    func check(_ what: Comment, at location: SourceLocation = #_sourceLocation) throws {
        for point in try points {
            let now = try content(point)
            #expect(now == contents[point], "\(what): \(point)", sourceLocation: location)
        }
    }

    /// Paths of the first collection's data files on disk, by name.
    private var dataPaths: [String: String] {
        get throws {
            let id = try FileManager.default.contentsOfDirectory(
                atPath: product.location + "/collections")[0]
            var paths: [String: String] = [:]
            for folder in ["collections/\(id)/data", "tables/\(id)"] {
                let all = FileManager.default.enumerator(atPath: "\(product.location)/\(folder)")
                for case let path as String in all ?? .init() where path.contains(".") {
                    paths[String(path.split(separator: "/").last!)] =
                        "\(product.location)/\(folder)/\(path)"
                }
            }
            return paths
        }
    }

    /// Names of the data files on disk.
    var dataFiles: Set<String> { get throws { try Set(dataPaths.keys) } }

    /// Bytes of the row files on disk.
    var rowBytes: Int { get throws { try bytes { $0.hasSuffix(".parquet") } } }

    /// Bytes of all data files on disk but catalogs.
    var dataBytes: Int { get throws { try bytes { !$0.hasSuffix(".cat") } } }

    private func bytes(_ isCounted: (String) -> Bool) throws -> Int {
        try dataPaths.values.filter(isCounted).reduce(0) { sum, path in
            let attributes = try FileManager.default.attributesOfItem(atPath: path)
            return sum + (attributes[.size] as? Int ?? 0)
        }
    }
}
