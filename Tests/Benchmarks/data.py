"""The databases that are backed up: one wide table, and the ways in which it changes."""
import hashlib
import random
import sqlite3
import time

COLUMNS = "a INTEGER, d REAL, ts TEXT, s1 TEXT, s2 TEXT"

KEYS = {
    "INTEGER": lambda number: number,
    "TEXT, in order": lambda number: f"key-{number:012d}",
    "TEXT, scattered": lambda number: hashlib.blake2b(number.to_bytes(8, "little"), digest_size=12).hexdigest(),
}
"""How the key of a row is made from its number. Rows are inserted by their numbers, so that with
the last kind key order is nothing like the order in the file."""


def connect(path):
    """A connection without transactions of its own and with room: what is measured is not this."""
    database = sqlite3.connect(path, isolation_level=None)
    database.executescript("PRAGMA cache_size = -1000000; PRAGMA synchronous = OFF;")
    return database


class Database:
    """A database with a table `bench` of so many rows, and a `small` one that stays as it is."""

    @classmethod
    def again(cls, path, rows, key="INTEGER"):
        """A database that is there, with as many rows as it had when it was made."""
        self = cls.__new__(cls)
        self.path, self.rows, self.key, self.next = path, rows, KEYS[key], rows
        return self

    def __init__(self, path, rows, key="INTEGER"):
        self.path, self.rows, self.key, self.next = path, rows, KEYS[key], rows
        generator = random.Random(1)
        database = connect(path)
        database.executescript(
            f"""PRAGMA journal_mode = WAL;
            CREATE TABLE bench(id {key.split(",")[0]} PRIMARY KEY NOT NULL, {COLUMNS});
            CREATE TABLE small(id INTEGER PRIMARY KEY, v TEXT);
            INSERT INTO small VALUES (1, 'one');"""
        )
        for start in range(0, rows, 500_000):
            self._insert(database, generator, range(start, min(rows, start + 500_000)))
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()

    def _insert(self, database, generator, numbers):
        database.execute("BEGIN")
        database.executemany(
            "INSERT INTO bench VALUES (?, ?, ?, ?, ?, ?)", (self._row(generator, number * 10) for number in numbers)
        )
        database.execute("COMMIT")

    def _row(self, generator, number):
        """A row: integer, double, timestamp and two strings, a few of which need quotes in CSV."""
        bits = generator.getrandbits
        text = f"{bits(96):024x}"
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(1700000000 + bits(25)))
        note = f'say "{text[:12]}", ok' if number % 20 == 0 else "note " + text[: 10 + bits(3) * 2]
        return (self.key(number), bits(31), bits(40) / 1e6, f"{stamp}.{bits(19):06d}", text[8 : 16 + bits(3)], note)

    def change(self, history, seed, count=None):
        """Changes 1 % of the rows, or so many, in one of the ways of `HISTORIES`."""
        database = connect(self.path)
        HISTORIES[history](self, database, random.Random(seed), count or max(10, self.rows // 100))
        database.close()

    def update(self, path, numbers):
        """The application's statement for a few rows, in one transaction of a database like this one."""
        database = connect(path)
        database.execute("BEGIN")
        database.executemany("UPDATE bench SET a = a + 1 WHERE id = ?", ((self.key(n * 10),) for n in numbers))
        database.execute("COMMIT")
        return database

    def update_all(self, path):
        database = connect(path)
        database.execute("UPDATE bench SET a = a + 1")
        return database

    def _update(self, database, generator, number):
        key, *values = self._row(generator, number * 10)
        database.execute("UPDATE bench SET a=?, d=?, ts=?, s1=?, s2=? WHERE id=?", (*values, key))

    def _change_random_rows(self, database, generator, count):
        """80 % updates, 10 % deletes, 10 % inserts."""
        database.execute("BEGIN")
        for _ in range(count * 8 // 10):
            self._update(database, generator, generator.randrange(self.rows))
        between = 1 + generator.randrange(9)
        for _ in range(count // 10):
            database.execute("DELETE FROM bench WHERE id=?", (self.key(generator.randrange(self.rows) * 10),))
            row = self._row(generator, generator.randrange(self.rows) * 10 + between)
            database.execute("INSERT OR REPLACE INTO bench VALUES (?, ?, ?, ?, ?, ?)", row)
        database.execute("COMMIT")

    def _update_random_rows(self, database, generator, count):
        database.execute("BEGIN")
        for number in generator.sample(range(self.rows), count):
            self._update(database, generator, number)
        database.execute("COMMIT")

    def _append_rows(self, database, generator, count):
        self._insert(database, generator, range(self.next, self.next + count))
        self.next += count

    def _change_hot_range(self, database, generator, count):
        """Updates, all among the last twentieth."""
        database.execute("BEGIN")
        for _ in range(count):
            self._update(database, generator, self.rows - 1 - generator.randrange(max(1, self.rows // 20)))
        database.execute("COMMIT")


HISTORIES = {
    "random rows": Database._change_random_rows,
    "random updates": Database._update_random_rows,
    "appended rows": Database._append_rows,
    "hot range": Database._change_hot_range,
}


def many_tables(path, tables, rows):
    """A database of tables `t0`… with so many small rows each."""
    database = connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("BEGIN")
    for table in range(tables):
        database.execute(f"CREATE TABLE t{table}(id INTEGER PRIMARY KEY, name TEXT, amount REAL, at TEXT)")
        database.executemany(
            f"INSERT INTO t{table} VALUES (?, ?, ?, ?)",
            ((row, f"row {row} of {table}", row / 8, "2026-11-21 10:00:00") for row in range(rows)),
        )
    database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def change_one_row(path, table, number):
    database = connect(path)
    database.execute(f"UPDATE t{table} SET name = 'change {number}' WHERE id = 0")
    database.close()
