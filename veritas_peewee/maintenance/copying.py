"""What a backup and a restore are made of: copies that are not named before they are whole."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from veritas_peewee.config import DEFAULT_DATABASE, SCREENSHOTS, Location
from veritas_peewee.database.current import bound
from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.errors import DatabaseCorrupt, StoreError, StoreFull
from veritas_peewee.files.platform import os_error

DATABASE = os.path.basename(DEFAULT_DATABASE)
"""The database's name in a backup."""
STEP = 256
"""Pages that are copied before other threads and the progress have their turn."""

Progress = Callable[[str, int, int], object]
"""Called with what is being done, how much of it is done, and of how much."""

# pysqlite3's backup gives its errors no code.
_BY_TEXT: dict[str, type[StoreError]] = {
    "database or disk is full": StoreFull,
    "database disk image is malformed": DatabaseCorrupt,
    "file is not a database": DatabaseCorrupt,
}
_PARTIAL = re.compile(r"\..+\.[0-9a-f]{16}\.partial")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def time_stamp() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def layout(folder: Path) -> Location:
    """Where things are in a backup."""
    return Location(folder / DATABASE, folder / SCREENSHOTS)


def sync(path: Path) -> None:
    """Have a file or folder on disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_all(folder: Path) -> None:
    """Have a folder with all that is in it on disk."""
    os.sync()  # at once what would take ten times as long one by one; what follows is the proof
    for at, _, files in os.walk(folder, topdown=False):
        for name in files:
            sync(Path(at, name))
        sync(Path(at))


def write_private(path: Path, data: bytes) -> None:
    """Write a file in a folder that is our own; not yet on disk for good."""
    _make_private(path.parent)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)


def _make_private(folder: Path) -> None:
    if not folder.is_dir():
        _make_private(folder.parent)
        folder.mkdir(mode=0o700)


# ---- a folder in the making ----


@contextmanager
def partial(target: Path) -> Iterator[Path]:
    """A private folder beside `target` to make it in; what is left of it is removed at the end.

    Its lock says that its maker lives: what the dead have left is removed first.
    """
    for left in _candidates(target.parent):
        with _claimed(left) as dead:
            if dead:  # and locked meanwhile: one that is just being made could look dead too
                shutil.rmtree(left, ignore_errors=True)
    handle = -1
    while handle < 0:
        folder = target.with_name(f".{target.name[:100]}.{os.urandom(8).hex()}.partial")
        folder.mkdir(mode=0o700)
        handle = _locked(folder)  # unless another has swept it away just now
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _locked(folder: Path) -> int:
    try:
        handle = os.open(folder, _FOLDER)
    except FileNotFoundError:
        return -1
    with suppress(OSError):  # a file system without locks on folders: then nobody sweeps either
        fcntl.flock(handle, fcntl.LOCK_EX)
    if folder.exists():
        return handle
    os.close(handle)
    return -1


def leftovers(parent: Path) -> list[Path]:
    """The folders in `parent` that backups and restores have left which were killed."""
    found = []
    for folder in _candidates(parent):
        with _claimed(folder) as dead:
            if dead:
                found.append(folder)
    return found


def _candidates(parent: Path) -> list[Path]:
    try:
        return sorted(entry for entry in parent.iterdir() if _PARTIAL.fullmatch(entry.name))
    except OSError:
        return []


@contextmanager
def _claimed(folder: Path) -> Iterator[bool]:
    """Whether nobody is at work in the folder, and nobody can begin to."""
    try:
        handle = os.open(folder, _FOLDER)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


# ---- databases and images ----


@contextmanager
def opened(database: SqliteStore) -> Iterator[SqliteStore]:
    """A database as it is, not upgraded and not recovered, as the current one."""
    try:
        database.connect()
        with bound(database):
            yield database
    except DRIVER_ERRORS as error:
        raise (store_error(error, database.location.name) or error) from error
    finally:
        database.close()


def copy_database(source: SqliteStore, target: Path, progress: Progress | None) -> int:
    """Copy a database that is open, as it is at this moment, to a new file; returns its bytes.

    Within one read transaction: without it SQLite begins again at each write by others, and
    under load never ends. Writers are not held up; their WAL grows meanwhile.
    """
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))

    def told(status: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress("database", total - remaining, total)

    try:
        with closing(driver.connect(target, isolation_level=None)) as copy:
            # A copy that is not whole is thrown away: it needs no journal, and one sync at its end.
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA synchronous = OFF")
            source.raw.execute("BEGIN")
            try:
                source.raw.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
                source.raw.backup(copy, pages=STEP, progress=told)
            finally:
                source.raw.execute("ROLLBACK")
            # So that a copy is one file, which opens wherever it is, also where none can be made.
            copy.execute("PRAGMA journal_mode = DELETE")
    except DRIVER_ERRORS as error:
        where = f"{source.location.name} to {target.parent.parent}"
        kind = _BY_TEXT.get(str(error))
        raise (
            store_error(error, where)
            or (kind and kind(f"{where}: {kind.__doc__} (SQLite: {error})"))
            or error
        ) from error
    sync(target)
    return target.stat().st_size


@contextmanager
def typed(path: Path, what: str) -> Iterator[None]:
    """The store's own errors for what goes wrong with files and databases."""
    try:
        yield
    except OSError as error:
        raise os_error(error, path, what) from error
    except DRIVER_ERRORS as error:
        raise (store_error(error, str(path)) or error) from error
