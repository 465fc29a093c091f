"""A site over time: its scores, risk levels and findings, with gaps where they are not known."""

from __future__ import annotations

import json
import operator
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any

import peewee

from veritas_peewee.database.expressions import is_among, is_text
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.models import Audit, AuditFinding, AuditStatus, Severity, audit_time
from veritas_peewee.values import moments
from veritas_peewee.values.addresses import host_of
from veritas_peewee.values.plain import check_text, invalid

MAX_POINTS = 1000
"""The most audits that a series can have."""


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """One audit of a series; only a completed one has a score, a risk level and findings."""

    audit_id: str
    time: datetime | None
    """When it ran: the start that its engine reported, or else when it was stored."""
    url: str
    status: str
    trust_score: float | None
    """0 to 100; None where it is not known."""
    risk_level: str | None
    findings: dict[str, int] | None
    """How many findings of each severity it has; None for an audit that did not complete."""


@dataclass(frozen=True, slots=True)
class Trend:
    """A site's audits in the order in which they ran."""

    url: str | None
    host: str | None
    points: list[TrendPoint]
    is_whole: bool
    """Whether there are no older audits than these in the time that was asked for."""


def trend(
    url: str | None = None,
    *,
    host: str | None = None,
    since: datetime | str | None = None,
    until: datetime | str | None = None,
    limit: int = 100,
) -> Trend:
    """The newest `limit` audits (1 to 1000) of exactly this url, or of this host, oldest first.

    A host can be given in any form, also as a url: scheme, port, path and `www.` do not count.
    `since` (included) and `until` (excluded) bound the time when an audit ran; they have the forms
    that the history takes. Raises InvalidAudit for a bad value, and unless exactly one of `url` and
    `host` is given.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_POINTS:
        raise invalid("limit", f"must be a whole number from 1 to {MAX_POINTS}", limit)
    name, key = site_key(url, host)
    bounds = [
        (compare, _stored_time(bound, value))
        for bound, compare, value in (("since", "ge", since), ("until", "lt", until))
        if value is not None
    ]
    text = _points_sql(name, tuple(compare for compare, _ in bounds))
    rows = execute(text, (key, *(value for _, value in bounds), limit + 1))
    points = _points(rows[:limit][::-1])
    return Trend(url, key if name == "host" else None, points, len(rows) <= limit)


def site_key(url: str | None, host: str | None) -> tuple[str, str]:
    """The column by which a series is found, and its value; InvalidAudit unless exactly one of
    them is given."""
    if (url is None) == (host is None):
        raise InvalidAudit("url, host: one of them must be given, and not both")
    return ("url", check_text("url", url)) if host is None else ("host", _checked_host(host))


def _checked_host(value: object) -> str:
    host = host_of(check_text("host", value))
    if not host:
        raise invalid("host", "must be a host such as example.com", value)
    return host


def _stored_time(name: str, value: object) -> Any:
    try:
        return Audit.created_at.db_value(moments.moment(name, value))
    except InvalidAudit as error:
        raise InvalidAudit(str(error).replace("created_at", name, 1)) from None


def _points(rows: list[tuple[Any, ...]]) -> list[TrendPoint]:
    found = severities_of([row[0] for row in rows if row[3] == AuditStatus.COMPLETED])
    points = []
    for audit_id, moment, url, status, score, risk in rows:
        time = Audit.created_at.python_value(moment)
        known = status == AuditStatus.COMPLETED
        points.append(
            TrendPoint(
                audit_id,
                time if isinstance(time, datetime) else None,
                url,
                status,
                score if known and isinstance(score, int | float) and isfinite(score) else None,
                risk if known else None,
                found.get(audit_id) if known else None,
            )
        )
    return points


def severities_of(ids: list[str]) -> dict[str, dict[str, int]]:
    """How many findings of each severity the audits with these ids have, by one query."""
    found: dict[str, dict[str, int]] = {
        audit_id: dict.fromkeys((severity.value for severity in Severity), 0) for audit_id in ids
    }
    # Another program can have stored values that are not text: no JSON has a blob.
    texts = json.dumps([audit_id for audit_id in ids if isinstance(audit_id, str)])
    for audit_id, severity, number in execute(_severities_sql(), (texts,)):
        found[audit_id][severity if isinstance(severity, str) else str(severity)] = number
    return found


@per_backend
def _points_sql(column: str, bounds: tuple[str, ...]) -> str:
    query = Audit.select(
        Audit.id, audit_time, Audit.url, Audit.status, Audit.trust_score, Audit.risk_level
    ).where(is_text(Audit._meta.fields[column], MARK))
    for compare in bounds:
        query = query.where(getattr(operator, compare)(audit_time, MARK))
    return text_of(query.order_by(audit_time.desc(), Audit.id.desc()).limit(MARK))


@per_backend
def _severities_sql() -> str:
    # The ids are one value, however many there are, so one statement, prepared once, does for all.
    query = AuditFinding.select(
        AuditFinding.audit, AuditFinding.severity, peewee.fn.COUNT(peewee.SQL("*"))
    ).where(is_among(AuditFinding.audit))
    return text_of(query.group_by(AuditFinding.audit, AuditFinding.severity))
