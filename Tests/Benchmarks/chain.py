"""Measures what the points of a long chain cost to read: CSV and Parquet, cold, at the full and at
every fifth point, for three ways in which a table changes. Prints a table and draws a picture.
"""
import argparse
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import tempfile

from table import Mount, change, drop_caches, make_database, points, read_all, seconds, stored_bytes, values


def append_rows(path, rows, seed):
    """Adds 1 % of the rows behind all others."""
    source = random.Random(seed)
    database = sqlite3.connect(path, isolation_level=None)
    (last,) = database.execute("SELECT max(id) FROM bench").fetchone()
    database.execute("BEGIN")
    database.executemany(
        "INSERT INTO bench VALUES (?, ?, ?, ?, ?, ?)",
        (values(source, last + 10 * number) for number in range(1, rows // 100 + 1)),
    )
    database.execute("COMMIT")
    database.close()


def change_hot_range(path, rows, seed):
    """Updates 1 % of the rows, all among the last twentieth."""
    source = random.Random(seed)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("BEGIN")
    for _ in range(rows // 100):
        row = values(source, (rows - 1 - source.randrange(rows // 20)) * 10)
        database.execute("UPDATE bench SET a=?, d=?, ts=?, s1=?, s2=? WHERE id=?", row[1:] + row[:1])
    database.execute("COMMIT")
    database.close()


HISTORIES = {"random": change, "append-only": append_rows, "hot range": change_hot_range}


def cold_read(binary, database, work, name, kind, repeat):
    """Seconds and bytes of the first read of a point's file from a fresh mount, caches dropped."""
    times = []
    for _ in range(repeat):
        drop_caches()
        mount = Mount(binary, database, f"{work}/mnt")
        path = f"{mount.point}/shop/{name}/bench.{kind}"
        times.append(seconds(read_all, path))
        size = os.stat(path).st_size
        mount.close()
    return statistics.median(times), size


def measure(options, history, work):
    """Answers, for each measured point, what reading it costs per byte against the full."""
    database = f"{work}/bench.db"
    make_database(database, options.rows)
    mount = Mount(options.ydbfs, database, f"{work}/mnt")
    mount.write(
        "control",
        "CREATE BACKUP COLLECTION shop (TABLE bench, TABLE small) WITH "
        "(STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true');",
    )
    full = mount.backup("full")
    sizes = [stored_bytes(database + ".backups")]
    taken = []
    for number in range(options.points):
        HISTORIES[history](database, options.rows, number + 10)
        taken.append(mount.backup("incremental"))
        sizes.append(stored_bytes(database + ".backups"))
    names = points(mount)
    mount.close()
    grown = [after - before for before, after in zip(sizes, sizes[1:])]
    print(
        f"{history}: full {full:.2f} s, {sizes[0] / 1e6:.1f} MB; incrementals: median "
        f"{statistics.median(taken):.2f} s ({statistics.median(taken) / full:.0%}), slowest "
        f"{max(taken):.2f} s; median {statistics.median(grown) / 1e6:.2f} MB, all {sum(grown) / 1e6:.1f} MB",
        flush=True,
    )
    curves = {}
    for kind in options.formats.split(","):
        rates = {}
        for number in range(0, options.points + 1, options.step):
            time, size = cold_read(options.ydbfs, database, work, names[number], kind, options.repeat)
            rates[number] = size / time / 1e6
        worst = min(rates, key=rates.get)
        print(
            f"{history}, {kind}: full {rates[0]:.0f} MB/s, worst point {worst} with {rates[worst]:.0f} MB/s, "
            f"{rates[0] / rates[worst]:.2f} x the full's time per byte (target <= 1.3)",
            flush=True,
        )
        curves[f"{history}, {kind}"] = {number: rates[0] / rate for number, rate in rates.items()}
    return curves


def draw(curves, path):
    """A picture of the curves: time per byte, the full's being 1, over the number of the point."""
    width, height, left, top = 640, 320, 48, 16
    last = max(max(curve) for curve in curves.values())
    highest = max(1.5, max(max(curve.values()) for curve in curves.values()) * 1.05)
    colours = ["#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#009e73", "#8fce00"]

    def x(number):
        return left + number / last * (width - left - 170)

    def y(ratio):
        return top + (1 - ratio / highest) * (height - top - 40)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for tick in [0, 0.5, 1, 1.3]:
        dash = ' stroke-dasharray="4 3"' if tick == 1.3 else ""
        parts.append(
            f'<line x1="{x(0)}" x2="{x(last)}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#999"{dash}/>'
            f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick}</text>'
        )
    for number in range(0, last + 1, max(1, last // 6)):
        parts.append(f'<text x="{x(number):.1f}" y="{height - 22}" text-anchor="middle">{number}</text>')
    parts.append(f'<text x="{x(last / 2):.1f}" y="{height - 6}" text-anchor="middle">point of the chain</text>')
    for (name, curve), colour, line in zip(curves.items(), colours, range(99)):
        path_points = " ".join(f"{x(n):.1f},{y(r):.1f}" for n, r in curve.items())
        parts.append(f'<polyline points="{path_points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{width - 160}" y="{top + 16 + 18 * line}" fill="{colour}">{name}</text>')
    parts.append("</svg>")
    with open(path, "w") as file:
        file.write("\n".join(parts) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ydbfs", required=True)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--points", type=int, default=60)
    parser.add_argument("--step", type=int, default=5, help="every which point is read")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--histories", default=",".join(HISTORIES))
    parser.add_argument("--formats", default="csv,parquet")
    parser.add_argument("--picture", help="write the curves to this file, as SVG")
    parser.add_argument("--directory", default=None, help="where to work; removed at the end")
    options = parser.parse_args()
    curves = {}
    for history in options.histories.split(","):
        work = tempfile.mkdtemp(prefix="ydbfs-benchmark-", dir=options.directory)
        try:
            curves |= measure(options, history, work)
        finally:
            subprocess.run(["umount", "-l", f"{work}/mnt"], stderr=subprocess.DEVNULL, check=False)
            shutil.rmtree(work, ignore_errors=True)
    if options.picture:
        draw(curves, options.picture)


if __name__ == "__main__":
    main()
