import Bytes
import Tables
import TestSupport
import Testing

/// Rows of a table by their keys: old, new, and where they differ.
private struct Versions {
    let schema: TableSchema
    var old: [[UInt8]: (batch: RowBatch, row: Int)] = [:]
    var new: [[UInt8]: (batch: RowBatch, row: Int)] = [:]
    /// Of both, in order.
    var keys: [[UInt8]] = []

    init(_ schema: TableSchema, _ old: RowBatch, _ new: RowBatch) {
        self.schema = schema
        for row in 0..<old.count {
            self.old[NormalizedKey.of(old, row: row, schema: schema)] = (old, row)
        }
        for row in 0..<new.count {
            self.new[NormalizedKey.of(new, row: row, schema: schema)] = (new, row)
        }
        keys = Set(self.old.keys).union(self.new.keys).sorted(by: isBefore)
    }

    func isChanged(_ key: [UInt8]) -> Bool {
        guard let a = old[key], let b = new[key] else { return true }
        return !RowBatch.identical(a.batch, a.row, b.batch, b.row)
    }

    /// Ranges that hold every change, more or less closely, and some that hold none.
    func ranges(_ random: inout SeededGenerator) throws -> KeyRanges {
        var ranges = KeyRanges()
        // Keys that may be bounds, all behind the last range.
        var bounds: [[UInt8]?] = [nil]
        var index = 0
        while index < keys.count {
            defer { index += 1 }
            let wants = isChanged(keys[index]) || Int.random(in: 0..<20, using: &random) == 0
            if !wants {
                bounds.append(keys[index])
                continue
            }
            let lower =
                Bool.random(using: &random) ? bounds.last! : bounds.randomElement(using: &random)!
            var skipped = [0, 0, 1, 5].randomElement(using: &random)!
            while index < keys.count, isChanged(keys[index]) || skipped > 0 {
                if !isChanged(keys[index]) { skipped -= 1 }
                index += 1
            }
            let upper = index < keys.count ? keys[index] : nil
            try ranges.append(after: lower, before: upper)
            bounds = [upper]
        }
        return ranges
    }

    func rows(_ rows: [[UInt8]: (batch: RowBatch, row: Int)], in ranges: KeyRanges) -> RowBatch {
        let result = RowBatch(schema)
        for key in keys where ranges.contains(key) {
            if let (batch, row) = rows[key] { result.append(batch, row: row) }
        }
        return result
    }
}

/// Comparing inside ranges of keys, held against comparing by hand.
@Suite struct RangeDiffTests {
    private static func change(
        _ rows: RowBatch, _ schema: TableSchema, _ random: inout SeededGenerator
    ) -> RowBatch {
        let draft = RowBatch(schema)
        let rate = [2, 6, 40, 400].randomElement(using: &random)!
        for row in 0..<rows.count {
            let dice = Int.random(in: 0..<rate, using: &random)
            if dice == 0 { continue }
            draft.append(rows, row: row)
            if dice > 1 { continue }
            for (index, column) in schema.columns.enumerated() {
                if schema.key.contains(index) {
                    draft.columns[index].append(rows.columns[index], row: row)
                } else {
                    draft.columns[index].appendRandom(column.type, &random)
                }
            }
        }
        let fresh = schema.randomRows(rows.count / rate + 1, &random)
        draft.append(fresh, rows: 0..<fresh.count)
        return schema.sorted(draft)
    }

    /// What a diff says, read in small pieces.
    private static func read(
        _ diff: Diff, _ schema: TableSchema
    ) throws -> (rows: RowBatch, present: [Bool]) {
        let rows = RowBatch(schema)
        var present: [Bool] = []
        var more = true
        while more {
            let batch = RowBatch(schema)
            more = try diff.next(into: batch, present: &present, maxRows: 3, maxBytes: 1 << 20)
            rows.append(batch, rows: 0..<batch.count)
        }
        return (rows, present)
    }

    private static func history(_ schema: TableSchema, rows count: Int, seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        var limits = ChainTests.tiny
        if seed % 3 == 1 { (limits.rowGroupRows, limits.blockSlices) = (40, 8) }
        if seed % 3 == 2 { limits.rebaseMinEdits = 1000 }
        let files = MemoryFiles()
        let pool = FilePool(files, cache: SharedCache(maxBytes: seed % 2 == 0 ? 1 << 20 : 2000))
        var rows = schema.randomRows(count, &random)
        var result = try FullWriter.write(
            BatchCursor(rows), schema: schema, table: "t", files: files, limits: limits)
        for _ in 0..<6 {
            files.endBackup()
            let next = change(rows, schema, &random)
            let versions = Versions(schema, rows, next)
            let ranges = try versions.ranges(&random)
            let inside = versions.rows(versions.old, in: ranges)
            let scope = Diff.Scope(ranges, unchangedRows: UInt64(rows.count - inside.count))
            let parent = Snapshot(result.snapshot, schema: schema, pool: pool)
            let live = versions.rows(versions.new, in: ranges)
            let diff = {
                try Diff(
                    parent: parent, live: StutteringCursor(live, seed: seed), table: "t",
                    scope: scope, progress: { _ in })
            }
            let found = try read(diff(), schema)
            let changed = versions.keys.filter(versions.isChanged)
            #expect(changed.allSatisfy(ranges.contains))
            #expect(found.present == changed.map { versions.new[$0] != nil })
            let foundKeys = (0..<found.rows.count).map {
                NormalizedKey.of(found.rows, row: $0, schema: schema)
            }
            #expect(foundKeys == changed)
            // Nothing but deletions: all that the parent has in the ranges.
            let gone = try read(
                Diff(
                    parent: parent, live: BatchCursor(RowBatch(schema)), table: "t", scope: scope,
                    progress: { _ in }), schema)
            #expect(RowBatch.same(gone.rows, inside))
            result =
                try IncrementalWriter.write(
                    parent: parent, hash: result.contentHash, parentChanges: result.changes,
                    changes: diff(), table: "t", files: files, limits: limits) ?? result
            rows = next
            #expect(result.contentHash == RowHasher(schema).hash(rows))
        }
        try files.expectSound(result, schema)
    }

    @Test(arguments: 0..<40) func `changes inside of ranges are those of the whole`(seed: Int)
        throws
    {
        try Self.history(TableSchema(types: [.int64, .utf8]), rows: 200, seed: seed)
    }

    @Test(arguments: 0..<20) func `ranges of keys of any types`(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let types = (0..<Int.random(in: 1...4, using: &random)).map { _ in
            everyType.randomElement(using: &random)!
        }
        let keys = Int.random(in: 1...types.count, using: &random)
        try Self.history(TableSchema(types: types, keys: keys), rows: 60, seed: seed)
    }

    @Test func `rows outside of the ranges and wrong counts are found`() throws {
        let schema = ModelTable.schema
        let files = MemoryFiles()
        var model = ModelTable()
        for key in 1...100 { model.rows[Int64(key)] = (Int64(key), nil) }
        let result = try FullWriter.write(
            BatchCursor(model.batch), schema: schema, table: "t", files: files, limits: .tiny)
        let pool = FilePool(files, cache: SharedCache(maxBytes: 1 << 20))
        let parent = Snapshot(result.snapshot, schema: schema, pool: pool)
        let keys = (0..<100).map { NormalizedKey.of(model.batch, row: $0, schema: schema) }
        var ranges = KeyRanges()
        // Rows 21…29 and 91…100.
        try ranges.append(after: keys[19], before: keys[29])
        try ranges.append(after: keys[89], before: nil)
        func diff(_ live: [Int], unchanged: UInt64) throws {
            let rows = RowBatch(schema)
            for row in live { rows.append(model.batch, row: row - 1) }
            let diff = try Diff(
                parent: parent, live: BatchCursor(rows), table: "t",
                scope: Diff.Scope(ranges, unchangedRows: unchanged), progress: { _ in })
            _ = try Self.read(diff, schema)
        }
        try diff(Array(21...29) + Array(91...100), unchanged: 81)
        try diff([21, 100], unchanged: 81)
        for (live, unchanged) in [
            ([21, 100], 80), ([21, 100], 82), ([21, 100], 101), ([], 0), ([20, 21], 81),
            ([21, 30], 81), ([21, 50, 100], 81), ([1], 81), ([90, 91], 81),
        ] as [([Int], UInt64)] {
            #expect(throws: DoubtfulChanges.self) { try diff(live, unchanged: unchanged) }
        }
    }

    @Test func `few ranges in a large table read few pages`() throws {
        let schema = ModelTable.schema
        let files = MemoryFiles()
        let rows = RowBatch(schema)
        for key in 0..<100_000 as Range<Int64> { ModelTable.append(key, (key, nil), to: rows) }
        var limits = FormatLimits()
        (limits.pageRows, limits.rowGroupRows, limits.blockSlices) = (100, 3200, 4)
        let result = try FullWriter.write(
            BatchCursor(rows), schema: schema, table: "t", files: files, limits: limits)
        func pages(of places: [Int], width: Int) throws -> UInt64 {
            let pool = FilePool(files, cache: SharedCache(maxBytes: 1 << 20))
            let parent = Snapshot(result.snapshot, schema: schema, pool: pool)
            var ranges = KeyRanges()
            let live = RowBatch(schema)
            for place in places {
                let key = { NormalizedKey.of(rows, row: $0, schema: schema) }
                try ranges.append(after: key(place), before: key(place + width))
                live.append(rows, rows: place + 1..<place + width)
            }
            let scope = Diff.Scope(ranges, unchangedRows: UInt64(rows.count - live.count))
            let diff = try Diff(
                parent: parent, live: BatchCursor(live), table: "t", scope: scope,
                progress: { _ in })
            #expect(try Self.read(diff, schema).rows.count == 0)
            // In columns: each page has three.
            return pool.figures.pagesDecoded
        }
        #expect(try pages(of: [], width: 0) == 0)
        // Two pages at most, and key columns on the way to them.
        #expect(try pages(of: [50_000], width: 20) <= 2 * 3 + 12)
        #expect(
            try pages(of: Array(stride(from: 50, to: 99_900, by: 10_000)), width: 20) <= 10 * 15)
        // Everywhere: each page once, no more.
        let everywhere = try pages(of: Array(stride(from: 5, to: 99_990, by: 20)), width: 9)
        #expect(everywhere == 1000 * 3)
        // A stretch of many pages is found by its ends.
        #expect(try pages(of: [10_050], width: 20_000) <= 201 * 3 + 24)
    }
}
