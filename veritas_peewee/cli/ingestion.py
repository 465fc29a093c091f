"""`ingest`: files of the engine's output, or its live pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, BinaryIO, cast

import typer
from rich.progress import Progress, TextColumn, track

from veritas_peewee.cli import listing, terminal
from veritas_peewee.cli.ending import Patience
from veritas_peewee.cli.options import Database, Json, audit_id, audit_url, opened
from veritas_peewee.cli.output import print_json
from veritas_peewee.cli.streams import standard_input
from veritas_peewee.cli.text import PROGRAM, complain, one_line
from veritas_peewee.errors import AuditNotFound, InvalidAudit, StoreError
from veritas_peewee.files.inputs import Arriving, Lines, read_whole
from veritas_peewee.models import Audit, AuditStatus
from veritas_peewee.presentation.data import audit_values
from veritas_peewee.queries import lookups
from veritas_peewee.recording import operations
from veritas_peewee.recording.forms import NOTES_EVENT, Event, with_notes
from veritas_peewee.recording.ingest import check_same_url, ingest_noted
from veritas_peewee.recording.live import NO_END, LiveOutput
from veritas_peewee.recording.many import Ingested, ingest_each
from veritas_peewee.recording.output import parse, unread
from veritas_peewee.recording.recorder import end_of_output, record

PIPE = "-"


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog=f"Examples: {PROGRAM} ingest results/*.json\n\n"
        f"veritas https://example.com | {PROGRAM} ingest - --url https://example.com"
    )(ingest)


def ingest(
    files: Annotated[
        list[str],
        typer.Argument(help="Files of the engine's output, or - for a pipe.", metavar="FILE..."),
    ],
    url: Annotated[
        str | None,
        typer.Option(help="The audited address, where the output tells none.", callback=audit_url),
    ] = None,
    id: Annotated[
        str | None,
        typer.Option(help="The audit to store into, or a new one's id.", callback=audit_id),
    ] = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Store audits from the engine's output: results, events or its standard output.

    Each file is stored whole or not at all. From a pipe with --url or --id, each event is
    stored as its line arrives; without them, all at the pipe's end.
    """
    if len(files) > 1 and id is not None:
        raise typer.BadParameter("one id cannot name several audits", param_hint="--id")
    if len(files) > 1 and PIPE in files:
        raise typer.BadParameter("- stands alone", param_hint="FILE")
    stored: list[tuple[str, Audit]] = []
    failures = 0
    with opened(database):
        found = ingest_each(_each(files), url=url) if len(files) > 1 else [_one(files[0], url, id)]
        for file, audit, troubles in found:
            if audit is not None:
                stored.append((str(file), audit))
            for text in troubles:
                complain(text if text.startswith(f"{file}: ") else f"{file}: {text}")
            failures += len(troubles)
    if json:
        print_json([{"file": file, **audit_values(audit)} for file, audit in stored])
    elif stored:
        console = terminal.console(wide=True)
        console.print(listing.stored_table(stored, console.width))
    if failures:
        raise typer.Exit(1)


def _one(file: str, url: str | None, audit_id: str | None) -> Ingested:
    try:
        if file != PIPE:
            audit, troubles = ingest_noted(file, audit_id=audit_id, url=url)
        elif url is None and audit_id is None:
            audit, troubles = _whole_pipe(standard_input())
        else:
            # An event that was read is recorded, whoever interrupts: only waiting is.
            with Patience() as patience:
                audit, troubles = _live_pipe(_Arriving(standard_input(), patience), url, audit_id)
    except StoreError as error:
        return Ingested(file, None, [str(error)])
    return Ingested(file, audit, troubles)


def _each(files: list[str]) -> Iterable[str]:
    """The files, with a bar on a terminal."""
    console = terminal.console(stderr=True)
    if not console.is_terminal:
        return files
    return track(files, "storing", console=console, transient=True)


def _whole_pipe(pipe: BinaryIO) -> tuple[Audit, list[str]]:
    events, notes = parse(read_whole(pipe))
    events[-1] = with_notes(events[-1], notes)
    audit, own = ingest_noted(events)
    return audit, unread([], notes) + own


class _Arriving:
    """A pipe at which the program can be interrupted while it waits, and nowhere else."""

    def __init__(self, pipe: BinaryIO, patience: Patience) -> None:
        self._pipe, self._patience = cast(Arriving, pipe), patience

    def read1(self, size: int, /) -> bytes:
        with self._patience.waiting():
            return self._pipe.read1(size)


def _live_pipe(pipe: Arriving, url: str | None, audit_id: str | None) -> tuple[Audit, list[str]]:
    """Record each event as its line arrives; returns the audit and the troubles."""
    audit = _begin(url, audit_id)
    output, lines = LiveOutput(), Lines(pipe)
    too_long = ""
    try:
        with _progress(audit) as show:
            for line in lines:
                for event in _record(audit.id, output, output.events(line)):
                    show(event)
    except InvalidAudit as error:
        too_long = str(error)
        output.troubles.append(too_long)
    except KeyboardInterrupt:
        # What has come is kept: the end of a value may be all that is missing, or not even that.
        with suppress(StoreError):
            if begun := lines.begun():
                for _ in _record(audit.id, output, output.events(begun)):
                    pass
            _end(audit.id, output, "the program that recorded this audit was interrupted")
        for text in output.troubles:
            complain(f"{PIPE}: {text}")
        raise
    except StoreError:
        with suppress(StoreError):
            end_of_output(audit.id, "the engine's output could not be recorded any further")
        raise
    _end(audit.id, output, too_long)
    return lookups.get(audit.id), output.troubles


def _end(audit_id: str, output: LiveOutput, reason: str) -> None:
    """Record what is left of the output, and end the audit: for this reason, or for that which the
    output itself gives."""
    try:
        for _ in _record(audit_id, output, output.rest()):
            pass
    except InvalidAudit as error:
        cut_off = str(error)
        output.troubles.append(cut_off)
        if reason:  # first, because who follows sees nothing after the end
            _note(audit_id, cut_off)
        reason = reason or cut_off
    end_of_output(audit_id, reason or output.nothing_came() or NO_END)
    # The event that closes an audit with a result tells the reason, but is no note.
    if reason in output.troubles and reason not in lookups.get(audit_id).errors:
        _note(audit_id, reason)


def _note(audit_id: str, text: str) -> None:
    record(audit_id, with_notes({"type": NOTES_EVENT}, [text]))


def _begin(url: str | None, audit_id: str | None) -> Audit:
    if audit_id is not None:
        try:
            audit = lookups.get(audit_id)
        except AuditNotFound:
            if url is None:
                raise
        else:
            if audit.status in (AuditStatus.COMPLETED, AuditStatus.ERROR):
                raise InvalidAudit(f"audit {audit_id!r} has already ended ({audit.status})")
            if url is not None:
                check_same_url(audit.id, url)
            return audit
    assert url is not None
    return operations.create(url, id=audit_id)


def _record(audit_id: str, output: LiveOutput, events: Iterable[Event]) -> Iterator[Event]:
    """Record events of an audit, and yield those that were stored."""
    for event in events:
        try:
            record(audit_id, event, lenient=True)
        except InvalidAudit as error:
            output.passed_over(event, error)
        else:
            yield event


@contextmanager
def _progress(audit: Audit) -> Iterator[Callable[[Event], None]]:
    """On a terminal, show how many events have arrived."""
    console = terminal.console(stderr=True)
    if not console.is_terminal:
        yield lambda event: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.completed} events"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"{audit.id}  {one_line(audit.url)}", total=None)
        yield lambda event: bar.advance(task)
