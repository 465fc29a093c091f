"""Poolers between the store and its server: one that gives a connection to others after each
transaction is refused, before anything is asked of it.

What a connection has set would stay in force in the server's session, for whoever gets that next.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from time import sleep

from veritas_peewee.database.postgres_driver import Connection
from veritas_peewee.errors import StoreError

GIVES_AWAY = (
    "a pooler gives this connection away after each transaction, and the store needs its locks "
    "and LISTEN to stay: connect to the server itself, or to a pooler in session mode "
    "(PgBouncer: pool_mode = session; Neon, Supabase: the direct address)"
)


_TRIES = 8
"""How often it is looked: a pooler may take a session back only a moment after it has answered, and
then gives another one to whoever asks at once."""
_MOMENT = 0.01
"""Seconds between two of them."""


def check_pooler(first: Connection, name: str, connect: Callable[[], Connection]) -> None:
    """Raise StoreError if a new connection to the database of this name is not kept for its owner;
    `connect` makes a second one."""
    if is_pooled(first):
        with closing(connect()) as second:
            if _is_shared(first, second):
                raise StoreError(f"{name}: {GIVES_AWAY}")


def is_pooled(connection: Connection) -> bool:
    """Whether it is not the server itself that answers, but a pooler before it, which gives numbers
    of its own to the sessions."""
    return connection.info.backend_pid != _session(connection)


def _session(connection: Connection) -> int:
    ((pid,),) = connection.execute("SELECT pg_backend_pid()").fetchall()
    return int(pid)


def _is_shared(first: Connection, second: Connection) -> bool:
    """Whether a pooler runs transactions of one connection in several sessions of the server."""
    for attempt in range(_TRIES):
        if attempt:
            sleep(_MOMENT)
        session = _session(first)
        second.execute("BEGIN")
        try:
            # What is free is given out newest first, or in turn: either shows.
            if _session(second) == session or _session(first) != session:
                return True
        finally:
            second.execute("ROLLBACK")
    return False
