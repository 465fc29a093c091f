"""Many pieces of work in one transaction, each whole or absent by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from itertools import groupby
from operator import attrgetter
from time import perf_counter
from types import CoroutineType
from typing import TYPE_CHECKING, Any

import anyio

from veritas_peewee.database.connection import StoreDatabase, statement_size
from veritas_peewee.database.current import inside_unit
from veritas_peewee.database.failures import OWN_ERRORS, first_failure, store_error
from veritas_peewee.database.transactions import TransactionEnded
from veritas_peewee.errors import StoreError, WriteUndone

if TYPE_CHECKING:
    import asyncio

_claims = threading.Lock()

Together = Callable[[list[tuple[Any, ...]]], list[Any]]
"""Does as many jobs of one kind as `slice_size` allows in one statement, whole or absent."""


class Job:
    """A piece of work and, once its batch has ended, its outcome."""

    __slots__ = (
        "args",
        "begun",
        "done",
        "error",
        "fn",
        "result",
        "started",
        "together",
        "undo",
        "withdrawn",
    )

    def __init__(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        undo: Callable[[], object] | None,
        together: Together | None,
        done: anyio.Event | asyncio.Future[None],
    ) -> None:
        self.fn = fn
        self.args = args
        self.undo = undo
        self.together = together
        self.done = done
        self.begun = False
        self.withdrawn = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.started = perf_counter()

    def claim(self) -> bool:
        """Whether the job is now the writer's; one that was withdrawn is tidied up after."""
        with _claims:
            begun, self.begun = self.begun, True
        if self.withdrawn:
            self.withdrawn = False
            self.take_back()
        return not begun

    def withdraw(self) -> None:
        """Let the job never happen, if it has not begun."""
        with _claims:
            if not self.begun:
                self.begun = self.withdrawn = True

    def take_back(self) -> None:
        """Undo what was done for the job outside the database; its effects will never be."""
        if self.undo is not None:
            with suppress(Exception):  # a failure to tidy up must not stop the writer
                self.undo()

    def run(self) -> None:
        self.result = inside_unit(self.fn)(*self.args)
        if type(self.result) is CoroutineType:
            self.result.close()
            raise TypeError("store.write takes a plain function, not an async one")


def commit(database: StoreDatabase, batch: list[Job]) -> tuple[list[Job], bool]:
    """Run a batch in one transaction; returns the jobs that now have an outcome, and whether it
    was committed. Jobs whose callers have gone away before they began are left out."""
    done: list[Job] = []
    database.lost = False
    database.settle()
    try:
        if len(batch) == 1:
            # What is alone needs no savepoint within the transaction; and a statement that is
            # alone needs no transaction around it.
            if batch[0].claim():
                done = batch
                with nullcontext() if batch[0].together else database.unit():
                    batch[0].run()
        else:
            with database.unit():
                for together, run in groupby(batch, attrgetter("together")):
                    if together is None:
                        for job in run:
                            if job.claim():
                                done.append(job)
                                _run(database, job)
                    else:
                        claimed = [job for job in run if job.claim()]
                        done += claimed
                        while claimed:
                            size = statement_size(len(claimed))
                            _run_together(database, together, claimed[:size])
                            del claimed[:size]
    except BaseException as error:
        # BEGIN or COMMIT failed, or a write ended the transaction.
        if done is batch:
            failure = first_failure(error) if database.lost else error
            batch[0].error = store_error(failure, database.location.name) or failure
        else:
            done += [job for job in batch if job.claim()]
        _fail_all(database, done, error)
        return done, False
    return done, bool(done)


def _run_together(database: StoreDatabase, together: Together, jobs: list[Job]) -> None:
    try:
        results = together([job.args for job in jobs])
    except Exception:
        # Which of them it was shows when each is run by itself.
        if not database.in_whole_transaction:
            raise
        for job in jobs:
            _run(database, job)
    else:
        for job, result in zip(jobs, results, strict=True):
            job.result = result


def _run(database: StoreDatabase, job: Job) -> None:
    try:
        with nullcontext() if job.together else database.unit():
            job.run()
            database.seal_changes()  # a failure of it is this job's
    except BaseException as error:
        if not database.in_whole_transaction:
            error = first_failure(error)
        job.error = store_error(error, database.location.name) or error
    if job.error is not None:
        if not database.in_whole_transaction:
            raise job.error
        job.take_back()


def _fail_all(database: StoreDatabase, done: list[Job], error: BaseException) -> None:
    kind: type[StoreError] = WriteUndone
    text = f"{WriteUndone.__doc__} ({told(error)})"
    if known := store_error(error, database.location.name):
        # Not one of a caller's own classes, which may not be made from a text.
        kind = type(known) if type(known) in OWN_ERRORS else StoreError
        text = told(known)
    for job in done:
        if job.error is None:
            job.error = kind(text)
            job.error.__cause__ = error
            job.result = None
        # Where rows may have been committed, their files are left.
        if not isinstance(error, TransactionEnded):
            job.take_back()


def told(error: BaseException) -> str:
    """An error's text, whatever the error."""
    try:
        return str(error)
    except Exception:  # an exception of a caller's can be anything
        return type(error).__name__
