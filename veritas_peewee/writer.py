"""One thread, one writable connection, group commit; knows nothing of audits.

Work that arrives while a transaction is being committed joins the next one. Each piece has a
savepoint of its own and is answered only after the COMMIT, with one wake-up of the event loop for
the whole batch.
"""

from __future__ import annotations

import atexit
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

from veritas_peewee.database import StoreDatabase, bound
from veritas_peewee.errors import DRIVER_ERRORS, StoreClosed, StoreError
from veritas_peewee.group_commit import Job, Together, commit, told

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


_running: weakref.WeakSet[Writer] = weakref.WeakSet()


class WriterStats(NamedTuple):
    """What a writer did since it was opened; times in seconds, over the last 10,000 writes."""

    writes: int
    commits: int
    failed: int
    pending: int
    p50: float
    p99: float


class Writer:
    """`open_database` is called on the writer's own thread."""

    def __init__(self, open_database: Callable[[], StoreDatabase], max_pending: int) -> None:
        self._open_database = open_database
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._places = max_pending
        self._waiting: dict[anyio.Event, None] = {}
        self._lock = threading.RLock()  # a collected store stops its writer wherever it is
        self.process = os.getpid()
        self._token: EventLoopToken = current_token()
        # asyncio may be there only as the host of trio.
        loop = asyncio_loop()
        self._loop = loop if loop is self._token.native_token else None
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
    ) -> Any:
        """Run `fn(*args)` in a savepoint and return its result once it is committed.

        `undo` is called if the effects of `fn` will never be. Cancelled before the writer has
        begun, the work never happens; after that it goes on as if nobody had cancelled.
        `together`, if given, does in one statement, whole or absent, what `fn` would do for each
        of several tuples of arguments, and returns their results.
        """
        queued = False
        # A future is what asyncio waits for in the end; the event around it costs as much as
        # all else that happens to a write on the loop.
        done = anyio.Event() if self._loop is None else self._loop.create_future()
        job = Job(fn, args, undo, together, done)
        try:
            self._check_open()
            if self._places > 0:
                self._places -= 1
            else:
                await self._wait_for_place()
            try:
                with self._lock:
                    self._check_open()
                    self._queue.put(job)
                    queued = True
            finally:
                if not queued:
                    self._give_place()
            await (done.wait() if isinstance(done, anyio.Event) else done)
        except BaseException:
            # A job that is withdrawn keeps its place, and its files, until the writer meets it.
            if queued:
                job.withdraw()
            else:
                job.take_back()
            raise
        if job.error is not None:
            raise job.error
        return job.result

    async def _wait_for_place(self) -> None:
        turn = anyio.Event()
        self._waiting[turn] = None
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self._give_place()
            else:
                del self._waiting[turn]
            raise

    def _give_place(self) -> None:
        # Handed over, so that a newcomer cannot overtake those who wait.
        if self._waiting:
            turn = next(iter(self._waiting))
            del self._waiting[turn]
            turn.set()
        else:
            self._places += 1

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
        self._wake(self._refuse_waiting)

    def _refuse_waiting(self) -> None:
        for turn in list(self._waiting):
            del self._waiting[turn]
            turn.set()

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
                self._serve(database)
        except BaseException as error:
            self._failure = error
        finally:
            try:
                self._close_database(database)
            finally:
                self._fail_rest()

    def _serve(self, database: StoreDatabase) -> None:
        queue = self._queue
        while True:
            job = queue.get()
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
                self._answer(done, withdrawn=len(batch) - len(done))
            if job is None:
                return

    def _answer(self, done: list[Job], withdrawn: int = 0) -> None:
        now = perf_counter()
        self._writes += len(done)
        self._failed += len([job for job in done if job.error is not None])
        if done or withdrawn:
            self._wake(self._deliver, done, withdrawn)
        times = [now - job.started for job in done]
        with self._lock:
            self._times.extend(times)

    def _deliver(self, done: list[Job], withdrawn: int) -> None:
        for job in done:
            self._give_place()
            if isinstance(job.done, anyio.Event):
                job.done.set()
            elif not job.done.done():  # its caller may have been cancelled
                job.done.set_result(None)
        for _ in range(withdrawn):
            self._give_place()
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
        try:
            if database.location.path is not None:
                # Not for long: while another process reads, the WAL stays, and is complete.
                database.pragma("busy_timeout", 1000)
                with suppress(*DRIVER_ERRORS):
                    database.pragma("wal_checkpoint(TRUNCATE)")
        finally:
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
