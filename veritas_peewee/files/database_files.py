"""The file of a database, as a file: made, recognised again, and not inherited by a fork.

SQLite opens the file and its WAL once and never looks again at their names. If one of them loses
its name (removed, moved, replaced), writing goes on into a file that nobody will ever open.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from weakref import WeakValueDictionary

from veritas_peewee.errors import StoreError, StoreMoved
from veritas_peewee.files.database_path import (
    check_not_emptied,
    check_one_name,
    create_empty,
    identity_or_none,
)
from veritas_peewee.files.platform import (
    Identity,
    identity_of,
    in_place,
    os_error,
    share_bytes,
    sync,
)

FRESH = 0.02
"""Seconds for which a look at the paths also serves the write that begins next."""
_HINT = "; does anything in this process open it with another copy of SQLite?"
# The bytes that each connection to a file locks, https://sqlite.org/src/file/src/os.h: who has
# them for itself alone is the last one, and takes the WAL away when it closes.
_SHARED_FIRST, _SHARED_SIZE = 0x40000002, 510

_open: Counter[tuple[int, Identity]] = Counter()
"""How many connections to a file are open, by process (this one, or the one it was forked from)."""
_watched: WeakValueDictionary[int, DatabaseFile] = WeakValueDictionary()
"""The files whose WAL is known, of the connections that are open."""
_logger = logging.getLogger("veritas_peewee")


class DatabaseFile:
    """One connection's view of its file; `path` is None for a database in memory."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.one_name = True
        """Whether a file with a second name is refused."""
        self.process = os.getpid()
        self.identity: Identity | None = None
        self._wal_is_named = False
        self.wal: Identity | None = None
        self.moved = False
        """Whether the last look found another file, or none, at one of the two paths."""
        self._path, self._wal_path = str(path), f"{path}-wal"
        self._are_in_place: Callable[[], bool] | None = None
        self._still_uses_wal: Callable[[], bool] = lambda: True
        self.looked = 0.0
        """When both were last seen in their places, by `perf_counter`."""

    def prepare(self, *, create: bool) -> None:
        """Check the file before it is opened; with `create` make it if it is missing.

        Raises StoreError for a missing file, one with a second name, or one that was open before a
        fork, StoreMoved for one that this process has open without its WAL, DatabaseCorrupt for an
        emptied one, and OSError.
        """
        if self.path is None:
            return
        check_not_emptied(self.path)
        if create:
            create_empty(self.path)
        elif not self.path.is_file():
            raise StoreError(f"{self.path}: there is no such database")
        self.identity = identity_of(self.path)
        if self.one_name:
            check_one_name(self.path, self.identity)
        self._check_not_inherited(self.identity)
        self._check_others_here(self.identity)

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

    def _check_others_here(self, identity: Identity) -> None:
        """Raise StoreMoved if this process has another file open by this path, or this file with
        another WAL: SQLite would share one index between two WALs, or the WAL between two files."""
        wal = identity_or_none(self._wal_path)
        for reference in _watched.valuerefs():
            other = reference()
            if (
                other is not None
                and other.process == self.process
                and (other.path == self.path or other.identity == identity)
                and (other.identity, other.wal) != (identity, wal)
            ):
                raise StoreMoved(
                    f"{self.path}: this process has it open as {other.path}, and since then the "
                    "file or its WAL was removed, moved or replaced: close it there first"
                )

    def opened(self) -> None:
        """Count a connection that was opened."""
        if self.identity is not None:
            _open[self.process, self.identity] += 1

    def closed(self) -> None:
        """Count a connection that was closed."""
        if self.identity is not None:
            _open[self.process, self.identity] -= 1
        _watched.pop(id(self), None)
        self.wal = self._are_in_place = None

    # ---- is it still the one that is open? ----

    def watch(self, still_uses_it: Callable[[], bool], *, writes: bool) -> None:
        """Remember which WAL belongs to the connection, once it has read in WAL mode.

        Until the connection is closed, SQLite leaves the WAL where it is, unless `still_uses_it`
        returns false: the connection has left WAL mode itself.
        """
        if self.path is None:
            return
        self.wal = identity_or_none(self._wal_path)
        self._still_uses_wal = still_uses_it
        if self.identity is not None and self.wal is not None:
            if writes:
                files = (self._path, self.identity), (self._wal_path, self.wal)
                self._are_in_place = in_place(files)
            _watched[id(self)] = self

    def unwatch(self) -> None:
        """Forget the WAL: the connection leaves WAL mode, or is about to."""
        _watched.pop(id(self), None)
        self.wal = self._are_in_place = None
        self.moved = False

    def check_written(self) -> None:
        """Raise StoreMoved if what was just written is not in the file at the path.

        It takes a look or three at the file system; it is called before a write is acknowledged.
        """
        if self._are_in_place is not None:
            try:
                if self._are_in_place():
                    self.looked = perf_counter()
                    return
            except OSError:
                pass  # the closer look says which of them it is
            self._look_closer(": what was written since is not in it", written=True)

    def check_before_write(self) -> None:
        """Raise StoreMoved if a write would be lost; costs nothing just after the last check."""
        if self._are_in_place is not None and (self.moved or perf_counter() - self.looked > FRESH):
            self._look_closer(": nothing was written")

    def check_in_place(self) -> None:
        """Raise StoreMoved if the file was removed or replaced: others' writes never show here."""
        if self.path is not None and self.identity is not None:
            self._look_closer()

    def is_in_place(self) -> bool:
        """Whether the file and its WAL, where these are known, are the ones that are open."""
        return self.path is None or self.identity is None or self._difference() is None

    def _look_closer(self, so: str = "", *, written: bool = False) -> None:
        found = self._difference()
        if found is None:
            self.looked = perf_counter()
            if self.moved:
                self.moved = False
                _logger.warning("%s: is in its place again: writing goes on", self.path)
            return
        if self.wal is not None and not self._still_uses_wal():
            self.unwatch()
            return
        what, error = found
        if so and not self.moved:  # a reader's caller alone is concerned
            _logger.error("%s while it was open: nothing is written to it any more", what)
        self.moved = True
        hint = _HINT if so and "its WAL" in what else ""
        failure = StoreMoved(f"{what} while it was open{so}{hint}")
        failure.written = written
        raise failure from error

    def _difference(self) -> tuple[str, OSError | None] | None:
        """What is not as it was when the file was opened; None if all is."""
        for path, expected in ((self._path, self.identity), (self._wal_path, self.wal)):
            if expected is None:
                continue
            name = "the file" if path is self._path else "its WAL"
            try:
                if identity_of(path) != expected:
                    return f"{self.path}: {name} was replaced by another one", None
            except (FileNotFoundError, NotADirectoryError) as error:
                return f"{self.path}: {name} was removed", error
            except OSError as error:
                return f"{self.path}: {name} became invisible ({error.strerror})", error
        return None

    @contextmanager
    def closing(self, *, last: bool) -> Iterator[bool]:
        """Close a connection in the block, unless it gives False.

        The last connection to close copies the WAL into the file and removes what is at the WAL's
        path. If that is another WAL by now, or none, others may have written to the file since,
        and would be overwritten; so SQLite is made to believe that it is not the last one. A file
        that was moved itself SQLite leaves alone. With `last` false the connection cannot write,
        and so does none of this.
        """
        in_place = self.wal is None or self.is_in_place()
        if not last or in_place or identity_or_none(self._path) != self.identity:
            yield True
            return
        give_back = share_bytes(self._path, _SHARED_FIRST, _SHARED_SIZE)
        try:
            yield give_back is not None
        finally:
            if give_back is not None:
                give_back()

    def has_wal(self) -> bool:
        """Whether there is a WAL: once this connection is closed, others have the file open."""
        return self.path is not None and os.path.exists(self._wal_path)

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
