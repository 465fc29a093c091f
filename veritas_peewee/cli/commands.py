"""`init`, `show` and `delete`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from veritas_peewee import operations, queries
from veritas_peewee.cli import render, terminal
from veritas_peewee.cli.options import (
    Database,
    Json,
    complete_id,
    existing,
    opened,
)
from veritas_peewee.cli.serialize import full_audit, print_json
from veritas_peewee.cli.text import PROGRAM, complain, one_line
from veritas_peewee.config import database_url, locate
from veritas_peewee.errors import StoreError
from veritas_peewee.startup import connect


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog=f"Example: {PROGRAM} init --database audits.db")(init)
    app.command(epilog=f"Example: {PROGRAM} show vrts_0a1b2c3d4e5 --events")(show)
    app.command(epilog=f"Example: {PROGRAM} delete vrts_0a1b2c3d4e5 --yes")(delete)


def init(database: Database = None, json: Json = False) -> None:
    """Create the database, or upgrade it to this version."""
    path = locate(database).path
    if path is None:
        raise typer.BadParameter("a database in memory cannot be kept", param_hint="--database")
    existed = path.is_file() and path.stat().st_size > 0
    current = existed and _is_current(database)
    before = _backups(path)
    with opened(database):
        pass
    backups = sorted(_backups(path) - before)
    action = "unchanged" if current else "upgraded" if existed else "created"
    if json:
        print_json(
            {
                "path": str(path),
                "url": database_url(path),
                "action": action,
                "backup": str(backups[-1]) if backups else None,
            }
        )
        return
    told = {
        "created": "created",
        "upgraded": "upgraded to this version",
        "unchanged": "is there already, nothing to do",
    }
    console = terminal.console()
    console.print(f"{one_line(path)}: {told[action]}", soft_wrap=True)
    for backup in backups:
        console.print(f"the file as it was before: {one_line(backup)}", soft_wrap=True)


def _is_current(database: str | None) -> bool:
    try:
        with connect(database, read_only=True):
            return True
    except StoreError:
        return False  # older; or a trouble that opening it for writing tells again


def _backups(path: Path) -> set[Path]:
    return set(path.parent.glob(f"{path.name}.backup-*"))


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
        audit = queries.get(id)
        log = queries.events(id) if events or json else []
    if json:
        print_json(full_audit(audit, log))
        return
    console = terminal.console()
    render.show_audit(console, audit)
    if events:
        render.show_events(console, log)


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
                operations.delete(one)
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
    """The audits that are there, shown and agreed to."""
    found: list[str] = []
    console = terminal.console(stderr=True)
    for one in ids:
        try:
            audit = queries.get(one)
        except StoreError as error:
            complain(error)
            continue
        found.append(one)
        console.print(
            f"{one}  {one_line(audit.status)}  {one_line(audit.url)}",
            overflow="ellipsis",
            no_wrap=True,
        )
    if found:
        number = "this audit" if len(found) == 1 else f"these {len(found)} audits"
        typer.confirm(f"Delete {number} for good?", abort=True, err=True)
    return found
