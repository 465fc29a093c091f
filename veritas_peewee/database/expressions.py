"""Expressions in queries that each backend writes in its own way: here SQLite's."""

from __future__ import annotations

from typing import Any

from peewee import SQL, NodeList, fn

JSON_VALUES = "SELECT value FROM json_each(?)"
"""The values of a list that is given as JSON: one value of the statement, however many they are,
so that there is one statement, prepared once."""


def values_of_json() -> SQL:
    """`JSON_VALUES` for a column to be `in_`."""
    return SQL(f"({JSON_VALUES})")


def part_of_json(column: Any, path: str) -> Any:
    """What a JSON column has at a path such as `$.finding.id`, in such a form that an index on it
    is recognised."""
    return fn.json_extract(column, SQL(f"'{path}'"))


def passed_over(column: Any) -> Any:
    """A column for which SQLite takes no index."""
    return NodeList((SQL("+"), column), glue="")
