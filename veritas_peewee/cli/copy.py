"""`copy`: a whole store into another, a file or a database of a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from veritas_peewee.cli import progress, terminal
from veritas_peewee.cli.options import Json, check_exists, typed
from veritas_peewee.cli.output import print_json
from veritas_peewee.cli.text import PROGRAM, complain, one_line
from veritas_peewee.config import locate
from veritas_peewee.errors import StoreError
from veritas_peewee.presentation.data import as_dict
from veritas_peewee.transfer.stores import CopyReport, copy_store


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog=f"Example: {PROGRAM} copy data/audits.db postgresql://user@host/audits")(
        copy
    )


def _store(value: str) -> str:
    try:
        if locate(value).in_memory:
            raise StoreError("a database in memory ends when it is closed, and is not copied")
    except StoreError as error:
        raise typer.BadParameter(str(error)) from None
    return value


def copy(
    source: Annotated[
        str,
        typer.Argument(help="The store that is copied.", metavar="FROM", callback=_store),
    ],
    target: Annotated[
        str,
        typer.Argument(
            help="Where to: it is created, or is empty, or holds a copy that was interrupted.",
            metavar="TO",
            callback=_store,
        ),
    ],
    from_screenshots: Annotated[
        Path | None, typer.Option(help="The folder of FROM's images, if it is no usual one.")
    ] = None,
    to_screenshots: Annotated[
        Path | None,
        typer.Option(help="The folder for TO's images; else a server has them itself."),
    ] = None,
    json: Json = False,
) -> None:
    """Copy a store, whole: the same ids, logs, seals, images and head.

    Both are paths or URLs. Each audit is compared once all are there. After an interruption, run it
    again. It ends with 1 if anything is not the same.
    """
    check_exists(source)
    with typed(source), progress.parts() as advance:
        report = copy_store(
            source,
            target,
            source_screenshots=from_screenshots,
            target_screenshots=to_screenshots,
            progress=advance,
        )
    for text in report.problems:
        complain(text)
    if json:
        print_json({"ok": report.ok, **as_dict(report), "head": str(report.head)})
    else:
        _print(report)
    if not report.ok:
        raise typer.Exit(1)


def _print(report: CopyReport) -> None:
    console = terminal.console(wide=True)
    counts = [
        terminal.counted(number, noun)
        for number, noun in (
            (report.audits, "audit"),
            (report.events, "event"),
            (report.screenshots, "screenshot"),
        )
    ]
    console.print(f"copied {', '.join(counts)} to {one_line(report.target)}", soft_wrap=True)
    if report.skipped:
        console.print(f"{terminal.counted(report.skipped, 'audit')} had been copied before")
    if report.complete:
        console.print(f"head: {report.head}", style="dim", soft_wrap=True)
    else:
        console.print("the copy is not complete, and is no store to be used")
