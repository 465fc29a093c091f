"""psycopg 3 as the store uses it: `?` for values, and Peewee's errors.

So the text of a statement is the same for every backend, and so is what it raises.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import psycopg
from psycopg._preparing import PrepareManager
from psycopg.abc import PQGen
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.waiting import Ready, Wait

from veritas_peewee.database.control import ENDS_ON_SERVER, PLANNED_ANEW
from veritas_peewee.database.postgres_pipeline import Together, going_on
from veritas_peewee.database.postgres_told import as_peewee, peewees
from veritas_peewee.database.postgres_told import translated as translated
from veritas_peewee.database.postgres_values import register

_PARTS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|\$(\w*)\$.*?\$\1\$|\?", re.DOTALL)
"""What a mark could be inside of, and a mark."""

_MOST_PREPARED = 400
"""Statements that a connection has prepared."""


@functools.lru_cache(4096)
def numbered(sql: str) -> str:
    """A statement whose values are marked by `?`, with PostgreSQL's own `$1`, `$2`, …"""
    number = 0

    def mark(found: re.Match[str]) -> str:
        nonlocal number
        if found[0] != "?":
            return found[0]
        number += 1
        return f"${number}"

    return _PARTS.sub(mark, sql)


class _Cursor(psycopg.RawCursor[Any]):
    """In a pipeline a statement is only sent, and an error of it comes with what is read next."""

    connection: Connection
    number = 0
    """Which statement of its pipeline it has sent."""

    @property
    def rowcount(self) -> int:
        if self.pgresult is None and self.connection.pipelined is not None:
            self.connection.settle()
        return self._rowcount

    def fetchone(self) -> Any:
        try:
            self.connection.send_all()
            row = super().fetchone()
        except psycopg.Error as error:
            raise peewees(error, self.connection) from error
        self._has_come()
        return row

    def fetchall(self) -> Any:
        try:
            self.connection.send_all()
            rows = super().fetchall()
        except psycopg.Error as error:
            raise peewees(error, self.connection) from error
        self._has_come()
        return rows

    def _has_come(self) -> None:
        # What was sent before it has come too.
        self.connection.came = max(self.connection.came, self.number)

    def __iter__(self) -> Any:
        return iter(self.fetchall())

    def execute(self, query: Any, params: Any = None, **rest: Any) -> Any:
        # No block of a context's: each statement of a batch comes by here.
        connection = self.connection
        if connection.watch is not None:
            connection.watch(query)
        connection.sent += 1
        self.number = connection.sent
        try:
            if query.startswith(PLANNED_ANEW):
                rest = {**rest, "prepare": False}
            if not params:
                if query.startswith("RELEASE "):
                    connection.released = connection.sent
                super().execute(query, None, **{**rest, "prepare": False})
            elif connection.pipelined is not None:
                self._put(numbered(query), params, rest)
            else:
                super().execute(numbered(query), params, **rest)
        except psycopg.Error as error:
            raise peewees(error, connection) from error
        is_sent = connection.pipelined is not None and not connection.ends
        if is_sent and ENDS_ON_SERVER.match(query):
            connection.controlled()
        return self

    def _put(self, query: str, params: Any, options: dict[str, Any]) -> None:
        """Put a statement into the pipeline, which takes no waiting."""
        with self._conn.lock:
            steps = self._execute_gen(query, params, **options)
            try:
                first = next(steps)
            except StopIteration:
                return
            self._conn.wait(going_on(steps, first))

    def executemany(self, query: Any, params_seq: Iterable[Any], **rest: Any) -> None:
        if self.connection.watch is not None:
            self.connection.watch(query)
        self.connection.sent += 1
        with as_peewee(self.connection):
            super().executemany(numbered(query), params_seq, **rest)


class Connection(psycopg.Connection[Any]):
    """A connection on which each statement is a transaction, unless one was begun by BEGIN."""

    watch: Callable[[str], object] | None = None
    """Is given the text of each statement before it runs, also of one given to the driver."""

    @property
    def in_transaction(self) -> bool:
        if self.pipelined is not None:  # what was sent is not known to have been done
            return not (self._is_over or self.closed)
        return self.info.transaction_status in (
            TransactionStatus.INTRANS,
            TransactionStatus.INERROR,
            TransactionStatus.ACTIVE,
        )

    @property
    def has_failed(self) -> bool:
        """Whether a statement of the open transaction has failed, so that it takes no other."""
        return self.info.transaction_status is TransactionStatus.INERROR

    def cursor(self, *args: Any, **options: Any) -> Any:
        try:
            return super().cursor(*args, **options)
        except psycopg.Error as error:  # of one that is closed
            raise peewees(error, self) from error

    def executemany(self, sql: str, rows: Iterable[Any]) -> None:
        self.cursor().executemany(sql, rows)

    def each_row(self, sql: str, params: Any = None) -> Iterator[tuple[Any, ...]]:
        """The rows of a SELECT as they come, so that they are not held all at once."""
        if self.pipelined is not None:  # then they can only come together
            yield from self.execute(sql, params)
            return
        with as_peewee(self):
            rows = self.cursor().stream(numbered(sql), params or None)
            for row in rows:
                try:
                    yield row
                except GeneratorExit:
                    for _ in rows:  # psycopg would cancel it, and with it the transaction
                        pass
                    raise

    def has_been_ended(self) -> bool:
        """Whether the server has ended it while nothing was under way; does not wait.

        Not for one that listens: what is read here is not heard any more.
        """
        if self.info.transaction_status is TransactionStatus.IDLE:
            with suppress(psycopg.Error):
                for _ in range(2):  # what the server said last, and that no more comes
                    self.pgconn.consume_input()
        return self.closed

    def heard(self) -> bool:
        """Whether a NOTIFY has come since the last call; does not wait."""
        with as_peewee(self):
            return bool(list(self.notifies(timeout=0)))

    # ---- many statements in one round trip ----

    pipelined: psycopg.Pipeline | None = None
    _open: ExitStack | None = None
    ends = False
    """Whether what is executed now ends the transaction for whoever began it."""
    _is_over = False
    sent = came = released = 0
    """How many statements were sent, the last of them whose outcome has come, and the last one that
    has released a savepoint."""

    def begin_pipeline(self) -> None:
        """From now on send statements without waiting for each."""
        stack = ExitStack()
        with as_peewee(self):  # a connection that is closed
            if self._pipeline is None:
                self._pipeline = Together(self)
            self.pipelined, self._open = stack.enter_context(self.pipeline()), stack
        self._is_over = False

    def send_all(self) -> None:
        """Send what the system has not taken yet of the statements in a pipeline.

        psycopg begins to send, and then only waits for answers, while the server waits for the rest
        of a large value.
        """
        if self.pipelined is not None and not self.closed and self.pgconn.flush():
            self.wait(self._sent())

    def _sent(self) -> PQGen[None]:
        while self.pgconn.flush():
            if (yield Wait.RW) & Ready.R:
                self.pgconn.consume_input()

    def settle(self) -> None:
        """Wait for all statements that were sent; raises the error of the first that failed."""
        # How the transaction is, is told by a `sync` alone: after a roll-back it is still the old.
        if self.pipelined is not None and (self.sent > self.came or self.has_failed):
            with as_peewee(self):
                self.send_all()
                self.pipelined.sync()
            self._is_over = self.info.transaction_status is TransactionStatus.IDLE
            self.came = self.sent

    def settle_but_for_release(self) -> None:
        """Do what `settle` does, unless nothing was sent but the end of a savepoint, which does not
        fail."""
        if self.sent != self.came + 1 or self.released != self.sent:
            self.settle()

    def let_forget(self) -> None:
        """To be called once a roll-back has come: psycopg then has the server forget all prepared
        statements, but only after the next statement, which it would go on to take for prepared.

        So the next one is one that is not prepared.
        """
        if not self.closed:
            self.execute("SELECT")

    def controlled(self) -> None:
        """A statement was sent that ends the transaction: SQL that was given to the driver."""
        self.settle()
        self.let_forget()
        self._is_over = True  # also if another one is begun: it is not the one that we began

    def close(self) -> None:
        stack, self._open, self.pipelined = self._open, None, None
        super().close()
        if stack is not None:
            # It is left here: psycopg would complain on standard error of one that nobody left.
            with suppress(psycopg.Error):
                stack.close()

    def end_pipeline(self) -> None:
        """Do what `settle` does, and wait for each statement from now on."""
        stack, self._open, self.pipelined = self._open, None, None
        if stack is not None:
            with as_peewee(self):
                try:
                    stack.close()
                finally:  # also of an error that does not say that the connection has gone
                    if self.info.pipeline_status is not PipelineStatus.OFF:
                        self.close()


class _Prepared(PrepareManager):
    """The statements that a connection has prepared, which outlive a roll-back: psycopg drops them
    after one, in a pipeline together with what it has prepared since."""

    def _should_discard(self, *_: Any) -> bool:
        return False


def connect(url: str, **options: Any) -> Connection:
    """A connection to the server; raises Peewee's OperationalError."""
    try:
        made = Connection.connect(url, autocommit=True, cursor_factory=_Cursor, **options)
    except psycopg.Error as error:
        raise translated(error) from error
    # At the first use: of a statement that was used before, and is skipped in a pipeline because
    # another one has failed, psycopg believes that it was prepared.
    made._prepared = _Prepared()
    made.prepare_threshold, made.prepared_max = 0, _MOST_PREPARED
    register(made.adapters)
    return made
