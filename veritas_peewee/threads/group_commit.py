"""Many jobs in one transaction: each is whole or absent by itself, and knows what became of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from itertools import groupby
from operator import attrgetter
from time import perf_counter

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.failures import OWN_ERRORS, error_code, first_failure, store_error
from veritas_peewee.database.transactions import (
    OutcomeUnknown,
    TransactionEnded,
    TransactionLost,
    is_known,
)
from veritas_peewee.errors import StoreError, WriteUndone, meaning
from veritas_peewee.threads.jobs import (
    DONE,
    QUEUED,
    RUNNING,
    Job,
    Together,
    move,
    withdrawn,
)
from veritas_peewee.threads.wording import text_of_error

_logger = logging.getLogger("veritas_peewee")

TRIES = 30
"""How often a batch is run whose connection goes each time."""
CAREFUL = 10
"""How many batches are run with care after one that was not, and failed."""


def commit(
    database: StoreDatabase, batch: list[Job], tries: int = TRIES, *, in_hope: bool | None = None
) -> tuple[list[Job], list[Job], bool]:
    """Run a batch in one transaction; returns the jobs whose outcome is to be delivered, those
    that were withdrawn before they began, and whether the batch was committed.

    Afterwards every job of the batch is done or withdrawn. Jobs in neither list were answered by
    a thread that closes the store. If the connection has gone and nothing was saved, the batch is
    run again, `tries` times in all. A batch that is run `in_hope` has no savepoints and, on a
    server, waits for no statement; if a job fails it is undone and run again, each by itself.
    """
    began = perf_counter()
    done: list[Job] = []
    outcome = "not committed"
    database.lost, database.is_undone = False, True
    database.settle()
    if database.reads_ahead:
        database.expected = list({job.about for job in batch if job.about is not None})
    database.hopes = hopes = _can_hope(database, batch) if in_hope is None else in_hope
    error = _failure_of(database, batch, done, in_hope=hopes)
    database.hopes = False
    committed = bool(done) and error is None
    if committed:
        outcome = "committed"
    elif error is not None:
        if tries > 1 and database.can_begin_again(error):
            return _commit_again(database, batch, done, tries - 1)
        is_told = hopes and (database.is_spoilt or database.reads_ahead)
        if is_told and database.is_undone and is_known(error) and not database.is_lost(error):
            database.careful = CAREFUL
            return _commit_again(database, batch, done, tries)
        if len(batch) == len(done) == 1:
            is_hidden = database.lost and not isinstance(error, OutcomeUnknown)
            failure = first_failure(error) if is_hidden else error
            batch[0].error = store_error(failure, database.location.name) or failure
        else:
            for job in move(batch, QUEUED, DONE):
                done.append(job)
                job.take_back()  # it has not run, whatever became of the others
        if not (database.is_undone and is_known(error)):
            outcome = "not known whether committed"
        _fail_all(database, done, error)
    move(done, RUNNING, DONE)
    gone = [] if len(done) == len(batch) else withdrawn(batch)
    for job in gone:
        job.take_back()
    if _logger.isEnabledFor(logging.DEBUG):
        milliseconds = (perf_counter() - began) * 1000
        what = f"batch of {len(batch)}, {outcome}, {milliseconds:.1f} ms"
        _log_fates(database.location.name, what, batch)
    return done, gone, committed


def _failure_of(
    database: StoreDatabase, batch: list[Job], done: list[Job], *, in_hope: bool
) -> BaseException | None:
    """Run a batch in one transaction, and add to `done` the jobs that have begun; returns what the
    transaction, or a job of a batch in hope, has raised."""
    try:
        if in_hope:
            done += move(batch, QUEUED, RUNNING)
            if done:
                _run_in_hope(database, done)
        elif len(batch) == 1:
            if move(batch, QUEUED, RUNNING):
                done += batch
                _run_alone(database, batch[0])
        else:
            with database.unit():
                for together, run in groupby(batch, attrgetter("together")):
                    if together is None:
                        for job in run:
                            if move((job,), QUEUED, RUNNING):
                                done.append(job)
                                _run(database, job)
                    else:
                        taken = move(run, QUEUED, RUNNING)
                        done += taken
                        if taken:
                            _run_together(database, together, taken)
    except BaseException as error:
        return error  # and not while it is handled: what fails next would have it in its chain
    return None


def _can_hope(database: StoreDatabase, batch: list[Job]) -> bool:
    """Whether it pays to have no savepoints in a batch, and its jobs can be run twice."""
    if database.careful:
        database.careful -= 1
        return False
    if len(batch) == 1 and (batch[0].alone or not database.reads_ahead):
        return False
    return all(job.is_ours for job in batch)


def _run_in_hope(database: StoreDatabase, jobs: list[Job]) -> None:
    with database.unit():
        try:
            for together, run in groupby(_beginnings_first(jobs), attrgetter("together")):
                some = list(run)
                if together is not None and len(some) > 1:
                    _do_together(together, some)
                else:
                    for job in some:
                        job.run()
            database.seal_changes()  # a failure of it is one job's
        except BaseException:
            database.is_spoilt = True  # and what fails before and after is nobody's
            raise


def _beginnings_first(jobs: list[Job]) -> list[Job]:
    """`jobs` with those at the front that add something, so that the others can be done together,
    unless what was submitted before may have been about the same."""
    first: list[Job] = []
    others: list[Job] = []
    named: set[str | None] = set()
    for job in jobs:
        if job.begins and None not in named and (job.about is None or job.about not in named):
            first.append(job)
        else:
            others.append(job)
            named.add(job.about)
    return first + others if first else jobs


def _commit_again(
    database: StoreDatabase, batch: list[Job], done: list[Job], tries: int
) -> tuple[list[Job], list[Job], bool]:
    """Run a batch again of which nothing was saved, without the jobs that failed by themselves."""
    over = [job for job in done if job.error is not None and not database.is_lost(job.error)]
    left = [job for job in batch if job not in over]
    for job in move(left, RUNNING, QUEUED):
        job.result = job.error = None
    move(over, RUNNING, DONE)
    again, gone, committed = commit(database, left, tries, in_hope=False)
    return over + again, gone, committed


def abandon(
    store: str, batch: list[Job], queued: list[Job], error: Callable[[], StoreError]
) -> tuple[list[Job], list[Job]]:
    """Give each job that has not begun an error of its own, and tidy up after it.

    `batch` may be stuck in one of its jobs, or be over. Returns the jobs whose outcome is to be
    delivered, and those of `queued` that were withdrawn; the batch's own are returned by `commit`.
    """
    left = (*batch, *queued)
    failed = move(left, QUEUED, DONE)
    for job in failed:
        job.error = error()
    for job in (*failed, *withdrawn(left)):
        job.take_back()
    gone = withdrawn(queued)
    if (failed or gone) and _logger.isEnabledFor(logging.DEBUG):
        _log_fates(store, "left when the writer stopped", [*failed, *gone])
    return failed, gone


def _run_alone(database: StoreDatabase, job: Job) -> None:
    if job.alone:  # a lone statement, which needs no transaction around it
        database.file.check_before_write()
        job.run()
        database.file.check_written()
        return
    with database.unit():
        if job.is_ours:  # and so needs no savepoint within the transaction
            job.run()
            return
        # A function of a caller's may end the transaction with SQL given to the driver, and begin
        # another one: only a savepoint shows that it is not the same any more.
        with database.unit():
            _run_it(database, job)


def _run_it(database: StoreDatabase, job: Job) -> None:
    with nullcontext() if job.is_ours else database.runs_a_callers():
        job.run()


def _run_together(database: StoreDatabase, together: Together, jobs: list[Job]) -> None:
    if len(jobs) == 1:
        _run(database, jobs[0])
        return
    try:
        _do_together(together, jobs)
        return
    except Exception:
        if not database.in_whole_transaction:
            raise
    # By halves, until only those that are at fault fail; none with this error in its chain.
    middle = len(jobs) // 2
    _run_together(database, together, jobs[:middle])
    _run_together(database, together, jobs[middle:])


def _do_together(together: Together, jobs: list[Job]) -> None:
    for job, result in zip(jobs, together([job.args for job in jobs]), strict=True):
        job.result = result


def _run(database: StoreDatabase, job: Job) -> None:
    try:
        with database.unit():
            _run_it(database, job)
            database.seal_changes()  # a failure of it is this job's
    except TransactionLost:
        raise  # nobody is at fault: all of the batch is run again
    except BaseException as error:
        if not database.in_whole_transaction:
            error = first_failure(error)
        job.error = store_error(error, database.location.name) or error
    if job.error is not None:
        if not database.in_whole_transaction:
            if error_code(job.error) is None:  # SQLite did not end it, so it can be saved
                raise TransactionEnded from job.error
            raise job.error
        job.take_back()


def _fail_all(database: StoreDatabase, done: list[Job], error: BaseException) -> None:
    kind: type[StoreError] = WriteUndone
    text = f"{meaning(WriteUndone)} ({text_of_error(error)})"
    if known := store_error(error, database.location.name):
        # A caller's own subclass is not used: it may not accept a text as its only argument.
        kind = type(known) if type(known) in OWN_ERRORS else StoreError
        text = text_of_error(known)
    # What ended the transaction was told its own failure, and not that its roll-back failed too.
    ended_it = error.__cause__ if isinstance(error, OutcomeUnknown) else None
    for job in done:
        if job.error is None or job.error is ended_it:
            job.error = kind(text)
            job.error.__cause__ = error
            job.result = None
        # Where rows may have been committed, their files are left.
        if database.is_undone and is_known(error):
            job.take_back()


def _log_fates(store: str, what: str, jobs: Sequence[Job]) -> None:
    """Log at DEBUG what became of `jobs`: a line for all of them, which begins with `what` they
    are, and one for each that failed or was withdrawn.

    So the log alone answers why a write was lost.
    """
    with suppress(Exception):  # a handler or a filter that fails must not leave callers waiting
        failed = [(job, job.error) for job in jobs if job.error is not None]
        gone = withdrawn(jobs)
        _logger.debug(
            "%s: %s: %d done, %d failed, %d withdrawn",
            store,
            what,
            len(jobs) - len(failed) - len(gone),
            len(failed),
            len(gone),
        )
        for job, error in failed:
            text = text_of_error(error)
            _logger.debug("%s: failed: %r: %s: %s", store, job, type(error).__name__, text)
        for job in gone:
            _logger.debug("%s: its caller was cancelled before it began: %r", store, job)
