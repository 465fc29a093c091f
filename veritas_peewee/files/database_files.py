"""The file of a database, as a file: made, recognised again, and not inherited by a fork."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

from veritas_peewee.errors import DatabaseCorrupt, StoreError
from veritas_peewee.files.platform import Identity, create_private, identity_of, sync

_open: Counter[tuple[int, Identity]] = Counter()
"""How many connections a process (this one, or its parent) has to a file."""


class DatabaseFile:
    """One connection's view of its file; `path` is None for a database in memory."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.process = os.getpid()
        self.identity: Identity | None = None

    def prepare(self, *, create: bool) -> None:
        """Before it is opened: StoreError for what must not be; with `create` it is there then."""
        if self.path is None:
            return
        _check_not_emptied(self.path)
        if create:
            _create(self.path)
        elif not self.path.is_file():
            raise StoreError(f"{self.path}: there is no such database")
        self.identity = identity_of(self.path)
        self._check_not_inherited(self.identity)

    def _check_not_inherited(self, identity: Identity) -> None:
        """A fork copies what SQLite knows of its locks, and not the locks: what the child then
        writes can be lost with the WAL when the parent closes the file."""
        for (process, other), count in _open.items():
            if count and process != self.process and other == identity:
                raise StoreError(
                    f"{self.path}: was open when this process was forked, and SQLite's locks do "
                    "not survive that: open it in a new process (spawn), or fork before it is "
                    "opened"
                )

    def opened(self) -> None:
        """A connection to it has been opened."""
        if self.identity is not None:
            _open[self.process, self.identity] += 1

    def closed(self) -> None:
        """A connection to it has been closed."""
        if self.identity is not None:
            _open[self.process, self.identity] -= 1

    def check_in_place(self) -> None:
        """StoreError if the file was removed or replaced: what others write never comes here."""
        if self.path is None or self.identity is None:
            return
        try:
            found = identity_of(self.path)
        except OSError:
            found = None
        if found != self.identity:
            what = "removed" if found is None else "replaced by another one"
            raise StoreError(f"{self.path}: the file was {what} while it was open")

    def sync_wal(self) -> None:
        """Have the commits so far on disk."""
        if self.path is not None:
            with suppress(OSError):
                sync(f"{self.path}-wal")


def _check_not_emptied(path: Path) -> None:
    """An empty file would be taken for a new store, and the WAL beside it be thrown away."""
    with suppress(OSError):
        if os.path.getsize(path) == 0 and (size := os.path.getsize(f"{path}-wal")):
            raise DatabaseCorrupt(
                f"{path}: the database is empty, but {size} bytes of its WAL are there: it was "
                "cut; restore a backup, and keep both files until then"
            )


def _create(path: Path) -> None:
    """Create an empty file for its owner alone; SQLite gives its WAL the same mode."""
    os.makedirs(path.parent, exist_ok=True)
    try:
        os.close(create_private(path))
    except FileExistsError:
        if not path.is_file():
            raise OSError(f"{path} is not a file") from None
