"""A store with values that one SQLite could write in another way than the next, and its answers."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

from veritas_peewee import connect, sync
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.testing import make_audit, make_event, make_finding
from veritas_peewee.values.named import as_dict

FIXTURES = Path(__file__).parents[2] / "data" / "sqlites"
"""Files of this kind, each made by the SQLite of its name, with their answers then."""
NUMBERS = (0.1 + 0.2, 2 / 3, 1e-05, 99.99999999999999, 5e-324, 1 / 49 * 49, 33.3)
WORDS = ("décide", "価格は高い", "ราคาพิเศษ", "İstanbul", "timer", "straße", "naïve")
SEARCHED = (*WORDS, "価格", "istanbul", "strasse", "tim*", '"cancel link"', "-timer example")
IDS: tuple[Any, ...] = (
    "f1",
    0.1 + 0.2,
    1e23,
    12345678901234567890123,
    {"a": [1.5, 2 / 3]},
    "/\u2028",
)
"""What engines give as the ids of findings."""
SIGNS = "\u2028", "é", '"'


def fill(path: Path | str) -> None:
    """Fill a new file."""
    with connect(path):
        for number, (value, word) in enumerate(zip(NUMBERS, WORDS, strict=True)):
            findings = [
                make_finding(1, id=given, confidence=value % 1, description=f"{word} {value!r}",
                             pattern_type=f"p{SIGNS[number % 3]}{number % 2}")
                for given in IDS
            ]  # fmt: skip
            events = make_audit(
                f"https://{number % 3}.example/{word}", findings=findings, screenshots=0,
                error=word if number == 5 else None, trust_score=value,
                narrative=f"{word}: {value!r}",
                signal_scores={"sum": value, "none": -0.0},
            )  # fmt: skip
            sync.ingest(events)
        running = sync.create("https://running.example/").id
        sync.record_many(running, [make_event("finding"), make_event("stats_update")])
        gone = sync.ingest(make_audit("https://gone.example/", screenshots=0)).id
        sync.delete(gone)


def change() -> None:
    """Change the current database in each way: events, an end, a removal, a correction."""
    by_status = {str(one.status): one.id for one in sync.history(limit=100).items}
    for given in IDS:
        event = make_event("finding", finding=make_finding(1, id=given, description="価格 decided"))
        sync.record(by_status["queued"], event)
    sync.record(by_status["queued"], make_event("audit_complete"))
    sync.delete(by_status["completed"])
    sync.update(by_status["error"], narrative=f"ราคาพิเศษ {NUMBERS[0]!r}", trust_score=NUMBERS[1])


def answers() -> dict[str, Any]:
    """What the current database answers, as plain data; equal as JSON if it is the same."""
    lines, head = io.BytesIO(), sync.head()
    sync.export(lines, images=False)
    page = sync.history(limit=100).items
    given: Any = {
        "problems": verify().problems,
        "head": str(head),
        "export": hashlib.sha256(lines.getvalue()).hexdigest(),
        "found": {
            text: [(hit.audit.id, hit.snippet.text) for hit in sync.search(text).items]
            for text in SEARCHED
        },
        "by score": [one.id for one in sync.history(order="lowest", limit=100).items],
        "counted": as_dict(sync.facets()),
        "rows": [as_dict(sync.get(one.id)) for one in page],
        "above": [sync.count(min_score=one.trust_score or 0) for one in page],
    }
    return json.loads(json.dumps(given))
