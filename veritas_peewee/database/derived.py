"""Columns that the store derives from the rows are left out of what callers insert by the models.

A row that is a copy of another one would else have its digest, and be taken for one of the store's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import peewee


def _name_of(column: Any) -> object:
    return column.name if isinstance(column, peewee.Field) else column


def without(names: Collection[str], row: Mapping[Any, Any]) -> dict[Any, Any]:
    """A row of values by field, or by name, without these columns."""
    return {key: value for key, value in row.items() if _name_of(key) not in names}


def rows_without(names: Collection[str], rows: Any, fields: Any) -> tuple[Any, Any]:
    """Rows and fields as Peewee's `insert_many` takes them, without these columns."""
    if not names or not isinstance(rows, Iterable):
        return rows, fields
    places = None
    if fields is not None:
        given = list(fields)
        kept = [at for at, field in enumerate(given) if _name_of(field) not in names]
        places = None if len(kept) == len(given) else kept
        fields = [given[at] for at in kept]
    left = _each_without(names, rows, places)
    return (list(left) if isinstance(rows, list | tuple) else left), fields


def _each_without(
    names: Collection[str], rows: Iterable[Any], places: list[int] | None
) -> Iterator[Any]:
    for row in rows:
        if isinstance(row, Mapping):
            yield without(names, row)
        elif places is None:
            yield row
        else:
            values = list(row)
            yield [values[at] for at in places]
