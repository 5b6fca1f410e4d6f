"""Tables of figures beside their targets: as text while they are measured, as JSON, as Markdown."""
import json
import operator

SIGNS = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt}


def number(value):
    """Three digits that count, more only before the point."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 0.01:
        return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
    return f"{value:.2g}"


class Table:
    """Rows of one figure for each column. A target, `<= 1.3`, holds for all of them, or is a
    dictionary from columns to targets."""

    def __init__(self, title, columns, rows=None):
        self.title, self.columns, self.rows = title, columns, rows or []

    def begin(self):
        print(f"\n{self.title}", flush=True)
        self._print("", self.columns, "target")

    def add(self, what, values, target=""):
        """Adds a row. `values`: for each column, or a single one for the first."""
        values = list(values) if isinstance(values, (list, tuple)) else [values]
        values += [None] * (len(self.columns) - len(values))
        targets = target if isinstance(target, dict) else dict.fromkeys(self.columns, target) if target else {}
        missed = [c for c, v in zip(self.columns, values) if c in targets and v is not None and not meets(v, targets[c])]
        row = {"what": what, "values": values, "target": target, "missed": missed}
        self.rows.append(row)
        self._print(what, self._cells(row), words(target))

    def _cells(self, row):
        """The figures, those that miss their target marked."""
        return [number(v) + ("!" if c in row["missed"] else "") for c, v in zip(self.columns, row["values"])]

    def _print(self, what, cells, target):
        widths = [max(12, len(column) + 2) for column in self.columns]
        figures = "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths))
        print(f"{what:<56}{figures}   {target}", flush=True)

    def markdown(self):
        has_targets = any(row["target"] for row in self.rows)
        head = [self.title, *self.columns] + ["target"] * has_targets
        lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        for row in self.rows:
            cells = [f"**{cell[:-1]}**" if cell.endswith("!") else cell for cell in self._cells(row)]
            target = [words(row["target"])] * has_targets
            lines.append("| " + " | ".join([row["what"].replace("|", "\\|"), *cells, *target]) + " |")
        return "\n".join(lines)


def meets(value, target):
    sign, bound = target.split()
    return SIGNS[sign](value, float(bound))


def words(target):
    if isinstance(target, dict):
        return ", ".join(f"{column} {words(bound)}" for column, bound in target.items())
    return target.replace("<=", "≤").replace(">=", "≥")


class Report:
    """All tables of a run, and the curves of its picture."""

    def __init__(self, about):
        self.about, self.tables, self.curves = about, [], {}

    def table(self, title, columns):
        table = Table(title, columns)
        self.tables.append(table)
        table.begin()
        return table

    def markdown(self):
        about = ", ".join(f"{name} {value}" for name, value in self.about.items())
        return "\n\n".join([f"<!-- {about} -->"] + [table.markdown() for table in self.tables])

    def save(self, path):
        content = {"about": self.about, "tables": [vars(table) for table in self.tables], "curves": self.curves}
        with open(path, "w") as file:
            json.dump(content, file, indent=1, ensure_ascii=False)
            file.write("\n")

    @classmethod
    def load(cls, path):
        with open(path) as file:
            content = json.load(file)
        report = cls(content["about"])
        report.tables = [Table(**table) for table in content["tables"]]
        report.curves = {name: {int(n): r for n, r in curve.items()} for name, curve in content["curves"].items()}
        return report
