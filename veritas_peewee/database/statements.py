"""SQL text that is built from the models once, so that they remain the only definition of it.

Peewee builds a query's text anew each time, which takes longer than SQLite takes to run it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from sys import getsizeof
from typing import Any, ParamSpec, TypeVar

import peewee

from veritas_peewee.database.connection import statement_size
from veritas_peewee.database.current import current_backend, current_database
from veritas_peewee.database.expressions import blob_as_read
from veritas_peewee.database.failures import DRIVER_ERRORS
from veritas_peewee.database.instances import key_to
from veritas_peewee.values.fields import DateTimeField, EnumField
from veritas_peewee.values.json_field import JSONField

M = TypeVar("M", bound=peewee.Model)
P = ParamSpec("P")
T = TypeVar("T")

MARK = peewee.SQL("?")
"""Represents in a query a value that is given when the query's text is executed."""


def per_backend(build: Callable[P, T]) -> Callable[P, T]:
    """`build`, cached by its arguments and by the backend of the current database.

    For what makes a statement's text with something that each backend writes in its own way; any
    other text is cached by `functools.cache`, which is a little faster.
    """

    @functools.cache
    def built(backend: str, *args: Any, **kwargs: Any) -> T:
        return build(*args, **kwargs)

    @functools.wraps(build)
    def cached(*args: P.args, **kwargs: P.kwargs) -> T:
        call: Callable[..., T] = built
        return call(current_backend(), *args, **kwargs)

    return cached


def text_of(query: Any) -> str:
    """A query's SQL text; each value in the query must be a `MARK`."""
    text, values = query.sql()
    if values:
        raise AssertionError(f"a value is built into {text}")
    return str(text)


def whole(model: type[M], owner: type[peewee.Model] | None = None) -> Any:
    """A query for all columns of a model's rows in its own order, as `models_of` takes them.

    With an `owner` it leaves out the foreign key to that model, and is of one owner's rows: its
    key is the query's first value.
    """
    key = None if owner is None else key_to(model, owner)
    fields = [field for field in model._meta.sorted_fields if field is not key]
    query = model.select(
        *(blob_as_read(one) if isinstance(one, peewee.BlobField) else one for one in fields)
    )
    return query if key is None else query.where(key == MARK)


@per_backend  # where a backend gives ids, Peewee has the statement return them
def insert_sql(model: type[peewee.Model], *columns: str, rows: int = 1) -> str:
    """The text of an `INSERT` of `rows` rows, with values for these columns in this order.

    All columns that have a default must be among them.
    """
    fields = [getattr(model, name) for name in columns]
    # Not the model's own `insert_many`, which leaves out what is derived.
    return text_of(peewee.ModelInsert(model, [[MARK] * len(fields)] * rows, fields))


def _insert(
    model: type[peewee.Model], columns: tuple[str, ...], values: list[Any], rows: int
) -> Sequence[int]:
    """Insert `rows` rows by one statement; returns their ids.

    `values` are the stored values of all rows, one row after the other. The statement is executed
    as a whole or not at all and releases the interpreter lock once; for each row it costs a
    quarter of what a statement for that row alone would.
    """
    return current_database().insert(insert_sql(model, *columns, rows=rows), values, rows)


def insert_rows(
    model: type[peewee.Model], columns: tuple[str, ...], rows: list[tuple[Any, ...]]
) -> list[int]:
    """Insert many rows of stored values; returns their ids."""
    return insert_values(model, columns, list(chain.from_iterable(rows)))


def store_rows(
    model: type[peewee.Model], columns: tuple[str, ...], rows: list[tuple[Any, ...]]
) -> None:
    """Insert many rows of stored values, whose ids nobody needs."""
    database, width, start = current_database(), len(columns), 0
    while left := len(rows) - start:
        size = statement_size(left)
        values = list(chain.from_iterable(rows[start : start + size]))
        assert len(values) == size * width
        database.execute_own(insert_sql(model, *columns, rows=size), values)
        start += size


def insert_values(
    model: type[peewee.Model], columns: tuple[str, ...], values: list[Any]
) -> list[int]:
    """Insert rows whose stored values are listed one row after the other; returns their ids."""
    ids: list[int] = []
    width, start = len(columns), 0
    while left := (len(values) - start) // width:
        size = statement_size(left)
        part = values[start : start + size * width] if start or size < left else values
        ids += _insert(model, columns, part, size)
        start += size * width
    return ids


@functools.cache
def update_sql(model: type[peewee.Model], *columns: str) -> str:
    """The text of an `UPDATE` of these columns, given in the model's order, by primary key."""
    fields = {getattr(model, name): MARK for name in columns}
    # Not the model's own `update`, which may change further columns.
    update = peewee.ModelUpdate(model, fields)
    return text_of(update.where(model._meta.primary_key == MARK))


def execute(text: str, values: Iterable[Any]) -> list[tuple[Any, ...]]:
    """The rows, as stored values, that a `SELECT` gives in the current database."""
    database = current_database()
    rows: list[tuple[Any, ...]]
    if (found := database.read_at_once(text, values)) is not None:
        return found
    try:
        rows = database.execute_sql(text, values).fetchall()
    except DRIVER_ERRORS as error:
        database.accept_odd_text(error)
        rows = database.execute_sql(text, values).fetchall()
    return rows


def execute_up_to(
    text: str, values: Iterable[Any], most: int, long: int | None = None
) -> list[tuple[Any, ...]] | None:
    """As `execute`; None if the rows take more than about `most` bytes, so that they are not held
    all at once. If `long` is given, only the texts in that column can be long."""
    database = current_database()
    try:
        return _fetch_up_to(database.each_row(text, values), most, long)
    except DRIVER_ERRORS as error:
        database.accept_odd_text(error)
        return _fetch_up_to(database.each_row(text, values), most, long)


def _fetch_up_to(found: Any, most: int, long: int | None) -> list[tuple[Any, ...]] | None:
    rows: list[tuple[Any, ...]] = []
    for row in found:  # not many at once: each can be of 100 MB
        most -= _size_of(row, long)
        if most < 0:
            found.close()
            return None
        rows.append(row)
    return rows


def _size_of(row: tuple[Any, ...], long: int | None) -> int:
    if long is not None and isinstance(text := row[long], str | bytes):
        return len(text)
    return sum(map(getsizeof, row))


def rows_of(query: Any) -> list[tuple[Any, ...]]:
    """The rows that a query selects, as plain tuples of Python values."""
    return list(query.tuples())


_CONVERTED = (DateTimeField, EnumField, JSONField)


@functools.cache
def stored_forms(
    model: type[peewee.Model], names: tuple[str, ...]
) -> tuple[tuple[int, Callable[[Any], Any]], ...]:
    """The columns among `names` that are stored in another form, as (position, conversion)."""
    fields = [model._meta.fields[name] for name in names]
    return tuple(
        (position, field.db_value)
        for position, field in enumerate(fields)
        if isinstance(field, _CONVERTED)
    )
