"""Bring a store on a server to this version's schema: numbered scripts, run by Peewee's runner."""

from __future__ import annotations

from pathlib import Path

from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.database.postgres import PostgresStore
from veritas_peewee.errors import SchemaTooNew, StoreError

HISTORY = "veritas_migrations"
DIRECTORY = Path(__file__).parent / "on_postgres"
KNOWN = tuple(sorted(path.stem for path in DIRECTORY.glob("[0-9]*.py")))
OLDEST = 150000
"""The oldest server that has what the schema uses (`NULLS NOT DISTINCT`), as it numbers itself."""
_TABLES = ("audits", "audit_findings", "audit_screenshots", "audit_events")


def pending(database: PostgresStore) -> list[str]:
    """The migrations that the database still needs, read without changing anything.

    Raises SchemaTooNew for one of a newer version, and StoreError for another program's tables.
    """
    name = database.location.name
    there = set(database.get_tables())
    if HISTORY not in there:
        if others := sorted(there.intersection(_TABLES)):
            raise StoreError(
                f"{name}: the schema has a table {others[0]} of another program; name another "
                "schema in the URL (?options=-csearch_path=NAME)"
            )
        return list(KNOWN)
    rows = database.execute_sql(f"SELECT name FROM {HISTORY} ORDER BY name").fetchall()
    applied = [str(row[0]) for row in rows]
    if newer := [one for one in applied if one > KNOWN[-1] and one not in KNOWN]:
        raise SchemaTooNew(
            f"{name}: a newer version of veritas-peewee made this schema (it has {newer[-1]}, this "
            f"version knows up to {KNOWN[-1]}); upgrade the library to open it"
        )
    return [one for one in KNOWN if one not in applied]


def upgrade(database: PostgresStore) -> list[str]:
    """Create or upgrade the schema; returns the applied migrations.

    Raises SchemaTooNew, StoreBusy, or the store's own error for the server's.
    """
    if database.server_version < OLDEST:
        version = database.server_version // 10_000
        raise StoreError(
            f"{database.location.name}: this is PostgreSQL {version}; the store needs 15 or newer"
        )
    try:
        if not pending(database):
            return []
        # One transaction, and one at a time: a second process waits for the lock, and looks again.
        with database.unit():
            return _run(database) if pending(database) else []
    except DRIVER_ERRORS as error:
        raise (store_error(error, database.location.name) or error) from error


def _run(database: PostgresStore) -> list[str]:
    # Only a database that is created or upgraded pays for importing it.
    from playhouse.migrations import Runner

    applied: list[str] = Runner(database, str(DIRECTORY), HISTORY).up()
    return applied
