"""The output of VERITAS's engine and backend, in any of its three forms, as a list of events.

Form 1 is the backend's events, one JSON object each. Form 2 is the engine's standard output:
`##PROGRESS:` lines among other text, then a result. Form 3 is that result by itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import PureWindowsPath
from typing import Any

from veritas_peewee.errors import InvalidAudit
from veritas_peewee.values.plain import MAX_DEPTH, EndlessJSON

Event = dict[str, Any]

PROGRESS = "##PROGRESS:"
# A text without a closing quote is one token too. Otherwise the search for its end would begin
# again at each quote inside, and take time with the square of its length.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[{}\[\]]')
RESULT_EVENT, IMAGE_EVENT = "engine_result", "screenshot"
"""The types of the events into which a result is made."""
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
            # A progress line is never inside JSON: a value begun before it has been cut off.
            self._pass_over()
            yield from self._progress(text.lstrip()[len(PROGRESS) :])
        elif not self._object:
            # Only a line that is not indented can begin a value: the inner values of one that was
            # cut off must not be mistaken for a result.
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
        """The events that come after other text which only looked like the beginning of JSON.

        Raises InvalidAudit if the output ended in the middle of a JSON value.
        """
        begun, held = self._begun, self._object
        self._object = []
        events: list[Event] = []
        endless = begun if held else 0  # the line of an unfinished value, until events follow it
        position, ends = 1, _ends(held)
        while position < len(held):
            end = ends[position]
            if not held[position].startswith(("{", "[")):
                position += 1
            elif end is None:
                endless = begun + position
                position += 1
            else:
                rest = OutputParser()
                rest._line = begun + position - 1
                found = [event for line in held[position : end + 1] for event in rest.feed(line)]
                if found and endless:
                    self.notes.append(f"line {endless}: JSON that never ends was passed over")
                    endless = 0
                events += found
                self.notes += rest.notes
                endless = rest._begun if rest._object else endless
                position = end + 1
        if endless:
            raise InvalidAudit(
                f"line {endless}: the JSON object that begins here is cut off or damaged"
            )
        return events


def _ends(lines: list[str]) -> list[int | None]:
    """For each line, where a value that begins on it would end; None if it never does."""
    depths = [0]
    for line in lines:
        tokens = _TOKEN.findall(line)
        depths.append(depths[-1] + sum((t in "{[") - (t in "}]") for t in tokens))
    ends: list[int | None] = [None] * len(lines)
    # Later positions, the nearest last: between here and each of them no depth is smaller.
    later: list[int] = []
    for position in range(len(lines), -1, -1):
        while later and depths[later[-1]] > depths[position]:
            later.pop()
        if later:
            ends[position] = later[-1] - 1
        later.append(position)
    return ends


def _is_event(text: str) -> bool:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and isinstance(found.get("type"), str)


def parse(data: bytes | str) -> tuple[list[Event], list[str]]:
    """All events of a whole file in any form, and notes on the parts that had to be passed over.

    Raises InvalidAudit if the file holds no event, or JSON that is cut off.
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
    """The events in one JSON value: an event, a result, or a list of them.

    Raises EndlessJSON for lists that are nested too deeply.
    """
    left = [(found, 0)]
    while left:
        item, depth = left.pop()
        if isinstance(item, list):
            if depth >= MAX_DEPTH:
                raise EndlessJSON("lists of events nested too deeply, or within themselves")
            left.extend((inner, depth + 1) for inner in reversed(item))
        elif isinstance(item, dict):
            if isinstance(item.get("type"), str):
                yield item
            elif _RESULT_KEYS & item.keys() or {"url", "status"} <= item.keys():
                yield from result_events(item)


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
