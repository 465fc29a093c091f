"""The columns and findings that the parts of the engine's result become."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeGuard

from veritas_peewee.values.moments import engine_time
from veritas_peewee.values.plain import named, shown

TIMES = "epoch seconds or ISO 8601 text with a zone"


class ResultRows(NamedTuple):
    """What a result gives for an audit's rows, not yet checked."""

    columns: list[tuple[str, Any, str]]
    """(column, value, its path in the result)"""
    findings: list[tuple[dict[str, Any], str]]
    """(finding, its path in the result)"""
    notes: list[str]


def read_result(result: dict[str, Any]) -> ResultRows:
    """The columns and findings in a result of the engine, not yet checked."""
    notes: list[str] = []
    decision = _dict(result, "judge_decision", notes)
    trust = _dict(decision, "trust_score_result", notes, "judge_decision.")
    vision = _dict(result, "vision_result", notes)
    at = "judge_decision.trust_score_result"
    wanted = [(name, result.get(name), name) for name in _SAME_NAMES]
    wanted += [
        ("trust_score", trust.get("final_score"), f"{at}.final_score"),
        ("risk_level", trust.get("risk_level"), f"{at}.risk_level"),
        ("narrative", decision.get("narrative"), "judge_decision.narrative"),
    ]
    if trust.get("signal_scores") is not None:
        wanted.append(("signal_scores", trust["signal_scores"], f"{at}.signal_scores"))
    elif sub_signals := _dict(trust, "sub_signals", notes, f"{at}."):
        scores = {}
        for name, signal in sub_signals.items():
            raw = signal.get("raw_score") if isinstance(signal, dict) else signal
            scores[name] = round(raw * 100, 6) if _is_share(raw) else raw
            if signal and isinstance(signal, dict) and "raw_score" not in signal:
                notes.append(f"{at}.sub_signals.{named(name)}: has no raw_score")
        wanted.append(("signal_scores", scores, f"{at}.sub_signals"))
    notes += _visit_notes(result.get("scout_results"))
    for name in ("investigated_urls", "scout_results"):
        if not isinstance(result.get(name, []), list | None):
            notes.append(f"{name}: must be a list, got {shown(result[name])}")
    if isinstance(visited := result.get("investigated_urls"), list):
        wanted.append(("pages_scanned", len(visited), "investigated_urls"))
    started = engine_time(result.get("start_time"))
    if started is not None:
        wanted.append(("started_at", started, "start_time"))
        ended = _add_seconds(started, result.get("elapsed_seconds"))
        if ended is not None and str(result.get("status")).lower() == "completed":
            wanted.append(("completed_at", ended, "start_time"))
    elif result.get("start_time") is not None:
        notes.append(f"start_time: must be {TIMES}, got {shown(result['start_time'])}")
    findings = vision.get("findings")
    if findings is not None and not isinstance(findings, list):
        notes.append(f"vision_result.findings: must be a list, got {shown(findings)}")
        findings = None
    located = [
        (item, f"vision_result.findings[{number}]") for number, item in enumerate(findings or [])
    ]
    return ResultRows([entry for entry in wanted if entry[1] is not None], located, notes)


def _visit_notes(visits: object) -> Iterator[str]:
    """What in the visits is no visit, no list of screenshots, or belongs to no screenshot."""
    for number, visit in enumerate(visits if isinstance(visits, list) else ()):
        where = f"scout_results[{number}]"
        if not isinstance(visit, dict):
            yield f"{where}: must be an object, got {shown(visit)}"
            continue
        lists = {}
        for name in ("screenshots", "screenshot_labels", "screenshot_timestamps"):
            found = visit.get(name)
            if found is not None and not isinstance(found, list):
                yield f"{where}.{name}: must be a list, got {shown(found)}"
            lists[name] = found if isinstance(found, list) else []
        images, labels, times = lists.values()
        for position, label in enumerate(labels):
            if label is not None and not isinstance(label, str):
                yield f"{where}.screenshot_labels[{position}]: must be text, got {shown(label)}"
        for name, of_images in (("screenshot_labels", labels), ("screenshot_timestamps", times)):
            if len(of_images) > len(images):
                yield f"{where}.{name}: has {len(of_images)} for {len(images)} screenshots"


_SAME_NAMES = (
    "url",
    "status",
    "audit_tier",
    "verdict_mode",
    "elapsed_seconds",
    "errors",
    "security_results",
    "site_type",
    "site_type_confidence",
)


def _add_seconds(start: datetime, seconds: object) -> datetime | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
        return None
    try:
        return start + timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        return None


def _is_share(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and value <= 1


def _dict(parent: dict[str, Any], key: str, notes: list[str], at: str = "") -> dict[str, Any]:
    found = parent.get(key)
    if found is not None and not isinstance(found, dict):
        notes.append(f"{at}{key}: must be an object, got {shown(found)}")
    return found if isinstance(found, dict) else {}
