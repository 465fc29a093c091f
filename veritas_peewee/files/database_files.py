"""The file of a database, as a file: made, recognised again, and not inherited by a fork."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

from veritas_peewee.errors import DatabaseCorrupt, StoreError
from veritas_peewee.files.durable import make_folders
from veritas_peewee.files.platform import Identity, create_private, identity_of, os_error, sync

_open: Counter[tuple[int, Identity]] = Counter()
"""How many connections to a file are open, by process (this one, or the one it was forked from)."""


class DatabaseFile:
    """One connection's view of its file; `path` is None for a database in memory."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.process = os.getpid()
        self.identity: Identity | None = None
        self._wal_is_named = False

    def prepare(self, *, create: bool) -> None:
        """Check the file before it is opened; with `create` make it if it is missing.

        Raises StoreError for a missing file or one that was open before a fork, DatabaseCorrupt
        for an emptied one, and OSError.
        """
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
        """Raise StoreError if the file was open in the process that was forked.

        A fork copies SQLite's record of its locks, but not the locks: what the child then writes
        can be lost with the WAL when the parent closes the file.
        """
        for (process, other), count in _open.items():
            if count and process != self.process and other == identity:
                raise StoreError(
                    f"{self.path}: was open when this process was forked, and SQLite's locks do "
                    "not survive that: open it in a new process (spawn), or fork before it is "
                    "opened"
                )

    def opened(self) -> None:
        """Count a connection that was opened."""
        if self.identity is not None:
            _open[self.process, self.identity] += 1

    def closed(self) -> None:
        """Count a connection that was closed."""
        if self.identity is not None:
            _open[self.process, self.identity] -= 1

    def check_in_place(self) -> None:
        """Raise StoreError if the file was removed or replaced: others' writes never show here."""
        if self.path is None or self.identity is None:
            return
        try:
            found = identity_of(self.path)
        except OSError:
            found = None
        if found != self.identity:
            what = "removed" if found is None else "replaced by another one"
            raise StoreError(f"{self.path}: the file was {what} while it was open")

    def sync_commits(self, *, in_wal: bool) -> None:
        """Wait until the commits so far are on disk; StoreError if that cannot be said.

        `in_wal` says where commits go. If it is not the WAL, SQLite has synced the file itself, and
        what is left is that its journal is gone. The file is never opened for that: closing it
        again would drop the locks that SQLite has on it in this process.
        """
        if self.path is None:
            return
        wal = f"{self.path}-wal"
        try:
            if in_wal:
                sync(wal)
            # SQLite makes the WAL once, and leaves it while a connection is open.
            if not (in_wal and self._wal_is_named):
                sync(self.path.parent)
                self._wal_is_named = in_wal
        except OSError as error:
            raise os_error(error, wal if in_wal else self.path, "brought to disk") from error


def _check_not_emptied(path: Path) -> None:
    """Raise DatabaseCorrupt for an empty file with a WAL beside it: SQLite would take the file for
    a new store and discard the WAL."""
    with suppress(OSError):
        if os.path.getsize(path) == 0 and (size := os.path.getsize(f"{path}-wal")):
            raise DatabaseCorrupt(
                f"{path}: the database is empty, but {size} bytes of its WAL are there: it was "
                "cut; restore a backup, and keep both files until then"
            )


def _create(path: Path) -> None:
    """Create an empty file for its owner alone; SQLite gives its WAL the same mode."""
    make_folders(path.parent)
    try:
        os.close(create_private(path))
    except FileExistsError:
        if not path.is_file():
            raise OSError(f"{path} is not a file") from None
