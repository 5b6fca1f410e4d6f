"""Reads a folder that `ydb tools restore` would take, by the rules of YDB's dumps alone, and writes each table as
ydbfs renders it: an independent reader.

    undump.py DIRECTORY OUTPUT      OUTPUT/TABLE.csv for each table, and OUTPUT/TABLE.key with its key's columns
"""

import os
import re
import struct
import sys
from datetime import datetime, timedelta, timezone

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
KEPT = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789~._-;!*@$/"
LIMIT = int(os.environ.get("LIMIT", "100000000"))


def unescape(field):
    """The bytes between quotes; takes offence at anything that needn't or must be escaped otherwise."""
    assert len(field) >= 2 and field[:1] == b'"' and field[-1:] == b'"', field
    out, place, text = bytearray(), 0, field[1:-1]
    while place < len(text):
        byte = text[place]
        if byte == ord("+"):
            out.append(32)
        elif byte == ord("%"):
            digits = text[place + 1 : place + 3].decode()
            assert re.fullmatch("[0-9A-F]{2}", digits), field
            out.append(int(digits, 16))
            assert out[-1] not in KEPT and out[-1] != 32, field
            place += 2
        else:
            assert byte in KEPT, field
            out.append(byte)
        place += 1
    return bytes(out)


def quoted(text):
    if text == "" or any(c in text for c in ',"\r\n') or text[0] == " " or text[-1] == " " or text == "\\.":
        return '"' + text.replace('"', '""') + '"'
    return text


def shown_bytes(data):
    try:
        if not data.startswith(b"\\x"):
            return quoted(data.decode())
    except UnicodeDecodeError:
        pass
    return "\\x" + data.hex()


def iso(text):
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text), text
    return text


def days(number):
    date = (EPOCH + timedelta(days=number)).strftime("%Y-%m-%d")
    return date.rjust(10, "0")


def micros(number, digits=6):
    time = EPOCH + timedelta(microseconds=number)
    text = time.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    return text + (".%06d" % time.microsecond if digits else "") + "Z"


def single(text):
    """Reads back as the same number, and no digit is too many."""
    if text.strip("-") in ("inf", "nan"):
        return text
    value = struct.unpack("<f", struct.pack("<f", float(text)))[0]
    for digits in range(1, 10):
        shortest = "%.*e" % (digits - 1, value)
        if struct.unpack("<f", struct.pack("<f", float(shortest)))[0] == value:
            return repr(float(shortest))
    raise AssertionError(text)


def integer(low, high):
    def show(text):
        assert re.fullmatch(r"-?\d+", text) and low <= int(text) <= high, text
        return text

    return show


def signed(bits):
    return integer(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


SHOWN = {
    "BOOL": lambda t: {"0": "false", "1": "true"}[t],
    "INT8": signed(8), "INT16": signed(16), "INT32": signed(32), "INT64": signed(64),
    "UINT8": integer(0, 2**8 - 1), "UINT16": integer(0, 2**16 - 1), "UINT32": integer(0, 2**32 - 1),
    "UINT64": integer(0, 2**64 - 1), "INTERVAL": signed(64), "INTERVAL64": signed(64),
    "FLOAT": single, "DOUBLE": lambda t: repr(float(t)),
    "DATE": lambda t: iso(t)[:10], "DATETIME": lambda t: iso(t)[:19] + "Z", "TIMESTAMP": iso,
    "DATE32": lambda t: days(int(t)), "DATETIME64": lambda t: micros(int(t) * 10**6, 0),
    "TIMESTAMP64": lambda t: micros(int(t)),
    "UUID": lambda t: t, "DYNUMBER": lambda t: t, "DECIMAL": lambda t: t,
}
BYTES = ("STRING", "YSON")


def columns_of(scheme):
    columns = []
    for block in re.findall(r"columns \{\n(.*?)\n\}\n", scheme, re.S):
        name = re.search(r'name: "([A-Za-z0-9_-]+)"', block).group(1)
        simple = re.search(r"type_id: (\w+)", block)
        kind = simple.group(1) if simple else "DECIMAL" if "decimal_type" in block else "PG"
        is_optional = "optional_type" in block
        assert is_optional != ("not_null: true" in block), block
        columns.append((name, kind, is_optional))
    return columns


def table(folder):
    with open(folder + "/scheme.pb") as file:
        scheme = file.read()
    columns = columns_of(scheme)
    key = re.findall(r'^primary_key: "(.*)"$', scheme, re.M)
    names = [c[0] for c in columns]
    assert key and all(k in names for k in key) and len(set(names)) == len(names)
    files = sorted(n for n in os.listdir(folder) if n.startswith("data_"))
    assert files == ["data_%02d.csv" % n for n in range(len(files))] and files, files
    assert sorted(os.listdir(folder)) == files + ["permissions.pb", "scheme.pb"]
    rows, keys = [",".join(quoted(n) for n in names)], set()
    for number, name in enumerate(files):
        with open(folder + "/" + name, "rb") as file:
            data = file.read()
        assert data == b"" or data.endswith(b"\n")
        assert number == len(files) - 1 or len(data) >= LIMIT
        assert data or len(files) == 1
        for line in data.split(b"\n")[:-1]:
            fields, shown = line.split(b","), []
            assert len(fields) == len(columns), line
            for field, (_, kind, is_optional) in zip(fields, columns):
                if field == b"null":
                    assert is_optional
                    shown.append("")
                elif kind in BYTES:
                    shown.append(shown_bytes(unescape(field)))
                elif kind in SHOWN:
                    shown.append(SHOWN[kind](field.decode()))
                else:
                    shown.append(quoted(unescape(field).decode()))
            found = tuple(fields[names.index(k)] for k in key)
            assert found not in keys, "a key twice: %r" % (found,)
            keys.add(found)
            rows.append(",".join(shown))
    return "\n".join(rows) + "\n", ",".join(key) + "\n"


def main(directory, output):
    for folder, inner, files in os.walk(directory):
        assert "permissions.pb" in files, folder
        place = os.path.relpath(folder, directory)
        if "scheme.pb" in files:
            inner[:] = []
            csv, key = table(folder)
            target = output + "/" + place
            os.makedirs(os.path.dirname(target), exist_ok=True)
            for ending, text in ((".csv", csv), (".key", key)):
                with open(target + ending, "w", newline="", encoding="utf-8") as file:
                    file.write(text)
        else:
            assert inner or "empty_dir" in files, folder


main(*sys.argv[1:])
