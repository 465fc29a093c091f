"""`show`: one audit in full."""

from __future__ import annotations

from typing import Annotated

import typer

from veritas_peewee.cli import render, terminal
from veritas_peewee.cli.options import Database, Json, complete_id, existing
from veritas_peewee.cli.output import print_json
from veritas_peewee.cli.text import PROGRAM
from veritas_peewee.presentation.data import full_audit
from veritas_peewee.queries import lookups


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog=f"Example: {PROGRAM} show vrts_0a1b2c3d4e5 --events")(show)


def show(
    id: Annotated[
        str, typer.Argument(help="The audit's id.", autocompletion=complete_id, metavar="ID")
    ],
    events: Annotated[bool, typer.Option("--events", help="Also the event log.")] = False,
    database: Database = None,
    json: Json = False,
) -> None:
    """Show one audit in full; with --json all of it, its events too."""
    with existing(database, reading=True):
        audit = lookups.get(id)
        log = lookups.events(id) if events or json else []
    if json:
        print_json(full_audit(audit, log))
        return
    console = terminal.console()
    render.show_audit(console, audit)
    if events:
        render.show_events(console, log)
