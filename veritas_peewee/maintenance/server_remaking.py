"""A schema on a server made again where another program has changed it, missing tables too: without
them an opening refuses to write."""

from __future__ import annotations

from veritas_peewee.database.postgres import PostgresStore
from veritas_peewee.migrations import server_mending, server_parts


def settle(database: PostgresStore, done: list[str]) -> int:
    """Bring the schema to this version's; what was done is added to `done`, in words.

    Raises ReadOnlyStore if another program's parts act on what we write, or if a table is not as it
    should be in a way that is to be mended by hand.
    """
    database.may_take_long()
    with database.unit():
        found = server_parts.differences(database)
        server_parts.refuse_acting(database, found)
        done += server_mending.make_tables(database, found)
        done += server_mending.make_derived(database, server_parts.differences(database))
    return 0
