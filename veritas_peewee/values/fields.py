"""Field types that refuse values that cannot be stored.

`check(value)` is the full test of a value for a column: it returns the value as a plain Python
value, or raises InvalidAudit, which names the column. `check_stored(value)` is the same test of a
value in its form on disk, for rows that come from elsewhere. `db_value` gives the form on disk;
Peewee applies it to the values in a query's conditions too, so it does not test ranges.
`python_value` raises nothing: a value that another program has stored, and that cannot be read as
the column's type, is returned as it is, so that it costs its own row at most.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

import peewee

from veritas_peewee.errors import InvalidAudit
from veritas_peewee.values.moments import format_datetime, is_stored_form
from veritas_peewee.values.plain import (
    check_text,
    invalid,
    plain_number,
    plain_text,
    shown,
)

if TYPE_CHECKING:
    from veritas_peewee.values.attributes import Typed
else:
    Typed = Generic

V = TypeVar("V")
E = TypeVar("E", bound=Enum)

Rule = Callable[[object], str]
"""Returns a column's text if it is one that the column can hold; else raises InvalidAudit."""

_MAX_INTEGER = 2**63 - 1


class Stored:
    """A field whose values have the same form on disk as in Python."""

    if TYPE_CHECKING:
        name: str
        null: bool

        def check(self, value: Any) -> Any: ...

    def python_value(self, value: Any) -> Any:
        return value  # not Peewee's, which converts, and raises for what cannot be converted

    def reader(self) -> Callable[[Any], Any] | None:
        """What gives `python_value` of a value that is not None; None if that is the value."""
        return None

    def check_stored(self, value: Any) -> Any:
        """The value as it is read, if the store itself would have stored it in this form.

        Else raises InvalidAudit, also for a value that SQLite would convert in this column.
        """
        if value is None:
            if not self.null:
                raise InvalidAudit(f"{self.name}: cannot be empty")
            return None
        return self._read_stored(value)

    def _read_stored(self, value: Any) -> Any:
        checked = self.check(value)
        if type(checked) is not type(value) or checked != value:
            raise _not_held(self.name, value)
        return value


def _not_held(name: str, value: object) -> InvalidAudit:
    return InvalidAudit(f"{name}: {shown(value)} is nothing that this column can hold")


class _Text(Stored):
    """A field of text, whose values `rule` tests."""

    rule: Rule | None = None

    if TYPE_CHECKING:

        def db_value(self, value: Any) -> Any: ...

    def check(self, value: Any) -> Any:
        return self.db_value(value) if value is None or self.rule is None else self.rule(value)


class TextField(Typed[V], _Text, peewee.TextField):
    if TYPE_CHECKING:

        @overload
        def __init__(self: TextField[str | None], *, null: Literal[True], **rest: Any) -> None: ...
        @overload
        def __init__(self: TextField[str], **rest: Any) -> None: ...

    def __init__(self, *, rule: Rule | None = None, **rest: Any) -> None:
        self.rule = rule
        super().__init__(**rest)

    def db_value(self, value: Any) -> Any:
        return value if value is None else check_text(self.name, value)


class CharField(Typed[V], _Text, peewee.CharField):
    if TYPE_CHECKING:

        @overload
        def __init__(
            self: CharField[str | None], max_length: int, *, null: Literal[True], **rest: Any
        ) -> None: ...
        @overload
        def __init__(self: CharField[str], max_length: int, **rest: Any) -> None: ...

    def __init__(self, max_length: int = 255, *, rule: Rule | None = None, **rest: Any) -> None:
        self.rule = rule
        super().__init__(max_length, **rest)

    def db_value(self, value: Any) -> Any:
        return value if value is None else check_text(self.name, value, self.max_length)


class IdField(CharField[str]):
    """An audit's id. Queries do not test its length: a file of the older code can hold longer ids,
    which must be found."""

    def db_value(self, value: Any) -> Any:
        return value if value is None else check_text(self.name, value)


class EnumField(Typed[E], Stored, peewee.CharField):
    """A text column with a closed set of values, which are read back as members of `enum`."""

    def __init__(self, enum: type[E], *args: Any, **kwargs: Any) -> None:
        self.enum = enum
        self._members: _Members[E] = _Members((member.value, member) for member in enum)
        super().__init__(*args, **kwargs)

    def db_value(self, value: Any) -> Any:
        if value is None:
            return None
        text = plain_text(value)
        if text not in self._members:
            known = ", ".join(member.value for member in self.enum)
            raise invalid(self.name, f"must be one of {known}", value)
        return str(self._members[text].value)

    check = db_value

    def python_value(self, value: Any) -> Any:
        return self._members[value]

    def reader(self) -> Callable[[Any], Any]:
        return self._members.__getitem__


class _Members(dict[Any, E]):
    """An enum's members by their values; any other value stands for itself."""

    def __missing__(self, value: Any) -> Any:
        return value


def check_number(
    name: str, value: object, low: float | None = None, high: float | None = None
) -> float:
    """`value` as a finite float, if it is a number from `low` to `high`; else raises InvalidAudit,
    which begins with `name`."""
    plain = plain_number(value)
    if plain is None:
        raise invalid(name, "must be a number", value)
    try:
        number = float(plain)
    except OverflowError:
        raise invalid(name, "is too large", value) from None
    if not math.isfinite(number):
        raise invalid(name, "must be a finite number", value)
    if low is not None and number < low:
        raise invalid(name, f"must be at least {low:g}", value)
    if high is not None and number > high:
        raise invalid(name, f"must be at most {high:g}", value)
    return number + 0.0  # SQLite stores -0.0 as 0.0, and digests are made of what is stored


class FloatField(Typed[V], Stored, peewee.FloatField):
    @overload
    def __init__(self: FloatField[float | None], *, null: Literal[True], **rest: Any) -> None: ...
    @overload
    def __init__(self: FloatField[float], **rest: Any) -> None: ...
    def __init__(
        self, *args: Any, low: float | None = None, high: float | None = None, **kwargs: Any
    ) -> None:
        self.low, self.high = low, high
        super().__init__(*args, **kwargs)

    def db_value(self, value: Any) -> Any:
        return None if value is None else check_number(self.name, value)

    def check(self, value: Any) -> Any:
        return None if value is None else check_number(self.name, value, self.low, self.high)


class IntegerField(Typed[V], Stored, peewee.IntegerField):
    @overload
    def __init__(self: IntegerField[int | None], *, null: Literal[True], **rest: Any) -> None: ...
    @overload
    def __init__(self: IntegerField[int], **rest: Any) -> None: ...
    def __init__(self, *args: Any, low: int | None = None, **kwargs: Any) -> None:
        self.low = low
        super().__init__(*args, **kwargs)

    def db_value(self, value: Any) -> Any:
        if value is None:
            return None
        number = plain_number(value)
        if type(number) is not int:
            raise invalid(self.name, "must be a whole number", value)
        if not -_MAX_INTEGER <= number <= _MAX_INTEGER:
            raise invalid(self.name, "does not fit in 64 bits", value)
        return number

    def check(self, value: Any) -> Any:
        number = self.db_value(value)
        if number is not None and self.low is not None and number < self.low:
            raise invalid(self.name, f"must be at least {self.low}", value)
        return number


class DateTimeField(Typed[V], Stored, peewee.DateTimeField):
    """An aware datetime, stored and read back in UTC. A naive one is refused: its zone would be a
    guess."""

    if TYPE_CHECKING:

        @overload
        def __init__(
            self: DateTimeField[datetime | None], *, null: Literal[True], **rest: Any
        ) -> None: ...
        @overload
        def __init__(self: DateTimeField[datetime], **rest: Any) -> None: ...
        def __init__(self, **rest: Any) -> None: ...

    def db_value(self, value: Any) -> Any:
        if value is None:
            return None
        if not issubclass(type(value), datetime):
            raise invalid(self.name, "must be a datetime", value)
        try:
            # A datetime whose zone does not know its offset is as naive as one without a zone.
            if datetime.utcoffset(value) is not None:
                return format_datetime(value)
        except OverflowError:
            raise invalid(self.name, "is outside the years 1 to 9999", value) from None
        except Exception as error:  # a caller's own zone class may raise anything
            raise invalid(self.name, "has a time zone that does not work", value) from error
        raise invalid(self.name, "must have a time zone (a naive datetime is a guess)", value)

    def check(self, value: Any) -> Any:
        text = self.db_value(value)
        is_ours = type(value) is datetime and value.tzinfo is UTC
        return value if is_ours else self.python_value(text)

    def python_value(self, value: Any) -> Any:
        if isinstance(value, str):
            try:
                if len(value) == 26 and value[19] == ".":  # the form that we write, without a zone
                    return datetime.fromisoformat(value + "+00:00")
                value = datetime.fromisoformat(value)
            except ValueError:
                return value
        if isinstance(value, datetime) and value.tzinfo is None:
            return value.replace(tzinfo=UTC)
        return value

    def reader(self) -> Callable[[Any], Any]:
        return self.python_value

    def _read_stored(self, value: Any) -> Any:
        moment = self.python_value(value) if is_stored_form(value) else None
        if not isinstance(moment, datetime):
            raise invalid(
                self.name, "must be a moment in UTC such as 2026-01-31 18:00:00.000000", value
            )
        return moment
