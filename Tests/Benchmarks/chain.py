"""What the points of a long chain cost to read, after three ways in which a table changes."""
import statistics

from data import HISTORIES, Database
from harness import medians, stored_files

ROWS = 10_000_000
POINTS = 60
FORMATS = ["csv", "parquet"]


def measure(bench):
    results = {}
    for history in HISTORIES:
        bench.clear()
        results[history] = measure_history(bench, history)
    table = bench.report.table(f"1 % of the rows at each of {bench.options.points} points", list(results))
    for what in next(iter(results.values())):
        table.add(what[0], [figures[what] for figures in results.values()], what[1])
    curves = bench.report.curves
    rows = bench.report.table("time per byte, the full being 1", list(curves))
    for number in next(iter(curves.values())):
        rows.add(f"point {number}", [curve[number] for curve in curves.values()])


def measure_history(bench, history):
    """Figures by (what, target)."""
    bench.say(f"making {bench.options.rows} rows and a chain of {history}")
    names, figures = make_chain(bench, history)
    for kind in FORMATS:
        rates = {}
        for number in range(0, bench.options.points + 1, bench.options.step):
            taken, size = bench.cold_read(names[number], f"bench.{kind}")
            rates[number] = size / taken / 1e6
            bench.say(f"{history}, {kind}, point {number}: {rates[number]:.0f} MB/s")
        worst = min(rates, key=rates.get)
        name = {"csv": "CSV", "parquet": "Parquet"}[kind]
        figures[f"{name}, full, MB/s", ""] = rates[0]
        figures[f"{name}, worst point, MB/s", ""] = rates[worst]
        figures[f"{name}, worst point", ""] = f"point {worst}"
        figures[f"{name}, worst point / full, time per byte", "<= 1.3"] = rates[0] / rates[worst]
        bench.report.curves[f"{history}, {kind}"] = {number: rates[0] / rate for number, rate in rates.items()}
        if kind == "csv":
            for label, point in (("full", 0), ("worst point", worst)):
                rate, cold, _, after = bench.cold_random(names[point])
                figures[f"random 4 KiB from a fresh mount, {label}, reads/s", ""] = rate
                figures[f"random 4 KiB from a fresh mount, {label}, median ms", "< 1"] = cold
                figures[f"random 4 KiB elsewhere after that, {label}, median ms", "< 1"] = after
    return figures


def make_chain(bench, history):
    """Answers the names of the chain's points, and what taking them cost."""
    database = Database(bench.database, bench.options.rows)
    with bench.mount() as mount:
        mount.create("(TABLE bench, TABLE small)")
        fulls = [mount.backup("full") for _ in range(bench.repeat)]
        stored = stored_files(bench.database)[1]
        taken = []
        for number in range(bench.options.points):
            database.change(history, number + 10)
            taken.append(mount.backup("incremental"))
        names = mount.points()[bench.repeat - 1 :]
    first = stored / bench.repeat
    grown = stored_files(bench.database)[1] - stored
    median = statistics.median
    full, full_cpu, *_ = medians(fulls)
    return names, {
        ("full backup, s", ""): full,
        ("incremental, median / full, time", "<= 0.15"): median(cost.seconds for cost in taken) / full,
        ("incremental, slowest / full, time", ""): max(cost.seconds for cost in taken) / full,
        ("incremental, CPU / full's", ""): median(cost.cpu for cost in taken) / max(full_cpu, 0.01),
        ("incremental, bytes read for a changed row", ""): median(cost.read / cost.changes for cost in taken),
        ("incremental, bytes decoded for a changed row", ""): median(cost.decoded / cost.changes for cost in taken),
        ("stored by the full, MB", ""): first / 1e6,
        ("stored by all incrementals, MB", ""): grown / 1e6,
        ("stored by all incrementals / so many rows of the full", "<= 4"): grown / (first * len(taken) / 100),
    }
