"""Bring a file to this version's schema: numbered scripts, run by Peewee's own runner."""

from __future__ import annotations

import logging
import runpy
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from glob import escape
from pathlib import Path

from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.database.sqlite_driver import connect
from veritas_peewee.errors import ReadOnlyStore, SchemaTooNew, StoreError
from veritas_peewee.files.database_path import uri_of
from veritas_peewee.files.durable import appearing
from veritas_peewee.files.platform import os_error
from veritas_peewee.migrations import history
from veritas_peewee.migrations.history import DIRECTORY, LEGACY_TABLES, History
from veritas_peewee.migrations.history import HISTORY as HISTORY
from veritas_peewee.migrations.history import KNOWN as KNOWN

_logger = logging.getLogger("veritas_peewee")


def pending(database: SqliteStore) -> list[str]:
    """The migrations that the file still needs, read without changing anything.

    Raises SchemaTooNew for a file of a newer version and StoreError for another program's.
    """
    return _needed(database, history.read(database))


def _needed(database: SqliteStore, found: History) -> list[str]:
    name = database.location.name
    if newer := found.newer:
        raise SchemaTooNew(
            f"{name}: a newer version of veritas-peewee wrote this file (it has "
            f"{newer[-1]}, this version knows up to {KNOWN[-1]}); upgrade the library to open it"
        )
    tables = found.tables
    if tables and HISTORY not in tables and not found.applied and not tables >= LEGACY_TABLES:
        listed = ", ".join(sorted(tables)[:5])
        raise StoreError(
            f"{name}: this SQLite file belongs to another program (its tables: {listed}); "
            "choose another path"
        )
    return [migration for migration in KNOWN if migration not in found.applied]


def upgrade(
    database: SqliteStore, afterwards: Callable[[SqliteStore, list[str]], None]
) -> list[str]:
    """Create or upgrade the schema and switch the file to WAL; returns the applied migrations.

    `afterwards` is called in the same transaction with the database and the migrations, if any was
    applied. Raises SchemaTooNew, StoreBusy, or the store's own error for the driver's.
    """
    try:
        found = history.read(database)
        needed = _needed(database, found)
        database.use_wal()
        if found.trouble:
            with database.unit():
                _mend_history(database)
        return _apply(database, afterwards) if needed else []
    except DRIVER_ERRORS as error:
        raise (store_error(error, database.location.name) or error) from error


def _mend_history(database: SqliteStore) -> None:
    """Have the record of migrations say what the file's parts say.

    Otherwise a migration would run a second time on a file that has its parts.
    """
    from veritas_peewee.migrations import parts

    found = history.read(database)  # by now another process can have mended it
    if not found.trouble:
        return
    parts.refuse_acting(database, parts.differences(database))
    try:
        history.mend(database, found)
    except DRIVER_ERRORS as error:
        known = store_error(error, database.name)
        if known is not None and type(known) is not StoreError:
            raise known from error
        raise ReadOnlyStore(
            f"{database.name}: {found.trouble}, and it cannot be made again ({error}): restore a "
            "backup, or remove by hand what has its name"
        ) from error
    _logger.warning(
        "%s: %s; another program has changed it, and it is made again; `veritas-peewee verify` "
        "shows whether rows were changed too",
        database.name,
        found.trouble,
    )


def _apply(
    database: SqliteStore, afterwards: Callable[[SqliteStore, list[str]], None]
) -> list[str]:
    from veritas_peewee.migrations import again

    # Rebuilding a table with foreign keys on would delete its children by cascade, and the
    # PRAGMA does nothing inside a transaction.
    database.pragma("foreign_keys", 0)
    try:
        # One transaction around the whole run: a second process waits here for the first and then
        # looks again, and a kill leaves the old schema or the new one.
        with database.unit():
            needed = pending(database)
            _refuse_taken(database, needed)
            if KNOWN[0] in needed and set(database.get_tables()) >= LEGACY_TABLES:
                back_up(database)
            if not needed:
                return []
            new = again.is_empty(database)
            if new and again.make(database):
                return needed  # without rows there is nothing to complete
            # Rows without an audit that another program left (it need not enforce foreign keys) are
            # for `verify` to report. In an older store's file the first migration mends them.
            known = set() if KNOWN[0] in needed else broken_rows(database)
            if KNOWN[0] not in needed:
                _refuse_others(database, [name for name in KNOWN if name not in needed])
            applied = _run(database)
            if new:
                again.remember(database)
            afterwards(database, applied)
            if broken := broken_rows(database) - known:
                row = next(iter(broken))
                raise StoreError(f"{database.location.name}: upgrade would break a row: {row}")
            return applied
    finally:
        database.pragma("foreign_keys", 1)


def broken_rows(database: SqliteStore) -> set[tuple[object, ...]]:
    """The rows whose audit is gone, as `PRAGMA foreign_key_check` names them."""
    return set(database.execute_sql("PRAGMA foreign_key_check"))


def _run(database: SqliteStore) -> list[str]:
    # Only a file that is created or upgraded pays for importing it.
    from playhouse.migrations import Runner

    applied: list[str] = Runner(database, str(DIRECTORY), HISTORY).up()
    return applied


def back_up(database: SqliteStore) -> Path | None:
    """Copy the file's committed state to a file beside it; returns its path, None in memory.

    Raises StoreError if the copy is damaged, or cannot be written.
    """
    path = database.location.path
    if path is None:
        return None
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    target = path.with_name(f"{path.name}.backup-{stamp}")
    try:
        _copy(path, target)
    except OSError as error:
        raise os_error(error, target, "written") from error
    return target


def _copy(path: Path, target: Path) -> None:
    for left in unfinished_backups(path):
        left.unlink()  # of a killed upgrade: we hold the write lock, so no other one is running
    partial = path.with_name(f".{target.name}.partial")
    with appearing(target, partial):
        with (
            closing(connect(f"{uri_of(path)}?mode=ro", uri=True)) as source,
            closing(connect(partial)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
            verdict = copy.execute("PRAGMA quick_check").fetchone()[0]
        if verdict != "ok":
            raise StoreError(f"{path}: not upgraded, its backup is damaged: {verdict}")


def unfinished_backups(path: Path) -> list[Path]:
    """The unfinished copies that killed upgrades left beside a database, with the files that SQLite
    had beside them."""
    return [
        left
        for end in ("", "-journal", "-wal", "-shm")
        for left in path.parent.glob(f".{escape(path.name)}.backup-*.partial{end}")
    ]


def _refuse_taken(database: SqliteStore, needed: list[str]) -> None:
    """Raise StoreError if another program has a table where one of ours is to be."""
    created = (text for text in _statements("TABLES", needed) if text.startswith("CREATE TABLE"))
    ours = {text.split('"')[1] for text in created} - history.LEGACY_TABLES
    for name in database.get_tables():
        if name.lower() in ours:
            raise StoreError(
                f"{database.name}: not upgraded, another program has a table {name} in it, as this "
                f"version needs one: give it another name first (ALTER TABLE {name} RENAME TO …)"
            )


def _refuse_others(database: SqliteStore, applied: list[str]) -> None:
    """Raise ReadOnlyStore for another program's triggers and for its values in a table that will be
    made anew, and make our triggers as these migrations do.

    What an upgrade writes is sealed afterwards, so nobody else may have a hand in it.
    """
    from veritas_peewee.migrations import parts
    from veritas_peewee.migrations.fresh import FORMER, our_columns

    found = parts.differences(database)
    # An index of ours that was altered goes with the one it was.
    found.acting = [part for part in found.acting if part.key not in FORMER]
    parts.refuse_acting(database, found)
    for table in _MADE_ANEW:
        parts.refuse_columns(database, table, our_columns()[table])
    # A later migration's trigger replaces an earlier one with the same name.
    texts = {text.split()[2]: text for text in _statements("TRIGGERS", applied)}
    tables = set(database.get_tables())
    for name, text in texts.items():
        database.execute_sql(f"DROP TRIGGER IF EXISTS main.{name}")
        # Those of a lost table are made with it, by `verify --fix`.
        if text.partition(" ON ")[2].split()[0] in tables:
            database.execute_sql(text)


_MADE_ANEW = ("audit_catalog", "audit_counts")
"""The tables that migrations make anew with the columns of ours alone."""


def _statements(kind: str, names: list[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        found += runpy.run_path(str(DIRECTORY / f"{name}.py")).get(kind, ())
    return found
