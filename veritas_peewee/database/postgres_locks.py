"""Whether a server keeps the locks that it gives: not all do that speak PostgreSQL's protocol."""

from __future__ import annotations

from time import sleep

from veritas_peewee.database.postgres import PostgresStore
from veritas_peewee.database.postgres_driver import Connection
from veritas_peewee.errors import StoreError

_TRIES = 5
_MOMENT = 0.02
"""Seconds between two tries."""


def check_pooler(database: PostgresStore) -> None:
    """Raise StoreError if what this connection is given by the server is not kept for it.

    To be called before anything else is asked: what one connection has set would be in force for
    another one. `beside` is asked too.
    """
    assert database.beside is not None
    if trouble := trouble_of_pooler(database.raw, database.beside.raw):
        raise StoreError(f"{database.name}: {trouble}")


def check_locks(database: PostgresStore) -> None:
    """Raise StoreError if a lock that this connection's session holds does not keep others out.

    The session must have begun; `beside` is asked.
    """
    assert database.beside is not None
    key = (database.key, int(database.session.id))
    if trouble := trouble_of_locks(database.beside.raw, key):
        raise StoreError(f"{database.name}: {trouble}")


def trouble_of_pooler(first: Connection, second: Connection) -> str | None:
    """How a pooler hands a connection to others after each transaction, in words; else None."""
    if not (is_pooled(first) and _is_shared(first, second)):
        return None
    return (
        "a pooler gives this connection away after each transaction, and the store needs its locks "
        "and LISTEN to stay: connect to the server itself, or to a pooler in session mode "
        "(PgBouncer: pool_mode = session; Neon, Supabase: the direct address)"
    )


def trouble_of_locks(second: Connection, key: tuple[int, int]) -> str | None:
    """How a lock that the session of another connection holds does not keep out this one, in words;
    None if it does.

    It does not on servers that only answer to the name: CockroachDB says yes and locks nothing.
    """
    ((got,),) = second.execute("SELECT pg_try_advisory_lock(?, ?)", key).fetchall()
    if not got:
        return None
    second.execute("SELECT pg_advisory_unlock(?, ?)", key)
    return (
        "this server gives a lock to two connections at once, so two processes could write at the "
        "same time: the store needs PostgreSQL itself (CockroachDB and its like have no advisory "
        "locks; behind a pooler, connect to the server directly)"
    )


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
        if attempt:  # a session is given away a moment after its client has the answer
            sleep(_MOMENT)
        if _meet(first, second):
            return True
    return False


def _meet(first: Connection, second: Connection) -> bool:
    session = _session(first)
    second.execute("BEGIN")
    try:
        # What is free is given out newest first, or in turn: either shows.
        return _session(second) == session or any(_session(first) != session for _ in range(5))
    finally:
        second.execute("ROLLBACK")
