"""A dump of YDB: importing it, and reading points as dumps; against `wc -l`, DuckDB and our CSV."""
import os
import shutil
import statistics
import subprocess
import sys

import duckdb

from harness import drop_caches, medians, random_reads, read_range, seconds, shell

ROWS = 10_000_000  # A gigabyte.
POINTS = 10

COLUMNS = [("id", "INT64"), ("name", "UTF8"), ("price", "DOUBLE"), ("count", "INT32"), ("note", "UTF8")]
DELETED = "__ydb_incrBackupImpl_deleted"
# A line of a row, from its number and the number of its change.
LINE = (
    "i || ',\"name+' || i || '\",' || round(hash(i, v) % 100000 / 7.0, 6) || ',' || hash(v, i) % 1000 || ',\"'"
    " || md5((i * 7919 + v)::VARCHAR) || '+' || md5((i + v * 104729)::VARCHAR)[:20] || '\"'"
)


def measure(bench):
    bench.database = f"{bench.work}/shop"
    bench.say(f"writing a dump of {bench.options.rows} rows and {bench.options.points} incrementals of 1 %")
    files = make_dump(bench)
    size = sum(os.path.getsize(file) for file in files)
    measure_import(bench, files, size)
    measure_reads(bench)


def make_dump(bench):
    """A full and incrementals, each of 0.8 % updated, 0.1 % new and 0.1 % deleted rows, spread over all."""
    rows, files = bench.options.rows, []
    database = duckdb.connect()
    for number in range(bench.options.points + 1):
        kind = "incremental" if number else "full"
        folder = f"{bench.database}/202511{number + 1:02d}000000Z_{kind}/bench"
        os.makedirs(folder)
        columns = COLUMNS + [(DELETED, "BOOL")] * (number > 0)
        with open(f"{folder}/scheme.pb", "w") as file:
            for name, kind in columns:
                file.write(f'columns {{ name: "{name}" type {{ optional_type {{ item {{ type_id: {kind} }} }} }} }}\n')
            file.write('primary_key: "id"\n')
        with open(f"{folder}/permissions.pb", "w") as file:
            file.write('actions { change_owner: "root@builtin" }\n')
        if number:
            query = f"""
                SELECT CASE WHEN i % 1000 = {number} THEN i || ',null,null,null,null,1' ELSE {LINE} || ',0' END AS line
                FROM (SELECT range AS i, {number} AS v FROM range({rows}) WHERE hash(range, {number}) % 1000 < 8
                    OR range % 1000 = {number}
                    UNION ALL SELECT {rows} + {number - 1} * {rows // 1000} + range, {number} FROM range({rows // 1000}))
                ORDER BY i"""
        else:
            query = f"SELECT {LINE} AS line FROM (SELECT range AS i, 0 AS v FROM range({rows})) ORDER BY i"
        path = f"{folder}/data_00.csv"
        database.execute(f"COPY ({query}) TO '{path}' (FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01')")
        files.append(path)
    return files


def measure_import(bench, files, size):
    def imported():
        shutil.rmtree(f"{bench.database}.backups", ignore_errors=True)
        drop_caches()
        return peak_of([bench.options.ydbfs, "status", bench.database])

    def cold(command):
        drop_caches()
        return shell(command)[0]

    names = " ".join(files)
    columns = ", ".join(f"'c{n}': 'VARCHAR'" for n in range(5))
    code = (
        "import duckdb, sys; c = duckdb.connect(); c.execute('SET enable_progress_bar = false'); "
        f"c.execute(\"SELECT sum(length(c1) + length(c4)) FROM read_csv({files[:1]}, header = false, "
        f"columns = {{{columns}}})\").fetchall(); c.execute(\"SELECT count(*) FROM read_csv({files[1:]}, "
        f"header = false, all_varchar = true)\").fetchall()"
    )
    taken, peaks = zip(*(imported() for _ in range(bench.repeat)))
    ours, peak = statistics.median(taken), max(peaks)
    lines = statistics.median(cold(f"wc -l {names} > /dev/null") for _ in range(bench.repeat))
    duck = []
    for _ in range(bench.repeat):
        drop_caches()
        duck.append(seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True)))
    duck = statistics.median(duck)
    again = statistics.median(peak_of([bench.options.ydbfs, "status", bench.database])[0] for _ in range(bench.repeat))
    stored = shell_text(f"du -sb {bench.database}.backups | cut -f1")
    table = bench.report.table(
        f"a dump of {size / 1e9:.2f} GB with {bench.options.points} incrementals", ["ydbfs", "wc -l", "DuckDB"]
    )
    table.add("import, cold, s", [ours, lines, duck])
    table.add("· MB/s", [size / 1e6 / ours, size / 1e6 / lines, size / 1e6 / duck])
    table.add("· peak MiB", peak)
    table.add("nothing new, s", again)
    table.add("stored, MB", int(stored) / 1e6)


def shell_text(command):
    return subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True).stdout.strip()


def peak_of(command):
    """Seconds and peak MiB of a program."""
    code = (
        "import resource, subprocess, sys, time; t = time.monotonic(); "
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); "
        "print(time.monotonic() - t, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    result = subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True)
    taken, peak = map(float, result.stdout.split())
    return taken, peak


def measure_reads(bench):
    """The last point as a dump, which has several files, against its CSV."""

    def paths(mount):
        point = mount.points()[-1]
        folder = f"{mount.point}/shop/dump/{point}/bench"
        dumped = sorted(f"{folder}/{name}" for name in os.listdir(folder) if name.startswith("data_"))
        return dumped, mount.path(point)

    def sequential(files):
        size = sum(os.stat(file).st_size for file in files)
        return size / 1e6 / seconds(lambda: [read_range(file, 0, os.stat(file).st_size) for file in files])

    def measured(which):
        """Each of a fresh mount: what was read once the kernel has."""

        def files(mount):
            dumped, csv = paths(mount)
            return dumped if which == "dump" else [csv]

        read = statistics.median(bench.cold(lambda mount: sequential(files(mount))))
        at_random, latency = medians(bench.cold(lambda mount: random_reads(files(mount)[0])))
        return read, at_random, latency

    ours, csv = measured("dump"), measured("csv")
    table = bench.report.table("the last point, cold", ["dump/", "CSV", "ratio"])
    for what, mine, theirs in zip(("sequential, MB/s", "random 4 KiB, of its first 100 MB · of all, reads/s", "· median ms"), ours, csv):
        table.add(what, [mine, theirs, mine / theirs])
