"""SQLite: how a connection to it is opened, and with which PRAGMAs.

PRAGMA, data_version, checkpoints, functions on JSON and the like are written here, in
`expressions`, `catalog`, `ledger`, `migrations` and `maintenance`, and nowhere else.

Longer than most modules: one class answers all that `StoreDatabase` asks of SQLite.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic, sleep
from typing import Any, ClassVar, Literal, Self

from peewee import OperationalError, SqliteDatabase

from veritas_peewee.config import BUSY_TIMEOUT, MEMORY, Durability, Location
from veritas_peewee.database.connection import Role, StoreDatabase
from veritas_peewee.database.current import current_database
from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.database.sqlite_cursors import LongRead, Rows
from veritas_peewee.database.sqlite_driver import OPTIONS, Connection, connect, driver
from veritas_peewee.database.sqlite_errors import code_of, is_odd_text, may_be_committed
from veritas_peewee.database.transactions import AS_PEEWEE
from veritas_peewee.errors import ReadOnlyStore, StoreBusy, StoreError, StoreFull
from veritas_peewee.files.database_path import uri_of
from veritas_peewee.files.platform import os_error
from veritas_peewee.values.odd_text import decoded

# By its mode a reader's connection cannot write, even if its `query_only` is switched off.
_OPEN_MODE: dict[Role, str] = {"writer": "rw", "script": "rw", "reader": "ro", "viewer": "ro"}
_logger = logging.getLogger("veritas_peewee")
_warned: set[tuple[int, object]] = set()


class SqliteStore(StoreDatabase, SqliteDatabase):
    """One SQLite connection to a store, for a role."""

    backend: ClassVar[Literal["sqlite"]] = "sqlite"
    storage = "the file"
    counts_events = True
    holds_any_type = True
    ends_late = False
    reads_ahead = False
    begin_snapshot = "BEGIN DEFERRED"

    def __init__(
        self,
        location: Location,
        role: Role,
        durability: Durability = "normal",
        *,
        immutable: bool = False,
    ) -> None:
        self._data_version = -1
        lock_type = "IMMEDIATE" if self.writes(role) else "DEFERRED"
        self._begin = f"BEGIN {lock_type}"
        name = MEMORY
        if location.path is not None:
            name = f"{uri_of(location.path)}?mode={_OPEN_MODE[role]}"
            name += "&immutable=1" * immutable
        super().__init__(
            location,
            role,
            name,
            pragmas=pragmas_of(role, durability, location.timeout),
            lock_type=lock_type,
            # DDL with the column types that schema.md names, not Peewee's SQLite synonyms.
            field_types={"JSON": "JSON", "FLOAT": "FLOAT"},
            thread_safe=False,
            autoconnect=False,
            timeout=location.timeout,
            uri=location.path is not None,
            check_same_thread=False,
            cached_statements=512,
            **OPTIONS,
        )

    @classmethod
    def in_memory(cls) -> Self:
        """A connection to a new store in memory, not yet opened."""
        return cls(Location(None, None), "script")

    def connect(self, reuse_if_open: bool = False) -> bool:
        path = self.location.path
        self._data_version = -1
        try:
            return super().connect(reuse_if_open)
        except OSError as error:
            # Also a path below a file, or in /proc, is reported as one that cannot be written.
            full = os_error(error, path, "opened")
            if isinstance(full, StoreFull):
                raise full from error
            reason = f"{error.filename}: {error.strerror}" if error.filename else error
            raise ReadOnlyStore(f"{path}: the database cannot be opened: {reason}") from error
        except UnicodeDecodeError as error:
            raise self.undecodable(error) from error
        except DRIVER_ERRORS as error:
            raise (store_error(error, self.location.name) or error) from error

    @property
    def raw(self) -> Connection:
        connection: Connection = self.connection()
        return connection

    def cursor(self, named_cursor: None = None) -> Any:
        cursor: Any
        if (connection := self.state.conn) is None:
            cursor = super().cursor(named_cursor)  # raises the error of a closed database
        elif self.role == "writer" and not self.runs_callers:
            # What we write reads by `statements.execute`.
            cursor = connection.cursor()
        else:
            cursor = connection.cursor(LongRead if self.role == "reader" else Rows)
            cursor.database = self
        self.last_cursor = cursor
        return cursor

    def insert(self, sql: str, values: Any, rows: int) -> range:
        # The ids are consecutive: they only grow, and nobody else can write at the same time.
        last = int(self.execute_own(sql, values).lastrowid or 0)
        return range(last - rows + 1, last + 1)

    def execute_own(self, sql: str, params: Any) -> Any:
        # What `execute_sql` looks at first is of no concern for it, and takes as long as SQLite.
        connection = self.state.conn
        if self.role != "writer" or self.runs_callers or self.is_watched:
            return self.execute_sql(sql, params)
        if connection is None or not connection.in_transaction:
            return self.execute_sql(sql, params)
        try:
            return connection.execute(sql, params)
        except (driver.Error, UnicodeDecodeError) as error:
            failure = error

        def fail(*_: object) -> None:
            with AS_PEEWEE:
                raise failure

        return self._explained(fail, sql, params)

    def accept_odd_text(self, error: BaseException) -> None:
        """From now on give text that is not valid UTF-8 as `OddText`, if it is what `error` is
        about; else raise `error`.

        Not from the beginning: each text would take more than twice as long to read.
        """
        connection = self.raw
        if not is_odd_text(error) or connection.text_factory is decoded:
            raise error
        connection.text_factory = decoded

    @contextmanager
    def any_text(self) -> Iterator[None]:
        """Inside the block give text that is not valid UTF-8 as `OddText` in any statement."""
        connection = self.raw
        before, connection.text_factory = connection.text_factory, decoded
        try:
            yield
        finally:
            connection.text_factory = before

    @contextmanager
    def looking(self) -> Iterator[None]:
        with self.any_text(), self.unit():
            yield

    # ---- transactions ----

    @property
    def transaction_is_open(self) -> bool:
        connection = self.state.conn
        return connection is not None and connection.in_transaction

    def is_closed_beneath(self) -> bool:
        try:
            _ = self.transaction_is_open
        except driver.ProgrammingError:
            return True
        return False

    def begin_raw(self, lock_type: str | None) -> None:
        connection = self.state.conn
        if connection is None or lock_type is not None:
            super().begin_raw(lock_type)  # which raises the error of a closed database
        else:
            with AS_PEEWEE:  # as Peewee does, but without a cursor of ours
                connection.execute(self._begin)

    def others_wrote(self) -> bool:
        (version,) = self.state.conn.execute("PRAGMA data_version").fetchone()
        if version == self._data_version:
            return False
        if self._data_version != -1:
            self._warn_of_others()
        self._data_version = version
        return True

    def commits_of_others(self) -> int:
        (version,) = self.state.conn.execute("PRAGMA data_version").fetchone()
        return int(version)

    def sync_commits(self) -> None:
        (mode,) = self.state.conn.execute("PRAGMA journal_mode").fetchone()
        self.file.sync_commits(in_wal=mode == "wal")

    def is_refused(self, error: BaseException) -> bool:
        if code_of(error) is None:
            return not may_be_committed(error)
        try:
            is_alone = not self._has_others_attached()
            if is_alone and not may_be_committed(error):
                return True
            self._commit_over()
            found = None if self.keeper is None else self.keeper.is_there()
            # In a WAL, a COMMIT of one file that fails is seen by nobody.
            return is_alone and self._uses_wal() if found is None else not found
        except (*DRIVER_ERRORS, StoreError):
            return False

    def _has_others_attached(self) -> bool:
        """Whether files of the caller's are attached, which are committed after ours."""
        rows = self.state.conn.execute("PRAGMA database_list").fetchall()
        return not {name for _, name, _ in rows} <= {"main", "temp"}

    def _commit_over(self) -> None:
        """Commit something else over what a failed COMMIT may have left behind the WAL's end.

        Whole frames are there if it failed after the last one was written. SQLite itself goes over
        them with the next COMMIT; but if all processes die before that, whoever opens the file then
        takes them for committed. Nothing has to grow for it, so it succeeds on a full disk too.
        """
        connection = self.state.conn
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version}")
        self.sync_commits()
        self.file.check_written()

    def expect_change(self) -> None:
        """What another connection writes next is ours too, and no reason for a warning."""
        self._data_version = -1

    def _warn_of_others(self) -> None:
        """Warn in the log, once for each file, if writes by others can make it lose commits."""
        file = (self.process, self.location.path)
        version: str = driver.sqlite_version
        if file not in _warned and has_wal_reset_bug(version):
            _warned.add(file)
            _logger.warning(
                "%s: another process, or another connection of this one, writes to this file too, "
                "and SQLite %s can then lose commits (the WAL-reset bug): use SQLite 3.51.3 or "
                "newer, for example with pysqlite3 (then nothing in this process may open the file "
                "with another SQLite, Python's own included: read it with connect(…, "
                "read_only=True)), or let one process do all writing",
                self.location.name,
                version,
            )

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Refuse writes for the length of a `with` block."""
        raw = self.raw
        raw.execute("PRAGMA query_only = 1")
        self.reading = True
        try:
            yield
        finally:
            self.reading = False
            # By the driver: it has to be undone also if the transaction has ended meanwhile.
            raw.execute("PRAGMA query_only = 0")

    # ---- the journal, and who else has the file open ----

    def use_wal(self) -> None:
        """Switch the file to WAL, a property of the file; raises OperationalError if others prevent
        it for the location's timeout. SQLite does not wait for other connections by itself here."""
        if self.location.path is None:
            return
        deadline = monotonic() + self.location.timeout
        while True:
            try:
                if self.journal_mode == "wal":
                    return
                if not self.pragma("page_count"):
                    # A new file can then give free pages back in small steps:
                    # `maintenance.freeing`.
                    self.pragma("auto_vacuum", 2)
                self.journal_mode = "wal"
            except OperationalError as error:
                failure = store_error(error, self.location.name)
                if not isinstance(failure, StoreBusy) or monotonic() > deadline:
                    raise
                sleep(0.005)

    def watch_file(self) -> None:
        # SQLite opens the WAL, and makes it, when it first reads.
        self.raw.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        self.file.watch(self._uses_wal, writes=self.writes(self.role))

    def _uses_wal(self) -> bool:
        (mode,) = self.raw.execute("PRAGMA journal_mode").fetchone()
        return bool(mode == "wal")

    def is_alone(self) -> bool:
        """Whether no other connection, of any process, has the file open.

        In WAL mode each connection, however idle, holds a shared lock until it is closed, and only
        one that is alone can leave that mode. (`locking_mode = EXCLUSIVE` would ask the same, but
        where it fails SQLite 3.40 keeps others from opening the file.)
        """
        if self.location.path is None:
            return True
        self.file.unwatch()
        timeout = self.pragma("busy_timeout")
        try:
            self.pragma("busy_timeout", 0)
            (mode,) = self.raw.execute("PRAGMA journal_mode = DELETE").fetchone()
            return bool(mode == "delete")
        except DRIVER_ERRORS:
            return False  # somebody has it open; or it cannot be written, so nothing is proven
        finally:
            self.pragma("busy_timeout", timeout)
            self.use_wal()
            self.watch_file()

    # ---- resources ----

    def cancel_when(self, asked: Callable[[], bool], steps: int) -> None:
        """Call `asked` every `steps` steps of SQLite's virtual machine; True ends the statement."""
        self.raw.set_progress_handler(asked, steps)

    def interrupt(self) -> None:
        if (connection := self.state.conn) is not None:
            connection.interrupt()

    def release_memory(self) -> None:
        """Free the page cache, which may be 64 MB; the operating system caches the pages too."""
        with suppress(*DRIVER_ERRORS):
            self.raw.execute("PRAGMA shrink_memory")

    def limit_wal(self, size: int) -> None:
        """Have SQLite cut the WAL back to `size` bytes whenever it restarts it."""
        self.pragma("journal_size_limit", size)

    def checkpoint(self, *, truncate: bool, patience: float) -> bool:
        """Copy the WAL into the database and restart it, with `truncate` as an empty file.

        Waits up to `patience` seconds for reads that need it; False if they still did then.
        """
        if not self.file.is_in_place():
            return False  # it would go over what others have written to the file since
        mode = "TRUNCATE" if truncate else "RESTART"
        with suppress(*DRIVER_ERRORS):
            timeout = self.pragma("busy_timeout")
            self.pragma("busy_timeout", int(patience * 1000))
            try:
                busy, _, _ = self.execute_sql(f"PRAGMA wal_checkpoint({mode})").fetchone()
                return not busy
            finally:
                self.pragma("busy_timeout", timeout)
                self.close_cursors()
        return False


def pragmas_of(
    role: Role, durability: Durability = "normal", timeout: float = BUSY_TIMEOUT
) -> dict[str, int | str]:
    """The PRAGMAs of a connection for `role`; the file's journal_mode is set by `migrations`."""
    values: dict[str, int | str] = {
        "busy_timeout": int(timeout * 1000),
        "cache_size": -64000,
        "temp_store": "MEMORY",
        "foreign_keys": "ON",
        # SQLite up to 3.51.2 can lose commits when two connections checkpoint at the same
        # instant: in one process the writer alone checkpoints, readers never do.
        "wal_autocheckpoint": 1000 if role in ("writer", "script") else 0,
    }
    if role in ("writer", "script"):
        values["recursive_triggers"] = "ON"  # else a row that REPLACE removes is told nobody
        values["synchronous"] = "FULL" if durability == "full" else "NORMAL"
    else:
        values["query_only"] = "ON"
    return values


# ---- which SQLite ----


def has_wal_reset_bug(version: str) -> bool:
    """Whether this SQLite can lose commits when two connections checkpoint at the same instant.

    It is so from 3.7.0 to 3.51.2, except from 3.44.6 on in 3.44 and from 3.50.7 on in 3.50, which
    got the fix later.
    """
    found = tuple(int(part) for part in version.split("."))
    taken_back = {(3, 44): 6, (3, 50): 7}
    if (patch := taken_back.get((found[0], found[1]))) is not None:
        return found < (*found[:2], patch)
    return (3, 7) <= found < (3, 51, 3)


def current_sqlite(what: str, instead: str = "") -> SqliteStore:
    """The current database, if it is a file, as `what` needs it; else raises StoreError, which says
    what is there `instead` on a server."""
    found = current_database()
    if isinstance(found, SqliteStore):
        return found
    advice = f": use {instead}" if instead else ""
    raise StoreError(f"{found.name}: {what} is for a store in a file, not on a server{advice}")


def scratch() -> Connection:
    """A connection to a private database in memory, for a computation; the caller closes it, in
    whatever thread."""
    return connect(MEMORY, check_same_thread=False)
