"""Which processes are alive: each process that runs audits has a locked file.

The kernel drops the lock the moment a process dies, however it dies, so a lock that can be taken
is proof of death; a process id is not (it is reused, and means nothing in another container). A
file that cannot be looked at proves nothing, and one that is missing may have been removed by
somebody who tidies up: neither is death.
"""

from __future__ import annotations

import logging
import os
import re
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

from veritas_peewee.errors import StoreError
from veritas_peewee.files.platform import (
    OPEN_KEEPS_NAME,
    Folder,
    Identity,
    after_fork_in_child,
    host_name,
    identity_of,
    is_regular,
    new_locked,
    os_error,
    try_lock_shared,
)

_NAME = re.compile(r"[0-9a-f]{16}")
_HIDDEN = re.compile(r"\.[0-9a-f]{16}")
_begun: weakref.WeakSet[Session] = weakref.WeakSet()
_logged: set[Path] = set()
_logger = logging.getLogger("veritas_peewee")


class State(Enum):
    """What can be found out about the process that began a session."""

    ALIVE = "alive"
    DEAD = "dead"
    MISSING = "missing"
    """Its file is not there: its owner has ended it, or somebody else has removed the file."""
    UNKNOWN = "unknown"
    """Its file cannot be looked at."""


class Session:
    """A connection's proof that its process is alive: a file, made and locked when first needed."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._id: str | None = None
        self._handle = -1
        self._identity: Identity | None = None
        self._process = 0
        self._running: set[str] = set()

    @property
    def id(self) -> str:
        """The session's id, 16 hexadecimal digits; the first use of it begins the session.

        If its file has gone since, it is made again. Raises StoreError if it cannot be written.
        """
        if self._id is None:
            self._id = os.urandom(8).hex()
            try:
                self._make()
            except BaseException:
                self._id = None
                raise
        elif not self._is_there():
            self._make()
        return self._id

    def runs(self, audit_id: str) -> str:
        """Note that an audit runs in this session; returns the session's id, as `id` does."""
        session = self.id
        self._running.add(audit_id)
        return session

    def ran(self, audit_id: str) -> None:
        """Note that an audit no longer runs, if it ran in this session."""
        self._running.discard(audit_id)

    def keep(self) -> None:
        """Make the session's file again if somebody has removed it; failures are only logged."""
        if self._handle >= 0 and not self._is_there():
            try:
                self._make()
            except (OSError, StoreError) as error:
                _log_once(self.folder, f"a session's file is gone and cannot be made: {error}")

    def _is_there(self) -> bool:
        if self.folder is None or self._id is None or self._process != os.getpid():
            return True
        try:
            return identity_of(self.folder / self._id) == self._identity
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # it cannot be looked at, so it could not be made either

    def _make(self) -> None:
        if self.folder is None or self._id is None:
            return
        try:
            while not self._lock(self.folder, self._id):
                pass  # a sweep has removed the folder, or the file before it was locked
        except OSError as error:
            raise os_error(error, self.folder, "given a session") from error
        self._process = os.getpid()

    def _lock(self, folder: Path, name: str) -> bool:
        folder.mkdir(mode=0o700, exist_ok=True)
        told = f"{host_name()} {os.getpid()}\n".encode()
        try:
            handle, identity = new_locked(folder, name, told)
        except FileNotFoundError:
            return False
        if self._handle >= 0:
            os.close(self._handle)
        self._handle, self._identity = handle, identity
        _begun.add(self)
        return True

    def close(self, *, beside_others: bool = False) -> None:
        """End the session: release the lock and remove the file.

        If audits still run in it, and others have the database open, the file is left: for them a
        missing one would prove nothing. The next opening removes it.
        """
        if self._handle >= 0:
            if OPEN_KEEPS_NAME:
                os.close(self._handle)
            # A forked child has a copy of the handle, but the session is its parent's.
            if self._process == os.getpid() and self._id is not None:
                if not (beside_others and self._running):
                    _remove(self.folder, [self._id])
                _tidy(self.folder)
            if not OPEN_KEEPS_NAME:
                os.close(self._handle)
        self._handle, self._id, self._identity = -1, None, None
        self._running.clear()

    # ---- what is known of others ----

    def look(self, session: str) -> State:
        """What can be found out about the process that began `session`."""
        return look(self.folder, session)

    def leftovers(self) -> list[str]:
        """What dead sessions have left behind."""
        return leftovers(self.folder)

    def sweep(self, dead: Iterable[str]) -> None:
        """Remove what `leftovers` named."""
        sweep(self.folder, dead)


def _leave_to_parent() -> None:
    """Close a forked child's copies of the handles, which would hold the locks of a dead parent."""
    for session in _begun:
        if session._handle >= 0:
            os.close(session._handle)
            session._handle = -1


after_fork_in_child(_leave_to_parent)


def look(folder: Path | None, session: str) -> State:
    """What the sessions' folder shows of the process that began `session`."""
    # Any text can be in a database: only a name of the form that we give is used as a path.
    if not isinstance(session, str) or not _NAME.fullmatch(session):
        return State.DEAD
    if folder is None:
        return State.MISSING
    with _opened(folder) as opened:
        return opened if isinstance(opened, State) else _state(opened, session, folder)


def names(folder: Path | None) -> list[str]:
    """The sessions whose files are in the folder; OSError if that cannot be listed."""
    if folder is None:
        return []
    try:
        with Folder.open(folder) as opened:
            return sorted(name for name in opened.names() if _NAME.fullmatch(name))
    except FileNotFoundError:
        return []


def leftovers(folder: Path | None) -> list[str]:
    """The files of dead sessions, and those that were never finished."""
    found: list[str] = []
    with suppress(OSError):
        if folder is not None:
            with Folder.open(folder) as opened:
                found = [
                    name
                    for name in opened.names()
                    if (_NAME.fullmatch(name) or _HIDDEN.fullmatch(name))
                    and _state(opened, name, folder) is State.DEAD
                ]
    return found


def sweep(folder: Path | None, dead: Iterable[str]) -> None:
    """Remove the files of dead sessions, as `leftovers` named them, and the folder if empty."""
    _remove(folder, dead)
    _tidy(folder)


@contextmanager
def _opened(path: Path) -> Iterator[Folder | State]:
    """The folder itself, never one that a link leads to; else what that means for a session."""
    folder: Folder | State
    try:
        folder = Folder.open(path)
    except FileNotFoundError:
        folder = State.MISSING
    except OSError as error:
        folder = _unknown(path, error)
    try:
        yield folder
    finally:
        if isinstance(folder, Folder):
            folder.close()


def _state(folder: Folder, name: str, path: Path) -> State:
    try:
        # A lock that is shared lets two processes look at the same moment.
        handle = folder.open_to_read(name)
    except FileNotFoundError:
        return State.MISSING
    except OSError as error:
        return _unknown(path, error)
    try:
        if not is_regular(handle):
            return State.UNKNOWN
        try_lock_shared(handle)
    except BlockingIOError:
        return State.ALIVE
    except OSError as error:
        return _unknown(path, error)
    finally:
        os.close(handle)
    return State.DEAD


def _unknown(folder: Path, error: OSError) -> State:
    _log_once(folder, f"sessions cannot be looked at, so they count as alive: {error.strerror}")
    return State.UNKNOWN


def _log_once(folder: Path | None, text: str) -> None:
    if folder is not None and folder not in _logged:
        _logged.add(folder)
        _logger.warning("%s: %s", folder, text)


def _remove(path: Path | None, names: Iterable[str]) -> None:
    if path is not None:
        with suppress(OSError), Folder.open(path) as folder:
            for name in names:
                with suppress(OSError):
                    folder.remove(name)


def _tidy(folder: Path | None) -> None:
    if folder is not None:
        with suppress(OSError):
            folder.rmdir()
