"""A database through a full and two incrementals, and back: the same for every program."""
import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import traceback

import compare

CREATE = "CREATE BACKUP COLLECTION c DATABASE WITH (STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true')"


class Failed(Exception):
    """A check that failed, in words."""


class Program:
    """A program and a database of its: makes it, changes it, and uses it again after a restore.

    What a subclass gives: `name`, `quick` (installs in seconds), `database` (a path below the folder in
    which it works), `make`, `change(number)`, `use` (which may export with `ydbfs`); for some `prepare(connection)`, what the program
    adds to its own connections, and `excused`, names of objects that can't come back without it and are
    to be named in a note.
    """

    name = ""
    quick = False
    ydbfs = ""
    database = "app.db"
    excused = ()

    def __init__(self, folder):
        self.folder = folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self, *command, folder="", **options):
        """Runs a command in the folder; answers what it prints."""
        options = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **options}
        environment = {**os.environ, "HOME": self.folder, "USER": "tester", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        ended = subprocess.run(command, cwd=self.path(folder), env=environment, check=False, timeout=600, **options)
        if ended.returncode != 0:
            raise Failed(f"{' '.join(command)[:200]} ended with {ended.returncode}: {ended.stdout[-1000:]}")
        return ended.stdout

    def expect(self, what, *words):
        """Checks that a text has all these words."""
        for word in words:
            if word not in what:
                raise Failed(f"no {word!r} in {what[-1000:]!r}")

    def prepare(self, connection):
        """Adds the program's own functions and collations to a connection."""

    def make(self):
        raise NotImplementedError

    def change(self, number):
        raise NotImplementedError

    def use(self):
        raise NotImplementedError


class Chain:
    """The way of one program's database, check by check."""

    def __init__(self, program, ydbfs, report):
        self.program, self.ydbfs, self.report = program, ydbfs, report
        program.ydbfs = ydbfs
        self.database = program.path(program.database)
        self.points = []

    def go(self):
        with self._check("made and backed up"):
            self.program.make()
            self._run(self.database, CREATE)
            self._take("BACKUP c")
        for number in (1, 2):
            with self._check(f"changed, incremental {number}"):
                self.program.change(number)
                self._take("BACKUP c INCREMENTAL")
        with self._check("verified"):
            for level in ("content", "source"):
                self._ydbfs("verify", self.database, "c", "--level", level)
        for number, point in enumerate(self.points):
            with self._check(f"point {number} restored and compared"):
                self._restore(number, point)
        with self._check("the program uses what was restored"):
            self._use()

    @contextlib.contextmanager
    def _check(self, what):
        """One check: counted, and what failed said in a line."""
        try:
            yield
            self.report(self.program.name, what, None)
        except (Failed, OSError, sqlite3.Error, subprocess.SubprocessError, StopIteration) as error:
            self.report(self.program.name, what, str(error))
        except Exception as error:  # What a program's own library throws.
            self.report(self.program.name, what, f"{error!r} {traceback.format_exc(limit=-2)}")

    # MARK: Steps

    def _take(self, statement):
        """A backup, and beside it a copy of the database: nobody writes between the two. The backup
        leaves every byte of the database as it was."""
        copy = self._copy_path(len(self.points))
        source = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        with contextlib.closing(source), contextlib.closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        before = self._digest()
        report = self._run(self.database, statement)
        if self._digest() != before:
            raise Failed("the backup changed the database's file")
        self.points.append(report["point"])
        if report.get("incomplete"):
            raise Failed(f"incomplete: {report}")

    def _restore(self, number, point):
        target = self._restored_path(number)
        for path in (target, target + "-wal", target + "-shm", target + "-journal"):
            if os.path.exists(path):
                os.remove(path)
        report = self._run(self.database, "--into", target, f"RESTORE c AT '{point}'")
        notes = report.get("notes", [])
        found = list(
            compare.differences(self._copy_path(number), target, self.program.prepare, self.program.excused)
        )
        unsaid = [name for name in self._changed_objects(number) if not any(name in note for note in notes)]
        if unsaid:
            found.append(f"no note names {', '.join(unsaid)}: {notes}")
        if found:
            raise Failed("; ".join(found[:6]) + (f"; and {len(found) - 6} more" if len(found) > 6 else ""))

    def _changed_objects(self, number):
        """The excused objects whose text isn't what it was."""
        texts = []
        for path in (self._copy_path(number), self._restored_path(number)):
            file = compare.File(path, self.program.prepare)
            texts.append({key[1]: value for key, value in file.schema().items()})
            file.close()
        return [name for name in self.program.excused if texts[0].get(name) != texts[1].get(name)]

    def _use(self):
        """The newest point's file in the place of the original, and the program on it."""
        restored = self._restored_path(len(self.points) - 1)
        if len(self.points) < 3 or not os.path.exists(restored):
            raise Failed("nothing was restored")
        for suffix in ("-wal", "-shm", "-journal"):
            if os.path.exists(self.database + suffix):
                os.remove(self.database + suffix)
        shutil.copyfile(restored, self.database)
        self.program.use()

    def _copy_path(self, number):
        return f"{self.program.folder}.copy{number}.db"

    def _restored_path(self, number):
        return f"{self.program.folder}.restored{number}.db"

    def _digest(self):
        digest = hashlib.sha256()
        for path in (self.database, self.database + "-wal"):
            if os.path.exists(path):
                with open(path, "rb") as file:
                    digest.update(file.read())
        return digest.hexdigest()

    # MARK: ydbfs

    def _ydbfs(self, *arguments):
        """Runs ydbfs; 3 (done, with something left out) is a failure unless the program's file has
        something that can't come back."""
        ended = subprocess.run([self.ydbfs, *arguments], capture_output=True, text=True, check=False, timeout=600)
        if ended.returncode not in ((0, 3) if self.program.excused else (0,)):
            said = (ended.stderr.strip() or ended.stdout.strip())[-1000:]
            raise Failed(f"`ydbfs {arguments[0]} {arguments[-1]}` ended with {ended.returncode}: {said}")
        return ended.stdout

    def _run(self, *arguments):
        """Runs one statement; answers the operation's JSON object."""
        lines = self._ydbfs("run", *arguments, "--json").splitlines()
        return json.loads(lines[-1]) if lines else {}
