"""A tree of 1,000 points and 20 tables against the same tree on ext4; 10,000 tables, one changed row."""
import os
import sqlite3
import statistics
import subprocess

from data import change_one_row, many_tables
from harness import drop_caches, medians, seconds, shell, stored_files

ROWS = 100  # Of every table, whatever --rows says.
POINTS = 999
TABLES = 20
FULL_EVERY = 100


# What changed at each point: its sizes aren't stored but found out, so that a listing of it isn't one of a tree.
COMPUTED = "changes"


def measure(bench):
    measure_tree(bench)
    bench.clear()
    measure_tables(bench)


def measure_tree(bench):
    bench.say(f"taking {bench.options.points + 1} points of {TABLES} tables")
    many_tables(bench.database, TABLES, ROWS)
    with bench.mount() as mount:
        mount.create("DATABASE")
        for number in range(bench.options.points + 1):
            change_one_row(bench.database, number % TABLES, number)
            mount.backup("incremental" if number % FULL_EVERY else "full")
        copy = copy_sparsely(mount.point, f"{bench.work}/copy")
    ready_warm = []
    for _ in range(bench.repeat):
        with bench.mount() as mount:
            ready_warm.append(mount.ready)

    def twice(root):
        listing = f"ls -lR --ignore={COMPUTED} {root} > /dev/null"
        return shell(listing)[0], shell(listing)[0]

    def stat_files(root):
        return seconds(lambda: [os.stat(path) for path in table_files(root)])

    def table_files(root):
        collection = f"{root}/shop"
        points = [name for name in sorted(os.listdir(collection)) if name[:1] == "2"]
        return [f"{collection}/{point}/t{table}.csv" for point in points for table in range(TABLES)]

    def plain(action):
        results = []
        for _ in range(bench.repeat):
            drop_caches()
            results.append(action(copy))
        return results

    system = subprocess.run(
        ["stat", "-f", "-c", "%T", copy], check=True, capture_output=True, text=True
    ).stdout.strip()
    table = bench.report.table(
        f"{bench.options.points + 1} points of {TABLES} tables", ["ydbfs", system.replace("ext2/ext3", "ext4"), "ratio"]
    )
    listings = medians(bench.cold(lambda mount: (*twice(mount.point), mount.ready, mount.peak())))
    base = medians(plain(twice))
    stats = statistics.median(bench.cold(lambda mount: stat_files(mount.point)))
    stat_base = statistics.median(plain(stat_files))
    table.add("`ls -lR` but `changes`, cold, s", [listings[0], base[0], listings[0] / base[0]], {"ratio": "<= 3"})
    table.add("`ls -lR` but `changes`, again, s", [listings[1], base[1], listings[1] / base[1]], {"ratio": "<= 3"})
    count = (bench.options.points + 1) * TABLES
    table.add(f"`stat` of {count:,} files, cold, s", [stats, stat_base, stats / stat_base], {"ratio": "<= 3"})
    table.add("mount until usable, cold, s", listings[2], {"ydbfs": "< 0.1"})
    table.add("mount until usable, s", statistics.median(ready_warm), {"ydbfs": "< 0.1"})
    table.add("memory after the listings, peak MiB", listings[3], {"ydbfs": "<= 64"})


def copy_sparsely(root, copy):
    """The same tree with files of the same sizes without content."""
    for directory, names, files in os.walk(root):
        names[:] = [name for name in names if name != COMPUTED]
        target = os.path.join(copy, os.path.relpath(directory, root))
        os.makedirs(target, exist_ok=True)
        for name in names + files:
            path = os.path.join(directory, name)
            if os.path.islink(path):
                os.symlink(os.readlink(path), os.path.join(target, name))
            elif name in files:
                with open(os.path.join(target, name), "wb") as file:
                    file.truncate(os.lstat(path).st_size)
    return copy


def measure_tables(bench):
    tables = bench.options.tables
    bench.say(f"making {tables} tables")
    many_tables(bench.database, tables, 10)

    def read_once():
        database = sqlite3.connect(bench.database)
        for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            database.execute(f"SELECT * FROM {name}").fetchall()
        database.close()

    reading = statistics.median(seconds(read_once) for _ in range(bench.repeat))
    taken, files, sizes = [], [], []
    with bench.mount() as mount:
        mount.create("DATABASE")
        full = mount.backup("full")
        for number in range(bench.repeat):
            change_one_row(bench.database, tables // 2, number)
            before = stored_files(bench.database)
            taken.append(mount.backup("incremental"))
            after = stored_files(bench.database)
            files.append(len(after[0]) - len(before[0]))
            sizes.append(after[1] - before[1])
    incremental = medians(taken)
    table = bench.report.table(f"a database of {tables:,} tables", ["measured"])
    table.add("full backup, once, s", full.seconds)
    table.add("SQLite reading all tables once, s", reading)
    table.add("incremental of one changed row, s", incremental[0])
    table.add("incremental / SQLite reading all tables, time", incremental[0] / reading, "<= 2")
    table.add("incremental, CPU s", incremental[1])
    table.add("incremental, peak MiB", incremental[2], "<= 192")
    table.add("incremental, files", statistics.median(files), "<= 4")
    table.add("incremental, stored KiB", statistics.median(sizes) / 1024, "< 64")
