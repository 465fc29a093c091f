"""Expressions in queries that each backend writes in its own way: here SQLite's."""

from __future__ import annotations

from typing import Any

from peewee import SQL, NodeList, fn

JSON_VALUES = "SELECT value FROM json_each(?)"
"""SQL for the values of a list that is given as JSON. However long it is, the list is one value of
the statement, so one statement, prepared once, does for all."""


def values_of_json() -> SQL:
    """`JSON_VALUES` as the argument of a column's `in_`."""
    return SQL(f"({JSON_VALUES})")


def part_of_json(column: Any, path: str) -> Any:
    """The part of a JSON column at a path such as `$.finding.id`, in the form in which SQLite
    recognises an index on it."""
    return fn.json_extract(column, SQL(f"'{path}'"))


def passed_over(column: Any) -> Any:
    """A column in a form for which SQLite uses no index: sqlite.org/optoverview.html, unary "+"."""
    return NodeList((SQL("+"), column), glue="")
