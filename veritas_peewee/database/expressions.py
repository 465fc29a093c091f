"""Expressions in queries that each backend writes in its own way.

A text that has one is cached by `statements.per_backend`.
"""

from __future__ import annotations

from typing import Any

from peewee import SQL, Cast, ColumnBase, IntegerField, NodeList, fn

from veritas_peewee.database.current import current_backend


class Written(ColumnBase):
    """A part of a query, in the form of the backend of the current database."""

    def __init__(self, *, sqlite: Any, postgres: Any) -> None:
        super().__init__()
        self.forms = {"sqlite": sqlite, "postgres": postgres}

    def __sql__(self, ctx: Any) -> Any:
        return ctx.sql(self.forms[current_backend()])


_JSON_VALUES = {
    "sqlite": "SELECT value FROM json_each(?)",
    "postgres": "SELECT value FROM json_array_elements_text(CAST(? AS json)) AS list(value)",
}


def json_values() -> str:
    """SQL for the values of a list that is given as JSON, in a column `value`. However long it is,
    the list is one value of the statement, so one statement, prepared once, does for all."""
    return _JSON_VALUES[current_backend()]


def is_among(column: Any) -> Any:
    """Whether a column of texts or whole numbers is one of the values of a list that is given as
    JSON.

    For a server it is an array: of a query it would suppose that it gives many rows, and read a
    whole table for a few audits.
    """
    values = {name: SQL(f"({text})") for name, text in _JSON_VALUES.items()}
    kind = SQL("AS bigint[])" if isinstance(column, IntegerField) else "AS text[])")
    array = SQL("= ANY(CAST(ARRAY"), values["postgres"], kind, SQL(")")
    return Written(sqlite=column.in_(values["sqlite"]), postgres=NodeList((column, *array)))


def json_keys(column: str) -> str:
    """SQL for the names of an object in a JSON column, as a table's column `key`."""
    if current_backend() == "sqlite":
        return f"json_each({column})"
    return f"LATERAL (SELECT json_object_keys(CAST({column} AS json)) AS key)"


def json_items(column: str) -> str:
    """SQL for the names and the whole numbers of an object in a JSON column, as a table's columns
    `key` and `value`."""
    if current_backend() == "sqlite":
        return f"json_each({column})"
    return (
        "LATERAL (SELECT key, CAST(value AS bigint) AS value "
        f"FROM json_each_text(CAST({column} AS json)))"
    )


def json_list(column: str) -> str:
    """SQL for the texts of a list in a JSON column, as a table's column `value`."""
    if current_backend() == "sqlite":
        return f"json_each({column})"
    texts = f"json_array_elements_text(CAST({column} AS json))"
    return f"LATERAL (SELECT value FROM {texts} AS list(value))"


def json_of_keys(column: str) -> str:
    """SQL for the names of an object in a JSON column but for the empty one, as a list in JSON."""
    if current_backend() == "sqlite":
        keys = f"SELECT key FROM json_each({column}) WHERE key <> ''"
        return f"(SELECT json_group_array(key) FROM ({keys}))"
    keys = f"json_object_keys(CAST({column} AS json)) AS names(key)"
    return f"(SELECT COALESCE(CAST(json_agg(key) AS text), '[]') FROM {keys} WHERE key <> '')"


def as_key(column: str) -> str:
    """SQL for a column in the form in which it is part of a key: in SQLite NULL equals no NULL, and
    the text NUL, which no value can be, represents it."""
    return f"COALESCE({column}, char(0))" if current_backend() == "sqlite" else column


def join_in_order() -> str:
    """A join in which SQLite reads the first table first, whatever it takes for faster."""
    return "CROSS JOIN" if current_backend() == "sqlite" else "JOIN"


def part_of_json(column: Any, path: str) -> Any:
    """The part of a JSON column at a path such as `$.finding.id`, in the form in which the backend
    recognises an index on it."""
    keys = ",".join(path.split(".")[1:])
    parts = (SQL("(CAST("), column, SQL(f"AS json) #>> '{{{keys}}}')"))
    return Written(sqlite=fn.json_extract(column, SQL(f"'{path}'")), postgres=NodeList(parts))


def is_text_in_json(column: Any, path: str) -> Any:
    """Whether the part of a JSON column at a path is a text there, and not a number for example."""
    keys = ",".join(path.split(".")[1:])
    parts = (SQL("json_typeof(CAST("), column, SQL(f"AS json) #> '{{{keys}}}') = 'string'"))
    asked = fn.json_type(column, SQL(f"'{path}'"))
    return Written(sqlite=NodeList((asked, SQL("= 'text'"))), postgres=NodeList(parts))


def whole_part(column: Any) -> Any:
    """The whole number at or below a number that is not negative."""
    parts = (SQL("CAST(FLOOR("), column, SQL(") AS bigint)"))
    return Written(sqlite=Cast(column, "INTEGER"), postgres=NodeList(parts))


def passed_over(column: Any) -> Any:
    """A column in a form for which SQLite uses no index: sqlite.org/optoverview.html, unary "+".

    PostgreSQL decides by how many rows of a table have a value, and needs no advice.
    """
    return Written(sqlite=NodeList((SQL("+"), column), glue=""), postgres=column)


def blob_as_read(column: Any) -> Any:
    """A column of BLOBs as queries read it: always bytes, or None.

    In SQLite another program, or a flipped bit, can have made a value a text (and not even UTF-8,
    which would be an error when it is read) or a number. It is read as bytes that name its type, so
    that it differs from every value that is a BLOB, and which are the same by every SQLite.
    """
    parts: list[Any] = [SQL("CASE typeof("), column, SQL(") WHEN 'blob' THEN "), column]
    parts += [SQL("WHEN 'null' THEN NULL ELSE"), _with_type(column), SQL("END")]
    return Written(sqlite=NodeList(parts), postgres=column)


def text_as_bytes(column: Any) -> Any:
    """A column of texts as queries read it: always bytes, in the way of `blob_as_read`."""
    parts: list[Any] = [SQL("CASE typeof("), column, SQL(") WHEN 'text' THEN CAST("), column]
    parts += [SQL("AS BLOB) ELSE"), _with_type(column), SQL("END")]
    return Written(sqlite=NodeList(parts), postgres=fn.convert_to(column, SQL("'UTF8'")))


def only_text(column: Any) -> Any:
    """A column of texts, with NULL for what in SQLite is none."""
    parts = (SQL("CASE typeof("), column, SQL(") WHEN 'text' THEN "), column, SQL("END"))
    return Written(sqlite=NodeList(parts), postgres=column)


def is_integer(name: str) -> str:
    """SQL for whether a column has a whole number: in SQLite another program can have stored
    anything in it."""
    if current_backend() == "sqlite":
        return f"typeof({name}) = 'integer'"
    return f"{name} IS NOT NULL"


def greatest(*values: str) -> str:
    """SQL for the greatest of some values, none of which is NULL."""
    name = "MAX" if current_backend() == "sqlite" else "GREATEST"
    return f"{name}({', '.join(values)})"


def is_text(column: Any, value: Any) -> Any:
    """Whether a column that can hold long texts is a text.

    PostgreSQL has an index only of what they begin with, for an entry there has 2,704 bytes at
    most; the function compares by that first. Where a plain `=` is written it reads all rows.
    """
    return Written(sqlite=column == value, postgres=fn.veritas_is(column, value))


def is_not_empty(column: Any) -> Any:
    """Whether a column that `is_text` can compare is a text with anything in it."""
    empty = SQL("''")
    return Written(sqlite=column > empty, postgres=fn.LEFT(column, SQL("600")) > empty)


def is_same(column: Any) -> Any:
    """Whether a column is the value of a mark, which can be NULL."""
    mark = SQL("?")
    return Written(
        sqlite=NodeList((column, SQL("IS"), mark)),
        postgres=NodeList((column, SQL("IS NOT DISTINCT FROM"), mark)),
    )


def _with_type(column: Any) -> NodeList:
    # The text of a fraction is not the same in each SQLite: since 3.53 it has up to 17 digits.
    value = [SQL("|| CASE typeof("), column, SQL(") WHEN 'real' THEN '' ELSE hex("), column]
    parts = [SQL("CAST(typeof("), column, SQL(") || ':'"), *value, SQL(") END AS BLOB)")]
    return NodeList(parts)
