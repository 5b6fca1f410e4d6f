import Bytes
import Tables
import TestSupport
import Testing

/// Other people's readers on the Parquet files that points show: pyarrow (by reads and by memory
/// map), DuckDB, Polars and DataFusion see the rows that are there.
@Suite struct ReaderTests {
    /// Checks every `NAME.parquet` of a folder against `NAME.cells` (as `ParquetTests.cells` has
    /// them) and `NAME.types`. Prints rows and row groups of each.
    private static let program = """
        import sys, struct, decimal, math, glob, datetime, uuid
        import pyarrow as pa, pyarrow.compute as pc, pyarrow.dataset as ds, pyarrow.parquet as pq
        import duckdb, polars as pl, datafusion
        duckdb.sql("SET TimeZone = 'UTC'")

        def value(text, kind):
            if text == '-': return None
            b = bytes.fromhex(text[1:])
            if kind == 'Bool': return b[0] != 0
            if kind == 'Float': return struct.unpack('<f', b)[0]
            if kind == 'Double': return struct.unpack('<d', b)[0]
            if kind.startswith('Decimal'):
                scale = int(kind[:-1].split(',')[1])
                whole = decimal.Decimal(int.from_bytes(b, 'big', signed=True))
                return decimal.Context(prec=60).scaleb(whole, -scale)
            if kind == 'Uuid': return str(uuid.UUID(bytes=b))
            if kind in ('String', 'Yson'): return b
            if kind in ('Datetime', 'Datetime64'):
                return int.from_bytes(b, 'little', signed=kind == 'Datetime64') * 1000
            if kind.startswith(('Utf8', 'Json', 'pg', 'Tz', 'Dy')): return b.decode()
            unsigned = kind.startswith('Uint') or kind in ('Date', 'Timestamp')
            return int.from_bytes(b, 'little', signed=not unsigned)

        def same(a, b):
            if isinstance(a, bytearray): a = bytes(a)
            if type(a) != type(b): return False
            if isinstance(a, float): return struct.pack('<d', a) == struct.pack('<d', b) or a != a and b != b
            return a == b

        def check(reader, columns, want, types):
            assert len(columns) == len(types), (reader, len(columns))
            for column, (got, kind) in enumerate(zip(columns, types)):
                wanted = want[column]
                assert len(got) == len(wanted), (reader, kind, len(got), len(wanted))
                for row, (a, b) in enumerate(zip(got, wanted)):
                    assert same(a, b), (reader, column, kind, row, a, b)

        def arrow(table):
            result = []
            for column in table.columns:
                if pa.types.is_timestamp(column.type):
                    assert column.type.tz in ('UTC', '+00:00'), column.type
                    column = column.cast(pa.int64())
                elif pa.types.is_date(column.type): column = column.cast(pa.int32())
                result.append(column.to_pylist())
            return result

        def ducks(path, names):
            kinds = [str(t) for t in duckdb.sql(f"select * from '{path}' limit 0").types]
            def select(name, kind, wanted):
                if kind.startswith('TIMESTAMP'):
                    return f'epoch_{"ms" if wanted.startswith("Datetime") else "us"}("{name}")'
                if kind == 'DATE': return f'"{name}" - DATE \\'1970-01-01\\''
                return f'"{name}"'
            picked = ', '.join(select(*each) for each in zip(names, kinds, types))
            rows = duckdb.sql(f"select {picked} from '{path}'").fetchall()
            return [list(column) for column in zip(*rows)] if rows else [[] for _ in names]

        def bears(frame):
            result = []
            for column in frame.get_columns():
                if isinstance(column.dtype, pl.Datetime): column = column.cast(pl.Int64)
                elif column.dtype == pl.Date: column = column.cast(pl.Int32)
                result.append(column.to_list())
            return result

        def fusion(path, query='select * from t'):
            context = datafusion.SessionContext()
            context.register_parquet('t', path)
            frame = context.sql(query)
            batches = frame.collect()
            return pa.Table.from_batches(batches, schema=batches[0].schema if batches else frame.schema())

        def plain(scalar):
            # A bound to ask for, if Python can hold it.
            try: return scalar.as_py()
            except (ValueError, OverflowError, ModuleNotFoundError): return None

        def ranges(path, table, file):
            # Asks for ranges of the first column with and without statistics.
            column = table.column(0)
            rows = len(column)
            for i, j in ((0, 0), (rows // 3, rows // 2), (rows - 1, rows - 1), (0, rows - 1)):
                low, high = column[i], column[j]
                if not low.is_valid or not high.is_valid or pa.types.is_boolean(column.type): continue
                test = (ds.field('c0') >= low) & (ds.field('c0') <= high)
                wanted = table.filter(test).num_rows
                assert pq.read_table(path, filters=test).num_rows == wanted, (path, 'pyarrow', low, high)
                fragment = next(ds.dataset(path).get_fragments())
                groups = len(list(fragment.split_by_row_group(test)))
                if i == j and bounded(file): assert groups <= 2, (path, groups)
                a, b = plain(low), plain(high)
                if a is None or b is None: continue
                if isinstance(a, float) and (a != a or b != b): continue
                found = duckdb.execute(f"select count(*) from '{path}' where c0 between ? and ?", [a, b]).fetchall()[0][0]
                if not isinstance(a, (bytes, float, decimal.Decimal)):
                    assert found == wanted, (path, 'duckdb', a, b, found, wanted)
                field = pl.col('c0').is_between(pl.lit(a), pl.lit(b))
                try: memory = pl.read_parquet(path).filter(field).height
                except pl.exceptions.PolarsError: continue
                assert pl.scan_parquet(path).filter(field).collect().height == memory, (path, 'polars', a, b)

        def bounded(file):
            return all(file.metadata.row_group(g).column(0).statistics.has_min_max for g in range(file.num_row_groups))

        def extremes(path, table, kind):
            # Aggregates that readers answer from statistics alone.
            if kind in ('Bool', 'Float', 'Double'): return
            column = table.column(0)
            low, high = pc.min_max(column)['min'], pc.min_max(column)['max']
            got = fusion(path, 'select min(c0), max(c0), count(*) from t')
            assert got.column(2)[0].as_py() == len(column)
            assert got.column(0)[0].cast(low.type).equals(low) and got.column(1)[0].cast(low.type).equals(high), (path, got)
            duck = duckdb.sql(f"select count(*) from '{path}' where c0 = (select min(c0) from '{path}') or c0 = (select max(c0) from '{path}')").fetchall()[0][0]
            same = pc.sum(pc.cast(pc.or_(pc.equal(column, low), pc.equal(column, high)), pa.int64())).as_py()
            assert duck == same, (path, duck, same)

        for path in sorted(glob.glob(sys.argv[1] + '/*.parquet')):
            types = open(path[:-8] + '.types').read().split()
            lines = open(path[:-8] + '.cells').read().split('\\n')
            rows = [[value(c, k) for c, k in zip(line.split(' '), types)] for line in lines if line]
            want = [[row[i] for row in rows] for i in range(len(types))]
            names = [f'c{i}' for i in range(len(types))]
            file = pq.ParquetFile(path)
            assert file.schema_arrow.names == names
            assert file.metadata.num_rows == len(rows)
            table = file.read()
            table.validate(full=True)
            check('pyarrow', arrow(table), want, types)
            check('pyarrow mapped', arrow(pq.read_table(path, memory_map=True)), want, types)
            last = pq.read_table(path, columns=names[-1:])
            check('pyarrow column', arrow(last), want[-1:], types[-1:])
            check('duckdb', ducks(path, names), want, types)
            check('polars', bears(pl.read_parquet(path)), want, types)
            check('polars lazy', bears(pl.scan_parquet(path).select(names[-1]).collect()), want[-1:], types[-1:])
            check('datafusion', arrow(fusion(path)), want, types)
            for g in range(file.num_row_groups):
                for c in range(len(types)):
                    statistics = file.metadata.row_group(g).column(c).statistics
                    assert statistics.has_null_count and statistics.has_min_max <= (c == 0)
            if rows:
                ranges(path, table, file)
                extremes(path, table, types[0])
            print(len(rows), file.num_row_groups, int(bool(rows) and bounded(file)))
        """

    /// A file to be checked, and what must be in it.
    private struct Case {
        var name: String
        var schema: TableSchema
        var rows: RowBatch
        var file: ParquetFile
    }

    private static func full(
        _ name: String, _ rows: RowBatch, _ schema: TableSchema, limits: FormatLimits
    ) throws -> (Case, TableResult, MemoryFiles, FilePool) {
        let files = MemoryFiles()
        let result = try FullWriter.write(
            BatchCursor(rows), schema: schema, table: "t", files: files, limits: limits)
        let pool = FilePool(files, cache: SharedCache(maxBytes: 64 << 20))
        let file = ParquetFile(Snapshot(result.snapshot, schema: schema, pool: pool))
        return (Case(name: name, schema: schema, rows: rows, file: file), result, files, pool)
    }

    /// Lets all readers look at the cases; answers what they found of each, in the order of names.
    private static func check(_ cases: [Case]) throws -> [String] {
        var report = ""
        try Python.withDirectory { directory in
            for item in cases {
                let path = directory + "/" + item.name
                try Python.write(item.file.whole(), to: path + ".parquet")
                try Python.write([UInt8](ParquetTests.cells(item.rows).utf8), to: path + ".cells")
                let types = item.schema.columns.map(\.type.name).joined(separator: " ")
                try Python.write([UInt8](types.utf8), to: path + ".types")
            }
            report = try Python.run(program, [directory], python: Python.withReaders)
        }
        return report.split(separator: "\n").map(String.init)
    }

    private static var small: FormatLimits {
        var limits = FormatLimits()
        limits.pageRows = 11
        limits.runPageRows = 4
        limits.runGroupRows = 8
        limits.rowGroupRows = 64
        return limits
    }

    @Test func `a full of every type, and a point with edits in all pages`() throws {
        var random = SeededGenerator(seed: 2027)
        let schema = try TableSchema(types: [.int64] + everyType)
        let source = schema.randomRows(400, &random)
        func row(_ number: Int, key: Int, in batch: RowBatch, isPresent: Bool = true) {
            batch.columns[0].append(Int64(key))
            for column in batch.columns.indices.dropFirst() {
                if isPresent {
                    batch.columns[column].append(source.columns[column], row: number)
                } else {
                    batch.columns[column].appendNull()
                }
            }
        }
        let base = RowBatch(schema)
        for number in 0..<200 { row(number, key: number * 10, in: base) }
        let (first, result, files, pool) = try Self.full("full", base, schema, limits: Self.small)
        files.endBackup()
        // By turns: an update, an insert behind, a deletion; the rest stays.
        let changed = RowBatch(schema)
        let after = RowBatch(schema)
        var present: [Bool] = []
        for number in 0..<200 {
            switch number % 7 {
            case 0: row(source.count - 1 - number, key: number * 10, in: changed)
            case 1:
                after.append(base, row: number)
                row(source.count - 1 - number, key: number * 10 + 5, in: changed)
            case 2: row(0, key: number * 10, in: changed, isPresent: false)
            default:
                after.append(base, row: number)
                continue
            }
            present.append(number % 7 != 2)
            if number % 7 != 2 { after.append(changed, row: changed.count - 1) }
        }
        let next = try #require(
            try IncrementalWriter.write(
                parent: Snapshot(result.snapshot, schema: schema, pool: pool),
                hash: result.contentHash, parentChanges: 0,
                changes: BatchCursor(changed, present: present),
                table: "t", files: files, limits: Self.small))
        let second = Case(
            name: "point", schema: schema, rows: after,
            file: ParquetFile(Snapshot(next.snapshot, schema: schema, pool: pool)))
        #expect(try Self.check([first, second]) == ["200 4 1", "\(after.count) 4 1"])
    }

    @Test func `keys of every type: what statistics promise is true`() throws {
        var random = SeededGenerator(seed: 99)
        var cases: [Case] = []
        for (index, type) in everyType.enumerated() {
            for hasNulls in [false, true] {
                let schema = try TableSchema(types: [type, .int64], keys: hasNulls ? 2 : 1)
                let rows = schema.randomRows(150, &random, nulls: 20, nullKeys: hasNulls)
                let name = "\(100 + index)-\(hasNulls)"
                cases.append(try Self.full(name, rows, schema, limits: Self.small).0)
            }
        }
        let report = try Self.check(cases)
        #expect(report.count == cases.count)
        for (item, line) in zip(cases, report) where item.schema.key.count == 1 {
            // Random floats include what is no bound.
            if [.float, .double].contains(item.schema.columns[0].type) { continue }
            #expect(line.hasSuffix(" 1"), "\(item.schema.columns[0].type.name): \(line)")
        }
    }

    @Test func `empty, wide and long`() throws {
        var random = SeededGenerator(seed: 5)
        let plain = try TableSchema(types: [.int64] + everyType)
        let wide = try TableSchema(
            types: [.int64] + (0..<1000).map { everyType[$0 % everyType.count] })
        var limits = Self.small
        limits.pageRows = 1
        limits.rowGroupRows = 2
        limits.blockSlices = 3
        let wideRows = wide.randomRows(40, &random)
        let text = try TableSchema(types: [.utf8, .string, .utf8])
        let long = RowBatch(text)
        for (index, count) in [0, 1, 64, 65, 3_000_000].enumerated() {
            let bytes = [UInt8](repeating: UInt8(ascii: "a") + UInt8(index), count: count)
            long.columns[0].append(bytes: bytes)
            long.columns[1].append(bytes: [UInt8](repeating: 0xFF, count: count))
            if index % 2 == 0 {
                long.columns[2].appendNull()
            } else {
                long.columns[2].append(text: "")
            }
        }
        let report = try Self.check([
            Self.full("1-empty", RowBatch(plain), plain, limits: Self.small).0,
            Self.full("2-wide", wideRows, wide, limits: limits).0,
            Self.full("3-long", long, text, limits: FormatLimits()).0,
            Self.full("4-short", text.sorted(long), text, limits: limits).0,
        ])
        // A file of 1,001 columns has at most eight row groups, so its slices are put together.
        let slices = (wideRows.count + 1) / 2
        #expect(slices > 8)
        let together = (slices + 7) / 8
        let groups = (slices + together - 1) / together
        #expect(report == ["0 0 0", "\(wideRows.count) \(groups) 1", "5 1 0", "5 3 0"])
    }
}
