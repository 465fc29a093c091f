"""Removing old audits while the store is in use: in small pieces, rows first, then files.

Each piece is a transaction of its own, so writers wait for one piece at most; a kill between two
leaves what was not yet removed whole, and at worst files that no row names (`verify --fix`).
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import anyio
import peewee

from veritas_peewee.catalog import UNFINISHED
from veritas_peewee.config import Location
from veritas_peewee.database.current import current_database
from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.database.sqlite import SqliteStore, current_sqlite
from veritas_peewee.database.statements import MARK, execute, text_of
from veritas_peewee.errors import InvalidAudit, StoreError
from veritas_peewee.files.images import ScreenshotFolder
from veritas_peewee.models import Audit, AuditEvent, AuditRunner, AuditScreenshot
from veritas_peewee.values.addresses import host_of
from veritas_peewee.values.moments import format_datetime, utc_now
from veritas_peewee.values.plain import invalid

PIECE = 200
"""The most audits in one transaction."""
PIECE_FILES = 100
"""Files that are removed after one transaction, at most by one audit more."""
PIECE_SECONDS = 0.02
"""Seconds after which a transaction takes on no more."""
PAGES = 64
"""Pages that are given back before the time is asked for."""
CHECKPOINT_PATIENCE = 50
"""Milliseconds that the last checkpoint waits for reads to end."""

INCREMENTAL = 2
"""SQLite's name for a file that can give its free pages back bit by bit."""

Progress = Callable[[int, int], object]
"""Called with how many audits have been removed, and of how many."""


@dataclass
class PruneReport:
    """What was removed or, in a dry run, what would be."""

    dry_run: bool = False
    audits: int = 0
    events: int = 0
    screenshots: int = 0
    """Files: those that no audit shows which stays."""
    screenshot_bytes: int = 0
    skipped: int = 0
    """Audits that went on, or were deleted by others, before their turn came."""
    bytes_before: int = 0
    bytes_after: int = 0
    """The size of the database."""
    free_bytes: int = 0
    """Of `bytes_after`, what is free inside the file; new audits go there first."""

    def add(self, other: PruneReport) -> None:
        """Count what another one counts."""
        for name in ("audits", "events", "screenshots", "screenshot_bytes", "skipped"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Store(Protocol):
    """What of `AuditStore` is needed."""

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

    `older_than` is an age or a moment (with a time zone): audits created before it go.
    `keep_newest` is how many of each site's (its url's host) stay: the newest by creation of
    those that have ended. With both, an audit goes if it is older *and* not among those. One that
    is queued or running never goes. `vacuum` also rewrites the whole file, so that free space
    goes back to the system at once: writers wait for all of that, and it takes the file's size
    again on the disk; from then on it happens by itself, bit by bit.

    Raises InvalidAudit without either limit or for a bad one, StoreError inside a transaction.
    """
    check_limits(older_than, keep_newest)
    database = current_sqlite("pruning")
    if database.raw.in_transaction:
        raise StoreError(
            "prune commits piece by piece: call it outside of a transaction, and with a store "
            "use `prune_store(store, ...)`"
        )
    with _typed(database):
        ids = expired(older_than, keep_newest)
        report = PruneReport(dry_run, bytes_before=size_of(database)[0])
        if dry_run:
            for piece in _pieces(ids):
                report.add(count(piece))
        else:
            _remove(database, ids, report, progress)
            _give_back(database, vacuum)
        report.bytes_after, report.free_bytes = size_of(database)
    return report


def _remove(
    database: SqliteStore, ids: list[str], report: PruneReport, progress: Progress | None
) -> None:
    done = 0
    while done < len(ids):
        began = time.perf_counter()
        with database.unit():
            taken, removed = remove_some(ids[done : done + PIECE])
        report.add(removed)
        done += taken
        if progress is not None:
            progress(done, len(ids))
        # Others who wait for the write lock ask for it now and then: leave them as much time.
        time.sleep(time.perf_counter() - began)


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
    ids: list[str] = await store.read(expired, older_than, keep_newest)
    report = PruneReport(dry_run)
    report.bytes_before, _ = await store.read(_size_here)
    if dry_run:
        for piece in _pieces(ids):
            report.add(await store.read(count, piece))
    done = 0
    while done < len(ids) and not dry_run:
        began = time.perf_counter()
        taken, removed = await store.write(remove_some, ids[done : done + PIECE])
        report.add(removed)
        done += taken
        if progress is not None:
            progress(done, len(ids))
        await anyio.sleep(time.perf_counter() - began)
    more = not dry_run
    while more:
        more = await store.write(give_back_some)
        await anyio.sleep(PIECE_SECONDS)
    report.bytes_after, report.free_bytes = await store.read(_size_here)
    return report


def check_limits(older_than: object, keep_newest: object) -> None:
    """Raise InvalidAudit for limits that are none."""
    if older_than is None and keep_newest is None:
        raise InvalidAudit("prune: say what may go: older_than, keep_newest, or both")
    if older_than is not None:
        _moment(older_than)
    if keep_newest is not None and (
        isinstance(keep_newest, bool) or not isinstance(keep_newest, int) or keep_newest < 0
    ):
        raise invalid("keep_newest", "must be a whole number from 0 on", keep_newest)


def _moment(older_than: object) -> datetime:
    if isinstance(older_than, datetime):
        if older_than.tzinfo is None:
            raise invalid("older_than", "must have a time zone", older_than)
        return older_than.astimezone(UTC)
    if not isinstance(older_than, timedelta) or older_than < timedelta(0):
        raise invalid("older_than", "must be an age (a timedelta) or a moment", older_than)
    try:
        return utc_now() - older_than
    except OverflowError:  # longer ago than there are dates
        return datetime.min.replace(tzinfo=UTC)


# ---- what goes ----


def expired(older_than: timedelta | datetime | None, keep_newest: int | None) -> list[str]:
    """The ids of the audits that may go, the oldest first."""
    before = "9999" if older_than is None else format_datetime(_moment(older_than))
    newest: Counter[str] = Counter()
    found: list[str] = []
    for audit_id, url, created in current_database().execute_sql(_ended_sql(), ()):
        if keep_newest is not None:
            site = host_of(url) or url
            newest[site] += 1
            if newest[site] <= keep_newest:
                continue
        if created < before:
            found.append(audit_id)
    found.reverse()
    return found


def _pieces(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), PIECE):
        yield ids[start : start + PIECE]


def count(ids: list[str]) -> PruneReport:
    """What would go with these audits."""
    found = PruneReport()
    for audit_id in ids:
        found.add(_belongings(audit_id)[0])
    return found


def _belongings(audit_id: str) -> tuple[PruneReport, list[str]]:
    """What belongs to an audit, and its files: those that no other audit shows."""
    sizes = dict(execute(_files_sql(), (audit_id,)))
    ((events,),) = execute(_events_sql(), (audit_id,))
    size = sum(size or 0 for size in sizes.values())
    return PruneReport(False, 1, events, len(sizes), size), list(sizes)


# ---- removing ----


def remove_some(ids: list[str]) -> tuple[int, PruneReport]:
    """In a transaction: remove the first of these audits, for PIECE_SECONDS at most; returns how
    many were done with. Their files go after the commit."""
    database = current_database()
    until = time.perf_counter() + PIECE_SECONDS
    removed = PruneReport()
    files: list[str] = []
    taken = 0
    for audit_id in ids:
        taken += 1
        found, own = _belongings(audit_id)
        # It may have been taken up again since it was chosen.
        if database.execute_sql(_remove_sql(), (audit_id,)).rowcount:
            removed.add(found)
            files += own
        else:
            removed.skipped += 1
        if time.perf_counter() > until or len(files) >= PIECE_FILES:
            break
    if files and (root := database.location.screenshots) is not None:
        database.after_commit(lambda: ScreenshotFolder(root).remove(files))
    return taken, removed


# ---- giving the space back ----


def _give_back(database: SqliteStore, vacuum: bool) -> None:
    if vacuum:
        # Also what makes an older file one that gives its space back bit by bit.
        database.pragma("auto_vacuum", INCREMENTAL)
        database.execute_sql("VACUUM")
    more = True
    while more:
        with database.unit():
            more = give_back_some()
        time.sleep(PIECE_SECONDS)
    timeout = database.pragma("busy_timeout")
    database.pragma("busy_timeout", CHECKPOINT_PATIENCE)
    try:
        # Only then does the file itself become smaller; while others read, later.
        database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        database.pragma("busy_timeout", timeout)


def give_back_some() -> bool:
    """In a transaction: give free pages back for PIECE_SECONDS at most; whether there are more.

    Only a file that was made for it can; in any other the free pages stay, for new audits.
    """
    database = current_sqlite("pruning")
    if database.pragma("auto_vacuum") != INCREMENTAL:
        return False
    until = time.perf_counter() + PIECE_SECONDS
    while database.pragma("freelist_count"):
        database.execute_sql(f"PRAGMA incremental_vacuum({PAGES})").fetchall()  # a page for a row
        if time.perf_counter() > until:
            return True
    return False


def size_of(database: SqliteStore) -> tuple[int, int]:
    """The size of a database, and of that what is free inside it, in bytes."""
    page = database.pragma("page_size")
    return page * database.pragma("page_count"), page * database.pragma("freelist_count")


def _size_here() -> tuple[int, int]:
    return size_of(current_sqlite("its size"))


@contextmanager
def _typed(database: SqliteStore) -> Iterator[None]:
    """The store's own errors for SQLite's."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise (store_error(error, database.location.name) or error) from error


# ---- SQL ----


@functools.cache
def _ended_sql() -> str:
    going = [peewee.SQL(f"'{status}'") for status in sorted(UNFINISHED)]
    query = Audit.select(Audit.id, Audit.url, Audit.created_at)
    query = query.where(Audit.status.not_in(going))
    return text_of(query.order_by(Audit.created_at.desc(), Audit.id.desc()))


@functools.cache
def _remove_sql() -> str:
    going = [peewee.SQL(f"'{status}'") for status in sorted(UNFINISHED)]
    running = AuditRunner.select(AuditRunner.audit)
    query = Audit.delete().where(
        Audit.id == MARK, Audit.status.not_in(going), Audit.id.not_in(running)
    )
    return text_of(query)


@functools.cache
def _events_sql() -> str:
    count = peewee.fn.COUNT(peewee.SQL("*"))
    return text_of(AuditEvent.select(count).where(AuditEvent.audit == MARK))


@functools.cache
def _files_sql() -> str:
    other = AuditScreenshot.alias()
    shared = other.select(peewee.SQL("1")).where(
        other.file_path == AuditScreenshot.file_path, other.audit != AuditScreenshot.audit
    )
    query = AuditScreenshot.select(AuditScreenshot.file_path, AuditScreenshot.file_size_bytes)
    return text_of(query.where(AuditScreenshot.audit == MARK, ~peewee.fn.EXISTS(shared)))
