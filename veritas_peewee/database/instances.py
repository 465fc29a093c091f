"""Model instances made from plain rows, in one step for each row.

Peewee makes an instance through several layers. On frequent paths a function is made once for
each model that does the same for a row with all of the model's columns.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import peewee

from veritas_peewee.database.current import current_database
from veritas_peewee.values.fields import Stored

M = TypeVar("M", bound=peewee.Model)
_PIECE = 64
"""Instances that are made between two pauses of a long read."""


class Unchanged:
    """Peewee's `_dirty`, the names of an instance's changed columns, made when first asked for.

    Most rows that are read are never changed, and a set of their own would be the largest part
    of them.
    """

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        made: set[str] = set()
        instance._dirty = made
        return made


def models_of(
    model: type[M], rows: Iterable[tuple[Any, ...]], owner: peewee.Model | None = None
) -> list[M]:
    """Instances from rows that hold all of the model's columns in its own order.

    With an `owner` the rows hold all columns but the foreign key, which points to it. The model's
    `_dirty` must be `Unchanged`.
    """
    make = _maker(model)
    if owner is not None:
        make = functools.partial(_maker(model, key_to(model, type(owner)).name), owner)
    rows = list(rows)
    database = current_database()
    database.pause()
    if len(rows) <= _PIECE:
        return [make(*row) for row in rows]
    made: list[M] = []
    for start in range(0, len(rows), _PIECE):
        database.pause()
        made += [make(*row) for row in rows[start : start + _PIECE]]
    return made


@functools.cache
def key_to(model: type[peewee.Model], owner: type[peewee.Model]) -> Any:
    """The foreign key by which a model's rows belong to one of another model."""
    (key,) = model._meta.model_refs[owner]
    return key


_WRAPPER = "_get_model_cursor_wrapper"
"""A method of Peewee's, which its type stubs leave out."""


class Select(peewee.ModelSelect):
    """Peewee's query for a model's rows, which makes them instances as `models_of` does.

    Peewee's own way takes 1.6 times as long and leaves one more object of each row for the garbage
    collection, whose full rounds stop every thread, and come the sooner the more there are.
    """

    # Attributes of Peewee's, which its type stubs leave out.
    _returning: Any
    _joins: Any
    _from_list: Any

    def _get_model_cursor_wrapper(self, cursor: Any) -> Any:
        model, selected = self.model, self._returning
        fields = model._meta.fields
        names = tuple([node.name for node in selected if isinstance(node, peewee.Field)])
        if (
            self._joins
            or len(self._from_list) != 1
            or model.__init__ is not peewee.Model.__init__
            or len(set(names)) != len(selected)
            # Not an alias of a field, and none with a conversion of the query's own.
            or any(node is not fields[name] for node, name in zip(selected, names, strict=True))
        ):
            return vars(peewee.ModelSelect)[_WRAPPER](self, cursor)
        return _Instances(cursor, _maker(model, "", names))


class _Instances(peewee.CursorWrapper):
    """The rows of a `Select`, made one by one as they are asked for."""

    def __init__(self, cursor: Any, make: Callable[..., peewee.Model]) -> None:
        super().__init__(cursor)
        self._make = make

    def process_row(self, row: tuple[Any, ...]) -> peewee.Model:
        return self._make(*row)


@functools.lru_cache(maxsize=256)
def _maker(
    model: type[M], owned_by: str = "", names: tuple[str, ...] | None = None
) -> Callable[..., M]:
    """A function that makes an instance of a row's columns, given one by one.

    Its code is made from the model: a loop over the columns would take three times as long.
    With `owned_by`, the name of a foreign key, the instance it points to is the first argument;
    with `names` the row has these columns alone. It does what Peewee's constructor does, but
    without defaults: other columns have no value.
    """
    known: dict[str, Any] = {"new": model.__new__, "model": model}
    columns, values, related = [], [], ""
    if owned_by:
        columns.append("owner")
        related = f"{owned_by!r}: owner"
    fields = model._meta.sorted_fields
    if names is not None:
        fields = [model._meta.fields[name] for name in names]
    for position, field in enumerate(fields):
        if field.name == owned_by:
            values.append(f"{owned_by!r}: owner.__data__[{field.rel_field.name!r}]")
            continue
        value = column = f"value{position}"
        read = field.reader() if isinstance(field, Stored) else None
        if read is not None:
            known[f"read{position}"] = read
            value = f"None if {column} is None else read{position}({column})"
        columns.append(column)
        values.append(f"{field.name!r}: {value}")
    source = (
        f"def make({', '.join(columns)}):\n"
        "    made = new(model)\n"
        f"    made.__data__ = {{{', '.join(values)}}}\n"
        f"    made.__rel__ = {{{related}}}\n"
        "    return made\n"
    )
    exec(source, known)
    make: Callable[..., M] = known["make"]
    return make
