"""The readers: a pool of read-only connections, and the limit on how many reads run at once."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Any

import anyio
from anyio import to_thread
from anyio.lowlevel import current_token

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import bound
from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.errors import StoreClosed

PROGRESS_STEPS = 20_000
"""Steps of SQLite's virtual machine between two checks of whether a read was cancelled."""
BATON_TIMEOUT = 0.02
"""Seconds for which a read waits for the one before it, should that one be long Python code."""
SHRINK_AFTER = 500
"""Reads after which a connection's cache is emptied; each PROGRESS_STEPS count as ten reads."""
CLOSE_TIMEOUT = 10.0
"""Seconds for which closing waits for reads to notice that they were interrupted."""


class Readers:
    """Runs reads, at most `size` at once, each on one of the pool's connections.

    A connection is opened when it is first needed; it belongs to the pool, not to a thread.
    """

    def __init__(self, open_database: Callable[[], StoreDatabase], size: int) -> None:
        self._open_database = open_database
        self._slots = anyio.CapacityLimiter(size)
        # `_slots` is the limit; an abandoned read holds its slot until its thread has ended.
        self._threads = anyio.CapacityLimiter(math.inf)
        self._token = current_token()
        self._idle: list[StoreDatabase] = []
        self._lock = threading.Lock()
        self._running: set[_Call] = set()
        self._closing = False
        self._drained = threading.Condition(self._lock)
        self._baton = threading.Lock()

    async def run(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Run `fn(*args)` on a reader thread, in one snapshot, and return its result.

        A caller who is cancelled continues at once, and SQLite is interrupted. Raises StoreClosed,
        the store's error for what SQLite reports, or the error of `fn`.
        """
        call = _Call()
        await self._slots.acquire_on_behalf_of(call)
        try:
            return await to_thread.run_sync(
                self._read, call, fn, args, limiter=self._threads, abandon_on_cancel=True
            )
        except BaseException:
            with self._lock:
                self._interrupt(call)
            raise
        finally:
            with self._lock:
                call.abandoned = call in self._running
            if not call.abandoned:
                self._slots.release_on_behalf_of(call)

    def _read(self, call: _Call, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        # Short reads are Python code for the most part, and threads that contend for the
        # interpreter do less together than one after the other. A read that turns out to be long
        # passes the baton on to the next.
        if self._baton.acquire(timeout=BATON_TIMEOUT):
            call.baton = self._baton
        try:
            return self._read_now(call, fn, args)
        finally:
            call.pass_on()

    def _read_now(self, call: _Call, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        database = self._take(call)
        database.paused = perf_counter()
        try:
            with bound(database), database.unit():
                return fn(*args)
        except DRIVER_ERRORS as error:
            if self._closing:
                raise StoreClosed from error
            raise (store_error(error, database.location.name, reading=True) or error) from error
        finally:
            self._give_back(call, database)

    def _take(self, call: _Call) -> StoreDatabase:
        with self._lock:
            if self._closing or call.cancelled:
                raise StoreClosed
            call.began = perf_counter()
            self._running.add(call)
            database = self._idle.pop() if self._idle else None
        try:
            database = database or self._open_database()
        except BaseException:
            self._leave(call)
            raise
        with self._lock:
            call.database = database
            database.cancel_when(call.go_on, PROGRESS_STEPS)
        return database

    def _give_back(self, call: _Call, database: StoreDatabase) -> None:
        database.work += 1 + call.steps
        if database.work > SHRINK_AFTER:
            database.work = 0
            database.release_memory()
        with self._lock:
            call.database = None
            late = self._closing or database.transaction_is_open
            if not late:
                self._idle.append(database)
        if late:
            database.close()
        self._leave(call)

    def _leave(self, call: _Call) -> None:
        with self._lock:
            self._running.discard(call)
            abandoned = call.abandoned
            self._drained.notify_all()
        if abandoned:
            # The loop may have ended, and its limiter with it.
            with suppress(anyio.RunFinishedError):
                self._token.backend_class.run_sync_soon(
                    self._slots.release_on_behalf_of, (call,), self._token.native_token
                )

    def _interrupt(self, call: _Call) -> None:
        """Call under the lock: a moment later the connection may serve another read."""
        call.cancelled = True
        if call.database is not None:
            call.database.interrupt()

    def longest(self) -> float:
        """Seconds for which the oldest read under way has been running; 0 if there is none."""
        with self._lock:
            began = [call.began for call in self._running]
        return perf_counter() - min(began) if began else 0.0

    def close(self) -> None:
        """Refuse new reads, interrupt those under way, and close every connection; blocks."""
        with self._lock:
            self._closing = True
            for call in self._running:
                self._interrupt(call)
            self._drained.wait_for(lambda: not self._running, CLOSE_TIMEOUT)
            idle, self._idle = self._idle, []
        for database in idle:
            database.close()


class _Call:
    """One read, so that a caller who is cancelled interrupts this read and no other."""

    database: StoreDatabase | None = None
    cancelled = False
    abandoned = False
    began = 0.0

    steps = 0
    baton: threading.Lock | None = None

    def go_on(self) -> bool:
        """Called by SQLite every PROGRESS_STEPS; True ends the statement."""
        self.pass_on()
        self.steps += 10
        # SQLite forgets an interrupt that comes between two statements; this is called in each.
        return self.cancelled

    def pass_on(self) -> None:
        """Let the next read begin, if this one has not done so yet."""
        if self.baton is not None:
            self.baton.release()
            self.baton = None
