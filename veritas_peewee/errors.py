"""Every error the store raises.

StoreError
├── AuditNotFound     there is no audit with that id
├── InvalidAudit      a value cannot be stored (also a ValueError)
├── StoreClosed       the store is not open
├── StoreBusy         another process held the write lock past the timeout
├── StoreFull         the disk or a quota is full
├── ReadOnlyStore     the file, its folder or the connection does not allow writing
├── DatabaseCorrupt   the file is damaged or is no database
├── SchemaTooNew      a newer version of this library wrote the file
├── NoDatabase        a query ran where no database is open (also a RuntimeError)
└── WriteUndone       another write ended the transaction; this one was not saved

A class's docstring is its default message.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from types import ModuleType

import peewee

sqlite3: ModuleType = vars(peewee)["sqlite3"]
"""The driver that Peewee uses: two SQLite libraries on one file in one process lose locks."""

DRIVER_ERRORS = (peewee.PeeweeException, sqlite3.Error)


class StoreError(Exception):
    """The store could not do this."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class AuditNotFound(StoreError):
    """There is no such audit."""


class InvalidAudit(StoreError, ValueError):
    """A value cannot be stored."""


class StoreClosed(StoreError):
    """The store is closed: open it with `async with AuditStore.open() as store`."""


class StoreBusy(StoreError):
    """Another process held the write lock for longer than the timeout; nothing was saved."""


class StoreFull(StoreError):
    """The disk or a quota is full; nothing was saved."""


class ReadOnlyStore(StoreError):
    """The database cannot be written."""


class DatabaseCorrupt(StoreError):
    """The file is damaged or is not a SQLite database."""


class SchemaTooNew(StoreError):
    """A newer version of veritas-peewee wrote this file; upgrade the library to open it."""


class NoDatabase(StoreError, RuntimeError):
    """No database is open here."""


class WriteUndone(StoreError):
    """Another write ended the transaction; this one was not saved and may be tried again."""


OWN_ERRORS = frozenset(
    (StoreError, StoreBusy, StoreFull, ReadOnlyStore, DatabaseCorrupt, WriteUndone)
)
"""What the failure of a whole transaction can be called."""

FOREIGN_KEY = 787
"""SQLite's code for a row whose parent is missing."""

# SQLite's primary result codes, and two extended ones: a write refused by a quota, and no space
# for the index of the WAL.
_BY_CODE: dict[int, type[StoreError]] = {
    5: StoreBusy,  # SQLITE_BUSY
    6: StoreBusy,  # SQLITE_LOCKED
    8: ReadOnlyStore,  # SQLITE_READONLY
    11: DatabaseCorrupt,  # SQLITE_CORRUPT
    13: StoreFull,  # SQLITE_FULL
    26: DatabaseCorrupt,  # SQLITE_NOTADB
    778: StoreFull,  # SQLITE_IOERR_WRITE
    4874: StoreFull,  # SQLITE_IOERR_SHMSIZE
}
_CORRUPT_VTAB = 267
_CATALOG_LOST = re.compile(
    r"no such table: (main\.)?(audit_catalog|audit_patterns|audit_counts|search_index\w*)$"
    r"|invalid fts5 file format"
)
"""SQLite has no code of their own for what is missing of the catalog."""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def first_failure(error: BaseException) -> BaseException:
    """The first driver error in the chain of `error`.

    Peewee's own roll-back fails once SQLite has ended the transaction, and masks the cause.
    """
    wrapped = (peewee.PeeweeException,)
    return [error, *(found for found in _chain(error) if isinstance(found, wrapped))][-1]


def sqlite_code(error: BaseException) -> int | None:
    """The extended SQLite result code behind `error`: that of the first failure in its chain."""
    code: int | None = None
    for found in _chain(error):
        for candidate in (found, *found.args[:1]):
            value = getattr(candidate, "sqlite_errorcode", None)
            code = value if isinstance(value, int) else code
    return code


def os_error(error: OSError, path: object, what: str) -> StoreError:
    """The store's own error for a file that could not be `what` ("stored", "opened", …)."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        kind: type[StoreError] = StoreFull
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        kind = ReadOnlyStore
    else:
        kind = StoreError
    reason = error.strerror or str(error)
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        reason = "there is a link or a file where a folder should be"
    found = kind(f"{path}: cannot be {what}: {reason}")
    found.__cause__ = error
    return found


def store_error(
    error: BaseException, where: str = "", *, reading: bool = False
) -> StoreError | None:
    """The store's own error for a driver error with a known cause, or None."""
    if isinstance(error, StoreError):
        return error
    if not isinstance(error, DRIVER_ERRORS):
        return None
    code = sqlite_code(error)
    if code is None:
        # The driver's own, without a code: what the file has for a text is none.
        if "Could not decode to UTF-8" not in str(error):
            return None
        code = 11
    if code == _CORRUPT_VTAB or _CATALOG_LOST.match(str(error)):
        hint = (
            "the search or the counts are damaged, `veritas-peewee verify --fix` makes them again"
        )
        found: StoreError = DatabaseCorrupt(f"{where + ': ' if where else ''}{hint} ({error})")
        found.__cause__ = error
        return found
    kind = _BY_CODE.get(code) or _BY_CODE.get(code & 0xFF)
    if kind is None:
        if code & 0xFF not in (10, 14):  # SQLITE_IOERR, SQLITE_CANTOPEN
            return None
        # SQLite does not tell a file system that is read-only from a folder that is missing.
        folder = os.path.dirname(where)
        sealed = code & 0xFF == 14 and os.path.isdir(folder) and not os.access(folder, os.W_OK)
        kind = ReadOnlyStore if sealed else StoreError
    if kind is ReadOnlyStore and reading:
        return ReadOnlyStore("a read may not write: use `store.write` for this")
    default = (kind.__doc__ or "").strip()
    found = kind(f"{where + ': ' if where else ''}{default} (SQLite: {error})")
    found.__cause__ = error
    return found
