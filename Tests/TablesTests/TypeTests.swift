import Bytes
import Tables
import TestSupport
import Testing

/// Fulls and incrementals of tables of every type, read back as rows and as CSV.
@Suite struct TypeTests {
    /// Applies one incremental to a table in the simplest way.
    private static func change(
        _ rows: RowBatch, schema: TableSchema, _ random: inout SeededGenerator
    ) -> (rows: RowBatch, touched: RowBatch, present: [Bool]) {
        let draft = RowBatch(schema)
        for row in 0..<rows.count { draft.append(rows, row: row) }
        // New rows and new values of old keys: whatever comes later wins in `sorted`.
        let fresh = schema.randomRows(12, &random)
        for row in 0..<fresh.count { draft.append(fresh, row: row) }
        for row in 0..<rows.count where Int.random(in: 0..<6, using: &random) == 0 {
            for (index, column) in schema.columns.enumerated() {
                if schema.key.contains(index) {
                    draft.columns[index].append(rows.columns[index], row: row)
                } else {
                    draft.columns[index].appendRandom(column.type, &random)
                }
            }
        }
        let all = schema.sorted(draft)
        let kept = RowBatch(schema)
        let gone = RowBatch(schema)
        for row in 0..<all.count {
            (Int.random(in: 0..<8, using: &random) == 0 ? gone : kept).append(all, row: row)
        }
        // Every key of before and now is named as touched, changed or not.
        let names = RowBatch(schema)
        for row in 0..<kept.count { names.append(kept, row: row) }
        for row in 0..<gone.count { names.append(gone, row: row) }
        let touched = schema.sorted(names)
        let keys = Set((0..<kept.count).map { NormalizedKey.of(kept, row: $0, schema: schema) })
        let present = (0..<touched.count).map {
            keys.contains(NormalizedKey.of(touched, row: $0, schema: schema))
        }
        return (kept, touched, present)
    }

    private static func check(
        _ result: TableResult, _ rows: RowBatch, schema: TableSchema, files: MemoryFiles,
        _ comment: Comment
    ) throws {
        // A cache too small for anything, so that all comes from the files.
        let pool = FilePool(files, cache: SharedCache(maxBytes: 0))
        let snapshot = Snapshot(result.snapshot, schema: schema, pool: pool)
        let expected = ByteBuffer()
        let renderer = CSVRenderer(schema)
        expected.append(renderer.header)
        renderer.render(rows, 0..<rows.count, into: expected)
        #expect(try CSVFile(snapshot).whole() == expected.array, comment)
        var random = SeededGenerator(seed: 5)
        try snapshot.expectParquet(rows, bytes: result.sizes["parquet"]!, &random)
        #expect(result.sizes["csv"] == UInt64(expected.count), comment)
        #expect(result.sums.rows == UInt64(rows.count), comment)
        #expect(result.contentHash == RowHasher(schema).hash(rows), comment)
        // A diff against the very rows finds nothing, so every value is there bit for bit.
        let diff = try Diff(
            parent: snapshot, live: StutteringCursor(rows, seed: 1), table: "t", progress: { _ in })
        let output = RowBatch(schema)
        var present: [Bool] = []
        #expect(try !diff.next(into: output, present: &present, maxRows: 1000, maxBytes: 1 << 20))
        #expect(output.count == 0, comment)
    }

    private static func history(_ schema: TableSchema, seed: Int, comment: Comment) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        var limits = ChainTests.tiny
        limits.pageRows = 5
        let files = MemoryFiles()
        var rows = schema.randomRows(40, &random)
        var result = try FullWriter.write(
            StutteringCursor(rows, seed: seed), schema: schema, table: "t", files: files,
            limits: limits)
        try check(result, rows, schema: schema, files: files, comment)
        for point in 0..<4 {
            files.endBackup()
            let pool = FilePool(files, cache: SharedCache(maxBytes: 1 << 16))
            let parent = Snapshot(result.snapshot, schema: schema, pool: pool)
            let next = change(rows, schema: schema, &random)
            let changes: any ChangeCursor =
                point % 2 == 0
                ? BatchCursor(next.touched, present: next.present)
                : try Diff(
                    parent: parent, live: BatchCursor(next.rows), table: "t", progress: { _ in })
            result =
                try IncrementalWriter.write(
                    parent: parent, hash: result.contentHash, parentChanges: result.changes,
                    changes: changes, table: "t", files: files, limits: limits) ?? result
            rows = next.rows
            try check(result, rows, schema: schema, files: files, comment)
        }
    }

    @Test(arguments: everyType) func `a column of any type survives a chain`(type: ColumnType)
        throws
    {
        try Self.history(
            TableSchema(types: [.int64, type, type]), seed: 1, comment: "\(type.name)")
    }

    @Test(arguments: everyType) func `a key of any type survives a chain`(type: ColumnType) throws {
        try Self.history(
            TableSchema(types: [type, .utf8]), seed: 2, comment: "key \(type.name)")
        try Self.history(TableSchema(types: [type]), seed: 3, comment: "only \(type.name)")
    }

    @Test(arguments: 0..<40) func `composite keys survive a chain`(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let types = (0..<Int.random(in: 2...5, using: &random)).map { _ in
            everyType.randomElement(using: &random)!
        }
        var schema = try TableSchema(types: types)
        schema.key = Array(
            Array(types.indices).shuffled(using: &random).prefix(
                Int.random(in: 2...types.count, using: &random)))
        try Self.history(schema, seed: seed, comment: "seed \(seed)")
    }

    @Test func `types have names that read back`() throws {
        for type in everyType { #expect(try ColumnType(name: type.name) == type) }
        for name in [
            "", "int64", "Decimal(36,1)", "Decimal(5,6)", "Decimal(x)", "Decimal()", "Set",
        ] {
            #expect(throws: Failure.self) { try ColumnType(name: name) }
        }
    }
}
