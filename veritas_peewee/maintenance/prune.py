"""Removing old audits while the store is in use: in small pieces, rows first, then files.

Each piece is a transaction of its own, so writers wait for one piece at most. A kill between two
pieces leaves each audit whole or gone, and at worst files that no row names (`verify --fix`
removes those).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import anyio

from veritas_peewee.config import Location
from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import current_database
from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.errors import StoreError
from veritas_peewee.maintenance.expired import check_limits, expired
from veritas_peewee.maintenance.removing import PruneReport, count, remove_some
from veritas_peewee.maintenance.upkeep import upkeep

FREE_SECONDS = 0.02
"""Seconds between two transactions that give free space back."""
PIECE = 200
"""The most audits in one transaction."""

Progress = Callable[[int, int], object]
"""Called with how many audits have been removed, and of how many."""


class Store(Protocol):
    """The part of `AuditStore` that `prune_store` uses."""

    location: Location

    def read(self, fn: Callable[..., Any], /, *args: Any) -> Awaitable[Any]: ...

    def write(self, fn: Callable[..., Any], /, *args: Any) -> Awaitable[Any]: ...


def prune(
    *,
    older_than: timedelta | datetime | None = None,
    keep_newest: int | None = None,
    dry_run: bool = False,
    vacuum: bool = False,
    progress: Progress | None = None,
) -> PruneReport:
    """Remove ended audits from the current database, with all that belongs to them.

    `older_than` is an age or a moment (with a time zone): audits stored before it are removed.
    `keep_newest` is a number: of each site (its url's host) that many ended audits stay, those
    that ran last (by `started_at`, or else `created_at`). With both limits, an audit is removed if
    it is older *and* not among the newest. An audit that is queued or running is never removed,
    nor is one whose `created_at` is not a moment: the report's `undated` names it.
    `vacuum` also rewrites the whole file, which gives all free space back at once; writers wait
    for it, and it needs room for a copy both in SQLite's temporary folder and beside the file
    (else StoreFull). Later prunes of that file give space back in small steps.

    `progress` is called after each transaction. Raises InvalidAudit for a bad limit or without
    any, StoreError inside a transaction.
    """
    check_limits(older_than, keep_newest)
    database = current_database()
    if database.transaction_is_open:
        raise StoreError(
            "prune commits piece by piece: call it outside of a transaction, and with a store "
            "use `prune_store(store, ...)`"
        )
    if vacuum:
        upkeep().refuse_vacuum()
    with _typed(database):
        ids, undated = expired(older_than, keep_newest)
        report = PruneReport(dry_run, bytes_before=upkeep().size()[0], undated=undated)
        if dry_run:
            for piece in _pieces(ids):
                report += count(piece)
        else:
            report += _remove(database, ids, progress)
            upkeep().give_back(vacuum=vacuum)
        size, free = upkeep().size()
    return replace(report, bytes_after=size, free_bytes=free)


def _remove(database: StoreDatabase, ids: list[str], progress: Progress | None) -> PruneReport:
    report, done = PruneReport(), 0
    while done < len(ids):
        began = time.perf_counter()
        with database.unit():
            taken, removed = remove_some(ids[done : done + PIECE])
        report += removed
        done += taken
        if progress is not None:
            progress(done, len(ids))
        # Whoever waits for the write lock asks for it only now and then: give them as much time.
        time.sleep(time.perf_counter() - began)
    return report


async def prune_store(
    store: Store,
    *,
    older_than: timedelta | datetime | None = None,
    keep_newest: int | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> PruneReport:
    """`prune` for an open `AuditStore`, between its other writes; it cannot rewrite the file."""
    check_limits(older_than, keep_newest)
    ids, undated = await store.read(expired, older_than, keep_newest)
    size, _ = await store.read(_size)
    report = PruneReport(dry_run, bytes_before=size, undated=undated)
    if dry_run:
        for piece in _pieces(ids):
            report += await store.read(count, piece)
    done = 0
    while done < len(ids) and not dry_run:
        began = time.perf_counter()
        taken, removed = await store.write(remove_some, ids[done : done + PIECE])
        report += removed
        done += taken
        if progress is not None:
            progress(done, len(ids))
        await anyio.sleep(time.perf_counter() - began)
    more = not dry_run
    while more:
        more = await store.write(_give_back_some)
        await anyio.sleep(FREE_SECONDS)
    size, free = await store.read(_size)
    return replace(report, bytes_after=size, free_bytes=free)


def _size() -> tuple[int, int | None]:
    return upkeep().size()


def _give_back_some() -> bool:
    return upkeep().give_back_some()


def _pieces(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), PIECE):
        yield ids[start : start + PIECE]


@contextmanager
def _typed(database: StoreDatabase) -> Iterator[None]:
    """Raise the store's own errors for those of the driver."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise (store_error(error, database.location.name) or error) from error
