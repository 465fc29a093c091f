"""`doctor`: the state of a store, its file and its processes."""

from __future__ import annotations

import typer
from rich.text import Text

from veritas_peewee.cli import terminal
from veritas_peewee.cli.options import Database, Json
from veritas_peewee.cli.output import print_json
from veritas_peewee.cli.text import PROGRAM, complain, one_line
from veritas_peewee.maintenance.diagnosis import Level
from veritas_peewee.maintenance.doctor import diagnose

_STYLE: dict[Level, str] = {
    "ok": "green", "note": "dim", "warning": "yellow", "problem": "bold red",
}  # fmt: skip

_SHORT = 60
"""Characters of a line below which a finding's name is above its text."""


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog=f"Example: {PROGRAM} doctor --json")(doctor)


def doctor(database: Database = None, json: Json = False) -> None:
    """Look at the database, its file and who has it open; nothing is changed.

    The exit code is 1 if there is a problem; warnings and notes do not count.
    """
    findings = diagnose(database)
    bad = [finding for finding in findings if finding.level == "problem"]
    for one in bad:
        complain(f"{one.name}: {one.text}")
    if json:
        print_json({"ok": not bad, "findings": findings})
    else:
        console = terminal.console(wide=True)
        table = terminal.columns()
        table.show_header = False
        is_short = console.width < _SHORT
        for _ in range(1 if is_short else 2):
            table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for one in findings:
            level, name, text = Text(one.level), one_line(one.name), one_line(one.text)
            level.stylize(_STYLE[one.level])
            table.add_row(level, *([f"{name}\n{text}"] if is_short else [name, text]))
        console.print(table)
    if bad:
        raise typer.Exit(1)
