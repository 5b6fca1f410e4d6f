import Bytes
import Engine
import Foundation
import Repository
import TestSupport
import Testing
import Volume
import ydbfs

/// Stored files of every kind, damaged at random, with wrong checksums and with right ones: whatever
/// they say, everything that reads them gives the right bytes or says what is wrong, and nothing
/// ends the process (which would be seen here).
@Suite struct DamageTests {
    private let shop: Shop
    private let sound: StoredFiles
    /// Every table of every point as CSV.
    private let expected: [String: [UInt8]]
    /// Nobody waits for a second to pass.
    private let clock = TestClock(1_800_000_000_000_000)

    init() throws {
        shop = try Shop(rows: 12)
        let product = try Product(shop.database, Self.settings(clock))
        defer { product.close() }
        let tree = product.tree
        try tree.write("control", Shop.create)
        _ = try tree.backup("full", of: "shop")
        for salt in 1...3 {
            clock.advance(seconds: 10)
            try shop.change(oneIn: 4, salt: salt)
            _ = try tree.backup("incremental", of: "shop")
        }
        let points = try #require(product.engine.collection("shop")).points.map(\.name)
        for statement in [
            "VERIFY shop", "ALTER BACKUP COLLECTION shop SET (KEEP_LAST = '9')",
            "ALTER BACKUP COLLECTION shop DROP BACKUP '\(points[0])'",
            "ALTER BACKUP COLLECTION shop PIN BACKUP '\(points[1])'",
            "ALTER BACKUP COLLECTION shop SET (KEEP_DROPPED = '0s')", "PRUNE shop",
            "VERIFY shop WITH (level = content)",
        ] {
            _ = try tree.run(statement + ";", in: "shop")
        }
        clock.advance(seconds: 10)
        try shop.change(oneIn: 3, salt: 9)
        _ = try tree.backup("incremental", of: "shop")
        expected = try Self.read(tree).compactMapValues { $0 }
        sound = StoredFiles(shop.database + ".backups")
    }

    private static func settings(_ clock: TestClock) -> Settings {
        var settings = Settings()
        settings.limits = .tiny
        settings.catalogInterval = 4
        settings.removalDelay = 0
        settings.testClock = clock
        return settings
    }

    // MARK: Looking

    /// Every table of every point; nil where it is refused.
    private static func read(_ tree: DirectTree) throws -> [String: [UInt8]?] {
        var found: [String: [UInt8]?] = [:]
        for file in try tree.files(below: "") where file.hasSuffix(".csv") {
            found[file] = .some(try allowed { try tree.read(file) })
        }
        return found
    }

    /// What may be refused with a reason; nil then.
    @discardableResult
    private static func allowed<R>(_ body: () throws -> R) throws -> R? {
        do {
            return try body()
        } catch let failure as Failure {
            #expect(!failure.message.isEmpty && failure.message.utf8.count < 100_000)
            return nil
        } catch is Errno {
            return nil
        }
    }

    /// Everything that one can do with a repository; what makes points of its own in turn.
    private func useAll(
        _ files: StoredFiles, isSealed: Bool, _ round: Int, _ what: Comment
    ) throws {
        try files.write(to: shop.database + ".backups")
        try Self.allowed {
            let report = try StatusReport(SourceArgument(shop.database))
            #expect(!report.text().isEmpty)
            #expect(try !JSONEncoder().encode(report).isEmpty)
        }
        let product = try Self.allowed { try Product(shop.database, Self.settings(clock)) }
        guard let product else { return }
        defer { product.close() }
        let tree = product.tree
        for file in try Self.allowed({ try tree.files(below: "") }) ?? []
        where !file.hasSuffix("/wait") {
            try Self.allowed { try tree.read(file) }
        }
        if !isSealed {
            let tables = try Self.allowed { try Self.read(tree).compactMapValues { $0 } }
            for (name, bytes) in tables ?? [:] {
                #expect(bytes == expected[name], "\(what): \(name)")
            }
        }
        let maker = ["BACKUP shop INCREMENTAL", "BACKUP shop", "COMPACT shop"][round % 3]
        for statement in ["VERIFY shop WITH (level = content)", maker, "PRUNE shop"] {
            clock.advance(seconds: 10)
            let line = try Self.allowed { try tree.run(statement + ";", in: "shop") }
            guard !isSealed, let line, line.hasPrefix("done point="), statement != "COMPACT shop"
            else { continue }
            // A backup is of what the database holds, whatever was known before.
            let point = line.dropFirst("done point=".count).prefix { $0 != " " }
            let bytes = try Self.allowed { try tree.read("shop/\(point)/sub/products.csv") }
            if let bytes { #expect(try bytes == shop.products, "\(what): \(line)") }
        }
        try Self.allowed { try StatusReport(SourceArgument(shop.database)).text }
    }

    // MARK: Damage

    @Test(arguments: StoredFiles.Kind.allCases)
    func `Bits that flip, and files cut off`(_ kind: StoredFiles.Kind) throws {
        var random = SeededGenerator(seed: 1)
        let names = sound.names(kind)
        try #require(!names.isEmpty, "\(kind)")
        // With those of right checksums, where there are such, at least 200 of each kind.
        let rounds = kind == .rows || kind == .index ? 200 : 80
        for round in 0..<rounds {
            var files = sound
            let name = random.pick(names)
            var bytes = files.files[name]!
            if round % 8 == 0 {
                bytes = Array(bytes.prefix(random.below(bytes.count)))
            } else {
                for _ in 0...random.below(3) {
                    bytes[random.below(bytes.count)] ^= 1 << UInt8(random.below(8))
                }
            }
            files.files[name] = bytes
            try useAll(files, isSealed: false, round, "\(round): \(name)")
        }
    }

    @Test(arguments: [
        StoredFiles.Kind.descriptor, .define, .point, .drop, .condemn, .catalogEntry, .start, .end,
        .check,
    ])
    func `Records of impossible values with right checksums`(_ kind: StoredFiles.Kind) throws {
        var random = SeededGenerator(seed: 2)
        let names = sound.names(kind)
        for round in 0..<120 {
            var files = sound
            let name = random.pick(names)
            files.put(try RecordDamage.changed(files.json(name), &random), as: name)
            try useAll(files, isSealed: true, round, "\(round): \(name)")
        }
    }

    @Test func `Catalogs of impossible values with right checksums`() throws {
        var random = SeededGenerator(seed: 3)
        let name = try #require(sound.newestCatalog)
        let content = try sound.catalogContent(name)
        let huge: [[UInt8]] = [
            [UInt8](repeating: 0xFF, count: 9) + [1], [0], [0x7F], [0xFF, 0xFF, 0xFF, 0xFF, 0x0F],
            [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1],
        ]
        for round in 0..<200 {
            var files = sound
            var changed = content
            for _ in 0...random.below(2) {
                let index = random.below(changed.count)
                if random.chance(50) {
                    changed[index] = UInt8(random.below(256))
                } else {
                    changed.replaceSubrange(index...index, with: random.pick(huge))
                }
            }
            try files.put(catalog: changed, as: name)
            try useAll(files, isSealed: true, round, "\(round)")
        }
    }

    @Test func `What a cut kept, changed, with a right checksum`() throws {
        var random = SeededGenerator(seed: 4)
        let name = try #require(sound.names(.capture).first)
        for round in 0..<120 {
            var files = sound
            // Behind the content lie 128 bytes of trailer.
            let index = random.below(files.files[name]!.count - 128)
            files.files[name]![index] = UInt8(random.below(256))
            files.sealCapture(name)
            try useAll(files, isSealed: true, round, "\(round)")
        }
    }

    @Test(arguments: [
        "18446744073709551615", "18446744073709551616", "9223372036854775808", "1000000000000001",
        "1000000000000000", "99999999999", "0000000000", "-000000001", "+000000001", "0000000900",
    ])
    func `Files copied under names of other numbers`(_ number: String) throws {
        for kind in [StoredFiles.Kind.start, .end, .point, .check] {
            for name in sound.names(kind).suffix(2) {
                var files = sound
                let folder = StoredFiles.folder(name)
                let suffix = kind == .end ? ".end.json" : ".json"
                files.files["\(folder)/\(number)\(suffix)"] = sound.files[name]
                try useAll(files, isSealed: true, 0, "\(number): \(name)")
            }
        }
    }

    @Test func `A copied operation is shown under its own number alone`() throws {
        var files = sound
        let name = try #require(sound.names(.start).first)
        files.files["operations/0000000900.json"] = sound.files[name]
        try files.write(to: shop.database + ".backups")
        let operations = try Repository.open(shop.database + ".backups").operations
        let refused = #expect(throws: Failure.self) { try operations.record(900) }
        #expect(refused?.code == .corrupt && refused?.message.contains("0000000900.json") == true)
        #expect(try operations.newest().map(\.start.id).contains(900) == false)
        let start = try operations.begin(
            OperationStart(
                statement: "BACKUP shop", owner: 0, collection: "shop", kind: "backup", time: 1))
        #expect(start.id == 901)
        // One stray number doesn't make the others old.
        #expect(try operations.record(1).start.id == 1)
    }
}
