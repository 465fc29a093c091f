"""The transactions of one connection, and the one all-or-nothing scope: `Unit`.

Longer than most modules: how a transaction ends, for whatever reason, is decided here alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import TracebackType
from typing import Any

import peewee

from veritas_peewee.database.failures import DRIVER_ERRORS, error_code
from veritas_peewee.database.keeper import Keeper
from veritas_peewee.database.savepoint import Savepoint
from veritas_peewee.errors import StoreError

AS_PEEWEE: Any = vars(peewee)["__exception_wrapper__"]
"""Turns a driver's errors into Peewee's, for callers of Peewee's own methods."""
_logger = logging.getLogger("veritas_peewee")


class TransactionEnded(StoreError):
    __doc__ = (  # its default message
        "A write ended the transaction that it shares with others; whether they were saved is not "
        "known."
    )


def is_known(error: BaseException | None) -> bool:
    """Whether what failed with this error is certain not to have been saved."""
    return not isinstance(error, TransactionEnded) and not getattr(error, "written", False)


class TransactionLost(StoreError):
    """The connection has gone, and nothing of the transaction was saved: it can be run again."""

    def __init__(self, name: str, error: BaseException) -> None:
        super().__init__(
            f"{name}: the connection was lost, and nothing of the write was saved ({error})"
        )


class OutcomeUnknown(TransactionEnded):
    """What ends a transaction has failed, and it is not known whether the write was saved."""

    def __init__(self, name: str, what: str, error: BaseException) -> None:
        super().__init__(
            f"{name}: the {what} failed, and whether the write was saved is not known: read what "
            f"is there before you try again ({error})"
        )


class Transactions(peewee.Database):
    """The transaction half of a store's connection, mixed into Peewee's class for a backend."""

    # An attribute of Peewee's, which its type stubs leave out.
    _state: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.keeper: Keeper | None = None
        self.lost = False
        """Whether the transaction that was begun is no longer the one that is open."""
        self.is_undone = True
        """Whether nothing of the unit that failed last can have been committed."""
        self.hopes = False
        """Whether nothing is expected to fail: what does undoes all of the transaction, which is
        run again without hope, and its parts are told apart only then. A server is waited for only
        where it ends."""
        self.expected: list[str] = []
        """Names of what the next transaction is about, by which more can be read as it begins."""
        self.careful = 0
        """How many of the next transactions are not to hope."""
        self.is_spoilt = False
        """Whether a part of a transaction that hopes has failed."""
        self.runs_callers = False
        """Whether a function of a caller's is being run, which may do anything."""
        self.undo: list[Callable[[], object]] = []
        """The `after_rollback` callbacks of the open transaction."""
        self.cursors: list[Any] = []
        """The cursors opened in the open transaction."""
        super().__init__(*args, **kwargs)
        self.state = self._state
        """Peewee's record of the connection: `conn`, `transactions`, `commit_callbacks`."""

    # ---- what a backend answers ----

    @property
    def name(self) -> str:
        """The database's name for messages."""
        raise NotImplementedError

    @property
    def transaction_is_open(self) -> bool:
        """Whether the backend itself has a transaction under way."""
        raise NotImplementedError

    def others_wrote(self) -> bool:
        """Whether another connection has written since the last call of this."""
        raise NotImplementedError

    def begin_raw(self, lock_type: str | None) -> None:
        """Begin a transaction, and nothing else."""
        super().begin(lock_type)  # type: ignore[call-arg]

    def end_raw(self, sql: str) -> None:
        """End the transaction by COMMIT or ROLLBACK, and nothing else."""
        self.state.conn.execute(sql)

    def was_committed(self, error: BaseException) -> bool:
        """Whether a COMMIT that failed with this error was made all the same; raises
        TransactionLost if it certainly was not, because the connection has gone."""
        return False

    def is_lost(self, error: BaseException) -> bool:
        """Whether an error says that the connection has gone, as one to a server can."""
        return False

    def can_begin_again(self, error: BaseException) -> bool:
        """Whether nothing of a transaction that failed with this error was saved, because the
        connection has gone, and there is a new one on which it can be run again."""
        return False

    def clear_raw(self) -> None:
        """Leave nothing of a transaction that is over: that was not ended by `end_raw`."""

    def before_savepoint(self) -> None:
        """Raise the error of what was sent and has failed: it is not one of the part that is about
        to begin, whose savepoint would not be made."""

    def before_going_back(self) -> None:
        """Make ready to go back to a savepoint, or to the beginning, whatever has failed."""

    def after_going_back(self) -> None:
        """The transaction has gone back to a savepoint, and goes on."""

    def confirm(self) -> None:
        """Wait until what was sent is known to have been done, and raise its error if not; in a
        transaction that hopes, that is told at its end."""

    def check_usable(self) -> None:
        """Raise StoreError if a statement of the open transaction, or of the part of it since the
        last savepoint, has failed, and the backend therefore keeps nothing of it."""

    def is_refused(self, error: BaseException) -> bool:
        """Whether nothing is saved, nor ever will be, of what a COMMIT or a lone statement was to
        save that failed with this error and left no transaction."""
        raise NotImplementedError

    def check_written(self) -> None:
        """Raise StoreMoved if what was just written is lost: called before it is acknowledged."""
        raise NotImplementedError

    # ---- beginning and ending ----

    def begin(self, lock_type: str | None = None) -> None:
        self._refuse_in_unit("BEGIN")
        self.lost = self.is_spoilt = False
        self.begin_raw(lock_type)
        self.undo.clear()  # only now: one that is open already keeps what follows its end
        if self.keeper is not None:
            try:
                self.keeper.began(self.others_wrote())
            except BaseException:
                self.finish(commit=False)
                raise

    def commit(self) -> None:
        self._refuse_in_unit("COMMIT")
        if not self.transaction_is_open:
            super().commit()  # raises the error of a COMMIT outside a transaction
        with AS_PEEWEE:
            self.finish(commit=True)

    def rollback(self) -> None:
        self._refuse_in_unit("ROLLBACK")
        is_undone = self.transaction_is_open  # else it may have been committed, and files stay
        try:
            with AS_PEEWEE:
                self.finish(commit=False)
        finally:
            self.state.commit_callbacks.clear()
            self.run_undo(0 if is_undone else len(self.undo))

    def finish(self, *, commit: bool) -> None:
        """End the transaction: only here are its changes sealed, or dropped.

        Raises TransactionEnded if there is nothing left to commit: some errors end a transaction
        inside SQLite, and SQL given directly to the driver can end one too.
        """
        keeper = self.keeper
        if commit:
            if not self.in_whole_transaction:
                raise TransactionEnded
            self.check_usable()
            if not self.in_whole_transaction:  # a server has told only now how it stands
                raise TransactionEnded
            if keeper is not None and keeper.before_commit() and not self.in_whole_transaction:
                raise TransactionEnded
            try:
                self.end_raw("COMMIT")
            except BaseException as error:
                # One that was only refused, for a deferred foreign key, may be tried again.
                self.lost = not self.transaction_is_open
                if not (self.lost and self.was_committed(error)):
                    if self.lost:
                        self.check_refused(error)
                    with AS_PEEWEE:
                        raise
                self.lost = False
            self.hopes = False
            self.undo.clear()
            self.check_written()
            return
        try:
            # If the backend has ended it, a ROLLBACK would only fail, and mask the cause.
            if self.transaction_is_open:
                self.before_going_back()
                self.end_raw("ROLLBACK")
            else:
                self.clear_raw()
        finally:
            if keeper is not None:
                keeper.undone()

    def check_refused(self, error: BaseException) -> None:
        """Raise OutcomeUnknown unless what failed with this error is certain not to be saved."""
        if not self.is_refused(error):
            raise OutcomeUnknown(self.name, "commit", error) from error

    def _refuse_in_unit(self, what: str) -> None:
        scopes = self.state.transactions
        if scopes and any(isinstance(scope, Unit) for scope in scopes):
            raise StoreError(
                f"{what} inside a write would end what it shares with others: use "
                "`with Audit._meta.database.atomic()` for a part that can be undone"
            )

    @property
    def is_manual(self) -> bool:
        """Whether the caller begins and ends transactions (`manual_commit`), and none is open."""
        scopes = self.state.transactions
        return bool(scopes) and type(scopes[-1]) is peewee._manual and not self.transaction_is_open

    def refuse_after_end(self) -> None:
        """StoreError in a block of `atomic()` or a unit whose transaction has already ended.

        Peewee would run the rest of it statement by statement, and leave what they write.
        """
        if self.state.transactions and not self.transaction_is_open and not self.is_manual:
            raise TransactionEnded(
                "the transaction of this block has ended before the block: by a trigger, by an "
                "error, or by SQL given to the driver; nothing more of it is run, and whether what "
                "came before was saved is not known"
            )

    @property
    def in_whole_transaction(self) -> bool:
        """Whether the transaction is still open as it was begun."""
        return not self.lost and not self.is_closed() and self.transaction_is_open

    def unit(self) -> Unit:
        """An all-or-nothing scope: a transaction, or a savepoint within one."""
        return Unit(self)

    def savepoint(self, sid: str | None = None) -> Savepoint:
        return Savepoint(self, sid)

    def seal_changes(self) -> None:
        """Bring up to date what depends on the rows that this transaction has changed so far."""
        if self.keeper is not None:
            self.refuse_after_end()
            self.keeper.seal()

    def settle(self) -> None:
        """Undo a transaction that a callback or a write has left open, and close all cursors."""
        self.close_cursors()
        state = self.state
        if (state.transactions or self.transaction_is_open) and not self.is_manual:
            _logger.error("%s: a transaction was left open and is undone", self.name)
            state.transactions.clear()
            state.commit_callbacks.clear()
            self.undo.clear()
            self.finish(commit=False)

    @contextmanager
    def runs_a_callers(self) -> Iterator[None]:
        """Within the block a function of a caller's runs, which may write in any way."""
        before, self.runs_callers = self.runs_callers, True
        if self.keeper is not None:
            self.keeper.callers_write()
        try:
            yield
        finally:
            self.runs_callers = before

    # ---- what follows the end ----

    def after_rollback(self, fn: Callable[[], object]) -> None:
        """Run `fn` if the unit that is open now is undone; drop it when the transaction commits."""
        self.undo.append(fn)

    def run_undo(self, first: int) -> None:
        """Call the `after_rollback` callbacks but for the `first` oldest ones, newest first."""
        undo = self.undo[first:]
        del self.undo[first:]
        self._call_all(reversed(undo))

    def run_commit_callbacks(self) -> None:
        """Call the `after_commit` callbacks; the commit is done, so errors are only logged."""
        if callbacks := list(self.state.commit_callbacks):
            self.state.commit_callbacks.clear()
            self._call_all(callbacks)

    def _call_all(self, callbacks: Iterable[Callable[[], object]]) -> None:
        """Call each of them, whatever the others raise.

        Errors are logged. What asks the program to end (Ctrl-C, a signal, SystemExit) is raised in
        the main thread, once all have been called; any other thread serves others too and goes on.
        """
        asked: BaseException | None = None
        for fn in callbacks:
            # Of the transaction that has ended; a callback may have one of its own.
            ended = self.lost, self.is_undone
            try:
                with self.runs_a_callers():
                    fn()
            except BaseException as error:
                if isinstance(error, Exception) or current_thread() is not main_thread():
                    _logger.exception("%s: a callback after a transaction failed", self.name)
                else:
                    asked = asked or error
            self.lost, self.is_undone = ended
        if asked is not None:
            raise asked

    def close_cursors(self, first: int = 0) -> None:
        """Close the open cursors but for the `first` oldest ones."""
        if len(self.cursors) > first:
            for cursor in self.cursors[first:]:
                cursor.close()
            del self.cursors[first:]


class Unit:
    """The scope that `Transactions.unit` gives; Peewee's `atomic()` can be used inside it."""

    __slots__ = (
        "callbacks", "cursors", "database", "depth", "is_marked", "mark", "outermost", "undo"
    )  # fmt: skip

    def __init__(self, database: Transactions) -> None:
        self.database = database

    def __enter__(self) -> None:
        database = self.database
        state = database.state
        self.outermost = not state.transactions or database.is_manual
        self.is_marked = not (self.outermost or database.hopes)
        if self.outermost:
            database.begin()
        else:
            # Outside a transaction, a savepoint would begin one of its own.
            database.refuse_after_end()
            if self.is_marked:
                database.before_savepoint()
                state.conn.execute("SAVEPOINT unit")
        self.callbacks = len(state.commit_callbacks)
        self.undo = len(database.undo)
        keeper = database.keeper
        self.mark = None if keeper is None or self.outermost else keeper.mark()
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
        # This scope, and those that were entered inside it and never left.
        del database.state.transactions[self.depth :]
        if not database.transaction_is_open:
            database.lost = True
        try:
            database.close_cursors(self.cursors)
            if kind is None:
                self._commit()
        except BaseException as failure:
            self._roll_back(failure)
            raise
        if error is not None:
            self._roll_back(error)
        elif self.outermost:
            try:
                database.run_commit_callbacks()
            finally:
                database.settle()

    def _commit(self) -> None:
        if self.outermost:
            self.database.finish(commit=True)
        elif self.database.in_whole_transaction:
            if self.is_marked:
                self.database.check_usable()
                self._end("RELEASE unit")
        else:
            raise TransactionEnded

    def _end(self, sql: str) -> None:
        try:
            self.database.state.conn.execute(sql)
        except BaseException as error:
            # Without its savepoint, the transaction is not the one that was begun.
            self.database.lost = True
            raise TransactionEnded from error

    def _roll_back(self, error: BaseException) -> None:
        database = self.database
        # A transaction that is over was ended by SQLite, which then gave an error, or it was
        # committed: by SQL given to the driver, or just before Ctrl-C arrived.
        ended_it = isinstance(error, Exception) and error_code(error) is not None
        certain = database.in_whole_transaction or ended_it or isinstance(error, TransactionLost)
        database.is_undone = certain and is_known(error)
        try:
            if self.outermost:
                database.finish(commit=False)
            elif not self.is_marked:
                database.is_spoilt = True
            else:
                try:
                    if database.in_whole_transaction:
                        database.before_going_back()
                        self._end("ROLLBACK TO unit")
                        self._end("RELEASE unit")
                        database.after_going_back()
                finally:
                    if database.keeper is not None:
                        database.keeper.undone(self.mark)
        except (*DRIVER_ERRORS, StoreError) as failure:
            if database.is_undone and database.is_lost(failure):
                # No COMMIT was sent: with its connection, all of the transaction is gone.
                raise TransactionLost(database.name, failure) from error
            _logger.exception("%s: a roll-back failed", database.name)
            database.is_undone = False
            if self.outermost and isinstance(error, Exception):
                raise OutcomeUnknown(database.name, "roll-back", failure) from error
        finally:
            del database.state.commit_callbacks[self.callbacks :]
            # If the rows may have been committed, their files stay: better one too many than one
            # missing.
            if database.is_undone:
                database.run_undo(self.undo)
            elif self.outermost:  # else the one around it decides, which can still be undone
                del database.undo[self.undo :]
