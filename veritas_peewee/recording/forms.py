"""JSON values of the engine and the backend, in any of their three forms, as events.

What is in the place of an event and is none becomes an event of the type `unknown`, which keeps it
and has a note about it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PureWindowsPath
from typing import Any, cast

from veritas_peewee.values.details import ENGINE_RESULT
from veritas_peewee.values.plain import MAX_DEPTH, EndlessJSON, shown

Event = dict[str, Any]

RESULT_EVENT, IMAGE_EVENT = ENGINE_RESULT, "screenshot"
"""The types of the events into which a result is made."""
UNKNOWN_EVENT = "unknown"
"""The type of an event whose own type cannot be read."""
NOTES_EVENT = "output_notes"
"""The type of an event that only has notes, on the end of an output."""
NOTES = "store_notes"
"""The key under which a stored event lists what could not be read, or not be stored as it came."""
RESULT_KEYS = frozenset(
    {"judge_decision", "scout_results", "vision_result", "investigated_urls", "graph_result"}
)
_OUR_KEYS = RESULT_KEYS | {"type", "finding", "stats", "audit_id", "trust_score", "verdict_mode"}
_TYPES = (
    "log_entry|phase_start|phase_complete|phase_error|screenshot|site_type|security_result"
    "|finding|stats_update|audit_result|audit_complete|audit_error"
)
_IS_TYPE = re.compile(_TYPES).fullmatch
_BEGINS_AS_EVENT = re.compile(r"\W{0,5}type\W").match
_HAS_OUR_NAMES = re.compile(
    rf"""["'](?:type|phase|{"|".join(RESULT_KEYS)}|{_TYPES})\\?["']"""
).search
_BEGINS_LIKE_JSON = re.compile(r'[\[{][\s\[{]*"').match
_HAS_TYPE = re.compile(rf'"type"\s*:\s*"(?:{_TYPES})"').search


def begins_like_ours(text: str) -> bool:
    """Whether a text that begins with a bracket, and is not JSON, was to be an event or result."""
    return bool(_BEGINS_LIKE_JSON(text) or _BEGINS_AS_EVENT(text) or _HAS_OUR_NAMES(text))


def looks_like_event(line: str) -> bool:
    """Whether a line that does not begin with a bracket has an event in it."""
    return bool(_BEGINS_AS_EVENT(line) or _HAS_TYPE(line) or _is_progress(line))


def _is_progress(line: str) -> bool:
    name, bracket, rest = line.partition("{")
    is_named = bool(bracket) and "PROG" in name.upper()
    return is_named or ('"phase"' in rest and '"step"' in rest)


def is_event(value: object) -> bool:
    """Whether a JSON value is an event: an object whose `type` is text."""
    return isinstance(value, dict) and isinstance(value.get("type"), str)


def events_of(found: object, where: str = "") -> Iterator[Event]:
    """The events in one JSON value: an event, a result, or a list of them.

    `where` begins the notes on elements of a list that are neither. Raises EndlessJSON for lists
    that are nested too deeply.
    """
    items = [(found, "")] if isinstance(found, dict) else list(_items(found))
    among_ours: bool | None = None
    for item, path in items:
        if is_event(item) and not ("status" in item and _is_result(item)):
            yield item
            continue
        if _is_result(item):
            yield from result_events(item)
            continue
        if among_ours is None:
            among_ours = any(is_event(one) or _is_result(one) for one, _ in items)
        if (path and among_ours) or _has_our_keys(item):
            yield unreadable_event(item, f"{where}{path}" or "the JSON")


def _items(found: object) -> Iterator[tuple[Any, str]]:
    """The values in lists within one another, each with its path; of no list the value itself."""
    left: list[tuple[Any, str, int]] = [(found, "", 0)]
    while left:
        item, path, depth = left.pop()
        if not isinstance(item, list):
            yield item, path
            continue
        if depth >= MAX_DEPTH:
            raise EndlessJSON("lists of events nested too deeply, or within themselves")
        inner = [(one, f"{path}[{number}]", depth + 1) for number, one in enumerate(item)]
        left.extend(reversed(inner))


def _is_result(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    with_url = {"url", "status"} <= value.keys()
    if is_event(value):  # a newer event may well have a key of a result
        return with_url and bool(RESULT_KEYS & value.keys())
    return with_url or bool(RESULT_KEYS & value.keys())


def _has_our_keys(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    keys = {key.strip().lower() for key in value if isinstance(key, str)}
    if keys & _OUR_KEYS or {"phase", "step"} <= keys:
        return True
    return any(isinstance(item, str) and _IS_TYPE(item) for item in value.values())


def unreadable_event(item: object, where: str) -> Event:
    """What is in the place of an event and is none, as an event with a note about it."""
    if not issubclass(type(item), dict):
        note = f"{where}: must be an event, a JSON object with a type, got {shown(item)}"
        return {"type": UNKNOWN_EVENT, "value": item, NOTES: [note]}
    found = cast(Event, item)
    if "type" in found:
        note = f"{where}: is not an event: its type must be text, got {shown(found['type'])}"
    else:
        note = f"{where}: is not an event: it has no type, only {shown(', '.join(found))}"
    return {**found, "type": UNKNOWN_EVENT, NOTES: [note]}


def with_notes(event: Event, notes: list[str]) -> Event:
    """An event with these notes after those that it has."""
    if not notes:
        return event
    there = event.get(NOTES)
    return {**event, NOTES: [*there, *notes] if isinstance(there, list) else notes}


def progress_event(line: dict[str, Any]) -> Event:
    """A `##PROGRESS:` line as an event of form 1."""
    extra = {k: v for k, v in line.items() if k not in ("phase", "step", "pct", "detail")}
    step = line.get("step")
    kind = "progress"  # a marker: an unknown step, or the start of another iteration
    if step in ("done", "error"):
        kind = "phase_complete" if step == "done" else "phase_error"
    elif isinstance(step, str) and (
        step.endswith("ing") or (step == "start" and line.get("phase") != "iteration")
    ):
        kind = "phase_start"
    event: Event = {
        "type": kind,
        "phase": line.get("phase"),
        "step": step,
        "message": line.get("detail", ""),
        "pct": line.get("pct"),
    }
    if kind == "phase_error":
        event["error"] = extra.pop("error", None) or line.get("detail") or "unknown error"
    if extra:
        event["summary"] = extra
    return event


def result_events(result: dict[str, Any]) -> Iterator[Event]:
    """A result as events: a `screenshot` for each image, then the result itself, verbatim.

    Visits and lists of another shape have none; `result.read_result` notes them.
    """
    index = 0
    for visit in _dicts(result.get("scout_results")):
        labels = _list(visit.get("screenshot_labels"))
        times = _list(visit.get("screenshot_timestamps"))
        for position, path in enumerate(_list(visit.get("screenshots"))):
            label = labels[position] if position < len(labels) else None
            if not isinstance(label, str) or not label:
                label = PureWindowsPath(path).stem if isinstance(path, str) else ""
            event: Event = {
                "type": IMAGE_EVENT,
                "url": path,
                "label": label or f"screenshot {index}",
                "index": index,
                "data": None,
            }
            if position < len(times):
                event["taken_at"] = times[position]
            yield event
            index += 1
    yield {"type": RESULT_EVENT, "result": result}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in _list(value) if isinstance(item, dict)]
