"""Good output of an engine, and the ways to break it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from veritas_peewee.testing import make_event, make_finding

URL = "https://shop.example/"
NOISE = (
    "DeprecationWarning: old", "[INFO] ready", "Traceback (most recent call last):", "}", "{",
    '  File "engine.py", line 3, in run', '{"level": "info", "n": 1}', "]", '"text",',
    "\x1b[31mred",
    "12 %\r40 %\r100 %", "{'a': [1", "", "caf\xe9 \u2026 }}",
)  # fmt: skip
ODD: tuple[Any, ...] = (
    None,
    True,
    5,
    -1.5,
    "text",
    "",
    [],
    {},
    [1, "a"],
    {"a": 1},
    10**30,
    "9" * 30,
)
SIGNS = '\t\n\r\x0b\x1f\x00\u2028"\\{}[],:x5 '


def events() -> list[dict[str, Any]]:
    """The events of a whole audit."""
    findings = [make_finding(n, description=f"fee {n} \u2014 4,99 \u20ac") for n in range(1, 5)]
    result = {
        "url": URL, "status": "completed", "trust_score": 46.0, "risk_level": "suspicious",
        "signal_scores": {"visual": 53.0, "graph": 42.0}, "narrative": "It hides a fee.\n\nTwice.",
        "recommendations": ["Do not buy"], "overrides": [], "findings": findings,
        "security_results": {"tls": {"score": 0.9}}, "pages_scanned": 2, "errors": ["graph: slow"],
    }  # fmt: skip
    return [
        make_event("phase_start"),
        make_event("screenshot"),
        *[make_event("log_entry", message=f"page {n} {{is}} loaded") for n in range(6)],
        make_event("site_type"),
        make_event("security_result"),
        *[make_event("finding", finding=finding) for finding in findings],
        make_event("phase_error"),
        make_event("stats_update"),
        make_event("audit_result", result=result),
        make_event("audit_complete"),
    ]


def result() -> dict[str, Any]:
    """A result of the engine."""
    visits = [
        {"url": URL, "status": "SUCCESS", "screenshots": [f"/nowhere/{n}.png", "/nowhere/full.png"],
         "screenshot_labels": ["t0", "full"], "screenshot_timestamps": [1770000010.5, 1770000011],
         "page_metadata": {"language": "en", "forms": []}}
        for n in range(2)
    ]  # fmt: skip
    findings = [
        {"category": "sneaking", "sub_type": f"p{n}", "severity": "high", "confidence": 0.5,
         "evidence": f"fee {n}", "screenshot_path": "/nowhere/0.png"}
        for n in range(4)
    ]  # fmt: skip
    trust = {
        "final_score": 46, "risk_level": "suspicious",
        "sub_signals": {"visual": {"raw_score": 0.53}, "graph": {"raw_score": 0.5}},
    }  # fmt: skip
    return {
        "url": URL, "audit_tier": "quick_scan", "status": "completed", "scout_results": visits,
        "vision_result": {"visual_score": 0.5, "findings": findings},
        "graph_result": {"domain_intel": {"domain": "shop.example", "age_days": 11139}},
        "judge_decision": {"narrative": "It hides a fee.", "recommendations": ["Do not buy"],
                           "trust_score_result": trust},
        "investigated_urls": [URL], "start_time": 1770000000.25, "elapsed_seconds": 61.5,
        "errors": ["graph: no WHOIS"], "scout_failures": 0,
    }  # fmt: skip


PROGRESS = [
    '##PROGRESS:{"phase": "init", "step": "starting", "pct": 0, "detail": "Init"}',
    "loading models ... done in 3.1 s",
    '##PROGRESS:{"phase": "scout", "step": "done", "pct": 20, "detail": "Seen", "pages": 2}',
    "WARN  scout: {robots.txt} asks to wait",
    '##PROGRESS:{"phase": "graph", "step": "error", "pct": 70, "error": "graph: timed out"}',
]


def forms() -> dict[str, str]:
    """The three forms of good output, and ways to print them."""
    lines = [json.dumps(event) for event in events()]
    pretty = json.dumps(result(), indent=2)
    return {
        "events": "\n".join(lines) + "\n",
        "list": json.dumps(events()),
        "pretty list": json.dumps(events(), indent=2),
        "stdout": "\n".join([*PROGRESS, pretty]) + "\n",
        "result": pretty + "\n",
        "result on one line": json.dumps(result()) + "\n",
    }


class Broken(NamedTuple):
    """Output that was broken in one way."""

    form: str
    way: str
    text: str


Way = Callable[[str, random.Random], str]


def character(text: str, chance: random.Random) -> str:
    """One character lost, added, or another one."""
    at = chance.randrange(len(text))
    sign = chance.choice(SIGNS)
    return chance.choice([
        text[:at] + text[at + 1 :], text[:at] + sign + text[at:], text[:at] + sign + text[at + 1 :],
    ])  # fmt: skip


def line(text: str, chance: random.Random) -> str:
    """A line lost, told twice, cut, joined with the next one, or one of other text between."""
    lines = text.split("\n")
    at = chance.randrange(len(lines))
    what = chance.randrange(5)
    if what == 0:
        del lines[at]
    elif what == 1:
        lines.insert(at, lines[at])
    elif what == 2:
        lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)]
    elif what == 3 and at + 1 < len(lines):
        lines[at : at + 2] = [lines[at] + lines[at + 1]]
    else:
        lines.insert(at, chance.choice(NOISE))
    return "\n".join(lines)


def order(text: str, chance: random.Random) -> str:
    """Lines in another order."""
    lines = text.split("\n")
    first, second = sorted(chance.sample(range(len(lines)), 2)) if len(lines) > 1 else (0, 0)
    lines[first], lines[second] = lines[second], lines[first]
    return "\n".join(lines)


def end(text: str, chance: random.Random) -> str:
    """The end is missing, or the beginning."""
    at = chance.randrange(len(text))
    return text[:at] if chance.random() < 0.7 else text[at:]


def interleaved(text: str, chance: random.Random) -> str:
    """Another stream writes into this one, by lines or in the middle of them."""
    other = [json.dumps(make_event("log_entry", message=f"other {n}")) for n in range(5)]
    other += [PROGRESS[0], *NOISE[:2]]
    if chance.random() < 0.5:
        lines = text.split("\n")
        for one in other:
            lines.insert(chance.randrange(len(lines) + 1), one)
        return "\n".join(lines)
    at = chance.randrange(len(text))
    return text[:at] + chance.choice(other) + chance.choice(["", "\n"]) + text[at:]


TEXTS: tuple[Way, ...] = (character, character, line, line, order, end, interleaved)


def values(value: Any, chance: random.Random) -> tuple[Any, str]:
    """A copy of a JSON value with one part of another type or shape, and the path of that part."""
    changed = json.loads(json.dumps(value))
    holders = [(holder, path) for holder, path in _holders(changed, "") if holder]
    holder, path = chance.choice(holders)
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    key = chance.choice(keys)
    what = chance.randrange(4)
    if what == 0:
        del holder[key]
    elif what == 1:
        holder[key] = [holder[key]]
    elif what == 2:
        holder[key] = {"inner": holder[key]}
    else:
        holder[key] = chance.choice(ODD)
    return changed, f"{path}.{key}"


def _holders(value: Any, path: str) -> Iterator[tuple[Any, str]]:
    if isinstance(value, dict | list):
        yield value, path
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in inner:
            yield from _holders(item, f"{path}.{key}")


def broken(number: int, chance: random.Random) -> Broken:
    """The next way to break a good output."""
    names = list(forms())
    form = names[number % len(names)]
    if chance.random() < 0.3:
        whole = result() if "result" in form or form == "stdout" else events()
        changed, path = values(whole, chance)
        if isinstance(changed, list) and form == "events":
            text = "\n".join(json.dumps(one) for one in changed)
        else:
            text = json.dumps(changed, indent=chance.choice([None, 2]))
        return Broken(form, f"value {path}", text)
    way = chance.choice(TEXTS)
    return Broken(form, way.__name__, way(forms()[form], chance))
