"""Audits in the current database, made by a script."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from veritas_peewee.database import current
from veritas_peewee.queries import images
from veritas_peewee.queries.search import search
from veritas_peewee.recording import operations, recorder, screenshot_rows
from veritas_peewee.testing import make_event, make_finding, make_png

VOCABULARY = ("hidden", "hide", "cost", "timer", "décide", "価格")
"""Words for texts and for what is searched."""


def add_audit(url: str, findings: Iterable[dict[str, Any]] = (), **columns: Any) -> str:
    """Add an audit with these findings and then set its columns; returns its id."""
    audit_id: str = operations.create(url).id
    for finding in findings:
        recorder.record(audit_id, make_event("finding", finding=finding))
    operations.update(audit_id, **columns)
    return audit_id


def add_screenshot(audit_id: str, index: int, image: bytes) -> None:
    """Add a screenshot that no event reported."""
    place = images.current_images()
    stored = place.put(audit_id, index, "home", image)
    columns = {
        "file_path": stored.file, "label": "home", "index_num": index,
        "file_size_bytes": stored.size, "media_type": stored.media_type, "sha256": stored.sha256,
    }  # fmt: skip
    with current.current_database().unit():
        if place.with_rows:
            images.insert([(stored.file, image)])
        insert_screenshot(audit_id, columns)


def insert_screenshot(audit_id: str, columns: dict[str, object]) -> None:
    """Add a screenshot's row, as an effect does."""
    with current.current_database().unit():
        row = screenshot_rows.screenshot_row(audit_id, columns, recorder.utc_now())
        screenshot_rows.note_screenshots({audit_id: [row]})
        screenshot_rows.add_screenshots({audit_id: [row]})


def fill(audits: int = 3) -> list[str]:
    """Add completed audits with findings, screenshots and a log, then one that runs; their ids."""
    ids = []
    for number in range(audits + 1):
        audit_id = operations.create(f"https://shop{number}.example/").id
        ids.append(audit_id)
        recorder.record(audit_id, {"type": "phase_start", "phase": "scout"})
        for index in range(2):
            told = {"id": f"f{index}", "category": "urgency", "severity": "high",
                    "confidence": 0.5, "description": f"finding {index}"}  # fmt: skip
            recorder.record(audit_id, {"type": "finding", "finding": told})
        add_screenshot(audit_id, 0, make_png(number))
        recorder.record_many(audit_id, [{"type": "log_entry", "message": str(n)} for n in "abc"])
        if number < audits:
            operations.update(audit_id, trust_score=50.0 + number % 50, risk_level="suspicious")
            recorder.record(audit_id, {"type": "audit_complete", "elapsed": 5})
    return ids


def ended_with_images(number: int = 3) -> str:
    """An audit that an engine has told of, with screenshots, until its end."""
    audit_id = operations.create("https://shop.example/").id
    recorder.record_many(audit_id, [make_event("screenshot", index=n) for n in range(number)])
    recorder.record(audit_id, {"type": "audit_complete"})
    return audit_id


def ended(url: str = "https://shop.example/", *told: str, **changes: Any) -> str:
    """An audit that ended, with a finding for each text."""
    findings = [
        make_finding(number, category="obstruction", plain_english=None, description=text)
        for number, text in enumerate(told)
    ]
    return add_audit(url, findings, status="completed", **changes)


def found(text: str, **options: Any) -> list[str]:
    return [hit.audit.id for hit in search(text, **options).items]
