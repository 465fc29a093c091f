"""Field types that refuse values that cannot be stored.

`check(value)` is the full test of a value for a column: it returns the value as a plain Python
value, or raises InvalidAudit, which names the column. `db_value` gives the form on disk; Peewee
applies it to the values in a query's conditions too, so it does not test ranges.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

import peewee
from peewee import Node, SqliteDatabase

from veritas_peewee.values.moments import format_datetime
from veritas_peewee.values.plain import (
    MAX_DEPTH,
    check_text,
    encode_json,
    invalid,
    plain_number,
    plain_text,
)

if TYPE_CHECKING:
    from veritas_peewee.values.attributes import Typed
else:
    Typed = Generic

V = TypeVar("V")
E = TypeVar("E", bound=Enum)

_MAX_INTEGER = 2**63 - 1


class TextField(Typed[V], peewee.TextField):
    if TYPE_CHECKING:

        @overload
        def __init__(self: TextField[str | None], *, null: Literal[True], **rest: Any) -> None: ...
        @overload
        def __init__(self: TextField[str], **rest: Any) -> None: ...
        def __init__(self, **rest: Any) -> None: ...

    def db_value(self, value: Any) -> Any:
        return value if value is None else check_text(self.name, value)

    check = db_value


class CharField(Typed[V], peewee.CharField):
    if TYPE_CHECKING:

        @overload
        def __init__(
            self: CharField[str | None], max_length: int, *, null: Literal[True], **rest: Any
        ) -> None: ...
        @overload
        def __init__(self: CharField[str], max_length: int, **rest: Any) -> None: ...
        def __init__(self, max_length: int, **rest: Any) -> None: ...

    def db_value(self, value: Any) -> Any:
        return value if value is None else check_text(self.name, value, self.max_length)

    check = db_value


class IdField(CharField[str]):
    """An audit's id. Queries do not test its length: a file of the older code can hold longer ids,
    which must be found."""

    def db_value(self, value: Any) -> Any:
        return value if value is None else check_text(self.name, value)


class EnumField(Typed[E], peewee.CharField):
    """A text column with a closed set of values, which are read back as members of `enum`."""

    def __init__(self, enum: type[E], *args: Any, **kwargs: Any) -> None:
        self.enum = enum
        self._members: dict[Any, E] = {member.value: member for member in enum}
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
        # A text that another program wrote is returned as it is: an error would hide the row.
        return self._members.get(value, value)


class FloatField(Typed[V], peewee.FloatField):
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
        if value is None:
            return None
        plain = plain_number(value)
        if plain is None:
            raise invalid(self.name, "must be a number", value)
        try:
            number = float(plain)
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


class IntegerField(Typed[V], peewee.IntegerField):
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


class DateTimeField(Typed[V], peewee.DateTimeField):
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
        return value if type(value) is datetime else self.python_value(text)

    def python_value(self, value: Any) -> Any:
        if isinstance(value, str):
            try:
                if len(value) == 26 and value[19] == ".":  # the form that we write, without a zone
                    return datetime.fromisoformat(value + "+00:00")
                value = datetime.fromisoformat(value)
            except ValueError:
                return value  # written by another program: an error would hide the row
        if isinstance(value, datetime) and value.tzinfo is None:
            return value.replace(tzinfo=UTC)
        return value


class JSONField(Typed[V], peewee.JSONField):
    """Strict JSON of one kind (dict or list), stored as text; the models state its contents."""

    # Peewee asks the database for its JSON dialect when a model is defined, but which database a
    # model has is known only once one is open. SQLite's dialect is the only one so far.
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
            if not issubclass(type(value), self.kind):
                raise invalid(self.name, f"must be a {self.kind.__name__}", value)
            # The event that records the value holds it a few levels deeper.
            text = encode_json(value, self.name, MAX_DEPTH - 8)
            if type(value) is not self.kind:
                return json.loads(text)
        return value
