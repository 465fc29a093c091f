"""One change of a file, as another program would make it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from sqlite3 import Connection as Connection
from typing import Any, NamedTuple

Act = Callable[[Connection, Path], object]
"""Makes the change: by a connection with foreign keys off, and in the folder of the images."""


class Change(NamedTuple):
    """A change and what it is about."""

    what: str
    """The table and column, or the kind of part: `audits.url`, `rows of audits`, `images`."""
    how: str
    """`null`, `removed`, …"""
    where: str
    """Which row: the status of its audit, `removed`, or empty."""
    act: Act
    audits: frozenset[str] = frozenset()
    """The ids of the audits that it touches: they alone may suffer."""
    refusable: bool = False
    """Whether a store may refuse to write to such a file: its schema is not ours any more."""

    def __str__(self) -> str:
        return f"{self.what}: {self.how}" + (f" ({self.where})" if self.where else "")


def run(sql: str, *values: Any) -> Act:
    """An act of one statement."""
    return lambda connection, _: connection.execute(sql, values)


def script(*statements: str) -> Act:
    """An act of several statements, in a transaction of its own."""

    def act(connection: Connection, _: Path) -> None:
        for statement in statements:
            connection.execute(statement)

    return act


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
