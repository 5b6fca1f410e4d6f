"""What all benchmarks share: a place to work, mounts, caches, and ways to read."""
import collections
import concurrent.futures
import glob
import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

Cost = collections.namedtuple("Cost", "seconds cpu peak read decoded changes")
"""What a backup cost: seconds, CPU seconds, peak MiB; bytes of row files read and what they were
decoded to; rows that changed."""


def seconds(action, *arguments):
    start = time.monotonic()
    action(*arguments)
    return time.monotonic() - start


def shell(command):
    """Runs a line of bash; answers its seconds and CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    time_taken = seconds(lambda: subprocess.run(["bash", "-c", "set -o pipefail; " + command], check=True))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time_taken, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def medians(samples):
    """The median of each place of tuples."""
    return tuple(statistics.median(values) for values in zip(*samples))


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")


def read_range(path, start, end):
    file = os.open(path, os.O_RDONLY)
    buffer = bytearray(1 << 20)
    while start < end:
        count = os.preadv(file, [memoryview(buffer)[: end - start]], start)
        if count == 0:
            sys.exit(f"{path} is shorter than its size")
        start += count
    os.close(file)


def read_all(path):
    read_range(path, 0, os.stat(path).st_size)


def read_together(ranges):
    """Reads (path, start, end) each in a thread of its own, all at once."""
    with concurrent.futures.ThreadPoolExecutor(len(ranges)) as pool:
        for done in [pool.submit(read_range, *part) for part in ranges]:
            done.result()


def random_reads(path, half=0, duration=3):
    """Reads 4 KiB at random places, one at a time and none twice; answers reads per second and the
    median in ms. The places of the two halves of a file are different ones."""
    pages = os.stat(path).st_size // 4096
    places = random.Random(2).sample(range(pages), min(pages, 60_000))[half::2]
    file = os.open(path, os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
    times = []
    end = time.monotonic() + duration
    for place in places:
        times.append(seconds(os.pread, file, 4096, place * 4096))
        if time.monotonic() > end:
            break
    os.close(file)
    return len(times) / sum(times), statistics.median(times) * 1e3


def stored_files(database):
    """The data files of a database's repository, and all their bytes: indexes, and the rows of each table."""
    files = glob.glob(f"{database}.backups/collections/*/data/*") + glob.glob(f"{database}.backups/tables/*/*/*")
    return files, sum(os.path.getsize(file) for file in files)


class Mount:
    """A live mount of a database, with one collection `shop`. To be used by `with`."""

    def __init__(self, ydbfs, database, point):
        self.point = point
        os.makedirs(point, exist_ok=True)
        start = time.monotonic()
        # Its log is long: a pipe that nobody reads would be full.
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([ydbfs, database, point, "-f"], stdout=subprocess.DEVNULL, stderr=self.log)
        while not os.path.exists(f"{point}/control"):
            if self.process.poll() is not None:
                self.log.seek(0)
                sys.exit(f"the mount failed: {self.log.read().decode()}")
            time.sleep(0.002)
        self.ready = time.monotonic() - start

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        subprocess.run(["umount", "-l", self.point], check=True)
        self.process.wait()

    def path(self, name, file="bench.csv"):
        return f"{self.point}/shop/{name}/{file}"

    def points(self):
        return sorted(name for name in os.listdir(f"{self.point}/shop") if re.match(r"\d{14}Z_", name))

    def _write(self, name, text):
        with open(f"{self.point}/{name}", "w") as file:
            file.write(text)

    def _read(self, name):
        with open(f"{self.point}/{name}") as file:
            return file.read().strip()

    def create(self, tables):
        self._write(
            "control",
            f"CREATE BACKUP COLLECTION shop {tables} WITH (STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true');",
        )

    def backup(self, kind):
        """Takes a `full` or an `incremental`, and answers its `Cost`."""
        with open(f"/proc/{self.process.pid}/clear_refs", "w") as file:
            file.write("5")  # The peak is that of what follows.
        # Points are named by their second: waiting for the next one isn't measured.
        time.sleep(1.01 - time.time() % 1)
        before = self.cpu()
        start = time.monotonic()
        self._write("shop/control", kind)
        line = self._read("shop/operation/wait")
        taken = time.monotonic() - start
        if not line.startswith("done"):
            sys.exit(f"{kind}: {line}")
        progress = dict(line.split(" ", 1) for line in self._read("shop/operation/progress").splitlines())
        return Cost(
            taken,
            self.cpu() - before,
            self.peak(),
            int(progress.get("read", 0)),
            int(progress.get("decoded", 0)),
            int(progress["rows"]),
        )

    def cpu(self):
        """CPU seconds so far."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak(self):
        """Peak resident MiB so far."""
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(r"VmHWM:\s+(\d+)", file.read()).group(1)) / 1024


class Bench:
    """Where one benchmark works; everything in `work` is removed at the end. To be used by `with`."""

    def __init__(self, options, report):
        self.options, self.report, self.repeat = options, report, options.repeat

    def __enter__(self):
        self.work = tempfile.mkdtemp(prefix="ydbfs-benchmark-", dir=self.options.directory)
        self.database = f"{self.work}/bench.db"
        return self

    def __exit__(self, kind, error, trace):
        for name in ("mnt", "peer"):
            subprocess.run(["umount", "-l", f"{self.work}/{name}"], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.work, ignore_errors=True)

    def clear(self):
        """Removes the database and its repository, to begin with another."""
        for path in glob.glob(f"{self.database}*"):
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)

    def mount(self):
        return Mount(self.options.ydbfs, self.database, f"{self.work}/mnt")

    def cold(self, action):
        """What `action` answers for a fresh mount and with dropped caches, once for each repetition."""
        results = []
        for _ in range(self.repeat):
            drop_caches()
            with self.mount() as mount:
                results.append(action(mount))
        return results

    def cold_read(self, name, file="bench.csv"):
        """Median seconds of the first read of a point's file, and the file's bytes."""
        return medians(
            self.cold(lambda mount: (seconds(read_all, mount.path(name, file)), os.stat(mount.path(name, file)).st_size))
        )

    def cold_random(self, name):
        """Random 4 KiB of a point's CSV from a fresh mount, then of other places of it: reads per
        second and median ms of both."""

        def read(mount):
            path = mount.path(name)
            return (*random_reads(path, half=0), *random_reads(path, half=1))

        return medians(self.cold(read))

    def say(self, text):
        print(f"… {text}", file=sys.stderr, flush=True)
