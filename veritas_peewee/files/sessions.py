"""Which processes are alive: each process that runs audits has a locked file.

The kernel drops the lock the moment a process dies, however it dies, so a lock that can be taken
is proof of death; a process id is not (it is reused, and means nothing in another container).
"""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from veritas_peewee.files.platform import (
    Folder,
    after_fork_in_child,
    create_private,
    host_name,
    is_regular,
    lock,
    os_error,
    try_lock,
)

_NAME = re.compile(r"\.?[0-9a-f]{16}")
_begun: weakref.WeakSet[Session] = weakref.WeakSet()


class Session:
    """A connection's proof that its process is alive: a file, made and locked when first needed."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._id: str | None = None
        self._handle = -1
        self._process = 0

    @property
    def id(self) -> str:
        """The session's id, 16 hexadecimal digits; the first use of it begins the session.

        Raises StoreError if the file cannot be written.
        """
        if self._id is None:
            self._id = self._begin()
        return self._id

    def _begin(self) -> str:
        name = os.urandom(8).hex()
        if self.folder is None:
            return name
        try:
            while not self._lock(self.folder, name):
                pass  # a sweep has removed the folder, or the file before it was locked
        except OSError as error:
            raise os_error(error, self.folder, "given a session") from error
        self._process = os.getpid()
        return name

    def _lock(self, folder: Path, name: str) -> bool:
        hidden = folder / f".{name}"
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            handle = create_private(hidden)
        except FileNotFoundError:
            return False
        try:
            lock(handle)
            os.write(handle, f"{host_name()} {os.getpid()}\n".encode())
            # Visible only once it is locked: nobody can find it unlocked while its owner lives.
            hidden.rename(folder / name)
        except BaseException as error:
            os.close(handle)
            with suppress(OSError):
                hidden.unlink()
            if isinstance(error, FileNotFoundError):
                return False
            raise
        self._handle = handle
        _begun.add(self)
        return True

    def close(self) -> None:
        """End the session: remove its file and release the lock."""
        if self._handle >= 0:
            # A forked child has a copy of the handle, but the session is its parent's.
            if self._process == os.getpid() and self._id is not None:
                with _opened(self.folder) as folder:
                    _forget(folder, self._id)
                _tidy(self.folder)
            os.close(self._handle)
        self._handle, self._id = -1, None


def _leave_to_parent() -> None:
    """Close a forked child's copies of the handles, which would hold the locks of a dead parent."""
    for session in _begun:
        if session._handle >= 0:
            os.close(session._handle)
            session._handle = -1


after_fork_in_child(_leave_to_parent)


def is_alive(folder: Path | None, session: str) -> bool:
    """Whether the process that began `session` still runs."""
    # Any text can be in a database: only a name of the form that we give is used as a path.
    if not isinstance(session, str) or not _NAME.fullmatch(session):
        return False
    with _opened(folder) as handle:
        return _is_locked(handle, session)


def sweep(folder: Path | None) -> None:
    """Remove the files of dead sessions, and the folder if it is then empty."""
    with _opened(folder) as handle:
        for name in () if handle is None else handle.names():
            if _NAME.fullmatch(name) and not _is_locked(handle, name):
                _forget(handle, name)
    _tidy(folder)


@contextmanager
def _opened(path: Path | None) -> Iterator[Folder | None]:
    """The folder itself, never one that a link leads to; None if it cannot be opened."""
    folder = None
    if path is not None:
        with suppress(OSError):
            folder = Folder.open(path)
    try:
        yield folder
    finally:
        if folder is not None:
            folder.close()


def _is_locked(folder: Folder | None, name: str) -> bool:
    if folder is None:
        return False
    try:
        handle = folder.open_to_lock(name)
    except PermissionError:
        return True  # another user's file, which we cannot test
    except OSError:
        return False
    try:
        if is_regular(handle):
            try_lock(handle)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _forget(folder: Folder | None, name: str) -> None:
    if folder is not None:
        with suppress(OSError):
            folder.remove(name)


def _tidy(folder: Path | None) -> None:
    if folder is not None:
        with suppress(OSError):
            folder.rmdir()
