"""Compares the mount with those of restic, borg and rclone, and with a plain file: the same bytes,
the CSV of a full and of the newest incremental, read cold from front to back and at random places.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time

from table import Mount, change, drop_caches, make_database, points, random_reads, read_all, seconds

SECRET = {"RESTIC_PASSWORD": "x", "BORG_PASSPHRASE": "x", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}


def quiet(*command, **options):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


class Peer:
    """Somebody's mount of a directory: `prepare` once, then `start` and `stop`."""

    def __init__(self, name, prepare, start, inside):
        self.name, self.prepare, self.start, self.inside = name, prepare, start, inside

    def measure(self, work, source, repeat):
        point = f"{work}/peer"
        os.makedirs(point, exist_ok=True)
        for command in self.prepare(work, source):
            quiet(*command)
        reads, randoms = [], []
        for _ in range(repeat):
            for figures, action in ((reads, read_all), (randoms, lambda path: random_reads(path, 3))):
                drop_caches()
                process = subprocess.Popen(
                    self.start(work, source, point), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                path = self.wait(point, source)
                figures.append(seconds(action, path) if action is read_all else action(path))
                quiet("umount", "-l", point)
                process.terminate()
                process.wait()
        return statistics.median(reads), statistics.median(r[0] for r in randoms)

    def wait(self, point, source):
        for _ in range(3000):
            for path in self.inside(point, source):
                if os.path.exists(path):
                    return path
            time.sleep(0.01)
        raise SystemExit(f"{self.name}: its mount shows no file")


def peers():
    return [
        Peer(
            "restic",
            lambda work, source: [["restic", "-r", f"{work}/restic", "init"], ["restic", "-r", f"{work}/restic", "backup", source]],
            lambda work, source, point: ["restic", "-r", f"{work}/restic", "mount", point],
            lambda point, source: [f"{point}/snapshots/latest{source}/bench.csv"],
        ),
        Peer(
            "borg",
            lambda work, source: [["borg", "init", "-e", "none", f"{work}/borg"], ["borg", "create", "-C", "zstd", f"{work}/borg::a", source]],
            lambda work, source, point: ["borg", "mount", "-f", f"{work}/borg::a", point],
            lambda point, source: [f"{point}{source}/bench.csv"],
        ),
        Peer(
            "rclone",
            lambda work, source: [],
            lambda work, source, point: ["rclone", "mount", source, point],
            lambda point, source: [f"{point}/bench.csv"],
        ),
    ]


def ours(options, database, work, name):
    reads, randoms = [], []
    for _ in range(options.repeat):
        for figures, action in ((reads, read_all), (randoms, lambda path: random_reads(path, 3))):
            drop_caches()
            mount = Mount(options.ydbfs, database, f"{work}/mnt")
            path = f"{mount.point}/shop/{name}/bench.csv"
            figures.append(seconds(action, path) if action is read_all else action(path))
            mount.close()
    return statistics.median(reads), statistics.median(r[0] for r in randoms)


def run(options, work):
    database = f"{work}/bench.db"
    source = f"{work}/source"
    os.makedirs(source)
    make_database(database, options.rows)
    mount = Mount(options.ydbfs, database, f"{work}/mnt")
    mount.write(
        "control",
        "CREATE BACKUP COLLECTION shop (TABLE bench) WITH (STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true');",
    )
    mount.backup("full")
    for number in range(options.points):
        change(database, options.rows, number + 10)
        mount.backup("incremental")
    names = points(mount)
    shutil.copyfile(f"{mount.point}/shop/{names[0]}/bench.csv", f"{source}/bench.csv")
    mount.close()
    size = os.path.getsize(f"{source}/bench.csv")

    def show(what, read, random, base=None):
        ratio = "" if base is None else f"   {read / base[0]:8.2f} x our time   {base[1] / random:8.2f} x fewer reads"
        print(f"{what:<24} {size / read / 1e6:8.0f} MB/s   {random:8.0f} random 4 KiB/s{ratio}", flush=True)

    full = ours(options, database, work, names[0])
    show("ydbfs, full", *full)
    show(f"ydbfs, point {options.points}", *ours(options, database, work, names[-1]))
    drop_caches()
    plain = seconds(read_all, f"{source}/bench.csv")
    drop_caches()
    show("plain file", plain, random_reads(f"{source}/bench.csv", 3)[0], full)
    for peer in peers():
        show(peer.name, *peer.measure(work, source, options.repeat), full)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ydbfs", required=True)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--points", type=int, default=10)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--directory", default=None, help="where to work; removed at the end")
    options = parser.parse_args()
    os.environ.update(SECRET)
    work = tempfile.mkdtemp(prefix="ydbfs-benchmark-", dir=options.directory)
    try:
        run(options, work)
    finally:
        for point in ("mnt", "peer"):
            subprocess.run(["umount", "-l", f"{work}/{point}"], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
