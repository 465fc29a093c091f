"""SQL text that is built from the models once, and model instances made from plain rows.

Peewee builds a query's text anew each time, which takes longer than SQLite takes to run it, and
makes instances through several layers. On the paths that are walked often we ask the models for
both once; they stay the one place where the schema is said.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import peewee

from veritas_peewee.database.connection import statement_size
from veritas_peewee.database.current import current_database
from veritas_peewee.values.fields import DateTimeField, EnumField, JSONField

M = TypeVar("M", bound=peewee.Model)

MARK = peewee.SQL("?")
"""Stands in a query for a value that is given when its text is executed."""


def text_of(query: Any) -> str:
    """A query's SQL text; its values must be marks."""
    text, values = query.sql()
    if values:
        raise AssertionError(f"a value is built into {text}")
    return str(text)


@functools.cache
def insert_sql(model: type[peewee.Model], *columns: str, rows: int = 1) -> str:
    """`INSERT` for these columns, in this order; none that has a default may be left out."""
    fields = [getattr(model, name) for name in columns]
    return text_of(model.insert_many([[MARK] * len(fields)] * rows, fields=fields))


def insert_slice(
    model: type[peewee.Model], columns: tuple[str, ...], values: list[Any], rows: int
) -> range:
    """Insert `rows` rows of stored values, one after the other in `values`; returns their ids.

    One statement is whole or absent, gives the interpreter lock away once, and costs a row a
    quarter of what a statement of its own does.
    """
    cursor = current_database().execute_sql(insert_sql(model, *columns, rows=rows), values)
    # The ids are consecutive: they only grow, and nobody else can write at the same time.
    last = int(cursor.lastrowid)
    return range(last - rows + 1, last + 1)


def insert_rows(
    model: type[peewee.Model], columns: tuple[str, ...], rows: list[tuple[Any, ...]]
) -> list[int]:
    """Insert many rows of stored values; returns their ids."""
    return insert_values(model, columns, [value for row in rows for value in row])


def insert_values(
    model: type[peewee.Model], columns: tuple[str, ...], values: list[Any]
) -> list[int]:
    """Insert the rows whose values stand one after the other; returns their ids."""
    ids: list[int] = []
    width, start = len(columns), 0
    while left := (len(values) - start) // width:
        size = statement_size(left)
        part = values[start : start + size * width] if start or size < left else values
        ids += insert_slice(model, columns, part, size)
        start += size * width
    return ids


@functools.cache
def update_sql(model: type[peewee.Model], *columns: str) -> str:
    """`UPDATE … WHERE primary key = ?` for these columns, given in the model's own order."""
    fields = {getattr(model, name): MARK for name in columns}
    # Not the model's own `update`, which may add to what is changed.
    update = peewee.ModelUpdate(model, fields)
    return text_of(update.where(model._meta.primary_key == MARK))


def execute(text: str, values: Iterable[Any]) -> list[tuple[Any, ...]]:
    """What a `SELECT` gives in the current database."""
    rows: list[tuple[Any, ...]] = current_database().execute_sql(text, values).fetchall()
    return rows


def rows_of(query: Any) -> list[tuple[Any, ...]]:
    """What a query selects, as plain tuples of Python values."""
    return list(query.tuples())


def models_of(model: type[M], rows: Iterable[tuple[Any, ...]]) -> list[M]:
    """Instances from rows that hold all of the model's columns in its own order."""
    names, converters = _columns(model)
    # As Peewee's own constructor would, but for defaults that the row has values for.
    new: Any = model.__new__
    made: list[Any] = []
    database = current_database()
    for number, row in enumerate(rows):
        if not number % 64:
            database.pause()
        data = dict(zip(names, row, strict=True))
        for name, convert in converters:
            if data[name] is not None:
                data[name] = convert(data[name])
        instance = new(model)
        instance.__data__ = data
        instance.__rel__ = {}
        instance._dirty = set()
        made.append(instance)
    return made


_CONVERTED = (DateTimeField, EnumField, JSONField)


@functools.cache
def _columns(
    model: type[peewee.Model],
) -> tuple[tuple[str, ...], tuple[tuple[str, Callable[[Any], Any]], ...]]:
    fields = model._meta.sorted_fields
    return (
        tuple(field.name for field in fields),
        tuple((f.name, f.python_value) for f in fields if isinstance(f, _CONVERTED)),
    )


@functools.cache
def stored_forms(
    model: type[peewee.Model], names: tuple[str, ...]
) -> tuple[tuple[int, Callable[[Any], Any]], ...]:
    """The columns among `names`, by place, whose values are stored in another form."""
    fields = [model._meta.fields[name] for name in names]
    return tuple(
        (place, field.db_value)
        for place, field in enumerate(fields)
        if isinstance(field, _CONVERTED)
    )
