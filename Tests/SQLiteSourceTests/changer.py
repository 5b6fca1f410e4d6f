"""Another program that does to a SQLite database all that may confuse one who looks at its pages.

Reads commands from stdin, a JSON object per line, and answers each with a JSON line:

    {"do": "open", "seed": 7, "path": "/dev/shm/x.db"}    a new database of random shape
    {"do": "step", "n": 3, "gentle": false}               so many random operations; gentle: rows only
    {"do": "dump"}                                        what each table holds
    {"do": "close"}

A dump has, for each table, the CRC-32 of every row, sorted: of each value its class (`i r t b n`), the
length of what follows, and decimal digits, the hexadecimal IEEE bits, or the bytes.
"""

import ctypes
import json
import os
import random
import shutil
import sqlite3
import struct
import sys
import zlib

WORDS = "abAB zéĀ一\U0001f600\ue000"

# Columns, options. The tables differ in what their b-trees are ordered by and by whom. No column of INTEGER
# or NUMERIC affinity gets reals too: integers beside them are backed up as doubles, by design.
TABLES = {
    "ipk": "(id INTEGER PRIMARY KEY, a TEXT, b BLOB, n)",
    "twin": "(id INTEGER PRIMARY KEY, a TEXT, b BLOB, n)",
    "nopk": "(a TEXT, b BLOB, n)",
    "txt": "(k TEXT PRIMARY KEY, a TEXT, b BLOB)",
    "noc": "(k TEXT COLLATE NOCASE PRIMARY KEY, a, b BLOB)",
    "cmp": "(x INT, y TEXT, a, b BLOB, PRIMARY KEY(x DESC, y COLLATE NOCASE))",
    "wr": "(k TEXT, n INT, a TEXT, b BLOB, PRIMARY KEY(k, n)) WITHOUT ROWID",
    "wri": "(n INT, k BLOB, a TEXT, b BLOB, PRIMARY KEY(n, k)) WITHOUT ROWID",
    "wrr": "(r REAL PRIMARY KEY, a, b BLOB) WITHOUT ROWID",
    "wrd": "(a, b BLOB, y, x, PRIMARY KEY(x DESC, y COLLATE RTRIM)) WITHOUT ROWID",
    "rea": "(r REAL PRIMARY KEY, a, b BLOB, g INT GENERATED ALWAYS AS (length(b)) STORED, "
           "v AS (length(a)))",
    "one": "(id INTEGER PRIMARY KEY, a, b BLOB)",
    "zero": "(k TEXT PRIMARY KEY, a, b BLOB)",
    "any": "(k PRIMARY KEY, a, b BLOB)",
    "auto": "(id INTEGER PRIMARY KEY AUTOINCREMENT, a, b BLOB, u UNIQUE)",
    "shadow": "(rowid TEXT, oid, a, b BLOB)",
}
KEYS = {
    "ipk": ["id"], "twin": ["id"], "nopk": [], "txt": ["k"], "noc": ["k"], "cmp": ["x", "y"],
    "wr": ["k", "n"], "wri": ["n", "k"], "wrr": ["r"], "wrd": ["x", "y"], "rea": ["r"],
    "one": ["id"], "zero": ["k"], "any": ["k"], "auto": ["id"], "shadow": [],
}
WITHOUT_ROWID = {"wr", "wri", "wrr", "wrd"}

OPERATIONS = {
    "insert": 12, "insert_many": 2, "update": 12, "update_blob": 6, "update_tail": 12, "delete": 12,
    "delete_range": 2, "replace": 4, "upsert": 4, "change_key": 10, "delete_all": 0.3, "move": 1,
    "exchange": 1, "recreate": 0.7, "drop_and_create": 0.7, "add_column": 0.5, "change_default": 0.5,
    "rename_column": 0.5, "drop_column": 0.4, "rename_table": 0.4, "exchange_names": 0.4,
    "vacuum": 0.6, "incremental_vacuum": 2, "savepoints": 3, "checkpoint": 2, "restore": 0.5,
    "save": 0.7, "journal": 0.5, "attach": 2, "page_size": 0.3, "other_key": 0.4, "reuse": 2,
    "reindex": 0.3, "append": 3, "same": 2,
}
GENTLE = ["insert", "update", "update_blob", "update_tail", "delete", "replace", "change_key",
          "append", "checkpoint", "reuse"]


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


class Text(bytes):
    """A value of SQLite's class TEXT; plain bytes are a BLOB."""


class Changer:
    def __init__(self, seed, path):
        self.random = random.Random(seed)
        self.path = path
        choose = self.random.choice
        self.page_size = choose([512, 512, 1024, 4096, 4096, 65536])
        self.encoding = choose(["UTF-8", "UTF-8", "UTF-8", "UTF-16le", "UTF-16be"])
        self.make(choose([0, 0, 0, 8, 32]), choose([0, 0, 1, 2]))
        self.open()
        self.db.execute(f"PRAGMA journal_mode = {choose(['wal', 'wal', 'delete', 'truncate', 'persist'])}")
        self.db.execute(f"PRAGMA wal_autocheckpoint = {choose([0, 5, 1000])}")
        self.db.execute(f"PRAGMA secure_delete = {choose([0, 1])}")
        self.size = choose([20, 150, 600])
        self.big = choose([50, 300, 3000])
        self.numbers = 0
        self.saved = None
        self.texts = {}
        chosen = self.random.sample(sorted(TABLES), self.random.randint(5, len(TABLES)))
        for name in sorted({*chosen, "ipk", "twin", "nopk"}):
            self.texts[name] = TABLES[name]
            self.db.execute(f"CREATE TABLE {name}{TABLES[name]}")
        self.db.execute("CREATE INDEX ia ON ipk(a)")
        self.db.execute("BEGIN")
        for name in self.texts:
            if name == "one":
                self.db.execute("INSERT INTO one VALUES (1, 'x', zeroblob(10))")
            elif name != "zero":
                self.insert_rows(name, self.random.randint(0, self.size))
        self.db.execute("COMMIT")

    def make(self, reserved, auto_vacuum):
        """Makes the file, with so many bytes of each page reserved for others."""
        library = ctypes.CDLL("libsqlite3.so.0")
        handle, count = ctypes.c_void_p(), ctypes.c_int(reserved)
        assert library.sqlite3_open(self.path.encode(), ctypes.byref(handle)) == 0
        assert library.sqlite3_file_control(handle, b"main", 38, ctypes.byref(count)) == 0
        sql = (f"PRAGMA page_size = {self.page_size}; PRAGMA encoding = '{self.encoding}'; "
               f"PRAGMA auto_vacuum = {auto_vacuum}; CREATE TABLE seed(x);")
        assert library.sqlite3_exec(handle, sql.encode(), None, None, None) == 0
        library.sqlite3_close(handle)

    def open(self):
        self.db = sqlite3.connect(self.path, isolation_level=None, timeout=20)
        self.db.text_factory = Text
        self.db.execute("PRAGMA synchronous = off")

    def reopen(self):
        self.db.close()
        self.open()

    # ------------------------------------------------------------ Values

    def word(self):
        letters = WORDS if self.random.random() < 0.5 else "abcdefXYZ"
        return "".join(self.random.choice(letters) for _ in range(self.random.randint(0, 10)))

    def blob(self):
        roll = self.random.random()
        if roll < 0.75:
            most = self.big // 3
        elif roll < 0.97:
            most = self.big * 4
        else:
            most = 60000 if self.page_size > 512 else 20000
        return self.random.randbytes(self.random.randint(0, most))

    def key_value(self, table, column):
        random = self.random
        if table == "any":
            return random.choice([None, random.randint(-50, 500), random.random() * 500 - 50,
                                  float(random.randint(-50, 500)), random.randbytes(5), self.word()])
        if column == "id":
            if random.random() < 0.98:
                return random.randint(-200, 3000)
            return random.choice([-2 ** 63, 2 ** 63 - 2, 2 ** 40 + random.randint(0, 99)])
        if column == "r":
            value = random.choice([float(random.randint(-99, 99)), random.random() * 100, -0.0, 1e300,
                                   5.5])
            return None if table == "rea" and random.random() < 0.03 else value
        if column in ("x", "n"):
            return random.randint(-5, 30)
        if column == "y":
            return self.word() + " " * random.randint(0, 2)
        if table in ("txt", "noc") and random.random() < 0.01:
            return None
        word = self.word()
        if random.random() < 0.05:
            word += "k" * random.randint(0, self.big * 2)
        return word.encode() if table == "wri" else word

    def columns(self, table):
        return [row[1].decode() for row in self.db.execute(f"PRAGMA table_xinfo({table})")
                if row[6] == 0]

    def value(self, table, column):
        if column in KEYS[table]:
            return self.key_value(table, column)
        if column == "b":
            return self.blob()
        if column == "rowid":
            return self.word()
        return self.random.choice([self.word(), self.word(), self.random.randint(-2 ** 40, 2 ** 40),
                                   None, self.random.random(), self.random.randint(0, 1)])

    def insert_rows(self, table, count, verb="INSERT OR IGNORE"):
        names = self.columns(table)
        marks = ", ".join("?" * len(names))
        for _ in range(count):
            self.db.execute(f"{verb} INTO {table}({', '.join(names)}) VALUES ({marks})",
                            [self.value(table, name) for name in names])

    def some(self, table, count):
        """A condition that holds for about so many rows."""
        if table in WITHOUT_ROWID:
            keys = ", ".join(KEYS[table])
            return (f"({keys}) IN (SELECT {keys} FROM {table} ORDER BY "
                    f"abs(length(b) * {self.random.randint(1, 1000)}) % 1009 LIMIT {count})")
        rowid = "_rowid_"
        order = f"abs({rowid} * {self.random.randint(1, 1000)}) % 1009"
        if self.random.random() < 0.4:
            order = f"{rowid} LIMIT -1 OFFSET {self.random.randint(0, 300)}"
            return (f"{rowid} IN (SELECT {rowid} FROM (SELECT {rowid} FROM {table} ORDER BY {order}) "
                    f"LIMIT {count})")
        return f"{rowid} IN (SELECT {rowid} FROM {table} ORDER BY {order} LIMIT {count})"

    # ------------------------------------------------------------ Operations

    def step(self, gentle):
        names = GENTLE if gentle else list(OPERATIONS)
        name = self.random.choices(names, [OPERATIONS[name] for name in names])[0]
        table = self.random.choice(sorted(self.texts))
        try:
            getattr(self, "do_" + name)(table, self.random.choice([1, 1, 2, 5, 40]))
        except (sqlite3.IntegrityError, sqlite3.OperationalError, OverflowError):
            pass
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        return f"{name} {table}"

    def do_insert(self, table, few):
        self.insert_rows(table, few)

    def do_insert_many(self, table, few):
        self.db.execute("BEGIN")
        self.insert_rows(table, self.random.randint(1, 200))
        self.db.execute(self.random.choice(["COMMIT", "COMMIT", "ROLLBACK"]))

    def do_append(self, table, few):
        if KEYS[table] != ["id"]:
            return
        last = self.db.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]
        if last < 2 ** 62:
            for number in range(few):
                self.db.execute(f"INSERT INTO {table}(id, b) VALUES (?, ?)",
                                (last + 1 + number, self.blob()))

    def do_update(self, table, few):
        self.db.execute(f"UPDATE {table} SET a = ? WHERE {self.some(table, few)}", (self.word(),))

    def do_same(self, table, few):
        self.db.execute(f"UPDATE {table} SET b = b WHERE {self.some(table, few)}")

    def do_update_blob(self, table, few):
        self.db.execute(f"UPDATE {table} SET b = ? WHERE {self.some(table, few)}", (self.blob(),))

    def do_update_tail(self, table, few):
        """Changes nothing of a row but its last byte, or one byte of a blob, behind all triggers."""
        if self.random.random() < 0.5 or table in WITHOUT_ROWID:
            least = self.random.choice([1, 1, self.page_size])
            self.db.execute(
                f"UPDATE {table} SET b = cast(substr(b, 1, length(b) - 1) || ? AS BLOB) "
                f"WHERE length(b) > {least} AND {self.some(table, few)}", (self.random.randbytes(1),))
            return
        row = self.db.execute(
            f"SELECT _rowid_, length(b) FROM {table} WHERE length(b) > {self.page_size // 4} "
            f"ORDER BY random() LIMIT 1").fetchone()
        if row:
            blob = self.db.blobopen(table, "b", row[0])
            place = self.random.choice([row[1] - 1, self.random.randint(0, row[1] - 1)])
            blob[place:place + 1] = self.random.randbytes(1)
            blob.close()

    def do_delete(self, table, few):
        self.db.execute(f"DELETE FROM {table} WHERE {self.some(table, few)}")

    def do_delete_range(self, table, few):
        self.do_delete(table, self.random.randint(1, 150))

    def do_delete_all(self, table, few):
        self.db.execute(f"DELETE FROM {table}")

    def do_replace(self, table, few):
        self.insert_rows(table, few, "REPLACE")

    def do_upsert(self, table, few):
        if not KEYS[table]:
            return
        names = self.columns(table)
        for _ in range(few):
            self.db.execute(
                f"INSERT INTO {table}({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "
                f"ON CONFLICT({', '.join(KEYS[table])}) DO UPDATE SET a = excluded.a, b = excluded.b",
                [self.value(table, name) for name in names])

    def do_change_key(self, table, few):
        if table not in WITHOUT_ROWID and self.random.random() < 0.3:
            self.db.execute(f"UPDATE OR REPLACE {table} SET _rowid_ = _rowid_ + "
                            f"{self.random.choice([1, -1, 7, 1000])} WHERE {self.some(table, few)}")
        elif KEYS[table]:
            column = self.random.choice(KEYS[table])
            verb = self.random.choice(["REPLACE", "IGNORE"])
            self.db.execute(f"UPDATE OR {verb} {table} SET {column} = ? WHERE {self.some(table, 1)}",
                            (self.value(table, column),))
            if table in ("txt", "noc"):
                change = self.random.choice(["upper", "lower"])
                self.db.execute(f"UPDATE OR IGNORE {table} SET k = {change}(k) "
                                f"WHERE {self.some(table, few)}")

    def do_move(self, table, few):
        """All rows of a table become another's."""
        old, new = self.random.choice([("ipk", "twin"), ("twin", "ipk")])
        if self.columns(old) == self.columns(new):
            self.script("BEGIN", f"CREATE TEMP TABLE tt AS SELECT * FROM {old}", f"DELETE FROM {old}",
                        f"INSERT OR REPLACE INTO {new} SELECT * FROM tt", "DROP TABLE tt", "COMMIT")

    def do_exchange(self, table, few):
        """Two tables exchange all rows, so that the same pages stand in the other's tree."""
        if self.columns("ipk") == self.columns("twin"):
            self.script("BEGIN", "CREATE TEMP TABLE t1 AS SELECT * FROM ipk",
                        "CREATE TEMP TABLE t2 AS SELECT * FROM twin", "DELETE FROM ipk",
                        "DELETE FROM twin", "INSERT INTO twin SELECT * FROM t1 ORDER BY id",
                        "INSERT INTO ipk SELECT * FROM t2 ORDER BY id", "DROP TABLE t1",
                        "DROP TABLE t2", "COMMIT")

    def script(self, *statements):
        for statement in statements:
            self.db.execute(statement)

    def do_recreate(self, table, few):
        names = ", ".join(self.columns(table))
        self.script("BEGIN", f"CREATE TEMP TABLE tt AS SELECT {names} FROM {table}",
                    f"DROP TABLE {table}", f"CREATE TABLE {table}{self.texts[table]}",
                    f"INSERT OR IGNORE INTO {table}({names}) SELECT {names} FROM tt", "DROP TABLE tt",
                    "COMMIT")

    def do_drop_and_create(self, table, few):
        self.script("BEGIN", f"DROP TABLE {table}", f"CREATE TABLE {table}{TABLES[table]}")
        self.texts[table] = TABLES[table]
        self.insert_rows(table, self.random.randint(0, 60))
        self.db.execute("COMMIT")

    def do_add_column(self, table, few):
        self.numbers += 1
        kind = self.random.choice(["DEFAULT 'dflt'", "DEFAULT 7", "", "AS (length(a)) VIRTUAL"])
        self.db.execute(f"ALTER TABLE {table} ADD COLUMN z{self.numbers} {kind}")
        self.read_text(table)

    def do_change_default(self, table, few):
        """No page of the table changes, and yet what old rows say does."""
        self.script("BEGIN", "PRAGMA writable_schema = 1")
        self.db.execute(
            f"UPDATE sqlite_schema SET sql = replace(replace(sql, 'DEFAULT ''dflt''', "
            f"'DEFAULT ''d{self.random.randint(0, 9)}'''), 'DEFAULT 7', "
            f"'DEFAULT {self.random.randint(0, 9)}') WHERE name = ?", (table,))
        version = self.db.execute("PRAGMA schema_version").fetchone()[0]
        self.script(f"PRAGMA schema_version = {version + 1}", "PRAGMA writable_schema = 0", "COMMIT")
        self.reopen()
        self.read_text(table)

    def added_columns(self, table):
        return [name for name in self.columns(table) if name.startswith("z")]

    def do_rename_column(self, table, few):
        if names := self.added_columns(table):
            self.numbers += 1
            self.db.execute(f"ALTER TABLE {table} RENAME COLUMN {names[0]} TO z{self.numbers}")
            self.read_text(table)

    def do_drop_column(self, table, few):
        if names := self.added_columns(table):
            self.db.execute(f"ALTER TABLE {table} DROP COLUMN {self.random.choice(names)}")
            self.read_text(table)

    def do_rename_table(self, table, few):
        self.script(f"ALTER TABLE {table} RENAME TO going", f"CREATE TABLE {table}{TABLES[table]}")
        self.texts[table] = TABLES[table]
        self.insert_rows(table, 5)
        self.db.execute("DROP TABLE going")

    def do_exchange_names(self, table, few):
        if self.texts["ipk"] == self.texts["twin"]:
            self.script("BEGIN", "ALTER TABLE ipk RENAME TO going", "ALTER TABLE twin RENAME TO ipk",
                        "ALTER TABLE going RENAME TO twin", "COMMIT")

    def do_vacuum(self, table, few):
        self.db.execute("VACUUM")

    def do_incremental_vacuum(self, table, few):
        self.db.execute(f"PRAGMA incremental_vacuum({self.random.choice([1, 3, 50])})").fetchall()

    def do_savepoints(self, table, few):
        self.db.execute("BEGIN")
        self.insert_rows(table, few)
        self.db.execute("SAVEPOINT a")
        self.do_update_blob(table, few)
        self.do_delete(table, few)
        self.db.execute(self.random.choice(["ROLLBACK TO a", "RELEASE a"]))
        self.insert_rows(table, few)
        self.db.execute(self.random.choice(["COMMIT", "COMMIT", "ROLLBACK"]))

    def do_checkpoint(self, table, few):
        mode = self.random.choice(["passive", "full", "restart", "truncate"])
        self.db.execute("PRAGMA busy_timeout = 100")
        self.db.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        self.db.execute("PRAGMA busy_timeout = 20000")

    def do_save(self, table, few):
        if os.path.exists(self.path + ".old"):
            os.unlink(self.path + ".old")
        copy = sqlite3.connect(self.path + ".old")
        self.db.backup(copy)
        copy.close()
        self.saved = dict(self.texts)

    def do_restore(self, table, few):
        """An older copy takes the file's place."""
        if self.saved:
            self.db.close()
            for suffix in ("-wal", "-shm", "-journal"):
                if os.path.exists(self.path + suffix):
                    os.unlink(self.path + suffix)
            shutil.copyfile(self.path + ".old", self.path + ".new")
            os.replace(self.path + ".new", self.path)
            self.texts = dict(self.saved)
            self.open()

    def do_journal(self, table, few):
        mode = self.random.choice(["wal", "delete", "truncate", "persist", "memory"])
        self.db.execute(f"PRAGMA journal_mode = {mode}").fetchall()

    def do_attach(self, table, few):
        """Another connection writes, to which this database isn't the main one."""
        other = sqlite3.connect(":memory:", isolation_level=None, timeout=20)
        other.execute("ATTACH ? AS x", (self.path,))
        other.execute("BEGIN")
        other.execute("CREATE TABLE main.mine(a)")
        other.execute("DELETE FROM x.nopk WHERE rowid % 97 = 3")
        other.execute("UPDATE x.ipk SET a = ? WHERE id % 31 = 3", (self.word(),))
        other.execute(self.random.choice(["COMMIT", "COMMIT", "ROLLBACK"]))
        other.close()

    def do_page_size(self, table, few):
        mode = self.db.execute("PRAGMA journal_mode").fetchone()[0].decode()
        self.db.execute("PRAGMA journal_mode = delete").fetchall()
        self.db.execute(f"PRAGMA page_size = {self.random.choice([512, 1024, 4096, 65536])}")
        self.db.execute("VACUUM")
        self.page_size = self.db.execute("PRAGMA page_size").fetchone()[0]
        self.db.execute(f"PRAGMA journal_mode = {mode}").fetchall()

    def do_other_key(self, table, few):
        """The order of a table changes under its name."""
        if "txt" not in self.texts:
            return
        new = self.random.choice([
            "(k TEXT PRIMARY KEY, a TEXT, b BLOB)",
            "(k TEXT COLLATE RTRIM PRIMARY KEY, a TEXT, b BLOB)",
            "(k TEXT, a TEXT, b BLOB, PRIMARY KEY(k DESC))"])
        self.script("BEGIN", "CREATE TEMP TABLE tt AS SELECT k, a, b FROM txt", "DROP TABLE txt",
                    f"CREATE TABLE txt{new}", "INSERT OR IGNORE INTO txt SELECT * FROM tt",
                    "DROP TABLE tt", "COMMIT")
        self.texts["txt"] = new

    def do_reuse(self, table, few):
        """Pages freed by one table are used by another."""
        first, second = self.random.choice([("ipk", "twin"), ("twin", "ipk"), ("nopk", "ipk")])
        self.db.execute("BEGIN")
        self.db.execute(f"DELETE FROM {first} WHERE {self.some(first, 100)}")
        self.insert_rows(second, self.random.randint(1, 100))
        self.db.execute("COMMIT")

    def do_reindex(self, table, few):
        self.db.execute("REINDEX")

    def read_text(self, table):
        sql = self.db.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()[0]
        self.texts[table] = sql.decode()[sql.decode().index("("):]

    # ------------------------------------------------------------ What there is

    def dump(self):
        tables = {}
        names = self.db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' "
                                "AND name NOT LIKE 'sqlite!_%' ESCAPE '!'").fetchall()
        for (name,) in names:
            name = name.decode()
            info = self.db.execute(f"PRAGMA table_xinfo({quoted(name)})").fetchall()
            columns = [quoted(row[1].decode()) for row in info]
            if name not in WITHOUT_ROWID and KEYS.get(name) != ["id"]:
                columns.append("_rowid_")
            rows = self.db.execute(f"SELECT {', '.join(columns)} FROM {quoted(name)}")
            tables[name] = sorted(checksum(row) for row in rows)
        return tables


def checksum(row):
    text = bytearray()
    for value in row:
        if value is None:
            kind, content = b"n", b""
        elif isinstance(value, int):
            kind, content = b"i", b"%d" % value
        elif isinstance(value, float):
            kind, content = b"r", struct.pack(">d", value).hex().encode()
        else:
            kind, content = (b"t" if isinstance(value, Text) else b"b"), bytes(value)
        text += kind + struct.pack("<Q", len(content)) + content
    return zlib.crc32(text)


def main():
    changer = None
    for line in sys.stdin:
        command = json.loads(line)
        answer = {}
        if command["do"] == "open":
            changer = Changer(command["seed"], command["path"])
            answer = {"mode": changer.db.execute("PRAGMA journal_mode").fetchone()[0].decode()}
        elif command["do"] == "step":
            steps = [changer.step(command["gentle"]) for _ in range(command["n"])]
            mode = changer.db.execute("PRAGMA journal_mode").fetchone()[0].decode()
            answer = {"steps": steps, "mode": mode}
        elif command["do"] == "dump":
            answer = {"tables": changer.dump()}
        elif command["do"] == "close":
            changer.db.close()
        print(json.dumps(answer), flush=True)


main()
