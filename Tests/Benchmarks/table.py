"""Measures ydbfs against its peers on one table, and prints each figure beside its target.

All figures come from one run on one machine; of repeated ones the median is shown. Caches are
dropped where the row says cold, so it must run as root.
"""
import argparse
import glob
import json
import os
import random
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

SCHEMA = """
CREATE TABLE bench(id INTEGER PRIMARY KEY, a INTEGER, d REAL, ts TEXT, s1 TEXT, s2 TEXT);
CREATE TABLE small(id INTEGER PRIMARY KEY, v TEXT);
INSERT INTO small VALUES (1, 'one');
"""


def values(random_source, key):
    """A row: integer, double, timestamp and two strings, a few of which need quotes in CSV."""
    bits = random_source.getrandbits
    text = f"{bits(96):024x}"
    second = bits(25)
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(1700000000 + second))
    note = f'say "{text[:12]}", ok' if key % 20 == 0 else "note " + text[: 10 + bits(3) * 2]
    return (key, bits(31), bits(40) / 1e6, f"{stamp}.{bits(19):06d}", text[8 : 16 + bits(3)], note)


def make_database(path, rows):
    source = random.Random(1)
    database = sqlite3.connect(path, isolation_level=None)
    database.executescript("PRAGMA journal_mode = WAL;" + SCHEMA)
    for start in range(0, rows, 500_000):
        database.execute("BEGIN")
        database.executemany(
            "INSERT INTO bench VALUES (?, ?, ?, ?, ?, ?)",
            (values(source, key * 10) for key in range(start, min(rows, start + 500_000))),
        )
        database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def change(path, rows, seed):
    """Changes 1 % of the rows at random: 80 % updates, 10 % deletes, 10 % inserts."""
    source = random.Random(seed)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("BEGIN")
    count = rows // 100
    for _ in range(count * 8 // 10):
        row = values(source, source.randrange(rows) * 10)
        database.execute("UPDATE bench SET a=?, d=?, ts=?, s1=?, s2=? WHERE id=?", row[1:] + row[:1])
    for _ in range(count // 10):
        database.execute("DELETE FROM bench WHERE id=?", (source.randrange(rows) * 10,))
        key = source.randrange(rows) * 10 + 1 + seed % 9
        database.execute("INSERT OR REPLACE INTO bench VALUES (?,?,?,?,?,?)", values(source, key))
    database.execute("COMMIT")
    database.close()


def seconds(action, *arguments):
    start = time.monotonic()
    action(*arguments)
    return time.monotonic() - start


def shell(command):
    subprocess.run(["bash", "-c", "set -o pipefail; " + command], check=True)


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")


def read_all(path):
    with open(path, "rb", buffering=0) as file:
        buffer = bytearray(1 << 20)
        while file.readinto(buffer):
            pass


def random_reads(path, duration):
    """Reads 4 KiB at random places, one at a time; answers reads per second and median seconds."""
    size = os.stat(path).st_size
    source = random.Random(2)
    file = os.open(path, os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
    times = []
    end = time.monotonic() + duration
    while time.monotonic() < end:
        offset = source.randrange(max(1, size - 4096))
        times.append(seconds(os.pread, file, 4096, offset))
    os.close(file)
    return len(times) / sum(times), statistics.median(times)


class Mount:
    """A mounted database; `pid` is the daemon's."""

    def __init__(self, binary, database, point):
        self.point = point
        os.makedirs(point, exist_ok=True)
        self.process = subprocess.Popen(
            [binary, database, point, "-f"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        start = time.monotonic()
        while not os.path.exists(f"{point}/control"):
            if self.process.poll() is not None:
                sys.exit(f"the mount failed: {self.process.stderr.read().decode()}")
            time.sleep(0.002)
        self.ready = time.monotonic() - start

    def write(self, name, text):
        with open(f"{self.point}/{name}", "w") as file:
            file.write(text)

    def backup(self, kind):
        """Takes a backup; answers its seconds."""
        start = time.monotonic()
        self.write("shop/control", kind)
        with open(f"{self.point}/shop/operation/wait") as file:
            line = file.read().strip()
        if not line.startswith("done"):
            sys.exit(f"{kind}: {line}")
        return time.monotonic() - start

    def peak(self):
        """Peak resident MiB so far."""
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(r"VmHWM:\s+(\d+)", file.read()).group(1)) / 1024

    def close(self):
        subprocess.run(["umount", self.point], check=True)
        self.process.wait()


def points(mount):
    return sorted(n for n in os.listdir(f"{mount.point}/shop") if n[:1] == "2")


def row_files(repository):
    """Row files of the big table that a merge needs, by point: from the repository's open log."""
    import duckdb

    connection = duckdb.connect()

    def is_needed(path):
        """Whether a file is no mere copy that makes reading late points cheap."""
        query = f"SELECT decode(value) FROM parquet_kv_metadata('{path}') WHERE decode(key) = 'ydbfs.kind'"
        return connection.execute(query).fetchall()[0][0] in ("full", "run")

    result = []
    for entry in sorted(glob.glob(f"{repository}/collections/*/log/*.json")):
        with open(entry) as file:
            point = json.load(file).get("point")
        if point:
            data = os.path.join(os.path.dirname(os.path.dirname(entry)), "data")
            names = [f["name"] for f in point["files"] if f["name"].endswith(".parquet") and f["rows"] > 1]
            paths = [os.path.join(data, name) for name in names]
            result.append([path for path in paths if is_needed(path)])
    return result


def duckdb_merge(files, output):
    """The same ordered merge by DuckDB: the newest row of each key, in key order, as CSV."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads = 2")
    columns = "id, a, d, ts, s1, s2"
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
    connection.execute(f"COPY (SELECT * FROM ({base}) ORDER BY id) TO '{output}' (HEADER)")


def stored_bytes(repository):
    return sum(os.path.getsize(f) for f in glob.glob(f"{repository}/collections/*/data/*"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ydbfs", required=True)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--points", type=int, default=10)
    parser.add_argument("--directory", default=None, help="where to work; removed at the end")
    options = parser.parse_args()
    work = tempfile.mkdtemp(prefix="ydbfs-benchmark-", dir=options.directory)
    memory = tempfile.mkdtemp(prefix="ydbfs-benchmark-", dir="/dev/shm")
    try:
        run(options, work, memory)
    finally:
        subprocess.run(["umount", "-l", f"{work}/mnt"], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(memory, ignore_errors=True)


def run(options, work, memory):
    rows = []

    def add(what, value, target=""):
        rows.append((what, value, target))
        print(f"{what:<58} {value:>28}  {target}", flush=True)

    median = statistics.median
    database = f"{work}/bench.db"
    repository = database + ".backups"
    make_database(database, options.rows)
    print(f"{options.rows} rows, database {os.path.getsize(database) / 1e6:.0f} MB, load {os.getloadavg()[0]:.1f}\n")

    dump = median(
        seconds(shell, f"sqlite3 {database} .dump | zstd -q -3 -T0 -f -o {work}/dump.zst") for _ in range(options.repeat)
    )
    dump_bytes = os.path.getsize(f"{work}/dump.zst")
    fulls = []
    for _ in range(options.repeat):
        shutil.rmtree(repository, ignore_errors=True)
        mount = Mount(options.ydbfs, database, f"{work}/mnt")
        mount.write(
            "control",
            "CREATE BACKUP COLLECTION shop (TABLE bench, TABLE small) WITH "
            "(STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true');",
        )
        fulls.append(mount.backup("full"))
        peak = mount.peak()
        if len(fulls) < options.repeat:
            mount.close()
    full = median(fulls)
    full_bytes = stored_bytes(repository)
    add("full backup: seconds", f"{full:.2f}")
    add("`sqlite3 .dump | zstd -3 -T0`: seconds", f"{dump:.2f}")
    add("full backup: times faster than dump", f"{dump / full:.2f}", ">= 2")
    add("full backup: stored bytes / dump's", f"{full_bytes / dump_bytes:.2f}", "<= 1.2")
    add("full backup: peak memory, MiB", f"{peak:.0f}")
    incrementals = []
    for number in range(options.points):
        change(database, options.rows, number + 10)
        incrementals.append(mount.backup("incremental"))
    incremental = median(incrementals)
    add("incremental, 1 % random changes: seconds", f"{incremental:.2f}")
    add("incremental / full: time", f"{incremental / full:.2%}", "<= 15 %")
    grown = (stored_bytes(repository) - full_bytes) / options.points
    add("incremental: stored MB / full's", f"{grown / 1e6:.1f} / {full_bytes / 1e6:.1f}")
    names = points(mount)
    mount.close()

    plain = f"{work}/plain.csv"
    reads = {}
    for label, name in (("full", names[0]), (f"point {options.points}", names[-1])):
        firsts, seconds_reads, parquets, colds, peaks, readies = [], [], [], [], [], []
        for _ in range(options.repeat):
            drop_caches()
            mount = Mount(options.ydbfs, database, f"{work}/mnt")
            readies.append(mount.ready)
            path = f"{mount.point}/shop/{name}/bench.csv"
            firsts.append(seconds(read_all, path))
            seconds_reads.append(seconds(read_all, path))
            peaks.append(mount.peak())
            mount.close()
            drop_caches()
            mount = Mount(options.ydbfs, database, f"{work}/mnt")
            parquet = f"{mount.point}/shop/{name}/bench.parquet"
            parquets.append(os.stat(parquet).st_size / seconds(read_all, parquet) / 1e6)
            mount.close()
            drop_caches()
            mount = Mount(options.ydbfs, database, f"{work}/mnt")
            path = f"{mount.point}/shop/{name}/bench.csv"
            colds.append(random_reads(path, 3))
            size = os.stat(path).st_size
            if not os.path.exists(plain):
                shutil.copyfile(path, plain)
            mount.close()
        reads[label] = median(firsts)
        add(f"CSV of the {label}: MB", f"{size / 1e6:.0f}")
        add(f"first read, {label}: MB/s", f"{size / median(firsts) / 1e6:.0f}")
        add(f"second read, {label}: MB/s", f"{size / median(seconds_reads) / 1e6:.0f}", "page-cache speed")
        add(f"first read as Parquet, {label}: MB/s", f"{median(parquets):.0f}")
        add(f"first read, {label}: Parquet's MB/s / CSV's", f"{median(parquets) * median(firsts) / size * 1e6:.2f}", ">= 1.5")
        add(f"random 4 KiB, cold mount, {label}: reads/s", f"{median(c[0] for c in colds):.0f}")
        add(f"random 4 KiB, cold mount, {label}: median ms", f"{median(c[1] for c in colds) * 1e3:.3f}", "< 1")
        add(f"memory after reading, {label}: peak MiB", f"{median(peaks):.0f}", "<= 64 + 128")
        add("mount until usable: seconds", f"{median(readies):.3f}", "< 0.1")
    worst = f"point {options.points}"
    add(f"first read: {worst} / full", f"{reads[worst] / reads['full']:.2f}", "<= 1.3")
    cats = []
    for _ in range(options.repeat):
        drop_caches()
        cats.append(seconds(read_all, plain))
    add("plain file, cold: MB/s", f"{os.path.getsize(plain) / median(cats) / 1e6:.0f}")
    files = row_files(repository)
    for label, part in (("full", files[:1]), (worst, files)):
        times = []
        for _ in range(options.repeat):
            times.append(seconds(duckdb_merge, part, f"{memory}/merge.csv"))
        add(f"DuckDB, same ordered merge, {label}: seconds", f"{median(times):.2f}")
        add(f"first read, {label}: times faster than DuckDB", f"{median(times) / reads[label]:.2f}", ">= 5")
    mount = Mount(options.ydbfs, database, f"{work}/mnt")
    listings = [seconds(shell, f"ls -lR {mount.point} > /dev/null") for _ in range(5)]
    add("ls -lR of the mount: seconds", f"{median(listings):.3f}")
    mount.close()


if __name__ == "__main__":
    main()
