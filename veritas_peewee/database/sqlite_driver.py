"""Which SQLite is in use: the driver module that Peewee has taken, and how it makes a connection.

That is PyPI's pysqlite3 where it is installed with a SQLite no older than Python's own. No other
module imports a driver: with a second SQLite library on the same file in one process, locks would
be lost (sqlite.org/howtocorrupt.html, section 2.2.1).
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import peewee

driver: ModuleType = vars(peewee)["sqlite3"]
"""The driver module that Peewee uses."""
OPTIONS: dict[str, Any] = {}
"""Options of `driver.connect` with which errors carry SQLite's extended codes."""
READS_AHEAD = not hasattr(driver, "SQLITE_IOERR_WRITE")
"""Whether a cursor reads each row before the one before it is fetched: one that cannot be given
costs that one too, and ends the statement."""

if TYPE_CHECKING:
    from sqlite3 import Connection as Connection
    from sqlite3 import Cursor as Cursor
elif not READS_AHEAD:
    Connection, Cursor = driver.Connection, driver.Cursor
else:
    # pysqlite3 gives the codes of which SQLite has told it, which without SQLITE_OPEN_EXRESCODE are
    # the primary ones alone. The class of an error it knows only for those.
    _READ_WRITE_CREATE, _EXTENDED_CODES = 0x6, 0x02000000
    _CLASSES = dict.fromkeys((1, 4, 5, 6, 8, 10, 14), driver.OperationalError)
    _CLASSES[19] = driver.IntegrityError

    def _give_class(error: Exception) -> None:
        if type(error) is driver.DatabaseError:
            code = getattr(error, "sqlite_errorcode", 0)
            error.__class__ = _CLASSES.get(code & 0xFF, driver.DatabaseError)

    class Cursor(driver.Cursor):
        """A cursor whose errors have the class that DB-API gives to their primary code."""

        def execute(self, *args: Any) -> Any:
            try:
                return super().execute(*args)
            except driver.DatabaseError as error:
                _give_class(error)
                raise

        def executemany(self, *args: Any) -> Any:
            try:
                return super().executemany(*args)
            except driver.DatabaseError as error:
                _give_class(error)
                raise

        def executescript(self, *args: Any) -> Any:
            try:
                return super().executescript(*args)
            except driver.DatabaseError as error:
                _give_class(error)
                raise

    class Connection(driver.Connection):
        """A connection with such cursors, by which its own `execute` goes too."""

        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

    OPTIONS |= {"flags": _READ_WRITE_CREATE | _EXTENDED_CODES, "factory": Connection}


def connect(database: Any, **options: Any) -> Connection:
    """A connection as `driver.connect` makes it, with `OPTIONS`."""
    made: Connection = driver.connect(database, **OPTIONS, **options)
    return made
