"""Questions to an audit's log: what was reported in it, and when first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from peewee import SQL, fn

from veritas_peewee.database.current import current_database
from veritas_peewee.database.expressions import is_not_empty, is_text
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of
from veritas_peewee.ledger.contents import Images, image_told
from veritas_peewee.ledger.memory import remembered
from veritas_peewee.models import AuditEvent, has_finding_id, reported_finding_id


def event_data(audit_id: str, event_type: str) -> list[tuple[int, dict[str, Any]]]:
    """The ids and data of an audit's events of one type, in order."""
    rows = execute(_event_data_sql(), (audit_id, event_type))
    convert = AuditEvent._meta.fields["data"].python_value
    found = [(event_id, convert(text)) for event_id, text in rows]
    return [(event_id, data) for event_id, data in found if isinstance(data, dict)]


@per_backend
def _event_data_sql() -> str:
    query = AuditEvent.select(AuditEvent.id, AuditEvent.data)
    query = query.where(AuditEvent.audit == MARK, AuditEvent.event_type == MARK)
    return text_of(query.order_by(AuditEvent.id))


def images_told(audit_id: str) -> dict[str, list[tuple[int, int]]]:
    """The images that an audit's events have brought, as (the event's id, index) by the paths that
    the engine gave them.

    They are remembered by the connection, so that of a log which grows only what is new is read.
    """
    memory = remembered(current_database())
    known = memory.images.get(audit_id)
    first = 0 if known is None else known.upto
    ((newest, is_there),) = execute(_newest_sql(), (audit_id, first, audit_id))
    if known is None or not is_there:  # or it is another audit by now
        known, first = Images(newest or 0, {}), 0
    for event_id, event in _between(audit_id, "screenshot", first, newest or 0):
        if told := image_told(event):
            known.by_path.setdefault(told[0], []).append((event_id, told[1]))
    memory.add_images(audit_id, known._replace(upto=newest or 0))
    return known.by_path


def _between(audit_id: str, kind: str, after: int, upto: int) -> Iterator[tuple[int, Any]]:
    convert = AuditEvent._meta.fields["data"].python_value
    for event_id, text in execute(_between_sql(), (audit_id, kind, after, upto)):
        if isinstance(data := convert(text), dict):
            yield event_id, data


@per_backend
def _between_sql() -> str:
    query = AuditEvent.select(AuditEvent.id, AuditEvent.data)
    query = query.where(AuditEvent.audit == MARK, AuditEvent.event_type == MARK)
    return text_of(query.where(AuditEvent.id > MARK, AuditEvent.id <= MARK).order_by(AuditEvent.id))


@per_backend
def _newest_sql() -> str:
    newest = AuditEvent.select(fn.MAX(AuditEvent.id)).where(AuditEvent.audit == MARK)
    there = AuditEvent.select(SQL("1")).where(AuditEvent.id == MARK, AuditEvent.audit == MARK)
    return f"SELECT ({text_of(newest)}), EXISTS ({text_of(there)})"


def last_event(audit_id: str) -> str | None:
    """The type of the last event in an audit's log; None if the log is empty."""
    rows = execute(_last_event_sql(), (audit_id,))
    return rows[0][0] if rows else None


@per_backend
def _last_event_sql() -> str:
    query = AuditEvent.select(AuditEvent.event_type).where(AuditEvent.audit == MARK)
    return text_of(query.order_by(AuditEvent.id.desc()).limit(SQL("1")))


def findings_reported(audit_id: str, before: int) -> bool:
    """Whether a `finding` event older than the event `before` has reported a finding with an id."""
    followed = remembered(current_database()).followed.get(audit_id)
    if followed is not None:
        return any(first < before for first in followed.reported.values())
    return bool(execute(_findings_reported_sql(), (audit_id, before)))


@per_backend
def _findings_reported_sql() -> str:
    query = AuditEvent.select(SQL("1")).where(
        AuditEvent.audit == MARK,
        AuditEvent.event_type == SQL("'finding'"),
        is_not_empty(reported_finding_id),  # so that only the index of these is read
        has_finding_id,
        AuditEvent.id < MARK,
    )
    return text_of(query.limit(SQL("1")))


def finding_reported(audit_id: str, finding_id: str, before: int) -> bool:
    """Whether a `finding` event older than the event `before` has reported this finding.

    `finding_id` is the engine's own id of the finding.
    """
    memory = remembered(current_database())
    if (followed := memory.followed.get(audit_id)) is not None:
        return followed.reported.get(finding_id, before) < before
    known = memory.reported
    if known and (audit_id, finding_id) in known:
        first = known[audit_id, finding_id]
        return first is not None and first < before
    return bool(execute(finding_reported_sql(), (audit_id, finding_id, before)))


def first_report(audit_id: str, finding_id: str) -> dict[str, Any] | None:
    """The first `finding` event that has reported this finding; None if there is none."""
    convert = AuditEvent._meta.fields["data"].python_value
    for (text,) in execute(_reports_sql(), (audit_id, finding_id)):
        event = convert(text)
        found = event.get("finding") if isinstance(event, dict) else None
        if isinstance(found, dict) and found.get("id") == finding_id:  # and not a number like it
            return dict(event)
    return None


@per_backend
def _reports_sql() -> str:
    query = AuditEvent.select(AuditEvent.data).where(
        AuditEvent.audit == MARK,
        AuditEvent.event_type == SQL("'finding'"),
        is_text(reported_finding_id, MARK),
        has_finding_id,
    )
    return text_of(query.order_by(AuditEvent.id))


@per_backend
def finding_reported_sql() -> str:
    query = AuditEvent.select(SQL("1")).where(
        AuditEvent.audit == MARK,
        # In the text and not as a value: SQLite uses a partial index only if the query states
        # its condition.
        AuditEvent.event_type == SQL("'finding'"),
        is_text(reported_finding_id, MARK),
        has_finding_id,
        AuditEvent.id < MARK,
    )
    return text_of(query.limit(SQL("1")))
