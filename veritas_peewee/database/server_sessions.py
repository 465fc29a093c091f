"""Which processes are alive, as a server knows it: each that runs audits holds a lock there.

The server lets go of the lock when the connection ends, however the process dies. After a crash of
the server itself the living hold none until they have connected again, so a process counts as dead
only if it has also given no sign of life for a while.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from veritas_peewee.database.failures import DRIVER_ERRORS
from veritas_peewee.files.platform import host_name
from veritas_peewee.files.sessions import Session, State

if TYPE_CHECKING:
    from veritas_peewee.database.connection import StoreDatabase

BEAT_EVERY = 10.0
"""Seconds between two signs of life."""
SILENT = 30
"""Seconds without a sign of life after which a process whose lock is free counts as dead."""
_STATE = (
    "SELECT heartbeat < clock_timestamp() - make_interval(secs => ?), EXISTS (SELECT 1 FROM "
    "pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted AND classid = ? AND "
    "objid = ? AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) "
    "FROM store_sessions WHERE id = ?"
)
_COMMITS = "UPDATE store_sessions SET commits = ?, heartbeat = clock_timestamp() WHERE id = ?"
_COUNT_ON = (
    "SELECT setval(pg_get_serial_sequence('store_sessions', 'id'), (SELECT max(id) FROM "
    "store_sessions)) WHERE (SELECT last_value FROM store_sessions_id_seq) < (SELECT max(id) FROM "
    "store_sessions)"
)
_logger = logging.getLogger("veritas_peewee")


class ServerSession(Session):
    """A connection's proof that its process is alive: a lock that it holds on the server.

    It is begun outside of a transaction, whose roll-back would take its row along.
    """

    def __init__(self, database: StoreDatabase, key: Callable[[], int]) -> None:
        """`key` gives the first key of the store's locks, once the database is connected."""
        super().__init__(None)
        self._database = database
        self._key = key
        self._number: int | None = None
        self._beat_at = 0.0
        self.commits = 0
        """How many transactions were to be committed, the last one too if that has failed."""

    def begin(self) -> None:
        """Begin the session, unless it has begun."""
        _ = self.id

    @property
    def id(self) -> str:
        if self._number is None or self._process != os.getpid():
            connection = self._database.state.conn
            told = f"{host_name()} {os.getpid()}"
            row = connection.execute(
                "INSERT INTO store_sessions (told, commits) VALUES (?, ?) RETURNING id",
                (told, self.commits),
            ).fetchone()
            self._number, self._process = int(row[0]), os.getpid()
            self._hold()
        return str(self._number)

    def _hold(self) -> None:
        self._database.state.conn.execute(
            "SELECT pg_advisory_lock_shared(?, ?)", (self._key(), self._number)
        )
        self._beat_at = monotonic() + BEAT_EVERY

    def begin_again(self) -> None:
        """Hold the lock on a new connection, after the one before has gone."""
        if self._number is not None:
            self._hold()
            connection = self._database.state.conn
            # Of a server that has taken over without the newest commits it may be unknown.
            connection.execute(
                "INSERT INTO store_sessions (id, told) OVERRIDING SYSTEM VALUE VALUES (?, ?) "
                "ON CONFLICT (id) DO UPDATE SET heartbeat = clock_timestamp()",
                (self._number, f"{host_name()} {os.getpid()}"),
            )
            connection.execute(_COUNT_ON)

    def count_commit(self) -> None:
        """Note in the open transaction, which is about to be committed, that it was."""
        if self._number is not None:
            self.commits += 1
            self._database.state.conn.execute(_COMMITS, (self.commits, self._number))

    def newest_commit(self) -> int | None:
        """How many transactions of the session were committed; None if nobody knows."""
        connection = self._database.state.conn
        row = connection.execute(
            "SELECT commits FROM store_sessions WHERE id = ?", (self._number,)
        ).fetchone()
        return None if row is None else row[0]

    def keep(self) -> None:
        """Give a sign of life, if it is time for one; failures are only logged."""
        connection = self._database.state.conn
        if self._number is None or monotonic() < self._beat_at or connection is None:
            return
        try:
            self._beat()
        except DRIVER_ERRORS as error:
            _logger.warning("%s: no sign of life could be given: %s", self._database.name, error)

    def _beat(self) -> None:
        self._beat_at = monotonic() + BEAT_EVERY
        self._database.state.conn.execute(
            "UPDATE store_sessions SET heartbeat = clock_timestamp() WHERE id = ?", (self._number,)
        )

    def close(self, *, beside_others: bool = False) -> None:
        if self._number is not None and self._process == os.getpid():
            connection = self._database.state.conn
            if connection is not None:
                with suppress(*DRIVER_ERRORS):
                    connection.execute("DELETE FROM store_sessions WHERE id = ?", (self._number,))
        self._number = None
        self._running.clear()

    # ---- what is known of others ----

    def look(self, session: str) -> State:
        if not (isinstance(session, str) and session.isascii() and session.isdigit()):
            return State.DEAD
        if len(session) > 9:
            return State.DEAD
        values = (SILENT, self._key() & 0xFFFFFFFF, int(session), int(session))
        row = self._database.state.conn.execute(_STATE, values).fetchone()
        if row is None:
            return State.DEAD  # it has ended in order, or its audits were settled
        is_silent, is_held = row
        if is_held:
            return State.ALIVE
        return State.DEAD if is_silent else State.UNKNOWN

    def leftovers(self) -> list[str]:
        rows = self._database.state.conn.execute("SELECT id FROM store_sessions").fetchall()
        return [name for (number,) in rows if self.look(name := str(number)) is State.DEAD]

    def sweep(self, dead: Iterable[str]) -> None:
        numbers = [int(one) for one in dead]
        if numbers:
            with suppress(*DRIVER_ERRORS):
                self._database.state.conn.execute(
                    # One that has meanwhile connected again has given a sign of life.
                    "DELETE FROM store_sessions WHERE id = ANY(?) AND "
                    "heartbeat < clock_timestamp() - make_interval(secs => ?)",
                    (numbers, SILENT),
                )
