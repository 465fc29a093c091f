"""What a backup and a restore have in common: copies that get their name once they are whole."""

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
"""Pages that are copied in one step; between two steps other threads run and progress is shown."""

Progress = Callable[[str, int, int], object]
"""Called with the part of the work, how much of it is done, and of how much."""

# pysqlite3's backup gives its errors no code.
_BY_TEXT: dict[str, type[StoreError]] = {
    "database or disk is full": StoreFull,
    "database disk image is malformed": DatabaseCorrupt,
    "file is not a database": DatabaseCorrupt,
}
_PARTIAL = re.compile(r"\..+\.[0-9a-f]{16}\.partial")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def time_stamp() -> str:
    """Now in UTC, for a file's name."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def layout(folder: Path) -> Location:
    """Where the database and the images are in a backup's folder."""
    return Location(folder / DATABASE, folder / SCREENSHOTS)


def sync(path: Path) -> None:
    """Wait until a file or folder is on disk (fsync)."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_all(folder: Path) -> None:
    """Wait until a folder with everything in it is on disk."""
    os.sync()  # all at once takes a tenth of the time; the fsyncs after it report errors
    for at, _, files in os.walk(folder, topdown=False):
        for name in files:
            sync(Path(at, name))
        sync(Path(at))


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, and its folders; without waiting for the disk."""
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
    """A private folder beside `target` in which to make it; removed at the end if still there.

    Its maker holds it locked (flock), so an unlocked one belongs to a process that was killed:
    those are removed first.
    """
    for left in _candidates(target.parent):
        with _claimed(left) as dead:
            # We hold its lock now. If it is just being made, its maker sees that and makes another.
            if dead:
                shutil.rmtree(left, ignore_errors=True)
    handle = -1
    while handle < 0:
        folder = target.with_name(f".{target.name[:100]}.{os.urandom(8).hex()}.partial")
        folder.mkdir(mode=0o700)
        handle = _locked(folder)  # negative if another process has just taken it for a dead one
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _locked(folder: Path) -> int:
    """A descriptor that holds the folder locked; -1 if the folder has been removed meanwhile."""
    try:
        handle = os.open(folder, _FOLDER)
    except FileNotFoundError:
        return -1
    with suppress(OSError):  # where folders cannot be locked, none is taken for a dead one either
        fcntl.flock(handle, fcntl.LOCK_EX)
    if folder.exists():
        return handle
    os.close(handle)
    return -1


def leftovers(parent: Path) -> list[Path]:
    """The folders in `parent` that killed backups and restores have left."""
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
    """Whether the folder's maker is dead; it stays locked by us inside the block."""
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
    """Open a database as it is, without upgrade or recovery, and make it the current one."""
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

    It reads in one transaction: without it SQLite starts the copy again at each write by others,
    and under load never ends. Writers are not held up; their WAL grows meanwhile.
    """
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))

    def advance(status: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress("database", total - remaining, total)

    try:
        with closing(driver.connect(target, isolation_level=None)) as copy:
            # An unfinished copy is thrown away, so it needs no journal, and one fsync at its end.
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA synchronous = OFF")
            source.raw.execute("BEGIN")
            try:
                source.raw.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
                source.raw.backup(copy, pages=STEP, progress=advance)
            finally:
                source.raw.execute("ROLLBACK")
            # A single file, without a WAL, also opens in a folder that cannot be written.
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
    """Raise the store's own errors for those of the system and of the driver."""
    try:
        yield
    except OSError as error:
        raise os_error(error, path, what) from error
    except DRIVER_ERRORS as error:
        raise (store_error(error, str(path)) or error) from error
