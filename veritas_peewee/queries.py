"""Every domain read, sync, over the models; what they return needs no further query."""

from __future__ import annotations

import base64
import json
import operator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import peewee

from veritas_peewee.errors import AuditNotFound, InvalidAudit
from veritas_peewee.fields import check_text, invalid
from veritas_peewee.models import Audit, AuditEvent, AuditFinding, AuditScreenshot, AuditStatus

T = TypeVar("T")

MAX_LIMIT = 1000
"""The most items a page can have."""


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some items, and the cursor that continues after them (None: these were the last)."""

    items: list[T]
    next_cursor: str | None


def get(audit_id: str) -> Audit:
    """An audit with `.findings` and `.screenshots` loaded; AuditNotFound if there is none."""
    audit: Audit | None = Audit.select().where(Audit.id == _text(audit_id)).first()
    if audit is None:
        raise AuditNotFound(f"there is no audit {audit_id!a}")
    findings = AuditFinding.select().where(AuditFinding.audit == audit_id)
    screenshots = AuditScreenshot.select().where(AuditScreenshot.audit == audit_id)
    audit.findings = list(findings.order_by(AuditFinding.id))
    audit.screenshots = list(screenshots.order_by(AuditScreenshot.index_num, AuditScreenshot.id))
    for row in (*audit.findings, *audit.screenshots):
        row.audit = audit
        row._dirty.clear()
    return audit


def _text(audit_id: object) -> str:
    # An id that cannot be stored is simply not there.
    try:
        return check_text("id", audit_id)
    except InvalidAudit as error:
        raise AuditNotFound(f"there is no audit {audit_id!a}") from error


def events(audit_id: str, *, after: int = 0, limit: int | None = None) -> list[AuditEvent]:
    """An audit's events in the order they were recorded, from the one after `after` on."""
    query = (
        AuditEvent.select()
        .where(AuditEvent.audit == _text(audit_id), AuditEvent.id > after)
        .order_by(AuditEvent.id)
        .limit(limit)
    )
    return list(query)


def history(
    *,
    status: AuditStatus | str | None = None,
    risk_level: str | None = None,
    url: str | None = None,
    site_type: str | None = None,
    min_score: float | None = None,
    max_score: float | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 20,
    cursor: str | None = None,
) -> Page[Audit]:
    """One page of audits, newest first; `since` is included, `until` is not.

    Raises InvalidAudit for a filter's bad value, a limit outside 1 to 1000 or a damaged cursor.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
        raise invalid("limit", f"must be a whole number from 1 to {MAX_LIMIT}", limit)
    conditions: list[Any] = []
    for name, field, compare, value in (
        ("status", Audit.status, operator.eq, status),
        ("risk_level", Audit.risk_level, operator.eq, risk_level),
        ("url", Audit.url, operator.eq, url),
        ("site_type", Audit.site_type, operator.eq, site_type),
        ("min_score", Audit.trust_score, operator.ge, min_score),
        ("max_score", Audit.trust_score, operator.le, max_score),
        ("since", Audit.created_at, operator.ge, since),
        ("until", Audit.created_at, operator.lt, until),
    ):
        if value is not None:
            conditions.append(compare(field, _filter_value(name, field, value)))
    if cursor is not None:
        conditions.append(peewee.Tuple(Audit.created_at, Audit.id) < _read_cursor(cursor))
    query = Audit.select().order_by(Audit.created_at.desc(), Audit.id.desc()).limit(limit + 1)
    items = list(query.where(*conditions) if conditions else query)
    more = len(items) > limit
    items = items[:limit]
    return Page(items, _write_cursor(items[-1]) if more else None)


def _filter_value(name: str, field: Any, value: Any) -> peewee.Value:
    try:
        return peewee.Value(field.db_value(value), converter=False)
    except InvalidAudit as error:
        raise InvalidAudit(str(error).replace(field.name, name, 1)) from None


def _write_cursor(last: Audit) -> str:
    position = [Audit.created_at.db_value(last.created_at), last.id]
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _read_cursor(cursor: str) -> Any:
    try:
        created_at, audit_id = json.loads(base64.urlsafe_b64decode(cursor))
        datetime.fromisoformat(created_at)
        return peewee.Tuple(peewee.Value(created_at), Audit.id.db_value(audit_id))
    except (ValueError, TypeError, InvalidAudit):
        raise invalid("cursor", "is not one that history() returned", cursor) from None
