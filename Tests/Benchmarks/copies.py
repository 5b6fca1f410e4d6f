"""Backups against what a user would do instead: sqlite3's `.backup`, and restic or borg of the copy."""
import os
import shutil
import statistics
import subprocess

from data import Database
from harness import seconds, shell

ROWS = 3_000_000
POINTS = 1  # Of each kind of change, `--repeat` are taken.
CHANGES = {"1 % random updates": "random updates", "1 % appended": "appended rows"}
SECRET = {"RESTIC_PASSWORD": "x", "BORG_PASSPHRASE": "x", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}


def tree_bytes(folder):
    return sum(os.lstat(os.path.join(path, name)).st_size for path, _, names in os.walk(folder) for name in names)


class Archive:
    """A program that keeps versions of files, with a repository of its own."""

    def __init__(self, repository, prepare, store):
        self.repository, self.store, self.count = repository, store, 0
        quiet(prepare)

    def take(self, copy):
        """Stores the copy; answers the seconds."""
        self.count += 1
        return seconds(quiet, self.store.format(number=self.count, copy=copy))


def quiet(command):
    subprocess.run(command.split(), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def archives(work):
    restic, borg = f"{work}/restic", f"{work}/borg"
    return {
        "restic": Archive(restic, f"restic -r {restic} init", f"restic -r {restic} backup {{copy}}"),
        "borg": Archive(borg, f"borg init -e none {borg}", f"borg create -C zstd {borg}::{{number}} {{copy}}"),
    }


def measure(bench):
    os.environ.update(SECRET, RESTIC_CACHE_DIR=f"{bench.work}/cache", BORG_BASE_DIR=f"{bench.work}/base")
    bench.say(f"making {bench.options.rows} rows")
    database = Database(bench.database, bench.options.rows)
    copy = f"{bench.work}/copy.db"
    fulls = []
    for _ in range(bench.repeat):
        others = archives(bench.work)
        with bench.mount() as mount:
            mount.create("(TABLE bench, TABLE small)")
            fulls.append(take(bench, mount, "full", copy, others))
        if len(fulls) < bench.repeat:
            for path in (f"{bench.database}.backups", *(other.repository for other in others.values())):
                shutil.rmtree(path)
            os.remove(copy)
    found = {"a full": medians(fulls)}
    with bench.mount() as mount:
        for number, (what, history) in enumerate(CHANGES.items()):
            taken = []
            for repetition in range(bench.repeat):
                database.change(history, 100 * number + repetition)
                taken.append(take(bench, mount, "incremental", copy, others))
            found[what] = medians(taken)
    show(bench, found)


def take(bench, mount, kind, copy, others):
    """(seconds, stored bytes) of ourselves and of each of the others, with the copy that they need."""
    repositories = [f"{bench.database}.backups", *(other.repository for other in others.values())]
    before = [tree_bytes(path) for path in repositories]
    ours = mount.backup(kind).seconds
    copying = shell(f"sqlite3 {bench.database} '.backup {copy}'")[0]
    times = [ours, *(copying + other.take(copy) for other in others.values())]
    return [(taken, tree_bytes(path) - old) for taken, path, old in zip(times, repositories, before)]


def medians(samples):
    """Of each program's seconds and bytes."""
    return [tuple(map(statistics.median, zip(*program))) for program in zip(*samples)]


def show(bench, found):
    names = ["ydbfs", ".backup, restic", ".backup, borg"]
    table = bench.report.table(f"{bench.options.rows:,} rows, against copies", names)
    for what, ((ours, stored), *others) in found.items():
        targets = {} if what != "1 % random updates" else {names[1]: ">= 3", names[2]: ">= 3"}
        fewer = {name: ">= 50" for name in targets}
        table.add(f"{what}, s", [ours, *(taken for taken, _ in others)])
        table.add(f"{what}: we are times as fast", [None, *(taken / ours for taken, _ in others)], targets)
        table.add(f"{what}, stored MB", [stored / 1e6, *(bytes_ / 1e6 for _, bytes_ in others)])
        table.add(f"{what}: times as many bytes as ours", [None, *(bytes_ / stored for _, bytes_ in others)], fewer)
