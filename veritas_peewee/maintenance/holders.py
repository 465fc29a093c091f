"""Who has a database open: the sessions beside it, and whoever else holds a lock on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from veritas_peewee.config import Location
from veritas_peewee.database.current import bound
from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.errors import ReadOnlyStore, StoreBusy, StoreError, StoreFull
from veritas_peewee.files.platform import holders, identity_of
from veritas_peewee.files.sessions import State, look, names
from veritas_peewee.maintenance.copying import opened


def sessions(location: Location) -> Iterator[tuple[str, State]]:
    """The sessions beside a database, and what is known of the process of each.

    Raises OSError if the folder cannot be listed.
    """
    for name in names(location.sessions):
        yield name, look(location.sessions, name)


def _check_nobody_runs_audits(location: Location) -> None:
    try:
        states = {state for _, state in sessions(location)}
    except OSError as error:
        text = f"{location.sessions}: cannot be looked at, so it is not known who runs audits"
        raise StoreBusy(f"{text}: {error.strerror}") from error
    if State.ALIVE in states:
        raise StoreBusy(f"{location.path}: a process is running audits in it; stop it first")
    if State.UNKNOWN in states:
        raise StoreBusy(
            f"{location.sessions}: a session in it cannot be looked at, so a process may be "
            "running audits; stop it, then remove that folder"
        )


@contextmanager
def alone(location: Location, force: bool) -> Iterator[SqliteStore | None]:
    """The existing store, locked so that nobody else can open it; None if it cannot be read."""
    path = location.path
    assert path is not None
    _check_nobody_runs_audits(location)
    if not path.is_file():
        if os.path.lexists(path):
            raise StoreError(f"{path}: is not a file")
        yield None
        return
    database = SqliteStore(location, "script")
    try:
        try:
            with opened(SqliteStore(location, "viewer")) as viewer:
                viewer.get_tables()  # a connection that can write would drop a damaged file's WAL
            mode, identity = _hold(database), identity_of(path)
        except (*DRIVER_ERRORS, StoreError) as error:
            _not_alone(location, force, error)
            database.close()
            yield None
            return
        try:
            with bound(database):
                yield database
        except BaseException:
            # Not once it has been replaced: the WAL would be made for the new file.
            if not database.is_closed() and identity_of(path) == identity:
                with suppress(*DRIVER_ERRORS):  # what has failed may end it too, or fail this
                    database.raw.execute("ROLLBACK")
                with suppress(*DRIVER_ERRORS):  # the next one who writes sets it
                    database.raw.execute(f"PRAGMA journal_mode = {mode}")
            raise
    finally:
        database.close()


def _hold(database: SqliteStore) -> str:
    """Lock others out; returns the journal mode that the file had.

    It succeeds only if no other connection of any process has the file open: even an idle one
    holds a shared lock in WAL mode. Afterwards the content of the WAL is in the file.
    """
    database.connect()
    database.raw.execute("PRAGMA busy_timeout = 1000")
    (before,) = database.raw.execute("PRAGMA journal_mode").fetchone()
    (mode,) = database.raw.execute("PRAGMA journal_mode = DELETE").fetchone()
    if mode != "delete":
        raise StoreBusy
    database.raw.execute("BEGIN EXCLUSIVE")
    return str(before)


def _not_alone(location: Location, force: bool, error: Exception) -> None:
    """Raise why the file could not be locked, unless it is damaged and `force` is true."""
    failure = store_error(error, location.name)
    if isinstance(failure, StoreBusy):
        raise StoreBusy(f"{location.name}: somebody has it open; stop them first") from error
    if failure is None or isinstance(failure, ReadOnlyStore | StoreFull):
        raise failure or error
    # It is damaged, so SQLite's locks do not show who has it open.
    assert location.path is not None
    if others := [holder for holder in holders(location.path) if holder.pid != os.getpid()]:
        raise StoreBusy(
            f"{location.name}: process {others[0].pid} has it open; stop it first"
        ) from error
    if not force:
        raise StoreError(
            f"{location.name}: cannot be read, so it cannot be told whether it holds what the "
            f"backup does not; `--force` replaces it, and keeps it aside ({failure})"
        ) from error
