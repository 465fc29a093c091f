"""What each type of event does to the rows: the dispatch table.

An effect takes the values it knows; one of the wrong type costs that value, with a note in
`errors` that names where it stood, never the event and never the audit.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from veritas_peewee import operations
from veritas_peewee.engine_output import RESULT_EVENT, Event
from veritas_peewee.engine_result import read_result
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.ledger import log
from veritas_peewee.models import Audit, AuditFinding, AuditStatus, Severity
from veritas_peewee.values.plain import invalid, named, shown

_RESULT_COLUMNS = tuple(
    name for name in operations.COLUMNS if name not in ("started_at", "completed_at")
)


class Projection:
    """The changes that one event makes to one audit, gathered and then written once."""

    def __init__(self, audit_id: str, event_id: int, when: datetime) -> None:
        self.audit_id = audit_id
        self.event_id = event_id
        self.when = when
        self.changes: dict[str, Any] = {}
        self.errors: list[str] = []
        self._state: dict[str, Any] | None = None

    @property
    def state(self) -> dict[str, Any]:
        """The audit's status, times, errors and security results before this event."""
        if self._state is None:
            self._state = operations.audit_state(self.audit_id)
        return self._state

    def take(self, column: str, value: object, where: str) -> None:
        """Set a column, or note why not."""
        try:
            self.changes[column] = operations.check_column(column, value)
        except InvalidAudit as error:
            self.errors.append(f"{where}: {error}")

    def text(self, event: Event, key: str, default: str) -> str:
        value = event.get(key)
        if isinstance(value, str) and value:
            return value
        if value not in (None, ""):
            self.errors.append(f"{event['type']}.{key}: must be text, got {shown(value)}")
        return default

    def finish(self) -> None:
        if self.changes or self.errors:
            operations.change_row(self.audit_id, self.when, self.changes, self.errors, self._state)


def _phase_start(rows: Projection, event: Event) -> None:
    if rows.state["status"] == AuditStatus.QUEUED:
        rows.changes["status"] = AuditStatus.RUNNING


def _phase_error(rows: Projection, event: Event) -> None:
    text = rows.text(event, "error", "") or rows.text(event, "message", "")
    rows.errors.append(text or f"phase {event.get('phase')!s:.50} failed")


def _site_type(rows: Projection, event: Event) -> None:
    rows.take("site_type", event.get("site_type"), "site_type.site_type")
    if (confidence := event.get("confidence")) is not None:
        rows.take("site_type_confidence", confidence, "site_type.confidence")


def _security_result(rows: Projection, event: Event) -> None:
    module, result = event.get("module"), event.get("result")
    if not isinstance(module, str) or not module:
        rows.errors.append(f"security_result.module: must be text, got {shown(module)}")
    elif not isinstance(result, dict):
        rows.errors.append(
            f"security_result.result ({named(module[:50])}): must be an object, got {shown(result)}"
        )
    else:
        results = rows.state["security_results"]
        rows.changes["security_results"] = {**results, module: result}


def _stats_update(rows: Projection, event: Event) -> None:
    stats = event.get("stats")
    if not isinstance(stats, dict):
        rows.errors.append(f"stats_update.stats: must be an object, got {shown(stats)}")
        return
    for name in ("pages_scanned", "elapsed_seconds"):
        if stats.get(name) is not None:
            rows.take(name, stats[name], "stats_update.stats")


def _screenshot(rows: Projection, event: Event) -> None:
    reference = event.get("data")
    if not isinstance(reference, dict):
        return
    if isinstance(error := reference.get("error"), str):
        rows.errors.append(error)
        return
    if not all(isinstance(reference.get(name), str) for name in ("file", "media_type", "sha256")):
        rows.errors.append(f"screenshot.data: refers to no stored image: {shown(reference)}")
        return
    label, index, when = event.get("label"), event.get("index"), rows.when
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < 2**63:
        rows.errors.append(f"screenshot.index: must be a whole number, got {shown(index)}")
        index = 0
    if isinstance(taken := reference.get("taken_at"), str):
        when = datetime.fromisoformat(taken)
    operations.add_screenshot(
        rows.audit_id,
        {
            "file_path": reference["file"],
            "label": label if isinstance(label, str) and label else f"screenshot {index}",
            "index_num": index,
            "file_size_bytes": reference.get("size"),
            "media_type": reference["media_type"],
            "sha256": reference["sha256"],
        },
        when,
    )
    rows.changes["updated_at"] = rows.when


def _findings(rows: Projection, events: list[tuple[int, Event]]) -> None:
    """The effect of `finding` events, with their ids, that follow each other in the log."""
    first = len(events) > 1 and not log.findings_told(rows.audit_id, events[0][0])
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
            if not first and log.finding_told(rows.audit_id, finding_id, event_id):
                continue
        else:
            operations.add_findings(rows.audit_id, new, rows.when)
            new.clear()
            if operations.finding_is_there(rows.audit_id, values):
                continue
        new.append(values)
        rows.errors.extend(notes)
    operations.add_findings(rows.audit_id, new, rows.when)


def _finding(rows: Projection, event: Event) -> None:
    _findings(rows, [(rows.event_id, event)])


def _add_untold(rows: Projection, findings: list[tuple[object, dict[str, Any], str]]) -> None:
    """Add the findings of a result that the log has not told: neither by id nor by content."""
    told = set(operations.finding_contents(rows.audit_id)) if findings else set()
    own: set[tuple[Any, ...]] = set()
    new: list[dict[str, Any]] = []
    for finding_id, values, _ in findings:
        exact = (*_content(values), values["screenshot_index"], finding_id)
        if _content(values) in told or exact in own:
            continue
        if isinstance(finding_id, str) and log.finding_told(
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
    """A finding's columns from any form; a missing or bad value gets a default and a note."""
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


def _audit_result(rows: Projection, event: Event) -> None:
    result = event.get("result")
    if not isinstance(result, dict):
        rows.errors.append(f"audit_result.result: must be an object, got {shown(result)}")
        return
    for name in _RESULT_COLUMNS:
        if result.get(name) is not None:
            _take_result(rows, name, result[name], f"audit_result.{name}")
    findings = result.get("findings")
    if isinstance(findings, list):
        told = [(item, f"audit_result.findings[{n}]") for n, item in enumerate(findings)]
        _add_untold(rows, _checked(rows, told, {}))
    elif findings is not None:
        rows.errors.append(f"audit_result.findings: must be a list, got {shown(findings)}")


def _engine_result(rows: Projection, event: Event) -> None:
    result = event.get("result")
    if not isinstance(result, dict):
        rows.errors.append(f"{RESULT_EVENT}.result: must be an object, got {shown(result)}")
        return
    columns, findings, notes = read_result(result)
    rows.errors.extend(notes)
    for name, value, where in columns:
        _take_result(rows, name, value, where)
    if "status" not in rows.changes:
        # Without a usable status, a verdict is what tells an audit that ended from one that failed.
        ended = rows.changes.get("trust_score") is not None
        rows.changes["status"] = AuditStatus.COMPLETED if ended else AuditStatus.ERROR
    if rows.changes["status"] == AuditStatus.ERROR and rows.changes.get("errors"):
        rows.changes["error_message"] = rows.changes["errors"][-1]
    _add_untold(rows, _checked(rows, findings, _stored_images(rows.audit_id)))


def _stored_images(audit_id: str) -> dict[str, int]:
    """The index of each stored screenshot by the path the engine gave it, from the log."""
    return {
        data["url"]: data["index"]
        for data in log.event_data(audit_id, "screenshot")
        if isinstance(data.get("url"), str)
        and isinstance(data.get("index"), int)
        and isinstance(data.get("data"), dict)
        and "file" in data["data"]
    }


def _checked(
    rows: Projection, findings: list[tuple[Any, str]], images: dict[str, int]
) -> list[tuple[object, dict[str, Any], str]]:
    checked = []
    for finding, where in findings:
        if not isinstance(finding, dict):
            rows.errors.append(f"{where}: must be an object, got {shown(finding)}")
            continue
        values = finding_values(finding, where, rows.errors)
        path = finding.get("screenshot_path")
        if isinstance(path, str) and values["screenshot_index"] == -1:
            values["screenshot_index"] = images.get(path, -1)
        checked.append((finding.get("id"), values, where))
    return checked


def _take_result(rows: Projection, name: str, value: object, where: str) -> None:
    """Set a column from a result, saving what is sound of a collection."""
    if name == "status" and isinstance(value, str):
        value = value.lower()
    if name == "signal_scores" and isinstance(value, dict):
        rows.changes[name] = scores = {}
        for signal, score in value.items():
            try:
                if score is not None:
                    scores[signal] = operations.check_score(f"{where}.{named(signal)}", score)
            except InvalidAudit as error:
                rows.errors.append(str(error))
    elif name == "security_results" and isinstance(value, dict):
        # What events told before is kept: a result that has none takes nothing away.
        rows.changes[name] = {**rows.state[name], **value}
    elif name == "errors" and isinstance(value, list):
        before = rows.state[name]
        told = [text if isinstance(text, str) else shown(text) for text in value]
        rows.changes[name] = [*before, *(text for text in told if text not in before)]
    else:
        rows.take(name, value, where)


def _audit_complete(rows: Projection, event: Event) -> None:
    rows.changes["status"] = AuditStatus.COMPLETED
    if (elapsed := event.get("elapsed")) is not None:
        rows.take("elapsed_seconds", elapsed, "audit_complete.elapsed")


def _audit_error(rows: Projection, event: Event) -> None:
    text = rows.text(event, "error", "unknown error")
    rows.changes |= {"status": AuditStatus.ERROR, "error_message": text}
    rows.errors.append(text)


def _audit_disconnected(rows: Projection, event: Event) -> None:
    text = rows.text(event, "error", "the engine went away")
    rows.changes["status"] = AuditStatus.DISCONNECTED
    rows.errors.append(text)


def _audit_update(rows: Projection, event: Event) -> None:
    changes = event.get("changes")
    for name, value in changes.items() if isinstance(changes, dict) else ():
        if name in ("started_at", "completed_at") and isinstance(value, str):
            value = Audit._meta.fields[name].python_value(value)  # or the text, which is refused
        rows.take(name, value, "audit_update")


EFFECTS: dict[str, Callable[[Projection, Event], None]] = {
    "phase_start": _phase_start,
    "phase_error": _phase_error,
    "screenshot": _screenshot,
    "site_type": _site_type,
    "security_result": _security_result,
    "finding": _finding,
    "stats_update": _stats_update,
    "audit_result": _audit_result,
    "audit_complete": _audit_complete,
    "audit_error": _audit_error,
    RESULT_EVENT: _engine_result,
    "audit_disconnected": _audit_disconnected,
    "audit_update": _audit_update,
}

RUNS: dict[str, Callable[[Projection, list[tuple[int, Event]]], None]] = {"finding": _findings}
"""Effects that do many events of their type at once, for less than one by one."""
