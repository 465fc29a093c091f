"""`init`: a database is created, or upgraded to this version."""

from __future__ import annotations

from pathlib import Path

import typer

from veritas_peewee.cli import terminal
from veritas_peewee.cli.options import Database, Json, opened
from veritas_peewee.cli.output import print_json
from veritas_peewee.cli.text import PROGRAM, one_line
from veritas_peewee.config import database_url, locate
from veritas_peewee.errors import StoreError
from veritas_peewee.startup import connect


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog=f"Example: {PROGRAM} init --database audits.db")(init)


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
    outcome = {
        "created": "created",
        "upgraded": "upgraded to this version",
        "unchanged": "is there already, nothing to do",
    }
    console = terminal.console()
    console.print(f"{one_line(path)}: {outcome[action]}", soft_wrap=True)
    for backup in backups:
        console.print(f"the file as it was before: {one_line(backup)}", soft_wrap=True)


def _is_current(database: str | None) -> bool:
    """Whether the database needs no upgrade."""
    try:
        with connect(database, read_only=True):
            return True
    except StoreError:
        return False  # of an older version; other troubles are raised when it is opened for writing


def _backups(path: Path) -> set[Path]:
    return set(path.parent.glob(f"{path.name}.backup-*"))
