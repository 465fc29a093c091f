"""Free space inside a database given back to the file system, in small steps or at once."""

from __future__ import annotations

import time

from veritas_peewee.database.sqlite import SqliteStore, current_sqlite

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
        # Only VACUUM applies the new setting to a file that exists already.
        database.pragma("auto_vacuum", INCREMENTAL)
        database.execute_sql("VACUUM")
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
