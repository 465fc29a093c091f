"""`backup` and `restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from veritas_peewee.cli import progress, terminal
from veritas_peewee.cli.options import Database, Json, check_exists
from veritas_peewee.cli.output import print_json
from veritas_peewee.cli.text import PROGRAM, complain, one_line
from veritas_peewee.config import locate
from veritas_peewee.maintenance import backup as backups
from veritas_peewee.maintenance.copying import refuse_server


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog=f"Example: {PROGRAM} backup /mnt/backups/monday")(backup)
    app.command(epilog=f"Example: {PROGRAM} restore /mnt/backups/monday --database new/audits.db")(
        restore
    )


def backup(
    target: Annotated[
        Path | None,
        typer.Argument(
            help="The new folder; without it one beside the database, named after the time.",
            metavar="TARGET",
        ),
    ] = None,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Back up a store even if it is damaged.")
    ] = False,
    database: Database = None,
    json: Json = False,
) -> None:
    """Copy the database and its screenshots to a new folder, while the store is in use.

    The folder appears when all of it is on disk and has been verified.
    """
    path = _file(database)
    check_exists(database)
    with progress.parts() as advance:
        report = backups.backup(
            target, database=database or str(path), progress=advance, damaged=damaged
        )
    for text in report.problems:
        complain(text)
    if json:
        print_json(report)
    else:
        console = terminal.console()
        console.print(f"backed up to {one_line(report.path)}", soft_wrap=True)
        console.print(_verified(report.audits, report.events, report.screenshots), style="dim")
        for text in report.notes:
            console.print(f"note: {one_line(text)}", style="dim", soft_wrap=True)
        for name in report.deleted:
            console.print(f"deleted meanwhile, and so not in it: {one_line(name)}", style="dim")
        console.print(f"head: {report.head}", style="dim", soft_wrap=True)
    if report.problems:
        raise typer.Exit(1)


def restore(
    source: Annotated[Path, typer.Argument(help="The backup's folder.", metavar="SOURCE")],
    force: Annotated[
        bool,
        typer.Option("--force", help="Also over a store that holds what the backup does not."),
    ] = False,
    database: Database = None,
    json: Json = False,
) -> None:
    """Put a backup where the database is; what was there is kept aside.

    The backup is verified first. Nothing is replaced that is in use, or, without --force, that
    holds anything that the backup does not.
    """
    _file(database)
    with progress.parts() as advance:
        report = backups.restore(source, database, force=force, progress=advance)
    if json:
        print_json(report)
        return
    console = terminal.console()
    console.print(f"restored {one_line(report.database)}", soft_wrap=True)
    console.print(_verified(report.audits, report.events, report.screenshots), style="dim")
    if report.replaced is not None:
        console.print(f"what was there before: {one_line(report.replaced)}", soft_wrap=True)


def _file(database: str | None) -> Path:
    """The file; wrong usage in memory, and StoreError on a server, which names the way there."""
    location = locate(database)
    refuse_server(location)
    if location.path is None:
        raise typer.BadParameter("a database in memory has no file", param_hint="--database")
    return location.path


def _verified(audits: int, events: int, screenshots: int) -> str:
    return (
        f"{terminal.counted(audits, 'audit')}, {terminal.counted(events, 'event')}, "
        f"{terminal.counted(screenshots, 'screenshot')} verified"
    )
