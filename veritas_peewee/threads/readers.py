"""The readers: threads with read-only connections, as many as reads may run at once.

Short reads are Python code for the most part, and threads that contend for the interpreter do less
together than one after the other. So one thread, the leader, takes all reads that come, one by
one. A read that turns out to be long makes another thread the leader; and if one takes long in
Python code, where nobody can be told, the deputy, who watches him while reads wait, takes over.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from queue import Empty
from time import perf_counter
from typing import Any

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.failures import DRIVER_ERRORS
from veritas_peewee.errors import StoreClosed
from veritas_peewee.threads.loop import Loop
from veritas_peewee.threads.reader import Call, Reader

TAKE_OVER_AFTER = 0.02
"""Seconds for which reads wait for the one before them, should that one be long Python code."""
HOLD_BACK = 0.001
"""Seconds for which the answers of reads that are done are held back while others wait, so that
the event loop is woken once for several of them."""
CLOSE_TIMEOUT = 10.0
"""Seconds for which closing waits for reads to notice that they were interrupted."""


class Readers:
    """Runs reads in the order in which they come, at most `size` at once.

    A thread is started when it is first needed; it opens a connection of its own, and closes it
    when the readers are closed.
    """

    def __init__(self, open_database: Callable[[], StoreDatabase], size: int) -> None:
        self._open_database = open_database
        self._size = size
        self._loop = Loop()
        # Re-entrant, for a store that is garbage-collected stops its readers in whichever thread
        # and line that happens.
        self._lock = threading.RLock()
        self._waiting: OrderedDict[Call, None] = OrderedDict()
        self._answered: list[Call] = []
        self._threads: list[Reader] = []
        self._idle: list[Reader] = []
        self._leader: Reader | None = None
        self._deputy: Reader | None = None
        self._closing = False
        self._woken = False
        """Whether the loop was woken for the answers."""
        self._held_since = 0.0
        self._ended = threading.Condition(self._lock)

    async def run(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Run `fn(*args)` on a reader thread, in one snapshot, and return its result.

        A caller who is cancelled continues at once, and SQLite is interrupted. Raises StoreClosed,
        the store's error for what SQLite reports, or the error of `fn`.
        """
        call = Call(fn, args, self._loop)
        with self._lock:
            if self._closing:
                raise StoreClosed
            self._waiting[call] = None
            try:
                self._appoint()
            except BaseException:
                del self._waiting[call]
                raise
        try:
            await self._loop.wait(call.answer)
        except BaseException:
            with self._lock:
                self._withdraw(call)
            raise
        if call.error is None:
            return call.result
        # The traceback leads to frames that hold the call: without this, all would wait for the
        # garbage collection.
        error, call.error = call.error, None
        try:
            raise error
        finally:
            del error

    def longest(self) -> float:
        """Seconds for which the oldest read under way has been running; 0 if there is none."""
        with self._lock:
            began = [reader.began for reader in self._threads if reader.call is not None]
        return perf_counter() - min(began) if began else 0.0

    def stop(self) -> None:
        """Refuse new reads and those that wait, interrupt those under way; does not wait."""
        with self._lock:
            self._closing = True
            for call in self._waiting:
                call.error = StoreClosed()
            self._answered += self._waiting
            self._waiting.clear()
            for reader in self._threads:
                reader.interrupt()
                reader.wake.put(None)
        self._loop.wake(self._deliver)

    def close(self) -> None:
        """Do what `stop` does, and close every connection; blocks."""
        with self._lock:
            threads = list(self._threads)
            self.stop()
            self._ended.wait_for(lambda: not self._threads, CLOSE_TIMEOUT)
            ended = [reader for reader in threads if reader not in self._threads]
        for reader in ended:
            reader.thread.join()

    # ---- under the lock ----

    def _appoint(self) -> None:
        """Make somebody the leader, or else the deputy, if there is none and a thread is free."""
        if self._leader is None:
            self._leader, self._deputy = self._deputy or self._free(), None
            if (appointed := self._leader) is not None:
                appointed.began = perf_counter()
        elif self._deputy is None:
            self._deputy = appointed = self._free()
        else:
            return
        if appointed is not None:
            appointed.wake.put(None)

    def _free(self) -> Reader | None:
        if self._idle:
            return self._idle.pop()
        if len(self._threads) == self._size:
            return None
        reader = Reader(self._serve, self._passes_on, self._lock)
        try:
            reader.thread.start()
        except RuntimeError:  # the system has no more threads
            if not self._threads:
                raise
            return None
        self._threads.append(reader)
        return reader

    def _withdraw(self, call: Call) -> None:
        """Its caller is gone. Under the lock: a moment later the connection may serve another."""
        call.cancelled = True
        if call in self._waiting:
            del self._waiting[call]
        else:
            for reader in self._threads:
                if reader.call is call:
                    reader.interrupt()

    def _next(self, me: Reader) -> tuple[Call | None, float | None]:
        """What a reader does next: a read, or waiting to be woken, for so many seconds at most."""
        if self._leader is None and self._waiting:
            self._lead(me)
        late = 0.0
        if self._deputy is me:
            if self._leader is None or not self._waiting:
                self._deputy = None
            elif (late := perf_counter() - self._leader.began) > TAKE_OVER_AFTER:
                self._lead(me)
        if self._leader is me:
            if self._waiting:
                me.call = self._waiting.popitem(last=False)[0]
                me.began = perf_counter()
                if self._waiting and self._deputy is None:
                    self._appoint()
                return me.call, None
            self._leader = None
        if self._deputy is me:
            return None, TAKE_OVER_AFTER - late
        if me not in self._idle:
            self._idle.append(me)
        return None, None

    def _wakes_now(self, call: Call | None) -> bool:
        """Whether the loop is to be woken for the answers before the thread does `call`."""
        if self._woken or not self._answered:
            return False
        # Not without a deputy, who sees to the answers should the next read take long.
        if call is not None and self._deputy is not None:
            now = perf_counter()
            if not self._held_since:
                self._held_since = now
            if now - self._held_since < HOLD_BACK:
                return False
        self._woken = True
        return True

    def _lead(self, me: Reader) -> None:
        self._leader = me
        if self._deputy is me:
            self._deputy = None
        if me in self._idle:
            self._idle.remove(me)

    # ---- on the readers' threads ----

    def _serve(self, me: Reader) -> None:
        try:
            while True:
                with self._lock:
                    if me.call is not None:
                        self._answered.append(me.call)
                        me.call = None
                    call, patience = (None, None) if self._closing else self._next(me)
                    wakes = self._wakes_now(call)
                if wakes:
                    self._loop.wake(self._deliver)
                if call is not None:
                    me.read(call, self._open_database)
                    if call.error is not None and self._closing:
                        call.error = _closed(call.error)
                    del call  # what it holds may be large
                elif self._closing:
                    return
                else:
                    with suppress(Empty):
                        me.wake.get(timeout=patience)
        finally:
            self._leave(me)

    def _leave(self, me: Reader) -> None:
        try:
            me.close()
        finally:
            with self._lock:
                self._threads.remove(me)
                self._ended.notify_all()

    def _passes_on(self, me: Reader) -> None:
        """Let others take the reads that wait: the one that the leader is doing is long."""
        if self._leader is not me:
            return
        with self._lock:
            if self._leader is me:
                self._leader = None
                if self._waiting:
                    self._appoint()
            wakes = self._wakes_now(None)
        if wakes:
            self._loop.wake(self._deliver)

    # ---- on the loop's thread ----

    def _deliver(self) -> None:
        with self._lock:
            answered, self._answered = self._answered, []
            self._woken, self._held_since = False, 0.0
        for call in answered:
            self._loop.give(call.answer)


def _closed(error: BaseException) -> BaseException:
    """What a read under way is answered when the store is closed: SQLite was interrupted."""
    cause = error.__cause__ or error
    if not isinstance(cause, DRIVER_ERRORS):
        return error
    closed = StoreClosed()
    closed.__cause__ = cause
    return closed
