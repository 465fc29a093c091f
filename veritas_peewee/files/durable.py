"""Files and folders that appear under their names only when they are whole and on disk."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from veritas_peewee.files.platform import (
    Folder,
    create_or_empty,
    create_private,
    flush_disks,
    lock,
    lock_folder,
    sync,
    try_lock_file,
    try_lock_folder,
)

_PARTIAL_FOLDER = re.compile(r"\..+\.[0-9a-f]{16}\.partial")


# Earlier versions put the image's own name in the middle.
_TEMPORARY = re.compile(r"\.([0-9a-f]{16}|\d{3,}-.+\.(png|jpg|webp))\.tmp")


def write_whole(folder: Folder, name: str, data: bytes) -> None:
    """Write a file in an open folder, replacing a file of that name; it is on disk on return.

    Until it is whole it has a name that nobody else has: what a killed process left is in nobody's
    way. Raises OSError.
    """
    temporary = f".{os.urandom(8).hex()}.tmp"
    try:
        with open(folder.create(temporary), "wb") as file:
            file.write(data)
            _sync_open(file)
        folder.rename(temporary, name)
        folder.sync()
    except BaseException:
        with suppress(OSError):
            folder.remove(temporary)
        raise


def is_temporary(name: str) -> bool:
    """Whether a file has a name that only files which are being written have."""
    return _TEMPORARY.fullmatch(name) is not None


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, and its folders, without waiting for the disk."""
    _make_private(path.parent)
    with open(create_or_empty(path), "wb") as file:
        file.write(data)


def _make_private(folder: Path) -> None:
    if not folder.is_dir():
        _make_private(folder.parent)
        folder.mkdir(mode=0o700)


def _sync_open(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


# ---- a new file ----


@contextmanager
def appearing(path: Path, partial: Path) -> Iterator[None]:
    """A new empty file `partial`, for its owner alone, that is named `path` when the block ends.

    By then it is on disk. If the block fails, nothing is left of it. Raises FileExistsError if
    `path` exists at the end: no file is replaced.
    """
    os.close(create_private(partial))
    with _named_at_the_end(partial, path):
        yield
        sync(partial)


@contextmanager
def appearing_stream(path: Path) -> Iterator[BinaryIO]:
    """As `appearing`, with the new file open for writing, under a name that nobody else has.

    The process that writes it holds it locked. A file of this name that is not locked was left by a
    process that was killed; such files are removed first.
    """
    beginning = f".{path.name[:200]}."
    left = re.compile(rf"{re.escape(beginning)}[0-9a-f]{{8}}\.partial")
    for entry in _entries(path.parent, left):
        if (dead := try_lock_file(entry)) is not None:
            with suppress(OSError):
                os.unlink(entry)
            os.close(dead)
    handle, partial = -1, path
    while handle < 0 or not os.path.lexists(
        partial
    ):  # removed as a dead one's before it was locked
        if handle >= 0:
            os.close(handle)
        partial = path.with_name(f"{beginning}{os.urandom(4).hex()}.partial")
        handle = create_private(partial)
        with suppress(OSError):  # a file system without locks: then nobody takes it for dead either
            lock(handle)
    with _named_at_the_end(partial, path), open(handle, "wb") as file:
        yield file
        _sync_open(file)


@contextmanager
def _named_at_the_end(partial: Path, path: Path) -> Iterator[None]:
    try:
        yield
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        os.rename(partial, path)
        sync(path.parent)
    finally:
        with suppress(OSError):
            os.unlink(partial)


# ---- a folder in the making ----


@contextmanager
def appearing_folder(path: Path) -> Iterator[Path]:
    """A new private folder that is named `path` when the block ends, with its contents on disk.

    If the block fails, nothing is left of it. Raises OSError if `path` exists at the end.
    """
    with partial_folder(path) as folder:
        yield folder
        _sync_all(folder)
        # A rename replaces neither a folder that is not empty nor a file.
        os.rename(folder, path)
        sync(path.parent)


@contextmanager
def partial_folder(beside: Path) -> Iterator[Path]:
    """A private folder beside a path, to make something in; removed at the end if still there.

    The process that makes it holds it locked. An unlocked folder was left by a process that was
    killed; such folders are removed first.
    """
    for left in _entries(beside.parent, _PARTIAL_FOLDER):
        with _claimed(left) as dead:
            # We hold its lock now. If another process is just making it, that one notices and
            # makes another folder.
            if dead:
                shutil.rmtree(left, ignore_errors=True)
    handle = None
    while handle is None:
        folder = beside.with_name(f".{beside.name[:100]}.{os.urandom(8).hex()}.partial")
        folder.mkdir(mode=0o700)
        # Where folders cannot be locked, no process takes a folder for a dead one's either.
        handle = lock_folder(folder)  # None if another process has just removed it as a dead one's
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def leftovers(parent: Path) -> list[Path]:
    """The folders in `parent` that killed processes left unfinished."""
    found = []
    for folder in _entries(parent, _PARTIAL_FOLDER):
        with _claimed(folder) as dead:
            if dead:
                found.append(folder)
    return found


def _entries(parent: Path, names: re.Pattern[str]) -> list[Path]:
    try:
        return sorted(entry for entry in parent.iterdir() if names.fullmatch(entry.name))
    except OSError:
        return []


@contextmanager
def _claimed(folder: Path) -> Iterator[bool]:
    """Whether the process that made the folder is dead; if so, it is locked inside the block."""
    handle = try_lock_folder(folder)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            os.close(handle)


def _sync_all(folder: Path) -> None:
    """Wait until a folder with everything in it is on disk."""
    flush_disks()  # all at once takes a tenth of the time; the fsyncs after it report errors
    for at, _, files in os.walk(folder, topdown=False):
        for name in files:
            sync(Path(at, name))
        sync(Path(at))
