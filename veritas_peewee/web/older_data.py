"""Audits in the words of the older backend."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

from veritas_peewee import sync
from veritas_peewee.errors import AuditNotFound
from veritas_peewee.models import Audit, AuditFinding
from veritas_peewee.queries.comparison import Step
from veritas_peewee.values.states import AuditStatus, Severity

Data = dict[str, Any]

_IN_HISTORY = (
    "url", "status", "audit_tier", "verdict_mode", "trust_score", "risk_level", "signal_scores",
    "site_type", "site_type_confidence", "pages_scanned", "screenshots_count", "elapsed_seconds",
    "created_at", "started_at", "completed_at",
)  # fmt: skip
_IN_RESULT = (
    "url", "audit_tier", "verdict_mode", "trust_score", "risk_level", "signal_scores", "narrative",
    "site_type", "site_type_confidence", "security_results", "pages_scanned", "screenshots_count",
    "elapsed_seconds", "errors",
)  # fmt: skip
_IN_FINDING = (
    "id", "pattern_type", "category", "severity", "confidence", "description", "plain_english",
    "screenshot_index",
)  # fmt: skip
_IN_COMPARISON = (
    "url", "status", "trust_score", "risk_level", "site_type", "created_at", "completed_at",
    "screenshots_count",
)  # fmt: skip
_UNKNOWN = "unknown"
"""The risk level of an audit without one, where the older backend says that it changed."""


def _columns(row: Audit | AuditFinding, names: tuple[str, ...]) -> Data:
    return {name: getattr(row, name) for name in names}


def in_history(audit: Audit) -> Data:
    """An audit in a page of the history."""
    return {"audit_id": audit.id, **_columns(audit, _IN_HISTORY)}


def finding_data(finding: AuditFinding) -> Data:
    """A finding."""
    return _columns(finding, _IN_FINDING)


def result_of(audit: Audit) -> Data:
    """What an audit has found; its findings and details are loaded."""
    findings = [finding_data(one) for one in audit.findings]
    details = audit.details
    summary = _of_kind(details.get("dark_pattern_summary"), dict)
    domain = _of_kind(details.get("domain_info"), dict)
    if "ip_address" in domain:  # as an engine's own result calls it
        domain = {"ip": domain["ip_address"], **domain}
    return {
        **_columns(audit, _IN_RESULT),
        "findings": findings,
        "dark_pattern_summary": {**summary, "findings": findings},
        "recommendations": _of_kind(details.get("recommendations"), list),
        "overrides": _of_kind(details.get("overrides"), list),
        "domain_info": domain,
    }


def _of_kind(value: Any, kind: type) -> Any:
    """`value`, or what the older frontend can go through without asking whether it is there."""
    return value if isinstance(value, kind) else kind()


def error_of(audit: Audit) -> str | None:
    """Why an audit has no result; None if it has one, or may still have."""
    if audit.status not in (AuditStatus.ERROR, AuditStatus.DISCONNECTED):
        return None
    return audit.error_message or next((str(one) for one in audit.errors[-1:]), None)


def status_of(audit: Audit) -> Data:
    """How an audit is, with its result once it has completed."""
    return {
        "audit_id": audit.id,
        "status": audit.status,
        "url": audit.url,
        "result": result_of(audit) if audit.status == AuditStatus.COMPLETED else None,
        "error": error_of(audit),
        "created_at": audit.created_at,
        "started_at": audit.started_at,
        "completed_at": audit.completed_at,
    }


# ---- comparisons ----


def comparison_of(ids: list[str]) -> Data | None:
    """What changed between those of some audits that exist; None if there are none. For a read."""
    audits: dict[str, Audit] = {}
    for one in dict.fromkeys(ids):
        with suppress(AuditNotFound):
            audits[one] = sync.get(one)
    if not audits:
        return None
    order, steps = list(audits), list[Step]()
    if len(audits) > 1:
        found = sync.compare(audits)
        order, steps = [one.id for one in found.audits], found.steps
    return {
        "audits": [_compared(audits[one]) for one in order],
        "trust_score_deltas": [
            _between(step)
            | {"delta": step.trust_score.difference, "percentage_change": _percentage(step)}
            for step in steps
            if step.trust_score.difference is not None
        ],
        "risk_level_changes": [
            _between(step)
            | {
                "from": step.risk_level.before or _UNKNOWN,
                "to": step.risk_level.after or _UNKNOWN,
            }
            for step in steps
            if step.risk_level.before != step.risk_level.after
        ],
    }


def _compared(audit: Audit) -> Data:
    numbers = Counter(str(one.severity) for one in audit.findings)
    summary = {one.value: numbers[one.value] for one in reversed(Severity)}
    return {
        "audit_id": audit.id,
        **_columns(audit, _IN_COMPARISON),
        "findings_summary": {"total": len(audit.findings), **summary},
    }


def _between(step: Step) -> Data:
    return {"from_audit_id": step.before.id, "to_audit_id": step.after.id}


def _percentage(step: Step) -> float | None:
    score = step.trust_score
    if score.difference is None or not score.before:
        return None
    return score.difference / score.before * 100
