"""Pages of a long list, and the cursors with which the next page continues."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from veritas_peewee.values.plain import check_text, invalid, plain_number

T = TypeVar("T")

MAX_LIMIT = 1000
"""The most items a page can have."""
_LONGEST_CURSOR = 65536


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, and the cursor that continues after them (None: these were the last)."""

    items: list[T]
    next_cursor: str | None


def check_limit(limit: object) -> int:
    """`limit`, if it is a whole number from 1 to MAX_LIMIT; else raises InvalidAudit."""
    number = plain_number(limit)
    if not isinstance(number, int) or not 1 <= number <= MAX_LIMIT:
        raise invalid("limit", f"must be a whole number from 1 to {MAX_LIMIT}", limit)
    return number


def write_cursor(position: list[Any]) -> str:
    """A position as text that is safe in URLs; a long one is compressed."""
    text = json.dumps(position, separators=(",", ":")).encode()
    if len(text) > 200:
        text = zlib.compress(text, 9)
    return base64.urlsafe_b64encode(text).decode()


def read_cursor(cursor: str, caller: str) -> list[Any]:
    """The position in a cursor; raises InvalidAudit if it cannot be a cursor of `caller`."""
    try:
        data = base64.urlsafe_b64decode(check_text("cursor", cursor))
        if not data.startswith(b"["):
            data = zlib.decompressobj().decompress(data, _LONGEST_CURSOR)
        position = json.loads(data)
        if isinstance(position, list):
            return position
    except (ValueError, TypeError, RecursionError, zlib.error):
        pass
    raise bad_cursor(cursor, caller) from None


def bad_cursor(cursor: str, caller: str) -> Exception:
    return invalid("cursor", f"is not one that {caller}() returned", cursor)
