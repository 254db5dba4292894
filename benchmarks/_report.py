"""Rows as a plain table, and as JSON."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._measure import Row

_HEAD = ("what", "bare floor", "tractor", "beside the floor", "budget", "", "load")
#: What the table cannot say by itself.
LEGEND = (
    "Medians, with (least-most) of the rounds. 2x: costs twice what the floor does, round by round.\n"
    "load: the machine's load average of one minute when that line was measured; the measurements themselves make\n"
    "about 2. More than that, or a wide spread, means that something else kept the machine busy."
)


def number(value: float) -> str:
    """Write a figure with three digits or more, none of them idle."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(values: Sequence[float], behind: str = "") -> str:
    """Write a median and, where there are several values, the least and the most."""
    median = f"{number(statistics.median(values))}{behind}"
    return f"{median} ({number(min(values))}-{number(max(values))})" if min(values) < max(values) else median


def unit(row: Row) -> str:
    """Return what is written behind a figure of the row."""
    return {"/s": "/s", "modules": ""}.get(row.measure.unit, f" {row.measure.unit}")


def beside(row: Row) -> str:
    """Say how ours compares with the floor."""
    return f"+{number(row.excess)}" if row.measure.unit == "modules" else spread(row.ratios, "x")


def budget(row: Row) -> str:
    """Say what was allowed."""
    limit = row.measure.budget
    if limit is None:
        return ""
    if limit.of == "ratio":
        return f"≤ {limit.limit:g}x"
    if limit.of == "excess":
        return f"≤ +{limit.limit:g}"
    return f"{'≥' if row.more_is_better else '≤'} {number(limit.limit)}{unit(row)}"


def verdict(row: Row) -> str:
    """Say whether it was kept to."""
    return {None: "", True: "within budget", False: "OVER"}[row.within_budget]


def cells(row: Row) -> tuple[str, ...]:
    """The cells of one line of the table."""
    title, load = row.measure.title, f"{row.load:.1f}"
    if row.failure:
        return title, "failed", "", "", "", "", load
    figures = spread(row.floor, unit(row)), spread(row.ours, unit(row))
    return title, *figures, beside(row), budget(row), verdict(row), load


def table(rows: Sequence[Row]) -> str:
    """Return the rows as text, columns aligned."""
    lines = [_HEAD, *map(cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def as_json(machine: dict[str, str | int], rows: Sequence[Row]) -> dict[str, Any]:
    """Return everything that was measured; figures are in the unit of their row."""
    return {
        "machine": machine,
        "rows": [
            {
                "name": row.measure.name,
                "title": row.measure.title,
                "unit": row.measure.unit,
                "floor": row.floor,
                "ours": row.ours,
                "ratios": row.ratios,
                "budget": budget(row),
                "within_budget": row.within_budget,
                "load": row.load,
                "failure": row.failure,
            }
            for row in rows
        ],
    }


def write_json(path: Path, machine: dict[str, str | int], rows: Sequence[Row]) -> None:
    """Write `as_json` to a file."""
    path.write_text(json.dumps(as_json(machine, rows), indent=2) + "\n")
