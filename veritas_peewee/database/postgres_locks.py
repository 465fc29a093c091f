"""Whether a server keeps the locks that it gives: not all do that speak PostgreSQL's protocol."""

from __future__ import annotations

from veritas_peewee.database.postgres import PostgresStore
from veritas_peewee.database.postgres_driver import Connection
from veritas_peewee.errors import StoreError


def check_locks(database: PostgresStore) -> None:
    """Raise StoreError if a lock that this connection's session holds does not keep others out.

    The session must have begun; `beside` is asked.
    """
    assert database.beside is not None
    key = (database.key, int(database.session.id))
    if trouble := trouble_of_locks(database.beside.raw, key):
        raise StoreError(f"{database.name}: {trouble}")


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
