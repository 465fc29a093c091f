"""Findings as rows: each one once, however often events and results report it."""

from __future__ import annotations

from typing import Any

from veritas_peewee.errors import InvalidAudit
from veritas_peewee.ledger import log
from veritas_peewee.models import AuditFinding, Severity
from veritas_peewee.recording import operations
from veritas_peewee.recording.output import Event
from veritas_peewee.recording.projection import Projection
from veritas_peewee.values.plain import invalid, shown


def add_reported(rows: Projection, events: list[tuple[int, Event]]) -> None:
    """Add the findings of (event id, `finding` event) that follow each other in one log.

    A finding that an earlier event reported adds no row. It is recognised by the engine's id, or
    if it has none by its content.
    """
    first = len(events) > 1 and not log.findings_reported(rows.audit_id, events[0][0])
    seen: set[str] = set()
    new: list[dict[str, Any]] = []
    for event_id, event in events:
        finding = event.get("finding")
        if not isinstance(finding, dict):
            rows.errors.append(f"finding.finding: must be an object, got {shown(finding)}")
            continue
        notes: list[str] = []
        values = finding_values(finding, "finding", notes)
        finding_id = finding.get("id")
        if isinstance(finding_id, str) and finding_id:
            if finding_id in seen:
                continue
            seen.add(finding_id)
            if not first and log.finding_reported(rows.audit_id, finding_id, event_id):
                continue
        else:
            operations.add_findings(rows.audit_id, new, rows.when)
            new.clear()
            if operations.finding_is_there(rows.audit_id, values):
                continue
        new.append(values)
        rows.errors.extend(notes)
    operations.add_findings(rows.audit_id, new, rows.when)


def add_missing(rows: Projection, findings: list[tuple[object, dict[str, Any]]]) -> None:
    """Add the findings of a result, as (the engine's id, columns), that no event has reported.

    A finding counts as reported if one with its id or with its content was.
    """
    reported = set(operations.finding_contents(rows.audit_id)) if findings else set()
    own: set[tuple[Any, ...]] = set()
    new: list[dict[str, Any]] = []
    for finding_id, values in findings:
        exact = (*_content(values), values["screenshot_index"], finding_id)
        if _content(values) in reported or exact in own:
            continue
        if isinstance(finding_id, str) and log.finding_reported(
            rows.audit_id, finding_id, rows.event_id
        ):
            continue
        own.add(exact)
        new.append(values)
    operations.add_findings(rows.audit_id, new, rows.when)


def _content(values: dict[str, Any]) -> tuple[Any, ...]:
    names = ("category", "pattern_type", "severity", "confidence", "description")
    return tuple(values[name] for name in names)


def finding_values(finding: dict[str, Any], where: str, errors: list[str]) -> dict[str, Any]:
    """The columns of a finding that is in any of the engine's forms.

    A missing or bad value is replaced by a default, and a note about it, which begins with
    `where`, is added to `errors`.
    """
    kind = finding.get("pattern_type") or finding.get("sub_type") or finding.get("category")
    severity = finding.get("severity")
    values = {
        "pattern_type": kind or "unknown",
        "category": finding.get("category"),
        "severity": severity.lower() if isinstance(severity, str) else severity,
        "confidence": finding.get("confidence"),
        "description": finding.get("description") or finding.get("evidence") or "",
        "plain_english": finding.get("plain_english"),
        "screenshot_index": finding.get("screenshot_index", -1),
    }
    defaults = {"pattern_type": "unknown", "severity": Severity.LOW, "confidence": 0.0}
    defaults |= {"description": "", "screenshot_index": -1}
    fields = AuditFinding._meta.fields
    for name, value in values.items():
        try:
            if value is None and name in defaults:
                raise invalid(name, "is missing", value)
            values[name] = fields[name].check(value)
        except InvalidAudit as error:
            errors.append(f"{where}: {error}")
            values[name] = defaults.get(name)
    return values
