"""The same ordered merge by others: the newest row of each key, in key order, as CSV."""
import glob
import json
import os

import duckdb
import polars

COLUMNS = ["id", "a", "d", "ts", "s1", "s2"]


def row_files(database):
    """Row files of the big table that a merge needs, by point: from the repository's open log."""
    connection = duckdb.connect()

    def is_needed(path):
        """Whether a file is no mere copy that makes reading late points cheap."""
        query = f"SELECT decode(value) FROM parquet_kv_metadata('{path}') WHERE decode(key) = 'ydbfs.kind'"
        return connection.execute(query).fetchall()[0][0] in ("full", "run")

    result = []
    for entry in sorted(glob.glob(f"{database}.backups/collections/*/log/*.json")):
        with open(entry) as file:
            point = json.load(file).get("point")
        if point:
            collection = os.path.basename(os.path.dirname(os.path.dirname(entry)))
            tables = f"{database}.backups/tables/{collection}"
            names = [f"{f['table']}/{f['name']}" for f in point["files"] if "table" in f and f["rows"] > 1]
            result.append([path for path in (f"{tables}/{name}" for name in names) if is_needed(path)])
    return result


def by_duckdb(files, output):
    columns = ", ".join(COLUMNS)
    runs = " UNION ALL ".join(
        f"SELECT {columns}, __ydbfs_op AS op, {n} AS n FROM read_parquet({paths})"
        for n, paths in enumerate(files[1:])
        if paths
    )
    base = f"SELECT {columns} FROM read_parquet({files[0]})"
    if runs:
        base = f"""
        WITH last AS (SELECT * FROM ({runs}) QUALIFY row_number() OVER (PARTITION BY id ORDER BY n DESC) = 1)
        SELECT * FROM ({base}) ANTI JOIN last USING (id)
        UNION ALL SELECT {columns} FROM last WHERE op <> 3"""
    duckdb.connect().execute(f"COPY (SELECT * FROM ({base}) ORDER BY id) TO '{output}' (HEADER)")


def by_polars(files, output):
    merged = polars.scan_parquet(files[0]).select(COLUMNS)
    runs = [
        polars.scan_parquet(paths).select(*COLUMNS, "__ydbfs_op").with_columns(n=polars.lit(n))
        for n, paths in enumerate(files[1:])
        if paths
    ]
    if runs:
        last = polars.concat(runs).sort("n").unique("id", keep="last", maintain_order=True)
        merged = polars.concat(
            [merged.join(last, on="id", how="anti"), last.filter(polars.col("__ydbfs_op") != 3).select(COLUMNS)]
        )
    merged.sort("id").sink_csv(output)


MERGES = {"DuckDB": by_duckdb, "Polars": by_polars}


def query(path):
    """A DuckDB query that goes through every value of every column."""
    duckdb.connect().execute(
        "SELECT count(id), sum(a), sum(d), max(ts), max(s1), sum(length(s2)) FROM read_parquet(?)", [path]
    ).fetchall()
