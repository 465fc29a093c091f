"""Whether a server keeps the locks that it gives: not all do that speak PostgreSQL's protocol."""

from __future__ import annotations

from veritas_peewee.database.postgres import PostgresStore
from veritas_peewee.database.postgres_driver import Connection
from veritas_peewee.errors import StoreError


def check_locks(database: PostgresStore) -> None:
    """Raise StoreError if a lock that this connection's session holds does not keep others out.

    The session must have begun; `beside` is asked.
    """
    beside = database.beside
    assert beside is not None
    key = (database.key, int(database.session.id))
    if trouble := trouble_of(database.raw, beside.raw, key):
        raise StoreError(f"{database.name}: {trouble}")


def trouble_of(first: Connection, second: Connection, key: tuple[int, int]) -> str | None:
    """How the lock `key`, which the session of the first connection holds, does not keep out the
    second one, in words; None if it does.

    That is so on servers that only answer to the name (CockroachDB says yes and locks nothing), and
    behind a pooler that hands a connection to others after each transaction.
    """
    if is_pooled(first) and _is_shared(first, second):
        return (
            "a pooler gives this connection away after each transaction, and the store needs its "
            "locks and LISTEN to stay: connect to the server itself, or to a pooler in session "
            "mode (PgBouncer: pool_mode = session; Neon, Supabase: the direct address)"
        )
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
    session = _session(first)
    second.execute("BEGIN")
    try:
        # What is free is given out newest first, or in turn: either shows.
        return _session(second) == session or any(_session(first) != session for _ in range(5))
    finally:
        second.execute("ROLLBACK")
