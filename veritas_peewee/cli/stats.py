"""`stats`: how many audits there are of each kind, by the filters of the history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import typer
from rich.text import Text

from veritas_peewee.cli import terminal
from veritas_peewee.cli.filtering import filtered
from veritas_peewee.cli.options import Database, Json, as_usage_errors, existing
from veritas_peewee.cli.output import print_json
from veritas_peewee.cli.text import PROGRAM, one_line
from veritas_peewee.presentation.data import facet_pairs
from veritas_peewee.queries import counting
from veritas_peewee.queries.filters import Filters


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog=f"Example: {PROGRAM} stats --since 2026-01 --min-severity high")(stats)


@filtered
def stats(database: Database = None, *, filters: Filters, json: Json = False) -> None:
    """Count audits by status, risk level, site type, tier and pattern type."""
    with existing(database, reading=True), as_usage_errors():
        found = counting.facets(**filters)
    if json:
        print_json(facet_pairs(found))
        return
    console = terminal.console()
    console.print(terminal.counted(found.total, "audit"), style="bold")
    for name, counts in _kinds(found):
        if counts:
            console.print()
            console.print(
                _table(name, counts, found.total, terminal.status if name == "status" else None)
            )


def _kinds(found: counting.Facets) -> list[tuple[str, Mapping[str, int]]]:
    names = [field.name for field in fields(found) if field.name != "total"]
    return [(name, getattr(found, name)) for name in names]


def _table(
    name: str, counts: Mapping[str, int], total: int, style: Callable[[object], Text] | None
) -> Any:
    table = terminal.columns()
    table.add_column(name.replace("_", " ").capitalize(), no_wrap=True, min_width=24)
    table.add_column("Audits", justify="right", no_wrap=True)
    table.add_column("Share", justify="right", no_wrap=True)
    for kind, number in counts.items():
        shown = one_line(terminal.NONE if kind == counting.NO_VALUE else kind)
        share = f"{number / total:.0%}" if total else ""
        table.add_row(style(shown) if style else shown, f"{number:,}", share)
    return table
