"""What a backup and a restore have in common: the layout of a backup, and the database's copy."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from veritas_peewee.config import DEFAULT_DATABASE, SCREENSHOTS, Location
from veritas_peewee.database.current import bound
from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.database.sqlite_driver import connect
from veritas_peewee.errors import DatabaseCorrupt, StoreError, StoreFull, meaning
from veritas_peewee.files.platform import create_private, os_error, sync

DATABASE = os.path.basename(DEFAULT_DATABASE)
"""The database's name in a backup."""
STEP = 256
"""Pages that are copied in one step; between two steps other threads run and progress is shown."""

Progress = Callable[[str, int, int], object]
"""Called with the part of the work, how much of it is done, and of how much."""

# pysqlite3's backup gives its errors no code.
_BY_TEXT: dict[str, type[StoreError]] = {
    "database or disk is full": StoreFull,
    "database disk image is malformed": DatabaseCorrupt,
    "file is not a database": DatabaseCorrupt,
}


def refuse_server(location: Location) -> None:
    """Raise StoreError for a store on a server, whose backups are its own; it names the way."""
    if location.server is not None:
        raise StoreError(
            f"{location.name}: a backup or restore by this library is of a store in a file; on a "
            "server use pg_dump and pg_restore, or your provider's backups, and then "
            "`veritas-peewee verify`, with the head that was kept"
        )


def time_stamp() -> str:
    """Now in UTC, for a file's name."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def layout(folder: Path) -> Location:
    """Where the database and the images are in a backup's folder."""
    return Location(folder / DATABASE, folder / SCREENSHOTS)


@contextmanager
def opened(database: SqliteStore) -> Iterator[SqliteStore]:
    """Open a database as it is, without upgrade or recovery, and make it the current one."""
    try:
        database.connect()
        with bound(database):
            yield database
    except DRIVER_ERRORS as error:
        raise (store_error(error, database.location.name) or error) from error
    finally:
        database.close()


def copy_database(source: SqliteStore, target: Path, progress: Progress | None) -> int:
    """Copy a database that is open, as it is at this moment, to a new file; returns its bytes.

    It reads in one transaction: without it SQLite starts the copy again at each write by others,
    and under load never ends. Writers are not held up; their WAL grows meanwhile.
    """
    os.close(create_private(target))

    def advance(status: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress("database", total - remaining, total)

    try:
        with closing(connect(target, isolation_level=None)) as copy:
            # An unfinished copy is thrown away, so it needs no journal, and one fsync at its end.
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA synchronous = OFF")
            source.raw.execute("BEGIN")
            try:
                source.raw.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
                source.raw.backup(copy, pages=STEP, progress=advance)
            finally:
                if source.transaction_is_open:  # some errors end it
                    source.raw.execute("ROLLBACK")
            # A single file, without a WAL, also opens in a folder that cannot be written.
            copy.execute("PRAGMA journal_mode = DELETE")
    except DRIVER_ERRORS as error:
        where = f"{source.location.name} to {target.parent.parent}"
        kind = _BY_TEXT.get(str(error))
        raise (
            store_error(error, where)
            or (kind and kind(f"{where}: {meaning(kind)} (SQLite: {error})"))
            or error
        ) from error
    sync(target)
    return target.stat().st_size


@contextmanager
def typed(path: Path, what: str) -> Iterator[None]:
    """Raise the store's own errors for those of the system and of the driver."""
    try:
        yield
    except OSError as error:
        raise os_error(error, path, what) from error
    except DRIVER_ERRORS as error:
        raise (store_error(error, str(path)) or error) from error
