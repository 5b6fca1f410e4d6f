import Bytes
import Tables
import TestSupport
import Testing

/// Stored row files: any page is read alone, and a damaged file is refused by name.
@Suite struct RowFileTests {
    private static let schema = try! TableSchema(types: [.int64, .utf8, .bool, .double])

    private static var limits: FormatLimits {
        var limits = FormatLimits()
        limits.pageRows = 7
        limits.rowGroupRows = 20
        return limits
    }

    /// A file of some row groups with some pages each, and its rows.
    private static func make() throws -> (bytes: [UInt8], rows: RowBatch) {
        var random = SeededGenerator(seed: 77)
        let rows = schema.randomRows(60, &random)
        let files = MemoryFiles()
        _ = try FullWriter.write(
            BatchCursor(rows), schema: schema, table: "t", files: files, limits: limits)
        let object = try #require(files.all[1])
        let buffer = ByteBuffer()
        try object.read(at: 0, count: Int(object.sizeBytes), into: buffer)
        return (buffer.array, rows)
    }

    private static func file(_ bytes: [UInt8]) -> MemoryObject {
        let object = MemoryObject(name: "orders.parquet")
        let buffer = ByteBuffer()
        buffer.append(bytes)
        object.append(buffer)
        return object
    }

    private static let columns = schema.columns.enumerated().map {
        RowFile.ColumnPlace(index: $0.offset, layout: $0.element.type.layout)
    }

    /// Every row of a file, page by page.
    private static func readAll(_ bytes: [UInt8]) throws -> RowBatch {
        let file = try RowFile(file(bytes))
        let result = RowBatch(schema)
        var row = 0
        while row < min(file.rows, 1000) {
            let (group, inGroup) = try file.rowGroup(of: row)
            let (page, rows) = try file.page(of: inGroup, rowGroup: group)
            let batch = RowBatch(
                columns: try file.readPage(rowGroup: group, page: page, columns: columns))
            #expect(batch.count == rows.count && rows.contains(inGroup))
            for index in 0..<batch.count { result.append(batch, row: index) }
            row += batch.count
        }
        return result
    }

    @Test func `every page of every row group reads as it was written`() throws {
        let (bytes, rows) = try Self.make()
        #expect(RowBatch.same(try Self.readAll(bytes), rows))
        let file = try RowFile(Self.file(bytes))
        #expect(file.rows == rows.count)
        #expect(file.columnNames == ["c0", "c1", "c2", "c3"] && file.fieldIDs == [1, 2, 3, 4])
        for row in [-1, rows.count, Int.max] {
            #expect(throws: Failure.self) { try file.rowGroup(of: row) }
            #expect(throws: Failure.self) { try file.page(of: row, rowGroup: 0) }
        }
        for group in [-1, 99] {
            #expect(throws: Failure.self) { try file.page(of: 0, rowGroup: group) }
        }
        #expect(throws: Failure.self) {
            try file.readPage(rowGroup: 0, page: 99, columns: Self.columns)
        }
    }

    @Test func `a file cut anywhere is refused by name`() throws {
        let (bytes, _) = try Self.make()
        for length in 0..<bytes.count {
            do {
                _ = try Self.readAll(Array(bytes[..<length]))
                Issue.record("a file of \(length) of \(bytes.count) bytes was read")
            } catch let failure as Failure {
                #expect(failure.code == .corrupt && failure.message.contains("orders.parquet"))
            }
        }
    }

    /// A flipped bit is found out or harmless (a name, a number that nobody reads).
    @Test func `a flipped bit never gives other rows`() throws {
        let (bytes, rows) = try Self.make()
        for bit in 0..<bytes.count * 8 {
            var damaged = bytes
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            do {
                let read = try Self.readAll(damaged)
                #expect(
                    RowBatch.same(read, rows) || read.count != rows.count,
                    "bit \(bit) of \(bytes.count * 8) changed a row silently")
            } catch let failure as Failure {
                #expect(failure.code == .corrupt && failure.message.contains("orders.parquet"))
            }
        }
    }

    @Test func `random damage to the footer never traps`() throws {
        let (bytes, _) = try Self.make()
        let length = Int(bytes[bytes.count - 8]) | Int(bytes[bytes.count - 7]) << 8
        var random = SeededGenerator(seed: 5)
        for _ in 0..<30_000 {
            var damaged = bytes
            for _ in 0..<Int.random(in: 1...5, using: &random) {
                let index = bytes.count - 8 - Int.random(in: 1...length, using: &random)
                damaged[index] = UInt8.random(in: 0...255, using: &random)
            }
            // With a checksum that fits: what a wrong writer would leave.
            let start = bytes.count - 8 - length
            let check = damaged[start..<start + length].withUnsafeBytes { Checksum.xxh3($0) }
            withUnsafeBytes(of: check) { damaged.replaceSubrange(start - 8..<start, with: $0) }
            do {
                _ = try Self.readAll(damaged)
            } catch let failure as Failure {
                #expect(failure.code == .corrupt)
            }
        }
    }
}
