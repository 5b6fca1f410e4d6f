"""What the soak does to a mount: an application, readers, and somebody who writes statements."""
import errno
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time

GONE = {errno.ENOENT, errno.ESTALE}
"""What may happen to a reader of a point that is being dropped."""

CREATE = """CREATE BACKUP COLLECTION shop DATABASE WITH (STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true',
    INCREMENTAL_EVERY = '10s', FULL_EVERY = '4m', SKIP_UNCHANGED = 'true', MAX_CHAIN = '8', AUDIT_EVERY = '10',
    KEEP_LAST = '10', KEEP_DROPPED = '10s', VERIFY_EVERY = '2m')"""


def make_database(path, rows):
    base = sqlite3.connect(path)
    base.executescript(f"""
        PRAGMA journal_mode = wal;
        CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, price REAL, item TEXT, note TEXT);
        CREATE TABLE stock (code TEXT PRIMARY KEY, pieces INTEGER) WITHOUT ROWID;
        CREATE TABLE pictures (id INTEGER PRIMARY KEY, bytes BLOB);
        CREATE TABLE visits (page TEXT, at TEXT);
        CREATE INDEX by_customer ON orders(customer);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {rows})
        INSERT INTO orders SELECT i, i % 977, i / 8.0, 'item ' || (i * 7919 % 5000), hex(randomblob(20)) FROM n;
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {rows // 10})
        INSERT INTO stock SELECT hex(i * 2654435761 % 4294967296), i FROM n;
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 40)
        INSERT INTO pictures SELECT i, randomblob(1000 * i * i) FROM n;
    """)
    base.close()


def create(stage):
    write(stage, f"{stage.point}/control", CREATE)
    write(stage, f"{stage.point}/shop/control", "full")
    read(f"{stage.point}/shop/operation/wait")


def write(stage, path, text):
    """Writes a statement; false if it was refused."""
    try:
        file = os.open(path, os.O_WRONLY)
        try:
            os.write(file, text.encode())
        finally:
            os.close(file)
        return True
    except OSError as error:
        # Other writers, a queue that is full, a point that went.
        if error.errno not in {errno.EBUSY, errno.EAGAIN, errno.ENOENT, errno.EINVAL, errno.EEXIST}:
            stage.fault(f"{text}: {error}")
        return False


def read(path):
    with open(path, "rb", buffering=0) as file:
        return file.read()


def names(stage):
    found = [name for name in os.listdir(f"{stage.point}/shop") if name[0] == "2"]
    return sorted(found)


def points(stage):
    try:
        return len(names(stage))
    except OSError:
        return 0


def operations(stage):
    return max((int(name) for name in os.listdir(f"{stage.point}/operations") if name.isdigit()), default=0)


def repeated(body, pause):
    """A load that does `body` until the end; what a dropped point makes of it is right."""

    def run(stage):
        dice = random.Random()
        while not stage.stop.is_set():
            try:
                body(stage, dice)
                stage.count(body.__name__)
            except OSError as error:
                if error.errno not in GONE:
                    stage.fault(f"{body.__name__}: {error}")
            except Exception as error:
                stage.fault(f"{body.__name__}: {type(error).__name__} {error}")
            stage.stop.wait(pause)

    return run


def run(stage, *words, quiet=()):
    """A program whose failures count, but for those with such words."""
    ran = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    bad = [line for line in ran.stderr.splitlines()
           if "No such file" not in line and "Stale file handle" not in line and not any(q in line for q in quiet)]
    if bad:
        stage.fault(f"{words[0]}: {bad[0]}")


# The application

def application(stage, dice):
    base = sqlite3.connect(stage.database, timeout=60, isolation_level=None)
    try:
        base.execute("BEGIN IMMEDIATE")
        highest = base.execute("SELECT max(id) FROM orders").fetchone()[0]
        for _ in range(300):
            base.execute("UPDATE orders SET price = price + 1, note = hex(randomblob(20)) WHERE id = ?",
                         (dice.randrange(highest),))
        # As many go as come: the database has the same size at the end.
        base.executemany("INSERT INTO orders VALUES (NULL, ?, ?, 'new', NULL)",
                         [(dice.randrange(977), dice.random()) for _ in range(200)])
        base.execute("DELETE FROM orders WHERE id IN (SELECT id FROM orders ORDER BY id LIMIT 200)")
        base.execute("UPDATE stock SET pieces = pieces + 1 WHERE code IN (SELECT code FROM stock ORDER BY random() LIMIT 20)")
        base.execute("UPDATE pictures SET bytes = randomblob(length(bytes)) WHERE id = ?", (dice.randrange(1, 41),))
        base.execute("INSERT INTO visits SELECT 'page', datetime('now')")
        base.execute("DELETE FROM visits WHERE rowid IN (SELECT rowid FROM visits ORDER BY rowid DESC LIMIT -1 OFFSET 50)")
        base.execute("COMMIT")
    finally:
        base.close()


# Readers

def lists(stage, dice):
    run(stage, "ls", "-lRL", stage.point)


def cats(stage, dice):
    name = dice.choice(names(stage))
    file = dice.choice(os.listdir(f"{stage.point}/shop/{name}"))
    run(stage, "cat", f"{stage.point}/shop/{name}/{file}")


def copies(stage, dice):
    target = f"{stage.folder}/copy"
    shutil.rmtree(target, ignore_errors=True)
    run(stage, "cp", "-rL", f"{stage.point}/shop/{dice.choice(names(stage))}", target)
    shutil.rmtree(target, ignore_errors=True)


def preads(stage, dice):
    """Random places, past the kernel's pages."""
    name = dice.choice(names(stage))
    for file in ["orders.csv", "orders.parquet", "pictures.parquet", "stock.csv"]:
        handle = os.open(f"{stage.point}/shop/{name}/{file}", os.O_RDONLY)
        try:
            size = os.fstat(handle).st_size
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_RANDOM)
            for _ in range(100):
                os.pread(handle, dice.choice([1, 512, 4096, 70_000]), dice.randrange(max(1, size)))
        finally:
            os.close(handle)


def looks(stage, dice):
    for file in ["control", "errors", "README", "shop/status", "shop/chain", "shop/chain.json", "shop/control",
                 "shop/collection.sql", "shop/operation/progress", "operations/latest/statement"]:
        read(f"{stage.point}/{file}")
    os.statvfs(stage.point)
    ran = subprocess.run([stage.ydbfs, "status", stage.database, "--json"], capture_output=True, text=True)
    if ran.returncode != 0:
        stage.fault(f"status: {ran.stderr}")
    json.loads(ran.stdout)


# Statements

def states(stage, dice):
    """Something of everything that can be written; the cheap often."""
    control = f"{stage.point}/shop/control"
    name = dice.choice(names(stage))
    collection = "ALTER BACKUP COLLECTION shop"
    kind = dice.randrange(12)
    if kind < 5:
        write(stage, control, f"{collection} PIN BACKUP '{name}'")
        write(stage, control, f"{collection} UNPIN BACKUP '{name}'")
    elif kind < 8:
        refused = write(stage, f"{stage.point}/control", dice.choice(["BACKUP nothing;", "BACKUP BACKUP;", "VERIFY;"]))
        if refused:
            stage.fault("a wrong statement was taken")
    elif kind == 8:
        level = dice.choice(["catalog", "hashes", "content"])
        write(stage, control, f"VERIFY shop AT '{name}' WITH (level = {level})")
    elif kind == 9:
        write(stage, control, dice.choice(["PRUNE shop", "PRUNE shop WITH (dry_run = true)", "COMPACT shop"]))
    elif kind == 10:
        write(stage, control, "incremental")
    else:
        write(stage, control, f"{collection} SET (MAX_CHAIN = '{dice.randrange(6, 12)}')")


def waits(stage, dice):
    """Waits for an operation; some lose patience, some cancel it."""
    folder = f"{stage.point}/operations/{os.readlink(stage.point + '/operations/latest')}"
    waiting = subprocess.Popen(["cat", f"{folder}/wait"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(dice.random())
    if dice.random() < 0.1:
        write(stage, f"{folder}/cancel", "1")
    if dice.random() < 0.5:
        waiting.send_signal(signal.SIGINT)
    try:
        waiting.wait(timeout=120)
    except subprocess.TimeoutExpired:
        waiting.kill()
        stage.fault(f"{folder}/wait doesn't end")


def drops(stage, dice):
    """A point that is dropped while it is read: what is open stays readable to its end."""
    name = names(stage)[0]
    with open(f"{stage.point}/shop/{name}/orders.csv", "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        first = file.read(100_000)
        write(stage, f"{stage.point}/shop/control", f"ALTER BACKUP COLLECTION shop DROP BACKUP '{name}'")
        # Its files are removed by whatever comes next.
        stage.stop.wait(15)
        rest = 0
        while block := file.read(1 << 20):
            rest += len(block)
        if len(first) + rest != size:
            stage.fault(f"{name}: {len(first) + rest} of {size} bytes after it was dropped")


LOADS = [
    repeated(application, 0.5), repeated(lists, 1), repeated(cats, 0.2), repeated(copies, 2), repeated(preads, 0.2),
    repeated(preads, 0.2), repeated(looks, 1), repeated(states, 0.7), repeated(waits, 0.5), repeated(drops, 10),
]
