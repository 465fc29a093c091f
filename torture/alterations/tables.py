"""The tables, columns and rows of a file, as the file itself tells them."""

from __future__ import annotations

from typing import Any, NamedTuple

from torture.alterations.change import Connection, quoted
from veritas_peewee.migrations import HISTORY

REMOVED = "removed"
"""The place of rows whose audit is gone."""
_FIRST = ("running", "completed", REMOVED, "queued", "error")
"""The places whose rows are chosen before those of others."""


class Column(NamedTuple):
    name: str
    type: str
    """The declared type, in upper case."""
    not_null: bool
    default: str | None
    key: int
    """Its position in the primary key, from 1; 0 if it is not in it."""
    hidden: bool


class Table(NamedTuple):
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    """By what a row is found: the rowid, or the primary key of a table that has none."""
    virtual: bool
    shadow: bool

    def column(self, name: str) -> Column | None:
        return next((one for one in self.columns if one.name == name), None)

    @property
    def is_schema(self) -> bool:
        """Whether its rows say which schema the file has: then a store may refuse to open it."""
        return self.name == HISTORY

    @property
    def owner(self) -> str | None:
        """The column with the id of the audit that a row belongs to."""
        if self.column("audit_id") is not None:
            return "audit_id"
        return "id" if self.name == "audits" else None


class Pick(NamedTuple):
    """A row that was chosen."""

    key: tuple[Any, ...]
    where: str
    """The status of its audit; `removed`; for a row that belongs to no audit its first text."""
    audit: str | None

    @property
    def audits(self) -> frozenset[str]:
        return frozenset() if self.audit is None else frozenset((self.audit,))


def tables_of(connection: Connection) -> list[Table]:
    """All tables of a file, those of SQLite and of virtual tables too."""
    found = []
    listed = connection.execute(
        "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main' AND type <> 'view'"
    )
    for name, kind, without_rowid in sorted(listed.fetchall()):
        if name == "sqlite_schema":
            continue  # its rows are what `parts` changes
        rows = connection.execute("SELECT * FROM pragma_table_xinfo(?)", (name,)).fetchall()
        columns = tuple(
            Column(column, declared.upper(), bool(not_null), default, key, bool(hidden))
            for _, column, declared, not_null, default, key, hidden in rows
        )
        keys = sorted((one.key, one.name) for one in columns if one.key)
        key = tuple(column for _, column in keys) if without_rowid else ("rowid",)
        found.append(Table(name, columns, key, kind == "virtual", kind == "shadow"))
    return found


def rows_of(connection: Connection, table: Table, most: int, of_each: int) -> list[Pick]:
    """Rows of a table, evenly over its kinds of audits and over their rows.

    At most `of_each` for each status of the audit that they belong to, and `most` in all.
    """
    key = ", ".join(quoted(name) for name in table.key)
    name = quoted(table.name)
    if table.owner is None:
        rows = connection.execute(f"SELECT {key} FROM {name} ORDER BY {key}").fetchall()
        chosen = _spread(rows, most)
        return [Pick(one, _first_text(connection, table, one), None) for one in chosen]
    owner = quoted(table.owner)
    sql = f"SELECT {key}, {owner} FROM {name} ORDER BY {key}"
    status = dict(connection.execute("SELECT id, status FROM audits").fetchall())
    groups: dict[str, list[Pick]] = {}
    for *values, audit in connection.execute(sql).fetchall():
        where = status.get(audit, REMOVED)
        groups.setdefault(where, []).append(Pick(tuple(values), where, audit))
    places = [*(one for one in _FIRST if one in groups), *sorted(set(groups) - set(_FIRST))]
    picks = [_spread(groups[place], of_each) for place in places]
    turns = max(map(len, picks), default=0)
    return [group[turn] for turn in range(turns) for group in picks if turn < len(group)][:most]


def _first_text(connection: Connection, table: Table, key: tuple[Any, ...]) -> str:
    if table.virtual:
        return ""
    sql = f"SELECT * FROM {quoted(table.name)} WHERE {condition(table)}"
    row = connection.execute(sql, key).fetchone()
    return next((one for one in row if isinstance(one, str) and len(one) < 30), "")


def _spread(rows: list[Any], most: int) -> list[Any]:
    """At most so many of the rows: the first, the last, and evenly between."""
    if len(rows) <= most:
        return rows
    if most == 1:
        return [rows[len(rows) // 2]]
    return [rows[index * (len(rows) - 1) // (most - 1)] for index in range(most)]


def condition(table: Table) -> str:
    """The WHERE of one row; its values are those of a pick's key."""
    return " AND ".join(f"{quoted(name)} IS ?" for name in table.key)
