"""Which database the models talk to *here*: a connection belongs to one thread's context.

Peewee's models hold one database for the whole process. Ours is a proxy that looks the real one
up in a context variable, so that each thread and task reaches the store it works for, and where
none is open (as on an event loop's thread) a query is an error instead of a stall.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from threading import get_ident
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, Protocol, TypeVar, cast

from anyio import NoEventLoopError
from anyio.lowlevel import current_token
from peewee import DatabaseProxy, SqliteDatabase

from veritas_peewee.config import (
    BUSY_TIMEOUT,
    MEMORY,
    Durability,
    Location,
    Role,
    has_wal_reset_bug,
    pragmas,
)
from veritas_peewee.errors import (
    DRIVER_ERRORS,
    DatabaseCorrupt,
    NoDatabase,
    ReadOnlyStore,
    StoreError,
    StoreFull,
    os_error,
    store_error,
)
from veritas_peewee.errors import sqlite3 as driver
from veritas_peewee.sessions import Session
from veritas_peewee.transactions import Transactions

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# Readers cannot write whatever becomes of their PRAGMAs.
_OPEN_MODE: dict[Role, str] = {"writer": "rw", "script": "rw", "reader": "ro", "viewer": "ro"}
PAUSE_EVERY, PAUSE = 0.001, 0.00002
"""Seconds after which a long read lets other threads run, and for how long it then sleeps."""
_logger = logging.getLogger("veritas_peewee")
_CONTROL = re.compile(r"\s*(?:BEGIN|COMMIT|END|ROLLBACK(?!\s+(?:TRANSACTION\s+)?TO))\b", re.I)
_CHANGE = re.compile(
    r"\s*(?:INSERT|REPLACE|UPDATE|DELETE|WITH\b.*\b(?:INSERT|UPDATE|DELETE))\b", re.I | re.S
)
_left_by_parent: list[object] = []
_open_files: Counter[tuple[int, int, int]] = Counter()
"""How many connections a process (this one, or its parent) has to a file, by device and inode."""
_warned: set[tuple[int, object]] = set()


if TYPE_CHECKING:
    _Cursor = sqlite3.Cursor
else:
    _Cursor = driver.Cursor  # of the SQLite that Peewee uses


class _LongRead(_Cursor):
    """Pauses while many rows are fetched one by one."""

    database: StoreDatabase
    rows = 0

    def fetchone(self) -> Any:
        self.rows += 1
        if not self.rows % 32:
            self.database.pause()
        return super().fetchone()


class StoreDatabase(Transactions, SqliteDatabase):
    """One SQLite connection to a store, for a role."""

    def __init__(
        self,
        location: Location,
        role: Role,
        durability: Durability = "normal",
        *,
        immutable: bool = False,
    ) -> None:
        self.location = location
        self.role = role
        self.process = os.getpid()
        self._inode: tuple[int, int] | None = None
        self.session = Session(location.sessions)
        self._last_cursor: sqlite3.Cursor | None = None
        self._synced = False
        self._data_version = -1
        self.paused = 0.0
        self.work = 0
        if location.path is None:
            name = MEMORY
        else:
            name = f"{location.path.as_uri()}?mode={_OPEN_MODE[role]}"
            if immutable:
                name += "&immutable=1"
        super().__init__(
            name,
            pragmas=pragmas(role, durability),
            lock_type="IMMEDIATE" if role in ("writer", "script") else "DEFERRED",
            # DDL with the column types that schema.md names, not Peewee's SQLite synonyms.
            field_types={"JSON": "JSON", "FLOAT": "FLOAT"},
            thread_safe=False,
            autoconnect=False,
            timeout=BUSY_TIMEOUT,
            uri=location.path is not None,
            check_same_thread=False,
            cached_statements=512,
        )

    def connect(self, reuse_if_open: bool = False) -> bool:
        """Open the connection; a folder or file that forbids it is a typed error that names it."""
        path = self.location.path
        try:
            if path is not None:
                _check_not_emptied(path)
            if path is not None and self.role in ("writer", "script"):
                _create_private(path)
            elif path is not None and not path.is_file():
                raise StoreError(f"{path}: there is no such database")
            if path is not None:
                self._check_not_inherited(path)
            opened = bool(super().connect(reuse_if_open))
            if opened and self._inode is not None:
                _open_files[self.process, *self._inode] += 1
            return opened
        except OSError as error:
            # Whatever the reason, a path below a file or /proc is one that cannot be written.
            full = os_error(error, path, "opened")
            if isinstance(full, StoreFull):
                raise full from error
            raise ReadOnlyStore(f"{path}: the database cannot be opened: {error}") from error
        except DRIVER_ERRORS as error:
            raise (store_error(error, self.location.name) or error) from error

    def close(self) -> bool:
        if self.process != os.getpid():
            # In a forked child the connection is the parent's: closing it would take its WAL away.
            _left_by_parent.append(self.state.conn)
            self.dispose()
            self.session.close()
            return False
        closed = bool(super().close())
        if closed and self._inode is not None:
            _open_files[self.process, *self._inode] -= 1
        self.session.close()
        return closed

    def _check_not_inherited(self, path: os.PathLike[str]) -> None:
        """A fork copies what SQLite knows of its locks, and not the locks: what the child then
        writes can be lost with the WAL when the parent closes the file."""
        found = os.stat(path)
        self._inode = (found.st_dev, found.st_ino)
        for (process, *inode), count in _open_files.items():
            if count and process != self.process and tuple(inode) == self._inode:
                raise StoreError(
                    f"{path}: was open when this process was forked, and SQLite's locks do not "
                    "survive that: open it in a new process (spawn), or fork before it is opened"
                )

    def check_in_place(self) -> None:
        """StoreError if the file was removed or another one put in its place: what is written
        there now never comes here."""
        if self.location.path is None or self._inode is None:
            return
        try:
            found = os.stat(self.location.path)
        except OSError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._inode:
            what = "removed" if found is None else "replaced by another one"
            raise StoreError(f"{self.location.name}: the file was {what} while it was open")

    @property
    def name(self) -> str:
        return self.location.name

    @property
    def transaction_is_open(self) -> bool:
        connection = self.state.conn
        return connection is not None and connection.in_transaction

    def begin(self, lock_type: str | None = None) -> None:
        super().begin(lock_type)
        self._synced = False

    def others_wrote(self) -> bool:
        """In a transaction: whether another connection has written since this was last asked."""
        (version,) = self.state.conn.execute("PRAGMA data_version").fetchone()
        if version == self._data_version:
            return False
        if self._data_version != -1:
            self._warn_of_others()
        self._data_version = version
        return True

    def _warn_of_others(self) -> None:
        """Warn in the log, once for each file, if what others do to it can cost commits."""
        file = (self.process, self.location.path)
        version: str = driver.sqlite_version
        if file not in _warned and has_wal_reset_bug(version):
            _warned.add(file)
            _logger.warning(
                "%s: another process, or another connection of this one, writes to this file too, "
                "and SQLite %s can then lose commits (the WAL-reset bug): use SQLite 3.51.3 or "
                "newer, for example with pysqlite3, or let one process do all writing",
                self.location.name,
                version,
            )

    @property
    def raw(self) -> sqlite3.Connection:
        connection: sqlite3.Connection = self.connection()
        return connection

    def sync_wal(self) -> None:
        """Make the commits so far durable: before files go that their rows no longer name."""
        if self.location.path is not None and not self._synced:
            self._synced = True
            with suppress(OSError):
                handle = os.open(f"{self.location.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)

    def cursor(self, named_cursor: None = None) -> sqlite3.Cursor:
        if self.role == "reader":
            cursor = self.raw.cursor(_LongRead)
            cursor.database = self
        else:
            cursor = super().cursor(named_cursor)
        self._last_cursor = cursor
        return cursor

    def pause(self) -> None:
        """Now and then in a long read: let other threads run, the event loop's above all.

        A thread that waits for the interpreter gets it only after 5 ms otherwise: SQLite lets go
        of it for each row, but never for long enough to be taken.
        """
        if self.role == "reader" and perf_counter() - self.paused > PAUSE_EVERY:
            sleep(PAUSE)
            self.paused = perf_counter()

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        try:
            return self._execute(sql, params)
        except UnicodeDecodeError as error:  # of a name in the schema, for example
            text = f"{self.location.name}: {DatabaseCorrupt.__doc__} ({error})"
            raise DatabaseCorrupt(text) from error

    def _execute(self, sql: str, params: Any) -> Any:
        if self.keeper is not None:
            self.keeper.before(sql)
        if self.role in ("script", "viewer"):
            if on_event_loop():
                raise NoDatabase(_ON_LOOP)
            if self.keeper is None or self.transaction_is_open or not _CHANGE.match(sql):
                return super().execute_sql(sql, params)
            with self.unit():  # with the seal of what it changes
                return super().execute_sql(sql, params)
        if _CONTROL.match(sql):
            self._refuse_in_unit(sql.split()[0].upper())
        # A cursor in mid-statement that outlives its unit, in a traceback for example, is reset
        # by whichever thread collects it, and that one waits until the connection is idle.
        try:
            cursor = super().execute_sql(sql, params)
        except BaseException:
            if self._last_cursor is not None:
                with suppress(*DRIVER_ERRORS):  # the connection may be what has failed
                    self._last_cursor.close()
            raise
        if cursor.description is not None:
            self.cursors.append(cursor)
        return cursor


LARGEST_SLICE = 64
"""The most rows in one statement: with more of them a row no longer gets cheaper."""


def slice_size(count: int) -> int:
    """How many of `count` rows go into the next statement: few sizes, so few statements."""
    return min(LARGEST_SLICE, 1 << (count.bit_length() - 1))


def _check_not_emptied(path: os.PathLike[str]) -> None:
    """An empty file would be taken for a new store, and the WAL beside it be thrown away."""
    with suppress(OSError):
        if os.path.getsize(path) == 0 and (size := os.path.getsize(f"{os.fspath(path)}-wal")):
            raise DatabaseCorrupt(
                f"{path}: the database is empty, but {size} bytes of its WAL are there: it was "
                "cut; restore a backup, and keep both files until then"
            )


def _create_private(path: os.PathLike[str]) -> None:
    """Create an empty file with mode 0600; SQLite gives its WAL the same mode."""
    folder = os.path.dirname(os.fspath(path))
    os.makedirs(folder, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if not os.path.isfile(path):
            raise OSError(f"{path} is not a file") from None


class _Binding(NamedTuple):
    database: StoreDatabase
    thread: int

    def is_here(self) -> bool:
        return self.thread == get_ident() and self.database.process == os.getpid()


_current: ContextVar[_Binding | None] = ContextVar("veritas_peewee_database", default=None)

_ON_LOOP = (
    "this query would run on the event loop's own thread and stall it: await a method of the "
    "store, or `store.read(fn)` and `store.write(fn)` for any other Peewee code"
)
_NOT_OPEN = (
    "no database is open in this thread: use `with connect(path):` in a script, or pass the "
    "code to `store.read(fn)` or `store.write(fn)`"
)


class CurrentDatabase(DatabaseProxy):
    """The database that is open in this thread and context."""

    def initialize(self, obj: Any) -> None:
        if obj is not None:
            raise NoDatabase("the models find their database by themselves: use connect()")

    @property
    def obj(self) -> StoreDatabase | None:
        binding = _current.get()
        if binding is None or not binding.is_here():
            return None
        return binding.database

    # Peewee's proxy makes these for itself, past the database's own.
    def atomic(self, *args: Any, **kwargs: Any) -> Any:
        return current_database().atomic(*args, **kwargs)

    def savepoint(self) -> Any:
        return current_database().savepoint()

    def __getattr__(self, name: str) -> Any:
        found = self.obj
        if found is None:
            if name.startswith("__"):
                raise AttributeError(name)
            raise NoDatabase(_ON_LOOP if on_event_loop() else _NOT_OPEN)
        return getattr(found, name)


database = CurrentDatabase()


def current_database() -> StoreDatabase:
    """The database open in this thread and context; NoDatabase if there is none."""
    binding = _current.get()
    if binding is None or not binding.is_here():
        raise NoDatabase(_ON_LOOP if on_event_loop() else _NOT_OPEN)
    return binding.database


@contextmanager
def bound(opened: StoreDatabase) -> Iterator[StoreDatabase]:
    """Make `opened` the current database of this thread for the length of a `with` block."""
    token = _current.set(_Binding(opened, get_ident()))
    try:
        yield opened
    finally:
        _current.reset(token)


def on_event_loop() -> bool:
    """Whether an event loop runs in this very thread."""
    try:
        current_token()
    except (NoEventLoopError, RuntimeError):  # a forked child can inherit half a loop
        return False
    return True


class Atomic(Protocol[P, T_co]):
    """What `atomic` makes of a function."""

    inside_unit: Callable[P, Any]
    """The function itself, for callers who are in a unit that fails as a whole with it."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co: ...


def atomic(fn: Callable[P, T]) -> Atomic[P, T]:
    """Run `fn` as one all-or-nothing unit of the current database, with the store's errors."""

    @functools.wraps(fn)
    def unit(*args: P.args, **kwargs: P.kwargs) -> T:
        opened = current_database()
        try:
            with opened.unit():
                return fn(*args, **kwargs)
        except DRIVER_ERRORS as error:
            raise (store_error(error, opened.location.name) or error) from error

    made = cast(Atomic[P, T], unit)
    made.inside_unit = fn
    return made


def inside_unit(call: Callable[..., T]) -> Callable[..., T]:
    """`call` without a scope of its own: for who runs it in a unit that fails as a whole with it.

    Of an `atomic` function, also with some of its arguments given (`partial`), it is what stands
    inside; a savepoint around that would protect nobody.
    """
    if type(call) is functools.partial:
        inner = getattr(call.func, "inside_unit", None)
        return call if inner is None else functools.partial(inner, *call.args, **call.keywords)
    return cast(Callable[..., T], getattr(call, "inside_unit", call))
