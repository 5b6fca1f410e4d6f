"""A mount under load: where its memory, descriptors and threads end."""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import load
import watch


def arguments():
    parser = argparse.ArgumentParser(prog="Tests/Soak/run", description=__doc__)
    parser.add_argument("--ydbfs", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--minutes", type=float, default=15, help="of load (6 at least)")
    parser.add_argument("--rows", type=int, default=200_000, help="of the largest table")
    parser.add_argument("--cache", type=int, default=16, help="MiB of the mount's cache: small, so that it is full soon")
    parser.add_argument("--csv", help="a file for all samples")
    parser.add_argument("--keep", action="store_true", help="leaves the folder with the database and the backups")
    parser.add_argument("--prefix", default="", help="a command that the mount runs under, as heaptrack")
    found = parser.parse_args()
    if found.minutes < 6:
        parser.error("--minutes: 6 at least, of which 3 fill the caches")
    return found


class Stage:
    """The database, its mount, and what both are told."""

    def __init__(self, options):
        self.ydbfs = options.ydbfs
        self.folder = tempfile.mkdtemp(prefix="ydbfs-soak.")
        self.database = f"{self.folder}/shop.db"
        self.point = f"{self.folder}/m"
        self.stop = threading.Event()
        self.counts = {}
        self.faults = []
        self._lock = threading.Lock()
        load.make_database(self.database, options.rows)
        os.mkdir(self.point)
        self.process = subprocess.Popen(
            [*options.prefix.split(), self.ydbfs, self.database, self.point, "-f",
             "-o", f"cache_size={options.cache}M"],
            stdout=subprocess.DEVNULL, stderr=open(f"{self.folder}/log", "w"),
        )
        while not os.path.exists(f"{self.point}/control"):
            if self.process.poll() is not None:
                sys.exit(open(f"{self.folder}/log").read())
            time.sleep(0.01)
        self.pid = self.process.pid
        if options.prefix:
            found = subprocess.run(["pgrep", "-f", f"^{self.ydbfs} {self.database}"], capture_output=True, text=True)
            self.pid = int(found.stdout.split()[0])

    def count(self, what):
        with self._lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def fault(self, words):
        with self._lock:
            self.faults.append(words)
            print(f"FAULT {words}", flush=True)

    def close(self, keeps):
        unmounted = subprocess.run([self.ydbfs, "unmount", self.point, "--now"], capture_output=True, text=True)
        if unmounted.returncode != 0:
            self.fault(f"unmount: {unmounted.stderr}")
            subprocess.run(["umount", "-l", self.point])
        self.process.wait()
        if keeps:
            print(f"kept: {self.folder}")
        else:
            shutil.rmtree(self.folder)


def main():
    options = arguments()
    stage = Stage(options)
    series = watch.Series(stage.pid)
    try:
        load.create(stage)
        threads = [threading.Thread(target=run, args=(stage,), daemon=True) for run in load.LOADS]
        for thread in threads:
            thread.start()
        end = time.monotonic() + options.minutes * 60
        while time.monotonic() < end and stage.process.poll() is None:
            series.sample(load.points(stage), sum(stage.counts.values()))
            time.sleep(2)
        stage.stop.set()
        for thread in threads:
            thread.join(timeout=120)
            if thread.is_alive():
                stage.fault(f"{thread.name} doesn't end: the mount hangs")
        series.load_ended()
        # Files that were condemned go ten seconds later; then nothing happens any more.
        rest = time.monotonic() + 45
        while time.monotonic() < rest and stage.process.poll() is None:
            series.sample(load.points(stage), sum(stage.counts.values()))
            time.sleep(2)
        if stage.process.poll() is not None:
            stage.fault(f"the mount ended: {open(stage.folder + '/log').read()[-2000:]}")
        else:
            for words in series.leftovers():
                stage.fault(words)
            verified = subprocess.run(
                [stage.ydbfs, "verify", stage.database, "--json"], capture_output=True, text=True)
            if verified.returncode != 0:
                stage.fault(f"verify: {verified.stdout[-2000:]}{verified.stderr}")
            print(f"operations in the journal: {load.operations(stage)}")
    finally:
        stage.stop.set()
        stage.close(options.keep)
    if options.csv:
        series.write(options.csv)
    print(series.table())
    print(series.picture())
    print(", ".join(f"{what} {count}" for what, count in sorted(stage.counts.items())))
    verdicts = series.verdicts(options.cache)
    for words, is_right in verdicts:
        print(("ok    " if is_right else "WRONG ") + words)
    failed = len(stage.faults) + sum(not is_right for _, is_right in verdicts)
    print(f"{len(verdicts)} bounds, {failed} failed")
    sys.exit(1 if failed else 0)


main()
