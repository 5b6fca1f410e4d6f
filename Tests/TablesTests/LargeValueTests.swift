import Bytes
import Tables
import TestSupport
import Testing

/// Values so large that memory must not hold them twice.
@Suite struct LargeValueTests {
    private static let largeBytes = RowBatch.largeBytes + 1000

    /// Text that must be quoted, or needn't be.
    private static func text(_ count: Int, seed: UInt8, isQuoted: Bool) -> [UInt8] {
        (0..<count).map { index in
            if isQuoted, index % 1000 == 7 { return UInt8(ascii: index % 2 == 0 ? "," : "\"") }
            return 97 + UInt8(truncatingIfNeeded: (index &* 31 + index >> 7) % 23) ^ (seed & 1)
        }
    }

    /// A table that is backed up by comparing it with the last point.
    private final class Chain {
        let files = MemoryFiles()
        var model = ModelTable()
        var limits = FormatLimits()
        private(set) var result: TableResult!

        init(rows: ClosedRange<Int64>) {
            for key in rows { model.rows[key] = (key, [UInt8]("row \(key)".utf8)) }
        }

        func pool() -> FilePool { FilePool(files, cache: SharedCache(maxBytes: 1 << 20)) }

        func snapshot(_ pool: FilePool? = nil) -> Snapshot {
            Snapshot(result.snapshot, schema: ModelTable.schema, pool: pool ?? self.pool())
        }

        func full() throws {
            result = try FullWriter.write(
                BatchCursor(model.batch), schema: ModelTable.schema, table: "t", files: files,
                limits: limits)
            try check()
        }

        func incremental() throws {
            files.endBackup()
            let changes = try Diff(
                parent: snapshot(), live: BatchCursor(model.batch), table: "t", progress: { _ in })
            let next = try IncrementalWriter.write(
                parent: snapshot(), hash: result.contentHash, parentChanges: result.changes,
                changes: changes, table: "t", files: files, limits: limits)
            #expect(next != nil)
            result = next ?? result
            try check()
        }

        func check() throws {
            try files.expectSound(result, ModelTable.schema)
            #expect(result.contentHash == RowHasher(ModelTable.schema).hash(model.batch))
        }

        func pages() throws -> [PageSums] { try snapshot().slices().flatMap(\.pages) }
    }

    private static func changed() throws -> Chain {
        let chain = Chain(rows: 1...60)
        chain.model.rows[20]!.text = text(largeBytes, seed: 1, isQuoted: true)
        try chain.full()
        chain.model.rows[20]!.text = text(largeBytes, seed: 2, isQuoted: true)
        chain.model.rows[40]!.text = text(largeBytes, seed: 4, isQuoted: false)
        chain.model.rows[41]!.text = text(largeBytes, seed: 5, isQuoted: true)
        chain.model.rows[50]!.number = 7
        try chain.incremental()
        return chain
    }

    @Test func `a large row lies alone in its page, and its neighbours are read without it`()
        throws
    {
        let chain = Chain(rows: 1...20)
        chain.model.rows[10]!.text = Self.text(Self.largeBytes, seed: 1, isQuoted: false)
        try chain.full()
        #expect(try chain.pages().map(\.rows) == [9, 1, 10])
        chain.model.rows[9]!.number = 99
        let pool = chain.pool()
        let snapshot = chain.snapshot(pool)
        chain.files.endBackup()
        let batch = RowBatch(ModelTable.schema)
        ModelTable.append(9, chain.model.rows[9]!, to: batch)
        let next = try IncrementalWriter.write(
            parent: snapshot, hash: chain.result.contentHash, parentChanges: 0,
            changes: BatchCursor(batch, present: [true]), table: "t", files: chain.files,
            limits: chain.limits)
        #expect(next?.updated == 1)
        #expect(pool.figures.bytesDecoded < 10_000)
    }

    @Test func `large rows come, change, move and go, and every point holds what was there`() throws
    {
        let chain = try Self.changed()
        chain.model.rows[20]!.number = -1
        chain.model.rows[15] = (15, Self.text(Self.largeBytes, seed: 6, isQuoted: true))
        chain.model.rows[100] = (100, Self.text(Self.largeBytes, seed: 7, isQuoted: false))
        try chain.incremental()
        chain.model.rows[20] = nil
        chain.model.rows[41]!.text = nil
        try chain.incremental()
        // Written anew from what is stored, as COMPACT does.
        let compacted = try FullWriter.write(
            SnapshotCursor(chain.snapshot()), schema: ModelTable.schema, table: "t",
            files: chain.files, limits: chain.limits)
        #expect(compacted.contentHash == chain.result.contentHash)
        try chain.files.expectSound(compacted, ModelTable.schema)
    }

    @Test func `a long page is rendered once for who reads it in windows, and right for others`()
        throws
    {
        let chain = try Self.changed()
        let whole = chain.model.csv
        let pool = chain.pool()
        let snapshot = chain.snapshot(pool)
        let dump = try snapshot.dumpTable()
        let files: [any RenderedFile] = [
            CSVFile(chain.snapshot(pool)), ParquetFile(chain.snapshot(pool)),
            DumpFile(snapshot, dump, range: 0..<UInt64(chain.model.dump.count)),
        ]
        for file in files {
            let expected =
                file is CSVFile ? whole : file is DumpFile ? chain.model.dump : try file.whole()
            let reader = LongPartReader(file)
            let before = pool.figures
            var offset: UInt64 = 0
            var long: [FilePart] = []
            var isSame = true
            while let part = try file.part(at: offset) {
                guard part.isLong else {
                    offset = part.offset + part.bytes
                    continue
                }
                if long.last != part { long.append(part) }
                let window = ByteBuffer()
                let count = try reader.read(part, at: offset, count: 64 << 10, into: window)
                isSame = isSame && count == window.count && count > 0
                isSame =
                    isSame && window.array == Array(expected[Int(offset)..<Int(offset) + count])
                offset += UInt64(count)
            }
            #expect(isSame && long.count >= 2)
            let after = pool.figures
            #expect(after.pagesRendered - before.pagesRendered == UInt64(long.count))
            // Of each the base rows and each run's, a column or three.
            #expect(after.pagesDecoded - before.pagesDecoded <= UInt64(12 * long.count))

            var random = SeededGenerator(seed: 3)
            for _ in 0..<12 {
                let part = long.randomElement(using: &random)!
                let offset = UInt64.random(
                    in: part.offset..<part.offset + part.bytes, using: &random)
                let window = ByteBuffer()
                let count = try reader.read(part, at: offset, count: 4096, into: window)
                #expect(window.count == count && count > 0)
                #expect(window.array == Array(expected[Int(offset)..<Int(offset) + count]))
            }
        }
    }

    @Test(arguments: [CSVForm.text, .bytes, .escaped, .escapedNumber], [1, 1000, 100_000])
    func `a row in parts is the row at once`(form: CSVForm, piece: Int) {
        let count = 70_000
        let plain = Self.text(count, seed: 0, isQuoted: false)
        let values: [[UInt8]] = [
            plain, [32] + plain, plain + [32], plain + [10], [34] + plain,
            Self.text(count, seed: 0, isQuoted: true),
            Array(String(repeating: "äß€", count: count / 7).utf8),
            [0x5C, 0x78] + plain, form == .text ? plain : plain + [0xFF],
            Array(repeating: UInt8(ascii: "1"), count: count),
        ]
        for value in values {
            let columns = [
                ColumnVector(.fixed(8)), ColumnVector(.variable), ColumnVector(.variable),
            ]
            columns[0].append(Int64(5))
            columns[1].append(bytes: value)
            columns[2].appendNull()
            let forms: [CSVForm] = [.int64, form, .text]
            for null in [CSVNull.nothing, .word] {
                let whole = ByteBuffer()
                whole.append(csv: CSVRows(columns, forms: forms, null: null), 0..<1)
                var row = CSVLongRow(columns, forms: forms, null: null)
                let parts = ByteBuffer()
                while row.append(about: piece, to: parts) {}
                #expect(parts.array == whole.array)
            }
        }
    }

    @Test func `what changes put into a page stays within its limit, however often they do`() throws
    {
        let chain = Chain(rows: 1...200)
        chain.limits.pageRows = 64
        chain.limits.pageBytes = 2000
        chain.limits.editRows = 3
        chain.limits.heavyPageBytes = 2000
        // So many edits that they would make slices be written anew.
        chain.limits.rebaseMinEdits = 10_000
        try chain.full()
        var split: UInt64 = 0
        for round in 0..<4 {
            for key in stride(from: 1, through: 200, by: round + 1) {
                let text = [UInt8](String(repeating: "x", count: 150 + round).utf8)
                chain.model.rows[Int64(key)] = (Int64(round), text)
            }
            chain.model.rows[500 - Int64(round)] = (1, [UInt8]("new".utf8))
            chain.model.rows[Int64(round) * 10 + 33] = nil
            try chain.incremental()
            split += chain.result.upkeep.slicesSplit
            let largest = try chain.pages().map { page in
                page.columns.reduce(0) { $0 + $1.valueBytes }
            }.max()!
            #expect(largest < 2000 * UInt64(round + 2))
        }
        #expect(split > 10)
    }
}
