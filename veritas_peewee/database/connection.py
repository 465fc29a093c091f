"""A connection to a store: what each role may run on it, and how nothing of it is left behind."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import perf_counter, sleep
from typing import Any, Literal

import peewee

from veritas_peewee.config import Location
from veritas_peewee.database.answers import Answers
from veritas_peewee.database.control import CONTROL
from veritas_peewee.database.event_loop import refuse_on_event_loop
from veritas_peewee.database.failures import DRIVER_ERRORS
from veritas_peewee.database.sqlite_errors import AUTH, RAISED_INSIDE, code_of, driver
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
_ROLLBACK = re.compile(r"\s*ROLLBACK\b", re.I)
CHANGE = re.compile(
    r"\s*(?:INSERT|REPLACE|UPDATE|DELETE|WITH\b.*\b(?:INSERT|UPDATE|DELETE))\b", re.I | re.S
)
"""How a statement begins that changes rows."""
_left_open: list[object] = []
_statements = logging.getLogger("peewee")


Explain = Callable[["StoreDatabase", Exception], StoreError | None]


class StoreDatabase(Answers):
    """One connection to a store, for a role; each backend has a subclass of this."""

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

    @property
    def follows(self) -> bool:
        """Whether its keeper is told all that is written on it: then what it adds can be known
        without being read again."""
        # Of a file's log and of SQL given to the driver itself nothing is told.
        return self.reads_ahead or (self.role == "writer" and not self.runs_callers)

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
        last = self.writes(self.role) and not self.is_closed_beneath()
        with self.file.closing(last=last) as can_be_closed:
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
        if self.is_watched:
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
        return self._explained(self._execute, sql, params)

    def execute_own(self, sql: str, params: Any) -> Any:
        """`execute_sql` for a statement of the store's own that changes rows and gives none."""
        return self.execute_sql(sql, params)

    @property
    def is_watched(self) -> bool:
        """Whether Peewee's own observers want to see each statement."""
        return bool(self.query_hooks) or _statements.isEnabledFor(logging.DEBUG)

    def _explained(self, run: Callable[[str, Any], Any], sql: str, params: Any) -> Any:
        try:
            return run(sql, params)
        except UnicodeDecodeError as error:
            raise self.undecodable(error) from error
        except DRIVER_ERRORS as error:
            failure = self._failure_inside(error)
            if failure is None:
                self._explain(error)
                raise
        # Not from this error, which has a code of its own and would be taken for the cause.
        if isinstance(failure, driver.Error):
            kind = getattr(peewee, type(failure).__name__, peewee.PeeweeException)
            raise kind(*failure.args) from failure
        raise failure

    def _failure_inside(self, error: Exception) -> BaseException | None:
        """What the keeper has raised while SQLite changed a row, or compiled a statement: SQLite
        does not tell it."""
        if self.keeper is None or (failure := self.keeper.failure) is None:
            return None
        self.keeper.failure = None
        is_it = RAISED_INSIDE in str(error) or code_of(error) == AUTH
        return failure if is_it else None

    def _explain(self, error: Exception) -> None:
        """Raise the error that helps more, if there is one."""
        if self.explain is not None and (known := self.explain(self, error)) is not None:
            raise known from error

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
            if keeper is None or is_open or not CHANGE.match(sql):
                return super().execute_sql(sql, params)
            with self.unit():  # so that the rows it changes are sealed with it
                return super().execute_sql(sql, params)
        if control := CONTROL.match(sql):
            self._refuse_in_unit(control[0].split()[-1].upper())
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
