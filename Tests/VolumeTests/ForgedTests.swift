import Bytes
import Engine
import Foundation
import Repository
import SQLiteSource
import Tables
import TestSupport
import Testing

/// Points that are wrong although every checksum is right, as a faulty writer would make them: what
/// hashes can't see, content does; and what content can't see, the database does.
@Suite struct ForgedTests {
    private let shop: Shop

    init() throws {
        shop = try Shop(rows: 60)
        let product = try product()
        defer { product.close() }
        try product.tree.write("control", Shop.create)
        _ = try product.tree.backup("full", of: "shop")
        try shop.change(oneIn: 4, salt: 1)
        _ = try product.tree.backup("incremental", of: "shop")
    }

    private func product() throws -> Product {
        var settings = Settings()
        settings.limits = .tiny
        return try Product(shop.database, settings)
    }

    private func verify(
        _ level: CheckLevel, source: (any RowSource)? = nil
    ) throws -> VerifyReport {
        try Verifier(
            Repository.open(shop.database + ".backups"), collection: "shop", at: nil,
            level: level, operation: .unrecorded("verify")
        ).run(source: source)
    }

    /// Commits a point whose orders are what `body` makes of the newest one's.
    private func forge(
        _ body: (inout TableRecord, CollectionState, WriterLock) throws -> [FileReference]
    ) throws {
        let repository = try Repository.open(shop.database + ".backups")
        let lock = try repository.lock(collection: "shop")
        let state = try #require(lock.current)
        let newest = try #require(state.newest)
        var record = try #require(state.table(path: "orders", at: newest.sequence))
        (record.inserted, record.updated, record.deleted) = (0, 0, 0)
        let files = try body(&record, state, lock)
        record.files += try #require(state.table(record.id, at: 1)).files
        record.files += files.map { NeededFile(number: $0.number, rows: $0.rows) }
        record.files = Dictionary(record.files.map { ($0.number, $0) }) { $1 }.values
            .sorted { $0.number < $1.number }
        try lock.append(
            .point(
                PointRecord(
                    sequence: state.nextSequence, name: "20990101000000Z_incremental",
                    kind: .incremental, parent: newest.sequence, parentHash: newest.hash,
                    cut: newest.cut, operation: 0, files: files, tables: [record])))
    }

    /// Hashes must pass, content must say `words` of the forged point, and of no other.
    private func expectContent(
        toSay words: String, at location: SourceLocation = #_sourceLocation
    ) throws {
        let hashes = try verify(.hashes)
        #expect(hashes.isRight, "\(hashes.details)", sourceLocation: location)
        let content = try verify(.content)
        #expect(
            content.details.contains { $0.contains(words) }, "\(content.details)",
            sourceLocation: location)
        #expect(
            content.points.map(\.harmed) == [[], [], ["orders"]], "\(content.details)",
            sourceLocation: location)
    }

    @Test func `another point's rows under this one's name`() throws {
        try forge { record, state, _ in
            record.snapshot = try #require(state.table(record.id, at: 1)).snapshot
            return []
        }
        try expectContent(toSay: "orders has rows")
    }

    @Test(arguments: ["hash", "rows", "csv", "parquet"])
    func `numbers of the log that the rows don't come to`(what: String) throws {
        try forge { record, _, _ in
            switch what {
            case "hash": record.contentHash = String(repeating: "0", count: 32)
            case "rows": record.rows += 1
            default: record.sizes[what]! += 1
            }
            return []
        }
        let words = ["hash": "content hash", "rows": "rows", "csv": "CSV", "parquet": "Parquet"]
        try expectContent(toSay: words[what]!)
    }

    /// A snapshot of these slices, in a new index.
    private func write(
        _ slices: [Slice], _ record: inout TableRecord, _ lock: WriterLock,
        change: (inout [SliceSums]) -> Void = { _ in }
    ) throws -> FileReference {
        let file = try lock.createFile(.idx)
        try file.append(Array("YDBFSIX1".utf8))
        func append(_ content: ByteBuffer) throws -> BlockReference {
            let object = try IndexCodec.seal(content, level: 3)
            defer { _ = file.position }
            let reference = BlockReference(
                file: file.number, offset: file.position, length: UInt64(object.count),
                hash: Checksum.xxh3(object))
            try file.append(object)
            return reference
        }
        let measure = RowMeasure(record.schema)
        var sums = slices.map { measure.sums(ofSlice: $0.pages) }
        let total = sums.reduce(into: SliceSums()) { $0 += $1 }
        change(&sums)
        let block = try append(IndexCodec.encodeBlock(slices, sums: sums, schema: record.schema))
        let root = [
            BlockDescriptor(reference: block, lowerBound: slices[0].lowerBound, sums: total)
        ]
        record.snapshot = try append(IndexCodec.encodeRoot(root, schema: record.schema))
        return try file.finish(rows: 0)
    }

    private func slices(_ record: TableRecord, _ state: CollectionState) throws -> [Slice] {
        let product = try product()
        defer { product.close() }
        return try product.engine.snapshot(record, of: state).slices()
    }

    @Test func `wrong sums of a page, of which the log's numbers are made`() throws {
        try forge { record, state, lock in
            var slices = try slices(record, state)
            slices[1].pages[0].csvBytes += 1
            record.sizes["csv"]! += 1
            return [try write(slices, &record, lock)]
        }
        try expectContent(toSay: "are recorded")
        let harm = try #require(try verify(.content).damages.first?.harms.first)
        let (after, before) = (Int(harm.after ?? "")!, Int(harm.before ?? "")!)
        #expect(after >= 6 && before > after && before - after < 8, "\(after) \(before)")
    }

    @Test func `wrong sums of a slice in a block's directory`() throws {
        try forge { record, state, lock in
            let slices = try slices(record, state)
            return [
                try write(slices, &record, lock) { sums in
                    sums[0].pages.csvBytes += 1
                    sums[1].pages.csvBytes -= 1
                }
            ]
        }
        try expectContent(toSay: "the sums of a slice")
    }

    @Test func `slices out of order`() throws {
        try forge { record, state, lock in
            var slices = try slices(record, state)
            slices.swapAt(1, 2)
            return [try write(slices, &record, lock)]
        }
        try expectContent(toSay: "lie in a slice of later keys")
    }

    @Test func `bounds of slices that their keys don't keep`() throws {
        try forge { record, state, lock in
            var slices = try slices(record, state)
            slices[2].lowerBound = slices[3].lowerBound
            return [try write(slices, &record, lock)]
        }
        try expectContent(toSay: "are out of key order")
    }

    @Test func `a page that was torn before its file was hashed is found by hashes`() throws {
        try forge { record, state, lock in
            var slices = try slices(record, state)
            let stored = try state.file(slices[0].file)
            let path = try Repository.open(shop.database + ".backups").file(stored, of: state).name
            var bytes = Array(FileManager.default.contents(atPath: path)!)
            // In the first page's body.
            bytes[30] ^= 1
            let file = try lock.createFile(.parquet, table: stored.table)
            try file.append(bytes)
            let copy = try file.finish(rows: stored.rows)
            for index in slices.indices where slices[index].file == stored.number {
                slices[index].file = copy.number
            }
            return [copy, try write(slices, &record, lock)]
        }
        #expect(try verify(.catalog).isRight)
        let report = try verify(.hashes)
        #expect(report.details.contains { $0.contains("a page's checksum is wrong") })
        #expect(report.points.map(\.harmed) == [[], [], ["orders"]], "\(report.details)")
    }

    @Test func `rows that the database lost or got are found by source alone`() throws {
        let source = try SQLiteSource(path: shop.database)
        #expect(try verify(.source, source: source).isRight)
        try shop.run("DELETE FROM orders WHERE id = 5; UPDATE orders SET amount = -1 WHERE id = 7;")
        #expect(try verify(.content).isRight)
        let report = try verify(.source, source: source)
        #expect(report.damages.isEmpty && !report.isRight)
        #expect(report.differences.count == 1 && report.differences[0].table == "orders")
        #expect(report.differences[0].rows == 2 && report.differences[0].firstKeys == ["5", "7"])
        try shop.run("ALTER TABLE \"sub/products\" ADD COLUMN more TEXT; DROP TABLE orders;")
        let tables = try verify(.source, source: source).differences
        #expect(
            tables.map(\.message) == [
                "the database has no such table now", "its columns are others now",
            ])
    }
}
