"""A file's schema brought to this version's before anything is written through it."""

from __future__ import annotations

import logging

from veritas_peewee.catalog import rebuilding
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.migrations import parts

_logger = logging.getLogger("veritas_peewee")


def settle(database: SqliteStore) -> int:
    """Make again what is derived of our schema; returns the `schema_version` that is then right.

    Outside a transaction it begins one if there is anything to do. Raises ReadOnlyStore if another
    program's parts act on what we write, or if a table whose rows nothing else holds is not as it
    should be.
    """
    version = parts.schema_version(database)
    if not parts.differences(database):
        return version
    if not database.transaction_is_open:
        with database.unit():
            return settle(database)
    for text in make_derived(database):
        _logger.warning(
            "%s: %s; another program has changed the schema, and `veritas-peewee verify` shows "
            "whether it has changed rows too",
            database.name,
            text,
        )
    return parts.schema_version(database)


def make_derived(database: SqliteStore) -> list[str]:
    """Make what is derived of our schema again; returns what was done, in words.

    The caller must have begun a transaction. Raises the errors of `settle`.
    """
    found = parts.differences(database)
    parts.refuse_acting(database, found)
    done = rebuilding.make_again(database, [part.name for part in found.tables])
    if done:
        found = parts.differences(database)
    parts.refuse_tables(database, found)
    return done + parts.mend(database, found)
