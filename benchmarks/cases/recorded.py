"""Whether all that was acknowledged is on disk: the rows of each audit, and its image files."""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.effects import apply, missing, take
from benchmarks.sample import Row, audit_id, audit_row
from benchmarks.transcript import audited_url

Recorded = dict[int, list[Row]]
"""The acknowledged events of each audit, by its number."""

_PLAIN = (
    "url", "status", "trust_score", "risk_level", "narrative", "site_type", "site_type_confidence",
    "pages_scanned", "screenshots_count", "elapsed_seconds",
)  # fmt: skip
_JSON = "signal_scores", "security_results", "errors"
_TIMES = "started_at", "completed_at"


def check_recorded(path: Path, recorded: Recorded) -> None:
    """Compare the file with what was acknowledged; raises AssertionError, which names the audit."""
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        for number, events in recorded.items():
            owner = audit_id(number)
            wanted, found = _wanted(number, events), _found(database, owner)
            for name, value in wanted.items():
                if found[name] != value:
                    raise AssertionError(
                        f"{owner} after {len(events)} events: {name} is {found[name]!r:.300}, "
                        f"must be {value!r:.300}"
                    )
            for file, _, sha256 in wanted["screenshots"]:
                image = path.parent / "screenshots" / found["files"][file]
                if hashlib.sha256(image.read_bytes()).hexdigest() != sha256:
                    raise AssertionError(f"{image}: is another image")
        count = database.execute("SELECT count(*) FROM audits").fetchone()[0]
        assert count == len(recorded), f"{count} audits on disk, {len(recorded)} acknowledged"


def _wanted(number: int, events: list[Row]) -> dict[str, Any]:
    owner, now = audit_id(number), datetime.now(UTC)
    audit = SimpleNamespace(**dict.fromkeys((*_PLAIN, *_TIMES)))
    vars(audit).update(audit_row(owner, audited_url(number)))
    findings: list[tuple[str, str]] = []
    screenshots: list[tuple[int, str, str]] = []
    for event in events:
        if event["type"] == "screenshot":
            sha256 = hashlib.sha256(base64.b64decode(event["data"])).hexdigest()
            screenshots.append((event["index"], event["label"], sha256))
            audit.screenshots_count += 1
            continue
        taken = take(owner, event, now)
        if taken.effect is not None:
            apply(audit, taken)
            new = missing(taken.effect, set(findings))
            findings += [(one["pattern_type"], one["description"]) for one in new]
    return {
        **{name: getattr(audit, name) for name in (*_PLAIN, *_JSON)},
        **{name: getattr(audit, name) is not None for name in _TIMES},
        "events": [event["type"] for event in events],
        "findings": findings,
        "screenshots": screenshots,
    }


def _found(database: sqlite3.Connection, owner: str) -> dict[str, Any]:
    def rows(columns: str, table: str) -> list[tuple[Any, ...]]:
        sql = f"SELECT {columns} FROM {table} WHERE audit_id = ? ORDER BY id"
        return [tuple(row) for row in database.execute(sql, (owner,))]

    audit = database.execute("SELECT * FROM audits WHERE id = ?", (owner,)).fetchone()
    if audit is None:
        raise AssertionError(f"{owner}: there is no such audit")
    return {
        **{name: audit[name] for name in _PLAIN},
        **{name: json.loads(audit[name]) for name in _JSON},
        **{name: audit[name] is not None for name in _TIMES},
        "events": [kind for (kind,) in rows("event_type", "audit_events")],
        "findings": rows("pattern_type, description", "audit_findings"),
        "screenshots": rows("index_num, label, sha256", "audit_screenshots"),
        "files": dict(rows("index_num, file_path", "audit_screenshots")),
    }
