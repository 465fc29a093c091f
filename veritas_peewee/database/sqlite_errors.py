"""SQLite's driver, and what its error codes mean for the store."""

from __future__ import annotations

import os
from types import ModuleType

import peewee

from veritas_peewee.errors import (
    DatabaseCorrupt,
    ReadOnlyStore,
    StoreBusy,
    StoreError,
    StoreFull,
)

driver: ModuleType = vars(peewee)["sqlite3"]
"""The driver that Peewee uses: two SQLite libraries on one file in one process lose locks."""

FOREIGN_KEY = 787
"""The code for a row whose parent is missing."""
CORRUPT = 11
CORRUPT_VIRTUAL_TABLE = 267

# The primary result codes, and two extended ones: a write refused by a quota, and no space for
# the index of the WAL.
_BY_CODE: dict[int, type[StoreError]] = {
    5: StoreBusy,  # SQLITE_BUSY
    6: StoreBusy,  # SQLITE_LOCKED
    8: ReadOnlyStore,  # SQLITE_READONLY
    CORRUPT: DatabaseCorrupt,
    13: StoreFull,  # SQLITE_FULL
    26: DatabaseCorrupt,  # SQLITE_NOTADB
    778: StoreFull,  # SQLITE_IOERR_WRITE
    4874: StoreFull,  # SQLITE_IOERR_SHMSIZE
}


def code_of(error: BaseException, default: int | None = None) -> int | None:
    """The extended result code that an exception itself carries."""
    for candidate in (error, *error.args[:1]):
        value = getattr(candidate, "sqlite_errorcode", None)
        default = value if isinstance(value, int) else default
    return default


def code_without(error: BaseException) -> int | None:
    """The code of an error to which the driver gives none."""
    # Of the driver's own: what the file has for a text is not one.
    return CORRUPT if "Could not decode to UTF-8" in str(error) else None


def kind_of(code: int, where: str) -> type[StoreError] | None:
    """The store's class for a code; None if it has no cause that is known."""
    kind = _BY_CODE.get(code) or _BY_CODE.get(code & 0xFF)
    if kind is None and code & 0xFF in (10, 14):  # SQLITE_IOERR, SQLITE_CANTOPEN
        # SQLite does not tell a file system that is read-only from a folder that is missing.
        folder = os.path.dirname(where)
        sealed = code & 0xFF == 14 and os.path.isdir(folder) and not os.access(folder, os.W_OK)
        kind = ReadOnlyStore if sealed else StoreError
    return kind
