"""Peewee's own questions to JSON columns (`Audit.signal_scores["visual"]`), on either backend.

Peewee asks the database which SQL they have when a model is defined; ours is known only when a
query is made. A column of JSON is text on both, and what is stored is not touched by a question.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import and_, or_
from typing import Any

import peewee
from peewee import SQL, Cast, Expression, NodeList, Value, fn

from veritas_peewee.database.expressions import Written
from veritas_peewee.values.plain import encode_json

Keys = tuple[Any, ...]


class JSONMethods:
    """What Peewee calls to write a question, or a change, of part of a JSON column."""

    def __init__(self, database: peewee.SqliteDatabase) -> None:
        # Which Peewee's type stubs leave out.
        self._sqlite: Any = vars(peewee)["SqliteJSONMethods"](database)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # of a copy that is not made yet, for example
            raise AttributeError(name)
        return getattr(self._sqlite, name)

    def extract(self, field: Any, keys: Keys) -> Any:
        if not keys:
            return field
        # As SQLite's `->` gives it: JSON as text, which is compared with JSON.
        found = Cast(_part(field, keys), "text")
        return Written(
            sqlite=self._sqlite.extract(field, keys), postgres=NodeList((found, SQL('COLLATE "C"')))
        )

    def extract_text(self, field: Any, keys: Keys) -> Any:
        if not keys:
            return field
        found = NodeList((SQL("("), _json(field), SQL("#>>"), _array(keys), SQL(")")))
        return Written(sqlite=self._sqlite.extract_text(field, keys), postgres=found)

    def cast_type(self, t: str) -> str:
        return {"int": "BIGINT", "float": "DOUBLE PRECISION"}[t]

    def length(self, field: Any, keys: Keys) -> Any:
        there = fn.json_array_length(_part(field, keys) if keys else _json(field))
        return Written(sqlite=self._sqlite.length(field, keys), postgres=there)

    def contains(self, field: Any, keys: Keys, value: Any) -> Any:
        there = _operation(_binary(_part(field, keys)), "@>", _given(value))
        return Written(sqlite=self._sqlite.contains(field, keys, value), postgres=there)

    def contained_by(self, field: Any, keys: Keys, value: Any) -> Any:
        there = _operation(_given(value), "@>", _binary(_part(field, keys)))
        return Written(sqlite=self._sqlite.contained_by(field, keys, value), postgres=there)

    def has_key(self, field: Any, keys: Keys, key: Any) -> Any:
        there = Expression(_part(field, (*keys, key)), peewee.OP.IS_NOT, None)
        return Written(sqlite=self._sqlite.has_key(field, keys, key), postgres=there)

    def has_keys(self, field: Any, keys: Keys, key_list: Iterable[Any]) -> Any:
        return reduce(and_, [self.has_key(field, keys, key) for key in key_list])

    def has_any_keys(self, field: Any, keys: Keys, key_list: Iterable[Any]) -> Any:
        return reduce(or_, [self.has_key(field, keys, key) for key in key_list])

    # ---- changes ----

    def set(self, field: Any, keys: Keys, value: Any) -> Any:
        changed = fn.jsonb_set(_binary(field), _array(keys), _given(value), SQL("true"))
        return Written(sqlite=self._sqlite.set(field, keys, value), postgres=Cast(changed, "text"))

    def replace(self, field: Any, keys: Keys, value: Any) -> Any:
        changed = fn.jsonb_set(_binary(field), _array(keys), _given(value), SQL("false"))
        return Written(
            sqlite=self._sqlite.replace(field, keys, value), postgres=Cast(changed, "text")
        )

    def append(self, field: Any, keys: Keys, value: Any) -> Any:
        changed = fn.jsonb_insert(_binary(field), _array((*keys, -1)), _given(value), SQL("true"))
        return Written(
            sqlite=self._sqlite.append(field, keys, value), postgres=Cast(changed, "text")
        )

    def remove(self, field: Any, keys: Keys) -> Any:
        changed = _operation(_binary(field), "#-", _array(keys))
        return Written(sqlite=self._sqlite.remove(field, keys), postgres=Cast(changed, "text"))


def _json(field: Any) -> Any:
    return Cast(field, "json")


def _binary(value: Any) -> Any:
    return Cast(value, "jsonb")


def _part(field: Any, keys: Keys) -> Any:
    return _operation(_json(field), "#>", _array(keys))


def _operation(left: Any, operator: str, right: Any) -> Any:
    return NodeList((SQL("("), left, SQL(operator), right, SQL(")")))


def _array(keys: Keys) -> Any:
    # In the text, so that a query can be grouped by such a part.
    texts = [str(key).replace("\\", "\\\\").replace('"', '\\"') for key in keys]
    quoted = ",".join(f'"{text}"' for text in texts).replace("'", "''")
    return SQL(f"CAST('{{{quoted}}}' AS text[])")


def _given(value: Any) -> Any:
    return _binary(Value(encode_json(value, "value"), converter=False))
