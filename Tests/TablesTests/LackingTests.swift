import Bytes
import Tables
import TestSupport
import Testing

/// Indexes that don't hold the sizes of every format, as other versions may write them.
@Suite struct LackingTests {
    private let files = MemoryFiles()
    private let full: TableResult
    private let rows: RowBatch

    init() throws {
        var table = ModelTable()
        for key in 0..<300 as Range<Int64> { table.rows[key] = (key * 7, Array("v\(key)".utf8)) }
        rows = table.batch
        var limits = FormatLimits()
        (limits.pageRows, limits.rowGroupRows, limits.blockSlices) = (16, 48, 2)
        full = try FullWriter.write(
            BatchCursor(rows), schema: ModelTable.schema, table: "t", files: files, limits: limits)
        files.endBackup()
    }

    /// The snapshot in another index, in which `series` counts something that nobody knows.
    private func snapshot(without series: UInt32) throws -> BlockReference {
        let (number, sink) = try files.indexFile()
        func store(_ content: ByteBuffer, lists: Int) throws -> BlockReference {
            var position = 4
            for _ in 0..<lists {
                let count = content.load(at: position, as: UInt32.self)
                position += 4
                for _ in 0..<count {
                    if content.load(at: position, as: UInt32.self) == series {
                        content.replace(at: position, with: UInt32(1000))
                    }
                    position += 8
                }
            }
            let object = try IndexCodec.seal(content, level: 1)
            let reference = BlockReference(
                file: number, offset: sink.position, length: UInt64(object.count),
                hash: Checksum.xxh3(object))
            try sink.append(object)
            return reference
        }
        let stored = try files.open(file: full.snapshot.file)
        var reader = try IndexReader(
            IndexCodec.open(full.snapshot, in: stored), tag: "R", schema: ModelTable.schema,
            name: "x")
        var blocks = try reader.root()
        #expect(blocks.count == 4)
        for index in blocks.indices {
            blocks[index].reference = try store(
                IndexCodec.open(blocks[index].reference, in: stored), lists: 2)
        }
        return try store(IndexCodec.encodeRoot(blocks, schema: ModelTable.schema), lists: 1)
    }

    private func open(_ reference: BlockReference) -> Snapshot {
        Snapshot(
            reference, schema: ModelTable.schema,
            pool: FilePool(files, cache: SharedCache(maxBytes: 1 << 20)))
    }

    @Test(arguments: [(UInt32(3), "CSV"), (8, "Parquet")])
    func `what lacks the sizes of one format is shown in the other, and checked`(
        _ series: UInt32, _ format: String
    ) throws {
        let reference = try snapshot(without: series)
        func compare<File: RenderedFile>(_ make: (Snapshot) -> File, _ name: String) throws {
            let bytes = try make(open(full.snapshot)).whole()
            let file = make(open(reference))
            if name == format {
                let failure = #expect(throws: Failure.self) { try file.whole() }
                #expect(failure?.message.contains("no sizes as \(format)") == true)
            } else {
                #expect(try file.whole() == bytes)
            }
        }
        try compare(CSVFile.init, "CSV")
        try compare(ParquetFile.init, "Parquet")
        let pool = FilePool(files, cache: SharedCache(maxBytes: 1 << 20))
        let outcome = try TableAudit(pool) { _ in }.audit(reference, schema: ModelTable.schema)
        #expect(outcome.faults == [])
        #expect(outcome.contentHash == full.contentHash && outcome.rows == 300)
        // What changes would be counted without what doesn't: the next backup carries it whole.
        let changes = BatchCursor(rows, present: Array(repeating: false, count: rows.count))
        let failure = #expect(throws: Failure.self) {
            try IncrementalWriter.write(
                parent: open(reference), hash: full.contentHash, parentChanges: 0,
                changes: changes, table: "t", files: files, limits: FormatLimits())
        }
        #expect(failure?.code == .corrupt)
    }

    @Test func `what lacks the sizes of dumps goes on without, until it is written whole`() throws {
        var table = ModelTable()
        for row in 0..<rows.count {
            let key = rows.columns[0].value(row, as: Int64.self)
            table.rows[key] = (
                rows.columns[1].value(row, as: Int64.self), rows.columns[2].bytes(row)
            )
        }
        var limits = FormatLimits.tiny
        limits.rebaseMinEdits = 2
        var random = SeededGenerator(seed: 9)
        var reference = try snapshot(without: 9)
        var result = full
        var upkeep = Upkeep()
        for point in 0..<12 {
            files.endBackup()
            let touched = table.change(&random, space: 300, point: point, grows: true).sorted()
            let changed = RowBatch(ModelTable.schema)
            for key in touched {
                ModelTable.append(key, table.rows[key] ?? (0, nil), to: changed)
            }
            let changes = BatchCursor(changed, present: touched.map { table.rows[$0] != nil })
            let next = try IncrementalWriter.write(
                parent: open(reference), hash: result.contentHash, parentChanges: 10,
                changes: changes, table: "t", files: files, limits: limits)
            result = try #require(next)
            upkeep += result.upkeep
            reference = result.snapshot
            #expect(result.sizes.keys.sorted() == ["csv", "parquet"])
            #expect(try open(reference).sizes() == result.sizes)
            let csv = try CSVFile(open(reference)).whole()
            #expect(csv == table.csv)
            try files.expectSound(result, ModelTable.schema)
            let old = open(reference)
            let failure = #expect(throws: Failure.self) {
                try old.dumpFiles(old.dumpTable(), limit: 100)
            }
            #expect(failure?.message.contains("no sizes as dump") == true)
        }
        #expect(upkeep.rebased > 0 && upkeep.slicesInserted > 0)
        files.endBackup()
        let whole = try FullWriter.write(
            SnapshotCursor(open(reference)), schema: ModelTable.schema, table: "t", files: files,
            limits: limits)
        #expect(whole.sizes["dump"] == UInt64(table.dump.count))
        try open(whole.snapshot).expectDump(table.dump, &random)
    }

    @Test(arguments: [1, 2, 4, 5, 6, 7] as [UInt32])
    func `what lacks a number that every format needs is refused`(_ series: UInt32) throws {
        let reference = try snapshot(without: series)
        let failure = #expect(throws: Failure.self) { try CSVFile(open(reference)).whole() }
        #expect(failure?.code == .corrupt)
    }
}
