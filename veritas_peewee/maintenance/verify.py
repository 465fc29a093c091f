"""Whether a store still holds all that it held, as it was: everything is computed again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import peewee

from veritas_peewee.catalog import checking, entries
from veritas_peewee.database.current import current_database
from veritas_peewee.database.failures import DRIVER_ERRORS
from veritas_peewee.database.statements import MARK, execute, text_of
from veritas_peewee.errors import StoreError
from veritas_peewee.files.images import ScreenshotFolder
from veritas_peewee.ledger import seals
from veritas_peewee.ledger.checking import Flaw, flaws, is_other_image
from veritas_peewee.ledger.digests import fields_of
from veritas_peewee.ledger.heads import Head, parse_head
from veritas_peewee.ledger.problems import Problems
from veritas_peewee.ledger.stored import EVENT, FINDING, SCREENSHOT, Row
from veritas_peewee.maintenance.log_check import check_log
from veritas_peewee.migrations import fresh
from veritas_peewee.models import Audit, AuditEvent, AuditFinding, AuditScreenshot


@dataclass(slots=True)
class Report:
    """What `verify` found."""

    problems: Problems = field(default_factory=Problems)
    """What is missing or altered; empty if the store is whole."""
    notes: list[str] = field(default_factory=list)
    """What costs nothing but space or speed."""
    audits: int = 0
    events: int = 0
    files: int = 0
    """How many were checked."""
    head: Head | None = None
    """The store's head now; None if the log could not be read."""

    @property
    def ok(self) -> bool:
        return not self.problems

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A part of the check: if it cannot be read, that is a problem, and the check continues."""
        try:
            yield
        except (*DRIVER_ERRORS, StoreError, UnicodeError, ValueError) as error:
            self.problems.add(f"{name} cannot be read: {error}")


def verify(
    *,
    against: str | Head | None = None,
    files: bool = True,
    progress: Callable[[int, int], object] | None = None,
) -> Report:
    """Check the current database and, unless `files` is false, every screenshot file.

    `against` is an earlier head of this store, stored elsewhere: whatever has gone since is a
    problem. `progress` is called with how many audits have been checked, of how many. The check
    is of one consistent snapshot; writers continue meanwhile. Raises StoreError for a text that
    is not a head.
    """
    earlier = parse_head(against) if isinstance(against, str) else against
    report = Report()
    # Even the end of a read transaction can fail on a damaged file.
    with report.part("the file"), current_database().unit():
        with report.part("the file"):
            _check_file(report)
        with report.part("the schema"):
            report.problems += fresh.disagreements()
        with report.part("the audits"):
            _check_audits(report, files, progress)
        with report.part("the catalog"):
            report.problems += checking.disagreements()
        with report.part("the log"):
            report.head = check_log(report.problems, report.notes, earlier)
    return report


def _check_file(report: Report) -> None:
    database = current_database()
    for (text,) in database.execute_sql("PRAGMA integrity_check(100)").fetchall():
        if text != "ok":
            report.problems.add(f"SQLite: {text}")
    for table, row, parent, _ in database.execute_sql("PRAGMA foreign_key_check").fetchall():
        report.problems.add(f"row {row} of {table} belongs to a row of {parent} that is missing")


# ---- audits: rows, seals, files ----


def _check_audits(
    report: Report, files: bool, progress: Callable[[int, int], object] | None
) -> None:
    location = current_database().location
    folder = ScreenshotFolder(location.screenshots) if files and location.screenshots else None
    total = Audit.select().count()
    last = ""
    # In pieces: a cursor over all of them would end at the first page that is damaged.
    while ids := execute(_ids_sql(), (last,)):
        for (audit_id,) in ids:
            with report.part(f"audit {audit_id}"):
                _check_audit(report, audit_id, folder)
            report.audits += 1
        last = ids[-1][0]
        if progress is not None:
            progress(report.audits, total)
    if report.audits != total:
        report.problems.add(f"{total} audits are counted and {report.audits} are found by their id")


def _check_audit(report: Report, audit_id: str, folder: ScreenshotFolder | None) -> None:
    stored = seals.stored_audit(audit_id)
    if stored is None:
        report.problems.add(f"audit {audit_id} is in an index, but its row is missing")
        return
    *audit, host = stored
    *values, _, _ = audit
    _check_rows(report, audit_id, tuple(audit))
    if host != seals.host_in(values):
        report.problems.add(f"audit {audit_id}: host is not that of its url")
    names = seals.covered(Audit)
    if not entries.is_current(audit_id, dict(zip(names, values, strict=True))):
        report.problems.add(f"audit {audit_id}: its entry in the catalog is not what it holds")
    if folder is not None:
        for row_id, *image in execute(_images_sql(), (audit_id,)):
            report.files += 1
            _check_image(report, folder, f"screenshot {row_id} of audit {audit_id}", *image)


class _Rows:
    """An audit's rows of one kind, read one by one while they are checked."""

    def __init__(self, model: Any, names: tuple[str, ...], audit_id: str) -> None:
        self.id = 0
        """The id of the row that was read last, which is the one that a flaw is about."""
        self.number = 0
        self._text, self._audit_id = _rows_sql(model, names), audit_id

    def __iter__(self) -> Iterator[Row]:
        for row in current_database().execute_sql(self._text, (self._audit_id,)):
            self.id, self.number = row[0], self.number + 1
            yield row[1:]


def _check_rows(report: Report, audit_id: str, audit: Row) -> None:
    rows = {
        "finding": _Rows(AuditFinding, FINDING, audit_id),
        "screenshot": _Rows(AuditScreenshot, SCREENSHOT, audit_id),
        "event": _Rows(AuditEvent, EVENT, audit_id),
    }
    altered = False
    try:
        for flaw in flaws(audit, *rows.values()):
            row_id = rows[flaw.part].id if flaw.part in rows else 0
            report.problems.add(_text_of(flaw, audit_id, row_id, altered))
            altered = altered or flaw.part in ("finding", "screenshot")
    finally:
        report.events += rows["event"].number


def _text_of(flaw: Flaw, audit_id: str, row_id: int, altered: bool) -> str:
    """A flaw in words; `altered` says that a finding or screenshot was reported before it."""
    if flaw.part == "row":
        if flaw.unsealed:
            return f"audit {audit_id} has no seal: it was not written by this library"
        what = "or its row" if altered else "its row was altered"
        return f"audit {audit_id}: {what}, or a finding or screenshot of it is missing"
    if flaw.part == "log":
        return f"audit {audit_id}: the last {flaw.number} events of its log are missing"
    if flaw.part == "count":
        return f"audit {audit_id}: screenshots_count is not {flaw.number}"
    where = f"{flaw.part} {row_id} of audit {audit_id}"
    if flaw.unsealed:
        return f"{where} was not written by this library"
    return f"{where} was altered{', or one before it is missing' * (flaw.part == 'event')}"


def _check_image(
    report: Report,
    folder: ScreenshotFolder,
    where: str,
    file: str,
    size: int | None,
    sha256: str | None,
) -> None:
    try:
        image = folder.read(file)
    except StoreError as error:
        if sha256 is None:  # of the older store, whose paths may be of another machine
            report.notes.append(f"{where}: {error}")
        else:
            report.problems.add(f"{where}: {error}")
        return
    if is_other_image(image, size, sha256):
        report.problems.add(f"{where}: the file {file} was altered")


# ---- what is read ----


@functools.cache
def _ids_sql() -> str:
    query = Audit.select(Audit.id).where(Audit.id > MARK).order_by(Audit.id)
    return text_of(query.limit(peewee.SQL("500")))


@functools.cache
def _rows_sql(model: Any, names: tuple[str, ...]) -> str:
    """The rows of one audit: the id, then the columns that the check is given."""
    query = model.select(model.id, *fields_of(model, names))
    return text_of(query.where(model.audit == MARK).order_by(model.id))


@functools.cache
def _images_sql() -> str:
    query = AuditScreenshot.select(
        AuditScreenshot.id,
        AuditScreenshot.file_path,
        AuditScreenshot.file_size_bytes,
        AuditScreenshot.sha256,
    )
    return text_of(query.where(AuditScreenshot.audit == MARK).order_by(AuditScreenshot.id))
