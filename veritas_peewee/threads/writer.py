"""The writer: one thread with the one writable connection, and group commit.

Jobs that arrive while a transaction is being committed join the next one. Each job has a savepoint
of its own, and its caller is answered only after the COMMIT, with one wake-up of the event loop
for the whole batch. What the jobs do is not known here.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Any

import anyio

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import bound
from veritas_peewee.database.failures import DRIVER_ERRORS
from veritas_peewee.errors import StoreClosed, StoreError
from veritas_peewee.threads.counts import Counts, WriterStats
from veritas_peewee.threads.group_commit import abandon, commit
from veritas_peewee.threads.jobs import Job, Together
from veritas_peewee.threads.loop import Loop
from veritas_peewee.threads.slots import AsyncioSlots, Slots, TrioSlots
from veritas_peewee.threads.wal import Wal
from veritas_peewee.threads.wording import text_of_error

MAX_BATCH = 1000
"""The most jobs in one transaction."""
CLOSE_TIMEOUT = 60.0
"""Seconds for which closing waits for queued jobs to end."""
EXIT_TIMEOUT = 10.0
"""Seconds for which the interpreter, at its exit, waits for a writer that was not closed."""


_logger = logging.getLogger("veritas_peewee")
_running: weakref.WeakSet[Writer] = weakref.WeakSet()


class Writer:
    """Runs jobs on a thread of its own, in the order in which they were submitted.

    `open_database` is called on that thread; `max_pending` is how many jobs the queue holds.
    """

    def __init__(self, open_database: Callable[[], StoreDatabase], max_pending: int) -> None:
        self._open_database = open_database
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        # Re-entrant, for a store that is garbage-collected stops its writer in whichever thread
        # and line that happens.
        self._lock = threading.RLock()
        self.process = os.getpid()
        self._loop = Loop()
        loop = self._loop.asyncio
        self.slots: Slots = (
            TrioSlots(max_pending) if loop is None else AsyncioSlots(max_pending, loop)
        )
        self._wal: Wal | None = None
        self.longest_read: Callable[[], float] = lambda: 0.0
        """Returns the seconds for which the oldest read under way has been running."""
        self._name = ""  # of the store in the log
        self._batch: list[Job] = []
        self._opened = anyio.Event()
        self._failure: BaseException | None = None
        self._closing = False
        self.on_commit: Callable[[list[Job]], object] | None = None
        """Called on the loop's thread, once for each batch, after its callers were answered."""
        self._counts = Counts()
        # A daemon, so that a program that forgets to close the store still ends; `_at_exit`
        # drains and joins it before the interpreter goes.
        self._thread = threading.Thread(target=self._run, name="veritas-writer", daemon=True)

    async def open(self) -> None:
        """Start the thread and wait until the database is open; raises the error of opening it."""
        _running.add(self)
        self._thread.start()
        try:
            await self._opened.wait()
        except BaseException:
            self.stop()  # the thread closes the database that it may yet open
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
        alone: bool = False,
        about: str | None = None,
        begins: bool = False,
        from_caller: bool = False,
        has_slot: bool = False,
    ) -> Any:
        """Run `fn(*args)`, whole or absent, and return its result once it is committed.

        If the caller is cancelled before the job has begun, the job never runs; after that it
        continues as if nobody had cancelled. `undo` is called if it is to have no effect.
        `together` does at once what `fn` does for several tuples of arguments; for more see `Job`.
        Raises StoreClosed, the error of `fn`, or WriteUndone.
        """
        if not has_slot and not self.take_slot():
            turn = self.slots.turn()
            try:
                await turn
            except BaseException:
                self.slots.missed(turn)
                if undo is not None:
                    with suppress(Exception):
                        undo()
                raise
        answered = self._loop.answer()
        job = Job(fn, args, undo, together, answered, alone, about, begins, from_caller)
        queued = False
        try:
            with self._lock:
                self._check_open()
                self._queue.put(job)
                queued = True
            await (answered.wait() if isinstance(answered, anyio.Event) else answered)
        except BaseException:
            # A withdrawn job keeps its slot, and its files, until the writer finds it.
            if queued:
                job.withdraw()
            else:
                self.slots.give()
                job.take_back()
            raise
        if job.error is not None:
            raise job.error
        return job.result

    def take_slot(self) -> bool:
        """Take a slot, to submit with or to give back; False if the caller has to wait for one."""
        if self.slots.free > 0:
            self.slots.free -= 1
            return True
        return self._closing  # there is nothing to wait for: `submit` raises StoreClosed

    def _check_open(self) -> None:
        if self._closing or self._failure is not None:
            raise self._stopped()

    def _stopped(self) -> StoreClosed:
        failure = self._failure
        return StoreClosed(f"the writer has stopped: {text_of_error(failure)}" if failure else None)

    def close(self) -> None:
        """Stop intake, finish the queued jobs, checkpoint, and join the thread; blocks.

        Raises StoreError if the thread has not ended after CLOSE_TIMEOUT; callers whose jobs had
        not begun get StoreClosed.
        """
        self.stop()
        self._thread.join(CLOSE_TIMEOUT)
        if self._thread.is_alive():
            self._failure = StoreError(f"a write has not ended within {CLOSE_TIMEOUT:g} s")
            self._fail_rest()
            raise self._failure

    def stop_intake(self) -> None:
        """Refuse new jobs, also those of callers who still wait for a slot."""
        with self._lock:
            self._closing = True
        self._loop.wake(self.slots.refuse)

    def stop(self) -> None:
        """Stop intake and let the thread end after the queued jobs; does not wait."""
        self.stop_intake()
        self._queue.put(None)

    def stats(self) -> WriterStats:
        """What the writer has done so far."""
        wal_bytes = 0 if self._wal is None else self._wal.size()
        return self._counts.stats(self._queue.qsize(), self.slots.waiting, wal_bytes)

    # ---- on the writer's thread ----

    def _run(self) -> None:
        try:
            database = self._open_database()
        except BaseException as error:
            self._failure = error
            self._loop.wake(self._opened.set)
            return
        self._name = database.location.name
        self._loop.wake(self._opened.set)
        try:
            with bound(database):
                self._wal = Wal(database, lambda: self.longest_read())
                self._serve(database, self._wal)
        except BaseException as error:
            self._failure = error
            _logger.exception("%s: the writer has stopped", self._name)
        finally:
            try:
                self._close_database(database)
            finally:
                self._fail_rest()

    def _serve(self, database: StoreDatabase, wal: Wal) -> None:
        queue = self._queue
        while True:
            if wal.is_large:
                job = self._wait_idly(wal)
            elif (due := database.due()) is None:
                job = queue.get()
            else:
                job = self._wait_beating(database, due)
            batch: list[Job] = []
            while job is not None:
                batch.append(job)
                if len(batch) == MAX_BATCH or queue.empty():  # this thread alone takes from it
                    break
                job = queue.get()
            if batch:
                self._batch = batch
                done, gone, committed = commit(database, batch)
                self._counts.commits += committed
                now = self._answer(done, len(gone))
                if committed:
                    database.committed()
                if now > wal.look_at:
                    wal.look(now)
            if job is None:
                return

    def _wait_idly(self, wal: Wal) -> Job | None:
        """The next job; while there is none, the WAL that has grown is emptied if possible."""
        while True:
            with suppress(Empty):
                return self._queue.get(timeout=wal.retry_after)
            wal.empty()

    def _wait_beating(self, database: StoreDatabase, due: float | None) -> Job | None:
        """The next job; while there is none, the database has signs of life to give."""
        while True:
            with suppress(Empty):
                return self._queue.get(timeout=due)
            database.beat()
            due = database.due()

    def _answer(self, done: list[Job], gone: int) -> float:
        """Have the loop's thread deliver outcomes and free the slots, also those of `gone` jobs
        that were withdrawn; returns the time."""
        now = perf_counter()
        self._counts.add(done)
        if done or gone:
            self._loop.wake(self._deliver, done, gone)
        self._counts.add_times(done, now)
        return now

    def _deliver(self, done: list[Job], gone: int) -> None:
        for job in done:
            self.slots.give()
            Loop.give(job.answered)
        for _ in range(gone):
            self.slots.give()
        if self.on_commit is not None:
            self.on_commit(done)

    def _close_database(self, database: StoreDatabase) -> None:
        # A connection that a write has broken was reported by that write.
        with suppress(*DRIVER_ERRORS):
            if database.location.path is not None:
                # A short wait: while another process reads, the WAL stays, and is complete.
                database.checkpoint(truncate=True, patience=1.0)
        with suppress(*DRIVER_ERRORS):
            database.close()

    def _fail_rest(self) -> None:
        """Answer the jobs that will never begin."""
        self.stop_intake()  # from here on nothing can be queued
        queued: list[Job] = []
        with suppress(Empty):
            while True:
                if job := self._queue.get_nowait():
                    queued.append(job)
        failed, gone = abandon(self._name, self._batch, queued, self._stopped)
        self._queue.put(None)  # the sentinel was taken too
        self._answer(failed, len(gone))


@atexit.register
def _at_exit() -> None:
    for writer in list(_running):
        if writer.process == os.getpid():  # a forked child has no such thread
            writer.stop()
            if writer._thread.is_alive():
                writer._thread.join(EXIT_TIMEOUT)
