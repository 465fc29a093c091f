"""psycopg's errors as Peewee's, with their codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import peewee
import psycopg

from veritas_peewee.database.postgres_errors import LOST, is_loss


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
def as_peewee(connection: Any) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise peewees(error, connection) from error


def peewees(error: psycopg.Error, connection: Any) -> _Told:
    made = translated(error, connection)
    if made.sqlstate is not None and is_loss(made.sqlstate):
        connection.close()  # it may still wait for what will never come
    return made


def translated(error: psycopg.Error, connection: Any = None) -> _Told:
    """Peewee's error for one of psycopg's."""
    kind = next(_KINDS[one.__name__] for one in type(error).__mro__ if one.__name__ in _KINDS)
    made = kind(str(error).strip())
    made.sqlstate = error.sqlstate
    if made.sqlstate is None and (connection is None or connection.closed):
        made.sqlstate = LOST
    return made
