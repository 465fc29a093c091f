"""The schema of a store on a server made again where another program has changed it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.database.postgres import PostgresStore
from veritas_peewee.errors import ReadOnlyStore, StoreError
from veritas_peewee.migrations.server_catalog import parts_in, quoted, schema_of, statements
from veritas_peewee.migrations.server_parts import SHOWN, Differences, differences, refuse_acting

_logger = logging.getLogger("veritas_peewee")


def settle(database: PostgresStore) -> None:
    """Make again, before anything is written, what of our schema holds no rows; the log says so.

    Raises ReadOnlyStore if another program's parts act on what we write, or if a table is not as it
    should be.
    """
    if not differences(database):
        return
    with database.unit():
        found = differences(database)  # by now another process can have made it again
        refuse_acting(database, found)
        for text in make_derived(database, found):
            _logger.warning(
                "%s: %s; another program has changed the schema, and `veritas-peewee verify` shows "
                "whether it has changed rows too",
                database.name,
                text,
            )


def make_tables(database: PostgresStore, found: Differences) -> list[str]:
    """Make missing tables, without any row; returns what was done, in words."""
    missing = [part.name for part in found.missing if part.kind == "table"]
    with _typed(database, missing):
        for statement in statements("TABLES"):
            words = statement.split()
            table = words[2].partition("(")[0]
            if table in missing and words[0] != "UPDATE":
                database.execute_sql(statement)
    return [f"made the table {name}, which was missing, without any row" for name in missing]


def make_derived(database: PostgresStore, found: Differences) -> list[str]:
    """Make functions, triggers, views and indexes of ours again; returns what was done, in words.

    The caller must have begun a transaction. Raises ReadOnlyStore if something else is missing or
    altered, or if one cannot be made.
    """
    if found.uncompared:
        raise ReadOnlyStore(
            f"{database.name}: the schema is not that of this version, and which part of it cannot "
            f"be seen by this role: let the owner of its tables open it ({found.uncompared})"
        )
    if found.rest:
        raise ReadOnlyStore(
            f"{database.name}: {'; '.join(found.rest[:SHOWN])}: nothing is written until that is "
            "mended by hand, or a backup is restored (`veritas-peewee verify --fix` makes missing "
            "tables)"
        )
    done = [
        *(f"{part} was missing, and is made again" for part in found.missing),
        *(f"{part} was altered, and is made again" for part, _ in found.altered),
    ]
    with _typed(database, [part.name for part, _ in found.altered]):
        for part, _ in found.altered:
            if part.kind in ("view", "index"):
                database.execute_sql(f"DROP {part.kind.upper()} {quoted(part.name)}")
            elif part.kind == "trigger":
                database.execute_sql(part.removal)
        _make_missing(database)
    return done


def _make_missing(database: PostgresStore) -> None:
    present = _present(database)
    # A function is replaced, which its triggers do not notice.
    for statement in statements("FUNCTIONS"):
        database.execute_sql(statement.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1))
    for kind in ("INDEXES", "TRIGGERS", "VIEWS"):
        for statement in statements(kind):
            if statement.split()[2] not in present:
                database.execute_sql(statement)
    for statement in statements("DEFAULTS"):
        database.execute_sql(statement)


def _present(database: PostgresStore) -> set[str]:
    found = parts_in(database.raw.execute, schema_of(database))
    return {part.name for part in found if part.kind in ("index", "trigger", "view")}


@contextmanager
def _typed(database: PostgresStore, names: list[str]) -> Iterator[None]:
    try:
        yield
    except DRIVER_ERRORS as error:
        known = store_error(error, database.name)
        if known is not None and type(known) is not StoreError:
            raise known from error
        raise ReadOnlyStore(
            f"{database.name}: the schema cannot be made again ({', '.join(names)}): {error}"
        ) from error
