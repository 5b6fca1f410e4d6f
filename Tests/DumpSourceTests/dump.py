"""Writes dumps as `ydb tools dump` does, and what each point's tables must be: an independent oracle.

    dump.py golden DIRECTORY             one dump for each kind of change markers, with all types, and `tree`:
                                         a database's tables without any collection; then the same as
                                         a server exports them, in several forms (see `exports`)
    dump.py random DIRECTORY SEED COUNT  random histories, a directory each

Beside each dump NAME lies NAME.expected: for every point POINT/TABLE.csv, in the form that ydbfs renders.
"""

import ctypes
import hashlib
import json
import os
import random
import shutil
import struct
import sys
import uuid
from datetime import datetime, timedelta, timezone

KEPT = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789~._-;!*@$/")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
DELETED = "__ydb_incrBackupImpl_deleted"
STATES = "__ydb_incrBackupImpl_columnStates"
METADATA = "__ydb_incrBackupImpl_changeMetadata"


def cgi(data):
    """Percent-encoded bytes in quotes."""
    out = []
    for byte in data:
        out.append(chr(byte) if byte in KEPT else "+" if byte == 32 else "%%%02X" % byte)
    return '"' + "".join(out) + '"'


def csv_text(text):
    """A field of the CSV that ydbfs renders."""
    if text == "" or any(c in text for c in ',"\r\n') or text[0] == " " or text[-1] == " ":
        return '"' + text.replace('"', '""') + '"'
    return text


def csv_bytes(data):
    try:
        text = data.decode()
        if not text.startswith("\\x"):
            return csv_text(text)
    except UnicodeDecodeError:
        pass
    return "\\x" + data.hex()


def iso(micros, digits=6):
    time = EPOCH + timedelta(microseconds=micros)
    text = time.strftime("%Y-%m-%dT%H:%M:%S")
    return text + (".%06d" % time.microsecond if digits else "") + "Z"


def shortest(value, single):
    """The shortest decimal, as Python writes it."""
    if not single or value != value or value in (float("inf"), float("-inf")):
        return repr(value)
    for digits in range(1, 10):
        text = "%.*e" % (digits - 1, value)
        if struct.pack("<f", float(text)) == struct.pack("<f", value):
            return repr(float(text))
    raise AssertionError(value)


def decimal_text(number, scale):
    sign, digits = ("-", str(-number)) if number < 0 else ("", str(number))
    if scale == 0:
        return sign + digits
    digits = digits.rjust(scale + 1, "0")
    return sign + digits[:-scale] + "." + digits[-scale:]


class Type:
    """A column type: its text in scheme.pb, its name, random values, and both texts of a value."""

    def __init__(self, name, proto, make, dump, show):
        self.name, self.proto, self.make, self.dump, self.show = name, proto, make, dump, show


def integer(name, number, low, high):
    def make(rng):
        return rng.choice([low, high, 0, 1, rng.randint(low, high), rng.randint(max(low, -9), 9)])

    return Type(name, "type_id: " + number, make, str, str)


def text_of(rng):
    parts = ["a", "null", " ", ",", '"', "\n", "+", "%", "%41", "é", "漢", "\\x", "~", "^", "?", "x" * 40, "\r"]
    return "".join(rng.choice(parts) for _ in range(rng.randint(0, 4)))


def floating(name, number, code, digits):
    def make(rng):
        value = rng.choice([0.0, 1.5, -2.25, 1e30, rng.uniform(-1e6, 1e6), float("inf"), float("-inf")])
        text = "%.*g" % (digits, value)
        # What a dump keeps of it.
        return struct.unpack(code, struct.pack(code, float(text)))[0]

    return Type(
        name, "type_id: " + number, make, lambda v: "%.*g" % (digits, v),
        lambda v: shortest(v, code == "<f"))


def decimal(precision, scale):
    def make(rng):
        limit = 10**precision - 1
        return rng.choice([0, 1, -1, limit, -limit, rng.randint(-limit, limit)])

    def text(value):
        text = decimal_text(value, scale)
        return text.rstrip("0").rstrip(".") if "." in text else text

    return Type(
        "Decimal(%d,%d)" % (precision, scale),
        "decimal_type { precision: %d scale: %d }" % (precision, scale), make, text, text)


def day(rng):
    return rng.choice([0, 1, 20000, 40000, rng.randint(0, 45000)])


TYPES = [
    integer("Int8", "INT8", -(2**7), 2**7 - 1),
    integer("Int16", "8", -(2**15), 2**15 - 1),
    integer("Int32", "INT32", -(2**31), 2**31 - 1),
    integer("Int64", "INT64", -(2**63), 2**63 - 1),
    integer("Uint8", "UINT8", 0, 2**8 - 1),
    integer("Uint16", "UINT16", 0, 2**16 - 1),
    integer("Uint32", "UINT32", 0, 2**32 - 1),
    integer("Uint64", "4", 0, 2**64 - 1),
    integer("Interval", "INTERVAL", -(2**53), 2**53),
    integer("Interval64", "INTERVAL64", -(2**62), 2**62),
    Type("Bool", "type_id: BOOL", lambda r: r.random() < 0.5, lambda v: "01"[v], lambda v: "true" if v else "false"),
    floating("Float", "FLOAT", "<f", 6),
    floating("Double", "DOUBLE", "<d", 10),
    decimal(22, 9),
    decimal(35, 0),
    decimal(5, 5),
    Type("Date", "type_id: DATE", day, lambda v: iso(v * 86400 * 10**6), lambda v: iso(v * 86400 * 10**6)[:10]),
    Type(
        "Datetime", "type_id: DATETIME", lambda r: day(r) * 86400 + r.randint(0, 86399),
        lambda v: iso(v * 10**6), lambda v: iso(v * 10**6, 0)),
    Type(
        "Timestamp", "type_id: TIMESTAMP", lambda r: day(r) * 86400 * 10**6 + r.randint(0, 86399999999), iso, iso),
    Type(
        "Date32", "type_id: DATE32", lambda r: r.randint(-700000, 2900000), str,
        lambda v: (EPOCH + timedelta(days=v)).strftime("%Y-%m-%d").rjust(10, "0")),
    Type(
        "Datetime64", "type_id: DATETIME64", lambda r: r.randint(-60000000000, 250000000000), str,
        lambda v: iso(v * 10**6, 0).rjust(20, "0")),
    Type(
        "Timestamp64", "type_id: TIMESTAMP64", lambda r: r.randint(-60000000000000000, 250000000000000000), str,
        lambda v: iso(v).rjust(27, "0")),
    Type(
        "Uuid", "type_id: UUID", lambda r: uuid.UUID(int=r.getrandbits(128)), str, str),
    Type("String", "type_id: STRING", lambda r: r.randbytes(r.randint(0, 6)) if r.random() < 0.5 else text_of(r).encode(), cgi, csv_bytes),
    Type("Yson", "type_id: YSON", lambda r: b"{a=%d}" % r.randint(0, 9), cgi, csv_bytes),
    Type("Utf8", "type_id: UTF8", text_of, lambda v: cgi(v.encode()), csv_text),
    Type("Json", "type_id: JSON", lambda r: '{"a": [%d, "é"]}' % r.randint(0, 9), lambda v: cgi(v.encode()), csv_text),
    Type("JsonDocument", "type_id: JSON_DOCUMENT", lambda r: '{"a":%d}' % r.randint(0, 9), lambda v: cgi(v.encode()), csv_text),
    Type("DyNumber", "type_id: DYNUMBER", lambda r: ".%de%d" % (r.randint(1, 999), r.randint(-9, 9)), str, csv_text),
    Type(
        "pgtext", 'pg_type { type_name: "pgtext" }', text_of, lambda v: cgi(v.encode()), csv_text),
]
KEY_TYPES = ["Int8", "Int16", "Int32", "Int64", "Uint8", "Uint16", "Uint32", "Uint64", "Utf8", "String", "Date", "Datetime", "Timestamp", "Uuid", "Bool", "Decimal(22,9)", "Date32", "Interval"]


def column_name(type):
    """YDB's columns are called by letters, digits, - and _."""
    return "".join(c if c.isalnum() else "_" for c in type.name)


def type_named(name):
    return next(t for t in TYPES if t.name == name)


class Column:
    def __init__(self, name, type, not_null=False, default=None):
        self.name, self.type, self.not_null, self.default = name, type, not_null, default

    def proto(self, nullable=False):
        bare = "type { %s }" % self.type.proto
        text = 'columns {\n  name: "%s"\n' % self.name.replace('"', '\\"')
        if self.not_null and not nullable:
            text += "  %s\n  not_null: true\n" % bare
        else:
            text += "  type { optional_type { item { %s } } }\n" % self.type.proto
        if self.default is not None:
            field = "text_value" if self.type.name == "Utf8" else "int64_value"
            value = '"%s"' % self.default if self.type.name == "Utf8" else self.default
            text += "  from_literal { %s value { %s: %s } }\n" % (bare, field, value)
        return text + "}\n"


class Table:
    """Columns, key columns' names, and rows by key: a list of values, None for NULL."""

    def __init__(self, path, columns, key):
        self.path, self.columns, self.key, self.rows = path, columns, key, {}
        # The ids that YDB gives columns: not positions once a column was dropped before.
        self.tags = {c.name: n + 1 for n, c in enumerate(columns)}

    def values(self):
        return [c for c in self.columns if c.name not in self.key]

    def sort_key(self, row):
        parts = []
        for name in self.key:
            column = next(c for c in self.columns if c.name == name)
            value = row[name]
            if value is None:
                parts.append((0,))
            elif isinstance(value, str):
                parts.append((1, value.encode()))
            elif isinstance(value, uuid.UUID):
                parts.append((1, str(value).encode()))
            else:
                parts.append((1, value))
        return parts

    def csv(self):
        lines = [",".join(csv_text(c.name) for c in self.columns)]
        for row in sorted(self.rows.values(), key=self.sort_key):
            lines.append(",".join("" if row[c.name] is None else c.type.show(row[c.name]) for c in self.columns))
        return "\n".join(lines) + "\n"


def key_of(table, row):
    return tuple(repr(row[name]) for name in table.key)


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


def dump_rows(folder, lines, rng):
    """Data files of a few rows each; an empty table has one that is empty."""
    files = []
    while lines:
        count = rng.randint(1, max(len(lines), 1))
        files.append(lines[:count])
        lines = lines[count:]
    for number, part in enumerate(files or [[]]):
        write("%s/data_%02d.csv" % (folder, number), "".join(line + "\n" for line in part))


def cell(column, value):
    return "null" if value is None else column.type.dump(value)


def scheme(table, extra="", nullable=False):
    text = "".join(c.proto(nullable) for c in table.columns) + extra
    text += "".join('primary_key: "%s"\n' % name for name in table.key)
    return text + "partitioning_settings {\n  partitioning_by_size: ENABLED\n  partition_size_mb: 2048\n}\n"


PERMISSIONS = 'actions {\n  change_owner: "root@builtin"\n}\n'


def dump_full(folder, table, rng, is_ordered=True):
    rows = sorted(table.rows.values(), key=table.sort_key)
    if not is_ordered:
        rng.shuffle(rows)
    folder = "%s/%s" % (folder, table.path)
    write(folder + "/scheme.pb", scheme(table))
    write(folder + "/permissions.pb", PERMISSIONS)
    dump_rows(folder, [",".join(cell(c, r[c.name]) for c in table.columns) for r in rows], rng)


def varint(number):
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def state(tag, is_null, is_changed):
    body = b"\x08" + varint(tag) + b"\x10" + bytes([is_null]) + b"\x18" + bytes([is_changed])
    return b"\x0a" + varint(len(body)) + body


class Change:
    """The last change to one key: cells by name, and a state (is_null, is_changed) for each value column."""

    def __init__(self, row, cells, states, is_deleted):
        self.row, self.cells, self.states, self.is_deleted = row, cells, states, is_deleted


def dump_incremental(folder, table, changes, generation, rng, is_ordered=True):
    bool_type, bytes_type = type_named("Bool"), type_named("String")
    extra = {"A": [Column(DELETED, bool_type)], "B": [Column(DELETED, bool_type), Column(STATES, bytes_type)], "C": [Column(METADATA, bytes_type)]}[generation]
    rows = sorted(changes, key=lambda c: table.sort_key(c.row))
    if not is_ordered:
        rng.shuffle(rows)
    lines = []
    for change in rows:
        fields = []
        for column in table.columns:
            if column.name in table.key:
                fields.append(cell(column, change.row[column.name]))
            else:
                fields.append(cell(column, change.cells.get(column.name)))
        states = [state(table.tags[n], *s) for n, s in change.states.items()]
        # YDB goes over a hash map: in any order.
        rng.shuffle(states)
        states = b"".join(states)
        if generation == "C":
            fields.append(cgi(states + b"\x10" + bytes([change.is_deleted])))
        else:
            fields.append("1" if change.is_deleted else rng.choice(["0", "null"]))
            if generation == "B":
                fields.append(cgi(states))
        lines.append(",".join(fields))
    folder = "%s/%s" % (folder, table.path)
    text = scheme(table, "".join(c.proto() for c in extra), nullable=True)
    write(folder + "/scheme.pb", text + 'attributes {\n  key: "__incremental_backup"\n  value: "{}"\n}\n')
    write(folder + "/permissions.pb", PERMISSIONS)
    dump_rows(folder, lines, rng)


def random_row(table, rng):
    row = {}
    for column in table.columns:
        is_null = not column.not_null and rng.random() < 0.25
        row[column.name] = None if is_null else column.type.make(rng)
    return row


def change_table(table, generation, rng):
    """Changes a table as applications do, and answers what YDB would record of it."""
    changes = {}
    for _ in range(rng.randint(0, 6)):
        if table.rows and rng.random() < 0.7:
            row = dict(rng.choice(list(table.rows.values())))
        else:
            row = random_row(table, rng)
        key = key_of(table, row)
        if key in changes:
            continue
        kind = rng.choice(["upsert", "replace", "delete"])
        names = [c.name for c in table.values()]
        if kind == "delete":
            table.rows.pop(key, None)
            changes[key] = Change(row, {}, {n: (True, True) for n in names}, True)
            continue
        # Without states all columns are applied as they stand.
        given = names if generation == "A" else [n for n in names if rng.random() < 0.5]
        fresh = random_row(table, rng)
        cells = {n: fresh[n] for n in given}
        states = {}
        old = table.rows.get(key, {n: None for n in names})
        new = {n: row[n] for n in table.key}
        for name in names:
            if name in given:
                states[name] = (cells[name] is None, True)
                new[name] = cells[name]
            elif kind == "replace":
                states[name] = (True, True)
                new[name] = None
            else:
                states[name] = (False, False)
                new[name] = old[name]
        table.rows[key] = new
        changes[key] = Change(row, cells, states, False)
    return list(changes.values())


def expect(directory, point, tables):
    for table in tables:
        write("%s.expected/%s/%s.csv" % (directory, point, table.path), table.csv())


def point_name(number, kind):
    time = datetime(2025, 8, 21, 14, 15, 19, tzinfo=timezone.utc) + timedelta(hours=number)
    return time.strftime("%Y%m%d%H%M%SZ_") + kind


def random_table(path, rng):
    key = [Column("k%d" % n, type_named(rng.choice(KEY_TYPES)), not_null=rng.random() < 0.6) for n in range(rng.randint(1, 2))]
    values = [Column("v%d" % n, rng.choice(TYPES), not_null=False) for n in range(rng.randint(0, 4))]
    columns = key + values
    rng.shuffle(columns)
    return Table(path, columns, [c.name for c in key])


def fill(table, rng, count):
    for _ in range(count):
        row = random_row(table, rng)
        table.rows[key_of(table, row)] = row


def add_column(table, rng):
    name = "added%d" % len(table.columns)
    default = rng.choice([None, "7"])
    kind = rng.choice(["Int64", "Utf8"])
    table.columns.append(Column(name, type_named(kind), default=default))
    table.tags[name] = max(table.tags.values()) + 1
    for row in table.rows.values():
        row[name] = None if default is None else 7 if kind == "Int64" else default


def history(directory, rng):
    tables = [random_table(p, rng) for p in ["orders", "shop/products"][: rng.randint(1, 2)]]
    for table in tables:
        fill(table, rng, rng.choice([0, 1, 5, 30]))
    for number in range(rng.randint(1, 6)):
        if number == 0 or rng.random() < 0.2:
            point = point_name(number, "full")
            for table in tables:
                if number > 0:
                    change_table(table, "A", rng)
                dump_full("%s/%s" % (directory, point), table, rng, rng.random() < 0.5)
        else:
            point = point_name(number, "incremental")
            generation = rng.choice("ABC")
            os.makedirs("%s/%s" % (directory, point), exist_ok=True)
            for table in tables:
                if rng.random() < 0.1:
                    continue
                if rng.random() < 0.15:
                    add_column(table, rng)
                changes = change_table(table, generation, rng)
                dump_incremental("%s/%s" % (directory, point), table, changes, generation, rng, rng.random() < 0.5)
        expect(directory, point, tables)


def golden(directory, generation, seed):
    """Two tables, one with a column of each type, and one whose ids have gaps since columns were dropped."""
    rng = random.Random(seed)
    wide = Table("all/types", [Column("id", type_named("Uint64"), not_null=True)] + [Column(column_name(t), t) for t in TYPES], ["id"])
    for number in range(40):
        row = random_row(wide, rng)
        row["id"] = number
        wide.rows[key_of(wide, row)] = row
    gaps = Table("gaps", [Column("a", type_named("Utf8")), Column("k", type_named("Int32")), Column("b", type_named("Int64"))], ["k"])
    gaps.tags = {"a": 2, "k": 3, "b": 7}
    fill(gaps, rng, 10)
    tables = [wide, gaps]
    point = point_name(0, "full")
    for table in tables:
        dump_full("%s/%s" % (directory, point), table, rng)
    # An index's table and a changefeed within a table's folder, and what YDB keeps beside: no tables.
    write("%s/%s/gaps/by_b/indexImplTable/scheme.pb" % (directory, point), scheme(gaps))
    write("%s/%s/gaps/feed/changefeed_description.pb" % (directory, point), 'name: "feed"\n')
    expect(directory, point, tables)
    for number in (1, 2, 3):
        point = point_name(number, "incremental")
        for table in tables:
            changes = change_table(table, generation, rng)
            dump_incremental("%s/%s" % (directory, point), table, changes, generation, rng, number != 2)
        write("%s/%s/__ydb_backup_meta/indexes/gaps/by_b/scheme.pb" % (directory, point), scheme(gaps))
        expect(directory, point, tables)


def set_time(directory):
    """The newest file is as old as the first point."""
    time = datetime(2025, 8, 21, 14, 15, 19, tzinfo=timezone.utc).timestamp()
    for place, _, names in os.walk(directory):
        for name in names:
            os.utime(os.path.join(place, name), (time, time - (name == "scheme.pb")))


def tree(directory, seed):
    """Tables of a database in folders of its own, as `ydb tools dump -p .` writes them: one point."""
    rng = random.Random(seed)
    tables = [random_table(p, rng) for p in ["orders", "shop/products", "shop/old/stock_full"]]
    for table in tables:
        fill(table, rng, 20)
        dump_full(directory, table, rng, rng.random() < 0.5)
    for folder in ["", "shop/", "shop/old/", "shop/empty/", "a view/", "a topic/"]:
        write("%s/%spermissions.pb" % (directory, folder), PERMISSIONS)
    write(directory + "/shop/empty/empty_dir", "")
    write(directory + "/a view/create_view.sql", '-- backup root: "/Root"\nCREATE VIEW `a view` AS SELECT 1;\n')
    write(directory + "/a topic/create_topic.pb", "partitioning_settings {\n}\n")
    set_time(directory)
    expect(directory, point_name(0, "full"), tables)


def zstd(data):
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_compressBound.restype = library.ZSTD_compress.restype = ctypes.c_size_t
    room = library.ZSTD_compressBound(ctypes.c_size_t(len(data)))
    out = ctypes.create_string_buffer(room)
    size = library.ZSTD_compress(out, ctypes.c_size_t(room), data, ctypes.c_size_t(len(data)), 3)
    return out.raw[:size]


def zstd_frames(data, rng):
    """Frames one behind the other, as servers write them."""
    out, place = b"", 0
    while place < len(data) or not out:
        count = rng.randint(1, max(len(data), 1))
        out += zstd(data[place : place + count])
        place += count
    return out


CIPHERS = {"AES-128-GCM": "EVP_aes_128_gcm", "AES-256-GCM": "EVP_aes_256_gcm", "ChaCha20-Poly1305": "EVP_chacha20_poly1305"}


def seal(algorithm, key, nonce, known, plain):
    """What OpenSSL makes of a text, and its authentication code."""
    library = ctypes.CDLL("libcrypto.so.3")
    library.EVP_CIPHER_CTX_new.restype = ctypes.c_void_p
    cipher = getattr(library, CIPHERS[algorithm])
    cipher.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.EVP_CIPHER_CTX_new())
    out, code, size = ctypes.create_string_buffer(len(plain) + 16), ctypes.create_string_buffer(16), ctypes.c_int()
    assert library.EVP_EncryptInit_ex(context, ctypes.c_void_p(cipher()), None, key, nonce) == 1
    assert library.EVP_EncryptUpdate(context, None, ctypes.byref(size), known, len(known)) == 1
    if plain:
        assert library.EVP_EncryptUpdate(context, out, ctypes.byref(size), plain, len(plain)) == 1
    assert library.EVP_EncryptFinal_ex(context, ctypes.create_string_buffer(16), ctypes.byref(size)) == 1
    assert library.EVP_CIPHER_CTX_ctrl(context, 0x10, 16, code) == 1
    library.EVP_CIPHER_CTX_free(context)
    return out.raw[: len(plain)], code.raw


def encrypted(data, algorithm, key, rng):
    vector = rng.randbytes(12)
    header = b"\x08\x01\x12\x0c" + vector + b"\x1a" + varint(len(algorithm)) + algorithm.encode()
    size = struct.pack(">H", len(header))
    _, code = seal(algorithm, key, vector, size + header, b"")
    out, place, number = size + header + code, 0, 0
    while True:
        count = min(rng.randint(1, 300), len(data) - place)
        block, place, number = data[place : place + count], place + count, number + 1
        nonce = vector[:8] + struct.pack(">I", struct.unpack(">I", vector[8:])[0] ^ number)
        size = struct.pack(">I", len(block))
        text, code = seal(algorithm, key, nonce, code + size, block)
        out += size + text + code
        if not block:
            return out


class Export:
    """A server's export of what lies in a dump: `mapping` is where its paths begin, None without any."""

    def __init__(self, source, target, rng, mapping=None, is_zipped=True, cipher=None):
        self.source, self.target, self.rng = source, target, rng
        self.mapping, self.is_zipped, self.cipher = mapping, is_zipped, cipher

    def write(self, path, data, is_plain=False):
        data = data if isinstance(data, bytes) else data.encode()
        name = os.path.basename(path)
        write("%s/%s.sha256" % (self.target, path), "%s %s\n" % (hashlib.sha256(data).hexdigest(), name))
        if self.is_zipped and name.startswith("data_"):
            data, path = zstd_frames(data, self.rng), path + ".zst"
        if self.cipher and not is_plain:
            data, path = encrypted(data, *self.cipher, self.rng), path + ".enc"
        write("%s/%s" % (self.target, path), data)

    def table(self, folder, prefix):
        names = os.listdir(folder)
        data = b"".join(open("%s/%s" % (folder, n), "rb").read() for n in sorted(names) if n.startswith("data_"))
        lines = data.splitlines(keepends=True) if data else []
        parts = self.rng.randint(1, 3)
        cuts = sorted(self.rng.randint(0, len(lines)) for _ in range(parts - 1))
        text = open(folder + "/scheme.pb").read()
        if parts > 1 and self.rng.random() < 0.5:
            text += "partition_at_keys {\n%s}\n" % ("  split_points { }\n" * (parts - 1))
        elif parts > 1:
            text += "uniform_partitions: %d\n" % parts
        self.write(prefix + "/scheme.pb", text)
        self.write(prefix + "/permissions.pb", PERMISSIONS)
        self.write(prefix + "/metadata.json", json.dumps({"version": 1, "permissions": 1, "full_backups": [{"snapshot_vts": [1755785719000, 281474976710657]}], "changefeeds": [], "indexes": []}))
        for number, (start, end) in enumerate(zip([0] + cuts, cuts + [len(lines)])):
            self.write("%s/data_%02d.csv" % (prefix, number), b"".join(lines[start:end]))

    def make(self):
        objects = {}
        for place, folders, names in sorted(os.walk(self.source)):
            path = os.path.relpath(place, self.source)
            others = [n for n in names if n.startswith("create_")]
            if "scheme.pb" not in names and not others:
                continue
            prefix = path if self.mapping is None else "%03d" % (len(objects) + 1)
            objects[(self.mapping or "") + path] = {"exportPrefix": prefix}
            if "scheme.pb" in names:
                self.table(place, prefix)
            for name in others:
                self.write("%s/%s" % (prefix, name), open("%s/%s" % (place, name), "rb").read())
        if self.mapping is not None:
            if self.cipher:
                for item in objects.values():
                    item["iv"] = self.rng.randbytes(12).hex().upper()
            root = {"kind": "SimpleExportV0", "compression": "zstd", "checksum": "sha256"}
            if self.cipher:
                root["encryption"] = self.cipher[0]
            self.write("metadata.json", json.dumps(root), is_plain=True)
            self.write("SchemaMapping/metadata.json", '{"kind":"SchemaMappingV0"}')
            self.write("SchemaMapping/mapping.json", json.dumps({"exportedObjects": objects}))
        set_time(self.target)
        shutil.copytree(self.source + ".expected", self.target + ".expected")


def exports(directory):
    """A collection item by item, with a mapping, and encrypted, and a database's tables."""
    rng = random.Random(11)
    collection = directory + "/generationC"
    place = "/Root/.backups/collections/"
    keys = {name: rng.randbytes(size) for name, size in [("key16", 16), ("key32", 32)]}
    for name, key in keys.items():
        write("%s/%s" % (directory, name), key)
    for args in [
        (collection, directory + "/exportItems", rng),
        (collection, directory + "/exportMapped", rng, "", False),
        (collection, directory + "/exportAES", rng, place + "exportAES/", True, ("AES-128-GCM", keys["key16"])),
        (collection, directory + "/exportChaCha", rng, "exportChaCha/", True, ("ChaCha20-Poly1305", keys["key32"])),
        (collection, directory + "/exportAES256", rng, "", False, ("AES-256-GCM", keys["key32"])),
        (directory + "/tree", directory + "/exportTree", rng, "/Root/db/", True),
    ]:
        Export(*args).make()


def main():
    if sys.argv[1] == "golden":
        tree(sys.argv[2] + "/tree", 7)
        for number, generation in enumerate("ABC"):
            golden("%s/generation%s" % (sys.argv[2], generation), generation, number)
        exports(sys.argv[2])
    else:
        for number in range(int(sys.argv[4])):
            history("%s/h%d" % (sys.argv[2], number), random.Random("%s %d" % (sys.argv[3], number)))


if __name__ == "__main__":
    main()
