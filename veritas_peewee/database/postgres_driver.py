"""psycopg 3 as the store uses it: `?` for values, and Peewee's errors.

So the text of a statement is the same for every backend, and so is what it raises.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import peewee
import psycopg
from psycopg.adapt import Loader
from psycopg.pq import TransactionStatus

from veritas_peewee.database.postgres_errors import LOST

_PARTS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|\$(\w*)\$.*?\$\1\$|\?", re.DOTALL)
"""What a mark could be inside of, and a mark."""


@functools.lru_cache(4096)
def numbered(sql: str) -> str:
    """A statement whose values are marked by `?`, with PostgreSQL's own `$1`, `$2`, …"""
    number = 0

    def mark(found: re.Match[str]) -> str:
        nonlocal number
        if found[0] != "?":
            return found[0]
        number += 1
        return f"${number}"

    return _PARTS.sub(mark, sql)


class _Told(Exception):
    """An error of the server's or of the connection, with its SQLSTATE.

    Peewee's own wrapper, which goes by the name of a class and of its first base, leaves it alone.
    """

    sqlstate: str | None = None


_KINDS: dict[str, type[_Told]] = {
    name: type(f"Server{name}", (_Told, getattr(peewee, name)), {"__module__": __name__})
    for name in (
        "DataError", "IntegrityError", "InterfaceError", "InternalError", "NotSupportedError",
        "OperationalError", "ProgrammingError", "DatabaseError",
    )
}  # fmt: skip


@contextmanager
def _as_peewee(connection: Any) -> Any:
    try:
        yield
    except psycopg.Error as error:
        raise translated(error, connection) from error


def translated(error: psycopg.Error, connection: Any = None) -> _Told:
    """Peewee's error for one of psycopg's."""
    kind = next(_KINDS[one.__name__] for one in type(error).__mro__ if one.__name__ in _KINDS)
    made = kind(str(error).strip())
    made.sqlstate = error.sqlstate
    if made.sqlstate is None and (connection is None or connection.closed):
        made.sqlstate = LOST
    return made


class _Cursor(psycopg.RawCursor[Any]):
    def execute(self, query: Any, params: Any = None, **rest: Any) -> Any:
        with _as_peewee(self.connection):
            if not params:
                return super().execute(query, None, **rest)
            return super().execute(numbered(query), params, **rest)

    def executemany(self, query: Any, params_seq: Iterable[Any], **rest: Any) -> None:
        with _as_peewee(self.connection):
            super().executemany(numbered(query), params_seq, **rest)


class _WholeNumber(Loader):
    """A `numeric`, such as the sum of many whole numbers, as the number that it is."""

    def load(self, data: Any) -> int | float:
        text = bytes(data).decode()
        return int(text) if text.lstrip("-").isdecimal() else float(text)


class Connection(psycopg.Connection[Any]):
    """A connection on which each statement is a transaction, unless one was begun by BEGIN."""

    @property
    def in_transaction(self) -> bool:
        return self.info.transaction_status in (
            TransactionStatus.INTRANS,
            TransactionStatus.INERROR,
            TransactionStatus.ACTIVE,
        )

    @property
    def has_failed(self) -> bool:
        """Whether a statement of the open transaction has failed, so that it takes no other."""
        return self.info.transaction_status is TransactionStatus.INERROR

    def executemany(self, sql: str, rows: Iterable[Any]) -> None:
        self.cursor().executemany(sql, rows)

    def each_row(self, sql: str, params: Any = None) -> Iterator[tuple[Any, ...]]:
        """The rows of a SELECT as they come, so that they are not held all at once."""
        with _as_peewee(self):
            yield from self.cursor().stream(numbered(sql), params or None)


def connect(url: str, **options: Any) -> Connection:
    """A connection to the server; raises Peewee's OperationalError."""
    try:
        made = Connection.connect(url, autocommit=True, cursor_factory=_Cursor, **options)
    except psycopg.Error as error:
        raise translated(error) from error
    made.adapters.register_loader("numeric", _WholeNumber)
    return made
