"""What the mount takes from the machine, over time, and whether it stays the same.

The load is the same from its beginning to its end, so only what grows with *how much was done* can make a
difference: per operation, per point, per log entry, per handle. Three minutes fill what has a limit: the cache (by
`cache_size`), the operations and refusals that are shown, the pool of open files, the allocator's arenas. What minute 3 to
4 then takes, by its median, is what the last two minutes may take, and a slack: what happens to be done in a minute makes
its median differ by up to 11 MiB either way (a verification has 32 MiB of its own). Once nothing is done any more, all
of that is gone, and what is left must keep the promise that holds while something is.
"""
import csv
import os
import statistics
import time

COLUMNS = ["seconds", "rss", "anonymous", "pss", "descriptors", "removed", "threads", "points", "done"]
SLACK_MIB = 24
"""MiB of anonymous memory between beginning and end, twice what minutes differ by."""
IDLE_MIB = 64
"""MiB of anonymous memory beside the cache once nothing is done any more: what README and targets promise while
something is."""
SLACK_DESCRIPTORS = 12
"""As many as the readers at work hold, more or fewer at an instant."""
SLACK_THREADS = 3
WARM_SECONDS = 180


class Series:
    def __init__(self, pid):
        self.pid = pid
        self.start = time.monotonic()
        self.samples = []
        self.ended = None

    def sample(self, points, done):
        try:
            rollup = self._fields("smaps_rollup")
            status = self._fields("status")
            names = self._descriptors()
        except (FileNotFoundError, ProcessLookupError):
            return
        self.samples.append({
            "seconds": time.monotonic() - self.start,
            "rss": rollup["Rss"] / 1024, "anonymous": rollup["Anonymous"] / 1024, "pss": rollup["Pss"] / 1024,
            "descriptors": len(names), "removed": sum(name.endswith(" (deleted)") for name in names),
            "threads": status["Threads"], "points": points, "done": done,
        })

    def _fields(self, name):
        """Numbers of a file in /proc, by their words."""
        found = {}
        with open(f"/proc/{self.pid}/{name}") as file:
            for line in file:
                words = line.replace(":", " ").split()
                if len(words) > 1 and words[1].isdigit():
                    found[words[0]] = int(words[1])
        return found

    def _descriptors(self):
        folder = f"/proc/{self.pid}/fd"
        names = []
        for number in os.listdir(folder):
            try:
                names.append(os.readlink(f"{folder}/{number}"))
            except FileNotFoundError:
                pass
        return names

    def load_ended(self):
        self.ended = time.monotonic() - self.start

    def leftovers(self):
        """Removed files that are held open though nobody reads any more."""
        return [f"held open though it is removed: {name}" for name in self._descriptors()
                if name.endswith(" (deleted)")]

    # What it comes to

    def _median(self, column, start, end):
        values = [s[column] for s in self.samples if start <= s["seconds"] < end]
        return statistics.median(values) if values else float("nan")

    def verdicts(self, cache):
        """(what was found, whether that is right); `cache`: MiB that the mount may keep in it."""
        found = []
        warm = (WARM_SECONDS, WARM_SECONDS + 60)
        last = (self.ended - 120, self.ended)
        idle = (self.samples[-1]["seconds"] - 20, float("inf"))
        for column, unit, slack in [
            ("anonymous", "MiB", SLACK_MIB), ("descriptors", "", SLACK_DESCRIPTORS), ("threads", "", SLACK_THREADS),
        ]:
            first = self._median(column, *warm)
            for when, place in [("in the last two minutes", last), ("after the load", idle)]:
                value = self._median(column, *place)
                found.append((
                    f"{column} {when}: {value:.1f} {unit}, in minute 3 to 4 {first:.1f}, at most {slack} more",
                    value <= first + slack,
                ))
        value = self._median("anonymous", *idle)
        found.append((
            f"anonymous after the load: {value:.1f} MiB, at most {IDLE_MIB} and {cache} of the cache",
            value <= IDLE_MIB + cache,
        ))
        return found

    def table(self):
        lines = [f"{'minute':>7}" + "".join(f"{name:>12}" for name in COLUMNS[1:])]
        for minute in range(int(self.samples[-1]["seconds"] // 60) + 1):
            place = (60 * minute, 60 * minute + 60)
            lines.append(f"{minute:>7}" + "".join(f"{self._median(c, *place):>12.1f}" for c in COLUMNS[1:]))
        return "\n".join(lines)

    def picture(self, height=12, width=90):
        """Anonymous memory over time, a column of dots for each share of it."""
        step = self.samples[-1]["seconds"] / width
        values = [self._median("anonymous", step * i, step * (i + 1)) for i in range(width)]
        values = [value if value == value else 0 for value in values]
        top = max(values)
        lines = ["", "anonymous memory, MiB"]
        for row in range(height, 0, -1):
            level = top * row / height
            lines.append(f"{level:6.1f} |" + "".join("#" if v >= level - top / height / 2 else " " for v in values))
        return "\n".join(lines + [" " * 7 + "+" + "-" * width, ""])

    def write(self, path):
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            for sample in self.samples:
                writer.writerow({key: round(value, 3) for key, value in sample.items()})
