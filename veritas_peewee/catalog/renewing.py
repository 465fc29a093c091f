"""Entries are brought up to date with the audits that a transaction changes, or are left alone.

All of the catalog can be made again, so damage to it stops no audit.
"""

from __future__ import annotations

import logging
from typing import Any

from veritas_peewee.catalog import entries
from veritas_peewee.catalog.indexes import index
from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.failures import DRIVER_ERRORS, is_damage

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
    if database.hopes:  # an error can be another part's: it is told apart when all is run again
        if any(entries.renew_all(database, audits, findings)):
            write_words(database)
        return
    connection.execute("SAVEPOINT catalog")
    try:
        if any(entries.renew_all(database, audits, findings)):
            write_words(database)
        database.check_usable()  # a server tells what has failed only when it is asked
    except DRIVER_ERRORS as error:
        if not is_damage(error):
            raise
        if not database.in_whole_transaction:
            _leave(database, str(error))
            raise  # FTS5's error has ended it; what is tried again will leave the catalog alone
        try:
            database.before_going_back()
            connection.execute("ROLLBACK TO catalog")
            database.after_going_back()
        except DRIVER_ERRORS:  # there is no such savepoint: a statement before it had failed
            raise error from None
        _leave(database, str(error))
    connection.execute("RELEASE catalog")


def _can_be_written(database: StoreDatabase) -> bool:
    """Whether the index can be written to, asked once for each connection."""
    try:
        if index().make_writable(database):
            database.leaves_derived = False
            return True
        _leave(database, "its pages are not those of its segments")
    except DRIVER_ERRORS as error:
        if not is_damage(error):
            raise
        _leave(database, str(error))
    return False


def _leave(database: StoreDatabase, reason: str) -> None:
    database.leaves_derived = True
    _logger.warning(
        "%s: the search or the counts are damaged (%s): what is recorded is stored, and is not "
        "found or counted until `veritas-peewee verify --fix` has made them again",
        database.name,
        reason,
    )


def write_words(database: StoreDatabase) -> None:
    """Have the index write what it has collected, so that it is known whether it can."""
    index().write_words(database)
