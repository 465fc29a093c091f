"""Which file it is that has a name, and the processes that have to do with files."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple, Protocol

Identity = tuple[int, int]
"""A file's device and inode, which no other file on this machine has at the same time."""


class FileState(NamedTuple):
    """Two equal states of a name are of one file, that was not written to in between."""

    identity: Identity
    size: int
    written: int
    changed: int


class Holder(NamedTuple):
    """A process that has a file open."""

    pid: int
    command: str


class ChildProcess(Protocol):
    """A process that this one has started."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


def is_regular(handle: int) -> bool:
    """Whether a descriptor is of a regular file."""
    return stat.S_ISREG(os.fstat(handle).st_mode)


def identity_of(path: str | os.PathLike[str]) -> Identity:
    """The identity of the file at a path; OSError if there is no file."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


def names_of(path: str | os.PathLike[str]) -> int:
    """How many names (hard links) the file at a path has; OSError if there is no file."""
    return os.stat(path).st_nlink
