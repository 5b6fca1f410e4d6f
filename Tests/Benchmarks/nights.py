"""Nightly copies of a database that are taken in as points, against keeping them, as they are or compressed."""
import glob
import os
import subprocess

from copies import tree_bytes
from data import Database
from harness import drop_caches, seconds, shell

ROWS = 1_000_000
POINTS = 30


def measure(bench):
    nights = f"{bench.work}/nights"
    repository = f"{nights}.backups"
    os.makedirs(nights)
    bench.say(f"making {bench.options.points} copies of {bench.options.rows} rows")
    database = Database(bench.database, bench.options.rows)
    for night in range(bench.options.points):
        if night > 0:
            database.change("random rows", night)
        name = f"bench-2026-{1 + night // 28:02}-{1 + night % 28:02}.db"
        shell(f"sqlite3 {bench.database} '.backup {nights}/{name}'")
    copies = tree_bytes(nights)
    bench.say("importing")
    drop_caches()
    imported = seconds(status, bench, nights)
    stored = tree_bytes(repository)
    again = seconds(status, bench, nights)
    files = sorted(glob.glob(f"{nights}/*.db"))
    drop_caches()
    copying = seconds(shell, f"cp -r {nights} {bench.work}/others && sync -f {bench.work}")
    shell(f"rm -r {bench.work}/others")
    drop_caches()
    packing = seconds(shell, f"for f in {nights}/*.db; do zstd -q -3 -T0 $f -o $f.packed; done; sync -f {bench.work}")
    packed = sum(os.path.getsize(f"{file}.packed") for file in files)

    table = bench.report.table(
        f"{len(files)} nightly copies of {bench.options.rows:,} rows, 1 % changed each",
        ["ydbfs", "as they are, `cp`", "`zstd -3 -T0` of each"],
    )
    table.add("seconds", [imported, copying, packing])
    table.add("seconds, nothing new", [again, None, None])
    table.add("stored MB", [stored / 1e6, copies / 1e6, packed / 1e6])
    table.add("times as many bytes as ours", [None, copies / stored, packed / stored], {"as they are, `cp`": ">= 10"})


def status(bench, source):
    subprocess.run([bench.options.ydbfs, "status", source], check=True, stdout=subprocess.DEVNULL)
