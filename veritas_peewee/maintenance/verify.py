"""Whether a store still holds all that it held, as it was: everything is computed again."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

from peewee import SQL

from veritas_peewee.catalog import checking, entries
from veritas_peewee.database.current import current_database
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of
from veritas_peewee.errors import InvalidAudit, NotProven
from veritas_peewee.evidence import checkpoints, keys
from veritas_peewee.evidence.checkpoints import Checkpoint
from veritas_peewee.evidence.keys import PublicKey
from veritas_peewee.evidence.statements import is_misstated
from veritas_peewee.ledger import seals
from veritas_peewee.ledger.checking import Flaw, flaws
from veritas_peewee.ledger.digests import fields_of
from veritas_peewee.ledger.heads import Head, parse_head
from veritas_peewee.ledger.stored import EVENT, FINDING, SCREENSHOT, Row
from veritas_peewee.maintenance.image_check import ImageCheck
from veritas_peewee.maintenance.log_check import check_log
from veritas_peewee.maintenance.upkeep import upkeep
from veritas_peewee.maintenance.verified import CallersError
from veritas_peewee.maintenance.verified import Report as Report
from veritas_peewee.models import Audit, AuditEvent, AuditFinding, AuditScreenshot
from veritas_peewee.queries.images import images_if_any
from veritas_peewee.values.ids import key_of, not_found
from veritas_peewee.values.odd_text import OddText, after

Progress = Callable[[int, int], object]
"""Called with how many audits have been checked, and of how many."""


def verify(
    *,
    against: str | Head | Checkpoint | None = None,
    key: str | os.PathLike[str] | PublicKey | None = None,
    files: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Check the current database and, unless `files` is false, every screenshot file.

    `against` is an earlier head or checkpoint of this store, stored elsewhere: whatever has gone
    since is a problem. The text of a checkpoint needs the `key` that must have signed it: a vkey,
    or the file of one or of a public key in PEM. `progress` is called with how many audits have
    been checked, of how many. The check is of one consistent snapshot; writers continue meanwhile,
    and an image that they remove is not a problem. Whatever is in the file, the check comes to its
    end. Raises StoreError for a text that is not a head, NotProven for one that is not a checkpoint
    signed by the key (a head neither, where a key is given), and InvalidAudit where the key is
    missing.
    """
    if key is not None and isinstance(against, Checkpoint):
        against = against.note
    if key is not None and not isinstance(against, str):
        raise NotProven("key: there is no signed checkpoint that it could have signed")
    earlier = _kept(against, key) if isinstance(against, str) else against
    report = Report()
    try:
        _check(report, earlier, files, progress)
    except CallersError as error:
        raise error.args[0] from None
    return report


def _kept(text: str, key: str | os.PathLike[str] | PublicKey | None) -> Head | Checkpoint:
    if key is None and not checkpoints.is_checkpoint(text):
        return parse_head(text)
    if key is None:
        raise InvalidAudit(
            "key: a checkpoint is worth its signature: name the key that must have signed it"
        )
    known = key if isinstance(key, PublicKey) else keys.public_key(key)
    try:
        return checkpoints.read_checkpoint(text, known)
    except NotProven as error:
        raise NotProven(f"the checkpoint that was kept proves nothing: {error}") from error


def verify_audit(audit_id: str) -> list[str]:
    """What is missing or altered in one audit and its images; empty if it is as it was written.

    What could not be looked at is listed too. Raises AuditNotFound.
    """
    database = current_database()
    key, report = key_of(audit_id), Report()
    with report.part(f"audit {key}"), database.looking():
        report.audits = len(execute(_audit_sql(), (key,)))
        with ImageCheck(report, images_if_any()) as images:
            if report.audits:
                _check_audit(report, key, images)
    if not report.audits and report.ok:
        raise not_found(audit_id)
    return [*report.problems, *report.unchecked]


def _check(
    report: Report, earlier: Head | Checkpoint | None, files: bool, progress: Progress | None
) -> None:
    database = current_database()
    # Even the end of a read transaction can fail on a damaged file.
    with report.part(what := database.storage), database.looking():
        with report.part(what):
            _check_file(report)
        with report.part("the schema"):
            upkeep().check_schema(report)
        with report.part("the audits"):
            _check_audits(report, files, progress)
        with report.part("the catalog"):
            report.problems += checking.disagreements()
        with report.part("the log"):
            report.head = check_log(report.problems, report.notes, earlier)


def _check_file(report: Report) -> None:
    upkeep().check_storage(report)


# ---- audits: rows, seals, files ----


def _check_audits(report: Report, files: bool, progress: Progress | None) -> None:
    folder = images_if_any() if files else None
    total = Audit.select().count()
    last: Any = ""
    with ImageCheck(report, folder) as images:
        # In pieces: a cursor over all of them would end at the first page that is damaged.
        while ids := execute(_ids_sql(last == ""), (last,)):
            for (audit_id,) in ids:
                _check_audit(report, audit_id, images)
                report.audits += 1
            last = ids[-1][0]
            if isinstance(last, OddText):
                last = after(last, len(last))
            if progress is not None:
                try:
                    progress(report.audits, total)
                except Exception as error:
                    raise CallersError(error) from error
    if report.audits != total:
        report.problems.add(f"{total} audits are counted and {report.audits} are found by their id")


def _check_audit(report: Report, audit_id: Any, images: ImageCheck) -> None:
    """Check one audit; what is odd in one of its parts leaves the others to be checked."""
    where = f"audit {audit_id}"
    if isinstance(audit_id, OddText):
        report.problems.add(f"{where}: its id is not valid text, and it can be read by no other")
        return
    with report.part(where):
        stored = seals.stored_audit(audit_id)
        if stored is None:
            report.problems.add(f"{where} is in an index, but its row is missing")
            return
        *audit, host = stored
        *values, _, _ = audit
        with report.part(where):
            _check_rows(report, audit_id, tuple(audit))
        with report.part(f"{where}: its host"):
            if host != seals.host_in(values):
                report.problems.add(f"{where}: host is not that of its url")
        with report.part(f"{where}: its entry in the catalog"):
            row = dict(zip(seals.covered(Audit), values, strict=True))
            if not entries.is_current(audit_id, row):
                report.problems.add(f"{where}: its entry in the catalog is not what it holds")
        with report.part(f"{where}: what its log states"):
            if is_misstated(audit_id):
                text = (
                    f"{where}: its rows are not those that its log states: they were changed "
                    "since, without an event, or the statement is false. Once an event says why "
                    "(`update`), the next checkpoint states them as they are"
                )
                report.problems.add(text)
                report.misstated.add(text)
        images.check(audit_id)


class _Rows:
    """An audit's rows of one kind, read one by one while they are checked."""

    def __init__(self, model: Any, names: tuple[str, ...], audit_id: str) -> None:
        self.id = 0
        """The id of the row that was read last, which is the one that a flaw is about."""
        self.number = 0
        self._text, self._audit_id = _rows_sql(model, names), audit_id

    def __iter__(self) -> Iterator[Row]:
        for row in current_database().each_row(self._text, (self._audit_id,)):
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


# ---- what is read ----


@per_backend
def _audit_sql() -> str:
    return text_of(Audit.select(Audit.id).where(Audit.id == MARK))


@functools.cache
def _ids_sql(first: bool) -> str:
    # With the empty id too, which another program can have given.
    from_here = Audit.id >= MARK if first else Audit.id > MARK
    return text_of(Audit.select(Audit.id).where(from_here).order_by(Audit.id).limit(SQL("500")))


@per_backend
def _rows_sql(model: Any, names: tuple[str, ...]) -> str:
    """The rows of one audit: the id, then the columns that the check is given."""
    query = model.select(model.id, *fields_of(model, names))
    return text_of(query.where(model.audit == MARK).order_by(model.id))
