"""One audit, its events, details and images, looked up; using the results runs no query."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from veritas_peewee.database.instances import models_of
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of, whole
from veritas_peewee.errors import ScreenshotNotFound
from veritas_peewee.models import (
    Audit,
    AuditEvent,
    AuditFinding,
    AuditScreenshot,
    last_result,
)
from veritas_peewee.queries.images import current_images
from veritas_peewee.values.ids import key_of, not_found
from veritas_peewee.values.plain import check_text, invalid, plain_number, shown

LARGEST = 2**63 - 1
"""No event has this id: it is the greatest number that SQLite can store."""
OPTIONS_EVENT = "audit_options"
"""The type of the event that keeps the options with which an audit was created."""


def get(audit_id: str) -> Audit:
    """An audit with `.findings`, `.screenshots` and `.details`; raises AuditNotFound if absent."""
    key = (key_of(audit_id),)
    audit_sql, findings_sql, screenshots_sql = _get_sql()
    rows = execute(audit_sql, key)
    if not rows:
        raise not_found(audit_id)
    (audit,) = models_of(Audit, [row[:-1] for row in rows])
    audit.load_details(rows[0][-1])
    audit.findings = models_of(AuditFinding, execute(findings_sql, key), audit)
    audit.screenshots = models_of(AuditScreenshot, execute(screenshots_sql, key), audit)
    return audit


@per_backend
def _get_sql() -> tuple[str, str, str]:
    findings = whole(AuditFinding, Audit).order_by(AuditFinding.id)
    screenshots = whole(AuditScreenshot, Audit)
    # One statement: the newest result is among the last events of an audit's index.
    result = last_result().where(AuditEvent.audit == Audit.id)
    return (
        text_of(Audit.select(*Audit._meta.sorted_fields, result).where(Audit.id == MARK)),
        text_of(findings),
        text_of(screenshots.order_by(AuditScreenshot.index_num, AuditScreenshot.id)),
    )


def details(audit_id: str) -> dict[str, Any]:
    """What the audit's last result tells beyond the columns (`Audit.details`); AuditNotFound."""
    return get(audit_id).details


def options(audit_id: str) -> dict[str, Any]:
    """The options with which an audit was created; {} if there were none."""
    found = [event.data for event in events(audit_id, types=[OPTIONS_EVENT], limit=1)]
    given = found[0].get("options") if found and found[0] else None
    return given if isinstance(given, dict) else {}


def events(
    audit_id: str,
    *,
    after: int = 0,
    limit: int | None = None,
    types: Iterable[str] | None = None,
) -> list[AuditEvent]:
    """An audit's events with ids above `after`, in order, at most `limit`; empty if it is absent.

    With `types` only events of these types. Raises InvalidAudit if `after` or `limit` is not a
    whole number, or `types` not a collection of texts.
    """
    numbers = []
    for name, value in (("after", after), ("limit", -1 if limit is None else limit)):
        number = plain_number(value)
        if not isinstance(number, int) or abs(number) >= 2**63:
            raise invalid(name, "must be a whole number", value)
        numbers.append(number)
    wanted = () if types is None else _type_names(types)
    if types is not None and not wanted:
        return []
    first, most = numbers
    most = LARGEST if most < 0 else most
    sql = _events_sql(len(wanted))
    return models_of(AuditEvent, execute(sql, (key_of(audit_id), first, *wanted, most)))


def _type_names(types: object) -> list[str]:
    if isinstance(types, str | bytes) or not isinstance(types, Iterable):
        raise invalid("types", "must be a list of types of events", types)
    return sorted({check_text("types", one) for one in types})


@per_backend
def _events_sql(types: int) -> str:
    query = whole(AuditEvent).where(AuditEvent.audit == MARK, AuditEvent.id > MARK)
    if types:
        query = query.where(AuditEvent.event_type.in_([MARK] * types))
    return text_of(query.order_by(AuditEvent.id).limit(MARK))


def last_events(audit_id: str, *, before: int | None = None, limit: int) -> list[AuditEvent]:
    """The last `limit` events of an audit with ids below `before` (None: of all), in order."""
    first = LARGEST if before is None else max(-LARGEST, min(before, LARGEST))
    rows = execute(_last_events_sql(), (key_of(audit_id), first, limit))
    return models_of(AuditEvent, rows[::-1])


@per_backend
def _last_events_sql() -> str:
    query = whole(AuditEvent).where(AuditEvent.audit == MARK, AuditEvent.id < MARK)
    return text_of(query.order_by(AuditEvent.id.desc()).limit(MARK))


def screenshot_row(audit_id: str, number: int) -> AuditScreenshot:
    """The row of an audit's screenshot, by its id; raises ScreenshotNotFound."""
    rows = execute(_screenshot_sql(), (key_of(audit_id), number)) if abs(number) < 2**63 else []
    if not rows:
        raise ScreenshotNotFound(f"audit {shown(audit_id)} has no screenshot {number}")
    (row,) = models_of(AuditScreenshot, rows)
    return row


@per_backend
def _screenshot_sql() -> str:
    query = whole(AuditScreenshot).where(AuditScreenshot.audit == MARK)
    return text_of(query.where(AuditScreenshot.id == MARK))


def screenshot(file_path: str) -> bytes:
    """The bytes of a stored screenshot, by its row's `file_path`.

    Raises ScreenshotNotFound if it is gone, StoreError if it cannot be read, and InvalidAudit for
    a path outside the folder.
    """
    return current_images().read(file_path)
