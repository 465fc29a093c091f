"""The one all-or-nothing scope: a transaction at the outermost, a savepoint within."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TYPE_CHECKING

import peewee

from veritas_peewee.errors import DRIVER_ERRORS, StoreError

if TYPE_CHECKING:
    from veritas_peewee.database import StoreDatabase

_logger = logging.getLogger("veritas_peewee")


class TransactionEnded(StoreError):
    """A write ended the transaction that it shares with others; whether they were saved is not
    known."""


class Savepoint(peewee._savepoint):
    """Peewee's, which also forgets what was to follow a commit, and undoes what must be."""

    def _begin(self) -> None:
        super()._begin()  # type: ignore[misc]
        self.callbacks = len(self.db._state.commit_callbacks)
        self.undo = len(self.db.undo)

    def rollback(self, begin: bool = True) -> None:
        del self.db._state.commit_callbacks[self.callbacks :]
        self.db.run_undo(self.undo)
        self.db.forget_log()
        super().rollback(begin)


class Unit:
    """See `StoreDatabase.unit`; Peewee's `atomic()` can be used inside."""

    __slots__ = ("callbacks", "cursors", "database", "depth", "outermost", "undo")

    def __init__(self, database: StoreDatabase) -> None:
        self.database = database

    def __enter__(self) -> None:
        database = self.database
        state = database._state
        self.outermost = not state.transactions
        if self.outermost:
            database.undo.clear()
            database.lost = False
            database.begin()
            if database.renew is not None:
                database.check_others()
        else:
            state.conn.execute("SAVEPOINT unit")
        self.callbacks = len(state.commit_callbacks)
        self.undo = len(database.undo)
        self.cursors = len(database.cursors)
        self.depth = len(state.transactions)
        state.transactions.append(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        database = self.database
        state = database._state
        del state.transactions[self.depth :]  # with what was entered inside and never left
        if not state.conn.in_transaction:
            database.lost = True
        try:
            database.close_cursors(self.cursors)
            if kind is None:
                if self.outermost and database.in_whole_transaction:
                    database.seal_changes()
                    database.count_changes()
                if not database.in_whole_transaction:
                    raise TransactionEnded
                self._end("COMMIT" if self.outermost else "RELEASE unit")
        except BaseException as failure:
            self._roll_back(known=not isinstance(failure, TransactionEnded))
            raise
        if kind is not None:
            self._roll_back(known=not isinstance(error, TransactionEnded))
        elif self.outermost:
            database.undo.clear()
            database.run_commit_callbacks()
            database.settle()

    def _end(self, sql: str) -> None:
        try:
            self.database._state.conn.execute(sql)
        except BaseException as error:
            # Without its savepoint, the transaction is not the one that was begun.
            self.database.lost = True
            raise error if self.outermost else TransactionEnded() from error

    def _roll_back(self, *, known: bool) -> None:
        database = self.database
        state = database._state
        try:
            # If SQLite has ended it, a ROLLBACK would only fail, and mask the cause.
            if state.conn.in_transaction:
                if self.outermost:
                    state.conn.execute("ROLLBACK")
                elif not database.lost:
                    self._end("ROLLBACK TO unit")
                    self._end("RELEASE unit")
            database.forget_log()
            if self.outermost:
                database.forget_changes()
        except (*DRIVER_ERRORS, StoreError):
            _logger.exception("%s: a roll-back failed", database.location.name)
        finally:
            del state.commit_callbacks[self.callbacks :]
            # Where rows may have been committed, a file too many is better than one too few.
            if known:
                database.run_undo(self.undo)
            else:
                del database.undo[self.undo :]
