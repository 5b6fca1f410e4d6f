"""A random history of a small database, backed up through a mount, and what its views must show of it.

    history.py YDBFS SEED

Works in the current directory. What is right is said by SQLite at each point and by plain Python: every
diff of every pair of points both ways, every point's changes, every row by its key, and every row's
history; over new columns, points that were dropped, compacted ones and several chains. Prints how much
it compared; the first difference ends it."""
import json
import os
import random
import sqlite3
import subprocess
import sys
import urllib.parse

YDBFS, SEED = sys.argv[1], int(sys.argv[2])
MOUNT, POINTS, KEYS = "mnt", 11, 25
random.seed(SEED)

TABLES = {
    "r": ("id INTEGER PRIMARY KEY, a INT, b TEXT", ["id"]),
    "w": ("x TEXT, y INT, a INT, b TEXT, PRIMARY KEY (x, y)) WITHOUT ROWID --", ["x", "y"]),
    "u": ("k TEXT PRIMARY KEY, a INT, b TEXT", ["k"]),
    "n": ("a INT, b TEXT", []),
}
TEXTS = [None, "", "plain", "a,b", 'say "x"', "two\nlines", " blank ", "\\x41", "é€", "100%", "a/b", "..", "~"]


def key_of(table, row):
    """What users know a row by."""
    return tuple(row[column] for column in TABLES[table][1]) or (row["rowid"],)


def new_key(table):
    number = random.randrange(KEYS)
    text = TEXTS[1 + number % (len(TEXTS) - 1)] + ("" if number < len(TEXTS) - 1 else str(number))
    return {"r": [number * 7 - 20], "w": [text, number % 3], "u": [text], "n": [number]}[table]


def change(db, table):
    """One change of a random row, new or not."""
    columns = TABLES[table][1] or ["rowid"]
    key = new_key(table)
    where = " AND ".join(f"{column} = ?" for column in columns)
    values = [random.choice([None, 0, 1, -5, 10**15]), random.choice(TEXTS)]
    action = random.random()
    if action < 0.3:
        db.execute(f"DELETE FROM {table} WHERE {where}", key)
    elif action < 0.5:
        db.execute(f"UPDATE {table} SET a = ? WHERE {where}", [values[0], *key])
    else:
        db.execute(f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}, a, b) VALUES ({'?, ' * len(key)}?, ?)", [*key, *values])
    if table == "r" and has_column(db) and random.random() < 0.3:
        db.execute(f"UPDATE r SET c = ? WHERE {where}", [random.choice([7, 7, 8, None]), *key])


def has_column(db):
    return any(row[1] == "c" for row in db.execute("PRAGMA table_info(r)"))


def content(db):
    """All rows of all tables: dictionaries by key."""
    result = {}
    for table in TABLES:
        cursor = db.execute(f"SELECT {'' if table == 'w' else 'rowid, '}* FROM {table}")
        names = [column[0] for column in cursor.description]
        if table == "r":
            names[0] = "hidden"
        rows = [dict(zip(names, row)) for row in cursor]
        result[table] = {key_of(table, row): row for row in rows}
    return result


def shown(table, row):
    """The columns that users see."""
    return {name: value for name, value in row.items() if name not in ("rowid", "hidden")}


def same(table, old, new):
    """Whether a row is the same at a later point: a new column has its default, one that is gone doesn't count."""
    old, new = shown(table, old), shown(table, new)
    return all(new[name] == (old[name] if name in old else 7) for name in new)


def parse(text):
    """CSV as lists of fields; None for nothing at all, "" for two quotes."""
    rows, row, position = [], [], 0
    while position < len(text):
        if text[position] == '"':
            field, position = "", position + 1
            while True:
                end = text.index('"', position)
                field += text[position:end]
                position = end + 1
                if text[position] != '"':
                    break
                field, position = field + '"', position + 1
        else:
            end = min(i for i in (text.find(",", position), text.find("\n", position)) if i >= 0)
            field, position = text[position:end] or None, end
        row.append(field)
        if text[position] == "\n":
            rows.append(row)
            row = []
        elif text[position + 1] == "\n":
            row.append(None)
            rows.append(row)
            row, position = [], position + 1
        position += 1
    return rows


def read(path):
    with open(f"{MOUNT}/{path}", newline="") as file:
        return file.read()


def as_text(value):
    return None if value is None else str(value)


def in_header(header, table, row):
    return tuple(as_text(shown(table, row).get(name)) for name in header)


def fail(what, expected, found):
    print(f"{what}\nexpected {expected}\nfound    {found}", file=sys.stderr)
    subprocess.run([YDBFS, "unmount", MOUNT, "--now"], stdout=subprocess.DEVNULL, check=False)
    sys.exit(1)


def expect_diff(path, table, old, new):
    if all(key in old and key in new and same(table, old[key], new[key]) for key in set(old) | set(new)):
        # A table that is the same has no file, or one without rows.
        if not os.path.exists(f"{MOUNT}/{path}"):
            return
    rows = parse(read(path))
    header = rows[0][1:]
    expected = []
    for key in set(old) | set(new):
        if key not in old:
            expected.append(("insert", *in_header(header, table, new[key])))
        elif key not in new:
            expected.append(("delete", *in_header(header, table, old[key])))
        elif not same(table, old[key], new[key]):
            expected.append(("update_preimage", *in_header(header, table, old[key])))
            expected.append(("update_postimage", *in_header(header, table, new[key])))
    found = sorted(map(tuple, rows[1:]), key=repr)
    if found != sorted(expected, key=repr):
        fail(path, sorted(expected, key=repr), found)


def path_name(key):
    """A key as the name of a file."""
    def field(value):
        text = '""' if value == "" else "" if value is None else str(value)
        return "".join(c if c not in "%/," and ord(c) >= 32 else urllib.parse.quote(c, safe="") for c in text)

    return ",".join(map(field, key))


def expect_history(table, key, points, states):
    path = f"c/history/{table}/{path_name(key)}.csv"
    rows = parse(read(path))
    header = rows[0][2:]
    expected, last = [], None
    for point, state in zip(points, states):
        row = state[table].get(key)
        if row is not None and last is None:
            expected.append((point, "insert", *in_header(header, table, row)))
        elif row is None and last is not None:
            expected.append((point, "delete", *in_header(header, table, last)))
        elif row is not None and not same(table, last, row):
            expected.append((point, "update_postimage", *in_header(header, table, row)))
        last = row
    if list(map(tuple, rows[1:])) != expected:
        fail(path, expected, rows[1:])


def expect_row(table, key, point, state):
    path = f"c/by-key/{point}/{table}/{path_name(key)}.json"
    row = state[table].get(key)
    if row is None:
        if os.path.exists(f"{MOUNT}/{path}"):
            fail(path, "nothing", read(path))
    elif json.loads(read(path)) != shown(table, row):
        fail(path, shown(table, row), read(path))


def control(text):
    with open(f"{MOUNT}/c/control", "w") as file:
        file.write(text + "\n")
    line = read("c/operation/wait").strip()
    if not line.startswith("done"):
        fail(text, "done", line)
    return line


def newest():
    return os.readlink(f"{MOUNT}/c/latest")


def main():
    db = sqlite3.connect("database.db", isolation_level=None)
    for table, (columns, _) in TABLES.items():
        db.execute(f"CREATE TABLE {table} ({columns}\n)" if table != "w" else f"CREATE TABLE w ({columns}")
    for table in TABLES:
        for _ in range(20):
            change(db, table)
    subprocess.run([YDBFS, "database.db", MOUNT], check=True, stdout=subprocess.DEVNULL)
    with open(f"{MOUNT}/control", "w") as file:
        file.write("CREATE BACKUP COLLECTION c DATABASE WITH (STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true');")
    points, states = [], []
    for number in range(POINTS):
        kind = "full" if number in (0, POINTS * 2 // 3) else random.choice(["incremental"] * 4 + ["compact"])
        if number == POINTS // 3:
            db.execute("ALTER TABLE r ADD COLUMN c INT DEFAULT 7")
        for _ in range(random.choice([0, 3, 15]) if kind != "compact" else 0):
            change(db, random.choice(list(TABLES)))
        control(kind)
        # A point that needs no other isn't compacted.
        if not points or newest() != points[-1]:
            points.append(newest())
            # What is compacted is the newest point, whatever became of the database since.
            states.append(content(db) if kind != "compact" else states[-1])
    for _ in range(2):
        number = random.randrange(len(points) - 1)
        with open(f"{MOUNT}/c/control", "w") as file:
            file.write(f"ALTER BACKUP COLLECTION c DROP BACKUP '{points[number]}';")
        del points[number], states[number]
    compare(points, states)
    subprocess.run([YDBFS, "unmount", MOUNT], check=True, stdout=subprocess.DEVNULL)


def compare(points, states):
    diffs, histories = 0, 0
    for table in TABLES:
        for a, old in zip(points, states):
            for b, new in zip(points, states):
                if a != b:
                    expect_diff(f"c/diff/{a}..{b}/{table}.csv", table, old[table], new[table])
                    diffs += 1
        for before, after, old, new in zip(points, points[1:], states, states[1:]):
            expect_diff(f"c/changes/{after}/{table}.csv", table, old[table], new[table])
            diffs += 1
        keys = set().union(*(state[table] for state in states))
        for key in keys:
            expect_history(table, key, points, states)
            for point, state in zip(points, states):
                expect_row(table, key, point, state)
            histories += 1
    print(f"{diffs} diffs and {histories} histories are right")


main()
