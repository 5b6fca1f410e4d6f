import Bytes
import Tables
import TestSupport
import Testing

@Suite struct SnapshotDiffTests {
    private static func limits(_ seed: Int) -> FormatLimits {
        if seed % 7 == 6 { return FormatLimits() }
        var limits = ChainTests.tiny
        if seed % 3 == 1 { limits.rebaseMinEdits = 1000 }
        if seed % 3 == 2 { (limits.rowGroupRows, limits.blockSlices) = (40, 8) }
        return limits
    }

    /// So little memory that runs are stored and merged.
    private static var smallSorts: SortLimits {
        var limits = SortLimits()
        (limits.runBytes, limits.recordBytes, limits.mergedRuns) = (400, 64, 3)
        return limits
    }

    @Test(arguments: 0..<45)
    func `every diff of every pair of points is that of plain values`(seed: Int) throws {
        let history = try ModelHistory(seed: seed, limits: Self.limits(seed), points: 9)
        let pool = FilePool(history.files, cache: SharedCache(maxBytes: 1 << 18))
        let points = history.points.indices.map(Int?.some) + [nil]
        for old in points {
            for new in points where old != nil || new != nil {
                let diff = try SnapshotDiff(
                    old: old.map { history.snapshot($0, pool) },
                    new: new.map { history.snapshot($0, pool) },
                    limits: seed % 2 == 0 ? SortLimits() : Self.smallSorts, checkpoint: {})
                let rows = try ChangesCursor(diff)
                let file = MemoryObject()
                try ChangeFiles.writeCSV(rows, schema: rows.schema, to: file)
                let model = ModelDiff(
                    old.map { history.points[$0] }, new.map { history.points[$0] })
                let lines = file.text.split(separator: "\n", omittingEmptySubsequences: false)
                #expect(
                    lines.dropLast().map(String.init) == model.lines, "\(old ?? -1) to \(new ?? -1)"
                )
                #expect(rows.counts == model.counts)
            }
        }
    }

    @Test(arguments: 0..<10) func `changed rows are a Parquet file like any other`(seed: Int) throws
    {
        let history = try ModelHistory(seed: seed, limits: Self.limits(seed), points: 6)
        let pool = FilePool(history.files, cache: SharedCache(maxBytes: 1 << 18))
        for (old, new) in [(0, 5), (5, 0), (3, 3)] {
            func cursor() throws -> ChangesCursor {
                try ChangesCursor(
                    SnapshotDiff(
                        old: history.snapshot(old, pool), new: history.snapshot(new, pool),
                        checkpoint: {}))
            }
            let rows = try cursor()
            let all = RowBatch(rows.schema)
            while try rows.next(into: all, maxRows: all.count + 7, maxBytes: .max) {}
            let file = MemoryObject()
            try ChangeFiles.writeParquet(cursor(), schema: rows.schema, to: file)
            var reader = try ParquetReader(file.bytes)
            try reader.read(rows.schema)
            #expect(reader.rows == all.count)
            for (index, column) in rows.schema.columns.enumerated() {
                let expected = ParquetReader.converted(all.columns[index], column.type)
                #expect(
                    (0..<all.count).allSatisfy {
                        ColumnVector.identical(expected, $0, reader.columns[index], $0)
                    })
            }
        }
    }

    // MARK: Cost

    /// A chain whose points change a few rows of thousands.
    private static func chain(
        _ changes: [[Int64: ModelTable.Row?]], _ limits: FormatLimits, files: MemoryFiles
    ) throws -> [TableResult] {
        var model = ModelTable()
        for key in 0..<Int64(4000) { model.rows[key] = (key, [UInt8]("row \(key)".utf8)) }
        var results = [
            try FullWriter.write(
                BatchCursor(model.batch), schema: ModelTable.schema, table: "t", files: files,
                limits: limits)
        ]
        for change in changes {
            files.endBackup()
            for (key, row) in change { model.rows[key] = row }
            let parent = Snapshot(
                results.last!.snapshot, schema: ModelTable.schema,
                pool: FilePool(files, cache: SharedCache(maxBytes: 1 << 20)))
            let diff = try Diff(parent: parent, live: BatchCursor(model.batch), table: "t") { _ in }
            results.append(
                try IncrementalWriter.write(
                    parent: parent, hash: results.last!.contentHash,
                    parentChanges: results.last!.changes, changes: diff, table: "t", files: files,
                    limits: limits)!)
        }
        return results
    }

    @Test func `a diff decodes what differs and nothing else`() throws {
        var limits = FormatLimits()
        (limits.pageRows, limits.rowGroupRows, limits.blockSlices) = (16, 64, 4)
        let files = MemoryFiles()
        let text = { (text: String) in [UInt8](text.utf8) }
        // Each point but the last two changes rows of other pages.
        let results = try Self.chain(
            [
                [100: (1, text("one")), 2000: (2, text("two"))], [3000: .none],
                [2000: (3, text("three"))],
                Dictionary(uniqueKeysWithValues: (5000..<5100).map { ($0, (1, nil)) }),
            ], limits, files: files)
        func decoded(_ old: Int, _ new: Int) throws -> (changes: ChangeCounts, pages: UInt64) {
            let pool = FilePool(files, cache: SharedCache(maxBytes: 1 << 24))
            let points = [old, new].map {
                Snapshot(results[$0].snapshot, schema: ModelTable.schema, pool: pool)
            }
            let rows = try ChangesCursor(
                SnapshotDiff(old: points[0], new: points[1], checkpoint: {}))
            try ChangeFiles.writeCSV(rows, schema: rows.schema, to: CountingSink())
            return (rows.counts, pool.figures.pagesDecoded)
        }
        // A page of three columns for each base row that was replaced, and the page of the run.
        #expect(try decoded(0, 1).pages == 3 * 3)
        #expect(try decoded(1, 0).pages == 3 * 3)
        #expect(try decoded(1, 2).pages == 3)
        // Both rows are those of runs.
        #expect(try decoded(2, 3).pages == 2 * 3)
        #expect(try decoded(0, 3).pages == 3 * 3 + 2 * 3)
        #expect(try decoded(0, 3).changes.updated == 2)
        // All new rows lie in one page of the run.
        #expect(try decoded(3, 4).changes.inserted == 100)
        #expect(try decoded(3, 4).pages == 3)
        for point in 0...4 { #expect(try decoded(point, point).pages == 0) }
    }

    @Test func `a column that is new or gone is found in the index alone`() throws {
        let files = MemoryFiles()
        let result = try Self.chain([], ChainTests.tiny, files: files)[0]
        files.endBackup()
        var wide = ModelTable.schema
        wide.columns.append(
            Column(id: 4, name: "new", type: .utf8, standIn: StandIn(bytes: [120])))
        var narrow = ModelTable.schema
        narrow.columns.removeLast()
        let snapshot = { (result: TableResult, schema: TableSchema, pool: FilePool) in
            Snapshot(result.snapshot, schema: schema, pool: pool)
        }
        let make = { () in FilePool(files, cache: SharedCache(maxBytes: 1 << 24)) }
        for schema in [wide, narrow] {
            let other = try Reprojection.write(
                snapshot(result, ModelTable.schema, make()), as: schema, files: files,
                limits: ChainTests.tiny)
            let pool = make()
            let diff = try SnapshotDiff(
                old: snapshot(result, ModelTable.schema, pool), new: snapshot(other, schema, pool),
                checkpoint: {})
            #expect(try diff.next() == nil && pool.figures.pagesDecoded == 0)
            // The other way round the column that is gone comes back, with a value in every row.
            let back = try ChangesCursor(
                SnapshotDiff(
                    old: snapshot(other, schema, pool),
                    new: snapshot(result, ModelTable.schema, pool),
                    checkpoint: {}))
            try ChangeFiles.writeCSV(back, schema: back.schema, to: CountingSink())
            #expect(back.counts.updated == (schema == narrow ? 4000 : 0))
        }
    }

    @Test func `a diff is stopped wherever it is`() throws {
        let history = try ModelHistory(seed: 1, limits: ChainTests.tiny, points: 4)
        struct Stopped: Error {}
        for steps in 0..<3 {
            let pool = FilePool(history.files, cache: SharedCache(maxBytes: 1 << 18))
            var left = steps
            #expect(throws: Stopped.self) {
                let diff = try SnapshotDiff(old: nil, new: history.snapshot(0, pool)) {
                    if left == 0 { throw Stopped() }
                    left -= 1
                }
                while try diff.next() != nil {}
            }
        }
    }
}

extension MemoryObject {
    var bytes: [UInt8] {
        let buffer = ByteBuffer(capacity: max(Int(sizeBytes), 1))
        try! read(at: 0, count: Int(sizeBytes), into: buffer)
        return buffer.array
    }

    var text: String { String(decoding: bytes, as: UTF8.self) }
}
