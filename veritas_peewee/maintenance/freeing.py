"""Free space inside a database given back to the file system, in small steps or at once."""

from __future__ import annotations

import shutil
import time
from contextlib import closing
from pathlib import Path

from veritas_peewee.database.failures import DRIVER_ERRORS, first_failure, store_error
from veritas_peewee.database.sqlite import SqliteStore, current_sqlite
from veritas_peewee.database.sqlite_driver import connect
from veritas_peewee.errors import DatabaseCorrupt, StoreBusy, StoreError, StoreFull
from veritas_peewee.files.platform import TEMPORARY_VARIABLE, identity_of, temporary_folder

FREE_SECONDS = 0.02
"""Seconds for which one transaction gives pages back; the pause after it is as long."""
PAGES = 64
"""Pages that are given back between two looks at the clock."""
CHECKPOINT_PATIENCE = 50
"""Milliseconds that the last checkpoint waits for reads to end."""
INCREMENTAL = 2
"""The value of `PRAGMA auto_vacuum` for a file that can give free pages back in small steps."""


def give_back(database: SqliteStore, vacuum: bool) -> None:
    if vacuum:
        rewrite(database)
    more = True
    while more:
        with database.unit():
            more = give_back_some()
        time.sleep(FREE_SECONDS)
    timeout = database.pragma("busy_timeout")
    database.pragma("busy_timeout", CHECKPOINT_PATIENCE)
    try:
        # Only a checkpoint makes the file itself smaller; while others read, a later one.
        database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        database.pragma("busy_timeout", timeout)


def rewrite(database: SqliteStore) -> None:
    """Write the whole file anew, without its free space.

    SQLite first makes a copy in its temporary folder, or in memory if it was built to make no
    temporary files, as pysqlite3's is; then it writes that into the WAL. Raises StoreFull if there
    is too little room in a folder.
    """
    path = database.location.path
    if path is None:
        database.execute_sql("VACUUM")
        return
    size, free = size_of(database)
    temporary = temporary_folder() if makes_files(database) else None
    _check_room(path, temporary, size - free)
    # By a connection of its own: to change `temp_store` drops all temporary triggers.
    with closing(
        connect(path, timeout=database.location.timeout, isolation_level=None)
    ) as connection:
        connection.execute("PRAGMA temp_store = FILE")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        # Only VACUUM applies the setting to a file that exists already.
        connection.execute(f"PRAGMA auto_vacuum = {INCREMENTAL}")
        database.expect_change()
        try:
            connection.execute("VACUUM")
        except DRIVER_ERRORS as error:
            failure = store_error(error, database.location.name)
            if isinstance(failure, StoreBusy | DatabaseCorrupt):
                raise failure from error
            kind = StoreFull if isinstance(failure, StoreFull) else StoreError
            raise kind(_no_room(path, temporary, f"SQLite: {first_failure(error)}")) from error


def makes_files(database: SqliteStore) -> bool:
    """Whether this SQLite can keep temporary databases in files."""
    options = database.execute_sql("PRAGMA compile_options").fetchall()
    return ("TEMP_STORE=3",) not in options


def _check_room(path: Path, temporary: Path | None, needed: int) -> None:
    """Raise StoreFull unless there is room for a copy in either folder."""
    folders = [path.parent] if temporary is None else [temporary, path.parent]
    together = len({identity_of(folder)[0] for folder in folders}) < len(folders)
    for folder in folders:
        free = shutil.disk_usage(folder).free
        if free < needed * (1 + together):
            needed_mb, free_mb = needed * (1 + together) / 1e6, free / 1e6
            what = f"it needs {needed_mb:.1f} MB in {folder}, where {free_mb:.1f} MB are free"
            raise StoreFull(_no_room(path, temporary, what))


def _no_room(path: Path, temporary: Path | None, why: str) -> str:
    where = "this SQLite makes the copy in memory"
    if temporary is not None:
        where = (
            f"{TEMPORARY_VARIABLE} names another folder for the copy, which is made in {temporary}"
        )
    return f"{path}: was not rewritten: {why}; {where}"


def give_back_some() -> bool:
    """In a transaction: give free pages back for FREE_SECONDS at most; True if there are more.

    A file that is not in incremental mode keeps its free pages, and uses them for new audits.
    """
    database = current_sqlite("freeing space")
    if database.pragma("auto_vacuum") != INCREMENTAL:
        return False
    until = time.perf_counter() + FREE_SECONDS
    while database.pragma("freelist_count"):
        # It gives a row for each page.
        database.execute_sql(f"PRAGMA incremental_vacuum({PAGES})").fetchall()
        if time.perf_counter() > until:
            return True
    return False


def size_of(database: SqliteStore) -> tuple[int, int]:
    """The size of a database and the free space inside it, both in bytes."""
    page = database.pragma("page_size")
    return page * database.pragma("page_count"), page * database.pragma("freelist_count")


def size_here() -> tuple[int, int]:
    return size_of(current_sqlite("freeing space"))
