"""Entries are brought up to date with the audits that a transaction changes, or are left alone.

All of the catalog can be made again, so damage to it stops no audit.
"""

from __future__ import annotations

import logging
from typing import Any

from veritas_peewee.catalog import entries
from veritas_peewee.catalog.segments import pages_agree
from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.failures import DRIVER_ERRORS, is_of_the_data
from veritas_peewee.models import CatalogEntry

_LAST = 1 << 62
"""So far no counter comes by itself."""
_logger = logging.getLogger("veritas_peewee")


def renew_all(
    database: StoreDatabase,
    audits: dict[str, dict[str, Any]],
    findings: dict[str, list[Any]] | None = None,
) -> None:
    """Bring the entries of audits up to date with their rows' stored values, in a transaction.

    `findings` are those of `entries.renew_all`. All of this can be made again, so where it is
    damaged, the log says so and the entries stay as they were: no audit is refused for it.
    """
    if database.leaves_derived is None and not _can_be_written(database):
        database.leaves_derived = True
    if database.leaves_derived:
        return
    connection = database.state.conn
    connection.execute("SAVEPOINT catalog")
    try:
        if any(entries.renew_all(database, audits, findings)):
            write_words(database)
    except DRIVER_ERRORS as error:
        if not is_of_the_data(error):
            raise
        _leave(database, str(error))
        if not database.in_whole_transaction:
            raise  # FTS5's error has ended it; what is tried again will leave the catalog alone
        connection.execute("ROLLBACK TO catalog")
    connection.execute("RELEASE catalog")


def _can_be_written(database: StoreDatabase) -> bool:
    """Whether FTS5 could write to its index, asked once for each connection."""
    try:
        if pages_agree():
            _count_on(database)
            database.leaves_derived = False
            return True
        _leave(database, "its pages are not those of its segments")
    except DRIVER_ERRORS as error:
        if not is_of_the_data(error):
            raise
        _leave(database, str(error))
    return False


def _count_on(database: StoreDatabase) -> None:
    """Have entries be numbered on from the newest one where SQLite's counter is at its end.

    Another program can have made it anything; SQLite would then say that the disk is full.
    """
    entries = CatalogEntry._meta.table_name
    database.execute_sql(
        f"UPDATE sqlite_sequence SET seq = (SELECT COALESCE(MAX(id), 0) FROM {entries}) "
        f"WHERE name = ? AND (typeof(seq) <> 'integer' OR seq > {_LAST})",
        (entries,),
    )


def _leave(database: StoreDatabase, reason: str) -> None:
    database.leaves_derived = True
    _logger.warning(
        "%s: the search or the counts are damaged (%s): what is recorded is stored, and is not "
        "found or counted until `veritas-peewee verify --fix` has made them again",
        database.name,
        reason,
    )


def write_words(database: StoreDatabase) -> None:
    """Have FTS5 write what it has collected, so that it is known whether it can.

    Otherwise it does so before the next savepoint or with the COMMIT, and what has no part in it
    fails.
    """
    database.state.conn.execute("SAVEPOINT words")
    database.state.conn.execute("RELEASE words")
