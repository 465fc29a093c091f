"""What VERITAS's engine and backend print, in any of its three forms, as a list of events.

Form 1 is the backend's events, one JSON object each. Form 2 is the engine's standard output:
`##PROGRESS:` lines among other text, then a result. Form 3 is that result by itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import PureWindowsPath
from typing import Any, NamedTuple, TypeGuard

from veritas_peewee.errors import InvalidAudit

Event = dict[str, Any]

PROGRESS = "##PROGRESS:"
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]')
RESULT_EVENT = "engine_result"
_RESULT_KEYS = frozenset(
    {"judge_decision", "scout_results", "vision_result", "investigated_urls", "graph_result"}
)


class OutputParser:
    """Turns lines of any form into events as they arrive; call `finish()` after the last one."""

    def __init__(self) -> None:
        self._line = 0
        self._begun = 0
        self._depth = 0
        self._object: list[str] = []
        self.notes: list[str] = []

    def feed(self, line: str) -> Iterator[Event]:
        """The events that `line` completes."""
        self._line += 1
        for part in line.split("\r"):  # progress bars overwrite their line
            yield from self._feed(part.lstrip("\ufeff").rstrip())

    def _feed(self, text: str) -> Iterator[Event]:
        if text.lstrip().startswith(PROGRESS):
            # Progress never stands inside JSON text: what was begun has been cut off.
            self._pass_over()
            yield from self._progress(text.lstrip()[len(PROGRESS) :])
        elif not self._object:
            # Only a line that is not indented can begin a value: inner ones of a value that was
            # cut off must not be taken for a result.
            if text.startswith(("{", "[")):
                self._begun, self._depth = self._line, 0
                yield from self._add(text)
        elif text.startswith('{"') and self._object[0].startswith("{") and _is_event(text):
            self._pass_over()
            yield from self._feed(text)
        else:
            yield from self._add(text)

    def _add(self, text: str) -> Iterator[Event]:
        self._object.append(text)
        for token in _TOKEN.findall(text):
            self._depth += (token in "{[") - (token in "}]")
        if self._depth > 0:
            return
        whole = "\n".join(self._object)
        self._object = []
        try:
            found = json.loads(whole)
        except (ValueError, RecursionError):
            return  # a line of other text that begins with a bracket
        yield from events_of(found)

    def _pass_over(self) -> None:
        if self._object:
            self.notes.append(f"line {self._begun}: JSON that never ends was passed over")
            self._object = []

    def _progress(self, text: str) -> Iterator[Event]:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            yield progress_event(found)
        else:
            self.notes.append(
                f"line {self._line}: a progress line that is not JSON was passed over"
            )

    def finish(self) -> list[Event]:
        """The events behind other text that only looked like JSON.

        Raises InvalidAudit if the text ended in the middle of a JSON object.
        """
        begun, held = self._begun, self._object
        for number, line in enumerate(held[1:], 1):
            if line.startswith(("{", "[")):
                rest = OutputParser()
                rest._line = begun + number - 1
                events = [event for later in held[number:] for event in rest.feed(later)]
                events += rest.finish()
                if events:
                    self._pass_over()
                    self.notes += rest.notes
                    return events
                break
        if held:
            raise InvalidAudit(
                f"line {begun}: the JSON object that begins here is cut off or damaged"
            )
        return []


def _is_event(text: str) -> bool:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and isinstance(found.get("type"), str)


def parse(data: bytes | str) -> tuple[list[Event], list[str]]:
    """All events of a whole file of any form, and notes on what had to be passed over.

    Raises InvalidAudit if it holds none, or JSON that is cut off.
    """
    notes: list[str] = []
    if isinstance(data, bytes):
        encoding = json.detect_encoding(data)
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            text = data.decode(encoding, errors="replace")
            notes.append("bytes that are not valid text were replaced by U+FFFD")
    else:
        text = data
    try:
        whole = json.loads(text.lstrip("\ufeff"))
    except RecursionError:
        raise InvalidAudit("the JSON is nested too deeply") from None
    except ValueError:
        parser = OutputParser()
        events = [event for line in text.split("\n") for event in parser.feed(line)]
        events += parser.finish()
        notes += parser.notes
    else:
        events = list(events_of(whole))
    if not events:
        raise InvalidAudit("there is no audit in it: no event, progress line or result was found")
    return events, notes


def events_of(found: object) -> Iterator[Event]:
    """The events in one JSON value: an event, a result, or a list of them."""
    left = [found]
    while left:
        item = left.pop()
        if isinstance(item, list):
            left.extend(reversed(item))
        elif isinstance(item, dict):
            if isinstance(item.get("type"), str):
                yield item
            elif _RESULT_KEYS & item.keys() or {"url", "status"} <= item.keys():
                yield from result_events(item)


def progress_event(line: dict[str, Any]) -> Event:
    """A `##PROGRESS:` line as an event of form 1."""
    extra = {k: v for k, v in line.items() if k not in ("phase", "step", "pct", "detail")}
    step = line.get("step")
    kind = "progress"  # a marker: a step that is unknown, or the start of another iteration
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
    """A result as events: a `screenshot` for each image, then the result itself, verbatim."""
    index = 0
    for visit in _dicts(result.get("scout_results")):
        labels = _list(visit.get("screenshot_labels"))
        times = _list(visit.get("screenshot_timestamps"))
        for position, path in enumerate(_list(visit.get("screenshots"))):
            label = labels[position] if position < len(labels) else None
            if not isinstance(label, str) or not label:
                label = PureWindowsPath(path).stem if isinstance(path, str) else ""
            event: Event = {
                "type": "screenshot",
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


class ResultRows(NamedTuple):
    """What a result says of the rows, not yet checked: (column, value, where it stands)."""

    columns: list[tuple[str, Any, str]]
    findings: list[tuple[dict[str, Any], str]]
    notes: list[str]


def read_result(result: dict[str, Any]) -> ResultRows:
    """Where the parts of a result go in the rows."""
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
    elif isinstance(trust.get("sub_signals"), dict):
        scores = {}
        for name, signal in trust["sub_signals"].items():
            raw = signal.get("raw_score") if isinstance(signal, dict) else signal
            scores[name] = round(raw * 100, 6) if _is_share(raw) else raw
        wanted.append(("signal_scores", scores, f"{at}.sub_signals"))
    for name in ("investigated_urls", "scout_results"):
        if not isinstance(result.get(name, []), list | None):
            notes.append(f"{name}: must be a list, got {result[name]!r:.60}")
    if isinstance(visited := result.get("investigated_urls"), list):
        wanted.append(("pages_scanned", len(visited), "investigated_urls"))
    started = epoch(result.get("start_time"))
    if started is not None:
        wanted.append(("started_at", started, "start_time"))
        ended = _add_seconds(started, result.get("elapsed_seconds"))
        if ended is not None and str(result.get("status")).lower() == "completed":
            wanted.append(("completed_at", ended, "start_time"))
    elif result.get("start_time") is not None:
        notes.append(f"start_time: must be epoch seconds, got {result['start_time']!r:.60}")
    findings = vision.get("findings")
    if findings is not None and not isinstance(findings, list):
        notes.append(f"vision_result.findings: must be a list, got {findings!r:.60}")
    told = [
        (item, f"vision_result.findings[{number}]") for number, item in enumerate(_list(findings))
    ]
    return ResultRows([entry for entry in wanted if entry[1] is not None], told, notes)


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


def epoch(value: object) -> datetime | None:
    """Epoch seconds as a datetime in UTC, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _add_seconds(start: datetime, seconds: object) -> datetime | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
        return None
    try:
        return start + timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        return None


def _is_share(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and value <= 1


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in _list(value) if isinstance(item, dict)]


def _dict(parent: dict[str, Any], key: str, notes: list[str], at: str = "") -> dict[str, Any]:
    found = parent.get(key)
    if found is not None and not isinstance(found, dict):
        notes.append(f"{at}{key}: must be an object, got {found!r:.60}")
    return found if isinstance(found, dict) else {}
