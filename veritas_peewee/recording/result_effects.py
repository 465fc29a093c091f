"""The effects of results on the rows: the engine's own, and the one in an `audit_result` event."""

from __future__ import annotations

from typing import Any

from veritas_peewee.errors import InvalidAudit
from veritas_peewee.models import AuditStatus, check_score
from veritas_peewee.recording import operations
from veritas_peewee.recording.finding_rows import add_missing, finding_values, point_at_image
from veritas_peewee.recording.forms import RESULT_EVENT, Event
from veritas_peewee.recording.projection import Projection
from veritas_peewee.recording.result import read_result
from veritas_peewee.values.plain import named, shown

ABORTED = "the engine aborted the audit"
_COLUMNS = tuple(name for name in operations.COLUMNS if name not in ("started_at", "completed_at"))


def audit_result(rows: Projection, event: Event) -> None:
    """Take each column that the result names, and the findings that no event has reported."""
    result = event.get("result")
    if not isinstance(result, dict):
        rows.errors.append(f"audit_result.result: must be an object, got {shown(result)}")
        return
    for name in _COLUMNS:
        if result.get(name) is not None:
            _take(rows, name, result[name], f"audit_result.{name}")
    findings = result.get("findings")
    if isinstance(findings, list):
        add_missing(rows, _checked(rows, findings, "audit_result.findings"))
    elif findings is not None:
        rows.errors.append(f"audit_result.findings: must be a list, got {shown(findings)}")
    if _is_aborted(result):
        _abort(rows, result.get("trust_score"))


def engine_result(rows: Projection, event: Event) -> None:
    """Take the columns and findings in the engine's result, from wherever in it they are."""
    result = event.get("result")
    if not isinstance(result, dict):
        rows.errors.append(f"{RESULT_EVENT}.result: must be an object, got {shown(result)}")
        return
    columns, located, notes = read_result(result)
    findings = [finding for finding, _ in located]
    rows.errors.extend(notes)
    for name, value, where in columns:
        _take(rows, name, value, where)
    if _is_aborted(result):
        _abort(rows, rows.changes.get("trust_score"))
    if "status" not in rows.changes:
        # Without a usable status, an audit with a score has ended and one without has failed.
        ended = rows.changes.get("trust_score") is not None
        rows.changes["status"] = AuditStatus.COMPLETED if ended else AuditStatus.ERROR
    if rows.changes["status"] == AuditStatus.ERROR and isinstance(result.get("errors"), list):
        texts = rows.added_errors or rows.state["errors"]
        if texts and isinstance(texts[-1], str):
            rows.changes["error_message"] = texts[-1]
    add_missing(rows, _checked(rows, findings, "vision_result.findings"))


def was_aborted(rows: Projection) -> bool:
    """Whether the engine has reported, before this event, that it aborted the audit."""
    return any(
        event_id < rows.event_id and _is_aborted(event.get("result"))
        for kind in ("audit_result", RESULT_EVENT)
        for event_id, event in rows.events_by(kind, _none).get(None, ())
    )


def _none(event: Event) -> None:
    """The key of all events alike."""


def _is_aborted(result: object) -> bool:
    status = result.get("status") if isinstance(result, dict) else None
    return isinstance(status, str) and status.strip().lower() == "aborted"


def _abort(rows: Projection, score: object) -> None:
    """An aborted audit has failed: a score that it has is not one of the whole site."""
    rows.changes |= {"status": AuditStatus.ERROR, "trust_score": None, "risk_level": None}
    rows.changes.setdefault("error_message", ABORTED)
    noted = ABORTED if score is None else f"{ABORTED}: its score of {shown(score)} is none"
    if not rows.has_error(noted):
        rows.errors.append(noted)


def _checked(
    rows: Projection, findings: list[Any], where: str
) -> list[tuple[object, dict[str, Any]]]:
    """Findings of a result as (the engine's id, checked columns)."""
    checked = []
    for number, finding in enumerate(findings):
        place = f"{where}[{number}]"
        if isinstance(finding, dict):
            values = finding_values(finding, place, rows.errors)
            point_at_image(rows, finding, values)
            checked.append((finding.get("id"), values))
        else:
            rows.errors.append(f"{place}: must be an object, got {shown(finding)}")
    return checked


def _take(rows: Projection, name: str, value: object, where: str) -> None:
    """Set a column from a result; from a collection, take the values that are sound."""
    if name == "status" and isinstance(value, str):
        value = value.strip().lower()
        if value == "aborted":
            return  # see `_abort`
    if name == "signal_scores" and isinstance(value, dict):
        rows.changes[name] = scores = {}
        for signal, score in value.items():
            try:
                if score is not None:
                    scores[signal] = check_score(f"{where}.{named(signal)}", score)
            except InvalidAudit as error:
                rows.errors.append(str(error))
    elif name == "security_results" and isinstance(value, dict):
        # Added to what events reported: a result that has none takes nothing away.
        rows.added_results.update(value)
        rows.changes["updated_at"] = rows.when
    elif name == "errors" and isinstance(value, list):
        texts = [text if isinstance(text, str) else shown(text) for text in value]
        rows.added_errors += [text for text in texts if not rows.has_error(text)]
        rows.changes["updated_at"] = rows.when
    else:
        rows.take(name, value, where)
