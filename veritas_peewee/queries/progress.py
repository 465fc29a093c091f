"""How far a running audit is, by what its engine told last."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from peewee import SQL

from veritas_peewee.database.statements import MARK, execute, text_of
from veritas_peewee.models import AuditEvent
from veritas_peewee.values.ids import key_of
from veritas_peewee.values.plain import plain_number, plain_text

PHASES = ("phase_start", "phase_complete", "phase_error")
"""The types of the events about phases."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The phase that an engine was in last; None for what it has not told."""

    phase: str | None = None
    pct: float | None = None
    """How much is done, 0 to 100."""


def progress(audit_id: str) -> Progress:
    """How far an audit is, by its newest event about a phase."""
    rows = execute(_phase_sql(), (key_of(audit_id), *PHASES))
    event = AuditEvent.data.python_value(rows[0][0]) if rows else None
    if not isinstance(event, dict):
        return Progress()
    pct = plain_number(event.get("pct"))
    return Progress(
        plain_text(event.get("phase")), pct if pct is not None and 0 <= pct <= 100 else None
    )


@functools.cache
def _phase_sql() -> str:
    query = AuditEvent.select(AuditEvent.data).where(
        AuditEvent.audit == MARK, AuditEvent.event_type.in_([MARK] * len(PHASES))
    )
    return text_of(query.order_by(AuditEvent.id.desc()).limit(SQL("1")))
