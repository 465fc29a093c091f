"""The one all-or-nothing scope: a transaction at the outermost, a savepoint within."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TYPE_CHECKING

from veritas_peewee.errors import DRIVER_ERRORS, StoreError

if TYPE_CHECKING:
    from veritas_peewee.database import StoreDatabase

_logger = logging.getLogger("veritas_peewee")

_ENDED = (
    "a write ended the transaction that it shares with others; whether they were saved is not known"
)


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
                if not database.in_whole_transaction:
                    raise StoreError(_ENDED)
                self._end("COMMIT" if self.outermost else "RELEASE unit")
        except BaseException:
            self._roll_back()
            raise
        if kind is not None:
            self._roll_back()
        elif self.outermost:
            database.undo.clear()
            database.run_commit_callbacks()

    def _end(self, sql: str) -> None:
        try:
            self.database._state.conn.execute(sql)
        except BaseException as error:
            # Without its savepoint, the transaction is not the one that was begun.
            self.database.lost = True
            raise error if self.outermost else StoreError(_ENDED) from error

    def _roll_back(self) -> None:
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
        except (*DRIVER_ERRORS, StoreError):
            _logger.exception("%s: a roll-back failed", database.location.name)
        finally:
            del state.commit_callbacks[self.callbacks :]
            database.run_undo(self.undo)
