"""Every error the store raises.

StoreError
├── AuditNotFound     there is no audit with that id
├── InvalidAudit      a value cannot be stored (also a ValueError)
├── StoreClosed       the store is not open
├── StoreBusy         another process held the write lock past the timeout
├── StoreFull         the disk or a quota is full
├── ReadOnlyStore     the file, its folder, schema or connection does not allow writing
├── DatabaseCorrupt   the file is damaged or is not a database
├── SchemaTooNew      a newer version of this library wrote the file
├── StoreMoved        the file, or its WAL, is no longer the one that is open
├── ScreenshotNotFound  there is no such screenshot, or its image is gone
├── StaleToken        the event of a token is not in this store's history
├── NotProven         a proof, signature or time stamp does not prove what it should
├── NoDatabase        a query ran where no database is open (also a RuntimeError)
└── WriteUndone       another write ended the transaction; this one was not saved

A class's docstring is its default message, which users read. It is assigned, because `python -OO`
drops all docstrings that are not.
"""

from __future__ import annotations


class StoreError(Exception):
    __doc__ = "The store could not do this."

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or meaning(type(self)))


def meaning(kind: type[BaseException]) -> str:
    """The default message of a class of errors, on one line: its docstring, or else that of a class
    above it."""
    texts = [one.__doc__ for one in kind.__mro__ if one.__doc__]
    return " ".join((texts[0] if texts else kind.__name__).split())


class AuditNotFound(StoreError):
    __doc__ = "There is no such audit."


class InvalidAudit(StoreError, ValueError):
    __doc__ = "A value cannot be stored."


class StoreClosed(StoreError):
    __doc__ = "The store is closed: open it with `async with AuditStore.open() as store`."


class StoreBusy(StoreError):
    __doc__ = "Another process held the write lock for longer than the timeout; nothing was saved."


class StoreFull(StoreError):
    __doc__ = "The disk or a quota is full; nothing was saved."


class ReadOnlyStore(StoreError):
    __doc__ = "The database cannot be written."


class DatabaseCorrupt(StoreError):
    __doc__ = "The file is damaged or is not a SQLite database."


class SchemaTooNew(StoreError):
    __doc__ = "A newer version of veritas-peewee wrote this file; upgrade the library to open it."


class StoreMoved(StoreError):
    __doc__ = "The file or its WAL is no longer the one that is open; later writes are not in it."

    written = False
    """Whether the write that met it may have been made, in a file that has lost its name."""


class StaleToken(StoreError):
    __doc__ = "The event of this token is not in this store's history: begin again."


class ScreenshotNotFound(StoreError):
    __doc__ = "There is no such screenshot, or its image is gone."


class NotProven(StoreError):
    __doc__ = "A proof, signature or time stamp does not prove what it should."


class NoDatabase(StoreError, RuntimeError):
    __doc__ = "No database is open here."


class WriteUndone(StoreError):
    __doc__ = "Another write ended the transaction; this one was not saved and may be tried again."
