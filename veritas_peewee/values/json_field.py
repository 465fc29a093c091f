"""The field type of JSON columns: strict JSON, no deeper than every reader can follow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import peewee
from peewee import Node, SqliteDatabase

from veritas_peewee.errors import InvalidAudit
from veritas_peewee.values.fields import Stored
from veritas_peewee.values.plain import (
    MAX_DEPTH,
    check_text,
    decode_json,
    encode_json,
    invalid,
    named,
)

if TYPE_CHECKING:
    from veritas_peewee.values.attributes import Typed
else:
    Typed = Generic

V = TypeVar("V")


class _AtFirstUse:
    """What `make` makes, once anything of it is asked for."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # of a copy that is not made yet, for example
            raise AttributeError(name)
        if self._made is None:
            self._made = self._make()
        return getattr(self._made, name)


class JSONField(Typed[V], Stored, peewee.JSONField):
    """Strict JSON of one kind (dict or list), stored as text; the models state its contents.

    `each` tests the items: it is called with an item's path and value, and raises InvalidAudit.
    """

    # Peewee asks the database for its JSON dialect when a model is defined, but which database a
    # model has is known only once one is open: `database.json_paths` has the SQL of each.
    _dialect = SqliteDatabase(None)
    methods: Callable[[SqliteDatabase], Any] | None = None
    """Makes what has that SQL, when it is first needed."""

    def __init__(
        self, kind: type = dict, each: Callable[[str, Any], object] | None = None, **kwargs: Any
    ) -> None:
        self.kind = kind
        self.each = each
        super().__init__(**kwargs)

    def _db_hook(self, database: Any) -> None:
        super()._db_hook(self._dialect)  # type: ignore[misc]
        if self.methods is not None:
            self._helper = _AtFirstUse(partial(self.methods, self._dialect))

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
                value = decode_json(text)
            self.check_parts(value)
        return value

    def check_parts(self, value: Any) -> None:
        """Raise InvalidAudit if a value of strict JSON is of another kind, or for a bad item."""
        kind: type = type(value)
        if kind is not self.kind:
            raise invalid(self.name, f"must be a {self.kind.__name__}", value)
        if self.each is None:
            return
        if kind is dict:
            for key, item in value.items():
                self.each(f"{self.name}.{named(str(key))}", item)
        else:
            for number, item in enumerate(value):
                self.each(f"{self.name}[{number}]", item)

    def python_value(self, value: Any) -> Any:
        if type(value) is str:
            try:
                return decode_json(value)
            except ValueError:
                return value
        return value

    def reader(self) -> Callable[[Any], Any]:
        return self.python_value

    def _read_stored(self, value: Any) -> Any:
        text = check_text(self.name, value)
        try:
            found = decode_json(text, finite=True)
        except InvalidAudit as error:
            raise InvalidAudit(f"{self.name}: {error}") from error
        self.check_parts(found)
        return found
