"""Field types that refuse what cannot be stored: one rule for every way in.

`check(value)` is the full test of a value for a column and returns it in its stored type;
`db_value`, which Peewee also applies to what a query compares with, leaves out the ranges.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import peewee
from peewee import Node, SqliteDatabase

from veritas_peewee.errors import InvalidAudit

_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_MAX_INTEGER = 2**63 - 1
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class EndlessJSON(InvalidAudit):
    """A value that is nested too deeply, or contains itself: it cannot be walked through."""


def invalid(name: str, reason: str, value: object) -> InvalidAudit:
    """An error that names the field and shows the value, shortened."""
    return InvalidAudit(f"{name}: {reason}, got {shown(value)}")


_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 70


def shown(value: object) -> str:
    """`value` for an error's text: short, whatever its size, and plain ASCII."""
    return _short.repr(value).encode("ascii", "backslashreplace").decode()[:80]


def check_text(name: str, value: object, max_length: int | None = None) -> str:
    """`value` if it is text that every database can hold; InvalidAudit if not."""
    if not isinstance(value, str):
        raise invalid(name, "must be text", value)
    # Nearly all text is plain, which is told for nothing.
    if ("\0" in value or not value.isascii()) and _UNSTORABLE.search(value):
        kind = "a lone surrogate" if _SURROGATE.search(value) else "a NUL character"
        raise invalid(name, f"holds {kind}, which cannot be stored", value)
    if max_length is not None and len(value) > max_length:
        raise invalid(name, f"must be at most {max_length} characters", value)
    return value


def unstorable(value: object, name: str) -> Iterator[tuple[str, str]]:
    """The places in a JSON value, as (path, reason), that strict JSON cannot hold."""
    stack: list[tuple[str, object]] = [(name, value)]
    while stack:
        path, found = stack.pop()
        if isinstance(found, dict):
            for key, inner in found.items():
                if not isinstance(key, str | int | float | None):
                    yield path, f"has a key that is not text: {key!r}"
                elif isinstance(key, str) and _UNSTORABLE.search(key):
                    yield path, "has a key with a NUL character or a lone surrogate"
                stack.append((f"{path}.{ascii(key)[1:-1][:40]}", inner))
        elif isinstance(found, list | tuple):
            stack.extend((f"{path}[{index}]", inner) for index, inner in enumerate(found))
        elif isinstance(found, str):
            if _UNSTORABLE.search(found):
                yield path, "holds a NUL character or a lone surrogate"
        elif isinstance(found, float):
            if not math.isfinite(found):
                yield path, f"is {found}, which JSON cannot hold"
        elif found is not None and not isinstance(found, int):
            yield path, f"is a {type(found).__name__}, which JSON cannot hold"


def encode_json(value: object, name: str) -> str:
    """`value` as strict JSON text; InvalidAudit names the place that cannot be stored."""
    try:
        text = _encode(value)
        # Python writes NUL as this escape; PostgreSQL's JSON refuses it, so we do everywhere.
        if "\\u0000" not in text:
            text.encode()
            return text
    except RecursionError as error:
        raise EndlessJSON(f"{name}: is nested too deeply to be stored") from error
    except (TypeError, ValueError) as error:
        if "Circular" in str(error):
            raise EndlessJSON(f"{name}: contains itself and cannot be stored") from error
        for path, reason in unstorable(value, name):
            raise InvalidAudit(f"{path}: {reason}") from error
        raise InvalidAudit(f"{name}: cannot be stored as JSON: {error}") from error
    for path, reason in unstorable(value, name):
        raise InvalidAudit(f"{path}: {reason}")
    return text


def format_datetime(value: datetime) -> str:
    """Text as it is on disk: UTC, always six fractional digits, no zone suffix."""
    return value.astimezone(UTC).isoformat(" ", "microseconds")[:26]


class TextField(peewee.TextField):
    def db_value(self, value: Any) -> Any:
        return value if value is None else check_text(self.name, value)

    check = db_value


class CharField(peewee.CharField):
    def db_value(self, value: Any) -> Any:
        return value if value is None else check_text(self.name, value, self.max_length)

    check = db_value


class IdField(CharField):
    """An audit's id: a file of the older code can hold longer ones, which must be found too."""

    def db_value(self, value: Any) -> Any:
        return value if value is None else check_text(self.name, value)


class EnumField(CharField):
    """A text column with a closed set of values; read back as members of `enum`."""

    def __init__(self, enum: type[Enum], *args: Any, **kwargs: Any) -> None:
        self.enum = enum
        self._members: dict[Any, Enum] = {member.value: member for member in enum}
        super().__init__(*args, **kwargs)

    def db_value(self, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, str) and value in self._members:
            return str(self._members[value].value)
        try:
            return self.enum(value).value
        except ValueError:
            known = ", ".join(member.value for member in self.enum)
            raise invalid(self.name, f"must be one of {known}", value) from None

    check = db_value

    def python_value(self, value: Any) -> Any:
        # What another program wrote is shown as it is, rather than hide the row.
        return self._members.get(value, value)


class FloatField(peewee.FloatField):
    def __init__(
        self, *args: Any, low: float | None = None, high: float | None = None, **kwargs: Any
    ) -> None:
        self.low, self.high = low, high
        super().__init__(*args, **kwargs)

    def db_value(self, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise invalid(self.name, "must be a number", value)
        try:
            number = float(value)
        except OverflowError:
            raise invalid(self.name, "is too large", value) from None
        if not math.isfinite(number):
            raise invalid(self.name, "must be a finite number", value)
        return number

    def check(self, value: Any) -> Any:
        number = self.db_value(value)
        if number is not None:
            if self.low is not None and number < self.low:
                raise invalid(self.name, f"must be at least {self.low:g}", value)
            if self.high is not None and number > self.high:
                raise invalid(self.name, f"must be at most {self.high:g}", value)
        return number


class IntegerField(peewee.IntegerField):
    def __init__(self, *args: Any, low: int | None = None, **kwargs: Any) -> None:
        self.low = low
        super().__init__(*args, **kwargs)

    def db_value(self, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise invalid(self.name, "must be a whole number", value)
        if not -_MAX_INTEGER <= value <= _MAX_INTEGER:
            raise invalid(self.name, "does not fit in 64 bits", value)
        return value

    def check(self, value: Any) -> Any:
        number = self.db_value(value)
        if number is not None and self.low is not None and number < self.low:
            raise invalid(self.name, f"must be at least {self.low}", value)
        return number


class DateTimeField(peewee.DateTimeField):
    """An aware datetime, stored and read back in UTC; a naive one is refused, not guessed."""

    def db_value(self, value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, datetime):
            raise invalid(self.name, "must be a datetime", value)
        if value.tzinfo is None:
            raise invalid(self.name, "must have a time zone (a naive datetime is a guess)", value)
        try:
            return format_datetime(value)
        except OverflowError:
            raise invalid(self.name, "is outside the years 1 to 9999", value) from None

    def check(self, value: Any) -> Any:
        self.db_value(value)
        return value

    def python_value(self, value: Any) -> Any:
        if isinstance(value, str):
            try:
                if len(value) == 26 and value[19] == ".":  # as we write it, without a zone
                    return datetime.fromisoformat(value + "+00:00")
                value = datetime.fromisoformat(value)
            except ValueError:
                return value  # written by another program: show it rather than hide the row
        if isinstance(value, datetime) and value.tzinfo is None:
            return value.replace(tzinfo=UTC)
        return value


class JSONField(peewee.JSONField):
    """Strict JSON of one kind (dict or list), stored as text."""

    # Peewee asks the database for its JSON dialect when the model is made; ours is not known
    # until one is open, and until a second engine comes it is SQLite's.
    _dialect = SqliteDatabase(None)

    def __init__(self, kind: type = dict, **kwargs: Any) -> None:
        self.kind = kind
        super().__init__(**kwargs)

    def _db_hook(self, database: Any) -> None:
        super()._db_hook(database or self._dialect)  # type: ignore[misc]

    def db_value(self, value: Any) -> Any:
        if value is None or isinstance(value, Node):
            return value
        return encode_json(value, self.name)

    def check(self, value: Any) -> Any:
        if value is not None:
            if not isinstance(value, self.kind):
                raise invalid(self.name, f"must be a {self.kind.__name__}", value)
            encode_json(value, self.name)
        return value
