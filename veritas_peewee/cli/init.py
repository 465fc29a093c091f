"""`init`: a database is created, or upgraded to this version."""

from __future__ import annotations

from glob import escape
from pathlib import Path

import typer

from veritas_peewee.cli import terminal
from veritas_peewee.cli.options import Database, Json, check_exists, opened
from veritas_peewee.cli.output import print_json
from veritas_peewee.cli.text import PROGRAM, one_line
from veritas_peewee.config import Location, database_url, locate
from veritas_peewee.errors import StoreError
from veritas_peewee.startup import connect, is_there


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog=f"Example: {PROGRAM} init --database audits.db")(init)


def init(database: Database = None, json: Json = False) -> None:
    """Create the database, or upgrade it to this version."""
    location = locate(database)
    if location.in_memory:
        raise typer.BadParameter("a database in memory cannot be kept", param_hint="--database")
    current = _is_current(database)
    existed = current or _exists(location)
    before = _backups(location)
    with opened(database):
        pass
    backups = sorted(_backups(location) - before)
    action = "unchanged" if current else "upgraded" if existed else "created"
    if json:
        print_json(
            {
                "path": None if location.path is None else str(location.path),
                "url": location.name if location.path is None else database_url(location.path),
                "action": action,
                "backup": str(backups[-1]) if backups else None,
            }
        )
        return
    outcome = {
        "created": "created",
        "upgraded": "upgraded to this version",
        "unchanged": "is there already, nothing to do",
    }
    console = terminal.console()
    console.print(f"{one_line(location.name)}: {outcome[action]}", soft_wrap=True)
    for backup in backups:
        console.print(f"the file as it was before: {one_line(backup)}", soft_wrap=True)


def _is_current(database: str | None) -> bool:
    """Whether the database is there and needs no upgrade."""
    try:
        check_exists(database)
        with connect(database, read_only=True):
            return True
    except StoreError:
        return False  # of an older version; other troubles are raised when it is opened for writing


def _exists(location: Location) -> bool:
    """Whether there is anything of a store yet."""
    if location.path is not None:
        return location.path.is_file() and location.path.stat().st_size > 0
    return is_there(location)


def _backups(location: Location) -> set[Path]:
    path = location.path
    return set() if path is None else set(path.parent.glob(f"{escape(path.name)}.backup-*"))
