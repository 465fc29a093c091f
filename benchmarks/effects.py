"""What an event does to the rows of its audit, as whoever writes such a backend by hand has it.

The peers share this, so that each of them writes the same rows; the store has its own rules.
"""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.sample import Row

_OF_RESULT = (
    "url", "status", "audit_tier", "verdict_mode", "trust_score", "risk_level", "signal_scores",
    "narrative", "site_type", "site_type_confidence", "pages_scanned", "elapsed_seconds",
)  # fmt: skip
_FINDING = ("pattern_type", "category", "severity", "confidence", "description", "plain_english")
_NO_EFFECT = {"phase_complete", "log_entry"}


@dataclass(frozen=True)
class Effect:
    """The changes to an audit's row, and the rows to be added."""

    starts: bool = False
    """A queued audit becomes running, and has started now."""
    columns: Row = field(default_factory=dict)
    results: Row = field(default_factory=dict)
    """What is added to `security_results`."""
    findings: list[Row] = field(default_factory=list)
    """Findings, each of which becomes a row unless the audit has it already."""
    screenshots: list[Row] = field(default_factory=list)


class Taken(NamedTuple):
    """An event as it is to be stored, its time, and its effect, if it has any."""

    event: Row
    when: datetime
    effect: Effect | None

    def row(self, owner: str) -> Row:
        """The row of `audit_events`."""
        return {
            "audit_id": owner,
            "event_type": self.event["type"],
            "data": self.event,
            "timestamp": self.when,
        }


def take(owner: str, event: Row, when: datetime, image: Row | None = None) -> Taken:
    """`image` is what `store_image` returned for a screenshot."""
    if image is not None:
        shot = {
            "audit_id": owner,
            "file_path": image["file"],
            "label": event["label"],
            "index_num": event["index"],
            "file_size_bytes": image["size"],
            "media_type": image["media_type"],
            "sha256": image["sha256"],
            "created_at": when,
        }
        return Taken({**event, "data": image}, when, Effect(screenshots=[shot]))
    return Taken(event, when, _effect(owner, event, when))


def _effect(owner: str, event: Row, when: datetime) -> Effect | None:
    kind = event["type"]
    if kind in _NO_EFFECT:
        return None
    if kind == "phase_start":
        return Effect(starts=True)
    if kind == "site_type":
        return Effect(columns={"site_type": event["site_type"],
                               "site_type_confidence": event["confidence"]})  # fmt: skip
    if kind == "security_result":
        return Effect(results={event["module"]: event["result"]})
    if kind == "finding":
        return Effect(findings=[_finding(owner, event["finding"], when)])
    if kind == "stats_update":
        stats = event["stats"]
        return Effect(columns={name: stats[name] for name in ("pages_scanned", "elapsed_seconds")})
    if kind == "audit_result":
        result = event["result"]
        assert not result["errors"], "the transcripts have no errors"
        return Effect(
            columns={name: result[name] for name in _OF_RESULT},
            results=result["security_results"],
            findings=[_finding(owner, one, when) for one in result["findings"]],
        )
    if kind == "audit_complete":
        return Effect(columns={"status": "completed", "elapsed_seconds": event["elapsed"]})
    raise ValueError(f"the peers know no effect of {kind}")


def _finding(owner: str, told: Row, when: datetime) -> Row:
    values = {name: told[name] for name in _FINDING}
    return {"audit_id": owner, **values, "screenshot_index": -1, "created_at": when}


def apply(audit: Any, taken: Taken) -> list[str]:
    """Set the attributes of a loaded audit, as one does with an ORM; returns which were set."""
    effect = taken.effect
    assert effect is not None
    changes = dict(effect.columns)
    if effect.starts and audit.status == "queued":
        changes |= {"status": "running", "started_at": taken.when}
    if changes.get("status") == "completed" and audit.completed_at is None:
        changes["completed_at"] = taken.when
    if effect.results:
        changes["security_results"] = {**audit.security_results, **effect.results}
    if changes or effect.screenshots:
        changes["updated_at"] = taken.when
    for name, value in changes.items():
        setattr(audit, name, value)
    return list(changes)


def missing(effect: Effect, known: set[tuple[str, str]]) -> list[Row]:
    """The findings that are not among the (pattern type, description) of those stored."""
    return [one for one in effect.findings
            if (one["pattern_type"], one["description"]) not in known]  # fmt: skip


def store_image(folder: Path, owner: str, event: Row) -> Row:
    """Write a screenshot's image to disk, to stay there after a power cut; returns its reference.

    It appears under its name only when it is whole.
    """
    data = base64.b64decode(event["data"], validate=True)
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError("not a PNG image")
    own = folder / owner
    if not own.is_dir():
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync_folder(folder)
    name = f"{event['index']:03d}-{event['label']}.png"
    temporary = own / f".{name}.tmp"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, own / name)
    _sync_folder(own)
    return {
        "file": f"{owner}/{name}",
        "media_type": "image/png",
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
    }


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
