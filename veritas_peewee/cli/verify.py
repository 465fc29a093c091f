"""`verify`: whether a store still holds everything, as it was."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from veritas_peewee.cli import progress, terminal
from veritas_peewee.cli.options import Database, Json, looked_at, must_exist, typed
from veritas_peewee.cli.output import print_json
from veritas_peewee.cli.text import PROGRAM, complain, in_words, one_line
from veritas_peewee.errors import DatabaseCorrupt, StoreError
from veritas_peewee.evidence.checkpoints import is_checkpoint
from veritas_peewee.evidence.keys import public_key
from veritas_peewee.ledger.heads import parse_head
from veritas_peewee.maintenance.repair import repairing, strays
from veritas_peewee.maintenance.verify import Report
from veritas_peewee.maintenance.verify import verify as verify_store

UNCHECKED = 3
"""The exit code if nothing is wrong with what could be looked at, and something could not."""

_LONGEST = 100_000
"""The most bytes that are read of a file that should hold a head or a checkpoint."""


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog=f"Example: {PROGRAM} verify --against head.txt")(verify)


def _kept_text(value: str | None) -> str | None:
    """The head or the checkpoint that an option means: itself, or what is in a file."""
    if value is None:
        return None
    is_file = os.path.exists(value)  # a pipe too: --against <(ssh safe cat head.txt)
    try:
        text = value
        if is_file:
            with open(value, "rb") as file:
                text = file.read(_LONGEST).decode(errors="replace")
        return text if is_checkpoint(text) else str(parse_head(text))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(in_words(error)) from None
    except StoreError as error:
        told = f"{value}: {error}" if is_file else f"{error}, and there is no such file"
        raise typer.BadParameter(told) from None


def _key(value: str | None) -> str | None:
    if value is not None:
        try:
            public_key(value)
        except (StoreError, OSError) as error:
            raise typer.BadParameter(in_words(error)) from None
    return value


def verify(
    against: Annotated[
        str | None,
        typer.Option(
            help="A head or a signed checkpoint that was kept elsewhere, or a file that holds it.",
            metavar="HEAD",
            callback=_kept_text,
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="The public key that must have signed the checkpoint: a vkey, or a file of one "
            "or of a PEM key.",
            metavar="KEY",
            callback=_key,
        ),
    ] = None,
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Make again what can be: counts, indexes; remove stray files."),
    ] = False,
    files: Annotated[bool, typer.Option(help="Read every screenshot file.")] = True,
    database: Database = None,
    json: Json = False,
) -> None:
    """Check everything: the file, each event, row and screenshot, and that none is missing.

    It ends with 1 if anything is missing or altered, with 3 if nothing is as far as it could be
    looked at, and something could not.
    """
    if against is not None and key is None and is_checkpoint(against):
        raise typer.BadParameter(
            "this is a signed checkpoint: name the key that must have signed it, --key KEY",
            param_hint="--against",
        )
    if key is not None and (against is None or not is_checkpoint(against)):
        raise typer.BadParameter(
            "is for a signed checkpoint, --against CHECKPOINT: "
            + ("there is none" if against is None else "this is a head, which nobody has signed"),
            param_hint="--key",
        )
    done: list[str] = []
    if fix:
        must_exist(database)
        with typed(database), repairing(database) as done:
            pass
    try:
        with looked_at(database), progress.whole("audits") as advance:
            report = verify_store(against=against, key=key, files=files, progress=advance)
            stray = strays()
    except DatabaseCorrupt as error:
        report, stray = Report(), []
        report.problems.add(str(error))
    report.notes += [f"{name}: no row names this file (--fix removes it)" for name in stray]
    for text in (*report.problems, *report.unchecked):
        complain(text)
    if json:
        print_json({
            "ok": report.ok, "problems": report.problems, "unchecked": report.unchecked,
            "notes": report.notes, "fixed": done,
            "audits": report.audits, "events": report.events, "screenshots": report.files,
            "head": None if report.head is None else str(report.head),
        })  # fmt: skip
    else:
        _print(report, done)
    if not report.ok:
        raise typer.Exit(1 if report.problems else UNCHECKED)


def _print(report: Report, done: list[str]) -> None:
    console = terminal.console(wide=True)
    for text in done:
        console.print(f"fixed: {one_line(text)}", style="green")
    for text in report.notes:
        console.print(f"note: {one_line(text)}", style="dim")
    checked = (
        f"{terminal.counted(report.audits, 'audit')}, {terminal.counted(report.events, 'event')} "
        f"and {terminal.counted(report.files, 'screenshot')} checked"
    )
    if report.ok:
        console.print(f"{checked}: all is there, as it was", style="green")
        console.print(f"head: {report.head}", style="dim", soft_wrap=True)
    else:
        found = terminal.counted(len(report.problems), "problem")
        if report.unchecked:
            found += f", {len(report.unchecked)} that could not be checked here"
        console.print(f"{checked}: {found}")
