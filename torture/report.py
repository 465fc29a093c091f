"""The table, and the same as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from typing import Any

from torture.model import Row
from veritas_peewee.database.sqlite_errors import driver

_HEADS = ("fault", "rounds", "acknowledged", "missing", "half-saved", "seconds", "verdict")


def as_table(rows: Sequence[Row]) -> str:
    """One line for each row, and below it what is bad about it."""
    cells = [_HEADS, *(_cells(row) for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(_HEADS) - 1)]
    lines = []
    for index, line in enumerate(cells):
        first, *others = line[:-1]
        numbers = [text.rjust(width) for text, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *numbers, line[-1]]))
        if index == 0:
            lines.append("-" * (sum(widths) + 2 * len(widths) + 40))
    for row in rows:
        if row.control == "breaks":
            continue
        lines += [f"{row.fault}: {text}" for text in row.problems]
        if row.problem_count > len(row.problems):
            lines.append(f"{row.fault}: … and {row.problem_count - len(row.problems)} more")
    if counted := [f"  {row.fault}: {_figures(row.figures)}" for row in rows if row.figures]:
        lines += ["", "What else was counted:", *counted]
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    numbers = (row.acknowledged, row.missing, row.half_saved)
    counted = ("", "", "") if row.not_run else tuple(f"{number:,}" for number in numbers)
    name = f"{row.fault} (control)" if row.control else row.fault
    return (name, f"{row.rounds}", *counted, f"{row.seconds:.1f}", row.verdict)


def _figures(figures: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in figures.items())


def as_json(rows: Sequence[Row], seed: int) -> str:
    facts = {
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": driver.sqlite_version,
        "processors": os.cpu_count(),
        "seed": seed,
    }
    return json.dumps({"facts": facts, "rows": [row.as_json() for row in rows]}, indent=1) + "\n"
