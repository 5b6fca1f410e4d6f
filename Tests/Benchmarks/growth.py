"""How figures grow with rows, points and tables: a slope each, and on paper what is too large here."""
import math
import statistics

from data import Database, change_one_row, many_tables
from harness import medians, random_reads, read_all, shell, stored_files

ROWS = 10_000_000
POINTS = 100
TABLES = [1, 5, 20, 60, 200]
LADDER = [base * 10**power for power in range(10) for base in (1, 3)]


def measure(bench):
    rows(bench)
    bench.clear()
    chain(bench)
    bench.clear()
    tables(bench)


def sizes(largest, span):
    """1, 3, 10, 30 … up to `largest`, as far down as a `span`-th of it."""
    return [size for size in LADDER if largest / span <= size < largest] + [largest]


def slope(sizes, values):
    """The exponent with which the values grow: of the straight line nearest to their logarithms."""
    points = [(math.log(size), math.log(value)) for size, value in zip(sizes, values) if value > 0]
    if len(points) < 2:
        return 0
    return statistics.linear_regression(*zip(*points)).slope


def show(bench, title, unit, found, papers):
    """`found`: figures by size. `papers`: sizes to go on to with the slope, by their names."""
    columns = [f"{size:,} {unit}" for size in found] + ["slope", *papers]
    table = bench.report.table(title, columns)
    for what in next(iter(found.values())):
        values = [figures[what] for figures in found.values()]
        exponent = slope(list(found), values)
        largest = max(found)
        paper = [values[-1] * (size / largest) ** exponent for size in papers.values()]
        table.add(what, [*values, exponent, *paper])


def rows(bench):
    found = {}
    for size in sizes(bench.options.rows, 10 if bench.options.rows <= 10_000_000 else 30):
        bench.clear()
        bench.say(f"{size} rows")
        database = Database(bench.database, size)
        with bench.mount() as mount:
            mount.create("(TABLE bench)")
            full = medians(mount.backup("full") for _ in range(bench.repeat))
            stored = stored_files(bench.database)[1] / bench.repeat
            percents, hundreds = [], []
            for number in range(bench.repeat):
                database.change("random rows", 2 * number)
                percents.append(mount.backup("incremental"))
                database.change("random rows", 2 * number + 1, count=100)
                hundreds.append(mount.backup("incremental"))
            names = mount.points()
        csv, bytes_ = bench.cold_read(names[0])
        late, _ = bench.cold_read(names[-1])
        parquet, _ = bench.cold_read(names[0], "bench.parquet")
        _, random_ms, ready, peak = medians(
            bench.cold(lambda mount: (*random_reads(mount.path(names[-1])), mount.ready, mount.peak()))
        )
        found[size] = {
            "full backup, s": full[0],
            "full backup, CPU s": full[1],
            "full backup, peak MiB": full[2],
            "full backup, stored MB": stored / 1e6,
            "incremental of 1 %, s": medians(percents)[0],
            "incremental of 1 %, peak MiB": medians(percents)[2],
            "incremental of 100 rows, s": medians(hundreds)[0],
            "CSV, MB": bytes_ / 1e6,
            "first read of the full as CSV, s": csv,
            "first read of the newest point as CSV, s": late,
            "first read of the full as Parquet, s": parquet,
            "random 4 KiB of the newest point, cold, median ms": random_ms,
            "mount until usable, cold, s": ready,
            "memory after random reads, peak MiB": peak,
        }
    largest = max(found)
    ten_terabytes = round(10e6 / found[largest]["CSV, MB"] * largest)
    show(bench, "growth with rows", "rows", found, {"1 billion rows": 10**9, "10 TB of CSV": ten_terabytes})


def chain(bench):
    size = max(1000, bench.options.rows // 10)
    bench.say(f"a chain of {bench.options.points} points of {size} rows")
    database = Database(bench.database, size)
    with bench.mount() as mount:
        mount.create("(TABLE bench)")
        mount.backup("full")
    found = {}
    taken = 0
    for length in sizes(bench.options.points, bench.options.points):
        costs = []
        with bench.mount() as mount:
            while taken < length:
                database.change("random rows", taken)
                costs.append(mount.backup("incremental"))
                taken += 1
            newest = mount.points()[-1]
        _, random_ms, ready = medians(bench.cold(lambda mount: (*random_reads(mount.path(newest)), mount.ready)))
        listing, peak = medians(
            bench.cold(lambda mount: (shell(f"ls -lR --ignore=changes {mount.point} > /dev/null")[0], read_peak(mount, newest)))
        )
        found[length] = {
            "incremental of 1 %, s": medians(costs)[0],
            "incremental of 1 %, bytes read for a changed row": statistics.median(c.read / c.changes for c in costs),
            "all stored, MB": stored_files(bench.database)[1] / 1e6,
            "first read of the newest point as CSV, s": bench.cold_read(newest)[0],
            "first read of the newest point as Parquet, s": bench.cold_read(newest, "bench.parquet")[0],
            "random 4 KiB of the newest point, cold, median ms": random_ms,
            "`ls -lR` but `changes`, cold, s": listing,
            "mount until usable, cold, s": ready,
            "memory after a read, peak MiB": peak,
        }
    show(bench, f"growth with the chain, {size:,} rows", "points", found, {"365 points": 365})


def read_peak(mount, name):
    read_all(mount.path(name))
    return mount.peak()


def tables(bench):
    found = {}
    for count in TABLES:
        bench.clear()
        bench.say(f"{count} tables")
        many_tables(bench.database, count, 1000)
        with bench.mount() as mount:
            mount.create("DATABASE")
            fulls = [mount.backup("full") for _ in range(bench.repeat)]
            taken = []
            for number in range(bench.repeat):
                before = stored_files(bench.database)[1]
                change_one_row(bench.database, count // 2, number)
                cost = mount.backup("incremental")
                taken.append((cost.seconds, (stored_files(bench.database)[1] - before) / 1024))
        listing, ready = medians(
            bench.cold(lambda mount: (shell(f"ls -lR --ignore=changes {mount.point} > /dev/null")[0], mount.ready))
        )
        one, stored = medians(taken)
        found[count] = {
            "full backup, s": medians(fulls)[0],
            "incremental of one row, s": one,
            "incremental of one row, stored KiB": stored,
            "`ls -lR` but `changes`, cold, s": listing,
            "mount until usable, cold, s": ready,
        }
    show(bench, "growth with tables of 1,000 rows", "tables", found, {"10,000 tables": 10_000})
