"""JSON text as engines print it: control characters inside texts, numbers of any length."""

from __future__ import annotations

import json
import re
from typing import Any

from veritas_peewee.values.plain import shown

_MOST_DIGITS = 4300
"""Python makes no number of more digits (`sys.set_int_max_str_digits`)."""
_SPACE = re.compile(r"[ \t\r\n]*")


class Unreadable(ValueError):
    """A text that is not JSON; `reason` says why, and `position` where, counted from 0."""

    def __init__(self, reason: str, position: int) -> None:
        self.reason = reason
        self.position = position
        super().__init__(reason)

    @property
    def is_open(self) -> bool:
        """Whether a string in it has no end."""
        return self.reason.startswith("Unterminated string")


def decode(text: str, start: int = 0, *, long_numbers: list[str] | None = None) -> tuple[Any, int]:
    """The JSON value that begins at `start`, and the position after it and the space behind it.

    A number of too many digits is given as its text, which is added to `long_numbers`. Raises
    Unreadable.
    """
    start = _end_of_space(text, start)
    try:
        try:
            value, end = _decoder.raw_decode(text, start)
        except json.JSONDecodeError:
            raise
        except ValueError:
            value, end = _with_long_numbers(long_numbers).raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise Unreadable(error.msg, error.pos) from None
    except RecursionError:
        raise Unreadable("it is nested too deeply", start) from None
    return value, _end_of_space(text, end)


def decode_whole(text: str, long_numbers: list[str] | None = None) -> Any:
    """The JSON value that a text is; raises Unreadable, also if more follows it."""
    value, end = decode(text, long_numbers=long_numbers)
    if end < len(text):
        raise Unreadable("Extra data", end)
    return value


def _end_of_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


# Made once: `json.loads` with options makes a decoder for each call.
_decoder = json.JSONDecoder(strict=False)


def _with_long_numbers(found: list[str] | None) -> json.JSONDecoder:
    def whole_number(text: str) -> int | str:
        if len(text) <= _MOST_DIGITS:
            return int(text)
        if found is not None:
            found.append(text)
        return text

    return json.JSONDecoder(strict=False, parse_int=whole_number)


def excerpt(text: str, position: int = 0) -> str:
    """The part of a text around a position, for a note about it."""
    return shown(text[max(0, position - 20) : position + 40].strip())
