"""A whole audit as the engine's runner sends it: 36 events, with every key that they really have.

A large site sends more log entries, findings and screenshots; the order and the shapes are these.
"""

from __future__ import annotations

import base64
import random
import struct
import zlib
from functools import cache

from benchmarks.sample import Row, finding

LENGTH = 36
"""How many events a transcript has."""
DIFFERENT = 20
"""How many transcripts differ; later audits send the same events again."""
TIER, MODE, SITE = "standard_audit", "expert", "ecommerce"

_LOGS = {
    "init": ("The audit begins",),
    "scout": (
        "Opening the page in a browser of a desktop's size",
        "GET https://shop.example/ → 200 in 412 ms",
        "12 links, 3 forms and 41 images found",
    ),
    "security": ("Headers, certificate and known lists are looked at",),
    "vision": ("Asking the model about t0 and t10", "4 dark patterns found in 2 screenshots"),
    "graph": ("Domain registered 412 days ago, certificate of the same owner",),
    "judge": ("Weighing 5 signals", "Trust score 61 of 100: suspicious"),
}
_SECURITY: dict[str, Row] = {
    "security_headers": {
        "score": 0.4,
        "present": ["strict-transport-security", "x-content-type-options"],
        "missing": ["content-security-policy", "referrer-policy", "permissions-policy"],
        "findings": [{"severity": "medium", "detail": "no content security policy"}],
    },
    "phishing_db": {"score": 1.0, "is_phishing": False, "sources": ["list one", "list two"]},
    "redirects": {"score": 0.8, "chain": ["https://shop.example/"], "hops": 1, "suspicious": False},
}
_FOUND = 4


def audited_url(number: int) -> str:
    return f"https://shop{number % DIFFERENT}.example/"


def transcript(number: int, owner: str) -> list[Row]:
    """The events of audit `number`, whose id is `owner`; do not change them."""
    *events, last = _transcript(number % DIFFERENT)
    return [*events, {**last, "audit_id": owner}]


def make_ready() -> None:
    """Make all transcripts, so that none is made while the clock runs."""
    for number in range(DIFFERENT):
        _transcript(number)


def log_entry(agent: str, message: str) -> Row:
    moment = "12:00:00"
    return {"type": "log_entry", "timestamp": moment, "agent": agent, "message": message,
            "level": "info"}  # fmt: skip


def security_result(module: str) -> Row:
    return {"type": "security_result", "module": module, "result": _SECURITY[module]}


def stats_update(pages: int, seconds: float) -> Row:
    stats = {"pages_scanned": pages, "screenshots": 2, "findings": _FOUND, "ai_calls": 4,
             "security_checks": len(_SECURITY), "elapsed_seconds": seconds}  # fmt: skip
    return {"type": "stats_update", "stats": stats}


def site_type(confidence: float = 0.92) -> Row:
    return {"type": "site_type", "site_type": SITE, "confidence": confidence}


MODULES = tuple(_SECURITY)


@cache
def _transcript(number: int) -> tuple[Row, ...]:
    findings = [finding(number * 10 + place) for place in range(_FOUND + 1)]
    within: dict[str, list[Row]] = {
        "scout": [
            site_type(),
            *(_screenshot(f"t{seconds}", place, number * 2 + place)
              for place, seconds in enumerate((0, 10))),
        ],
        "security": [security_result(module) for module in MODULES],
        # The judge reports one more, which is in the result only.
        "vision": [{"type": "finding", "finding": one} for one in findings[:_FOUND]],
    }  # fmt: skip
    events: list[Row] = []
    for place, (phase, messages) in enumerate(_LOGS.items()):
        begins, ends = place * 16, place * 16 + 15
        events.append(_phase("phase_start", phase, f"{phase} begins", begins))
        events += [log_entry(phase, message) for message in messages]
        events += within.get(phase, [])
        summary = {"seconds": 5.5, "notes": len(messages)}
        events.append(
            _phase("phase_complete", phase, f"{phase} is done", ends) | {"summary": summary}
        )
        if phase in ("vision", "graph"):
            events.append(stats_update(3, 5.5 * (place + 1)))
    events.append({"type": "audit_result", "result": _result(number, findings)})
    events.append({"type": "audit_complete", "elapsed": 33.2})
    assert len(events) == LENGTH, len(events)
    return tuple(events)


def _phase(kind: str, phase: str, message: str, percent: int) -> Row:
    return {"type": kind, "phase": phase, "message": message, "pct": percent,
            "label": phase.title()}  # fmt: skip


def _screenshot(label: str, index: int, number: int) -> Row:
    return {
        "type": "screenshot",
        "url": f"/srv/veritas/evidence/{number:08x}_{label}.png",
        "label": label,
        "index": index,
        "data": base64.b64encode(_page_image(number)).decode(),
    }


def _result(number: int, findings: list[Row]) -> Row:
    signals = {"visual": 53, "structural": 71, "temporal": 64, "graph": 80, "meta": 55,
               "security": 62}  # fmt: skip
    return {
        "url": audited_url(number),
        "status": "completed",
        "audit_tier": TIER,
        "verdict_mode": MODE,
        "trust_score": 40 + number,
        "risk_level": "suspicious",
        "signal_scores": signals,
        "overrides": [],
        "narrative": "**Verdict.** " + "The shop sells what it shows, but presses to buy now. " * 8,
        "recommendations": ["Look at the final price before paying.", "Decline the newsletter."],
        "findings": findings,
        "dark_pattern_summary": {"total": len(findings), "by_severity": {"high": 1, "low": 2}},
        "security_results": _SECURITY,
        "site_type": SITE,
        "site_type_confidence": 0.92,
        "domain_info": {"age_days": 412, "registrar": "Example Registrar", "ssl_issuer": "CA"},
        "pages_scanned": 3,
        "screenshots_count": 2,
        "elapsed_seconds": 33.0,
        "errors": [],
    }


def _page_image(number: int, width: int = 320, height: int = 200) -> bytes:
    """A PNG of about 14 kB: a flat page with a photograph in it, as far as compression goes."""
    dice = random.Random(number)
    page = bytes((240, 240, 235)) * width
    rows = []
    for line in range(height):
        row = page if not 60 <= line < 108 else dice.randbytes(96 * 3) + page[96 * 3 :]
        rows.append(b"\0" + row)

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
