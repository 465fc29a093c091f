"""Opening a database: create or upgrade it, and mark the audits whose process has died."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veritas_peewee.config import Durability, Location, locate
from veritas_peewee.database.backends import connection
from veritas_peewee.database.current import bound
from veritas_peewee.database.event_loop import on_event_loop as runs_here
from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.errors import NoDatabase, ReadOnlyStore, StoreError

if TYPE_CHECKING:
    from veritas_peewee.database.backends import Connection
    from veritas_peewee.database.postgres import PostgresStore

    Settle = Callable[[Any], int]
    """Takes the connection, brings the schema to what it should be, and gives SQLite's count of its
    changes."""

# The modules that open a database are imported inside functions, when the first one is opened.


def open_writable(location: Location, durability: Durability = "normal") -> Connection:
    """The connection of a store's writer, to a file that is created or upgraded first.

    Raises SchemaTooNew, DatabaseCorrupt, ReadOnlyStore or StoreBusy.
    """
    return _prepare(connection(location, "writer", durability))


def open_reader(location: Location) -> Connection:
    """A connection that cannot write, to a database that a writer has prepared."""
    from veritas_peewee.migrations import lost

    database = connection(location, "reader")
    if location.server is None:
        database.explain = lost.explain
    database.connect()
    database.watch_file()  # the WAL is there already: the writer's
    return database


def open_listener(location: Location) -> PostgresStore:
    """A connection to a server that hears of commits, and does nothing else."""
    from veritas_peewee.database.postgres import PostgresStore

    database = PostgresStore(location, "viewer")
    database.connect()
    database.listen()
    return database


def _prepare(database: Connection, settle: Settle | None = None) -> Connection:
    from veritas_peewee.recording.disconnecting import disconnect_dead

    if database.backend == "sqlite":
        from veritas_peewee.migrations import lost

        database.explain = lost.explain
    database.connect()
    try:
        with bound(database):
            if database.backend == "sqlite":
                from veritas_peewee import migrations
                from veritas_peewee.ledger import evidence, keeper, schema

                migrations.upgrade(database, evidence.complete)
                database.watch_file()
                keeper.keep(database, (settle or schema.settle)(database))
            else:
                _prepare_server(database, settle)
            disconnect_dead()
    except DRIVER_ERRORS as error:
        database.close()
        raise (store_error(error, database.location.name) or error) from error
    except BaseException:
        database.close()
        raise
    return database


def _prepare_server(database: PostgresStore, settle: Settle | None) -> None:
    from veritas_peewee.database.postgres_locks import check_locks
    from veritas_peewee.ledger import server_keeper
    from veritas_peewee.migrations import server, server_mending

    beside = database.connect_beside()
    # A schema that was just made as a whole is as it should be.
    if len(server.upgrade(database)) < len(server.KNOWN):
        (settle or server_mending.settle)(database)
    server_keeper.keep(database, beside)
    database.session.begin()
    check_locks(database)


def _open_script(
    location: Location, settle: Settle | None = None, *, may_stall: bool = False
) -> Connection:
    database = connection(location, "script")
    database.may_stall = may_stall
    return _prepare(database, settle)


def _open_viewer(location: Location, *, may_stall: bool = False) -> Connection:
    database = connection(location, "viewer")
    database.may_stall = may_stall
    try:
        return _look_at(database)
    except ReadOnlyStore:
        # Where no file can be created beside it, SQLite opens a file in WAL mode only with
        # `immutable=1`, a promise that nobody changes it. With a WAL beside it that would be false.
        if location.path is None or Path(f"{location.path}-wal").exists():
            raise
        database = connection(location, "viewer", immutable=True)
        database.may_stall = may_stall
        return _look_at(database, immutable=True)


def _look_at(database: Connection, *, immutable: bool = False) -> Connection:
    location = database.location
    if location.in_memory:
        raise StoreError("a database in memory begins empty: there is nothing in it to be read")
    if database.backend == "sqlite":
        from veritas_peewee.migrations import lost

        database.explain = lost.explain
    database.connect()
    try:
        if database.backend == "sqlite":
            from veritas_peewee import migrations

            needed = migrations.pending(database)
        else:
            from veritas_peewee.migrations import server  # needs the driver of a server

            needed = server.pending(database)
        if needed:
            raise StoreError(
                f"{location.name}: has an older schema; open it once for writing, for example "
                "with `veritas-peewee init`, and it is upgraded"
            )
        if not immutable:
            database.watch_file()
    except DRIVER_ERRORS as error:
        database.close()
        raise (store_error(error, location.name, reading=True) or error) from error
    except BaseException:
        database.close()
        raise
    return database


def is_there(location: Location) -> bool:
    """Whether a store was made in a server's database yet, of whatever version; raises the errors
    of opening it."""
    database = connection(location, "viewer")  # first: it says so if there is no driver
    from veritas_peewee.database.postgres import PostgresStore
    from veritas_peewee.migrations import server

    assert isinstance(database, PostgresStore)
    database.connect()
    try:
        with bound(database):
            return server.is_made(database)
    except DRIVER_ERRORS as error:
        raise (store_error(error, location.name, reading=True) or error) from error
    finally:
        database.close()


@contextmanager
def with_screenshots(location: Location) -> Iterator[Location]:
    """The location with a screenshot folder: a temporary one for a database in memory."""
    if location.screenshots is not None or location.server is not None:
        yield location
        return
    import tempfile  # for databases in memory only

    with tempfile.TemporaryDirectory(prefix="veritas-") as folder:
        yield location._replace(screenshots=Path(folder))


@contextmanager
def connect(
    database: str | os.PathLike[str] | None = None,
    *,
    read_only: bool = False,
    screenshots: str | os.PathLike[str] | None = None,
    on_event_loop: bool = False,
) -> Iterator[Connection]:
    """Open a database for this thread: inside the `with` block the models talk to it.

    The file is created or upgraded first, unless `read_only`. The arguments are those of
    `AuditStore.open`. `on_event_loop` allows it on an event loop's own thread, which then stands
    still for each query: for a notebook, where each cell runs on one. Otherwise NoDatabase is
    raised there; and the errors of opening a file: SchemaTooNew, DatabaseCorrupt, ReadOnlyStore,
    StoreBusy.
    """
    if not on_event_loop and runs_here():
        raise NoDatabase(
            "connect() would stall the event loop: use `AuditStore.open()` there, or in a notebook "
            "`connect(…, on_event_loop=True)`"
        )
    with with_screenshots(locate(database, screenshots)) as location:
        open_here = _open_viewer if read_only else _open_script
        with _closing(open_here(location, may_stall=on_event_loop)) as opened:
            yield opened


@contextmanager
def connect_to_repair(
    database: str | os.PathLike[str] | None, settle: Settle
) -> Iterator[Connection]:
    """As `connect`, but `settle` brings the file's schema to what it should be: it may do more
    than an opening does."""
    with (
        with_screenshots(locate(database)) as location,
        _closing(_open_script(location, settle)) as opened,
    ):
        yield opened


@contextmanager
def _closing(opened: Connection) -> Iterator[Connection]:
    try:
        with bound(opened):
            yield opened
    finally:
        opened.close()


def create_or_upgrade(database: str | os.PathLike[str] | None = None) -> Location:
    """Create or upgrade a database and close it again; returns where it is."""
    with connect(database) as opened:
        return opened.location


async def init_database(database: str | os.PathLike[str] | None = None) -> Location:
    """Create or upgrade a database, off the event loop; returns where it is."""
    from anyio import to_thread

    return await to_thread.run_sync(create_or_upgrade, database)
