"""A line of output: where the brackets in it lead, and which event it has in it."""

from __future__ import annotations

import re

from veritas_peewee.recording import forms
from veritas_peewee.recording.forms import Event
from veritas_peewee.recording.json_text import Unreadable, decode, decode_whole

PROGRESS = "##PROGRESS:"
EVENT = '{"type"'
# A text without a closing quote is one token too. Otherwise the search for its end would begin
# again at each quote inside, and take time with the square of its length.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[{}\[\]]')
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*+"')


def measured(line: str) -> tuple[int, bool]:
    """How many more brackets a line opens than it closes, and whether it ends inside a text."""
    tokens = _TOKEN.findall(line)
    opened = sum((token in "{[") - (token in "}]") for token in tokens)
    is_text = bool(tokens) and tokens[-1][0] == '"'
    return opened, is_text and _TEXT.fullmatch(tokens[-1]) is None


def is_event(text: str) -> bool:
    try:
        return forms.is_event(decode_whole(text))
    except Unreadable:
        return False


def progress_in(text: str) -> tuple[str, Event, str] | None:
    """What is before the progress line in a text, its event, and what follows it."""
    before, _, line = text.partition(PROGRESS)
    try:
        found, end = decode(line)
    except Unreadable:
        return None
    if not isinstance(found, dict) or (before.strip() and not found.keys() & {"phase", "step"}):
        return None
    rest = line[end:]
    if rest[:1] and rest[0] in ',:}]"':
        return None
    return before, forms.progress_event(found), rest


def event_in(text: str, is_inside: bool) -> tuple[str, Event, str] | None:
    """The event at the end of a line, and what is before it, where valid JSON has no value."""
    at = text.find(EVENT, 1)
    before = text[:at].rstrip()
    if not before or not (is_inside or before.startswith(("{", "["))):
        return None
    try:
        found, end = decode(text, at)
    except Unreadable:
        return None
    if end < len(text) or not forms.is_event(found):
        return None
    if before[-1] in "[:," and not measured(before)[1]:
        return None
    return text[:at], found, ""


def ends_of(lines: list[str]) -> list[int | None]:
    """For each line, where a value that begins on it would end; None if it never does."""
    depths = [0]
    for line in lines:
        depths.append(depths[-1] + measured(line)[0])
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
