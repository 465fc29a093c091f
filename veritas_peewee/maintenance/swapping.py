"""A new file put in the place of a store's file, which is set aside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.errors import StoreBusy
from veritas_peewee.files.platform import (
    OPEN_KEEPS_NAME,
    FileState,
    Folder,
    holders,
    identity_of,
    rename,
    sync,
)
from veritas_peewee.maintenance.continuing import BESIDE
from veritas_peewee.maintenance.copying import DATABASE


def swap(new: Path, path: Path, aside: Path | None, old: SqliteStore | None) -> None:
    """Give the new file its name in one step; the old one has a second name by then.

    Where a file that is open cannot be replaced, our hold of the old one ends before. Whoever opens
    it then is in the way of the step, and who has written to it and closed it again has left its
    trace in the file.
    """
    held = _state(path) if OPEN_KEEPS_NAME and old is not None else None
    if held is not None and old is not None:
        old.close()
        with _of_nobody_else(path):
            rename(path, path)  # which fails while anybody has it open
    if aside is not None:
        for end in BESIDE:
            # SQLite would take a WAL that stays for that of the new file.
            if os.path.lexists(f"{path}{end}"):
                rename(f"{path}{end}", aside / f"{DATABASE}{end}")
    there = identity_of(path) if path.exists() else None
    if there is None or aside is None:
        _link(new, path)  # which fails if another process has made a file there
    else:
        _link(path, aside / DATABASE)
        with _of_nobody_else(path) if held is not None else nullcontext():
            rename(new, path)
        if held is not None and _state(aside / DATABASE)[:3] != held[:3]:
            rename(aside / DATABASE, path)
            raise StoreBusy(f"{path}: somebody has just written to it; stop them first")
        # A process that opened the old file just before waits for our lock; no other can now.
        if others := [one for one in holders(path, there) if one.pid != os.getpid()]:
            rename(aside / DATABASE, path)
            raise StoreBusy(f"{path}: process {others[0].pid} has just opened it; stop it first")
        sync(aside)
    sync(path.parent)


@contextmanager
def _of_nobody_else(path: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise StoreBusy(f"{path}: somebody has just opened it; stop them first") from error


def _state(path: Path) -> FileState:
    with Folder.open(path.parent, follow_links=True) as folder:
        return folder.state(path.name)


def _link(path: Path, other: Path) -> None:
    try:
        os.link(path, other)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        os.rename(path, other)
