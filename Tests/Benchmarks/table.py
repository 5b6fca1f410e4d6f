"""Backups against sqlite3's dump, reads against DuckDB, Polars and plain files."""
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time

from data import KEYS, Database
from harness import drop_caches, medians, read_all, read_together, seconds, shell, stored_files
from merges import MERGES, query, row_files

ROWS = 10_000_000
POINTS = 10
READERS = 8


def measure(bench):
    # The INTEGER key last: its chain is what is read afterwards.
    costs = {}
    keys = [bench.options.key] if bench.options.key else list(KEYS)
    for key in reversed(keys):
        bench.clear()
        costs[key] = backups(bench, key)
    show_backups(bench, {key: costs[key] for key in keys})
    if keys[0] == next(iter(KEYS)):
        reads(bench)
        application(bench)


# MARK: Backups

CHANGES = {
    "1 % appended": ("appended rows", None),
    "1 % within a twentieth": ("hot range", None),
    "100 rows": ("random rows", 100),
    "nothing": (None, 0),
}
"""What changes before the incrementals that follow the chain of 1 % random changes."""


def backups(bench, key):
    """Full backups, the dump, a chain of incrementals of 1 % random changes, and behind it others."""
    bench.say(f"making {bench.options.rows} rows, key {key}")
    database = Database(bench.database, bench.options.rows, key)
    output = f"{bench.work}/dump.zst"
    dump = medians(
        shell(f"sqlite3 {bench.database} .dump | zstd -q -3 -T0 -f -o {output}") for _ in range(bench.repeat)
    )
    dump_bytes = os.path.getsize(output)
    os.remove(output)
    fulls, sizes, taken = [], [], []
    for _ in range(bench.repeat):
        shutil.rmtree(bench.database + ".backups", ignore_errors=True)
        with bench.mount() as mount:
            mount.create("(TABLE bench, TABLE small)")
            fulls.append(mount.backup("full"))
    with bench.mount() as mount:
        sizes.append(stored_files(bench.database)[1])
        for number in range(bench.options.points):
            database.change("random rows", number + 10)
            taken.append(mount.backup("incremental"))
            sizes.append(stored_files(bench.database)[1])
        others = {what: [] for what in CHANGES}
        for number in range(bench.repeat):
            for what, (history, count) in CHANGES.items():
                if history:
                    database.change(history, 1000 + number, count)
                others[what].append(mount.backup("incremental"))
        cold, reading = [], []
        for number in range(bench.repeat):
            database.change("random rows", 2000 + number, 100)
            drop_caches()
            cold.append(mount.backup("incremental").seconds)
            drop_caches()
            reading.append(seconds(read_all, bench.database))
    return {
        **{what: statistics.median(cost.seconds for cost in taken) for what, taken in others.items()},
        "100 rows, cold": statistics.median(cold),
        "reading": statistics.median(reading),
        "dump": dump,
        "dump bytes": dump_bytes,
        "full": medians(fulls),
        "full bytes": sizes[0],
        "incremental": medians(taken),
        "grown": (sizes[-1] - sizes[0]) / bench.options.points,
        "read": statistics.median(cost.read / cost.changes for cost in taken),
        "decoded": statistics.median(cost.decoded / cost.changes for cost in taken),
    }


def show_backups(bench, costs):
    table = bench.report.table("backups, by the table's key", list(costs))

    def add(what, figure, target=""):
        table.add(what, [figure(cost) for cost in costs.values()], target)

    def place(name, index):
        return lambda cost: cost[name][index]

    add("full backup, s", place("full", 0))
    add("`sqlite3 .dump | zstd -3 -T0`, s", place("dump", 0))
    add("full backup, times as fast as the dump", lambda c: c["dump"][0] / c["full"][0], ">= 2")
    add("full backup, CPU s", place("full", 1))
    add("full backup, CPU / the dump's", lambda c: c["full"][1] / c["dump"][1])
    add("full backup, stored MB", lambda c: c["full bytes"] / 1e6)
    add("full backup, stored bytes / the dump's", lambda c: c["full bytes"] / c["dump bytes"], "<= 1.2")
    add("full backup, peak MiB", place("full", 2), "<= 192")
    add("incremental of 1 % random changes, s", place("incremental", 0))
    add("incremental / full, time", lambda c: c["incremental"][0] / c["full"][0], "<= 0.5")
    add("incremental, CPU s", place("incremental", 1))
    add("incremental, peak MiB", place("incremental", 2), "<= 192")
    add("incremental, stored MB", lambda c: c["grown"] / 1e6)
    add("incremental / 1 % of the full, stored bytes", lambda c: c["grown"] / c["full bytes"] * 100)
    add("incremental, bytes read for a changed row", lambda c: c["read"])
    add("incremental, bytes decoded for a changed row", lambda c: c["decoded"])
    for what in CHANGES:
        add(f"incremental of {what}, s", lambda c, what=what: c[what])
        if what.startswith("1 %"):
            add(f"incremental of {what} / full, time", lambda c, what=what: c[what] / c["full"][0], "<= 0.15")
    add("incremental of 100 rows, all of it cold, s", lambda c: c["100 rows, cold"])
    add("reading the database's file once, cold, s", lambda c: c["reading"])
    add("incremental of 100 rows / reading the file, time", lambda c: c["100 rows, cold"] / c["reading"], "<= 2")


# MARK: The application


def application(bench):
    """What an application's statements take in a database that is backed up, and in a copy that isn't."""
    copy = f"{bench.work}/copy.db"
    database = Database.again(bench.database, bench.options.rows)
    # Both written anew, so that both lie on the disk alike.
    shutil.copyfile(bench.database, copy)
    shutil.copyfile(copy, bench.database)
    percent = random.Random(3).sample(range(bench.options.rows), max(10, bench.options.rows // 100))
    statements = {"1 %": lambda path: database.update(path, percent), "all rows": database.update_all}
    sizes = [os.path.getsize(path) for path in (copy, bench.database)]

    def timed(statement, path):
        start = time.monotonic()
        connection = statement(path)
        taken = time.monotonic() - start
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return taken

    table = bench.report.table("what backups cost the application", ["without", "with", "with / without"])
    with bench.mount():
        for what, statement in statements.items():
            pairs = [[timed(statement, path) for path in (copy, bench.database)] for _ in range(bench.repeat)]
            without, beside = (statistics.median(times) for times in zip(*pairs))
            table.add(f"UPDATE of {what}, s", [without, beside, beside / without], {"with / without": "<= 1.1"})
    grown = [os.path.getsize(path) - size for path, size in zip((copy, bench.database), sizes)]
    table.add("the database's file grows by, bytes", grown)
    names = sqlite3.connect(bench.database).execute("SELECT count(*) FROM sqlite_schema WHERE name LIKE '%ydbfs%'")
    table.add("objects in the database that aren't the application's", [None, names.fetchone()[0]], {"with": "<= 0"})


# MARK: Reads


def reads(bench):
    with bench.mount() as mount:
        points = chain(bench, mount)
        plain = shutil.copyfile(mount.path(points[0]), f"{bench.work}/plain.csv")
    labels = {"full": points[0], f"point {len(points) - 1}": points[-1]}
    table = bench.report.table("reads, cold", list(labels))
    sequential = [first_reads(bench, name) for name in labels.values()]
    size, csv, again, peak, ready = zip(*sequential)
    parquet = [bench.cold_read(name, "bench.parquet") for name in labels.values()]
    rates = [bytes_ / taken / 1e6 for taken, bytes_ in parquet]
    table.add("CSV, MB", [s / 1e6 for s in size])
    table.add("first read as CSV, MB/s", [s / t / 1e6 for s, t in zip(size, csv)])
    table.add("first read as CSV, time / the full's", [t / csv[0] for t in csv], "<= 1.3")
    table.add("first read as Parquet, MB/s", rates)
    table.add("Parquet's MB/s / CSV's", [r / s * t * 1e6 for r, s, t in zip(rates, size, csv)], ">= 1.5")
    table.add("second read as CSV, MB/s", [s / t / 1e6 for s, t in zip(size, again)])
    table.add("memory, peak MiB", peak, "<= 192")
    table.add("mount until usable, s", ready, "< 0.1")
    add_random(table, [bench.cold_random(name) for name in labels.values()])
    add_together(bench, table, points, size, csv)
    add_ends(bench, table, labels, plain)
    add_merges(bench, table, csv)
    add_queries(bench, table, labels)
    table.add("a plain file, cold, MB/s", size[0] / plain_read(bench, plain) / 1e6)


def chain(bench, mount):
    """Names of the full and of the incrementals of 1 % random changes."""
    return mount.points()[: bench.options.points + 1]


def first_reads(bench, name):
    """Bytes of a point's CSV, seconds of its first and second read, peak MiB, seconds until usable."""

    def read(mount):
        path = mount.path(name)
        return os.stat(path).st_size, seconds(read_all, path), seconds(read_all, path), mount.peak(), mount.ready

    return medians(bench.cold(read))


def plain_read(bench, path):
    def read():
        drop_caches()
        return seconds(read_all, path)

    return statistics.median(read() for _ in range(bench.repeat))


def add_random(table, figures):
    rate, cold, rate_after, after = zip(*figures)
    table.add("random 4 KiB from a fresh mount, reads/s", rate)
    table.add("random 4 KiB from a fresh mount, median ms", cold, "< 1")
    table.add("random 4 KiB elsewhere after that, reads/s", rate_after)
    table.add("random 4 KiB elsewhere after that, median ms", after, "< 1")


def add_together(bench, table, points, size, csv):
    """Readers at once: each a share of one file, and each a file of its own."""

    def shares(name, bytes_):
        bytes_ = int(bytes_)
        cuts = [bytes_ * n // READERS for n in range(READERS + 1)]
        return medians(
            bench.cold(lambda mount: (seconds(read_together, [(mount.path(name), *c) for c in zip(cuts, cuts[1:])]), 0))
        )[0]

    def files(mount):
        ranges = [(path, 0, os.stat(path).st_size) for path in map(mount.path, points[-READERS:])]
        return seconds(read_together, ranges), sum(end for _, _, end in ranges), mount.peak()

    taken = [shares(points[0], size[0]), shares(points[-1], size[1])]
    table.add(f"{READERS} readers, a part of the file each, time / one's", [t / c for t, c in zip(taken, csv)])
    together, all_bytes, peak = medians(bench.cold(files))
    table.add(f"{READERS} readers, a point each, MB/s in all / one's", [None, all_bytes / together / size[1] * csv[1]])
    table.add(f"{READERS} readers, a point each, peak MiB", [None, peak], "<= 192")


def add_ends(bench, table, labels, plain):
    for command in ("head -1", "tail -c 4096"):

        def run(path):
            """Milliseconds. The program itself is made warm first."""

            def start(path):
                subprocess.run([*command.split(), path], check=True, stdout=subprocess.DEVNULL)

            start("/dev/null")
            return seconds(start, path) * 1e3

        def run_plain():
            drop_caches()
            return run(plain)

        base = statistics.median(run_plain() for _ in range(bench.repeat))
        ours = [statistics.median(bench.cold(lambda mount: run(mount.path(name)))) for name in labels.values()]
        table.add(f"`{command}` of the CSV, ms", ours)
        table.add(f"`{command}`, time / a plain file's", [t / base for t in ours])


def add_merges(bench, table, csv):
    """Others making the same bytes, in memory; they get warm caches."""
    files = row_files(bench.database)[: bench.options.points + 1]
    with bench.mount() as mount:
        names = chain(bench, mount)
        lines = [count_lines(mount.path(name)) for name in (names[0], names[-1])]
    for name, merge in MERGES.items():
        taken = []
        for part, expected in zip((files[:1], files), lines):
            output = f"/dev/shm/{os.path.basename(bench.work)}.csv"
            try:
                taken.append(statistics.median(seconds(merge, part, output) for _ in range(bench.repeat)))
                if count_lines(output) != expected:
                    sys.exit(f"{name} merges to {count_lines(output)} lines, we to {expected}")
            finally:
                if os.path.exists(output):
                    os.remove(output)
        table.add(f"{name} making the same ordered merge, s", taken)
        table.add(f"first read as CSV, times as fast as {name}", [t / c for t, c in zip(taken, csv)], ">= 5")


def count_lines(path):
    with open(path, "rb") as file:
        return sum(part.count(b"\n") for part in iter(lambda: file.read(1 << 20), b""))


def add_queries(bench, table, labels):
    """DuckDB going through the mounted Parquet, and through a plain copy."""
    cold, warm = [], []
    copy = f"{bench.work}/plain.parquet"
    for name in labels.values():
        with bench.mount() as mount:
            shutil.copyfile(mount.path(name, "bench.parquet"), copy)

        def both(path):
            return seconds(query, path), seconds(query, path)

        def plain():
            drop_caches()
            return both(copy)

        base = medians(plain() for _ in range(bench.repeat))
        ours = medians(bench.cold(lambda mount: both(mount.path(name, "bench.parquet"))))
        cold.append(ours[0] / base[0])
        warm.append(ours[1] / base[1])
        os.remove(copy)
    table.add("DuckDB on the Parquet, time / on a plain copy, cold", cold, "<= 1.2")
    table.add("DuckDB on the Parquet, time / on a plain copy, again", warm, "<= 1.2")
