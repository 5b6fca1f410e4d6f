import Foundation
import Testing

/// Other people's readers of Parquet, whose rows are compared with CSV files.
enum ParquetReaders {
    /// `YDBFS_PYTHON`, or what `Tests/run` installs. Tests that need it fail without it.
    private static let python =
        ProcessInfo.processInfo.environment["YDBFS_PYTHON"] ?? ".build-venv/bin/python"

    static let all = "pyarrow mapped duckdb polars datafusion"

    /// Arguments: readers separated by blanks, then Parquet and CSV files by turns.
    private static let program = """
        import sys
        import pyarrow.parquet as pq
        def field(v):
            if v is None: return b''
            if isinstance(v, float): return repr(v).encode()
            if isinstance(v, int): return str(v).encode()
            if isinstance(v, str): b = v.encode()
            else:
                b = bytes(v)
                try: b.decode()
                except UnicodeDecodeError: return b'\\\\x' + b.hex().encode()
                if b[:2] == b'\\\\x': return b'\\\\x' + b.hex().encode()
            if not b or b[:1] == b' ' or b[-1:] == b' ' or any(c in b for c in (b',', b'"', b'\\n', b'\\r')):
                return b'"' + b.replace(b'"', b'""') + b'"'
            return b
        def lines(names, columns):
            rows = [names] + list(zip(*columns))
            return b''.join(b','.join(field(v) for v in row) + b'\\n' for row in rows)
        def arrow(table): return table.column_names, [c.to_pylist() for c in table.columns]
        def pyarrow(path): return arrow(pq.read_table(path))
        def mapped(path): return arrow(pq.read_table(path, memory_map=True))
        def duckdb(path):
            import duckdb
            found = duckdb.read_parquet(path)
            rows = found.fetchall()
            return found.columns, list(zip(*rows)) if rows else [[] for _ in found.columns]
        def query(path):
            import duckdb
            found = duckdb.sql(open(path).read())
            rows = found.fetchall()
            return found.columns, list(zip(*rows)) if rows else [[] for _ in found.columns]
        def polars(path):
            import polars
            frame = polars.scan_parquet(path).collect()
            return frame.columns, [c.to_list() for c in frame.get_columns()]
        def datafusion(path):
            import datafusion, pyarrow
            context = datafusion.SessionContext()
            return arrow(context.read_parquet(path).to_arrow_table())
        for name in sys.argv[1].split():
            for path, text in zip(sys.argv[2::2], sys.argv[3::2]):
                got, wanted = lines(*globals()[name](path)), open(text, 'rb').read()
                same = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
                assert got == wanted, (name, path, len(got), len(wanted), got[max(0, same - 50):same + 50], wanted[max(0, same - 50):same + 50])
        """

    /// Columns of Parquet files without a field id, as pyarrow finds them, a line each.
    static func columnsWithoutID(_ paths: [String]) throws -> String {
        let program = """
            import sys
            import pyarrow.parquet as pq
            for path in sys.argv[1:]:
                for column in pq.ParquetFile(path).schema_arrow:
                    if not (column.metadata or {}).get(b'PARQUET:field_id'): print(path, column.name)
            """
        let outcome = try run(python, ["-c", program] + paths)
        try #require(outcome.status == 0, "\(outcome.errors)")
        return outcome.output
    }

    /// What DuckDB makes of queries that should give what CSV files hold.
    static func problem(_ queries: [(sql: String, csv: [UInt8])]) throws -> String? {
        let folder = try Scratch()
        var files: [(parquet: String, csv: String)] = []
        for (index, query) in queries.enumerated() {
            let name = folder / "\(index)"
            try Data(query.sql.utf8).write(to: URL(fileURLWithPath: name + ".sql"))
            try Data(query.csv).write(to: URL(fileURLWithPath: name + ".csv"))
            files.append((name + ".sql", name + ".csv"))
        }
        return try problem(files, readers: "query")
    }

    /// What is wrong with Parquet files, read by `readers`, that should hold what CSV files do; nil
    /// if nothing is.
    static func problem(
        _ files: [(parquet: String, csv: String)], readers: String = all
    ) throws -> String? {
        let outcome = try run(
            python, ["-c", program, readers] + files.flatMap { [$0.parquet, $0.csv] })
        return outcome.status == 0 ? nil : "\(outcome.status): \(outcome.errors)"
    }
}
