"""Findings as rows: each one once, however often events and results report it."""

from __future__ import annotations

from typing import Any

from veritas_peewee.errors import InvalidAudit
from veritas_peewee.models import AuditFinding, Severity
from veritas_peewee.recording.forms import Event
from veritas_peewee.recording.known_findings import SCREENSHOT_AT, Row, content_of
from veritas_peewee.recording.projection import Projection
from veritas_peewee.values.plain import invalid, shown

_FIELDS: dict[str, Any] = AuditFinding._meta.fields
_DEFAULTS: dict[str, Any] = {
    "pattern_type": "unknown",
    "severity": Severity.LOW,
    "confidence": 0.0,
    "description": "",
    "screenshot_index": -1,
}
"""The values of the columns that cannot be empty, where a finding has none that is right."""


def add_reported(rows: Projection, event: Event) -> None:
    """Add the finding of a `finding` event, unless an earlier event reported it.

    It is recognised by the engine's id, or if it has none by its content.
    """
    finding = event.get("finding")
    if not isinstance(finding, dict):
        rows.errors.append(f"finding.finding: must be an object, got {shown(finding)}")
        return
    notes: list[str] = []
    known = rows.findings
    values = finding_values(finding, "finding", notes)
    point_at_image(rows, finding, values)
    row = known.row(values, rows.when)
    finding_id = finding.get("id")
    if isinstance(finding_id, str) and finding_id:
        there = known.is_reported(finding_id, rows.event_id)
        known.report(finding_id, rows.event_id)
    else:
        there = known.is_there(row)
    if not there:
        known.add(row)
        rows.errors.extend(notes)
    elif values["screenshot_index"] >= 0:
        _point(rows, finding_id, row)


def add_missing(rows: Projection, findings: list[tuple[object, dict[str, Any]]]) -> None:
    """Add the findings of a result, as (the engine's id, columns), that no event has reported.

    A finding counts as reported if one with its id or with its content was.
    """
    own: set[tuple[Row, str]] = set()
    new: list[Row] = []
    for finding_id, values in findings:
        row = rows.findings.row(values, rows.when)
        exact = (*content_of(row), values["screenshot_index"]), repr(finding_id)
        if exact in own:
            continue
        if rows.findings.is_there(row) or (
            isinstance(finding_id, str)
            and finding_id  # several without one are no single finding
            and rows.findings.is_reported(finding_id, rows.event_id)
        ):
            if values["screenshot_index"] >= 0:
                _point(rows, finding_id, row)
            continue
        own.add(exact)
        new.append(row)
    for row in new:  # only now, for within a result the same content may be two findings
        rows.findings.add(row)


def point_at_image(rows: Projection, finding: Event, values: dict[str, Any]) -> None:
    """Point a finding at the stored screenshot whose path it has, unless it has an index."""
    path = finding.get("screenshot_path")
    if not isinstance(path, str) or values["screenshot_index"] != -1:
        return
    for event_id, index in reversed(rows.images_at(path)):
        if event_id < rows.event_id:
            values["screenshot_index"] = max(-1, index)
            return


def _point(rows: Projection, finding_id: object, row: Row) -> None:
    """Point a finding that was reported before at the screenshot that `row` points at."""
    event = None
    if not rows.findings.is_there(row) and isinstance(finding_id, str):
        event = rows.first_report(finding_id)
    if event is not None:  # reported with other values: its row has those
        values = finding_values(event["finding"], "", [])
        values["screenshot_index"] = row[SCREENSHOT_AT]
        row = rows.findings.row(values, rows.when)
    rows.findings.point(row)


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
    for name, value in values.items():
        try:
            if value is None and name in _DEFAULTS:
                raise invalid(name, "is missing", value)
            values[name] = _FIELDS[name].check(value)
        except InvalidAudit as error:
            errors.append(f"{where}: {error}")
            values[name] = _DEFAULTS.get(name)
    return values
