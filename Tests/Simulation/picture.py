#!/usr/bin/env python3
"""Draws what a simulated year came to: picture.py YEAR.csv YEAR.svg"""

import csv
import sys

WIDTH, HEIGHT, LEFT, RIGHT = 640, 200, 64, 470
COLOURS = ["#0072b2", "#d55e00", "#009e73"]


def panel(top, title, days, series, unit):
    """One diagram: each of `series` is a name and a value for each day."""
    bottom = top + HEIGHT - 56
    highest = max(max(values) for _, values in series)
    step = next(s * 10**e for e in range(-3, 9) for s in (1, 2, 5) if highest <= 5 * s * 10**e)
    ceiling = step * -(-highest // step)
    across = lambda day: LEFT + (RIGHT - LEFT) * day / days[-1]
    up = lambda value: bottom - (bottom - top - 24) * value / ceiling
    parts = [f'<text x="{LEFT}" y="{top + 12}" font-weight="bold">{title}</text>']
    value = 0
    while value <= ceiling * 1.0001:
        parts.append(
            f'<line x1="{LEFT}" x2="{RIGHT}" y1="{up(value):.1f}" y2="{up(value):.1f}" stroke="#ccc"/>'
            f'<text x="{LEFT - 6}" y="{up(value) + 4:.1f}" text-anchor="end">{value:g}{unit}</text>')
        value += step
    for day in range(0, days[-1] + 1, 60):
        parts.append(
            f'<text x="{across(day):.1f}" y="{bottom + 18}" text-anchor="middle">{day}</text>')
    for index, (name, values) in enumerate(series):
        points = " ".join(f"{across(d):.1f},{up(v):.1f}" for d, v in zip(days, values))
        colour = COLOURS[index]
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
            f'<text x="{RIGHT + 10}" y="{top + 36 + 18 * index}" fill="{colour}">{name}</text>')
    return parts


def main(source, target):
    with open(source, encoding="utf8") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    days = [int(row["day"]) for row in rows]
    column = lambda key, scale=1: [row[key] * scale for row in rows]
    parts = panel(0, "Stored", days, [
        ("data of all points", column("data_bytes", 1e-6)),
        ("the newest as CSV", column("csv_bytes", 1e-6))], " MB")
    parts += panel(HEIGHT, "Reading the newest point, cold", days, [
        ("pages decoded", column("pages_decoded")),
        ("row files opened", column("row_files_opened"))], "")
    parts += panel(2 * HEIGHT, "Processor time", days, [
        ("of an incremental", column("backup_ms")), ("of reading the newest", column("read_ms")),
        ("of opening the repository", column("open_ms"))], " ms")
    parts += panel(3 * HEIGHT, "Points", days, [
        ("live, all compared", column("points")),
        ("dropped, to be had back", column("dropped"))], "")
    parts.append(
        f'<text x="{(LEFT + RIGHT) / 2}" y="{4 * HEIGHT - 8}" text-anchor="middle">day</text>')
    height = 4 * HEIGHT
    with open(target, "w", encoding="utf8") as file:
        file.write(
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            'font-family="sans-serif" font-size="12">\n'
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n")


main(*sys.argv[1:])
