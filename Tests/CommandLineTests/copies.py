"""Copies of a database that changes at random for 30 nights, taken in as points, and what these must show.

    copies.py YDBFS SEED

Works in the current directory. What is right is said by Python's sqlite3 on the evening of each copy: every
point's CSV files, and the dump of the database that is made of it, with all its definitions. Copies are plain,
compressed, with a write-ahead log or a hot journal beside them, and named in several ways. None of them may be
changed, and nothing may appear beside them. Prints how much it compared; the first difference ends it."""
import gzip
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys

YDBFS, SEED = sys.argv[1], int(sys.argv[2])
NIGHTS, MOUNT = 30, "mnt"
random.seed(SEED)
TEXTS = [None, "", "plain", "a,b", 'say "x"', "two\nlines", " blank ", "é€", "100%"]
FIRST = """
    CREATE TABLE a (id INTEGER PRIMARY KEY, n INT, t TEXT);
    CREATE TABLE w (k TEXT, n INT, t TEXT, PRIMARY KEY (k, n)) WITHOUT ROWID;
    CREATE TABLE u (n INT, t TEXT);
    CREATE TABLE c (id INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT CHECK (t <> 'never'));
    CREATE INDEX a_t ON a (t);
    CREATE VIEW few AS SELECT t, count(*) AS n FROM a GROUP BY t;
    CREATE TRIGGER a_gone AFTER DELETE ON a BEGIN INSERT INTO c (t) VALUES (old.t); END;
    PRAGMA user_version = 42;
"""


def ydbfs(*words, status=0):
    done = subprocess.run([YDBFS, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def connect():
    return sqlite3.connect("live.db", isolation_level=None)


def change(db):
    """What happens in a day."""
    db.execute("BEGIN")
    for _ in range(random.randrange(60)):
        text, number = random.choice(TEXTS), random.randrange(-5, 1000)
        db.execute("INSERT OR REPLACE INTO a (id, n, t) VALUES (?, ?, ?)", (random.randrange(4000), number, text))
        db.execute("INSERT OR REPLACE INTO w (k, n, t) VALUES (?, ?, ?)", (text or "none", number, text))
        db.execute("DELETE FROM a WHERE id = ?", (random.randrange(4000),))
        db.execute("UPDATE u SET t = ? WHERE n = ?", (text, number))
    names = [name for name, in db.execute("SELECT name FROM sqlite_schema WHERE name LIKE 'extra%' AND type = 'table'")]
    columns = {row[1] for row in db.execute("PRAGMA table_info(a)")}
    event = random.random()
    if event < 0.2:
        name = f"extra{random.randrange(100)}"
        db.execute(f"CREATE TABLE IF NOT EXISTS {name} (x TEXT PRIMARY KEY, y REAL)")
        db.execute(f"INSERT OR IGNORE INTO {name} VALUES ('x', 1.5), ('', -2.25)")
    elif event < 0.35 and names:
        db.execute(f"DROP TABLE {random.choice(names)}")
    elif event < 0.45 and "more" not in columns:
        db.execute("ALTER TABLE a ADD COLUMN more INT DEFAULT 7")
    elif event < 0.55 and "more" in columns:
        db.execute("ALTER TABLE a DROP COLUMN more")
    elif event < 0.6:
        db.execute("CREATE VIEW IF NOT EXISTS odd AS SELECT * FROM u WHERE n % 2 = 1")
    db.execute(f"PRAGMA user_version = {random.randrange(1000)}")
    db.execute("COMMIT")


def field(value):
    if value is None:
        return ""
    text = repr(value) if isinstance(value, float) else str(value)
    is_quoted = text == "" or any(c in text for c in ',"\r\n') or text != text.strip(" ")
    return '"' + text.replace('"', '""') + '"' if is_quoted else text


def shown(db):
    """What a point must show: the dump, and each table as CSV."""
    tables = {}
    for name, in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").fetchall():
        order = "k, n" if name == "w" else "rowid"
        rows = db.execute(f"SELECT * FROM {name} ORDER BY {order}")
        lines = [",".join(field(column[0]) for column in rows.description)]
        lines += [",".join(map(field, row)) for row in rows]
        tables[name] = "".join(line + "\n" for line in lines)
    return {"dump": sorted(db.iterdump()), "tables": tables, "version": db.execute("PRAGMA user_version").fetchone()[0]}


def pack(path):
    """Compresses a copy, as a nightly job does."""
    if random.random() < 0.5:
        with open(path, "rb") as source:
            half = os.path.getsize(path) // 2
            # Two members are one file.
            with open(path + ".gz", "wb") as target:
                target.write(gzip.compress(source.read(half)) + gzip.compress(source.read()))
        os.remove(path)
    else:
        subprocess.run(["zstd", "-q", "--rm", path], check=True)


def copy(db, night):
    """Takes a copy; answers the name of its point."""
    day = f"2026-11-{night:02}"
    os.makedirs("copies", exist_ok=True)
    names = {
        f"app-{day}.db": "000000", f"app_{day.replace('-', '')}T030000.sqlite3": "030000",
        f"app.db.{day}-0415": "041500", f"{day} 03:00 app.db": "030000", f"{day}/app.db": "000000",
    }
    name, time = random.choice(list(names.items()))
    path = f"copies/{name}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    how = ["plain", "packed", "log", "journal", "packed log"][night % 5]
    if how in ("plain", "packed"):
        db.execute("VACUUM INTO ?" if random.random() < 0.5 else "SELECT ?", (path,))
        if not os.path.exists(path):
            target = sqlite3.connect(path)
            db.backup(target)
            target.close()
    elif "log" in how:
        db.execute("PRAGMA journal_mode = wal")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        change(db)
        db.execute("INSERT INTO u VALUES (?, 'in the log')", (night,))
        shutil.copy("live.db", path)
        shutil.copy("live.db-wal", path + "-wal")
        alone = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
        lost = alone.execute("SELECT * FROM u WHERE n = ? AND t = 'in the log'", (night,)).fetchall()
        assert lost == [], "the log must be needed"
        alone.close()
        if how == "packed log":
            subprocess.run(["gzip", path, path + "-wal"], check=True)
    else:
        db.execute("PRAGMA journal_mode = delete")
        db.execute("PRAGMA cache_size = 1")
        db.execute("BEGIN")
        db.execute("UPDATE a SET t = 'never committed'")
        assert os.path.getsize("live.db-journal") > 0
        shutil.copy("live.db", path)
        shutil.copy("live.db-journal", path + "-journal")
        db.execute("ROLLBACK")
        with open(path, "rb") as file:
            assert b"never committed" in file.read(), "the journal must be needed"
    if how == "packed":
        pack(path)
    return f"{day.replace('-', '')}{time}Z"


def listing():
    found = []
    for path, _, names in sorted(os.walk("copies")):
        for name in sorted(names):
            status = os.lstat(f"{path}/{name}")
            with open(f"{path}/{name}", "rb") as file:
                found.append((path, name, status.st_mtime_ns, status.st_ino, file.read()))
    return found


def check(point, expected):
    for name, text in expected["tables"].items():
        with open(f"{MOUNT}/app/{point}/{name}.csv", newline="") as file:
            assert file.read() == text, (point, name)
    csv = {name[:-4] for name in os.listdir(f"{MOUNT}/app/{point}") if name.endswith(".csv")}
    assert csv == set(expected["tables"]), (point, csv)
    if os.path.exists("made.db"):
        os.remove("made.db")
    ydbfs("export", "copies", f"app/{point}", "made.db", "--format", "sqlite")
    made = sqlite3.connect("made.db")
    assert shown(made) == expected, (point, set(shown(made)["dump"]) ^ set(expected["dump"]))
    assert made.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    made.close()


def main():
    db = connect()
    db.executescript(FIRST)
    for number in range(3000):
        db.execute("INSERT INTO a (id, n, t) VALUES (?, ?, ?)", (number, number, random.choice(TEXTS)))
        db.execute("INSERT INTO u VALUES (?, ?)", (number % 900, random.choice(TEXTS)))
    expected = {}
    for night in range(1, NIGHTS + 1):
        change(db)
        base = copy(db, night)
        expected[base + ("_full" if night == 1 else "_incremental")] = shown(db)
        if night % 5 != 4:
            db.execute("PRAGMA journal_mode = delete")
    before = listing()
    told = ydbfs("copies", MOUNT)
    assert "left out" not in told, told
    points = sorted(name for name in os.listdir(f"{MOUNT}/app") if "Z_" in name)
    assert points == sorted(expected), (points, sorted(expected))
    for point in points:
        check(point, expected[point])
    ydbfs("unmount", MOUNT)
    assert listing() == before
    status = json.loads(ydbfs("status", "copies", "--json"))
    assert len(status["collections"][0]["points"]) == NIGHTS
    ydbfs("verify", "copies")
    stored = sum(point["bytes"] for point in status["collections"][0]["points"])
    print(f"{NIGHTS} points, {sum(len(one['tables']) for one in expected.values())} tables are right, {stored} bytes")


main()
