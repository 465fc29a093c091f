"""`prune`: old audits are removed, with their screenshots."""

from __future__ import annotations

import re
import sys
from datetime import datetime, timedelta
from typing import Annotated

import typer

from veritas_peewee.cli import progress, terminal
from veritas_peewee.cli.options import Database, Json, existing, looked_at, moment
from veritas_peewee.cli.output import print_json
from veritas_peewee.cli.text import PROGRAM, one_line
from veritas_peewee.maintenance.prune import prune as prune_audits
from veritas_peewee.maintenance.removing import PruneReport

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog=f"Example: {PROGRAM} prune --older-than 90d --keep 10 --dry-run")(prune)


def _age(value: str) -> timedelta | datetime:
    """An age such as 90d, or a moment."""
    if match := re.fullmatch(r"(\d{1,6})([hdw])", value.strip()):
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        return moment(value)
    except typer.BadParameter:
        raise typer.BadParameter(
            f"{value!r} is neither an age such as 36h, 90d or 12w nor a date such as 2026-01-31"
        ) from None


def prune(
    older_than: Annotated[
        datetime | None,  # or a timedelta: Typer takes what the parser returns
        typer.Option(
            parser=_age,
            metavar="AGE|DATE",
            help="Only audits stored before: 36h, 90d, 12w, 2026-01-31.",
        ),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="Keep the N ended audits of each site that ran last."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")
    ] = False,
    vacuum: Annotated[
        bool,
        typer.Option(
            "--vacuum", help="Then rewrite the file, so that it is small; writers wait for it."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    database: Database = None,
    json: Json = False,
) -> None:
    """Remove ended audits, with their screenshots, while the store is in use.

    With both limits an audit goes if it is older and not among the newest of its site. One that
    is queued or running never goes.
    """
    if older_than is None and keep is None:
        raise typer.BadParameter("say what may go: --older-than, --keep, or both")
    if not (yes or dry_run) and not (sys.stdin and sys.stdin.isatty()):
        raise typer.BadParameter("without a terminal to ask on, give --yes", param_hint="--yes")
    if dry_run or not yes:
        with looked_at(database):
            report = prune_audits(older_than=older_than, keep_newest=keep, dry_run=True)
    if not dry_run:
        if not yes and report.audits:
            typer.confirm(f"Delete {_counted(report)} for good?", abort=True, err=True)
        with existing(database), progress.whole("audits") as advance:
            report = prune_audits(
                older_than=older_than, keep_newest=keep, vacuum=vacuum, progress=advance
            )
    if json:
        print_json(report)
    else:
        _print(report)


def _print(report: PruneReport) -> None:
    console = terminal.console()
    done = "would be deleted" if report.dry_run else "deleted"
    console.print(f"{done}: {_counted(report)}", soft_wrap=True)
    if report.skipped:
        audits = terminal.counted(report.skipped, "audit")
        console.print(f"left alone: {audits}, taken up again or deleted meanwhile", soft_wrap=True)
    for audit_id in report.undated:
        console.print(
            f"left alone: audit {one_line(audit_id)}, whose created_at is not a moment",
            soft_wrap=True,
        )
    if not report.dry_run:
        console.print(_size(report), style="dim", soft_wrap=True)


def _size(report: PruneReport) -> str:
    size, free = f"{report.bytes_after / 1e6:.1f} MB", report.free_bytes
    if free is None:
        return f"the store has {size}; what is free in it now the server uses again"
    note = f"the database has {size}, of which {free / 1e6:.1f} MB are free for new audits"
    return note + "; --vacuum gives them back" * (free > report.bytes_after / 4)


def _counted(report: PruneReport) -> str:
    return (
        f"{terminal.counted(report.audits, 'audit')}, {terminal.counted(report.events, 'event')} "
        f"and {terminal.counted(report.screenshots, 'screenshot')} "
        f"({report.screenshot_bytes / 1e6:.1f} MB)"
    )
