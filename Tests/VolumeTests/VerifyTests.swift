import Bytes
import Engine
import Foundation
import Repository
import Tables
import TestSupport
import Testing

/// Damage of every shape, and who notices.
@Suite struct VerifyTests {
    private let shop: Shop

    init() throws {
        shop = try Shop(rows: 100)
        let product = try Product(shop.database, Self.settings)
        defer { product.close() }
        let tree = product.tree
        try tree.write("control", Shop.create)
        _ = try tree.backup("full", of: "shop")
        for salt in 1...3 {
            try shop.change(oneIn: 4, salt: salt)
            try shop.add(5)
            _ = try tree.backup("incremental", of: "shop")
        }
    }

    private static var settings: Settings {
        var settings = Settings()
        settings.limits = .tiny
        settings.catalogInterval = 4
        return settings
    }

    private var location: String { shop.database + ".backups" }

    // MARK: Looking

    private func verify(
        _ level: CheckLevel, at moment: Moment? = nil, source: (any RowSource)? = nil
    ) throws -> VerifyReport {
        try Verifier(
            Repository.open(location), collection: "shop", at: moment, level: level,
            operation: .unrecorded("verify")
        ).run(source: source)
    }

    private func state() throws -> CollectionState {
        try #require(try Repository.open(location).collection("shop"))
    }

    private func path(_ name: String) throws -> String {
        "\(location)/collections/\(try state().id)/\(name)"
    }

    private func dataPath(_ reference: FileReference) throws -> String {
        try Repository.open(location).file(reference, of: state()).name
    }

    /// Every table of every point as CSV, nil where it can't be read.
    private func readAll() throws -> [String: [UInt8]?] {
        var settings = Self.settings
        settings.hasDatabase = false
        let product = try Product(shop.database, location: location, settings)
        defer { product.close() }
        var files: [String: [UInt8]?] = [:]
        for point in try state().points.map(\.name) {
            for table in ["orders", "sub/products"] {
                files["\(point) \(table)"] = .some(
                    try? product.tree.read("shop/\(point)/\(table).csv"))
            }
        }
        return files
    }

    /// What a report says of harm must be so: what it doesn't name reads as before, and what it
    /// names doesn't.
    private func expectExactHarm(
        _ report: VerifyReport, before: [String: [UInt8]?],
        at location: SourceLocation = #_sourceLocation
    ) throws {
        let now = try readAll()
        for point in report.points {
            for table in ["orders", "sub/products"] {
                let name = "\(point.name) \(table)"
                let (isHarmed, isOther) = (
                    point.harmed.contains(table), now[name] != before[name]
                )
                // Of products there is a rowid too, which no file shows.
                #expect(
                    table == "orders" ? isHarmed == isOther : isHarmed || !isOther,
                    "\(name): \(report.details)", sourceLocation: location)
            }
        }
    }

    private func change(_ path: String, _ body: (inout [UInt8]) -> Void) throws {
        var bytes = Array(try #require(FileManager.default.contents(atPath: path)))
        body(&bytes)
        try Data(bytes).write(to: URL(filePath: path))
    }

    // MARK: Whole

    @Test(arguments: CheckLevel.allCases)
    func `what is whole passes, is recorded, and nothing is changed`(level: CheckLevel) throws {
        let before = try check("cd $1 && sha256sum */*/log/* */*/data/* tables/*/*/*", location)
        let product = try Product(shop.database)
        defer { product.close() }
        let line = try product.tree.run("VERIFY shop WITH (level = \(level.rawValue))", in: "shop")
        #expect(line.hasPrefix("done"))
        #expect(
            try check("cd $1 && sha256sum */*/log/* */*/data/* tables/*/*/*", location) == before)
        let chain = try product.tree.text("shop/chain")
        // Against the database only the newest point can be held.
        let names =
            level == .source ? ["content", "content", "content", "source"] : [level.rawValue]
        for (row, line) in chain.split(separator: "\n").dropFirst().enumerated() {
            #expect(line.hasSuffix(names[min(row, names.count - 1)]), "\(chain)")
        }
        #expect(try product.tree.text("shop/chain.json").contains("\"verified\""))
        #expect(try product.tree.text("shop/status").contains("verified 4 of 4 points"))
    }

    @Test func `one point alone may be verified, and results stand until as much was looked at`()
        throws
    {
        let points = try state().points
        let report = try verify(.content, at: .point(points[1].name))
        #expect(report.isRight && report.points.map(\.name) == [points[1].name])
        _ = try verify(.catalog)
        func levels() throws -> [CheckLevel?] {
            let repository = try Repository.open(location)
            let checks = repository.checks(of: try #require(repository.collection("shop")))
            return points.map { checks[$0.sequence]?.level }
        }
        #expect(try levels() == [.catalog, .content, .catalog, .catalog])
        _ = try verify(.hashes)
        #expect(try levels() == [.hashes, .content, .hashes, .hashes])
        for _ in 1...3 { _ = try verify(.content) }
        #expect(try levels() == [.content, .content, .content, .content])
        let checks = try path("checks")
        #expect(try FileManager.default.contentsOfDirectory(atPath: checks).count == 1)
        #expect(throws: Failure.self) { try verify(.catalog, at: .point("nothing")) }
    }

    // MARK: Catalog

    @Test func `missing and short files are found from the log, with what they harm`() throws {
        let before = try readAll()
        for file in try state().points.flatMap(\.files) {
            let path = try dataPath(file)
            for length in [nil, file.bytes - 1, 0] as [UInt64?] {
                try FileManager.default.moveItem(atPath: path, toPath: path + ".away")
                if let length {
                    try check("head -c $2 $1.away > $1", path, "\(length)")
                }
                let report = try verify(.catalog)
                #expect(report.damages.count == 1)
                #expect(report.damages[0].message.contains(file.name))
                #expect(!report.damages[0].harms.isEmpty)
                if length == nil { try expectExactHarm(report, before: before) }
                try? FileManager.default.removeItem(atPath: path)
                try FileManager.default.moveItem(atPath: path + ".away", toPath: path)
            }
        }
        #expect(try verify(.catalog).isRight)
    }

    @Test func `a changed entry of the log is found although catalogs hide it from readers`() throws
    {
        let last = try state().lastEntry
        for number in 1...last {
            let entry = try path("log/000000000\(number).json")
            try change(entry) { $0[$0.count / 2] ^= 1 }
            let report = try verify(.catalog)
            #expect(report.damages.contains { $0.message.contains("000000000\(number).json") })
            try change(entry) { $0[$0.count / 2] ^= 1 }
        }
        #expect(try verify(.catalog).isRight)
    }

    @Test func `a damaged catalog harms no point and is told`() throws {
        let catalog = try #require(try state().catalogs.last?.reference.name)
        try change(try path("data/" + catalog)) { $0[$0.count / 2] ^= 1 }
        // What it says is compared with the log at every level.
        for level in [CheckLevel.catalog, .hashes] {
            let report = try verify(level)
            #expect(report.damages.count == 1 && report.damages[0].message.contains(catalog))
            #expect(report.points.allSatisfy { $0.harmed.isEmpty })
        }
    }

    // MARK: Hashes

    @Test(arguments: 1...4 as ClosedRange<UInt64>)
    func `any flipped byte is found by hashes, not by catalog, and the harm is exact`(seed: UInt64)
        throws
    {
        var random = SeededGenerator(seed: seed)
        let before = try readAll()
        for file in try state().points.flatMap(\.files) {
            let offset = random.below(Int(file.bytes))
            let bit = UInt8(1) << random.below(8)
            try change(try dataPath(file)) { $0[offset] ^= bit }
            #expect(try verify(.catalog).isRight)
            let report = try verify(.hashes)
            #expect(report.damages.contains { $0.message.contains(file.name) }, "\(offset)")
            // A byte that no reader needs harms nothing.
            try expectExactHarm(report, before: before)
            let content = try verify(.content)
            #expect(
                content.points.map(\.harmed) == report.points.map(\.harmed), "\(content.details)")
            try change(try dataPath(file)) { $0[offset] ^= bit }
        }
        #expect(try verify(.content).isRight)
    }

    @Test func `files in each other's place are found by hashes`() throws {
        let before = try readAll()
        let files = try state().points.flatMap(\.files).filter { $0.name.hasSuffix(".parquet") }
        let (first, second) = (try dataPath(files[0]), try dataPath(files[1]))
        // Of equal size, so that catalog has nothing to see.
        let shorter = min(files[0].bytes, files[1].bytes)
        try check(
            """
            head -c $3 "$1" > "$1.new"; tail -c +$(($3 + 1)) "$1" >> "$1.new"
            cp "$1" "$1.sound"; head -c $3 "$2" > "$1.new"; tail -c +$(($3 + 1)) "$1" >> "$1.new"
            mv "$1.new" "$1"
            """, first, second, "\(shorter)")
        #expect(try verify(.catalog).isRight)
        let report = try verify(.hashes)
        #expect(report.damages.contains { $0.message.contains(files[0].name) })
        try expectExactHarm(report, before: before)
    }

    @Test func `the keys of damaged rows are told`() throws {
        let full = try state().points[0]
        let file = try #require(
            try full.files.first { try contents($0).contains("ydbfs.tableorders") })
        let path = try dataPath(file)
        var ranges: Set<String> = []
        for offset in stride(from: 40, to: Int(file.bytes) / 2, by: 97) {
            try change(path) { $0[offset] ^= 4 }
            let report = try verify(.hashes, at: .point(full.name))
            for harm in report.damages.flatMap(\.harms) where harm.table == "orders" {
                // Pages of three rows with keys 1…100.
                let after = Int(harm.after ?? "0")!
                let before = Int(harm.before ?? "101")!
                #expect(after % 3 == 0 && (before == after + 4 || before == 101))
                ranges.insert("\(after)")
            }
            try change(path) { $0[offset] ^= 4 }
        }
        #expect(ranges.count > 3)
    }

    private func contents(_ file: FileReference) throws -> String {
        let bytes = FileManager.default.contents(atPath: try dataPath(file)) ?? Data()
        return String(decoding: bytes.filter { $0 >= 32 && $0 < 127 }, as: UTF8.self)
    }
}
