"""The audits of TR: small ones, those of engine's results, and whole ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.cases.taking import RESULTS, SMALL, WHOLE
from benchmarks.sample import Row, audit_id, engine_result, finding
from benchmarks.transcript import audited_url, transcript
from veritas_peewee import connect, sync

_TOGETHER = 500


def write_lines(path: Path, sort: str, size: int) -> None:
    """Make audits of a sort, and export them to `path`."""
    store = path.with_suffix(".db")
    with connect(store) as database:
        for first in range(0, size, _TOGETHER):
            with database.atomic():
                for number in range(first, min(first + _TOGETHER, size)):
                    _MAKERS[sort](number)
        report = sync.export(path, images=False)
    assert report.ok, list(report.problems)[:3]


def _small(number: int) -> None:
    owner = audit_id(number)
    sync.create(f"https://shop{number % 50}.example/{number}", id=owner)
    found = [{"type": "finding", "finding": finding(number * 3 + n)} for n in range(number % 3)]
    result = {
        "status": "completed",
        "trust_score": number % 101,
        "risk_level": "suspicious",
        "narrative": f"The shop {number} sells what it shows, but presses to buy now.",
        "signal_scores": {"visual": number % 90, "structural": 71},
        "site_type": "ecommerce",
    }
    sync.record_many(
        owner,
        [
            {"type": "phase_start", "phase": "scout", "message": f"Opening {number}", "pct": 0},
            *found,
            {"type": "audit_result", "result": result},
            {"type": "audit_complete", "elapsed": 33.2},
        ],
    )


def _result(number: int) -> None:
    sync.ingest(_differing(engine_result(number), number), audit_id=audit_id(number))


def _whole(number: int) -> None:
    owner = audit_id(number)
    sync.create(audited_url(number), id=owner)
    events: list[Row] = []
    for event in transcript(number, owner):
        # What an engine says of its phases is the same in every audit.
        same = event["type"].startswith("phase_") or event["type"] == "screenshot"
        events.append(event if same else _differing(event, number))
    sync.record_many(owner, events)


def _differing(value: Any, number: int) -> Any:
    """A value whose longer texts are of this audit alone."""
    if isinstance(value, dict):
        return {key: _differing(item, number) for key, item in value.items()}
    if isinstance(value, list):
        return [_differing(item, number) for item in value]
    if isinstance(value, str) and " " in value:
        return f"{value} ({number})"
    return value


_MAKERS: dict[str, Callable[[int], None]] = {SMALL: _small, RESULTS: _result, WHOLE: _whole}
