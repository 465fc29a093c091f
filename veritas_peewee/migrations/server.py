"""Bring a store on a server to this version's schema: numbered scripts, run by Peewee's runner."""

from __future__ import annotations

import logging
from typing import Any

from veritas_peewee.database.failures import DRIVER_ERRORS, error_code, store_error
from veritas_peewee.database.postgres import PostgresStore
from veritas_peewee.database.postgres_errors import NOT_ALLOWED
from veritas_peewee.errors import ReadOnlyStore, SchemaTooNew, StoreError
from veritas_peewee.migrations.scripts import folder

_logger = logging.getLogger("veritas_peewee")
HISTORY = "veritas_migrations"
DIRECTORY = folder("on_postgres")
KNOWN = tuple(sorted(path.stem for path in DIRECTORY.glob("[0-9]*.py")))
OLDEST = 150000
"""The oldest server that has what the schema uses (`NULLS NOT DISTINCT`), as it numbers itself."""
MADE = {"0001_initial": "store_state", "0003_tree": "store_tree"}
"""A table by which it is seen that a migration was applied. Whoever adds one puts it here."""
_TABLES = ("audits", "audit_findings", "audit_screenshots", "audit_events")


def pending(database: PostgresStore) -> list[str]:
    """The migrations that the database still needs, read without changing anything.

    Raises SchemaTooNew for one of a newer version, and StoreError for another program's tables.
    """
    name = database.location.name
    there, applied = _read(database)
    if not applied and (others := sorted(there.intersection(_TABLES))):
        raise StoreError(
            f"{name}: the schema has a table {others[0]} of another program; name another schema "
            "in the URL (?options=-csearch_path%3DNAME). The older store's file is upgraded by "
            "`veritas-peewee init`, and then copied to a server"
        )
    if newer := [one for one in applied if one > KNOWN[-1] and one not in KNOWN]:
        raise SchemaTooNew(
            f"{name}: a newer version of veritas-peewee made this schema (it has {newer[-1]}, this "
            f"version knows up to {KNOWN[-1]}); upgrade the library to open it"
        )
    return [one for one in KNOWN if one not in applied]


def is_made(database: PostgresStore) -> bool:
    """Whether there is anything of a store in the database's schema."""
    there, applied = _read(database)
    return bool(applied or there.intersection(_TABLES))


def recorded(database: PostgresStore) -> list[str] | None:
    """What the record of migrations names, in order; None if there is none."""
    if HISTORY not in database.get_tables():
        return None
    rows = database.execute_sql(f"SELECT name FROM {HISTORY} ORDER BY name").fetchall()
    return [str(row[0]) for row in rows]


def _read(database: PostgresStore) -> tuple[set[str], list[str]]:
    """The tables that are there, and the migrations that the database has had: those of its record,
    and those whose parts are there, for another program can have emptied the record."""
    there = set(database.get_tables())
    names = set((recorded(database) or ()) if HISTORY in there else ())
    return there, sorted(names | {one for one, table in MADE.items() if table in there})


def upgrade(database: PostgresStore) -> list[str]:
    """Create or upgrade the schema; returns the applied migrations.

    Raises SchemaTooNew, StoreBusy, StoreError for a server that is too old or a database of another
    encoding than UTF8, or the store's own error for the server's.
    """
    if database.server_version < OLDEST:
        version = database.server_version // 10_000
        raise StoreError(
            f"{database.location.name}: this is PostgreSQL {version}; the store needs 15 or newer"
        )
    encoding = database.raw.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreError(
            f"{database.location.name}: the encoding of this database is {encoding}, in which not "
            "every text can be stored: make another one (`createdb --template template0 --encoding "
            "UTF8 NAME`), and `veritas-peewee copy` there what this one holds"
        )
    try:
        needed = pending(database)
        if not needed and recorded(database) == list(KNOWN):
            return []
        # One transaction, and one at a time: a second process waits for the lock, and looks again.
        with database.unit():
            database.may_take_long(once=True)
            _mend_history(database)
            return _run(database) if pending(database) else []
    except DRIVER_ERRORS as error:
        if error_code(error) == NOT_ALLOWED:
            raise ReadOnlyStore(
                f"{database.location.name}: this user may not make the store's tables: GRANT "
                "CREATE on the schema, or let the owner of the schema run `veritas-peewee init`"
            ) from error
        raise (store_error(error, database.location.name) or error) from error


def _mend_history(database: PostgresStore) -> None:
    """Have the record of migrations name those whose parts are there: none may run a second time.

    The caller must have begun a transaction.
    """
    _, applied = _read(database)
    if not (lost := set(applied) - set(recorded(database) or ())):
        return
    history = _runner(database).History
    history.create_table(safe=True)
    history.insert_many([(name,) for name in sorted(lost)], fields=[history.name]).execute()
    _logger.warning(
        "%s: the record of migrations, %s, lacked %s; another program has changed it, and it is "
        "made again; `veritas-peewee verify` shows whether rows were changed too",
        database.name,
        HISTORY,
        ", ".join(sorted(lost)),
    )


def _run(database: PostgresStore) -> list[str]:
    applied: list[str] = _runner(database).up()
    return applied


def _runner(database: PostgresStore) -> Any:
    # Only a database that is created or upgraded pays for importing it.
    from playhouse.migrations import Runner

    return Runner(database, str(DIRECTORY), HISTORY)
