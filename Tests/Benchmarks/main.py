"""Measures ydbfs, and prints each figure beside its target. All figures of a table come from one run
on one machine; of repeated ones the median is shown. Must run as root: caches are dropped where a
row says cold."""
import argparse
import copy
import os
import platform
import subprocess
import sys
import time

import chain
import copies
import dumps
import growth
import nights
import peers
import picture
import restore
import table
import tree
import views
from data import KEYS
from harness import Bench
from report import Report

PARTS = {"table": table, "tree": tree, "chain": chain, "peers": peers, "copies": copies, "restore": restore, "growth": growth, "views": views, "dumps": dumps, "nights": nights}


def arguments():
    parser = argparse.ArgumentParser(prog="Tests/Benchmarks/run", description=__doc__)
    parser.add_argument("part", nargs="?", default="table", choices=[*PARTS, "all"])
    for name, module in PARTS.items():
        parser.epilog = (parser.epilog or "") + f"{name}: {module.__doc__.splitlines()[0]} "
    parser.add_argument("--ydbfs", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help="of the largest table (default: each part its own)")
    parser.add_argument("--points", type=int, help="incrementals behind the full (default: each part its own)")
    parser.add_argument("--key", choices=list(KEYS), help="of `table`, backups with this kind of key alone")
    parser.add_argument("--tables", type=int, default=10_000, help="of the database with a single changed row")
    parser.add_argument("--step", type=int, default=5, help="every which point of the chain is read")
    parser.add_argument("--repeat", type=int, default=5, help="of each measurement; the median is shown")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    parser.add_argument("--markdown", action="store_true", help="print the tables for the README at the end")
    parser.add_argument("--picture", metavar="FILE", help="draw the chain's curves there, as SVG")
    parser.add_argument("--from", metavar="FILE", dest="source", help="measure nothing: show an earlier --json FILE")
    parser.add_argument("--directory", help="where to work; what is made there is removed at the end")
    return parser.parse_args()


def measure(options):
    report = Report(
        {
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "commit": subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip(),
            "cores": os.cpu_count(),
            "system": platform.release(),
            "part": options.part,
            "repeat": options.repeat,
        }
    )
    for name in PARTS if options.part == "all" else [options.part]:
        module = PARTS[name]
        mine = copy.copy(options)
        mine.rows = options.rows or module.ROWS
        mine.points = options.points or module.POINTS
        start = time.monotonic()
        with Bench(mine, report) as bench:
            module.measure(bench)
        report.about[f"{name}, rows"] = mine.rows
        report.about[f"{name}, minutes"] = round((time.monotonic() - start) / 60, 1)
        # A long run that fails late keeps what it has.
        if options.json:
            report.save(options.json)
    return report


def main():
    options = arguments()
    if options.source is None and os.geteuid() != 0:
        sys.exit("this drops caches: run it as root")
    report = Report.load(options.source) if options.source else measure(options)
    if options.picture and report.curves:
        picture.draw(report.curves, options.picture)
    if options.markdown or options.source:
        print(f"\n{report.markdown()}")


if __name__ == "__main__":
    main()
