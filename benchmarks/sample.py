"""The rows that all peers write: events, a whole audit, an engine's result."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

Row = dict[str, Any]

FINDINGS, SCREENSHOTS, EVENTS = 20, 5, 30
MOMENT = datetime(2026, 1, 1, 12, 0, 0, 123456, UTC)

_TEXT = (
    "The button that accepts is large and green, the one that declines is a grey link below it "
    "with small letters; the counter beside the price starts again when the page is loaded. "
)


class WholeAudit(NamedTuple):
    """An audit with its children, as column values in Python types."""

    audit: Row
    findings: list[Row]
    screenshots: list[Row]
    events: list[Row]


def audit_id(number: int) -> str:
    return f"vrts_{number:011d}"


def log_event(number: int) -> Row:
    """The commonest event, one that changes no other row."""
    return {
        "type": "log_entry",
        "timestamp": "12:00:00",
        "agent": "scout",
        "message": f"GET https://shop.example/products/{number} → 200",
        "level": "info",
    }


def event_row(owner: str, event: Row) -> Row:
    """The row of `audit_events` for an event."""
    moment = datetime.now(UTC)
    return {"audit_id": owner, "event_type": event["type"], "data": event, "timestamp": moment}


def finding(number: int) -> Row:
    """The finding in a `finding` event."""
    return {
        "id": f"f-{number}",
        "category": "visual_interference",
        "pattern_type": "hidden_decline",
        "severity": ("low", "medium", "high", "critical")[number % 4],
        "confidence": 0.5 + (number % 50) / 100,
        "description": f"Step {number}: {_TEXT}",
        "plain_english": "Declining is harder than accepting.",
    }


def audit_row(owner: str, url: str) -> Row:
    """A queued audit, with the defaults of every column that has one."""
    return {
        "id": owner,
        "url": url,
        "status": "queued",
        "audit_tier": "standard_audit",
        "verdict_mode": "expert",
        "signal_scores": {},
        "security_results": {},
        "pages_scanned": 0,
        "screenshots_count": 0,
        "elapsed_seconds": 0.0,
        "errors": [],
        "created_at": MOMENT,
        "updated_at": MOMENT,
    }


def audit_events() -> list[Row]:
    """The 30 events of a whole audit: 20 report a finding, 10 are log entries."""
    told = [{"type": "finding", "finding": finding(number)} for number in range(FINDINGS)]
    return told + [log_event(number) for number in range(EVENTS - FINDINGS)]


def screenshot_values(number: int, owner: str) -> Row:
    return {
        "file_path": f"{owner}/{number:03d}-t{number}.png",
        "label": f"t{number}",
        "index_num": number,
        "file_size_bytes": 120_000 + number,
        "media_type": "image/png",
        "sha256": "0" * 64,
    }


def whole_audit(number: int) -> WholeAudit:
    """56 rows: the audit, 20 findings, 5 screenshots (rows only, no files) and 30 events."""
    owner = audit_id(number)
    told = audit_events()
    findings = []
    for event in told[:FINDINGS]:
        values = {name: value for name, value in event["finding"].items() if name != "id"}
        findings.append({"audit_id": owner, **values, "screenshot_index": -1, "created_at": MOMENT})
    shots = [
        {"audit_id": owner, **screenshot_values(index, owner), "created_at": MOMENT}
        for index in range(SCREENSHOTS)
    ]
    return WholeAudit(
        audit_row(owner, f"https://shop.example/{number}"),
        findings,
        shots,
        [event_row(owner, event) for event in told],
    )


def engine_result(number: int) -> Row:
    """A result as the engine prints it, about 10 kB, without screenshot files."""
    score = number % 101
    findings = [
        {
            "category": "visual_interference",
            "sub_type": "hidden_decline",
            "severity": ("low", "medium", "high", "critical")[index % 4],
            "confidence": 0.6 + index / 20,
            "evidence": f"Page {index}: {_TEXT}",
            "plain_english": "Declining is harder than accepting.",
            "screenshot_path": "",
            "raw_vlm_response": _TEXT * 6,
            "fallback_mode": False,
        }
        for index in range(4)
    ]
    signals = dict.fromkeys(("visual", "structural", "temporal", "graph", "meta"), score)
    return {
        "url": f"https://shop{number % 50}.example/",
        "audit_tier": "standard_audit",
        "verdict_mode": "expert",
        "status": "completed",
        "scout_results": [{"url": f"https://shop{number % 50}.example/", "screenshots": []}],
        "vision_result": {"visual_score": 0.5, "findings": findings},
        "graph_result": {"graph_score": 0.5, "inconsistencies": []},
        "judge_decision": {
            "narrative": _TEXT * 5,
            "trust_score_result": {
                "final_score": score,
                "risk_level": "suspicious",
                "signal_scores": signals,
            },
        },
        "investigated_urls": [f"https://shop.example/{page}" for page in range(8)],
        "security_results": {"headers": {"score": 0.5, "missing": ["csp", "hsts"]}},
        "site_type": "ecommerce",
        "site_type_confidence": 0.9,
        "start_time": 1790749200.0 + number,
        "elapsed_seconds": 61.5,
        "errors": [],
    }


def stored(value: object) -> object:
    """A value as it is on disk: times and JSON as text."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(" ", "microseconds")[:26]
    return value


def stored_row(row: Row) -> tuple[object, ...]:
    return tuple([stored(value) for value in row.values()])


def insert_sql(table: str, row: Row) -> str:
    marks = ", ".join("?" * len(row))
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})"
