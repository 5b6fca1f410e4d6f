"""Another program that writes a SQLite database while ydbfs backs it up, and its oracle.

Reads commands from stdin, a JSON object per line, and answers each with a JSON line:

    {"do": "open", "seed": 7, "path": "/dev/shm/x.db"}    a new database with random tables
    {"do": "go", "n": 3}                                 so many random transactions
    {"do": "expect", "version": 12, "tables": {TABLE: [[COLUMN, TYPE, "literal" or ""], …]}}
                                                         followed by the CSV of each table, by name

Every transaction sets `_version.v` to a new number. What each table held at that number is read back
from SQLite before the commit, and rendered here, from the rules of the README alone. What a column's
type is in a backup comes from the backup; here is checked that it was not chosen without need.
"""

import json
import random
import sqlite3
import sys


class Text(bytes):
    """A value of SQLite's class TEXT; plain bytes are a BLOB."""


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


# ---------------------------------------------------------------- Rendering


def is_utf8(value):
    try:
        value.decode("utf-8")
        return True
    except UnicodeDecodeError:
        return False


def field(value):
    ends = (value[:1], value[-1:])
    if not value or b" " in ends or any(mark in value for mark in (b",", b'"', b"\r", b"\n")):
        return b'"' + value.replace(b'"', b'""') + b'"'
    return value


calculator = sqlite3.connect(":memory:")


def literal(value):
    """The SQL literal of a value, `quote()` where that is faithful."""
    if isinstance(value, Text):
        if b"\0" in value or not is_utf8(value):
            end = b"' AS TEXT)" if is_utf8(value) else b"' AS TEXT /* UTF-8 */)"
            return b"CAST(X'" + value.hex().upper().encode() + end
        value = value.decode("utf-8")
    elif value in (float("inf"), float("-inf")):
        return b"9.0e+999" if value > 0 else b"-9.0e+999"
    elif repr(value) == "-0.0":
        return b"-0.0"
    return calculator.execute("SELECT quote(?)", (value,)).fetchone()[0].encode()


def converted(value, kind, is_literal, is_numeric):
    """A value as it stands in a column of that type: int, float, or bytes."""
    if value is None:
        return None
    if is_literal:
        assert kind == "Utf8", kind
        return literal(value)
    classes = {"Int64": int, "Double": float, "Utf8": Text, "String": bytes}
    if kind == "Double" and type(value) is int:
        # Where SQLite stores numbers without fraction as integers.
        assert is_numeric and abs(value) <= 2 ** 53, value
        value = float(value)
    assert type(value) is classes[kind], f"{value!r} in a column of {kind}"
    return value


def rendered(value, kind):
    if value is None:
        return b""
    if kind in ("Int64", "Double"):
        return repr(value).encode()
    if kind == "String" and (not is_utf8(value) or value.startswith(b"\\x")):
        return b"\\x" + value.hex().encode()
    return field(value)


class Shape:
    """A table's columns at one version."""

    def __init__(self, connection, table):
        self.names, self.affinities, self.writable, self.numeric = [], [], [], []
        keys = []
        without, = connection.execute(
            "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?",
            (table,)).fetchone() or (0,)
        self.has_rowid = not without
        for row in connection.execute(f"PRAGMA table_xinfo({quoted(table)})"):
            _, name, declared, _, _, position, hidden = [
                value.decode() if isinstance(value, Text) else value for value in row]
            if position:
                keys.append((position, len(self.names)))
            self.names.append(name)
            self.affinities.append(affinity(declared))
            self.numeric.append(self.affinities[-1] == "Int64" or bool(
                self.affinities[-1] is None and declared))
            self.writable.append(hidden == 0)
        self.key = [column for _, column in sorted(keys)]

    def csv(self, rows, types):
        assert list(types) == self.names, (list(types), self.names)
        columns = list(types.values())
        values = [[converted(v, *c, n) for v, c, n in zip(row, columns, self.numeric)]
                  for row in rows]
        if not self.has_rowid:
            values.sort(key=lambda row: [row[column] for column in self.key])
        lines = [[field(name.encode()) for name in self.names]]
        lines += [[rendered(v, c[0]) for v, c in zip(row, columns)] for row in values]
        return b"".join(b",".join(line) + b"\n" for line in lines)


def affinity(declared):
    declared = declared.upper()
    if "INT" in declared:
        return "Int64"
    if any(word in declared for word in ("CHAR", "CLOB", "TEXT")):
        return "Utf8"
    if "BLOB" in declared:
        return "String"
    if any(word in declared for word in ("REAL", "FLOA", "DOUB")):
        return "Double"
    return None


def class_of(value):
    if isinstance(value, Text) and (b"\0" in value or not is_utf8(value)):
        return "odd"
    return {int: "Int64", float: "Double", Text: "Utf8", bytes: "String"}[type(value)]


def needs_literals(values, is_numeric):
    """Whether no type takes all values of a column."""
    values = [value for value in values if value is not None]
    classes = {class_of(value) for value in values}
    if classes == {"Int64", "Double"}:
        return not is_numeric or any(
            abs(v) > 2 ** 53 if type(v) is int else abs(v) < 2.0 ** 63 and v == int(v)
            for v in values)
    if classes == {"Double"} and is_numeric:
        return any(abs(v) < 2.0 ** 63 and v == int(v) for v in values)
    return len(classes) > 1 or "odd" in classes


# ---------------------------------------------------------------- Random histories

TEXTS = ["", " ", "a", "A", "b", "B", "a,b", 'say "hi"', "two\nlines", "cr\r", "tab\t", "äöü", "日本",
         "\\x41", " lead", "trail ", "'", "it's", "NULL", "1", "1.0", "x" * 300, "🙂", "null"]
REALS = [0.0, -0.0, 0.1, 1e16, 1e15, 123456789012345680.0, 1e-5, 1e-4, 5e-324, -1.5, 2.0 ** 53,
         1.7976931348623157e308, float("inf"), float("-inf"), 100.0, 1 / 3]
BLOBS = [b"", b"\0", b"abc", b"\xff\xfe", b"\\x41", b"a,b", "é".encode(), b"\xc3", b" ", b'"',
         b"\xed\xa0\x80", bytes(range(256))]
INTS = [0, 1, -1, 2 ** 63 - 1, -2 ** 63, 10 ** 15, 255]

# Columns, options. {T} is the table's name.
KINDS = [
    ("id INTEGER PRIMARY KEY, n INTEGER, t TEXT, r REAL", ""),
    ("id INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT DEFAULT 'none'", ""),
    ("k TEXT PRIMARY KEY NOT NULL, v BLOB, x", ""),
    ("k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, v TEXT", ""),
    ("k TEXT COLLATE NOCASE PRIMARY KEY, v INTEGER", "WITHOUT ROWID"),
    ("a INTEGER, b TEXT, c BLOB, PRIMARY KEY(b, a)", "WITHOUT ROWID"),
    ("a INTEGER NOT NULL, b TEXT NOT NULL COLLATE RTRIM, c REAL, PRIMARY KEY(a, b DESC)", ""),
    ("k BLOB PRIMARY KEY NOT NULL, v TEXT", ""),
    ("k BLOB PRIMARY KEY, v REAL", "WITHOUT ROWID"),
    ("k REAL PRIMARY KEY NOT NULL, v INTEGER", ""),
    ("id INTEGER PRIMARY KEY, u TEXT UNIQUE ON CONFLICT REPLACE, w INTEGER UNIQUE", ""),
    ("k TEXT PRIMARY KEY ON CONFLICT REPLACE, u INTEGER UNIQUE ON CONFLICT REPLACE",
     "WITHOUT ROWID"),
    ("id INTEGER PRIMARY KEY, num NUMERIC, any_value, d DATE, dec DECIMAL(10,2)", ""),
    ("k PRIMARY KEY NOT NULL, v", ""),
    ("k NUMERIC PRIMARY KEY, v", "WITHOUT ROWID"),
    ("id INTEGER PRIMARY KEY, a INTEGER, b INTEGER GENERATED ALWAYS AS (a % 7) STORED, "
     "c TEXT AS (a || ',') VIRTUAL, d AS (typeof(a))", ""),
    ("id INTEGER PRIMARY KEY, a, b INTEGER AS (a) UNIQUE", ""),
    ("id INTEGER PRIMARY KEY DESC, \"we\"\"ird, col\" TEXT, \"\" TEXT", ""),
]
LOOSE_KINDS = [("k TEXT PRIMARY KEY, v INTEGER", ""), ("a INTEGER, b TEXT", "")]
NAMES = ["orders", "Größe", "sub/products", "sub/deep/er", "sub", "a b", "100%", "x.csv", "t'q"]


class Aborted(Exception):
    """SQLite has rolled the transaction back of its own accord, as it does when keys run out."""


class History:
    def __init__(self, seed, path):
        self.random = random.Random(seed)
        choose = self.random.choice
        self.db = sqlite3.connect(path, timeout=60, isolation_level=None)
        self.db.text_factory = Text
        self.is_utf8 = self.random.random() < 0.9
        if not self.is_utf8:
            self.db.execute(f"PRAGMA encoding = '{choose(['UTF-16le', 'UTF-16be'])}'")
        self.db.execute(f"PRAGMA page_size = {choose([512, 1024, 4096])}")
        if self.random.random() < 0.85:
            self.db.execute("PRAGMA journal_mode = wal")
        self.db.execute("PRAGMA synchronous = off")
        self.db.execute(f"PRAGMA recursive_triggers = {choose(['on', 'off'])}")
        self.is_database = self.random.random() < 0.3
        # Values that don't fit their columns' types: never, seldom, often.
        self.oddness = choose([0, 0, 0.01, 0.1])
        self.space = choose([4, 20, 60])
        self.version = 0
        self.is_coupled = False
        self.states = {}
        self.odd = set()
        self.errors = []
        self.added = 0
        # Tables' shapes, and the tables that may differ from the last version; None: any.
        self.shapes = {}
        self.touched = None
        while True:
            try:
                self.begin()
                break
            except Aborted:
                self.forget()

    def begin(self):
        """Makes the tables and their first rows."""
        self.db.execute("BEGIN")
        self.db.execute("CREATE TABLE _version(id INTEGER PRIMARY KEY, v)")
        self.db.execute("INSERT INTO _version VALUES (1, 0)")
        self.tables = self.random.sample(NAMES, self.random.randint(1, 4))
        for table in self.tables:
            self.create(table)
            for _ in range(self.random.randint(0, self.space)):
                self.attempt(self.insert, table)
        if len(self.tables) > 1 and self.random.random() < 0.3:
            self.attempt(self.couple)
        self.end()

    def create(self, table):
        kinds = KINDS + LOOSE_KINDS * 3 if self.is_database else KINDS
        columns, options = self.random.choice(kinds)
        self.define(f"CREATE TABLE {quoted(table)}({columns}) {options}")

    def define(self, statement):
        """Changes the schema."""
        self.forget()
        self.db.execute(statement)

    def forget(self):
        self.shapes = {}
        self.touched = None

    def shape(self, table):
        if table not in self.shapes:
            self.shapes[table] = Shape(self.db, table)
        return self.shapes[table]

    def couple(self):
        """A trigger of the user's own, which writes to another table."""
        first, second = self.tables[:2]
        shape = self.shape(second)
        column = next(i for i, name in enumerate(shape.names)
                      if shape.writable[i] and i not in shape.key)
        when = self.random.choice(["AFTER INSERT", "AFTER UPDATE", "AFTER DELETE", "BEFORE DELETE"])
        self.is_coupled = True
        self.define(
            f"CREATE TRIGGER coupled {when} ON {quoted(first)} BEGIN "
            f"UPDATE OR IGNORE {quoted(second)} SET {quoted(shape.names[column])} = "
            f"{self.random.choice(['NULL', '7', 'length(hex(randomblob(3)))'])}; END")

    # ------------------------------------------------------------ Transactions

    def end(self):
        """Gives the transaction its number, remembers what there is, and commits."""
        self.version += 1
        self.db.execute("UPDATE _version SET v = ?", (self.version,))
        self.states[self.version] = self.look()
        self.db.execute("COMMIT")
        self.touched = None if self.is_coupled else {"_version"}

    def look(self):
        state = dict(self.states[self.version - 1]) if self.touched is not None else {}
        for name in [name for name in state if name in self.touched]:
            del state[name]
        for (name,) in self.db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'"):
            name = name.decode()
            if name.startswith(("_ydbfs_", "sqlite_")) or (
                    self.touched is not None and name not in self.touched):
                continue
            shape = self.shape(name)
            columns = ", ".join(map(quoted, shape.names))
            order = " NOT INDEXED ORDER BY rowid" if shape.has_rowid else ""
            rows = self.db.execute(f"SELECT {columns} FROM {quoted(name)}{order}").fetchall()
            state[name] = (shape, rows)
            for column, is_numeric in enumerate(shape.numeric):
                if needs_literals([row[column] for row in rows], is_numeric):
                    self.odd.add((name, shape.names[column]))
        return state

    def step(self):
        if self.random.random() < 0.02:
            self.attempt(lambda: self.db.execute("VACUUM"))
        self.db.execute("BEGIN IMMEDIATE")
        try:
            for _ in range(self.random.randint(0, 6)):
                self.change()
        except Aborted:
            self.went_back()
            return
        if self.random.random() < 0.1:
            self.db.execute("ROLLBACK")
            self.went_back()
        else:
            self.end()

    def change(self):
        roll = self.random.random()
        if roll < 0.03:
            self.db.execute("SAVEPOINT s")
            for _ in range(3):
                self.change()
            if self.random.random() < 0.5:
                self.db.execute("ROLLBACK TO s")
                self.went_back()
            self.db.execute("RELEASE s")
        elif roll < 0.08:
            actions = [self.add_column, self.drop_column, self.rename_column, self.rebuild,
                       self.recreate, self.index, self.come_and_go]
            self.attempt(self.random.choice(actions), self.pick())
        else:
            actions = [self.insert, self.insert, self.replace, self.upsert, self.update, self.update,
                       self.rekey, self.delete, self.delete, self.mass]
            self.attempt(self.random.choice(actions), self.pick())

    def went_back(self):
        """After a rollback, tables may be back or gone again."""
        self.forget()
        self.tables = [name for name in NAMES if self.shape(name).names]

    def attempt(self, action, *arguments):
        """Constraints may refuse a change; that is as good as another."""
        if self.touched is not None:
            self.touched.update(arguments)
        had_transaction = self.db.in_transaction
        try:
            action(*arguments)
        except sqlite3.IntegrityError:
            pass
        except sqlite3.OperationalError as error:
            self.errors.append(str(error))
            if had_transaction and not self.db.in_transaction:
                raise Aborted from error

    def pick(self):
        return self.random.choice(self.tables)

    # ------------------------------------------------------------ Values

    def value(self, kind, is_key=False):
        choose = self.random.choice
        if self.random.random() < self.oddness:
            kind = "odd"
        elif not is_key and self.random.random() < 0.15:
            return None
        if kind is None:
            # Without a type a column is mostly of one class, or becomes literal at once.
            kind = "Int64" if not self.oddness or self.random.random() < 0.9 else choose(
                ["Int64", "Double", "Utf8", "String"])
        if kind == "Int64":
            return choose(INTS) if self.random.random() < 0.1 else self.random.randint(
                -3, self.space)
        if kind == "Double":
            return choose(REALS) if self.random.random() < 0.5 else self.random.uniform(-9, 9)
        if kind == "Utf8":
            return choose(TEXTS) if self.random.random() < 0.5 else str(
                self.random.randint(0, self.space))
        if kind == "String":
            return choose(BLOBS) if self.random.random() < 0.7 else self.random.randbytes(3)
        odd = [1, 1.5, 1e300, "text", "12", b"blob", b"\xff", -0.0, float("inf")]
        if self.is_utf8:
            odd += [Text(b"\xff\xfe"), Text(b"nul\0nul"), Text(b"\xc3")]
        return choose(odd)

    def bound(self, value):
        """SQL and parameter of a value; text that Python's binding can't say is cast."""
        if isinstance(value, Text):
            return "CAST(? AS TEXT)", bytes(value)
        return "?", value

    def row(self, shape, key=None):
        names, sql, values = [], [], []
        for column, name in enumerate(shape.names):
            if not shape.writable[column] or (
                    column not in shape.key and self.random.random() < 0.1):
                continue
            is_key = column in shape.key
            value = self.value(shape.affinities[column], is_key)
            if key is not None and column == shape.key[0]:
                value = key
            if is_key and value is None:
                value = 1
            if is_key and self.is_database and self.random.random() < 0.01:
                value = None
            text, value = self.bound(value)
            names.append(quoted(name))
            sql.append(text)
            values.append(value)
        return ", ".join(names), ", ".join(sql), values

    def some_key(self, table, shape):
        """A condition that finds one existing row, and its parameters."""
        columns = shape.key or [0]
        names = [quoted(shape.names[column]) for column in columns]
        count = self.db.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()[0]
        if count == 0:
            return "0", []
        keys = self.db.execute(
            f"SELECT {', '.join(names)} FROM {quoted(table)} LIMIT 1 OFFSET ?",
            (self.random.randrange(count),)).fetchone()
        bound = [self.bound(key) for key in keys]
        return (" AND ".join(f"{name} IS {sql}" for name, (sql, _) in zip(names, bound)),
                [value for _, value in bound])

    # ------------------------------------------------------------ Changes of rows

    def insert(self, table, verb=None, key=None):
        names, sql, values = self.row(self.shape(table), key)
        verb = verb or self.random.choice(["INSERT", "INSERT", "INSERT OR IGNORE"])
        self.db.execute(f"{verb} INTO {quoted(table)}({names}) VALUES ({sql})", values)

    def replace(self, table):
        self.insert(table, self.random.choice(["REPLACE", "INSERT OR REPLACE"]))

    def upsert(self, table):
        shape = self.shape(table)
        names, sql, values = self.row(shape)
        free = [n for i, n in enumerate(shape.names) if shape.writable[i] and i not in shape.key]
        if not shape.key or not free:
            return
        key = ", ".join(quoted(shape.names[column]) for column in shape.key)
        name = quoted(self.random.choice(free))
        self.db.execute(
            f"INSERT INTO {quoted(table)}({names}) VALUES ({sql}) "
            f"ON CONFLICT({key}) DO UPDATE SET {name} = excluded.{name}", values)

    def update(self, table):
        shape = self.shape(table)
        free = [i for i in range(len(shape.names)) if shape.writable[i] and i not in shape.key]
        if not free:
            return
        column = self.random.choice(free)
        text, value = self.bound(self.value(shape.affinities[column]))
        where, keys = self.some_key(table, shape)
        verb = self.random.choice(["UPDATE", "UPDATE OR REPLACE", "UPDATE OR IGNORE"])
        self.db.execute(
            f"{verb} {quoted(table)} SET {quoted(shape.names[column])} = {text} WHERE {where}",
            [value] + keys)

    def rekey(self, table):
        shape = self.shape(table)
        if not shape.key:
            return
        column = self.random.choice(shape.key)
        text, value = self.bound(self.value(shape.affinities[column], True))
        where, keys = self.some_key(table, shape)
        verb = self.random.choice(["UPDATE", "UPDATE OR REPLACE"])
        self.db.execute(
            f"{verb} {quoted(table)} SET {quoted(shape.names[column])} = {text} WHERE {where}",
            [value] + keys)

    def delete(self, table):
        where, keys = self.some_key(table, self.shape(table))
        self.db.execute(f"DELETE FROM {quoted(table)} WHERE {where}", keys)

    def mass(self, table):
        shape = self.shape(table)
        roll = self.random.random()
        if roll < 0.1:
            self.db.execute(f"DELETE FROM {quoted(table)}")
        elif roll < 0.3:
            where, keys = self.some_key(table, shape)
            self.db.execute(f"DELETE FROM {quoted(table)} WHERE NOT ({where})", keys)
        elif roll < 0.6 and shape.key and shape.affinities[shape.key[0]] == "Int64":
            name = quoted(shape.names[shape.key[0]])
            self.db.execute(
                f"UPDATE OR REPLACE {quoted(table)} SET {name} = {name} + "
                f"{self.random.choice([1, -1, 1000])} WHERE {name} BETWEEN -1000000 AND 1000000")
        elif roll < 0.75 and shape.key and shape.affinities[shape.key[0]] in ("Int64", "Utf8"):
            # Side by side in key order, as an import makes them, in places that come again.
            first = self.random.choice([100, 200, 300])
            is_text = shape.affinities[shape.key[0]] == "Utf8"
            for key in range(first, first + self.random.randint(6, 20)):
                key = f"m{key}" if is_text else key
                self.attempt(lambda table: self.insert(table, key=key), table)
        else:
            for _ in range(self.random.randint(1, self.space)):
                self.attempt(self.insert, table)

    # ------------------------------------------------------------ Changes of schemas

    def add_column(self, table):
        self.added += 1
        kind = self.random.choice(["INTEGER", "TEXT", "REAL", "BLOB", "", "NUMERIC"])
        default = self.random.choice(["", "", "DEFAULT 7", "DEFAULT 'x'", "NOT NULL DEFAULT ''"])
        self.define(f"ALTER TABLE {quoted(table)} ADD COLUMN c{self.added} {kind} {default}")

    def drop_column(self, table):
        names = self.shape(table).names
        self.define(f"ALTER TABLE {quoted(table)} DROP COLUMN {quoted(names[-1])}")

    def rename_column(self, table):
        self.added += 1
        name = self.random.choice(self.shape(table).names)
        self.define(
            f"ALTER TABLE {quoted(table)} RENAME COLUMN {quoted(name)} TO r{self.added}")

    def rebuild(self, table):
        """The twelve steps of sqlite.org/lang_altertable.html, which change a column's type."""
        shape = self.shape(table)
        if not shape.key or len(shape.key) == len(shape.names):
            return
        kinds = {"Int64": "INTEGER", "Utf8": "TEXT", "Double": "REAL", "String": "BLOB", None: ""}
        columns = []
        changed = self.random.randrange(len(shape.names))
        for column, name in enumerate(shape.names):
            kind = kinds[shape.affinities[column]]
            if column == changed and column not in shape.key:
                kind = self.random.choice(["TEXT", "INTEGER", "", "REAL"])
            columns.append(f"{quoted(name)} {kind} {'NOT NULL' if column in shape.key else ''}")
        names = ", ".join(map(quoted, shape.names))
        key = ", ".join(quoted(shape.names[column]) for column in shape.key)
        self.db.execute("SAVEPOINT twelve")
        try:
            self.define(f"CREATE TABLE renewed({', '.join(columns)}, PRIMARY KEY({key}))")
            self.db.execute(
                f"INSERT INTO renewed({names}) SELECT {names} FROM {quoted(table)}")
            self.define(f"DROP TABLE {quoted(table)}")
            self.define(f"ALTER TABLE renewed RENAME TO {quoted(table)}")
        except sqlite3.Error:
            if not self.db.in_transaction:
                raise
            self.db.execute("ROLLBACK TO twelve")
            self.forget()
        self.db.execute("RELEASE twelve")

    def recreate(self, table):
        self.define(f"DROP TABLE {quoted(table)}")
        self.create(table)
        for _ in range(self.random.randint(0, self.space)):
            self.attempt(self.insert, table)

    def index(self, table):
        self.added += 1
        shape = self.shape(table)
        name = quoted(self.random.choice(shape.names))
        unique = self.random.choice(["", "UNIQUE"])
        partial = self.random.choice(["", "", f"WHERE {name} IS NOT NULL"])
        self.define(
            f"CREATE {unique} INDEX i{self.added} ON {quoted(table)}({name}) {partial}")

    def come_and_go(self, table):
        """Tables of a DATABASE collection may come and go."""
        if not self.is_database:
            return
        missing = [name for name in NAMES if name not in self.tables]
        if len(self.tables) > 1 and self.random.random() < 0.5:
            self.define(f"DROP TABLE {quoted(table)}")
            self.tables.remove(table)
        elif missing:
            table = self.random.choice(missing)
            self.create(table)
            self.tables.append(table)
            for _ in range(self.random.randint(0, self.space)):
                self.attempt(self.insert, table)

    # ------------------------------------------------------------ Answers

    def expect(self, version, tables):
        state = self.states[version]
        files = {}
        for name, (shape, rows) in state.items():
            if name not in tables and not self.is_database:
                continue
            assert name in tables, f"table {name} is missing, there are {list(tables)}"
            types = {column: (kind, bool(is_literal)) for column, kind, is_literal in tables[name]}
            for column in shape.names:
                if types.get(column, (None, None))[1]:
                    assert (name, column) in self.odd, f"{name}.{column} is literal without need"
            files[name] = shape.csv(rows, types)
        extra = set(tables) - set(files)
        assert not extra, f"tables {extra} can't be there at version {version}"
        for old in [v for v in self.states if v < version]:
            del self.states[old]
        return files


def main():
    history = None
    output = sys.stdout.buffer
    for line in sys.stdin:
        command = json.loads(line)
        files = {}
        try:
            if command["do"] == "open":
                if history:
                    history.db.close()
                history = History(command["seed"], command["path"])
                answer = {"tables": sorted(history.tables), "isDatabase": history.is_database,
                          "version": history.version}
            elif command["do"] == "go":
                for _ in range(command["n"]):
                    history.step()
                answer = {"version": history.version, "errors": history.errors}
                history.errors = []
            elif command["do"] == "expect":
                files = history.expect(command["version"], command["tables"])
                answer = {"files": [[name, len(text)] for name, text in files.items()]}
            else:
                answer = {"error": f"unknown command {command}"}
        except Exception as error:  # Told to the test, which fails by it.
            answer = {"error": f"{type(error).__name__}: {error}"}
        output.write(json.dumps(answer).encode() + b"\n")
        for text in files.values():
            output.write(text)
        output.flush()


main()
