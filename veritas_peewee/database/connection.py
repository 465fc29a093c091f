"""A connection to a store: what each role may run on it, and how nothing of it is left behind."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from time import perf_counter, sleep
from typing import Any, ClassVar, Literal

from veritas_peewee.config import Location
from veritas_peewee.database.event_loop import refuse_on_event_loop
from veritas_peewee.database.failures import DRIVER_ERRORS
from veritas_peewee.database.transactions import Transactions
from veritas_peewee.errors import DatabaseCorrupt, StoreError, meaning
from veritas_peewee.files.database_files import DatabaseFile
from veritas_peewee.files.sessions import Session

Role = Literal["writer", "reader", "script", "viewer"]
"""The connections of a store (`writer`, `reader`), of a script that writes (`script`), and of one
that only reads (`viewer`)."""
PAUSE_EVERY, PAUSE = 0.001, 0.00002
"""Seconds after which a long read lets other threads run, and seconds for which it then sleeps."""
KEEP_EVERY = 0.1
"""Seconds of writing after which it is looked whether the session's file is still there."""
LARGEST_STATEMENT = 64
"""The most rows in one statement: in a larger one the cost of each row is the same."""
_CONTROL = re.compile(r"\s*(?:BEGIN|COMMIT|END|ROLLBACK(?!\s+(?:TRANSACTION\s+)?TO))\b", re.I)
_ROLLBACK = re.compile(r"\s*ROLLBACK\b", re.I)
_CHANGE = re.compile(
    r"\s*(?:INSERT|REPLACE|UPDATE|DELETE|WITH\b.*\b(?:INSERT|UPDATE|DELETE))\b", re.I | re.S
)
_left_open: list[object] = []
_statements = logging.getLogger("peewee")


Explain = Callable[["StoreDatabase", Exception], StoreError | None]


class StoreDatabase(Transactions):
    """One connection to a store, for a role; each backend has a subclass of this."""

    backend: ClassVar[str]
    """The backend's name; the text of a statement can be another one for each."""
    counts_events: ClassVar[bool]
    """Whether the backend counts the ids of events, without gaps."""
    storage: ClassVar[str]
    """What holds the rows, in words."""
    reads_ahead: ClassVar[bool]
    """Whether each statement is a way to a server and back, so that it pays to ask many things at
    once."""
    fails_alone: ClassVar[bool]
    """Whether a statement that fails leaves its transaction as it was before it."""
    holds_any_type: ClassVar[bool]
    """Whether other programs can have stored a value of any type in any column."""
    begin_snapshot: ClassVar[str]
    """Begins a transaction that reads everything as of one moment."""

    def __init__(self, location: Location, role: Role, name: str, **options: Any) -> None:
        self.location = location
        self.role = role
        self.reading = role == "reader"
        """Whether it serves a store's read, so that a write refused by it is the caller's fault."""
        self.process = os.getpid()
        self.session = self.new_session()
        self.file = DatabaseFile(location.path)
        self.last_cursor: Any = None
        self.may_stall = False
        """Whether its queries may run on an event loop's own thread."""
        self.paused = 0.0
        self.work = 0
        self._keep_at = 0.0
        self.leaves_derived: bool | None = None
        """Whether what is derived of the rows is damaged, and is left as it is; None if that was
        not looked at yet."""
        self.ahead: Any = None
        """What was read ahead of audits (`ledger.ahead`); None if nothing was."""
        self.explain: Explain | None = None
        """Gives what to raise instead of an error that says what of the schema is lost."""
        super().__init__(name, **options)

    @staticmethod
    def writes(role: Role) -> bool:
        """Whether a connection of this role may write."""
        return role in ("writer", "script")

    @property
    def name(self) -> str:
        return self.location.name

    def connect(self, reuse_if_open: bool = False) -> bool:
        """Open the connection; raises a StoreError that names the file or folder at fault."""
        if self.keeper is not None and self.location.in_memory and self.is_closed():
            raise StoreError(f"{self.name}: a database in memory ends when it is closed")
        self.file.prepare(create=self.writes(self.role))
        opened = bool(super().connect(reuse_if_open))
        if opened:
            self.file.opened()
            if self.keeper is not None:  # closed and opened again by its user
                self.keeper.install()
        return opened

    def close(self) -> bool:
        if self.process != os.getpid():
            # In a forked child the connection is the parent's: closing it would remove its WAL.
            _left_open.append(self.state.conn)
            self.dispose()
            self.session.close()
            return False
        with self.file.closing(last=self.writes(self.role)) as can_be_closed:
            if can_be_closed:
                closed = bool(super().close())
            else:
                _left_open.append((self.state.conn, self.file))
                self.dispose()
                closed = False
        if closed:
            self.file.closed()
        self.session.close(beside_others=self.file.has_wal())
        return closed

    def new_session(self) -> Session:
        """What proves to others that this connection's process is alive."""
        return Session(self.location.sessions)

    # ---- is the file still the one that is open? ----

    def watch_file(self) -> None:
        """Remember which files are open; to be called once the connection can read."""
        raise NotImplementedError

    def check_in_place(self) -> None:
        """Raise StoreMoved if the file was removed or replaced by another one."""
        self.file.check_in_place()

    def check_written(self) -> None:
        self.file.check_written()
        if self.file.looked > self._keep_at:
            self._keep_at = self.file.looked + KEEP_EVERY
            self.session.keep()

    @property
    def raw(self) -> Any:
        """The driver's own connection."""
        return self.connection()

    # ---- what a backend answers, beside what `Transactions` asks ----

    def read_only(self) -> AbstractContextManager[None]:
        """Refuse writes for the length of a `with` block."""
        raise NotImplementedError

    def is_alone(self) -> bool:
        """Whether no other connection, of any process, has the database open."""
        raise NotImplementedError

    def cancel_when(self, asked: Callable[[], bool], steps: int) -> None:
        """Call `asked` now and then while a statement runs; True ends the statement."""
        raise NotImplementedError

    def committed(self) -> None:
        """What the writer has committed is answered: let other processes know, if they are told."""

    def due(self) -> float | None:
        """Seconds after which a writer that waits for work has to call `beat`; None if never."""
        return None

    def beat(self) -> None:
        """Show others that this process is alive, and tell them what is still to be told."""

    def insert(self, sql: str, values: Any, rows: int) -> Sequence[int]:
        """Run an INSERT of `rows` rows; returns their ids, if the backend has given them any."""
        raise NotImplementedError

    def give_ids_after(self, table: str) -> None:
        """Have the backend give ids after the greatest one, once rows were inserted with theirs."""

    def accept_odd_text(self, error: BaseException) -> None:
        """From now on give text that cannot be decoded as `OddText`, if it is what `error` is
        about; else raise `error`."""
        raise error

    def looking(self) -> AbstractContextManager[None]:
        """A transaction in which everything is looked at, whatever of it cannot be read."""
        raise NotImplementedError

    def look_on(self) -> None:
        """Inside `looking`, after a failure: let the next part be looked at."""

    def each_row(self, sql: str, params: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of a SELECT one by one, for more than should be held at once; nothing else is
        asked meanwhile."""
        rows: Iterator[tuple[Any, ...]] = iter(self.execute_sql(sql, params))
        return rows

    def interrupt(self) -> None:
        """End the statement that runs now, if there is one; called from any thread."""
        raise NotImplementedError

    def release_memory(self) -> None:
        """Free memory that only saves time, such as caches."""
        raise NotImplementedError

    def limit_wal(self, size: int) -> None:
        """Have the WAL cut back to `size` bytes whenever it is restarted."""
        raise NotImplementedError

    def checkpoint(self, *, truncate: bool, patience: float) -> bool:
        """Restart the WAL, with `truncate` as an empty file; False if reads still need it.

        Waits up to `patience` seconds for them.
        """
        raise NotImplementedError

    def sync_commits(self) -> None:
        """Wait until all commits so far are on disk; StoreError if that cannot be said."""
        raise NotImplementedError

    def commits_of_others(self) -> int:
        """A number that is another one after any other connection has committed."""
        raise NotImplementedError

    def begin(self, lock_type: str | None = None) -> None:
        self.file.check_before_write()
        super().begin(lock_type)

    # ---- transactions and statements ----

    @contextmanager
    def durable_unit(self) -> Iterator[None]:
        """A transaction of its own, whose beginning every commit before it is on disk.

        What it reads of the rows is therefore also what a power cut would leave. For callbacks,
        which run between two transactions of a block. StoreError if commits may not be on disk.
        """
        state = self.state
        scopes, state.transactions = state.transactions, []
        try:
            seen = self.commits_of_others()
            self.sync_commits()  # not under the lock, because it can take long
            with self.unit():
                if self.commits_of_others() != seen:
                    self.sync_commits()
                yield
        finally:
            state.transactions = scopes

    def pause(self) -> None:
        """Let other threads run, above all the event loop's; called again and again in a long read.

        Otherwise a thread that waits for the interpreter lock gets it only after 5 ms
        (`sys.getswitchinterval`): SQLite releases the lock for each row, but too briefly.
        """
        if self.role == "reader" and perf_counter() - self.paused > PAUSE_EVERY:
            sleep(PAUSE)
            self.paused = perf_counter()

    def read_at_once(self, sql: str, params: Any) -> list[tuple[Any, ...]] | None:
        """All rows of a SELECT by the driver alone, in a reader's snapshot; None where more than
        that is needed, as for an error, which `execute_sql` then raises in the right form."""
        if self.role != "reader" or not self.transaction_is_open:
            return None
        if self.query_hooks or _statements.isEnabledFor(logging.DEBUG):  # Peewee's own observers
            return None
        try:
            rows: list[tuple[Any, ...]] = self.state.conn.execute(sql, params).fetchall()
        except Exception:
            return None
        return rows

    def undecodable(self, error: UnicodeDecodeError) -> DatabaseCorrupt:
        """The error for a text that the driver cannot read: a name in the schema, or a message of
        SQLite's about one."""
        return DatabaseCorrupt(f"{self.location.name}: {meaning(DatabaseCorrupt)} ({error})")

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        try:
            return self._execute(sql, params)
        except UnicodeDecodeError as error:
            raise self.undecodable(error) from error
        except DRIVER_ERRORS as error:
            if self.explain is not None and (known := self.explain(self, error)) is not None:
                raise known from error
            raise

    def _execute(self, sql: str, params: Any) -> Any:
        keeper = self.keeper
        if keeper is not None:
            if keeper.watched in sql:
                keeper.before(sql)
            elif _ROLLBACK.match(sql):
                keeper.takes_back()
        is_open = self.transaction_is_open
        if not is_open and self.state.transactions:
            self.refuse_after_end()
        if self.role in ("script", "viewer"):
            if not self.may_stall:
                refuse_on_event_loop()
            if keeper is None or is_open or not _CHANGE.match(sql):
                return super().execute_sql(sql, params)
            with self.unit():  # so that the rows it changes are sealed with it
                return super().execute_sql(sql, params)
        if _CONTROL.match(sql):
            self._refuse_in_unit(sql.split()[0].upper())
        # A cursor in mid-statement that outlives its unit, in a traceback for example, is reset by
        # whichever thread collects it, and that thread then waits until the connection is idle.
        try:
            cursor = super().execute_sql(sql, params)
        except BaseException:
            if self.last_cursor is not None:
                with suppress(*DRIVER_ERRORS):  # the connection may be what has failed
                    self.last_cursor.close()
            raise
        if cursor.description is not None:
            self.cursors.append(cursor)
        return cursor


def statement_size(count: int) -> int:
    """How many of `count` rows go into the next statement: a power of two, so that the statements
    have few different texts, each prepared once."""
    return min(LARGEST_STATEMENT, 1 << (count.bit_length() - 1))
