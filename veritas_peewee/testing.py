"""For tests of code that uses the store: a pytest plugin, and makers of what an engine sends.

    # conftest.py
    pytest_plugins = ["veritas_peewee.testing"]

    # test_shop.py
    from veritas_peewee.testing import make_audit

    async def test_what_was_found(audit_store):
        audit = await audit_store.ingest(make_audit("https://shop.example/", findings=2))
        assert len(audit.findings) == 2

The fixtures are `audit_store`, an open store in memory, and `audit_database`, the path of a new
database file. The makers (`make_audit`, `make_event`, `make_finding`, `make_png`) return plain data
and store nothing, so you can give it to `ingest`, to `record`, to the command line or in a request.
A value that no argument gives is the same each time.

Needs pytest. PYTEST_DONT_REWRITE: a conftest may import a maker before it names the plugin, and
pytest would otherwise warn about that.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from veritas_peewee.config import DATABASE_VARIABLE
from veritas_peewee.startup import connect
from veritas_peewee.store import AuditStore

__all__ = [
    "audit_database",
    "audit_store",
    "make_audit",
    "make_event",
    "make_finding",
    "make_png",
]

Data = dict[str, Any]


# ---- fixtures ----


@pytest.fixture
async def audit_store(anyio_backend: object) -> AsyncIterator[AuditStore]:
    """An open, empty store in memory, on the loop of the test; closed when the test has ended.

    anyio's pytest plugin runs an async test that uses this fixture, marked or not, once on each of
    the backends that `anyio_backend` names: asyncio and, where it is installed, trio, unless you
    define that fixture yourself. Under another plugin for async tests, open the store in the test:
    `async with AuditStore.open(":memory:") as store:`.
    """
    async with AuditStore.open(":memory:") as store:
        yield store


@pytest.fixture
def audit_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a new database file without audits, alone in a folder of the test.

    No connection to it is open. Open it as the code under test does: with
    `connect(audit_database)` for the models, with `AuditStore.open(audit_database)`, or in another
    process. During the test `$VERITAS_DATABASE` names it too, so that code which opens the default
    database finds this file and never a real one.
    """
    path = tmp_path / "audit_database" / "audits.db"
    with connect(path):
        pass  # created, and brought to this version's schema
    monkeypatch.setenv(DATABASE_VARIABLE, str(path))
    return path


# ---- makers ----


def make_audit(
    url: str = "https://example.com/",
    *,
    findings: int | Iterable[Data] = 1,
    screenshots: int = 1,
    error: str | None = None,
    **result: Any,
) -> list[Data]:
    """The events of a whole audit, a list of dicts that `ingest` and `record_many` take.

    `findings` is how many, or the findings themselves; `screenshots` is how many. `result` goes
    into the audit's result beside its url:
    `trust_score=44.0, risk_level="suspicious", narrative="…"`. With `error` the audit fails with
    that text, and has a score only if you give one; otherwise it is completed.
    """
    if isinstance(findings, int):
        findings = [make_finding(number) for number in range(1, findings + 1)]
    score = {} if error is not None else {"trust_score": 50.0, "risk_level": "suspicious"}
    return [
        make_event("phase_start"),
        *(
            make_event("screenshot", index=index, data=make_png(index))
            for index in range(screenshots)
        ),
        *(make_event("finding", finding=finding) for finding in findings),
        make_event("audit_result", result={"url": url, **score, **result}),
        make_event("audit_complete") if error is None else make_event("audit_error", error=error),
    ]


def make_event(kind: str = "log_entry", **fields: Any) -> Data:
    """An event of type `kind`, a dict with every field that this type needs and then `fields`.

    The `data` of a screenshot may be bytes: they are put into the event as base64.
    """
    event = {"type": kind, **_usual_fields(kind), **fields}
    if isinstance(event.get("data"), bytes):
        event["data"] = base64.b64encode(event["data"]).decode()
    return event


def _usual_fields(kind: str) -> Data:
    match kind:
        case "phase_start" | "phase_complete":
            return {"phase": "scout", "message": "the pages are visited", "pct": 10}
        case "phase_error":
            return {
                "phase": "scout",
                "message": "the phase failed",
                "pct": 10,
                "error": "no answer",
            }
        case "log_entry":
            return {"agent": "scout", "message": "a page is loaded", "level": "info"}
        case "screenshot":
            return {"label": "t0", "index": 0, "data": make_png()}
        case "site_type":
            return {"site_type": "shop", "confidence": 0.8}
        case "security_result":
            return {"module": "tls", "result": {"score": 0.9}}
        case "finding":
            return {"finding": make_finding()}
        case "stats_update":
            return {"stats": {"pages_scanned": 1, "elapsed_seconds": 5.0}}
        case "audit_result":
            return {"result": {"url": "https://example.com/", "trust_score": 50.0}}
        case "engine_result":
            score = {"final_score": 50.0, "risk_level": "suspicious"}
            decision = {"trust_score_result": score}
            return {"result": {"url": "https://example.com/", "judge_decision": decision}}
        case "audit_complete":
            return {"elapsed": 5.0}
        case "audit_error":
            return {"error": "the site cannot be reached"}
        case _:
            return {}


def make_finding(number: int = 1, **changes: Any) -> Data:
    """A finding as an engine reports it: a dict with the id `f` and `number`, then `changes`."""
    return {
        "id": f"f{number}",
        "category": "forced_continuity",
        "pattern_type": "hidden_cancel",
        "severity": "high",
        "confidence": 0.8,
        "description": "The cancel link is hidden",
        "plain_english": "It is hard to leave",
        **changes,
    }


def make_png(number: int = 200, size: int = 4) -> bytes:
    """A PNG image of `size` by `size` pixels; each `number` below 2**24 has its own colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    row = b"\0" + number.to_bytes(3, "big") * size
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(row * size))
        + chunk(b"IEND", b"")
    )
