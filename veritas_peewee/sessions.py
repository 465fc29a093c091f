"""Which processes are alive: a locked file for each one that runs audits.

The kernel drops the lock the moment a process dies, however it dies, so a lock that can be taken
is proof of death; a process id is not (it is reused, and means nothing in another container).
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path


class Session:
    """This connection's proof of life, begun when it is first needed."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._id: str | None = None
        self._handle = -1

    @property
    def id(self) -> str:
        """The session's id; asking for it the first time begins the session."""
        if self._id is None:
            self._id = self._begin()
        return self._id

    def _begin(self) -> str:
        name = secrets.token_hex(8)
        if self.folder is None:
            return name
        hidden = self.folder / f".{name}"
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
        while True:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            try:
                self._handle = os.open(hidden, flags, 0o600)
            except FileNotFoundError:
                continue  # the last session of another process has just tidied the folder away
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX)
                os.write(self._handle, f"{socket.gethostname()} {os.getpid()}\n".encode())
                # Named only once it is locked: nobody can find it free while its owner lives.
                hidden.rename(self.folder / name)
            except FileNotFoundError:
                os.close(self._handle)  # swept away in the moment before it was locked
            except BaseException:
                os.close(self._handle)
                self._handle = -1
                raise
            else:
                return name

    def close(self) -> None:
        if self._handle >= 0 and self.folder is not None and self._id is not None:
            forget(self.folder, self._id)
            os.close(self._handle)
        self._handle, self._id = -1, None


def is_alive(folder: Path | None, session: str) -> bool:
    """Whether the process that began `session` still runs."""
    if folder is None:
        return False
    try:
        handle = os.open(folder / session, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def sweep(folder: Path | None) -> None:
    """Remove the files of dead sessions."""
    names = os.listdir(folder) if folder is not None and folder.is_dir() else []
    for name in names:
        if not is_alive(folder, name):
            forget(folder, name)


def forget(folder: Path | None, session: str) -> None:
    """Remove an ended session's file, and the folder with the last one."""
    if folder is not None:
        (folder / session).unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()
