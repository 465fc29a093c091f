"""What can still be read of JSON that is damaged, and what cannot, by line.

Nothing is guessed. Of a value that is printed with indentation each line belongs to the member
under which it is indented, so a stray line, or a damaged one, costs itself alone. A list on one
line has elements, and a result on one line members, that begin where a damaged one cannot hide it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from veritas_peewee.recording.forms import RESULT_KEYS
from veritas_peewee.recording.json_text import Unreadable, decode, decode_whole, excerpt
from veritas_peewee.values.plain import MAX_DEPTH

_KEY = re.compile(r'\s*("(?:[^"\\]|\\.)*+")\s*:\s*')
_VALUE = re.compile(r'\s*(?:[\[{"]|-?\d|true\b|false\b|null\b)')
_OPENING = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*+")\s*:\s*)?([\[{])\s*')
_MEMBER = re.compile(rf',\s*(?="(?:{"|".join(RESULT_KEYS)}|pending_urls)"\s*:)')
_ELEMENT = re.compile(r',\s*(?=\{\s*"type"\s*:)')


class Part(NamedTuple):
    """A part that could not be read."""

    line: int
    """Counted from 0, the line in which the damaged value begins."""
    reason: str


def salvage(lines: list[str]) -> tuple[Any, list[Part]]:
    """The value that begins on the first of these lines, as far as it can be read, and what cannot.

    The value is None if nothing can.
    """
    if len(lines) > 1:
        if lines[0].strip() in ("{", "["):
            lost: list[Part] = []
            return _block(lines, 1, len(lines) - 1, lines[0].strip(), lost), lost
        return None, []
    text = lines[0]
    return _members(text) if text.startswith("{") else _elements(text)


def reason_of(error: Unreadable, held: list[str], lines: list[int]) -> str:
    """Why a value that begins on the first of these lines is not JSON, and where."""
    before = "\n".join(held)[: error.position]
    at = before.count("\n")
    column = error.position - (before.rfind("\n") + 1) + 1
    where = f"column {column}" if not at else f"line {lines[min(at, len(lines) - 1)]}"
    return f"JSON that cannot be read ({where}: {error.reason})"


def began_anew(lines: list[str]) -> int:
    """At which of these lines a value begins that is not a part of the one that begins on the first
    line, because it has members of the same names; 0 if there is none."""
    start = next((n for n in range(len(lines) - 1, 0, -1) if lines[n].rstrip() == "{"), 0)
    if not start:
        return 0
    before, after = salvage([*lines[:start], "}"])[0], salvage(lines[start:])[0]
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() & after.keys():
        return start
    return 0


# ---- printed with indentation ----


def _block(
    lines: list[str], start: int, end: int, bracket: str, lost: list[Part], depth: int = 0
) -> dict[str, Any] | list[Any]:
    """The object or list between two lines with its brackets; what is lost of it goes to `lost`."""
    members: dict[str, Any] = {}
    elements: list[Any] = []
    margin = _margin(lines, start, end, bracket)
    for first, last in _chunks(lines, start, end, bracket, margin):
        if _indent(lines[first]) != margin:
            lost += [_stray(lines, number) for number in range(first, last)]
            continue
        try:
            found = _read(lines, first, last, bracket)
        except Unreadable as error:
            found = _readable(lines, first, last, bracket, error, lost, depth)
        if isinstance(found, dict):
            members.update(found)
        else:
            elements += found
    return members if bracket == "{" else elements


def _read(lines: list[str], first: int, last: int, bracket: str) -> dict[str, Any] | list[Any]:
    """The members or the element on these lines, in an object or list of their own."""
    text = "\n".join(lines[first:last]).strip().rstrip(",")
    if bracket == "[":
        return [decode_whole(text)]
    if not _KEY.match(text):
        raise Unreadable("Expecting property name enclosed in double quotes", 0)
    found = decode_whole("{" + text + "}")
    return found if isinstance(found, dict) else {}


def _readable(
    lines: list[str],
    first: int,
    last: int,
    bracket: str,
    error: Unreadable,
    lost: list[Part],
    depth: int,
) -> dict[str, Any] | list[Any]:
    """What can be read of a member or element that is damaged, in an object or list of its own."""
    opening = _OPENING.fullmatch(lines[first])
    key = _key_in(opening[1]) if opening is not None else None
    if (
        opening is not None
        and key is not None
        and bool(opening[1]) == (bracket == "{")
        and depth < MAX_DEPTH
    ):
        is_closed = last - first > 1 and lines[last - 1].strip().rstrip(",") in ("}", "]")
        if not is_closed:
            lost.append(Part(first, "what begins here has no end of its own"))
        inner = _block(lines, first + 1, last - is_closed, opening[2], lost, depth + 1)
        return {key: inner} if opening[1] else [inner]
    if last - first > 1:
        # The lines that follow it do not belong to it, if it can be read without them.
        try:
            found = _read(lines, first, first + 1, bracket)
        except Unreadable:
            pass
        else:
            lost += [_stray(lines, number) for number in range(first + 1, last)]
            return found
    text = "\n".join(lines[first:last]).strip()
    more = f", nor the {last - first - 1} lines below it" if last - first > 1 else ""
    where = excerpt(text, max(0, error.position - (bracket == "{")))
    lost.append(Part(first, f"cannot be read{more} ({error.reason}): {where}"))
    return {} if bracket == "{" else []


def _key_in(text: str | None) -> str | None:
    """The key that is written so; "" for none, None if it cannot be read."""
    try:
        return str(decode_whole(text)) if text else ""
    except Unreadable:
        return None


def _stray(lines: list[str], number: int) -> Part:
    return Part(number, f"does not belong to the JSON around it: {excerpt(lines[number])}")


def _chunks(
    lines: list[str], start: int, end: int, bracket: str, margin: int
) -> Iterator[tuple[int, int]]:
    """The lines of each member or element: from the one where it begins to before the next one.

    Lines that are none, and do not lie within one, are chunks of their own.
    """
    first, is_open, is_done = start, False, False
    for number in range(start, end):
        line = lines[number]
        if not line.strip() and number != first:
            continue
        at_margin = _indent(line) == margin
        if number != first:
            if is_open and at_margin and line.strip()[0] in "}]":
                is_open, is_done = False, True
                continue
            if is_open:
                is_next = at_margin and _begins(line, bracket)
            else:
                is_next = is_done or _indent(line) <= margin or _indent(lines[first]) != margin
            if not is_next:
                continue
            yield first, number
        first, is_done = number, False
        is_open = at_margin and _OPENING.fullmatch(line) is not None
    if first < end:
        yield first, end


def _begins(line: str, bracket: str) -> bool:
    """Whether a member of an object, or an element of a list, can begin with this line."""
    return (_KEY if bracket == "{" else _VALUE).match(line) is not None


def _margin(lines: list[str], start: int, end: int, bracket: str) -> int:
    """The indentation of a block's members: the least of any line inside that can be one."""
    outer = _indent(lines[start - 1])
    indents = (_indent(line) for line in lines[start:end] if _begins(line, bracket))
    return min((indent for indent in indents if indent > outer), default=outer + 1)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))


# ---- on one line ----


def _elements(text: str) -> tuple[Any, list[Part]]:
    """The elements of a list on one line that are events or can be read before the first damage."""
    found: list[Any] = []
    lost: list[Part] = []
    position = 1
    while position < len(text):
        try:
            value, after = decode(text, position)
            if text[after : after + 1] not in (",", "]"):
                raise Unreadable("Expecting ',' delimiter", after)
        except Unreadable as error:
            lost.append(_lost_at(text, error, f"element {len(found) + len(lost)}"))
            resumed = _ELEMENT.search(text, position)
            if resumed is None:
                break
            position = resumed.end()
            continue
        found.append(value)
        if text[after] == "]":
            break
        position = after + 1
    return found or None, lost


def _members(text: str) -> tuple[Any, list[Part]]:
    """The members of a result on one line; after a damaged one, from the next distinctive key."""
    found: dict[str, Any] = {}
    lost: list[Part] = []
    position = 1
    while True:
        key = _KEY.match(text, position)
        start = key.end() if key else position
        try:
            if key is None:
                raise Unreadable("Expecting property name enclosed in double quotes", position)
            value, after = decode(text, start)
            if text[after : after + 1] not in (",", "}"):
                raise Unreadable("Expecting ',' delimiter", after)
            found[decode_whole(key[1])] = value
        except Unreadable as error:
            name = key[1][1:50] if key else "a member"
            lost.append(_lost_at(text, error, name))
            resumed = _MEMBER.search(text, start)
            if resumed is None:
                break
            position = resumed.end()
            continue
        if text[after] == "}":
            break
        position = after + 1
    return (found if RESULT_KEYS & found.keys() else None), lost


def _lost_at(text: str, error: Unreadable, name: str) -> Part:
    at = f"column {error.position + 1}"
    return Part(0, f"{at}: {name} cannot be read ({error.reason}): {excerpt(text, error.position)}")
