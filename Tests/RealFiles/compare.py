"""Whether two SQLite files hold the same: every row with its storage class and rowid, the text of the
schema to the byte, and what identifies the file. By Python's sqlite3, which knows nothing of ydbfs."""
import itertools
import sqlite3
import struct

PRAGMAS = ("user_version", "application_id", "encoding", "page_size", "auto_vacuum")

ROWID_NAMES = ("rowid", "_rowid_", "oid")


class Text(bytes):
    """Text as the bytes that lie in the file: no decoding that could fail, and not equal to a blob."""

    def __repr__(self):
        return self.decode("utf-8", "backslashreplace").__repr__()


def kind(value):
    """A value with what tells it from others that Python calls equal (1, 1.0, True; 0.0, -0.0; text, blob)."""
    return type(value).__name__, struct.pack("<d", value) if isinstance(value, float) else value


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


class File:
    """One of the two, opened with what the program that made it brings along (functions, collations)."""

    def __init__(self, path, prepare):
        self.connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        self.connection.text_factory = Text
        prepare(self.connection)

    def close(self):
        self.connection.close()

    def query(self, sql):
        return self.connection.execute(sql)

    def pragma(self, name):
        return self.query(f"PRAGMA {name}").fetchone()[0]

    def schema(self):
        """(type, name) of each object with its table and its text."""
        rows = self.query("SELECT type, name, tbl_name, CAST(sql AS BLOB) FROM sqlite_schema")
        return {(row[0].decode(), row[1].decode()): (row[2], row[3]) for row in rows}

    def tables(self):
        """Names of all ordinary tables, those of SQLite and of virtual tables' shadows too."""
        rows = self.query("SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 ORDER BY name")
        return [row[0].decode() for row in rows]

    def rows(self, table):
        """The columns' names, and the rows: with their rowid in its order where they have one, else by
        the primary key as SQLite keeps it; sorted where columns have taken all names of the rowid."""
        columns = [
            row[1].decode()
            for row in self.query(f"PRAGMA table_xinfo({quoted(table)})")
            if row[6] != 2 or self._can_read(table, row[1].decode())
        ]
        wanted = ", ".join(map(quoted, columns))
        taken = {column.lower() for column in columns}
        for rowid in ROWID_NAMES:
            if rowid in taken:
                continue
            try:
                rows = self.query(f"SELECT {rowid}, {wanted} FROM {quoted(table)} NOT INDEXED ORDER BY {rowid}")
                return ["rowid", *columns], rows
            except sqlite3.OperationalError as error:
                if "no such column" not in str(error):
                    raise
        rows = self.query(f"SELECT {wanted} FROM {quoted(table)} NOT INDEXED")
        return columns, sorted(rows, key=repr) if taken.issuperset(ROWID_NAMES) else rows

    def _can_read(self, table, column):
        """A VIRTUAL column may call a function that isn't there."""
        try:
            self.query(f"SELECT {quoted(column)} FROM {quoted(table)} LIMIT 1").fetchone()
            return True
        except sqlite3.OperationalError:
            return False


def differences(expected, found, prepare=lambda connection: None, excused=()):
    """What is wrong with the file `found`, a line each; nothing if it is the database `expected`.

    `excused`: names of indexes and tables whose text may be another one (they are named in a note).
    """
    before, after = File(expected, prepare), File(found, prepare)
    try:
        yield from different_numbers(before, after)
        yield from different_schema(before.schema(), after.schema(), excused)
        there = set(after.tables())
        for table in before.tables():
            if table in there:
                yield from different_rows(table, before, after, is_ordered=table not in excused)
        yield from different_health(before, after, excused)
    finally:
        before.close()
        after.close()


def different_numbers(before, after):
    for name in PRAGMAS:
        was, is_ = before.pragma(name), after.pragma(name)
        if was != is_:
            yield f"PRAGMA {name} was {was}, is {is_}"


def different_schema(before, after, excused):
    for key in sorted(before.keys() - after.keys()):
        if key[1] not in excused:
            yield f"{key[0]} {key[1]} is missing"
    for key in sorted(after.keys() - before.keys()):
        yield f"{key[0]} {key[1]} wasn't there"
    for key in sorted(before.keys() & after.keys()):
        if before[key] != after[key] and key[1] not in excused:
            yield f"{key[0]} {key[1]} has the text {after[key][1]!r}, not {before[key][1]!r}"


def different_rows(table, before, after, is_ordered=True):
    """The first row of a table that differs. sqlite_sequence and sqlite_stat are sets: SQLite
    itself writes them in no order; and so is what lies by another collation now."""
    try:
        (columns, was), (now, rows) = before.rows(table), after.rows(table)
        if columns != now:
            yield f"table {table} has the columns {now}, not {columns}"
            return
        if table.startswith("sqlite_"):
            was, rows = ([row[1:] for row in part] for part in (was, rows))
            is_ordered = False
        if not is_ordered:
            was, rows = (sorted(part, key=repr) for part in (was, rows))
        for number, (old, new) in enumerate(itertools.zip_longest(was, rows)):
            if old is None or new is None or list(map(kind, old)) != list(map(kind, new)):
                yield f"table {table}, row {number}: {str(new)[:300]} instead of {str(old)[:300]}"
                return
    except sqlite3.DatabaseError as error:
        yield f"table {table}: {error}"


def different_health(before, after, excused):
    """What SQLite's own checks say that they didn't say before; what was damaged may be whole now."""
    for check, sound in (("integrity_check", [(b"ok",)]), ("foreign_key_check", [])):
        was, now = (outcome(file, check) for file in (before, after))
        if now not in (was, sound) and not any(name in str(now) for name in excused):
            yield f"PRAGMA {check}: {str(now)[:300]} instead of {str(was)[:300]}"


def outcome(file, check):
    try:
        return sorted(file.query(f"PRAGMA {check}"), key=repr)
    except sqlite3.DatabaseError as error:
        return str(error)
