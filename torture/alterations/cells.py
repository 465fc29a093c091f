"""Changes of single values: of every column of every table, in each of many ways."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from torture.alterations.change import Change, Connection, quoted
from torture.alterations.tables import Column, Pick, Table, condition, rows_of
from veritas_peewee.values.states import AuditStatus, Severity

LONG = 300_000
"""Characters or bytes of a very long value."""
DEEP = 100_000
"""How deeply a JSON value is nested that no reader has the stack for."""
_STATES: tuple[type[AuditStatus] | type[Severity], ...] = (AuditStatus, Severity)

Way = tuple[str, str, tuple[Any, ...]]
"""How a value is changed: the name, the SQL expression of the new value, its parameters."""


class SameValue(Exception):
    """The change changes nothing: the column stores the same as before."""


def changes(connection: Connection, table: Table, most: int, of_each: int) -> Iterator[Change]:
    """Each column of some rows of a table, changed in each way that its value allows."""
    for pick in rows_of(connection, table, most, of_each):
        for column in table.columns:
            value = _value(connection, table, column, pick)
            for name, expression, values in _ways(connection, table, column, pick, value):
                kept = _keeps_order(connection, table, column, pick, values)
                how = f"{name}, its order kept" if kept else name
                yield _change(table, column, pick, how, expression, values)


def _keeps_order(
    connection: Connection, table: Table, column: Column, pick: Pick, values: tuple[Any, ...]
) -> bool:
    """Whether a row with a new number stays where it is among its audit's rows."""
    new = values[0] if values else 0
    if not column.key or table.owner in (None, column.name) or not isinstance(new, int):
        return False
    name, owner = quoted(column.name), quoted(str(table.owner))
    (between,) = connection.execute(
        f"SELECT COUNT(*) FROM {quoted(table.name)} WHERE {owner} = ? AND "
        f"{name} BETWEEN MIN(?, ?) AND MAX(?, ?)",
        (pick.audit, *(pick.key[0], new) * 2),
    ).fetchone()
    return bool(between == 1)


def _value(connection: Connection, table: Table, column: Column, pick: Pick) -> Any:
    sql = f"SELECT {quoted(column.name)} FROM {quoted(table.name)} WHERE {condition(table)}"
    return connection.execute(sql, pick.key).fetchone()[0]


def _change(
    table: Table, column: Column, pick: Pick, how: str, expression: str, values: tuple[Any, ...]
) -> Change:
    name, target, row = quoted(column.name), quoted(table.name), condition(table)
    touched = set(pick.audits)
    if column.name == table.owner and values and isinstance(values[0], str):
        touched.add(values[0])

    def act(connection: Connection, _: Path) -> None:
        stored = f"SELECT typeof({name}), CAST({name} AS BLOB) FROM {target} WHERE {row}"
        before = connection.execute(stored, pick.key).fetchone()
        sql = f"UPDATE {target} SET {name} = {expression} WHERE {row}"
        connection.execute(sql, (*values, *pick.key))
        # If the key itself was changed, the row is not found any more.
        if not table.virtual and connection.execute(stored, pick.key).fetchone() == before:
            raise SameValue

    what = f"{table.name}.{column.name}"
    return Change(what, how, pick.where, act, frozenset(touched), table.is_schema)


def _ways(
    connection: Connection, table: Table, column: Column, pick: Pick, value: Any
) -> Iterator[Way]:
    name = quoted(column.name)
    if value is not None:
        yield "null", "NULL", ()
    yield "empty", "?", (b"" if isinstance(value, bytes) else "",)
    yield "zero", "0", ()
    yield "negative", "?", (-(abs(value) + 1) if isinstance(value, int | float) else -1,)
    yield "infinite", "9e999", ()
    yield "huge", "?", (2**62,)
    yield "a blob of the same bytes", f"CAST(COALESCE({name}, 'x') AS BLOB)", ()
    yield "a text of the same bytes", f"CAST(COALESCE({name}, 'x') AS TEXT)", ()
    yield "text and no number", f"COALESCE({name}, '') || 'x'", ()
    yield "very long", "?", (_long(value),)
    yield "not UTF-8", f"CAST(CAST(COALESCE({name}, '') AS BLOB) || x'FF' AS TEXT)", ()
    yield "a NUL at its end", f"CAST(COALESCE({name}, 'x') AS TEXT) || char(0)", ()
    yield "nested JSON", "?", ("[" * DEEP + "]" * DEEP,)
    if isinstance(value, str):
        yield from _ways_of_text(name, value)
    elif isinstance(value, bytes) and value:
        yield "off by one", "?", (value[:-1] + bytes((value[-1] ^ 1,)),)
        yield "one byte less", "?", (value[:-1],)
        yield "in hexadecimal", f"hex({name})", ()
    elif isinstance(value, int | float):
        yield "off by one", "?", (value + 1,)
        yield "one less", "?", (value - 1,)
        yield "plausible", "?", (99 if value > 1 else 0.75,)
    other = _other(connection, table, column, pick)
    if other is not None:
        yield "another row's", "?", (other,)


def _ways_of_text(name: str, value: str) -> Iterator[Way]:
    yield "in another case", "?", (value.swapcase(),)
    yield "a space at its end", f"{name} || ' '", ()
    yield "a line before it", f"char(10) || {name}", ()
    if value:
        yield "off by one", "?", (value[:-1] + chr(ord(value[-1]) ^ 1),)
    if (likely := _plausible(value)) is not None:
        yield "plausible", "?", (likely,)


def _plausible(value: str) -> str | None:
    """Another value that the library itself could have stored there."""
    for states in _STATES:
        if value in set(states):
            members = [str(one) for one in states]
            return members[(members.index(value) + 1) % len(members)]
    with suppress(ValueError):
        moment = datetime.fromisoformat(value)
        return (moment - timedelta(days=1)).isoformat(" ", "microseconds")
    with suppress(ValueError):
        found = json.loads(value)
        if isinstance(found, dict):
            return json.dumps({**found, "visual": 99}, ensure_ascii=False)
        if isinstance(found, list):
            return json.dumps([*found, "it failed"], ensure_ascii=False)
    return f"{value} at last" if " " in value else f"{value}s"


def _long(value: Any) -> str | bytes:
    if isinstance(value, bytes):
        return value + b"x" * LONG
    return f"{'' if value is None else value}" + "x" * LONG


def _other(connection: Connection, table: Table, column: Column, pick: Pick) -> Any:
    """What another row has in the column; None if all have the same."""
    name = quoted(column.name)
    sql = (
        f"SELECT {name} FROM {quoted(table.name)} WHERE {name} IS NOT NULL AND {name} IS NOT "
        f"(SELECT {name} FROM {quoted(table.name)} WHERE {condition(table)}) LIMIT 1"
    )
    found = connection.execute(sql, pick.key).fetchone()
    return None if found is None else found[0]
