"""Changes of whole rows: removed, doubled, forged, taken to another audit, renumbered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from torture.alterations.change import Act, Change, Connection, quoted, run
from torture.alterations.tables import Column, Pick, Table, condition, rows_of


def changes(connection: Connection, table: Table, most: int, of_each: int) -> Iterator[Change]:
    """Changes of some rows of a table, and of all of them at once."""
    for change in _changes(connection, table, most, of_each):
        yield change._replace(refusable=table.is_schema)


def _changes(connection: Connection, table: Table, most: int, of_each: int) -> Iterator[Change]:
    what, name = f"rows of {table.name}", quoted(table.name)
    picks = rows_of(connection, table, most, of_each)
    everyone = frozenset(row[0] for row in connection.execute("SELECT id FROM audits"))
    if picks:
        yield Change(what, "all removed", "", run(f"DELETE FROM {name}"), everyone)
        if not table.virtual:
            emptied = without_triggers(table, f"DELETE FROM {name}")
            yield Change(what, "all removed past the triggers", "", emptied, everyone)
    for pick in picks:
        removal = f"DELETE FROM {name} WHERE {condition(table)}"
        yield Change(what, "removed", pick.where, run(removal, *pick.key), pick.audits)
        if not table.virtual:
            act = without_triggers(table, removal, pick.key)
            yield Change(what, "removed past the triggers", pick.where, act, pick.audits)
        for how, key in (("doubled", None), ("doubled at the end", "last"), ("forged", "forged")):
            act = _copied(table, pick, forged=key == "forged", at_end=key is not None)
            yield Change(what, how, pick.where, act, pick.audits)
        if not table.virtual:
            act = _renumbered(table, pick)
            last = _is_last(connection, table, pick)
            how = "numbered anew, its order kept" if last else "numbered anew"
            yield Change(what, how, pick.where, act, pick.audits)
    yield from _between(connection, table, what, picks)


def without_triggers(table: Table, sql: str, values: Sequence[Any] = ()) -> Act:
    """A statement that no trigger of the table notices; they are there again afterwards."""

    def act(connection: Connection, _: Path) -> None:
        triggers = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?",
            (table.name,),
        ).fetchall()
        for trigger, _sql in triggers:
            connection.execute(f"DROP TRIGGER {quoted(trigger)}")
        connection.execute(sql, values)
        for _name, text in triggers:
            connection.execute(text)

    return act


def _visible(table: Table) -> list[Column]:
    return [one for one in table.columns if not one.hidden]


def _copied(table: Table, pick: Pick, *, forged: bool, at_end: bool) -> Act:
    """The row once more, under a free key; forged: with other texts and numbers of its own."""

    def act(connection: Connection, _: Path) -> None:
        name, columns = quoted(table.name), _visible(table)
        listed = ", ".join(quoted(one.name) for one in columns)
        sql = f"SELECT {listed} FROM {name} WHERE {condition(table)}"
        row = list(connection.execute(sql, pick.key).fetchone())
        for position, column in enumerate(columns):
            if column.key:
                row[position] = _free(connection, table, column, row[position], at_end)
            elif forged:
                row[position] = _forged(column, row[position])
        marks = ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO {name} ({listed}) VALUES ({marks})", row)

    return act


def _free(connection: Connection, table: Table, column: Column, value: Any, at_end: bool) -> Any:
    """A key that is not taken: another number, or another text of the same length."""
    if isinstance(value, str):
        return value[:-1] + chr(ord(value[-1]) ^ 1) if value else "x"
    if not isinstance(value, int):
        return value
    key, name = quoted(column.name), quoted(table.name)
    if at_end:
        return connection.execute(f"SELECT MAX({key}) + 1 FROM {name}").fetchone()[0]
    sql = f"SELECT MIN({key}) - 1 FROM {name}"
    return connection.execute(sql).fetchone()[0]


def _forged(column: Column, value: Any) -> Any:
    if isinstance(value, str) and " " in value and not value[:4].isdecimal():
        return f"{value} indeed"
    return value


def _renumbered(table: Table, pick: Pick) -> Act:
    """The row gets a key that no row has."""
    column = next((one for one in table.columns if one.key), None)
    key = quoted(column.name if column and column.type == "INTEGER" else table.key[0])

    def act(connection: Connection, _: Path) -> None:
        name = quoted(table.name)
        top = connection.execute(f"SELECT MAX({key}) FROM {name}").fetchone()[0]
        new = top + 7 if isinstance(top, int) else f"{top}x"
        connection.execute(
            f"UPDATE {name} SET {key} = ? WHERE {condition(table)}", (new, *pick.key)
        )

    return act


def _is_last(connection: Connection, table: Table, pick: Pick) -> bool:
    """Whether none of its audit's rows comes after a row."""
    if table.owner is None or len(table.key) > 1:
        return False
    sql = f"SELECT MAX(rowid) FROM {quoted(table.name)} WHERE {quoted(table.owner)} = ?"
    return bool(connection.execute(sql, (pick.audit,)).fetchone()[0] == pick.key[0])


# ---- two rows ----


def _between(
    connection: Connection, table: Table, what: str, picks: list[Pick]
) -> Iterator[Change]:
    """Two rows exchange their audits, their keys or all they hold; one goes to another's audit."""
    if table.virtual:
        return
    by_audit: dict[str | None, list[Pick]] = {}
    for pick in picks:
        by_audit.setdefault(pick.audit, []).append(pick)
    firsts = [group[0] for group in by_audit.values()]
    for one, other in pairwise(firsts):
        where, touched = f"{one.where}, {other.where}", one.audits | other.audits
        if table.owner is not None and table.name != "audits":
            act = _relinked(table, table.owner, one, other)
            yield Change(what, "taken to another audit", where, act, touched)
            act = _exchanged(table, one, other, [table.owner])
            yield Change(what, "audits exchanged", where, act, touched)
            act = _copied_to(table, table.owner, one, other)
            yield Change(what, "copied to another audit", where, act, touched)
        act = _exchanged(table, one, other, _contents(table))
        yield Change(what, "contents exchanged", where, act, touched)
    for group in [group for group in by_audit.values() if len(group) > 1]:
        one, other = group[0], group[-1]
        act = _exchanged(table, one, other, _contents(table))
        yield Change(what, "order changed", one.where, act, one.audits | other.audits)


def _contents(table: Table) -> list[str]:
    """All columns but those of the key and the audit's id."""
    apart = {*table.key, table.owner}
    return [one.name for one in _visible(table) if not one.key and one.name not in apart]


def _relinked(table: Table, owner: str, one: Pick, other: Pick) -> Act:
    sql = f"UPDATE {quoted(table.name)} SET {quoted(owner)} = ? WHERE {condition(table)}"
    return run(sql, other.audit, *one.key)


def _copied_to(table: Table, owner: str, one: Pick, other: Pick) -> Act:
    """A copy of a row, with its digest, in another audit."""
    copied = _copied(table, one, forged=False, at_end=True)

    def act(connection: Connection, folder: Path) -> None:
        copied(connection, folder)
        sql = f"UPDATE {quoted(table.name)} SET {quoted(owner)} = ? WHERE rowid = "
        connection.execute(f"{sql} last_insert_rowid()", (other.audit,))

    return act


def _exchanged(table: Table, one: Pick, other: Pick, columns: list[str]) -> Act:
    """Two rows exchange what they have in these columns."""
    from torture.alterations.cells import SameValue

    def act(connection: Connection, _: Path) -> None:
        if not columns:
            raise SameValue
        name, row = quoted(table.name), condition(table)
        listed = ", ".join(map(quoted, columns))
        first, second = (
            connection.execute(f"SELECT {listed} FROM {name} WHERE {row}", key).fetchone()
            for key in (one.key, other.key)
        )
        if first == second:
            raise SameValue
        changed = ", ".join(f"{quoted(column)} = ?" for column in columns)
        # A column that is unique must be free in between.
        unique = {
            column
            for (column,) in connection.execute(
                "SELECT i.name FROM pragma_index_list(?) AS l, pragma_index_info(l.name) AS i "
                'WHERE l."unique"',
                (table.name,),
            )
        }
        away = [f"{value}~" if column in unique else value
                for column, value in zip(columns, first, strict=True)]  # fmt: skip
        sql = f"UPDATE {name} SET {changed} WHERE {row}"
        connection.execute(sql, (*away, *one.key))
        connection.execute(sql, (*first, *other.key))
        connection.execute(sql, (*second, *one.key))

    return act
