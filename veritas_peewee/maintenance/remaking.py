"""Make tables of ours again that another program has altered, with the rows as they are.

`sqlite-utils transform`, for one, makes a table anew by what it knows of it: AUTOINCREMENT, WITHOUT
ROWID, collations and triggers are lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from veritas_peewee import migrations
from veritas_peewee.catalog import rebuilding
from veritas_peewee.database.failures import DRIVER_ERRORS, is_of_the_data, store_error
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.database.statements import execute
from veritas_peewee.errors import StoreError
from veritas_peewee.ledger import schema
from veritas_peewee.migrations import parts
from veritas_peewee.migrations.fresh import Part, fresh_parts
from veritas_peewee.models import AuditEvent, RemovedEvent


def settle(database: SqliteStore, done: list[str]) -> int:
    """Bring the file's schema to this version's, tables too; returns its `schema_version`.

    What was done is added to `done`, in words. Raises ReadOnlyStore if another program's parts act
    on what we write, StoreError if a table has rows that do not fit into ours.
    """
    # To drop a table with foreign keys on would delete its children by cascade.
    database.pragma("foreign_keys", 0)
    try:
        with database.unit():
            done += _make_tables(database)
            done += schema.make_derived(database)
            return parts.schema_version(database)
    finally:
        database.pragma("foreign_keys", 1)


def _make_tables(database: SqliteStore) -> list[str]:
    found = parts.differences(database)
    parts.refuse_acting(database, found)
    missing, known = {part.key for part in found.missing}, _broken_rows(database)
    done = []
    for part in found.tables:
        if part.name in rebuilding.TABLES:
            continue  # derived
        wanted = fresh_parts()[part.key]
        with _named(database, wanted.name):
            if part.key in missing:
                database.execute_sql(wanted.text)
                _count_on(database, wanted)
                done.append(f"made the table {part.name}, which was missing, without any row")
            else:
                rows = _make_again(database, wanted)
                done.append(f"made the table {part.name} again, with its {rows} rows as they are")
    if missing or known is None:  # rows may be without their audit, which `verify` names
        return done
    if broken := migrations.broken_rows(database) - known:
        raise StoreError(f"{database.name}: without their audit: {broken}; nothing was made again")
    return done


def _broken_rows(database: SqliteStore) -> set[tuple[object, ...]] | None:
    """The rows whose audit is gone; None if that cannot be asked, for want of an audit's key."""
    try:
        return migrations.broken_rows(database)
    except DRIVER_ERRORS as error:
        if not is_of_the_data(error):
            raise
        return None


@contextmanager
def _named(database: SqliteStore, table: str) -> Iterator[None]:
    try:
        yield
    except DRIVER_ERRORS as error:
        known = store_error(error, database.name)
        if known is not None and type(known) is not StoreError:
            raise known from error
        raise StoreError(
            f"{database.name}: the table {table} cannot be made again, because its rows do not fit "
            f"or its name is taken ({error}): mend that by hand, or restore a backup"
        ) from error


def _make_again(database: SqliteStore, wanted: Part) -> int:
    """Make one table anew and copy its rows; returns their number."""
    table, new = wanted.name, f"veritas_new_{wanted.name}"
    present = _columns(database, table)
    ((number,),) = execute(f"SELECT COUNT(*) FROM main.{table}", ())
    try:
        # Otherwise a view that mentions the table stops the renaming.
        database.pragma("legacy_alter_table", 1)
        database.execute_sql(wanted.text.replace(f'"{table}"', f'"{new}"', 1))
        ours = _columns(database, new)
        parts.refuse_columns(database, table, ours)
        columns = [name for name in ours if name in present]
        if not any(kind == "INTEGER" and key for kind, key in ours.values()):
            columns[:0] = _row_id(database, table)
        listed = ", ".join(columns)
        if listed:  # else there is nothing of ours in it
            copied_sql = f"INSERT INTO main.{new} ({listed}) SELECT {listed} FROM main.{table}"
            database.execute_sql(copied_sql)
        counted = execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,))
        database.execute_sql(f"DROP TABLE main.{table}")
        database.execute_sql(f"ALTER TABLE main.{new} RENAME TO {table}")
    finally:
        database.pragma("legacy_alter_table", 0)
    _count_on(database, wanted, *(seq for (seq,) in counted))
    ((copied,),) = execute(f"SELECT COUNT(*) FROM main.{table}", ())
    if copied != number:
        raise StoreError(f"{database.name}: the table {table} could not be read as a whole")
    return int(number)


def _columns(database: SqliteStore, table: str) -> dict[str, tuple[str, int]]:
    """The type of each column, and its position in the primary key, or 0."""
    rows = database.execute_sql(f"PRAGMA main.table_info({table})").fetchall()
    return {row[1].lower(): (row[2], row[5]) for row in rows}


def _row_id(database: SqliteStore, table: str) -> list[str]:
    """SQLite's own id of a row, as a column; nothing if the table has none."""
    try:
        database.execute_sql(f"SELECT rowid FROM main.{table} LIMIT 1").fetchall()
    except DRIVER_ERRORS:
        return []
    return ["rowid"]


def _count_on(database: SqliteStore, wanted: Part, *counted: int) -> None:
    """Let SQLite give out no id again that a row of the table ever had."""
    if "AUTOINCREMENT" not in wanted.text:
        return
    last = [*counted, *_newest_id("id", wanted.name)]
    removed = RemovedEvent._meta.table_name
    if wanted.name == AuditEvent._meta.table_name and removed in database.get_tables():
        last += _newest_id("event_id", removed)
    database.execute_sql("DELETE FROM sqlite_sequence WHERE name = ?", (wanted.name,))
    if last:
        sql = "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)"
        database.execute_sql(sql, (wanted.name, max(last)))


def _newest_id(column: str, table: str) -> list[int]:
    rows = execute(f"SELECT MAX({column}) FROM main.{table}", ())
    return [newest for (newest,) in rows if newest is not None]
