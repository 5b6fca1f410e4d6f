"""Restores against `sqlite3 < dump.sql` of the same table, and what other programs notice of them.

The table has an index beside its key. A restore compares what it has loaded, row by row, with what
was backed up; loading a dump compares nothing.
"""
import glob
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import threading
import time

from data import Database
from harness import seconds, shell

ROWS = 10_000_000
POINTS = 3


def measure(bench):
    other = f"{bench.work}/other.db"
    dump = f"{bench.work}/dump.sql"
    database = Database(bench.database, bench.options.rows)
    sql(bench.database, "CREATE INDEX by_a ON bench(a); CREATE TABLE other(id INTEGER PRIMARY KEY, v TEXT)")
    create = "CREATE BACKUP COLLECTION shop (TABLE bench) WITH (STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true')"
    run(bench, create, "BACKUP shop")
    for number in range(bench.options.points):
        database.change("random rows", number + 10)
        run(bench, "BACKUP shop INCREMENTAL")
    shell(f"sqlite3 {bench.database} '.dump bench' > {dump}")

    dumps, news, lives, peaks, writes = [], [], [], [], []
    for number in range(bench.repeat):
        bench.say(f"restores, {number + 1} of {bench.repeat}")
        remove(other)
        dumps.append(seconds(shell, f"sqlite3 {other} < {dump}; sync {other}"))
        remove(other)
        taken, peak = run(bench, "--into", other, "RESTORE shop")
        news.append(taken)
        peaks.append(peak)
        sql(bench.database, "DROP TABLE bench")
        writer = Writer(bench.database)
        writer.start()
        taken, peak = run(bench, "RESTORE shop")
        writer.is_over = True
        writer.join()
        lives.append(taken)
        peaks.append(peak)
        writes += writer.times
    writes.sort()
    median = statistics.median
    table = bench.report.table(
        f"Restore of {bench.options.rows:,} rows", ["a new database", "the live one, beside a writer"]
    )
    table.add("`sqlite3 < dump.sql`: seconds", median(dumps))
    table.add("restore: seconds", [median(news), median(lives)])
    table.add("restore: times as fast", [median(dumps) / median(news), median(dumps) / median(lives)], "> 1")
    table.add("restore: peak memory, MiB", max(peaks), "<= 128")
    table.add("another program's write meanwhile: median ms", [None, median(writes) * 1e3])
    table.add("another program's write meanwhile: 95 % within, ms", [None, writes[len(writes) * 95 // 100] * 1e3])
    table.add("another program's write meanwhile: the longest, ms", [None, writes[-1] * 1e3])


def run(bench, *arguments):
    """Runs `ydbfs run` to its end; answers its seconds and the peak of its memory in MiB."""
    start = time.monotonic()
    process = subprocess.Popen([bench.options.ydbfs, "run", bench.database, *arguments], stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        # What a child tells at its end includes this program's memory, which it began with.
        with open(f"/proc/{process.pid}/status") as file:
            if "ydbfs" in file.readline():
                peak = max(peak, int((re.search(r"VmHWM:\s+(\d+)", file.read()) or [0, 0])[1]))
        time.sleep(0.01)
    if process.returncode != 0:
        sys.exit(f"ydbfs run {arguments} failed")
    return time.monotonic() - start, peak / 1024


def sql(path, text):
    database = sqlite3.connect(path, isolation_level=None)
    database.executescript(text)
    database.close()


def remove(database):
    for path in glob.glob(f"{database}*"):
        os.remove(path)


class Writer(threading.Thread):
    """Another program that writes a row every few milliseconds, and how long each took it."""

    def __init__(self, path):
        super().__init__()
        self.path, self.times, self.is_over = path, [], False

    def run(self):
        database = sqlite3.connect(self.path, isolation_level=None, timeout=60)
        while not self.is_over:
            self.times.append(seconds(database.execute, "INSERT INTO other(v) VALUES ('row')"))
            time.sleep(0.005)
        database.close()
