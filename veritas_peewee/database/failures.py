"""The store's own errors, in place of a driver's."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import peewee

from veritas_peewee.database import postgres_errors, sqlite_errors
from veritas_peewee.errors import (
    DatabaseCorrupt,
    ReadOnlyStore,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreMoved,
    WriteUndone,
    meaning,
)

DRIVER_ERRORS = (peewee.PeeweeException, sqlite_errors.driver.Error)

OWN_ERRORS = frozenset(
    (StoreError, StoreBusy, StoreFull, StoreMoved, ReadOnlyStore, DatabaseCorrupt, WriteUndone)
)
"""The classes of errors that can report the failure of a whole transaction."""

Hint = Callable[[int, str], str | None]
"""Takes an error's code and text; returns a text that says what is damaged and how to mend it, or
None if the error has another cause."""

_hints: list[Hint] = []


def add_hint(hint: Hint) -> Hint:
    """Register `hint`, which explains the errors of a damaged part that can be made again."""
    _hints.append(hint)
    return hint


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        cause = error.__cause__
        # `raise error from error` makes an error its own cause.
        error = error.__context__ if cause is None or cause is error else cause


def first_failure(error: BaseException) -> BaseException:
    """The first driver error in the chain of `error`.

    Once SQLite has ended a transaction, Peewee's own roll-back fails too and masks the cause.
    """
    wrapped = (peewee.PeeweeException,)
    return [error, *(found for found in _chain(error) if isinstance(found, wrapped))][-1]


def error_code(error: BaseException) -> int | str | None:
    """The backend's code behind `error`: that of the first failure in its chain.

    SQLite's are numbers, a server's are texts (SQLSTATE).
    """
    code: int | None = None
    for found in _chain(error):
        code = sqlite_errors.code_of(found, code)
    return code if code is not None else postgres_errors.first_state(_chain(error))


def is_lost(error: BaseException) -> bool:
    """Whether an error says that the connection to a server has gone, or that there is none now."""
    code = error_code(error)
    return isinstance(code, str) and postgres_errors.is_loss(code)


def is_missing_parent(error: BaseException) -> bool:
    """Whether a row was refused because the row that its foreign key names does not exist."""
    return isinstance(error, peewee.IntegrityError) and error_code(error) in (
        sqlite_errors.FOREIGN_KEY,
        postgres_errors.FOREIGN_KEY,
    )


def is_duplicate(error: BaseException) -> bool:
    """Whether a row was refused because there is one with its key."""
    codes = (*sqlite_errors.DUPLICATES, postgres_errors.DUPLICATE)
    return isinstance(error, peewee.IntegrityError) and error_code(error) in codes


def is_of_the_data(error: BaseException) -> bool:
    """Whether a statement failed for what it found in the file, and not for want of a disk, a lock
    or memory."""
    code = error_code(error)
    if isinstance(code, str):
        return postgres_errors.is_of_the_data(code)
    if code is None:
        code = sqlite_errors.code_without(error)
    return code is not None and sqlite_errors.is_of_the_data(code)


def is_damage(error: BaseException) -> bool:
    """Whether a statement failed for what it found in the file, or because a page, a table's file
    or an index on a server is damaged."""
    code = error_code(error)
    damaged = isinstance(code, str) and postgres_errors.is_damage(code)
    return damaged or is_of_the_data(error)


def store_error(
    error: BaseException, where: str = "", *, reading: bool = False
) -> StoreError | None:
    """The store's own error for a driver error with a known cause, or None.

    The message begins with `where`, the path of the database; `reading` if a read has failed.
    """
    if isinstance(error, StoreError):
        return error
    if not isinstance(error, DRIVER_ERRORS):
        return None
    code = error_code(error)
    if code is None and (code := sqlite_errors.code_without(error)) is None:
        return None
    prefix = where + ": " if where else ""
    if isinstance(code, str):
        return _server_error(code, error, prefix, reading=reading)
    for hint in _hints:
        if text := hint(code, str(error)):
            found: StoreError = DatabaseCorrupt(f"{prefix}{text} ({error})")
            found.__cause__ = error
            return found
    kind = sqlite_errors.kind_of(code, where)
    return None if kind is None else _own(kind, error, prefix, "SQLite", reading)


def _server_error(
    state: str, error: BaseException, prefix: str, *, reading: bool
) -> StoreError | None:
    kind = postgres_errors.kind_of(state, reading=reading)
    if kind is None:
        return None
    told = str(error).partition("\n")[0]  # then come the statement, and advice for its author
    if (words := postgres_errors.words_of(state)) is None:
        return _own(kind, error, prefix, "PostgreSQL", reading, told)
    found = kind(f"{prefix}{words} (PostgreSQL: {told})")
    found.__cause__ = error
    return found


def _own(
    kind: type[StoreError],
    error: BaseException,
    prefix: str,
    backend: str,
    reading: bool,
    told: object = None,
) -> StoreError:
    if kind is ReadOnlyStore and reading:
        return ReadOnlyStore("a read may not write: use `store.write` for this")
    found = kind(f"{prefix}{meaning(kind)} ({backend}: {told or error})")
    found.__cause__ = error
    return found


def lacking(error: BaseException) -> str | None:
    """What the system did not give while a file was read: memory, descriptors, a permission, room
    for temporary files, a lock. None if `error` has another cause, such as the file itself."""
    from veritas_peewee.files.platform import NOT_OF_THE_FILE  # not for whoever opens no file

    for found in _chain(error):
        if isinstance(found, MemoryError):
            return "there is not enough memory"
        if isinstance(found, OSError) and found.errno in NOT_OF_THE_FILE:
            return found.strerror or str(found)
    code = error_code(error)
    if isinstance(code, int) and sqlite_errors.is_of_the_system(code):
        return f"SQLite: {first_failure(error)}"
    if isinstance(code, str) and postgres_errors.is_of_the_system(code):
        return f"PostgreSQL: {first_failure(error)}"
    return None
