"""The mounts of restic, borg and rclone, and ext4, with the same bytes: the CSV of the full."""
import os
import shutil
import subprocess
import time

from data import Database
from harness import drop_caches, medians, random_reads, read_all, seconds

ROWS = 3_000_000
POINTS = 10
SECRET = {"RESTIC_PASSWORD": "x", "BORG_PASSPHRASE": "x", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}


def quiet(command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Peer:
    """Somebody's mount of the directory `work`/source at `work`/peer: how to prepare and to start it,
    and where it shows the file."""

    def __init__(self, work, prepare, start, file):
        self.work, self.start, self.file = work, start.split(), f"{work}/peer/{file}"
        os.makedirs(f"{work}/peer", exist_ok=True)
        for command in prepare:
            quiet(command.split())

    def cold(self, action):
        """What `action` answers for the file in a fresh mount, with dropped caches."""
        drop_caches()
        process = subprocess.Popen(self.start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 30
            while not os.path.exists(self.file):
                if time.monotonic() > deadline:
                    raise SystemExit(f"{self.start[0]}: its mount shows no file")
                time.sleep(0.01)
            return action(self.file)
        finally:
            quiet(["umount", "-l", f"{self.work}/peer"])
            process.terminate()
            process.wait()


def peers(work):
    source = f"{work}/source"
    return {
        "restic": lambda: Peer(
            work,
            [f"restic -r {work}/restic init", f"restic -r {work}/restic backup {source}"],
            f"restic -r {work}/restic mount {work}/peer",
            f"snapshots/latest{source}/bench.csv",
        ),
        "borg": lambda: Peer(
            work,
            [f"borg init -e none {work}/borg", f"borg create -C zstd {work}/borg::a {source}"],
            f"borg mount -f {work}/borg::a {work}/peer",
            f"{source[1:]}/bench.csv",
        ),
        "rclone": lambda: Peer(work, [], f"rclone mount {source} {work}/peer", "bench.csv"),
    }


def measure(bench):
    os.environ.update(SECRET)
    bench.say(f"making {bench.options.rows} rows")
    database = Database(bench.database, bench.options.rows)
    source = f"{bench.work}/source/bench.csv"
    os.makedirs(os.path.dirname(source))
    with bench.mount() as mount:
        mount.create("(TABLE bench)")
        mount.backup("full")
        for number in range(bench.options.points):
            database.change("random rows", number + 10)
            mount.backup("incremental")
        points = mount.points()
        shutil.copyfile(mount.path(points[0]), source)

    def plain(action):
        drop_caches()
        return action(source)

    def both(cold):
        """Seconds of a first read, random reads per second and their median ms: `cold` runs an
        action on the file once."""
        return medians(
            (cold(lambda path: seconds(read_all, path)), *cold(random_reads)) for _ in range(bench.repeat)
        )

    def ours(name):
        return medians(
            (taken, *reads)
            for taken, reads in zip(
                bench.cold(lambda mount: seconds(read_all, mount.path(name))),
                bench.cold(lambda mount: random_reads(mount.path(name))),
            )
        )

    figures = {"ydbfs, full": ours(points[0]), f"ydbfs, point {len(points) - 1}": ours(points[-1]), "ext4": both(plain)}
    for name, make in peers(bench.work).items():
        bench.say(name)
        figures[name] = both(make().cold)
    read, rate, middle = zip(*figures.values())
    size = os.path.getsize(source)
    others = [None, None] + [1] * (len(figures) - 2)
    table = bench.report.table(f"the same {size / 1e6:.0f} MB of CSV, cold", list(figures))
    table.add("sequential, MB/s", [size / t / 1e6 for t in read])
    table.add(
        "sequential, full: times as fast", [n and t / read[0] for n, t in zip(others, read)],
        {"restic": ">= 3", "borg": ">= 2"},
    )
    table.add("random 4 KiB, reads/s", rate)
    table.add("random 4 KiB, median ms", middle)
    for place, label in enumerate(list(figures)[:2]):
        table.add(
            f"random 4 KiB, {label.split(', ')[1]}: times as many",
            [n and rate[place] / r for n, r in zip(others, rate)],
            {"restic": ">= 4", "borg": ">= 4"},
        )
