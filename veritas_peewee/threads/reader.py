"""One reader: a thread, its read-only connection, and the read that it is doing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from queue import SimpleQueue
from time import perf_counter, sleep
from typing import Any

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import bound
from veritas_peewee.database.failures import DRIVER_ERRORS, is_lost, store_error
from veritas_peewee.errors import StoreError
from veritas_peewee.threads.loop import Loop

PROGRESS_STEPS = 20_000
"""Steps of SQLite's virtual machine between two checks of whether a read was cancelled."""
COMES_BACK, TRY_AGAIN = 10.0, 0.2
"""Seconds for which a read waits for a server that has gone, and seconds between two tries."""
SHRINK_AFTER = 500
"""Reads after which a connection's cache is emptied; each PROGRESS_STEPS count as ten reads."""


class Call:
    """One read, and its outcome."""

    __slots__ = ("answer", "args", "cancelled", "context", "error", "fn", "result")

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...], loop: Loop) -> None:
        self.fn = fn
        self.args = args
        self.context = loop.context()
        self.answer = loop.answer()
        self.cancelled = False
        self.result: Any = None
        self.error: BaseException | None = None


class Reader:
    """A thread and its connection, which the thread alone uses, but for an interrupt."""

    def __init__(
        self,
        serve: Callable[[Reader], None],
        is_long: Callable[[Reader], None],
        lock: AbstractContextManager[object],
    ) -> None:
        """`serve` is what the thread runs; `is_long` is called when a read turns out to be long.

        `lock` is held by whoever calls `interrupt`, and by whoever changes `call`.
        """
        # A daemon, so that a program that forgets to close the store still ends.
        self.thread = threading.Thread(
            target=serve, args=(self,), name="veritas-reader", daemon=True
        )
        self.wake: SimpleQueue[None] = SimpleQueue()
        self.call: Call | None = None
        self.began = 0.0
        self._is_long = is_long
        self._lock = lock
        self._database: StoreDatabase | None = None
        self._ends_late = False
        """Whether what ended the last read may yet come, and end another one on this connection."""
        self._steps = 0

    def read(self, call: Call, open_database: Callable[[], StoreDatabase]) -> None:
        """Do a read in a snapshot; its outcome is noted in `call`, and nothing is raised."""
        try:
            if self._ends_late:
                self._ends_late = False
                self.close()
            # A connection to a server can have gone while it was idle, and a read can be run again.
            until = perf_counter() + COMES_BACK
            while not self._read(call, open_database, again=perf_counter() < until):
                self.close()
        except BaseException as error:
            call.error = error

    def _read(
        self, call: Call, open_database: Callable[[], StoreDatabase], *, again: bool = False
    ) -> bool:
        """Do a read; False if its connection has gone and it is to be tried `again`."""
        if (database := self._database) is None:
            try:
                database = open_database()
            except StoreError as error:
                if not again or call.cancelled or not is_lost(error):
                    raise
                sleep(TRY_AGAIN)
                return False
            database.cancel_when(self._go_on, PROGRESS_STEPS)
            self._database = database
        self._steps = 1
        database.paused = perf_counter()
        try:
            call.result = call.context.run(_in_snapshot, database, call.fn, call.args)
        except DRIVER_ERRORS as error:
            if again and not call.cancelled and database.is_lost(error):
                return False
            raise (store_error(error, database.location.name, reading=True) or error) from error
        finally:
            self._tidy(database)
        return True

    def _tidy(self, database: StoreDatabase) -> None:
        if database.transaction_is_open:
            self.close()
            return
        database.work += self._steps
        if database.work > SHRINK_AFTER:
            database.work = 0
            database.release_memory()

    def close(self) -> None:
        """Close the connection; the next read opens another one."""
        with self._lock:  # from here on it cannot be interrupted
            database, self._database = self._database, None
        if database is not None:
            database.close()

    def interrupt(self) -> None:
        """End the read under way."""
        if self.call is not None:
            self.call.cancelled = True
            if self._database is not None:
                self._ends_late = self._database.ends_late
                self._database.interrupt()

    def _go_on(self) -> bool:
        """Called by SQLite every PROGRESS_STEPS; True ends the statement."""
        self._is_long(self)
        self._steps += 10
        call = self.call
        # SQLite forgets an interrupt that comes between two statements; this is called in each.
        return call is not None and call.cancelled


def _in_snapshot(database: StoreDatabase, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    with bound(database), database.unit():
        return fn(*args)
