"""A tree of 1,000 points and 20 tables against the same tree on ext4; 10,000 tables, one changed row."""
import datetime
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


COLUMNS = [("id", "INT64"), ("a", "UTF8"), ("b", "INT64")]
DELETED = "__ydb_incrBackupImpl_deleted"


def write_dump(directory, points):
    """A full now and then, and behind it incrementals of one changed row: backups have a second each, which
    would take a quarter of an hour; those of a dump are imported as fast as they are read."""
    start = datetime.datetime(2025, 1, 1)
    for number in range(points):
        is_full = number % FULL_EVERY == 0
        time = (start + datetime.timedelta(hours=number)).strftime("%Y%m%d%H%M%SZ")
        for table in range(TABLES) if is_full else [number % TABLES]:
            folder = f"{directory}/{time}_{'full' if is_full else 'incremental'}/t{table}"
            os.makedirs(folder)
            columns = COLUMNS if is_full else COLUMNS + [(DELETED, "BOOL")]
            with open(f"{folder}/scheme.pb", "w") as file:
                for name, kind in columns:
                    file.write(f'columns {{ name: "{name}" type {{ optional_type {{ item {{ type_id: {kind} }} }} }} }}\n')
                file.write('primary_key: "id"\n')
            with open(f"{folder}/data_00.csv", "w") as file:
                rows = range(ROWS) if is_full else [number % ROWS]
                file.writelines(f'{row},"v{number}",{row}{"" if is_full else ",null"}\n' for row in rows)


def measure_tree(bench):
    points = bench.options.points + 1
    bench.say(f"importing {points} points of {TABLES} tables")
    write_dump(f"{bench.work}/shop", points)
    nothing = subprocess.DEVNULL
    subprocess.run([bench.options.ydbfs, "status", f"{bench.work}/shop"], check=True, stdout=nothing, stderr=nothing)
    database, bench.database = bench.database, f"{bench.work}/shop.backups"
    measure_listings(bench)
    bench.database = database


def measure_listings(bench):
    with bench.mount() as mount:
        copy = copy_sparsely(mount.point, f"{bench.work}/copy")
    ready_warm = []
    for _ in range(bench.repeat):
        with bench.mount() as mount:
            ready_warm.append(mount.ready)

    def twice(root):
        whole = f"ls -lR --ignore={COMPUTED} {root} > /dev/null"
        tables = f"ls -lR {root}/shop/2* > /dev/null"
        return *(shell(whole)[0] for _ in range(2)), *(shell(tables)[0] for _ in range(2))

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
    *listings, ready, peak = medians(bench.cold(lambda mount: (*twice(mount.point), mount.ready, mount.peak())))
    base = medians(plain(twice))
    stats = statistics.median(bench.cold(lambda mount: stat_files(mount.point)))
    stat_base = statistics.median(plain(stat_files))
    entries = sum(len(names) + len(files) for _, names, files in os.walk(copy))
    for what, ours, theirs in zip(
        (
            f"`ls -lR` but `changes`, {entries:,} entries, cold, s", "· again, s",
            "`ls -lR` of the points, behind it, s", "· again, s",
        ),
        listings, base,
    ):
        table.add(what, [ours, theirs, ours / theirs], {"ratio": "<= 3"})
    count = (bench.options.points + 1) * TABLES
    table.add(f"`stat` of {count:,} files, cold, s", [stats, stat_base, stats / stat_base], {"ratio": "<= 3"})
    table.add("mount until usable, cold, s", ready, {"ydbfs": "< 0.1"})
    table.add("mount until usable, s", statistics.median(ready_warm), {"ydbfs": "< 0.1"})
    table.add("memory after the listings, peak MiB", peak, {"ydbfs": "<= 64"})


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
