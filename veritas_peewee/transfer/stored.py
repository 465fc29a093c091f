"""An audit with all that belongs to it, in the very values that are on disk, and its check."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from veritas_peewee.database.current import current_database
from veritas_peewee.database.statements import MARK, execute, text_of
from veritas_peewee.ledger import seals
from veritas_peewee.ledger.log import link
from veritas_peewee.models import Audit, AuditEvent, AuditFinding, AuditScreenshot

AUDIT = (*seals.covered(Audit), "seal", "sealed_events")
FINDING = (*seals.covered(AuditFinding), "digest")
SCREENSHOT = (*seals.covered(AuditScreenshot), "digest")
EVENT = ("id", "event_type", "data", "timestamp", "digest")
"""The columns of each kind of row, in order; a row of a finding or screenshot begins with its
audit's id."""

Row = tuple[Any, ...]


class StoredAudit(NamedTuple):
    """An audit's rows: stored values, each row in the order of the constants above."""

    audit: Row
    findings: list[Row]
    screenshots: list[Row]
    events: list[Row]

    @property
    def id(self) -> str:
        return str(self.audit[_ID])


_ID = AUDIT.index("id")
_COUNT = AUDIT.index("screenshots_count")
_FILE, _SIZE, _SHA256 = (
    SCREENSHOT.index(name) for name in ("file_path", "file_size_bytes", "sha256")
)


def read_stored(audit_id: str) -> StoredAudit | None:
    """An audit of the current database, as of one moment; None if there is none."""
    key = (audit_id,)
    audit, findings, screenshots, events = _texts()
    with snapshot():
        rows = execute(audit, key)
        if not rows:
            return None
        return StoredAudit(
            rows[0], execute(findings, key), execute(screenshots, key), execute(events, key)
        )


@contextmanager
def snapshot() -> Iterator[None]:
    """What is read in the block is as of one moment."""
    connection = current_database().raw
    if connection.in_transaction:
        yield
        return
    # Not a unit of the database, which takes the write lock in a script.
    connection.execute("BEGIN DEFERRED")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


@functools.cache
def _texts() -> tuple[str, str, str, str]:
    def text(model: Any, names: tuple[str, ...]) -> str:
        query = model.select(*[model._meta.fields[name] for name in names])
        return text_of(query.where(model.audit == MARK).order_by(model.id))

    fields = [Audit._meta.fields[name] for name in AUDIT]
    return (
        text_of(Audit.select(*fields).where(Audit.id == MARK)),
        text(AuditFinding, FINDING),
        text(AuditScreenshot, SCREENSHOT),
        text(AuditEvent, EVENT),
    )


def problem_of(stored: StoredAudit) -> str | None:
    """What of an audit is not as it was written: its seal and digests are computed again."""
    before, at_seal = stored.id.encode(errors="surrogatepass"), None
    *values, seal, sealed_events = stored.audit
    for number, (_, kind, data, moment, digest) in enumerate(stored.events, 1):
        before = link(before, kind, moment, data)
        if before != digest:
            return f"event {number} of its log was altered, or one before it is missing"
        if number == sealed_events:
            at_seal = before
    for name, rows in (("finding", stored.findings), ("screenshot", stored.screenshots)):
        for number, (*row, digest) in enumerate(rows, 1):
            if seals.digest_of(row) != digest:
                return f"{name} {number} was altered"
    if stored.audit[_COUNT] != len(stored.screenshots):
        return f"its screenshots_count is not {len(stored.screenshots)}"
    if seals.is_unfinished(values):
        fits = sealed_events is None and seals.digest_of(values).hex() == seal
    elif sealed_events is None or sealed_events > len(stored.events):
        return "the end of its log is missing, or it was never sealed"
    else:
        children = [[row[-1] for row in rows] for rows in (stored.findings, stored.screenshots)]
        fits = seals.ended_seal(values, children, sealed_events, at_seal) == seal
    return None if fits else "its row was altered, or a finding or screenshot of it is missing"


def image_file(screenshot: Row) -> str:
    """The path of a screenshot row's file."""
    return str(screenshot[_FILE])


def image_problem(screenshot: Row, image: bytes) -> str | None:
    """How an image differs from what its row tells of it."""
    size, digest = screenshot[_SIZE], screenshot[_SHA256]
    if (size is not None and len(image) != size) or (
        digest is not None and hashlib.sha256(image).hexdigest() != digest
    ):
        return f"the image {image_file(screenshot)} is not the one that its row tells of"
    return None
