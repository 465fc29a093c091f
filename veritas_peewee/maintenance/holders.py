"""Who has a database open: the sessions beside it, and on Linux every process that holds it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from veritas_peewee.config import Location
from veritas_peewee.database.current import bound
from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.errors import ReadOnlyStore, StoreBusy, StoreError, StoreFull
from veritas_peewee.files.sessions import is_alive
from veritas_peewee.maintenance.copying import opened

_PROCESSES = Path("/proc")


class Holder(NamedTuple):
    """A process that has a file open."""

    pid: int
    command: str


def holders(path: Path, found: os.stat_result | None = None) -> list[Holder]:
    """The processes that have the file open, this one too, as far as this user may know.

    `found` is the file if it is no longer the one at `path`. None are found outside Linux. The
    file itself is never opened: closing it again would drop SQLite's locks in this process.
    """
    with suppress(OSError):
        wanted = found or path.stat()
        file = (wanted.st_dev, wanted.st_ino)
        return [
            Holder(int(process.name), _command(process))
            for process in _PROCESSES.iterdir()
            if process.name.isdigit() and _has_open(process, path.name, file)
        ]
    return []


def _has_open(process: Path, name: str, file: tuple[int, int]) -> bool:
    with suppress(OSError), os.scandir(process / "fd") as handles:
        for handle in handles:
            with suppress(OSError):
                # Only what has the name is looked at: asking about any file can take long.
                if name in os.readlink(handle.path):
                    found = handle.stat()
                    if (found.st_dev, found.st_ino) == file:
                        return True
    return False


def _command(process: Path) -> str:
    with suppress(OSError):
        if words := (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0"):
            text = b" ".join(words).decode(errors="replace")
            return text or (process / "comm").read_text().strip()
    return "unknown"


def sessions(location: Location) -> Iterator[tuple[str, bool]]:
    """The sessions beside a database, and whether the process of each still lives."""
    folder = location.sessions
    if folder is not None:
        names: list[str] = []
        with suppress(OSError):
            names = os.listdir(folder)
        for name in sorted(names):
            yield name, is_alive(folder, name)


@contextmanager
def alone(location: Location, force: bool) -> Iterator[SqliteStore | None]:
    """The store that is there, held so that nobody else can open it; None if none can be read."""
    path = location.path
    assert path is not None
    if any(alive for _, alive in sessions(location)):
        raise StoreBusy(f"{path}: a process is running audits in it; stop it first")
    if not path.is_file():
        if os.path.lexists(path):
            raise StoreError(f"{path}: is not a file")
        yield None
        return
    database = SqliteStore(location, "script")
    try:
        try:
            with opened(SqliteStore(location, "viewer")) as looked_at:
                looked_at.get_tables()  # what is damaged loses its WAL to one that can write
            mode, inode = _hold(database), path.stat().st_ino
        except (*DRIVER_ERRORS, StoreError) as error:
            _not_alone(location, force, error)
            database.close()
            yield None
            return
        try:
            with bound(database):
                yield database
        except BaseException:
            # Not if it is replaced already: the WAL would be the new file's.
            if path.stat().st_ino == inode:
                database.raw.execute("ROLLBACK")
                database.raw.execute(f"PRAGMA journal_mode = {mode}")
            raise
    finally:
        database.close()


def _hold(database: SqliteStore) -> str:
    """Lock others out; returns the journal mode that the file had.

    It succeeds only for the one connection that the file has, of any process: the others hold a
    shared lock on it even while they are idle. What was in the WAL is in the file then.
    """
    database.connect()
    database.raw.execute("PRAGMA busy_timeout = 1000")
    (before,) = database.raw.execute("PRAGMA journal_mode").fetchone()
    (mode,) = database.raw.execute("PRAGMA journal_mode = DELETE").fetchone()
    if mode != "delete":
        raise StoreBusy
    database.raw.execute("BEGIN EXCLUSIVE")
    return str(before)


def _not_alone(location: Location, force: bool, error: Exception) -> None:
    failure = store_error(error, location.name)
    if isinstance(failure, StoreBusy):
        raise StoreBusy(f"{location.name}: somebody has it open; stop them first") from error
    if failure is None or isinstance(failure, ReadOnlyStore | StoreFull):
        raise failure or error
    # Damaged, so SQLite cannot tell who has it open.
    assert location.path is not None
    if others := [holder for holder in holders(location.path) if holder.pid != os.getpid()]:
        raise StoreBusy(
            f"{location.name}: process {others[0].pid} has it open; stop it first"
        ) from error
    if not force:
        raise StoreError(
            f"{location.name}: cannot be read, so it cannot be told whether it holds what the "
            f"backup does not; `--force` replaces it, and keeps it aside ({failure})"
        ) from error
