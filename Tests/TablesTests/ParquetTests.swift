import Bytes
import Tables
import TestSupport
import Testing

/// Stored row files are ordinary Parquet: pyarrow and DuckDB read from them what was written.
@Suite struct ParquetTests {
    /// The cells of rows for Python: a line a row, cells as hexadecimal digits, NULL as `-`.
    static func cells(_ rows: RowBatch) -> String {
        (0..<rows.count).map { row in
            rows.columns.map { column in
                if column.isNull(row) { return "-" }
                return "x"
                    + column.bytes(row).map {
                        String($0 >> 4, radix: 16) + String($0 & 15, radix: 16)
                    }.joined()
            }.joined(separator: " ")
        }.joined(separator: "\n")
    }

    /// Compares a Parquet file with cells; prints what each reader found. Arguments: file, cells,
    /// type names separated by blanks, index of the first column of the table.
    private static let program = """
        import sys, struct, decimal, datetime, uuid, math
        import pyarrow as pa, pyarrow.parquet as pq, duckdb
        path, cells, types, first = sys.argv[1], open(sys.argv[2]).read(), sys.argv[3].split(), int(sys.argv[4])
        def value(text, kind):
            if text == '-': return None
            b = bytes.fromhex(text[1:])
            if kind == 'Bool': return b[0] != 0
            if kind == 'Float': return struct.unpack('<f', b)[0]
            if kind == 'Double': return struct.unpack('<d', b)[0]
            if kind.startswith('Decimal'):
                scale = int(kind[:-1].split(',')[1])
                return decimal.Context(prec=60).scaleb(decimal.Decimal(int.from_bytes(b, 'big', signed=True)), -scale)
            if kind in ('Uuid', 'String', 'Yson'): return b
            if len(b) in (4, 8) and not kind.startswith(('Utf8', 'Json', 'pg', 'Tz', 'Dy')):
                return int.from_bytes(b, 'little', signed=not kind.startswith('Uint') and kind not in ('Date', 'Datetime', 'Timestamp'))
            return b.decode()
        want = [[value(c, k) for c, k in zip(line.split(' '), types)] for line in cells.split('\\n') if line]
        def plain(v):
            if isinstance(v, uuid.UUID): return v.bytes
            if isinstance(v, bytearray): return bytes(v)
            if isinstance(v, float) and math.isnan(v): return 'nan'
            return v
        def check(reader, rows):
            assert len(rows) == len(want), (reader, len(rows), len(want))
            for number, (row, wanted) in enumerate(zip(rows, want)):
                for column, (a, b) in enumerate(zip(row, wanted)):
                    a, b = plain(a), plain(b)
                    same = a == b and type(a) == type(b)
                    if same and isinstance(a, float): same = struct.pack('<d', a) == struct.pack('<d', b)
                    assert same, (reader, number, types[column], a, b)
        file = pq.ParquetFile(path, page_checksum_verification=True)
        table = file.read()
        columns = []
        for column in table.columns[first:first + len(types)]:
            if pa.types.is_timestamp(column.type):
                assert column.type == pa.timestamp('us', tz='UTC'), column.type
                column = column.cast(pa.int64())
            elif pa.types.is_date32(column.type): column = column.cast(pa.int32())
            columns.append([v.as_py() for chunk in column.chunks for v in chunk])
        check('pyarrow', list(zip(*columns)))
        names = duckdb.sql(f"select * from '{path}' limit 0").columns
        kinds = [str(t) for t in duckdb.sql(f"select * from '{path}' limit 0").types]
        def select(name, kind):
            if kind.startswith('TIMESTAMP'): return f'epoch_us("{name}")'
            if kind == 'DATE': return f'"{name}" - DATE \\'1970-01-01\\''
            return f'"{name}"'
        wanted = list(zip(names, kinds))
        picked = ', '.join(select(n, k) for n, k in wanted[first:first + len(types)])
        check('duckdb', duckdb.sql(f"select {picked} from '{path}'").fetchall())
        print(len(want), file.num_row_groups)
        if first:
            ops = duckdb.read_parquet(path).project(f'"{names[0]}", "{names[-1]}"').fetchall()
            print(' '.join(str(row[0]) for row in ops), ' '.join(str(row[-1]) for row in ops))
            assert table.column(0).to_pylist() == [row[0] for row in ops]
            assert table.columns[-1].to_pylist() == [row[-1] for row in ops]
            assert [names[0], names[-1]] == ['__ydbfs_op', '__ydb_incrBackupImpl_deleted'], names
        print(' '.join(sorted(k.decode() for k in file.metadata.metadata if k.startswith(b'ydbfs'))))
        ids = [file.schema_arrow.field(n).metadata[b'PARQUET:field_id'].decode() for n in names]
        print(' '.join(ids))
        """

    private static func read(
        _ file: MemoryObject, _ rows: RowBatch, _ schema: TableSchema, first: Int
    ) throws -> String {
        var report = ""
        try Python.withDirectory { directory in
            let bytes = ByteBuffer()
            try file.read(at: 0, count: Int(file.sizeBytes), into: bytes)
            try Python.write(bytes.array, to: directory + "/t.parquet")
            try Python.write([UInt8](cells(rows).utf8), to: directory + "/cells")
            report = try Python.run(
                program,
                [
                    directory + "/t.parquet", directory + "/cells",
                    schema.columns.map(\.type.name).joined(separator: " "), "\(first)",
                ], python: Python.withReaders)
        }
        return report
    }

    @Test func `pyarrow and DuckDB read fulls and runs of every type`() throws {
        var random = SeededGenerator(seed: 2026)
        let schema = try TableSchema(types: [.int64] + everyType)
        let draft = RowBatch(schema)
        // Keys 0, 10, 20 …, so that inserts can go between.
        let source = schema.randomRows(400, &random)
        for row in 0..<200 {
            draft.columns[0].append(Int64(row * 10))
            for column in draft.columns.indices.dropFirst() {
                draft.columns[column].append(source.columns[column], row: row)
            }
        }
        var limits = FormatLimits()
        limits.pageRows = 11
        limits.runPageRows = 4
        limits.runGroupRows = 8
        limits.rowGroupRows = 64
        let files = MemoryFiles()
        let full = try FullWriter.write(
            BatchCursor(draft), schema: schema, table: "orders", files: files, limits: limits)
        let ids = schema.columns.map { "\($0.id)" }.joined(separator: " ")
        let fullReport = try Self.read(#require(files.all[1]), draft, schema, first: 0)
        #expect(fullReport == "200 4\nydbfs.kind ydbfs.table\n\(ids)\n")

        files.endBackup()
        let known = Set(files.all.keys)
        let changed = RowBatch(schema)
        var present: [Bool] = []
        var operations: [Int] = []
        for row in 0..<90 {
            // By turns: an update of a key, an insert behind one, a deletion.
            let operation = row % 3
            changed.columns[0].append(Int64(row * 10 + (operation == 1 ? 5 : 0)))
            for column in changed.columns.indices.dropFirst() {
                if operation == 2 {
                    changed.columns[column].appendNull()
                } else {
                    changed.columns[column].append(source.columns[column], row: 199 - row)
                }
            }
            present.append(operation != 2)
            operations.append([2, 1, 3][operation])
        }
        let pool = FilePool(files, cache: SharedCache(maxBytes: 1 << 20))
        let result = try IncrementalWriter.write(
            parent: Snapshot(full.snapshot, schema: schema, pool: pool), hash: full.contentHash,
            parentChanges: 0, changes: BatchCursor(changed, present: present), table: "orders",
            files: files,
            limits: limits)
        #expect(result?.updated == 30 && result?.inserted == 30 && result?.deleted == 30)
        let run = try #require(
            files.all.filter { !known.contains($0.key) }.min { $0.key < $1.key }?.value)
        let lines = try Self.read(run, changed, schema, first: 1).split(separator: "\n")
        // 66 of the changes are in the first slice, at whose end a page of 2 rows ends.
        #expect(lines[0] == "90 11")
        let flags = operations.map { $0 == 3 ? "True" : "False" }.joined(separator: " ")
        #expect(lines[1] == "\(operations.map(String.init).joined(separator: " ")) \(flags)")
        #expect(lines[2] == "ydbfs.first_key ydbfs.kind ydbfs.last_key ydbfs.table")
        #expect(lines[3] == "1000001 \(ids) 1000002")
    }

    @Test(arguments: everyType) func `columns of NULLs only, and of none, are read`(
        type: ColumnType
    ) throws {
        var random = SeededGenerator(seed: 15)
        let schema = try TableSchema(types: [.int64, type, type])
        let rows = RowBatch(schema)
        for row in 0..<40 {
            rows.columns[0].append(Int64(row))
            rows.columns[1].appendNull()
            rows.columns[2].appendRandom(type, &random)
        }
        let files = MemoryFiles()
        _ = try FullWriter.write(
            BatchCursor(rows), schema: schema, table: "t", files: files, limits: FormatLimits())
        let report = try Self.read(#require(files.all[1]), rows, schema, first: 0)
        #expect(report.hasPrefix("40 1\n"))
    }
}
