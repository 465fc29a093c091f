"""JSON text that is exactly what `encode_json` writes, recognised without its thorough checks."""

from __future__ import annotations

from typing import Any

from veritas_peewee.values.nesting import MAX_DEPTH, is_deeper
from veritas_peewee.values.plain import MAX_TEXT, compact_json, scan_json


def usual_json(text: str) -> Any:
    """The value of a text of JSON that is exactly what `encode_json` makes of it; None of others.

    For a list or an object alone: to decode and encode it once is all that is needed to know.
    """
    try:
        value, end = scan_json(text, 0)
        if end == len(text) and compact_json(value) == text and can_be_json(value, text):
            return value
    except (StopIteration, ValueError, RecursionError):
        pass
    return None


def can_be_json(value: object, text: str) -> bool:
    """Whether `encode_json` gives this text, which `compact_json` has made, of a value of strict
    JSON; UnicodeEncodeError if it has a lone surrogate."""
    if text.count("{") + text.count("[") > MAX_DEPTH and is_deeper(value, MAX_DEPTH):
        return False
    # Python writes NUL so; an escaped backslash before `u0000` is looked at by `encode_json`.
    return (
        "\\u0000" not in text and len(text) <= MAX_TEXT and (text.isascii() or bool(text.encode()))
    )
