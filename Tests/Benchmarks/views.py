"""What changed, a row's history, where a value was: against diff, DuckDB and grep of the same points."""
import statistics
import subprocess
import sys

import duckdb

from chain import make_chain
from harness import drop_caches, medians, shell

ROWS = 10_000_000
POINTS = 60


def measure(bench):
    bench.say(f"making {bench.options.rows} rows and a chain of random rows")
    names, _ = make_chain(bench, "random rows")
    middle, last = names[len(names) // 2], names[-1]
    measure_diffs(bench, [("half of the chain apart", middle, last), ("neighbours", names[-2], last)])
    measure_rows(bench)
    measure_values(bench)


def cold(bench, command):
    """Median seconds of a line of bash with dropped caches."""
    taken = []
    for _ in range(bench.repeat):
        drop_caches()
        taken.append(shell(command)[0])
    return statistics.median(taken)


def lines(path):
    with open(path, "rb") as file:
        return sum(1 for _ in file)


def measure_diffs(bench, pairs):
    work, ydbfs, database = bench.work, bench.options.ydbfs, bench.database
    table = bench.report.table(
        "what changed between two points of the table", ["ydbfs", "diff", "DuckDB", "diff / ydbfs", "DuckDB / ydbfs"]
    )
    for what, old, new in pairs:
        with bench.mount() as mount:
            for side, name in (("a", old), ("b", new)):
                for kind in ("csv", "parquet"):
                    shell(f"cp {mount.path(name, f'bench.{kind}')} {work}/{side}.{kind}")
        command = f"{ydbfs} diff {database} shop/{old} shop/{new} --table bench --format csv > {work}/ours.csv"
        ours = cold(bench, command)
        theirs = cold(bench, f"diff {work}/a.csv {work}/b.csv > {work}/theirs.txt || test $? = 1")
        duck = []
        for _ in range(bench.repeat):
            drop_caches()
            duck.append(except_both_ways(bench))
        database_engine = statistics.median(duck)
        check(bench)
        table.add(
            f"{what}, cold, s", [ours, theirs, database_engine, theirs / ours, database_engine / ours],
            {"diff / ydbfs": "> 1", "DuckDB / ydbfs": "> 1"},
        )
        table.add(f"{what}, changed rows", lines(f"{work}/ours.csv") - 1)


def except_both_ways(bench):
    code = (
        "import duckdb, sys, time; w = sys.argv[1]; t = time.monotonic(); c = duckdb.connect(); "
        "c.execute(\"SET enable_progress_bar = false\"); "
        "a, b = (f\"SELECT * FROM read_parquet('{w}/{s}.parquet')\" for s in 'ab'); "
        "c.execute(f\"COPY ({a} EXCEPT ALL {b}) TO '{w}/gone.csv'\"); "
        "c.execute(f\"COPY ({b} EXCEPT ALL {a}) TO '{w}/came.csv'\"); print(time.monotonic() - t)"
    )
    result = subprocess.run([sys.executable, "-c", code, bench.work], check=True, capture_output=True, text=True)
    return float(result.stdout)


def check(bench):
    """DuckDB must have found the very rows that we did."""
    query = f"""
        WITH ours AS (SELECT * FROM read_csv('{bench.work}/ours.csv', all_varchar = true)),
        theirs AS (
            SELECT id FROM read_csv('{bench.work}/gone.csv', all_varchar = true)
            UNION ALL SELECT id FROM read_csv('{bench.work}/came.csv', all_varchar = true))
        SELECT (SELECT count(*) FROM ours), (SELECT count(*) FROM theirs),
            (SELECT count(*) FROM (SELECT id FROM ours EXCEPT ALL SELECT id FROM theirs))"""
    ours, theirs, different = duckdb.connect().execute(query).fetchone()
    if ours != theirs or different:
        raise SystemExit(f"ydbfs found {ours} changed rows, DuckDB {theirs}; {different} differ")


def measure_rows(bench):
    """A row in the middle, found in all points."""
    key = bench.options.rows // 2 * 10
    program = cold(bench, f"{bench.options.ydbfs} history {bench.database} shop bench {key} > {bench.work}/history")

    def through_mount(mount):
        path = f"{mount.point}/shop/history/bench/{key}.csv"
        return shell(f"cat {path} > /dev/null")[0], shell(f"cat {path} > /dev/null")[0]

    first, again = medians(bench.cold(through_mount))

    def grep(mount):
        return (shell(f"grep -ah ^{key}, {mount.point}/shop/2*/bench.csv > /dev/null")[0],)

    searched = medians(bench.cold(grep))[0]
    table = bench.report.table(f"one row through {bench.options.points + 1} points", ["ydbfs", "grep", "ratio"])
    table.add("`ydbfs history`, cold, s", [program, searched, searched / program], {"ratio": ">= 10"})
    table.add("`history/…csv` in a mount, cold, s", [first, searched, searched / first], {"ratio": ">= 10"})
    table.add("`history/…csv`, again, s", again)


def measure_values(bench):
    """Where a value was that most points have."""
    with bench.mount() as mount:
        with open(mount.path(mount.points()[-1])) as file:
            value = [next(file) for _ in range(1000)][-1].split(",")[1]
    statement = f"bench.a = '{value}'"
    ours = cold(bench, f'{bench.options.ydbfs} find {bench.database} "{statement}" > {bench.work}/found')

    def grep(mount):
        return (shell(f"grep -ah ,{value}, {mount.point}/shop/2*/bench.csv > /dev/null")[0],)

    searched = medians(bench.cold(grep))[0]
    table = bench.report.table(f"a value in {bench.options.points + 1} points", ["ydbfs", "grep", "ratio"])
    table.add("`ydbfs find`, cold, s", [ours, searched, searched / ours], {"ratio": ">= 10"})
