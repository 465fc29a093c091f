"""A few read-only connections and the limit on how many run at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import anyio
from anyio import to_thread

from veritas_peewee.database import StoreDatabase, bound
from veritas_peewee.errors import DRIVER_ERRORS, StoreClosed, store_error

CLOSE_TIMEOUT = 10.0
"""Seconds that closing waits for a read to notice that it has been interrupted."""


class Readers:
    """Connections are opened when first needed and belong to the pool, not to a thread."""

    def __init__(self, open_database: Callable[[], StoreDatabase], size: int) -> None:
        self._open_database = open_database
        self._limiter = anyio.CapacityLimiter(size)
        self._idle: SimpleQueue[StoreDatabase] = SimpleQueue()
        self._lock = threading.Lock()
        self._room = threading.Semaphore(size)
        self._busy: set[StoreDatabase] = set()
        self._closing = False
        self._drained = threading.Condition(self._lock)

    async def run(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Run `fn(*args)` on a reader thread, in one snapshot.

        Cancelled, the caller goes on at once and SQLite is interrupted.
        """
        call = _Call()
        try:
            return await to_thread.run_sync(
                self._read, call, fn, args, limiter=self._limiter, abandon_on_cancel=True
            )
        except BaseException:
            call.interrupt()
            raise

    def _read(self, call: _Call, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        # An abandoned read gives its place in the limiter back before it has ended.
        with self._room:
            database = self._take()
            try:
                call.begin(database)
                with bound(database), database.unit():
                    return fn(*args)
            except DRIVER_ERRORS as error:
                raise (store_error(error, database.location.name, reading=True) or error) from error
            finally:
                call.end()
                self._give_back(database)

    def _take(self) -> StoreDatabase:
        with self._lock:
            if self._closing:
                raise StoreClosed
            try:
                database = self._idle.get_nowait()
            except Empty:
                database = self._open_database()
            self._busy.add(database)
            return database

    def _give_back(self, database: StoreDatabase) -> None:
        with self._lock:
            self._busy.discard(database)
            self._idle.put(database)
            self._drained.notify_all()

    def close(self) -> None:
        """Refuse new reads, interrupt those under way, and close every connection; blocks."""
        with self._lock:
            self._closing = True
            for database in self._busy:
                database.raw.interrupt()
            self._drained.wait_for(lambda: not self._busy, CLOSE_TIMEOUT)
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()


class _Call:
    """One read, so that a caller who goes away can interrupt it and nobody else's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._database: StoreDatabase | None = None
        self._cancelled = False

    def begin(self, database: StoreDatabase) -> None:
        with self._lock:
            if self._cancelled:
                raise StoreClosed("the caller of this read has gone away")
            self._database = database

    def end(self) -> None:
        with self._lock:
            self._database = None

    def interrupt(self) -> None:
        with self._lock:
            self._cancelled = True
            if self._database is not None:
                self._database.raw.interrupt()
