"""`watch`: events as they are committed, by any process."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

from veritas_peewee.cli import terminal
from veritas_peewee.cli.options import Database, Json, as_usage_errors, complete_id, looked_at
from veritas_peewee.cli.output import print_line
from veritas_peewee.cli.render import event_line
from veritas_peewee.cli.text import PROGRAM, complain, one_line
from veritas_peewee.following import polling
from veritas_peewee.models import AuditEvent
from veritas_peewee.queries import lookups

_DIED = "the process that was running it has ended without saying so"


def _after(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"\d{1,18}|\d{1,18}-[0-9a-f]{16}", value):
        raise typer.BadParameter(f"{value!r} is no event's id or token")
    return value


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog=f"Example: {PROGRAM} watch vrts_0a1b2c3d4e5")(watch)


def watch(
    id: Annotated[
        str | None,
        typer.Argument(help="The audit's id.", autocompletion=complete_id, metavar="ID"),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="EVENT", help="Go on after the event with this id or token.", callback=_after
        ),
    ] = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Show an audit's events, those to come too, until it ends; without an ID, all new ones.

    With --json each event is a line of JSON. The database is only read, so that the end of an audit
    whose process has died is told here, and recorded by the next who opens it to write.
    """
    with looked_at(database), as_usage_errors("--after"):
        position = int(after) if after is not None and after.isdecimal() else after
        events = polling.watch(id, after=position)
        if json:
            for event in events:
                print_line(event)
            if events.died:
                complain(f"{id}: {events.ended}: {_DIED}")
        else:
            _show(events, id)


def _show(events: polling.Watcher, audit_id: str | None) -> None:
    console = terminal.console(wide=True)
    with _progress(shown=audit_id is not None) as advance:
        for event in events:
            line, whole = event_line(event, with_audit=audit_id is None)
            terminal.print_line(console, line, whole)
            advance(event)
    if audit_id is not None:
        audit = lookups.get(audit_id)
        # Not its status, which of a process that has died is still "running".
        ended = Text.assemble(terminal.status(events.ended), "  ")
        if audit.trust_score is not None:
            ended.append_text(terminal.score(audit.trust_score)).append("  ")
        ended.append(one_line(audit.url))
        if events.died:
            ended.append(f"  ({_DIED})")
        console.print(ended, soft_wrap=True)  # how it ended is never cut


@contextmanager
def _progress(*, shown: bool) -> Iterator[Callable[[AuditEvent], None]]:
    """A line under the events with the audit's progress, from the first event that states it."""
    console = terminal.console()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not (shown and console.is_terminal)
    ) as bar:
        task = bar.add_task("", total=100, visible=False)

        def advance(event: AuditEvent) -> None:
            data = event.data if isinstance(event.data, dict) else {}
            pct = data.get("pct")
            if isinstance(pct, int | float) and not isinstance(pct, bool) and 0 <= pct <= 100:
                phase = one_line(data.get("phase") or "")[:20]
                bar.update(task, completed=pct, description=phase, visible=True)

        yield advance
