"""`delete`: audits are removed with all that belongs to them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.text import Text

from veritas_peewee.cli import terminal
from veritas_peewee.cli.options import Database, Json, complete_id, existing
from veritas_peewee.cli.output import print_json
from veritas_peewee.cli.text import PROGRAM, complain, one_line
from veritas_peewee.errors import StoreError
from veritas_peewee.queries import lookups
from veritas_peewee.recording import removal


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog=f"Example: {PROGRAM} delete vrts_0a1b2c3d4e5 --yes")(delete)


def delete(
    ids: Annotated[
        list[str],
        typer.Argument(help="The audits' ids.", autocompletion=complete_id, metavar="ID..."),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    database: Database = None,
    json: Json = False,
) -> None:
    """Remove audits with all that belongs to them, screenshots too."""
    wanted = list(dict.fromkeys(ids))
    if not yes and not (sys.stdin and sys.stdin.isatty()):
        raise typer.BadParameter("without a terminal to ask on, give --yes", param_hint="--yes")
    deleted: list[str] = []
    with existing(database):
        if not yes:
            wanted = _confirm(wanted)
        for one in wanted:
            try:
                removal.delete(one)
            except StoreError as error:
                complain(error)
            else:
                deleted.append(one)
    if json:
        print_json({"deleted": deleted})
    else:
        for one in deleted:
            terminal.console().print(f"deleted {one_line(one)}")
    if set(deleted) != set(ids):
        raise typer.Exit(1)


def _confirm(ids: list[str]) -> list[str]:
    """The audits that exist, after the user has seen them and agreed."""
    found: list[str] = []
    console = terminal.console(stderr=True)
    for one in ids:
        try:
            audit = lookups.get(one)
        except StoreError as error:
            complain(error)
            continue
        found.append(one)
        line = Text(f"{one}  {one_line(audit.status)}  {one_line(audit.url)}")
        terminal.print_line(console, line, terminal.cells(one))
    if found:
        number = "this audit" if len(found) == 1 else f"these {len(found)} audits"
        typer.confirm(f"Delete {number} for good?", abort=True, err=True)
    return found
