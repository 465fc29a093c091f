"""An audit with everything that belongs to it, as the values that are on disk.

It is not read as models, because a seal covers exactly the text that is on disk.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import snapshot
from veritas_peewee.database.statements import MARK, execute, text_of
from veritas_peewee.ledger.digests import covered, fields_of
from veritas_peewee.models import Audit, AuditEvent, AuditFinding, AuditScreenshot

AUDIT = (*covered(Audit), "seal", "sealed_events")
FINDING = (*covered(AuditFinding), "digest")
SCREENSHOT = (*covered(AuditScreenshot), "digest")
EVENT = ("id", "event_type", "data", "timestamp", "digest")
"""The columns of each kind of row, in order; a finding or screenshot begins with its audit's id."""

Row = tuple[Any, ...]


class StoredAudit(NamedTuple):
    """An audit's rows as stored values, each in the order of the constants above."""

    audit: Row
    findings: list[Row]
    screenshots: list[Row]
    events: list[Row]

    @property
    def id(self) -> str:
        return str(self.audit[_ID])


_ROW = (*AUDIT, "host")
AT = {name: position for position, name in enumerate(_ROW)}
"""Where each column is in what `stored_audit` and `audit_row` give; the covered ones come first."""
SEAL = AT["seal"]
_ID = AT["id"]
_FILE = SCREENSHOT.index("file_path")


def read_stored(audit_id: str) -> StoredAudit | None:
    """An audit of the current database, as of one moment; None if it does not exist."""
    key = (audit_id,)
    audit, findings, screenshots, events = _texts()
    with snapshot():
        rows = execute(audit, key)
        if not rows:
            return None
        return StoredAudit(
            rows[0], execute(findings, key), execute(screenshots, key), execute(events, key)
        )


@functools.cache
def _texts() -> tuple[str, str, str, str]:
    def text(model: Any, names: tuple[str, ...]) -> str:
        query = model.select(*fields_of(model, names))
        return text_of(query.where(model.audit == MARK).order_by(model.id))

    fields = [Audit._meta.fields[name] for name in AUDIT]
    return (
        text_of(Audit.select(*fields).where(Audit.id == MARK)),
        text(AuditFinding, FINDING),
        text(AuditScreenshot, SCREENSHOT),
        text(AuditEvent, EVENT),
    )


def image_file(screenshot: Row) -> str:
    """The path of a screenshot's file below the screenshot folder, from its stored row."""
    return str(screenshot[_FILE])


def stored_audit(audit_id: str) -> list[Any] | None:
    """The values of an audit's row that its seal covers, then its seal, number of sealed events and
    host; None if there is no such audit."""
    rows = execute(_audit_sql(), (audit_id,))
    return list(rows[0]) if rows else None


def audit_row(database: StoreDatabase, audit_id: str) -> tuple[Any, ...] | None:
    """As `stored_audit`, by the driver: triggers call it while a statement of Peewee's runs."""
    row: tuple[Any, ...] | None
    row = database.state.conn.execute(_audit_sql(), (audit_id,)).fetchone()
    return row


@functools.cache
def _audit_sql() -> str:
    fields = [Audit._meta.fields[name] for name in _ROW]
    return text_of(Audit.select(*fields).where(Audit.id == MARK))
