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


def blob_as_read(column: Any) -> Any:
    """A column of BLOBs as queries read it: always bytes, or None.

    Another program, or a flipped bit, can have made a value a text (and not even UTF-8, which would
    be an error when it is read) or a number. It is read as bytes that name its type, so that it
    differs from every value that is a BLOB.
    """
    parts: list[Any] = [SQL("CASE typeof("), column, SQL(") WHEN 'blob' THEN "), column]
    parts += [SQL("WHEN 'null' THEN NULL ELSE"), _with_type(column), SQL("END")]
    return NodeList(parts)


def text_as_bytes(column: Any) -> Any:
    """A column of texts as queries read it: always bytes, in the way of `blob_as_read`."""
    parts: list[Any] = [SQL("CASE typeof("), column, SQL(") WHEN 'text' THEN CAST("), column]
    return NodeList([*parts, SQL("AS BLOB) ELSE"), _with_type(column), SQL("END")])


def _with_type(column: Any) -> NodeList:
    parts = [SQL("CAST(typeof("), column, SQL(") || ':' || hex("), column, SQL(") AS BLOB)")]
    return NodeList(parts)
