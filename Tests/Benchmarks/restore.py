"""Measures restores against `sqlite3 < dump.sql`, of the same table in one run; medians.

The table has an index beside its key. A restore compares what it has loaded, row by row, with what
was backed up; loading a dump compares nothing.
"""
import argparse
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from table import change, make_database, seconds, shell


def ydbfs(options, *arguments):
    """Runs it to its end; answers the peak of its memory in MiB."""
    process = subprocess.Popen([options.ydbfs, "run", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"ydbfs run {arguments} failed")
    return usage.ru_maxrss / 1024


def remove(database):
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(database + suffix):
            os.remove(database + suffix)


class Writer(threading.Thread):
    """Another program that writes a row every few milliseconds, and how long each took it."""

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.times = []
        self.is_over = False

    def run(self):
        database = sqlite3.connect(self.path, isolation_level=None, timeout=60)
        while not self.is_over:
            self.times.append(seconds(database.execute, "INSERT INTO other(v) VALUES ('row')"))
            time.sleep(0.005)
        database.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ydbfs", required=True)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--directory", default=None, help="where to work; removed at the end")
    options = parser.parse_args()
    work = tempfile.mkdtemp(prefix="ydbfs-benchmark-", dir=options.directory)
    try:
        run(options, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def run(options, work):
    def add(what, value, target=""):
        print(f"{what:<58} {value:>28}  {target}", flush=True)

    database, other = f"{work}/bench.db", f"{work}/other.db"
    make_database(database, options.rows)
    shell(f"sqlite3 {database} 'CREATE INDEX by_a ON bench(a); CREATE TABLE other(id INTEGER PRIMARY KEY, v TEXT)'")
    create = (
        "CREATE BACKUP COLLECTION shop (TABLE bench) WITH (STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true')"
    )
    ydbfs(options, database, create, "BACKUP shop")
    for number in range(3):
        change(database, options.rows, number + 10)
        ydbfs(options, database, "BACKUP shop INCREMENTAL")
    shell(f"sqlite3 {database} '.dump bench' > {work}/dump.sql")
    print(f"{options.rows} rows, database {os.path.getsize(database) / 1e6:.0f} MB, load {os.getloadavg()[0]:.1f}\n")

    dumps, news, lives, memory, writes = [], [], [], [], []
    for _ in range(options.repeat):
        remove(other)
        dumps.append(seconds(shell, f"sqlite3 {other} < {work}/dump.sql; sync {other}"))
        remove(other)
        start = time.monotonic()
        memory.append(ydbfs(options, database, "--into", other, "RESTORE shop"))
        news.append(time.monotonic() - start)
        shell(f"sqlite3 {database} 'DROP TABLE bench; PRAGMA wal_checkpoint(TRUNCATE)' > {work}/out")
        writer = Writer(database)
        writer.start()
        start = time.monotonic()
        memory.append(ydbfs(options, database, "RESTORE shop"))
        lives.append(time.monotonic() - start)
        writer.is_over = True
        writer.join()
        writes += writer.times
    dump = statistics.median(dumps)
    add("`sqlite3 < dump.sql`: seconds", f"{dump:.2f}")
    for label, times in (("a new database", news), ("the live database, with a writer", lives)):
        add(f"restore into {label}: seconds", f"{statistics.median(times):.2f}")
        add(f"restore into {label}: times as fast", f"{dump / statistics.median(times):.2f}", "> 1")
    writes.sort()
    add("another program's write meanwhile, ms: median", f"{statistics.median(writes) * 1e3:.0f}")
    add("  95 % within", f"{writes[len(writes) * 95 // 100] * 1e3:.0f}")
    add("  the longest", f"{writes[-1] * 1e3:.0f}")
    add("memory: peak MiB", f"{max(memory):.0f}", "<= 64 + 64")


if __name__ == "__main__":
    main()
