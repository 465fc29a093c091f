"""What SQLite's error codes mean for the store."""

from __future__ import annotations

import os

import peewee

from veritas_peewee.database.sqlite_driver import driver as driver
from veritas_peewee.errors import (
    DatabaseCorrupt,
    ReadOnlyStore,
    StoreBusy,
    StoreError,
    StoreFull,
)

FOREIGN_KEY = 787
"""SQLITE_CONSTRAINT_FOREIGNKEY: a row's parent does not exist."""
DUPLICATES = (1555, 2067)
"""SQLITE_CONSTRAINT_PRIMARYKEY and SQLITE_CONSTRAINT_UNIQUE: there is such a row already."""
AUTH = 23
"""SQLITE_AUTH: a statement that the connection's own callback has refused to compile."""
INTERRUPTED = 9
"""SQLITE_INTERRUPT: the statement was ended by its caller."""
IOERR_WRITE = 778
"""SQLITE_IOERR_WRITE: a write that a quota, or a limit on the size of files, has refused."""
RAISED_INSIDE = "user-defined function raised exception"
"""The driver's words for whatever a function of ours has raised that SQLite has called."""
CORRUPT = 11
"""SQLITE_CORRUPT."""
NOTADB = 26
"""SQLITE_NOTADB: a file that is no database."""
CORRUPT_VIRTUAL_TABLE = 267
"""SQLITE_CORRUPT_VTAB: a virtual table, such as the full-text index, is damaged."""

# The primary result codes, and two extended ones: a write refused by a quota, and no space for
# the index of the WAL.
_BY_CODE: dict[int, type[StoreError]] = {
    5: StoreBusy,  # SQLITE_BUSY
    6: StoreBusy,  # SQLITE_LOCKED
    8: ReadOnlyStore,  # SQLITE_READONLY
    CORRUPT: DatabaseCorrupt,
    13: StoreFull,  # SQLITE_FULL
    NOTADB: DatabaseCorrupt,
    IOERR_WRITE: StoreFull,
    4874: StoreFull,  # SQLITE_IOERR_SHMSIZE
}

_OF_THE_SYSTEM = frozenset((
    3,  # SQLITE_PERM
    5,  # SQLITE_BUSY
    6,  # SQLITE_LOCKED
    7,  # SQLITE_NOMEM
    13,  # SQLITE_FULL: in a read it is about temporary files
    14,  # SQLITE_CANTOPEN
    15,  # SQLITE_PROTOCOL
    IOERR_WRITE,
    3082,  # SQLITE_IOERR_NOMEM
    3850,  # SQLITE_IOERR_LOCK
    4618,  # SQLITE_IOERR_SHMOPEN
    4874,  # SQLITE_IOERR_SHMSIZE
    5386,  # SQLITE_IOERR_SHMMAP
    6410,  # SQLITE_IOERR_GETTEMPPATH
))  # fmt: skip


_OF_THE_DATA = frozenset((
    1,  # SQLITE_ERROR: also a table, or the format of one, that FTS5 does not find
    CORRUPT,
    19,  # SQLITE_CONSTRAINT
    20,  # SQLITE_MISMATCH
))  # fmt: skip


def is_of_the_data(code: int) -> bool:
    """Whether a statement that failed with this code met values that it did not expect."""
    return code & 0xFF in _OF_THE_DATA


def is_of_the_system(code: int) -> bool:
    """Whether a read that failed with this code says nothing about the database file."""
    return code in _OF_THE_SYSTEM or (code & 0xFF != 10 and code & 0xFF in _OF_THE_SYSTEM)


def code_of(error: BaseException, default: int | None = None) -> int | None:
    """The extended result code of SQLite that an exception itself carries, or the driver's error in
    whose place Peewee has raised it; else `default`."""
    wrapped = error.__context__ if isinstance(error, peewee.PeeweeException) else None
    for candidate in (error, *error.args[:1], wrapped):
        value = getattr(candidate, "sqlite_errorcode", None)
        default = value if isinstance(value, int) else default
    return default


def may_be_committed(error: BaseException) -> bool:
    """Whether a COMMIT that failed with this error, and left no transaction, may have been made.

    Its last frame makes the transaction one of the WAL. If SQLite could not write it, the COMMIT is
    refused. But after that frame it still brings the WAL to disk, and enlarges the WAL's index: of
    that can fail a sync, room in the index (SQLITE_IOERR_SHMSIZE) and memory. An error without a
    code does not say how far it came.
    """
    code = code_of(error)
    if code is None:
        return isinstance(error, (driver.OperationalError, peewee.OperationalError))
    return code == 7 or (code & 0xFF == 10 and code != IOERR_WRITE)  # SQLITE_NOMEM, SQLITE_IOERR


def code_without(error: BaseException) -> int | None:
    """The code for an error to which the driver gives none; None if its cause is not known."""
    if str(error) == "constraint failed":  # of one of our tables, the message would name it
        return CORRUPT_VIRTUAL_TABLE
    return CORRUPT if is_odd_text(error) else None


def is_odd_text(error: BaseException) -> bool:
    """Whether the driver has met a text in the file that is not valid UTF-8."""
    return "Could not decode to UTF-8" in str(error)


def kind_of(code: int, where: str) -> type[StoreError] | None:
    """The store's class of error for a code; None if the code's cause is not known.

    `where` is the path of the database.
    """
    kind = _BY_CODE.get(code) or _BY_CODE.get(code & 0xFF)
    if kind is None and code & 0xFF in (10, 14):  # SQLITE_IOERR, SQLITE_CANTOPEN
        # SQLite has one code for a folder that cannot be written and for one that is missing.
        folder = os.path.dirname(where)
        sealed = code & 0xFF == 14 and os.path.isdir(folder) and not os.access(folder, os.W_OK)
        kind = ReadOnlyStore if sealed else StoreError
    return kind
