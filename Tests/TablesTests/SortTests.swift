import Bytes
import Foundation
import Tables
import TestSupport
import Testing

/// Rows in any order come out in key order, against the simplest sort there is.
@Suite struct SortTests {
    /// So little memory that some hundred rows are many runs on several levels.
    private static var small: SortLimits {
        var limits = SortLimits()
        limits.runBytes = 2000
        limits.recordBytes = 200
        limits.mergeBytes = 1000
        limits.mergedRuns = 3
        return limits
    }

    private static func sorted(
        _ batch: RowBatch, _ schema: TableSchema, limits: SortLimits
    ) throws -> RowBatch {
        let cursor = SortedRows(
            BatchCursor(batch), schema: schema, limits: limits, checkpoint: {})
        let output = RowBatch(schema)
        let page = RowBatch(schema)
        while try cursor.next(into: page, maxRows: 7, maxBytes: 1 << 20) {
            #expect(page.count > 0 && page.count <= 7)
            output.append(page, rows: 0..<page.count)
            page.removeAll()
        }
        #expect(page.count == 0)
        return output
    }

    private static func expectSorted(
        _ batch: RowBatch, _ schema: TableSchema, limits: SortLimits
    ) throws {
        let output = try sorted(batch, schema, limits: limits)
        let keys = (0..<batch.count).map { NormalizedKey.of(batch, row: $0, schema: schema) }
        let order = keys.indices.sorted { keys[$0].lexicographicallyPrecedes(keys[$1]) }
        try #require(output.count == batch.count)
        for (row, source) in order.enumerated() {
            #expect(RowBatch.identical(output, row, batch, source), "row \(row)")
        }
    }

    /// Random rows of which no two have the same key.
    private static func rows(
        _ schema: TableSchema, _ count: Int, _ random: inout SeededGenerator
    ) -> RowBatch {
        let batch = RowBatch(schema)
        var keys: Set<[UInt8]> = []
        let row = RowBatch(schema)
        for _ in 0..<count {
            row.removeAll()
            for (index, column) in schema.columns.enumerated() {
                if Int.random(in: 0..<6, using: &random) == 0 {
                    row.columns[index].appendNull()
                } else {
                    row.columns[index].appendRandom(column.type, &random)
                }
            }
            if keys.insert(NormalizedKey.of(row, row: 0, schema: schema)).inserted {
                batch.append(row, row: 0)
            }
        }
        return batch
    }

    @Test(arguments: everyType) func `each type, in memory and in many runs`(type: ColumnType)
        throws
    {
        var random = SeededGenerator(seed: 5)
        let schema = try TableSchema(types: [type, .utf8])
        let batch = Self.rows(schema, 600, &random)
        try Self.expectSorted(batch, schema, limits: Self.small)
        try Self.expectSorted(batch, schema, limits: .init())
    }

    @Test(arguments: 0..<40) func `any columns, composite keys, any limits`(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let types = (0..<Int.random(in: 1...6, using: &random)).map { _ in
            everyType.randomElement(using: &random)!
        }
        var schema = try TableSchema(types: types)
        schema.key = Array(schema.columns.indices.shuffled(using: &random).prefix(3))
        var limits = SortLimits()
        limits.recordBytes = Int.random(in: 64...400, using: &random)
        limits.runBytes = Int.random(in: 1...9000, using: &random)
        limits.mergeBytes = Int.random(in: 1...9000, using: &random)
        limits.mergedRuns = Int.random(in: 2...9, using: &random)
        let count = [0, 1, 2, 50, 1500].randomElement(using: &random)!
        try Self.expectSorted(Self.rows(schema, count, &random), schema, limits: limits)
    }

    /// Keys that begin alike, so that prefixes don't tell, some longer than what records hold and
    /// different only in what they don't.
    @Test(arguments: [64, 200, 1000], [0, 1, 7, 8, 9, 40, 300])
    func `keys that begin alike`(recordBytes: Int, same: Int) throws {
        var random = SeededGenerator(seed: UInt64(same))
        let schema = try TableSchema(types: [.string, .int64])
        let batch = RowBatch(schema)
        var keys: Set<[UInt8]> = []
        for number in 0..<400 {
            // Zeros are what is escaped in normalized keys.
            let parts = (0..<Int.random(in: 0...3, using: &random)).map { _ in
                [UInt8](
                    repeating: [0, 1, 255].randomElement(using: &random)!,
                    count: [1, 2, 7, 30, 30_000].randomElement(using: &random)!)
            }
            let key = [UInt8](repeating: 7, count: same) + parts.joined()
            guard keys.insert(key).inserted else { continue }
            batch.columns[0].append(bytes: key)
            batch.columns[1].append(Int64(number))
        }
        var limits = Self.small
        limits.recordBytes = recordBytes
        try Self.expectSorted(batch, schema, limits: limits)
    }

    @Test func `values that are larger than all memory for a run`() throws {
        let schema = try TableSchema(types: [.utf8, .string, .uuid, .utf8])
        let batch = RowBatch(schema)
        for number in 0..<60 {
            let length = number % 3 == 0 ? 300_000 : number
            batch.columns[0].append(text: "k\(number * 7919 % 61)é")
            batch.columns[1].append(bytes: [UInt8](repeating: UInt8(number), count: length))
            if number % 2 == 0 {
                batch.columns[2].append(bytes: [UInt8](repeating: UInt8(number), count: 16))
                batch.columns[3].appendNull()
            } else {
                batch.columns[2].appendNull()
                batch.columns[3].append(text: String(repeating: "ü", count: length))
            }
        }
        try Self.expectSorted(batch, schema, limits: Self.small)
    }

    @Test func `the same key twice comes twice, for others to refuse`() throws {
        let schema = try TableSchema(types: [.utf8])
        let batch = RowBatch(schema)
        for number in 0..<300 { batch.columns[0].append(text: "\(number % 10)") }
        let output = try Self.sorted(batch, schema, limits: Self.small)
        #expect(output.count == 300)
        #expect(output.columns[0].bytes(29) == Array("0".utf8))
        #expect(output.columns[0].bytes(30) == Array("1".utf8))
    }

    @Test func `it stops when asked, and its files are gone`() throws {
        struct Stop: Error {}
        let directory = NSTemporaryDirectory() + "/ydbfs-sort-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let schema = try TableSchema(types: [.int64, .string])
        let batch = RowBatch(schema)
        for number in 0..<1000 {
            batch.columns[0].append(Int64(number * 7919 % 1009))
            batch.columns[1].append(bytes: [UInt8](repeating: 1, count: 2000))
        }
        var checks = 0
        func sort() throws {
            let cursor = SortedRows(
                BatchCursor(batch), schema: schema, limits: Self.small, directory: directory
            ) {
                checks += 1
                if checks == 5 {
                    // Another thread makes them.
                    for _ in 0..<500 where try Self.openFiles(in: directory) == 0 {
                        usleep(10_000)
                    }
                    #expect(try Self.openFiles(in: directory) > 0)
                    throw Stop()
                }
            }
            _ = try cursor.next(into: RowBatch(schema), maxRows: 1, maxBytes: 1)
        }
        #expect(throws: Stop.self) { try sort() }
        #expect(checks == 5)
        #expect(try Self.openFiles(in: directory) == 0)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == [])
    }

    @Test func `a place where nothing can be written is named`() throws {
        let schema = try TableSchema(types: [.int64])
        let batch = RowBatch(schema)
        for number in 0..<1000 { batch.columns[0].append(Int64(number)) }
        let cursor = SortedRows(
            BatchCursor(batch), schema: schema, limits: Self.small, directory: "/nowhere at all",
            checkpoint: {})
        let failure = #expect(throws: Failure.self) {
            _ = try cursor.next(into: RowBatch(schema), maxRows: 1, maxBytes: 1)
        }
        #expect(failure?.code == .notFound)
        #expect(failure?.message.contains("/nowhere at all") == true)
    }

    /// Files in a directory that this process has open, though they have no name there.
    private static func openFiles(in directory: String) throws -> Int {
        let folder = "/proc/self/fd"
        let place = URL(filePath: directory).resolvingSymlinksInPath().path()
        return try FileManager.default.contentsOfDirectory(atPath: folder).count {
            let target = try? FileManager.default.destinationOfSymbolicLink(
                atPath: "\(folder)/\($0)")
            return target?.hasPrefix(place) == true && target?.hasSuffix("(deleted)") == true
        }
    }
}
