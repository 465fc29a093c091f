"""The lives of a site's findings: when each was first seen, since when it is gone, and whether it
came back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from veritas_peewee.catalog.entries import level_of
from veritas_peewee.database.expressions import is_among
from veritas_peewee.database.statements import execute, per_backend, text_of
from veritas_peewee.models import AuditFinding, AuditStatus
from veritas_peewee.queries.finding_matches import kind_of
from veritas_peewee.queries.trends import TrendPoint


@dataclass(slots=True)
class Life:
    """A kind of finding in a series of audits: the same category and pattern type."""

    pattern_type: str
    category: str | None
    severity: str
    """The gravest that it was."""
    first: TrendPoint
    """The audit that found it first."""
    last: TrendPoint
    """The audit that found it last."""
    audits: int = 0
    """How many audits found it."""
    returns: int = 0
    """How often it was found again after an audit that did not find it."""
    gone: TrendPoint | None = None
    """The audit that first did not find it any more; None if the last one still does."""


def lives(points: Sequence[TrendPoint]) -> list[Life]:
    """The lives of the findings in a series of audits, by one query: those that are still there
    first, and of these the gravest first. Audits that did not complete say nothing of a finding."""
    completed = [point for point in points if point.status == AuditStatus.COMPLETED]
    texts = json.dumps([one.audit_id for one in completed if isinstance(one.audit_id, str)])
    by_audit: dict[str, dict[tuple[str, ...], tuple[str, str | None, str]]] = {}
    for audit_id, category, pattern, severity, description in execute(_findings_sql(), (texts,)):
        kinds = by_audit.setdefault(audit_id, {})
        kind = kind_of(category, pattern, description)
        known = kinds.get(kind)
        if known is None or level_of(severity) > level_of(known[2]):
            kinds[kind] = (str(pattern), category, str(severity))
    found: dict[tuple[str, ...], Life] = {}
    for point in completed:
        here = by_audit.get(point.audit_id, {})
        for kind, (pattern, category, severity) in here.items():
            life = found.get(kind)
            if life is None:
                life = found[kind] = Life(pattern, category, severity, point, point)
            life.returns += life.gone is not None
            life.gone, life.last = None, point
            life.audits += 1
            life.severity = max(life.severity, severity, key=level_of)
        for kind, life in found.items():
            if kind not in here and life.gone is None:
                life.gone = point
    return sorted(
        found.values(), key=lambda one: (one.gone is not None, -level_of(one.severity), -one.audits)
    )


@per_backend
def _findings_sql() -> str:
    query = AuditFinding.select(
        AuditFinding.audit,
        AuditFinding.category,
        AuditFinding.pattern_type,
        AuditFinding.severity,
        AuditFinding.description,
    )
    return text_of(query.where(is_among(AuditFinding.audit)))
