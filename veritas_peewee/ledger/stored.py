"""An audit with everything that belongs to it, as the values that are on disk.

It is not read as models, because a seal covers exactly the text that is on disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, NamedTuple

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import current_database, snapshot
from veritas_peewee.database.expressions import is_among
from veritas_peewee.database.statements import MARK, execute, execute_up_to, per_backend, text_of
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


ROW = (*AUDIT, "host")
AT = {name: position for position, name in enumerate(ROW)}
"""Where each column is in what `stored_audit` and `audit_row` give; the covered ones come first."""
SEAL = AT["seal"]
_ID = AT["id"]
_FILE = SCREENSHOT.index("file_path")
assert AUDIT[0] == "id"
assert FINDING[0] == SCREENSHOT[0] == "audit"
_FIRST = itemgetter(0)
_TOGETHER, _MOST_BYTES = 32, 16 << 20
"""How many audits are read at once, and how many bytes their rows of one kind may take."""


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


def read_rows(audit_id: str) -> StoredAudit | None:
    """As `read_stored`, without the log: its `events` are empty."""
    audit, findings, screenshots, _ = _texts()
    with snapshot():
        rows = execute(audit, (audit_id,))
        if not rows:
            return None
        found = execute(findings, (audit_id,)), execute(screenshots, (audit_id,))
        return StoredAudit(rows[0], *found, [])


def each_event(audit_id: str) -> Iterator[Row]:
    """The events of an audit one by one; nothing else is asked of the database meanwhile."""
    return current_database().each_row(_texts()[3], (audit_id,))


def read_each(audit_ids: Iterable[str]) -> Iterator[list[StoredAudit]]:
    """Audits of the current database in the order of their ids, some at once, all of these as of
    one moment; those that do not exist are left out."""
    ids = iter(audit_ids)
    while some := list(islice(ids, _TOGETHER)):
        found = _read_together(some)
        if found is None:
            for one in some:
                if (stored := read_stored(one)) is not None:
                    yield [stored]
        elif found:
            yield found


def _read_together(audit_ids: list[str]) -> list[StoredAudit] | None:
    """The audits that exist; None if they are too large to be held at once, or if an id, of another
    program, is one that JSON cannot give to SQLite."""
    if not all(type(one) is str and "\0" not in one for one in audit_ids):
        return None
    tables: list[dict[str, list[Row]]] = []
    values = (json.dumps(audit_ids),)
    with snapshot():
        for text, long in _texts_together():
            rows = execute_up_to(text, values, _MOST_BYTES, long)
            if rows is None:
                return None
            tables.append({audit_id: list(found) for audit_id, found in groupby(rows, _FIRST)})
    audits, findings, screenshots, events = tables
    return [
        StoredAudit(
            audits[one][0],
            findings.get(one, []),
            screenshots.get(one, []),
            [row[1:] for row in events.get(one, ())],
        )
        for one in audit_ids
        if one in audits
    ]


@per_backend
def _texts_together() -> tuple[tuple[str, int | None], ...]:
    """As `_texts`, for the audits of a list of ids in JSON; each row begins with its audit's id.

    With each the column that alone can be long.
    """

    def text(model: Any, names: tuple[str, ...]) -> str:
        query = model.select(*fields_of(model, names)).where(is_among(model.audit))
        return text_of(query.order_by(model.audit, model.id))

    fields = [Audit._meta.fields[name] for name in AUDIT]
    return (
        (text_of(Audit.select(*fields).where(is_among(Audit.id))), None),
        (text(AuditFinding, FINDING), None),
        (text(AuditScreenshot, SCREENSHOT), None),
        (text(AuditEvent, ("audit", *EVENT)), 1 + EVENT.index("data")),
    )


@per_backend
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


def stored_ids(ids: Iterable[str]) -> set[str]:
    """Those of the ids that an audit in the current database has."""
    return {audit_id for (audit_id,) in execute(_ids_sql(), (json.dumps(list(ids)),))}


@per_backend
def _ids_sql() -> str:
    return text_of(Audit.select(Audit.id).where(is_among(Audit.id)))


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
    if database.ahead is not None and audit_id in database.ahead.rows:
        row = database.ahead.rows[audit_id]
        return row
    row = database.state.conn.execute(_audit_sql(), (audit_id,)).fetchone()
    return row


@per_backend
def _audit_sql() -> str:
    fields = [Audit._meta.fields[name] for name in ROW]
    return text_of(Audit.select(*fields).where(Audit.id == MARK))
