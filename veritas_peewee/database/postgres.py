"""PostgreSQL: how a connection to a server is opened, and what a transaction there begins with.

What writes takes one lock of the whole store from BEGIN to COMMIT, as SQLite's write lock is held:
so ids of events have no gaps, and none comes after a later one. Longer than most modules: one class
answers all that `StoreDatabase` asks of a server.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from time import monotonic, sleep
from typing import Any, ClassVar, Literal, TypeVar

from peewee import OperationalError, PostgresqlDatabase

from veritas_peewee.config import COMES_BACK as _COMES_BACK
from veritas_peewee.config import Durability, Location
from veritas_peewee.database.connection import Role, StoreDatabase
from veritas_peewee.database.current import current_database
from veritas_peewee.database.failures import (
    DRIVER_ERRORS,
    error_code,
    first_failure,
    is_lost,
    store_error,
)
from veritas_peewee.database.postgres_cancelling import cancel_soon
from veritas_peewee.database.postgres_driver import Connection, connect
from veritas_peewee.database.postgres_errors import LOST, TOO_LONG
from veritas_peewee.database.postgres_opening import (
    ENDS_LONG_ONES,
    LONGEST,
    opening_error,
    prepare,
    wait_of,
)
from veritas_peewee.database.postgres_poolers import check_pooler
from veritas_peewee.database.server_sessions import BEAT_EVERY, ServerSession
from veritas_peewee.database.transactions import OutcomeUnknown, TransactionLost
from veritas_peewee.errors import StoreError

_SIGN = "UPDATE store_state SET writer = ? WHERE writer <> ?"
_BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
TELL_EVERY = 0.02
"""Seconds between two messages to other processes that there is something new."""
_TRY_AGAIN = 0.2
_logger = logging.getLogger("veritas_peewee")
T = TypeVar("T")


def current_server(what: str) -> PostgresStore:
    """The current database, if it is on a server, as `what` needs it; else raises StoreError."""
    found = current_database()
    if isinstance(found, PostgresStore):
        return found
    raise StoreError(f"{found.name}: {what} here is for a store on a server")


class PostgresStore(StoreDatabase, PostgresqlDatabase):
    """One connection to a store on a server, for a role."""

    backend: ClassVar[Literal["postgres"]] = "postgres"
    storage = "the database"
    counts_events = False
    holds_any_type = False
    ends_late = True
    reads_ahead = True
    begin_snapshot = _BEGIN_READING
    param = "?"  # as in SQLite; the driver's class numbers them
    session: ServerSession

    def __init__(self, location: Location, role: Role, durability: Durability = "normal") -> None:
        assert location.server is not None
        self.key = 0
        self._begun: str | None = None
        """What is read as a transaction begins; None until the schema is there."""
        self.number = int.from_bytes(os.urandom(7), "big")
        """What this connection is called in `store_state`."""
        self.last_writer = 0
        self.newest = 0
        """The newest id that was given, as the transaction has found it; see `count_by`."""
        self.seen: list[tuple[Any, ...]] = []
        """What the transaction has found of those that were expected; if this connection wrote
        last, only of those that are `unsure`."""
        self.unsure: Container[str] = ()
        """Of what others may have changed since it was known."""
        self.altered: str | None = None
        """The last transaction in which another program has changed rows."""
        self._told_at, self._has_news = 0.0, False
        self._listens = False
        self._began_at: float | None = None
        """When the open transaction was begun; None outside one."""
        self._took_too_long = False
        """Whether the server has ended the last transaction for how long it lasted."""
        self._is_new = False
        """Whether the connection was replaced since the last transaction began."""
        self.beside: PostgresStore | None = None
        """A second connection, which sees what is committed; closed with this one."""
        super().__init__(
            location, role, location.server, prefer_psycopg3=True, thread_safe=False,
            autoconnect=False,
        )  # fmt: skip

    def new_session(self) -> ServerSession:
        return ServerSession(self, lambda: self.key)

    # ---- opening ----

    def _connect(self) -> Connection:
        assert self.location.server is not None
        again = partial(
            connect,
            self.location.server,
            application_name=f"veritas-peewee {self.role}",
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30_000,  # else one that waits for what it sent hears nothing
            **wait_of(self.location),
        )
        made = again()
        try:
            check_pooler(made, self.location.name, again)
            writes, longest = self.writes(self.role), LONGEST.get(self.role)
            self.key = prepare(made, self.location, writes=writes, longest=longest)
        except BaseException:
            made.close()
            raise
        return made

    def connect(self, reuse_if_open: bool = False) -> bool:
        try:
            return super().connect(reuse_if_open)
        except DRIVER_ERRORS as error:
            failure = error
        known = store_error(failure, self.location.name)
        if known is None or type(known) is StoreError:
            known = opening_error(failure, self.location)
        # Not the driver's own: it can quote the URL.
        known.__cause__, known.__suppress_context__ = None, True
        # By which it is known what has happened. Of a connection that goes while it is made ready
        # the driver need not say so.
        is_lost = isinstance(failure, OperationalError)
        vars(known)["sqlstate"] = error_code(failure) or (LOST if is_lost else None)
        raise known

    def connect_beside(self) -> PostgresStore:
        """Open a second connection, which only reads and sees what is committed."""
        self.beside = PostgresStore(self.location, "viewer")
        self.beside.connect()
        return self.beside

    def close(self) -> bool:
        if self.beside is not None:
            with suppress(*DRIVER_ERRORS):
                self.beside.close()
        with suppress(*DRIVER_ERRORS):
            self.session.close()
        return super().close()

    def _set_server_version(self, connection: Any) -> None:
        self.server_version = connection.info.server_version

    def cursor(self, named_cursor: None = None) -> Any:
        if (connection := self.state.conn) is None:
            return super().cursor(named_cursor)  # raises the error of a closed database
        if not self.state.transactions:
            connection = self._living()
        self.last_cursor = connection.cursor()
        return self.last_cursor

    def get_tables(self, schema: str | None = None) -> list[str]:
        # Peewee's own text is for another kind of marks.
        rows = self.execute_sql(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1"
        )
        return [name for (name,) in rows.fetchall()]

    @property
    def raw(self) -> Connection:
        return self.state.conn if self.state.transactions else self._living()

    def read_at_once(self, sql: str, params: Any) -> list[tuple[Any, ...]] | None:
        # A statement that fails ends the transaction, so there is no second try.
        if self.role != "reader" or self.query_hooks:
            return None
        return self.raw.execute(sql, params).fetchall()

    def insert(self, sql: str, values: Any, rows: int) -> Sequence[int]:
        # In the order of the rows; Peewee has the statement return their keys.
        return [row[0] for row in self.execute_sql(sql, values).fetchall()]

    def give_ids_after(self, table: str) -> None:
        # Never back: no roll-back would take that back.
        self.execute_sql(
            f"SELECT setval(number, newest) FROM (SELECT MAX(id) AS newest, "
            f"pg_get_serial_sequence('{table}', 'id')::regclass AS number FROM {table}) AS found "
            f"WHERE newest > COALESCE(pg_sequence_last_value(number), 0)"
        )

    @contextmanager
    def looking(self) -> Iterator[None]:
        with self.unit():
            self.raw.execute("SAVEPOINT looking")
            yield

    def look_on(self) -> None:
        # Nothing is written meanwhile, so a roll-back loses nothing.
        if (connection := self.state.conn) is None:
            return
        self.before_going_back()
        if connection.has_failed:
            connection.execute("ROLLBACK TO looking")

    def each_row(self, sql: str, params: Any) -> Iterator[tuple[Any, ...]]:
        return self.raw.each_row(sql, params)

    # ---- transactions ----

    @property
    def transaction_is_open(self) -> bool:
        connection = self.state.conn
        return connection is not None and connection.in_transaction

    def confirm(self) -> None:
        if not self.hopes:
            self.state.conn.settle()

    def check_usable(self) -> None:
        if self.is_spoilt:
            raise StoreError(f"{self.name}: a part of the transaction has failed")
        if self.hopes:
            return  # a COMMIT that is sent after a failure is not done
        self.state.conn.settle()
        if self.state.conn.has_failed:
            raise StoreError(
                f"{self.name}: a statement of this write has failed, and PostgreSQL then takes no "
                "other: put what may fail into a `with database.atomic()` of its own"
            )

    def begin_raw(self, lock_type: str | None) -> None:
        self._began_at = None
        connection = self._living()
        self._is_new, self._began_at = False, monotonic()
        if not self.writes(self.role):
            connection.execute(_BEGIN_READING)
            return
        try:
            connection.begin_pipeline()
            connection.execute("BEGIN")
            connection.execute("SELECT pg_advisory_xact_lock(?, 0)", (self.key,))
            begun = self._begin_by(connection).fetchall() if self._begun else ()
            if begun:
                self.last_writer, self.altered, self.newest = begun[0][:3]
            self.seen = [row[3:] for row in begun if row[3] is not None]
        except BaseException:
            with suppress(*DRIVER_ERRORS):
                self.before_going_back()
                self.end_raw("ROLLBACK")
            raise

    def end_raw(self, sql: str) -> None:
        connection: Connection = self.state.conn
        if sql == "COMMIT" and self._begun:
            # Counted before anything can fail: by its number it is known whether it was made.
            self.session.count_commit()
            self.sign()
        connection.ends = True
        try:
            cursor = connection.execute(sql)
        finally:
            connection.ends = False
            connection.end_pipeline()
        self._began_at = None
        if sql == "COMMIT" and cursor.statusmessage == "ROLLBACK":
            raise StoreError(f"{self.name}: a statement had failed, and nothing was saved")
        if sql == "ROLLBACK":
            connection.let_forget()

    def clear_raw(self) -> None:
        connection: Connection | None = self.state.conn
        if connection is not None:
            with suppress(*DRIVER_ERRORS):
                connection.end_pipeline()
            with suppress(*DRIVER_ERRORS):
                if connection.in_transaction:  # one that SQL given to the driver has begun
                    connection.execute("ROLLBACK")

    def before_savepoint(self) -> None:
        self.state.conn.settle_but_for_release()

    def before_going_back(self) -> None:
        # The error of a statement that was sent is known, or is that of another one.
        with suppress(*DRIVER_ERRORS):
            self.state.conn.settle()

    def after_going_back(self) -> None:
        # Until psycopg has read that they failed, it takes skipped statements for prepared.
        self.state.conn.settle()
        self.state.conn.let_forget()

    def count_by(self, newest: str, seen: str) -> None:
        """The schema is there: from now on each transaction that writes reads, as it begins, who
        wrote last, by the SQL expression `newest` the newest id that was given, and by the query
        `seen` three columns of each of those that are `expected`, for which it has three marks:
        this connection's number, their names, and the names of those that are `unsure`."""
        self._begun = (
            f"SELECT writer, altered::text, {newest}, seen.* FROM store_state "
            f"LEFT JOIN LATERAL ({seen}) AS seen ON true"
        )

    def _begin_by(self, connection: Connection) -> Any:
        assert self._begun is not None
        names = [one for one in self.expected if one.isascii() and "\0" not in one]
        unsure = [one for one in names if one in self.unsure]
        return connection.execute(self._begun, (self.number, names, unsure))

    def others_wrote(self) -> bool:
        return self.last_writer != self.number

    def sign(self) -> None:
        """Note in the transaction that this connection is the last one that wrote."""
        if self.last_writer != self.number:
            self.state.conn.execute(_SIGN, (self.number, self.number))

    def send_alone(self, sql: str, values: Any) -> tuple[list[Any], bool]:
        """Run a statement that takes the lock, signs and commits by itself; returns the row that it
        gives, but for its last two values, and whether others have written since this connection
        last did: these values are who wrote last, and in which transaction another program did.
        Its first two marks are for the key of the lock and this connection's number."""
        self._began_at = None  # what stands still in one statement holds up nobody for long
        connection = self._living()
        self._is_new = False
        cursor: Any = connection.execute(sql, (self.key, self.number, *values))
        *row, self.last_writer, self.altered = cursor.fetchone()
        self.seen = []
        return row, self.others_wrote()

    def is_lost(self, error: BaseException) -> bool:
        return is_lost(error)

    def is_refused(self, error: BaseException) -> bool:
        # What only reads has nothing that could be saved.
        return not (self.is_lost(error) and self.writes(self.role))

    def can_begin_again(self, error: BaseException) -> bool:
        """See `Transactions`; the second connection is made anew too, if it has gone."""
        # Before the COMMIT was sent nothing can have been saved.
        is_lost = self.is_lost(error) and not isinstance(error, OutcomeUnknown)
        # A caller's function can have lost a connection of its own, to another database.
        is_ours = self._is_new or not (_is_up(self) and _is_up(self.beside))
        if not ((is_lost and is_ours) or isinstance(error, TransactionLost)):
            return False
        # A process that stood still can do it now; what takes so long by itself would again.
        again, self._took_too_long = self._took_too_long, self._has_taken_too_long(error)
        if again and self._took_too_long:
            self._took_too_long = False
            return False
        until = monotonic() + _COMES_BACK
        while not (_is_up(self) and _is_up(self.beside)):
            try:
                if not _is_up(self):
                    self.reconnect()
                if self.beside is not None and not _is_up(self.beside):
                    self.beside.reconnect()
            except (StoreError, *DRIVER_ERRORS):
                if monotonic() > until:
                    return False
                sleep(_TRY_AGAIN)
        return True

    def _has_taken_too_long(self, error: BaseException) -> bool:
        """Whether the server has ended the transaction for how long it lasted; `error` then says
        so, for in a pipeline the driver does not hand on what the server said last."""
        if error_code(error) != TOO_LONG:
            if self.server_version < ENDS_LONG_ONES or self.role not in LONGEST:
                return False
            if self._began_at is None or monotonic() - self._began_at < LONGEST[self.role]:
                return False
            vars(first_failure(error))["sqlstate"] = TOO_LONG
        return True

    def was_committed(self, error: BaseException) -> bool:
        if not (self.is_lost(error) and self.writes(self.role)):
            return False
        callbacks = list(self.state.commit_callbacks)
        keeper = self.keeper
        is_made = self._outcome()
        if is_made is None and keeper is not None and _is_up(self):
            # Another server has taken over, which has never heard of the session.
            with suppress(*DRIVER_ERRORS):
                is_made = keeper.is_there()
        if is_made is False:
            raise TransactionLost(self.name, error) from error
        self.state.commit_callbacks[:] = callbacks
        return bool(is_made)

    def run_undo(self, first: int) -> None:
        # The writer runs again what a connection that has gone was doing, and what it did in hope:
        # its files stay.
        connection = self.state.conn
        has_gone = self._is_new or connection is None or connection.closed
        if self.role == "writer" and (has_gone or self.hopes):
            del self.undo[first:]
        else:
            super().run_undo(first)

    def _outcome(self) -> bool | None:
        """Whether the transaction was committed whose COMMIT has failed because the connection has
        gone; None if nobody knows. A new connection is made.

        The server's own number of the transaction does not tell: after a crash it can be another
        one's.
        """
        number = self.ask_again(lambda connection: self.session.newest_commit())
        return None if number is None else number == self.session.commits

    def ask_again(self, question: Callable[[Connection], T]) -> T | None:
        """What a question is answered on a new connection, once what the lost one had sent is
        committed or gone; None if the server does not come back in time."""
        until = monotonic() + _COMES_BACK
        while monotonic() < until:
            try:
                self.reconnect()
                connection: Connection = self.state.conn
                connection.execute("BEGIN")
                try:
                    # Until the lock is free, the server may still be about to commit it.
                    connection.execute("SELECT pg_advisory_xact_lock(?, 0)", (self.key,))
                    return question(connection)
                finally:
                    connection.execute("ROLLBACK")
            except (StoreError, *DRIVER_ERRORS):
                sleep(_TRY_AGAIN)
        return None

    def reconnect(self) -> None:
        """Replace a connection that has gone; StoreError if the server cannot be reached."""
        self._is_new = True
        scopes, lost = list(self.state.ctx), self.state.conn
        with suppress(*DRIVER_ERRORS):
            if lost is not None:
                lost.close()
        self.dispose()
        try:
            self.connect()
        except BaseException:
            if lost is not None:  # else it would count as closed by its caller, and stay so
                self.state.set_connection(lost)
            raise
        finally:
            self.state.ctx[:] = scopes  # blocks of `with database:`, which end later
        try:
            self.session.begin_again()
        except BaseException:
            self.state.conn.close()  # without its lock this process would count as dead
            raise

    def _living(self) -> Connection:
        """The connection, on which nothing has begun: a new one, if it has gone."""
        # What a script does nobody runs again, and it can have been idle for hours.
        is_idle = self.role in ("script", "viewer") and not self._listens
        if not _is_up(self) or (is_idle and self.state.conn.has_been_ended()):
            self.reconnect()
        connection: Connection = self.connection()
        return connection

    def commits_of_others(self) -> int:
        return 0  # under the lock of the store nobody else of ours can have committed

    def sync_commits(self) -> None:
        """Nothing is left to do: a commit is on disk before it is answered."""

    @contextmanager
    def read_only(self) -> Iterator[None]:
        self.raw.execute("SELECT set_config('transaction_read_only', 'on', false)")
        self.reading = True
        try:
            yield
        finally:
            self.reading = False
            self.raw.execute("SELECT set_config('transaction_read_only', 'off', false)")

    # ---- telling other processes ----

    @property
    def _channel(self) -> str:
        return f"veritas_{self.key & 0xFFFFFFFF}"

    def listen(self) -> None:
        """From now on this connection is told when any process has committed."""
        self.raw.execute(f"LISTEN {self._channel}")
        self._listens = True

    def heard(self) -> bool:
        """Whether it was told anything since the last call; does not wait."""
        return self.raw.heard()

    def may_take_long(self, *, once: bool = False) -> None:
        """From now on the server ends no transaction of this connection for how long it lasts;
        `once`: not the one that is open."""
        if self.server_version >= ENDS_LONG_ONES:
            self.raw.execute("SELECT set_config('transaction_timeout', '0', ?)", (once,))
            self.raw.send_all()  # now, and not with what comes after it

    def committed(self) -> None:
        self._took_too_long = False
        # Not in the transaction: all that tell of themselves there wait for one another.
        if self._told_at + TELL_EVERY <= monotonic():
            self._tell()
        else:
            self._has_news = True
        self.session.keep()

    def due(self) -> float:
        return TELL_EVERY if self._has_news else BEAT_EVERY

    def beat(self) -> None:
        if self._has_news:
            self._tell()
        self.session.keep()
        if not _is_up(self):  # or others take the process for dead
            try:
                self.reconnect()
            except (StoreError, *DRIVER_ERRORS) as error:
                _logger.warning("no sign of life can be given: %s", error)

    def _tell(self) -> None:
        self._told_at, self._has_news = monotonic(), False
        if self.beside is not None:
            with suppress(StoreError, *DRIVER_ERRORS):  # those who wait look by themselves too
                if not _is_up(self.beside):
                    self.beside.reconnect()
                self.beside.raw.execute(f"NOTIFY {self._channel}")

    # ---- what the file of a database would be asked ----

    def watch_file(self) -> None:
        """There is no file that somebody could move."""

    def check_in_place(self) -> None:
        """There is no file that somebody could move."""

    def check_written(self) -> None:
        """An answered commit is the server's."""

    def is_alone(self) -> bool:
        return False

    # ---- resources ----

    def cancel_when(self, asked: Callable[[], bool], steps: int) -> None:
        """The server is not asked in between: `interrupt` ends a statement."""

    def interrupt(self) -> None:
        if (connection := self.state.conn) is not None:
            cancel_soon(connection)

    def release_memory(self) -> None:
        """A connection caches nothing here."""

    def limit_wal(self, size: int) -> None:
        """The log is the server's."""

    def checkpoint(self, *, truncate: bool, patience: float) -> bool:
        return False


def _is_up(database: PostgresStore | None) -> bool:
    """Whether a connection is there, if one is to be there, and has not gone."""
    return database is None or (database.state.conn is not None and not database.state.conn.closed)
