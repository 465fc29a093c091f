"""One thread, one writable connection, group commit; knows nothing of audits.

Work that arrives while a transaction is being committed joins the next one. Each piece has a
savepoint of its own and is answered only after the COMMIT, with one wake-up of the event loop for
the whole batch.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
from anyio.lowlevel import EventLoopToken, current_token

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import bound
from veritas_peewee.database.failures import DRIVER_ERRORS
from veritas_peewee.errors import StoreClosed, StoreError
from veritas_peewee.group_commit import Job, Together, commit, told
from veritas_peewee.places import AsyncioPlaces, Places, TrioPlaces
from veritas_peewee.wal import Wal

if TYPE_CHECKING:
    import asyncio

MAX_BATCH = 1000
"""The most pieces of work in one transaction."""
CLOSE_TIMEOUT = 60.0
"""Seconds that closing waits for the writes that are queued."""
EXIT_TIMEOUT = 10.0
"""Seconds that the interpreter waits at its end for a writer that was not closed."""


def asyncio_loop() -> asyncio.AbstractEventLoop | None:
    """The asyncio loop that runs in this thread, if asyncio is in use at all."""
    module = sys.modules.get("asyncio")
    return None if module is None else module._get_running_loop()


_logger = logging.getLogger("veritas_peewee")
_running: weakref.WeakSet[Writer] = weakref.WeakSet()


class WriterStats(NamedTuple):
    """What a writer did since it was opened."""

    writes: int
    commits: int
    failed: int
    pending: int
    """Writes that have a place in the queue."""
    p50: float
    p99: float
    """Seconds that a write took once it had its place, over the last 10,000."""
    waiting: int
    """Callers who wait for a place."""
    wal_bytes: int
    """The size of the WAL file."""


class Writer:
    """`open_database` is called on the writer's own thread."""

    def __init__(self, open_database: Callable[[], StoreDatabase], max_pending: int) -> None:
        self._open_database = open_database
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.RLock()  # a collected store stops its writer wherever it is
        self.process = os.getpid()
        self._token: EventLoopToken = current_token()
        # asyncio may be there only as the host of trio.
        loop = asyncio_loop()
        self._loop = loop if loop is self._token.native_token else None
        self.places: Places = (
            TrioPlaces(max_pending)
            if self._loop is None
            else AsyncioPlaces(max_pending, self._loop)
        )
        self._wal: Wal | None = None
        self.longest_read: Callable[[], float] = lambda: 0.0
        """Seconds for which the oldest read under way has been running."""
        self._batch: list[Job] = []
        self._opened = anyio.Event()
        self._failure: BaseException | None = None
        self._closing = False
        self.on_commit: Callable[[list[Job]], object] | None = None
        """Called on the loop's thread, once for each batch, after its callers have been told."""
        self._writes = self._commits = self._failed = 0
        self._times: deque[float] = deque(maxlen=10_000)
        # A daemon, so that a program that forgets to close the store still ends; `_at_exit`
        # drains and joins it before the interpreter goes.
        self._thread = threading.Thread(target=self._run, name="veritas-writer", daemon=True)

    async def open(self) -> None:
        """Start the thread and wait until the database is open; raises why it is not."""
        _running.add(self)
        self._thread.start()
        try:
            await self._opened.wait()
        except BaseException:
            self.stop()  # the thread closes what it may yet open
            raise
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    async def submit(
        self,
        fn: Callable[..., Any],
        *args: Any,
        undo: Callable[[], object] | None = None,
        together: Together | None = None,
        has_place: bool = False,
    ) -> Any:
        """Run `fn(*args)` in a savepoint and return its result once it is committed.

        `undo` is called if the effects of `fn` will never be. Cancelled before the writer has
        begun, the work never happens; after that it goes on as if nobody had cancelled.
        `together`, if given, does in one statement, whole or absent, what `fn` would do for each
        of several tuples of arguments, and returns their results. `has_place` says that the
        caller has one of `places` already.
        """
        if not has_place and not self.take_place():
            turn = self.places.turn()
            try:
                await turn
            except BaseException:
                self.places.missed(turn)
                if undo is not None:
                    with suppress(Exception):
                        undo()
                raise
        # A future is what asyncio waits for in the end; the event around it costs as much as
        # all else that happens to a write on the loop.
        done = anyio.Event() if self._loop is None else self._loop.create_future()
        job = Job(fn, args, undo, together, done)
        queued = False
        try:
            with self._lock:
                self._check_open()
                self._queue.put(job)
                queued = True
            await (done.wait() if isinstance(done, anyio.Event) else done)
        except BaseException:
            # A job that is withdrawn keeps its place, and its files, until the writer meets it.
            if queued:
                job.withdraw()
            else:
                self.places.give()
                job.take_back()
            raise
        if job.error is not None:
            raise job.error
        return job.result

    def take_place(self) -> bool:
        """Take a place in the queue, to submit with or to give back; false if one has to wait."""
        if self.places.free > 0:
            self.places.free -= 1
            return True
        return self._closing  # nothing to wait for: `submit` says so

    def _check_open(self) -> None:
        if self._closing or self._failure is not None:
            raise self._stopped()

    def _stopped(self) -> StoreClosed:
        failure = self._failure
        return StoreClosed(f"the writer has stopped: {told(failure)}" if failure else None)

    def close(self) -> None:
        """Stop intake, finish what is queued, checkpoint, and join the thread; blocks.

        Raises StoreError if the thread has not ended after CLOSE_TIMEOUT; callers whose work had
        not begun are told.
        """
        self.stop()
        self._thread.join(CLOSE_TIMEOUT)
        if self._thread.is_alive():
            self._failure = StoreError(f"a write has not ended within {CLOSE_TIMEOUT:g} s")
            self._fail_rest()
            raise self._failure

    def stop_intake(self) -> None:
        """Refuse new work, also that of callers who still wait for a place."""
        with self._lock:
            self._closing = True
        self._wake(self.places.refuse)

    def stop(self) -> None:
        """Stop intake and let the thread end after what is queued; does not wait."""
        self.stop_intake()
        self._queue.put(None)

    def stats(self) -> WriterStats:
        with self._lock:
            times = sorted(self._times)
        last = len(times) - 1
        return WriterStats(
            self._writes,
            self._commits,
            self._failed,
            self._queue.qsize(),
            times[last // 2] if times else 0.0,
            times[round(last * 0.99)] if times else 0.0,
            self.places.waiting,
            0 if self._wal is None else self._wal.size(),
        )

    # ---- on the writer's thread ----

    def _run(self) -> None:
        try:
            database = self._open_database()
        except BaseException as error:
            self._failure = error
            self._wake(self._opened.set)
            return
        self._wake(self._opened.set)
        try:
            with bound(database):
                self._wal = Wal(database, lambda: self.longest_read())
                self._serve(database, self._wal)
        except BaseException as error:
            self._failure = error
            _logger.exception("%s: the writer has stopped", database.location.name)
        finally:
            try:
                self._close_database(database)
            finally:
                self._fail_rest()

    def _serve(self, database: StoreDatabase, wal: Wal) -> None:
        queue = self._queue
        while True:
            job = self._wait_idly(wal) if wal.is_large else queue.get()
            batch: list[Job] = []
            while job is not None:
                batch.append(job)
                if len(batch) == MAX_BATCH or queue.empty():  # this thread alone takes from it
                    break
                job = queue.get()
            if batch:
                self._batch = batch
                done, committed = commit(database, batch)
                self._commits += committed
                now = self._answer(done, withdrawn=len(batch) - len(done))
                if now > wal.look_at:
                    wal.look(now)
            if job is None:
                return

    def _wait_idly(self, wal: Wal) -> Job | None:
        """The next job; meanwhile the WAL that has grown is emptied if it can be."""
        while True:
            with suppress(Empty):
                return self._queue.get(timeout=wal.retry_after)
            wal.empty()

    def _answer(self, done: list[Job], withdrawn: int = 0) -> float:
        now = perf_counter()
        self._writes += len(done)
        self._failed += len([job for job in done if job.error is not None])
        if done or withdrawn:
            self._wake(self._deliver, done, withdrawn)
        times = [now - job.started for job in done]
        with self._lock:
            self._times.extend(times)
        return now

    def _deliver(self, done: list[Job], withdrawn: int) -> None:
        for job in done:
            self.places.give()
            if isinstance(job.done, anyio.Event):
                job.done.set()
            elif not job.done.done():  # its caller may have been cancelled
                job.done.set_result(None)
        for _ in range(withdrawn):
            self.places.give()
        if self.on_commit is not None:
            self.on_commit(done)

    def _wake(self, fn: Callable[..., object], *args: Any) -> None:
        token = self._token
        # A loop that has gone away has taken everybody who waited with it.
        if self._loop is None:
            with suppress(anyio.RunFinishedError):
                token.backend_class.run_sync_soon(fn, args, token.native_token)
        else:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(fn, *args)

    def _close_database(self, database: StoreDatabase) -> None:
        # A connection that a write has broken is not worth an error of its own.
        with suppress(*DRIVER_ERRORS):
            if database.location.path is not None:
                # Not for long: while another process reads, the WAL stays, and is complete.
                database.checkpoint(truncate=True, patience=1.0)
        with suppress(*DRIVER_ERRORS):
            database.close()

    def _fail_rest(self) -> None:
        self.stop_intake()  # from here on nothing can be queued
        queued: list[Job] = []
        with suppress(Empty):
            while True:
                if job := self._queue.get_nowait():
                    queued.append(job)
        # Of the batch that is stuck, those that have not begun.
        rest = [job for job in (*self._batch, *queued) if job.claim()]
        withdrawn = len(queued) - len(rest)
        for job in rest:
            job.error = self._stopped()
            job.take_back()
        self._queue.put(None)  # the sentinel was taken too
        self._answer(rest, max(withdrawn, 0))


@atexit.register
def _at_exit() -> None:
    for writer in list(_running):
        if writer.process == os.getpid():  # a forked child has no such thread
            writer.stop()
            if writer._thread.is_alive():
                writer._thread.join(EXIT_TIMEOUT)
