"""`ingest`: files of the engine's output, or its live pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, BinaryIO

import typer
from rich.progress import Progress, TextColumn, track

from veritas_peewee.cli import listing, terminal
from veritas_peewee.cli.options import Database, Json, audit_id, audit_url, opened
from veritas_peewee.cli.output import print_json
from veritas_peewee.cli.text import PROGRAM, complain, one_line
from veritas_peewee.errors import AuditNotFound, InvalidAudit, StoreError
from veritas_peewee.files.inputs import read_lines, read_whole
from veritas_peewee.models import Audit, AuditStatus
from veritas_peewee.presentation.data import audit_values
from veritas_peewee.queries import lookups
from veritas_peewee.recording import operations
from veritas_peewee.recording.forms import NOTES_EVENT, Event, with_notes
from veritas_peewee.recording.ingest import ingest_noted
from veritas_peewee.recording.output import REPLACED, OutputParser, parse, unread
from veritas_peewee.recording.recorder import end_of_output, record
from veritas_peewee.values.plain import shown

PIPE = "-"
_NO_END = "the engine's output ended before the audit did"


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
    troubles: list[str]
    with opened(database):
        for file in _each(files):
            try:
                if file != PIPE:
                    audit, troubles = ingest_noted(file, audit_id=id, url=url)
                elif url is None and id is None:
                    audit, troubles = _whole_pipe(_pipe())
                else:
                    audit, troubles = _live_pipe(_pipe(), url, id)
                stored.append((file, audit))
            except StoreError as error:
                troubles = [str(error)]
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


def _each(files: list[str]) -> Iterable[str]:
    """The files, with a bar on a terminal if there are several."""
    console = terminal.console(stderr=True)
    if len(files) < 2 or not console.is_terminal:
        return files
    return track(files, "storing", console=console, transient=True)


def _pipe() -> BinaryIO:
    if sys.stdin is None:  # the shell has closed it
        raise StoreError("the standard input is closed")
    return sys.stdin.buffer


def _whole_pipe(pipe: BinaryIO) -> tuple[Audit, list[str]]:
    events, notes = parse(read_whole(pipe))
    events[-1] = with_notes(events[-1], notes)
    audit, own = ingest_noted(events)
    return audit, unread([], notes) + own


def _live_pipe(pipe: BinaryIO, url: str | None, audit_id: str | None) -> tuple[Audit, list[str]]:
    """Record each event as its line arrives; returns the audit and the troubles."""
    audit = _begin(url, audit_id)
    recording = _Recording(audit.id)
    reason, cut_off = _NO_END, ""
    try:
        with _progress(audit) as show:
            for line in read_lines(pipe):
                for event in recording.read(line):
                    show(event)
            for event in recording.end():
                show(event)
        reason = recording.nothing_came() or reason
    except InvalidAudit as error:
        reason = cut_off = str(error)
        recording.troubles.append(reason)
    except KeyboardInterrupt:
        with suppress(StoreError):
            end_of_output(audit.id, "the program that recorded this audit was interrupted")
        raise
    except StoreError:
        with suppress(StoreError):
            end_of_output(audit.id, "the engine's output could not be recorded any further")
        raise
    if not end_of_output(audit.id, reason) and cut_off:
        record(audit.id, with_notes({"type": NOTES_EVENT}, [cut_off]))
    return lookups.get(audit.id), recording.troubles


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
            return audit
    assert url is not None
    return operations.create(url, id=audit_id)


class _Recording:
    """The lines of a pipe, recorded as events of one audit."""

    def __init__(self, audit_id: str) -> None:
        self.audit_id = audit_id
        self.parser = OutputParser()
        self.troubles: list[str] = []
        """What could not be read or recorded."""
        self.is_empty = True
        self.last_text = ""

    def read(self, line: bytes) -> Iterator[Event]:
        """Record the events that `line` completes, and yield those that were stored."""
        text = self._text(line)
        self.last_text = text if text.strip() else self.last_text
        return self._record(self.parser.feed(text))

    def end(self) -> Iterator[Event]:
        """Record the events and notes that the parser still holds.

        Raises InvalidAudit if the output is cut off.
        """
        try:
            yield from self._record(self.parser.finish())
        finally:
            if self.parser.notes:
                record(self.audit_id, self._noted({"type": NOTES_EVENT}))

    def nothing_came(self) -> str | None:
        """Why there was no event at all, which is one of the troubles; None if there was one."""
        if not self.is_empty:
            return None
        reason = "no event, progress line or result came through the pipe"
        if self.last_text:
            reason += f"; its last line was {shown(self.last_text)}"
        self.troubles.append(reason)
        return reason

    def _record(self, events: Iterable[Event]) -> Iterator[Event]:
        for event in events:
            try:
                record(self.audit_id, self._noted(event), lenient=True)
            except InvalidAudit as error:
                self.troubles.append(f"an event was passed over: {error}")
            else:
                self.is_empty = False
                yield event

    def _text(self, line: bytes) -> str:
        try:
            text = line.decode()
        except UnicodeDecodeError:
            text = line.decode(errors="replace")
            self.parser.notes.append(REPLACED)
        return text.rstrip("\r\n")

    def _noted(self, event: Event) -> Event:
        """The event, with the notes that the parser has made since the previous event."""
        notes, self.parser.notes = self.parser.notes, []
        self.troubles += unread([event], notes)
        return with_notes(event, notes)


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
