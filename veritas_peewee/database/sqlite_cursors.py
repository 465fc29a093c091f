"""Cursors that give rows one by one, those with text that is not valid UTF-8 too."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from veritas_peewee.database.connection import CHANGE
from veritas_peewee.database.sqlite_driver import READS_AHEAD, Cursor, driver
from veritas_peewee.errors import DatabaseCorrupt


class Owner(Protocol):
    """The database of a cursor."""

    def accept_odd_text(self, error: BaseException) -> None: ...

    def pause(self) -> None: ...


class _Staying(Cursor):
    """Of a driver that has not left such a row yet: the next call gives the same one."""

    database: Owner

    def fetchone(self) -> Any:
        try:
            return super().fetchone()
        except driver.OperationalError as error:
            self.database.accept_odd_text(error)
            return super().fetchone()

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except driver.OperationalError as error:
            self.database.accept_odd_text(error)
            return super().__next__()


class _ReadingAgain(Cursor):
    """Of a driver that reads ahead: the statement is executed again, up to the row to be given.

    Where that no longer begins with the rows that were given, for they have been changed since, it
    is DatabaseCorrupt: who counted them off would pass over others.
    """

    database: Owner
    _asked: tuple[Any, ...] = ()
    _given = 0
    _keys = 0
    """A hash over the first value, the key of a model's row, of each row that was given."""

    def execute(self, *asked: Any) -> Any:
        self._asked, self._given, self._keys = asked, 0, 0
        try:
            return super().execute(*asked)
        except driver.OperationalError as error:
            self._accept(error)
            return super().execute(*asked)

    def fetchone(self) -> Any:
        row = self._read(super().fetchone)
        if row is not None:
            self._given += 1
            self._keys = hash((self._keys, row[0]))
        return row

    def __next__(self) -> Any:
        row = self._read(super().__next__)
        self._given += 1
        self._keys = hash((self._keys, row[0]))
        return row

    def _read(self, fetch: Callable[[], Any]) -> Any:
        try:
            return fetch()
        except driver.OperationalError as error:
            self._accept(error)
            super().execute(*self._asked)
            keys = 0
            for _ in range(self._given):
                keys = hash((keys, (super().fetchone() or (None,))[0]))
            if keys != self._keys:
                raise DatabaseCorrupt(
                    "a text that is not valid UTF-8 came up among rows of which some have been "
                    f"changed since they were read: read them again, which works now ({error})"
                ) from error
            return fetch()

    def _accept(self, error: BaseException) -> None:
        if CHANGE.match(self._asked[0]):  # of which these rows tell: it was made
            raise error
        self.database.accept_odd_text(error)


if TYPE_CHECKING:
    Rows = _Staying
else:
    Rows = _ReadingAgain if READS_AHEAD else _Staying


class LongRead(Rows):
    """A cursor that calls `pause` now and then while many rows are fetched one by one."""

    rows = 0

    def fetchone(self) -> Any:
        self.rows += 1
        if not self.rows % 32:
            self.database.pause()
        return super().fetchone()
