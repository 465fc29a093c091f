"""The effects of results on the rows: the engine's own, and the one in an `audit_result` event."""

from __future__ import annotations

from typing import Any

from veritas_peewee.errors import InvalidAudit
from veritas_peewee.ledger import log
from veritas_peewee.models import AuditStatus, check_score
from veritas_peewee.recording import operations
from veritas_peewee.recording.finding_rows import add_missing, finding_values
from veritas_peewee.recording.output import IMAGE_EVENT, RESULT_EVENT, Event
from veritas_peewee.recording.projection import Projection
from veritas_peewee.recording.result import read_result
from veritas_peewee.values.plain import named, shown

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
        located = [(item, f"audit_result.findings[{n}]") for n, item in enumerate(findings)]
        add_missing(rows, _checked(rows, located, {}))
    elif findings is not None:
        rows.errors.append(f"audit_result.findings: must be a list, got {shown(findings)}")


def engine_result(rows: Projection, event: Event) -> None:
    """Take the columns and findings in the engine's result, from wherever in it they are."""
    result = event.get("result")
    if not isinstance(result, dict):
        rows.errors.append(f"{RESULT_EVENT}.result: must be an object, got {shown(result)}")
        return
    columns, findings, notes = read_result(result)
    rows.errors.extend(notes)
    for name, value, where in columns:
        _take(rows, name, value, where)
    if "status" not in rows.changes:
        # Without a usable status, an audit with a score has ended and one without has failed.
        ended = rows.changes.get("trust_score") is not None
        rows.changes["status"] = AuditStatus.COMPLETED if ended else AuditStatus.ERROR
    if rows.changes["status"] == AuditStatus.ERROR and isinstance(result.get("errors"), list):
        texts = rows.added_errors or rows.state["errors"]
        if texts and isinstance(texts[-1], str):
            rows.changes["error_message"] = texts[-1]
    named = any("screenshot_path" in one for one, _ in findings if isinstance(one, dict))
    add_missing(rows, _checked(rows, findings, _stored_images(rows) if named else {}))


def _stored_images(rows: Projection) -> dict[str, int]:
    """The index of each screenshot that is stored by now, by the path that the engine gave it."""
    return {
        data["url"]: data["index"]
        for data in log.event_data(rows.audit_id, IMAGE_EVENT, rows.event_id)
        if isinstance(data.get("url"), str)
        and isinstance(data.get("index"), int)
        and isinstance(data.get("data"), dict)
        and "file" in data["data"]
    }


def _checked(
    rows: Projection, findings: list[tuple[Any, str]], images: dict[str, int]
) -> list[tuple[object, dict[str, Any]]]:
    """Findings, given as (finding, where it was found), as (the engine's id, checked columns)."""
    checked = []
    for finding, where in findings:
        if not isinstance(finding, dict):
            rows.errors.append(f"{where}: must be an object, got {shown(finding)}")
            continue
        values = finding_values(finding, where, rows.errors)
        path = finding.get("screenshot_path")
        if isinstance(path, str) and values["screenshot_index"] == -1:
            values["screenshot_index"] = images.get(path, -1)
        checked.append((finding.get("id"), values))
    return checked


def _take(rows: Projection, name: str, value: object, where: str) -> None:
    """Set a column from a result; from a collection, take the values that are sound."""
    if name == "status" and isinstance(value, str):
        value = value.lower()
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
