"""A database server that takes the exported CSV: every row arrives, whatever it holds."""
import contextlib
import glob
import json
import os
import sqlite3
import subprocess
import tempfile

from chain import Failed, Program


class PostgreSQL(Program):
    """COPY … FROM with FORMAT csv, which up to version 17 ends at a line that is a backslash and a point."""

    name = "postgresql"
    database = "words.db"
    words = ["a", "\\.", "b", "\\..", "x\\.", "", " ", "multi\n\\.\nline", 'a "quote"', "\\N", "ü,€", None]

    def connect(self):
        return contextlib.closing(sqlite3.connect(self.path(self.database), isolation_level=None))

    def make(self):
        with self.connect() as connection:
            connection.execute("CREATE TABLE words(w TEXT)")
            connection.execute("CREATE TABLE pairs(id INTEGER PRIMARY KEY, a TEXT, b TEXT)")
            connection.executemany("INSERT INTO words VALUES(?)", [[word] for word in self.words])

    def change(self, number):
        with self.connect() as connection:
            pairs = [(one, other) for one in self.words for other in self.words]
            connection.executemany("INSERT INTO pairs(a, b) VALUES(?, ?)", pairs)
            connection.execute("DELETE FROM pairs WHERE id % 5 = ?", [number])

    def use(self):
        self.run(self.ydbfs, "export", self.database, "c/latest", "out", "--format", "csv")
        with tempfile.TemporaryDirectory(prefix="ydbfs-postgresql-") as folder:
            subprocess.run(["chown", "-R", "postgres", folder], check=True)
            with self._server(folder) as sql:
                for table, columns in (("words", "w text"), ("pairs", "id int, a text, b text")):
                    with open(self.path(f"out/{table}.csv"), "rb") as source:
                        data = source.read()
                    # The server reads the file itself: psql would look for the mark, too.
                    with open(f"{folder}/{table}.csv", "wb") as file:
                        file.write(data)
                    os.chmod(file.name, 0o644)
                    sql(f"CREATE TABLE {table}({columns}); COPY {table} FROM '{file.name}' (FORMAT csv, HEADER)")
                    self._compare(table, sql(f"SELECT json_agg(t)::text FROM {table} t"))

    def _compare(self, table, found):
        found = [tuple(row.values()) for row in json.loads(found)]
        with self.connect() as connection:
            expected = connection.execute(f"SELECT * FROM {table}").fetchall()
        if found != expected:
            raise Failed(f"{len(found)} of {len(expected)} rows of {table} arrived: {found[:20]}")

    @contextlib.contextmanager
    def _server(self, folder):
        """A server in a folder of its own; answers a function that runs SQL."""
        programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]

        def run(*words):
            return self.run("runuser", "-u", "postgres", "--", *words, folder=folder)

        run(f"{programs}/initdb", "-D", f"{folder}/data", "-A", "trust", "-E", "UTF8", "--locale", "C.UTF-8")
        options = f"-c listen_addresses= -k {folder}"
        run(f"{programs}/pg_ctl", "-D", f"{folder}/data", "-w", "-o", options, "-l", f"{folder}/log", "start")
        try:
            yield lambda text: run("psql", "-h", folder, "-q", "-X", "-A", "-t", "-d", "postgres", "-c", text)
        finally:
            run(f"{programs}/pg_ctl", "-D", f"{folder}/data", "-m", "fast", "stop")


PROGRAMS = [PostgreSQL]
