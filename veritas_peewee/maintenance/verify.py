"""Whether a store still holds all that it held, as it was: everything is computed again."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import peewee

from veritas_peewee import catalog, migrations
from veritas_peewee.config import Location
from veritas_peewee.database.current import bound, current_database
from veritas_peewee.database.failures import DRIVER_ERRORS
from veritas_peewee.database.sqlite import SqliteStore, current_sqlite
from veritas_peewee.database.statements import MARK, execute, rows_of, text_of
from veritas_peewee.errors import StoreError
from veritas_peewee.files.images import ScreenshotFolder
from veritas_peewee.ledger import seals
from veritas_peewee.ledger.heads import (
    HEAD_EVERY,
    UNKNOWN_HEAD,
    Head,
    all_digests,
    head_digest,
    newest_head,
    parse_head,
)
from veritas_peewee.ledger.log import link
from veritas_peewee.models import (
    TABLES,
    Audit,
    AuditEvent,
    AuditFinding,
    AuditScreenshot,
    RemovedAudit,
    RemovedEvent,
    StoreHead,
)

TRIGGERS = frozenset(
    (
        "count_screenshots_insert",
        "count_screenshots_delete",
        "count_screenshots_update",
        "remember_removed_event",
        "remember_removed_audit",
        "catalog_insert",
        "catalog_delete",
        "catalog_text_update",
        "catalog_counts_update",
    )
)
VIEWS = frozenset(
    (
        "completed_audits",
        "latest_audit_of_each_site",
        "findings_with_urls",
        "screenshots_with_urls",
        "event_log",
        "removed",
    )
)
MOST_TOLD = 1000
"""The most problems that are told one by one."""


class Report:
    """What `verify` found."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        """What is missing or altered; empty if the store is whole."""
        self.notes: list[str] = []
        """What costs nothing but space or speed."""
        self.audits = self.events = self.files = 0
        """How many were checked."""
        self.head: Head | None = None

    @property
    def ok(self) -> bool:
        return not self.problems

    def problem(self, text: str) -> None:
        if len(self.problems) < MOST_TOLD:
            self.problems.append(text)
        elif len(self.problems) == MOST_TOLD:
            self.problems.append("… and more")

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What cannot be read is a problem, and no reason not to look at the rest."""
        try:
            yield
        except (*DRIVER_ERRORS, StoreError, UnicodeError, ValueError) as error:
            self.problem(f"{name} cannot be read: {error}")


def verify(
    *,
    against: str | Head | None = None,
    files: bool = True,
    progress: Callable[[int, int], object] | None = None,
) -> Report:
    """Check the current database and, unless `files` is false, every screenshot file.

    `against` is a head that was kept elsewhere: what has gone since is a problem. `progress` is
    called with how many audits have been checked, of how many. It is one consistent snapshot;
    writers go on meanwhile. Raises StoreError for a text that is no head.
    """
    kept = parse_head(against) if isinstance(against, str) else against
    report = Report()
    # Even the end of a read transaction can fail on a damaged file.
    with report.part("the file"), current_database().unit():
        with report.part("the file"):
            _check_file(report)
        with report.part("the schema"):
            _check_schema(report)
        with report.part("the audits"):
            _check_audits(report, files, progress)
        with report.part("the catalog"):
            report.problems += catalog.disagreements()
        with report.part("the log"):
            _check_log(report, kept)
    return report


def _check_file(report: Report) -> None:
    database = current_database()
    for (text,) in database.execute_sql("PRAGMA integrity_check(100)").fetchall():
        if text != "ok":
            report.problem(f"SQLite: {text}")
    for table, row, parent, _ in database.execute_sql("PRAGMA foreign_key_check").fetchall():
        report.problem(f"row {row} of {table} belongs to a row of {parent} that is missing")


def missing_parts() -> tuple[set[str], set[str], set[str]]:
    """The indexes, the triggers and the views that the schema has and the file has not."""
    rows = execute("SELECT type, name FROM main.sqlite_master", ())
    indexes = {index._name for model in TABLES for index in model._meta.indexes}
    there = {name for kind, name in rows if kind in ("index", "trigger")}
    # What the user has under a view's name stays.
    taken = {name for _, name in rows}
    return indexes - there, set(TRIGGERS) - there, set(VIEWS) - taken


def _check_schema(report: Report) -> None:
    for kind, names in zip(("index", "trigger", "view"), missing_parts(), strict=True):
        report.problems += [f"the {kind} {name} is missing" for name in sorted(names)]
    wanted, there = fresh_schema(), _schema(current_sqlite("verify"))
    for name in sorted(wanted.keys() - set(VIEWS).union(*missing_parts())):
        if there.get(name) != wanted[name]:
            report.problem(f"the schema of {name} is not that of this version")


def _schema(database: SqliteStore) -> dict[str, str]:
    rows = database.execute_sql("SELECT name, sql FROM main.sqlite_master").fetchall()
    return {name: " ".join(text.split()) for name, text in rows if text}


@functools.cache
def fresh_schema() -> dict[str, str]:
    """The statements that this version's schema is made of, by the names of what they make."""
    fresh = SqliteStore(Location(None, None), "script")
    fresh.connect()
    try:
        with bound(fresh):
            migrations.upgrade(fresh, seals.complete)
            return _schema(fresh)
    finally:
        fresh.close()


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
        report.problem(f"{total} audits are counted and {report.audits} are found by their id")


def _check_audit(report: Report, audit_id: str, folder: ScreenshotFolder | None) -> None:
    stored = seals.stored_audit(audit_id)
    if stored is None:
        report.problem(f"audit {audit_id} is in an index, but its row is missing")
        return
    *values, seal, sealed_events, host = stored
    at_seal = _check_events(report, audit_id, sealed_events)
    before = len(report.problems)
    _check_rows(report, audit_id, AuditFinding, "finding")
    _check_rows(report, audit_id, AuditScreenshot, "screenshot")
    if seal is None:
        report.problem(f"audit {audit_id} has no seal: it was not written by this library")
    elif (sealed_events is None) != (seals.is_unfinished(values)) or (
        seals.seal_of(audit_id, values, (sealed_events, at_seal))[0] != seal
    ):
        what = "its row was altered" if len(report.problems) == before else "or its row"
        report.problem(f"audit {audit_id}: {what}, or a finding or screenshot of it is missing")
    if host != seals.host_in(values):
        report.problem(f"audit {audit_id}: host is not that of its url")
    names = seals.covered(Audit)
    if not catalog.is_current(audit_id, dict(zip(names, values, strict=True))):
        report.problem(f"audit {audit_id}: its entry in the catalog is not what it holds")
    shots = execute(_shots_sql(), (audit_id,))
    if values[names.index("screenshots_count")] != len(shots):
        report.problem(f"audit {audit_id}: screenshots_count is not {len(shots)}")
    if folder is not None:
        for row_id, file, size, digest in shots:
            report.files += 1
            _check_image(report, folder, f"screenshot {row_id} of audit {audit_id}", file, size,
                         digest)  # fmt: skip


def _check_events(report: Report, audit_id: str, sealed: int | None) -> bytes | None:
    """The digest of the last event that the audit's seal covers."""
    before, count, at_seal, whole = audit_id.encode(), 0, None, True
    for event_id, kind, moment, data, digest in _iterate(_events_sql(), audit_id):
        count += 1
        if digest is None:
            report.problem(f"event {event_id} of audit {audit_id} was not written by this library")
        else:
            if whole and link(before, kind, moment, data) != digest:
                whole = False
                report.problem(
                    f"event {event_id} of audit {audit_id} was altered, or one before it is missing"
                )
            before = digest
        if count == sealed:
            at_seal = digest
    report.events += count
    if sealed is not None and sealed > count:
        report.problem(f"audit {audit_id}: the last {sealed - count} events of its log are missing")
    return at_seal


def _check_rows(report: Report, audit_id: str, model: Any, name: str) -> None:
    for row_id, *values, digest in execute(_rows_sql(model), (audit_id,)):
        if digest is None:
            report.problem(f"{name} {row_id} of audit {audit_id} was not written by this library")
        elif seals.digest_of(values) != digest:
            report.problem(f"{name} {row_id} of audit {audit_id} was altered")


def _check_image(
    report: Report,
    folder: ScreenshotFolder,
    where: str,
    file: str,
    size: int | None,
    digest: str | None,
) -> None:
    try:
        data = folder.read(file)
    except StoreError as error:
        if digest is None:  # of the older store, whose paths may be of another machine
            report.notes.append(f"{where}: {error}")
        else:
            report.problem(f"{where}: {error}")
        return
    if (digest is not None and hashlib.sha256(data).hexdigest() != digest) or (
        size is not None and len(data) != size
    ):
        report.problem(f"{where}: the file {file} was altered")


# ---- the store's log as a whole ----


def _check_log(report: Report, kept: Head | None) -> None:
    heads = dict(rows_of(StoreHead.select(StoreHead.event_id, StoreHead.digest)))
    start = min(heads, default=0)
    newest = 0
    digest = head_digest("", [])
    since = hashlib.sha256(digest.encode())  # of the events since the last head
    at_kept = digest if kept is not None and kept.position == 0 else None
    if start == 0 and heads.pop(0, digest) != digest:
        report.problem("up to event 0 the log is not what it was")
    for event_id, one in all_digests():
        if event_id != newest + 1 and newest >= start:
            gone = f"{newest + 1}" if event_id == newest + 2 else f"{newest + 1} to {event_id - 1}"
            report.problem(f"event {gone}: missing from the store")
        newest = event_id
        since.update(one or b"?")
        if kept is not None and event_id == kept.position:
            at_kept = since.hexdigest()
        if event_id == start or (event_id > start and event_id % HEAD_EVERY == 0):
            digest = since.hexdigest()
            known = heads.pop(event_id, digest)
            if known == UNKNOWN_HEAD and event_id == start:
                digest = known
                report.notes.append(
                    f"up to event {event_id} no head of the log is kept: an import was "
                    "interrupted (run it again with --skip-existing, or `verify --fix`)"
                )
            elif known != digest:
                report.problem(f"up to event {event_id} the log is not what it was")
            since = hashlib.sha256(digest.encode())
    for lost in sorted(heads):
        if lost > newest:
            report.problem(f"the events from {newest + 1} to {lost} are missing from the store")
        else:
            report.problem(f"the head that is kept for event {lost} is not of this store")
    counter = execute("SELECT seq FROM sqlite_sequence WHERE name = ?", ("audit_events",))
    if newest > start and counter != [(newest,)]:
        report.problem(f"the newest event is {newest}, and SQLite's counter of them is not")
    _check_removed(report)
    report.head = newest_head()
    if kept is not None:
        if kept.position > newest:
            report.problem(f"the events from {newest + 1} to {kept.position} are gone: the head "
                           f"that was kept is of event {kept.position}")  # fmt: skip
        elif at_kept != kept.digest:
            report.problem(f"up to event {kept.position} the log is not what it was when the head "
                           "was kept: events were altered, or are gone")  # fmt: skip
        if kept.changes > report.head.changes:
            report.problem("changes and removals of rows that were made before the head was kept "
                           "are gone")  # fmt: skip
        if kept.audits > report.head.audits:
            report.problem(f"{kept.audits - report.head.audits} audits that were there when the "
                           "head was kept are gone")  # fmt: skip


def _check_removed(report: Report) -> None:
    """Events can go only with their audit."""
    removed = RemovedAudit.select(RemovedAudit.audit_id)
    query = RemovedEvent.select(RemovedEvent.event_id, RemovedEvent.audit_id)
    for event_id, audit_id in rows_of(query.where(RemovedEvent.audit_id.not_in(removed))):
        report.problem(f"event {event_id} of audit {audit_id} was removed by itself")


# ---- what is read ----


def _iterate(text: str, audit_id: str) -> Iterator[tuple[Any, ...]]:
    yield from current_database().execute_sql(text, (audit_id,))


@functools.cache
def _ids_sql() -> str:
    query = Audit.select(Audit.id).where(Audit.id > MARK).order_by(Audit.id)
    return text_of(query.limit(peewee.SQL("500")))


@functools.cache
def _events_sql() -> str:
    query = AuditEvent.select(
        AuditEvent.id, AuditEvent.event_type, AuditEvent.timestamp, AuditEvent.data,
        AuditEvent.digest,
    )  # fmt: skip
    return text_of(query.where(AuditEvent.audit == MARK).order_by(AuditEvent.id))


@functools.cache
def _rows_sql(model: Any) -> str:
    names = ("id", *seals.covered(model), "digest")
    query = model.select(*[model._meta.fields[name] for name in names])
    return text_of(query.where(model.audit == MARK).order_by(model.id))


@functools.cache
def _shots_sql() -> str:
    query = AuditScreenshot.select(
        AuditScreenshot.id,
        AuditScreenshot.file_path,
        AuditScreenshot.file_size_bytes,
        AuditScreenshot.sha256,
    )
    return text_of(query.where(AuditScreenshot.audit == MARK).order_by(AuditScreenshot.id))
