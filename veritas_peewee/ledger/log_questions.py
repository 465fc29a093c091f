"""Questions to an audit's log: what was reported in it, and when first."""

from __future__ import annotations

from typing import Any

from peewee import SQL

from veritas_peewee.database.current import current_database
from veritas_peewee.database.expressions import is_not_empty, is_text
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of
from veritas_peewee.ledger.memory import remembered
from veritas_peewee.models import AuditEvent, reported_finding_id


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


@per_backend
def finding_reported_sql() -> str:
    query = AuditEvent.select(SQL("1")).where(
        AuditEvent.audit == MARK,
        # In the text and not as a value: SQLite uses a partial index only if the query states
        # its condition.
        AuditEvent.event_type == SQL("'finding'"),
        is_text(reported_finding_id, MARK),
        AuditEvent.id < MARK,
    )
    return text_of(query.limit(SQL("1")))
