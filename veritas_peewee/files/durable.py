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
    lock_folder,
    sync,
    try_lock_folder,
)

_PARTIAL_FOLDER = re.compile(r"\..+\.[0-9a-f]{16}\.partial")


def write_whole(folder: Folder, name: str, data: bytes, temporary: str | None = None) -> None:
    """Write a file in an open folder, in place of any other of that name; on disk on return.

    `temporary` is the name it has meanwhile; if that is taken, FileExistsError.
    """
    temporary = temporary or f".{name}.tmp"
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


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, and its folders; without waiting for the disk."""
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

    By then it is on disk. If the block fails, nothing is left of it. FileExistsError if there is
    a file `path` at the end: no file is replaced.
    """
    os.close(create_private(partial))
    with _named_at_the_end(partial, path):
        yield
        sync(partial)


@contextmanager
def appearing_stream(path: Path) -> Iterator[BinaryIO]:
    """As `appearing`, with the new file open for writing, under a name that nobody else has."""
    partial = path.with_name(f".{path.name[:200]}.{os.urandom(4).hex()}.partial")
    handle = create_private(partial)
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
    """A new private folder that is named `path`, with all that is in it on disk, when the block
    ends; nothing is left of it if the block fails. OSError if `path` is there at the end."""
    with partial_folder(path) as folder:
        yield folder
        _sync_all(folder)
        # A rename replaces neither a folder that holds anything nor a file.
        os.rename(folder, path)
        sync(path.parent)


@contextmanager
def partial_folder(beside: Path) -> Iterator[Path]:
    """A private folder beside a path in which to make something; removed at the end if still there.

    Its maker holds it locked, so an unlocked one belongs to a process that was killed: those are
    removed first.
    """
    for left in _candidates(beside.parent):
        with _claimed(left) as dead:
            # We hold its lock now. If it is just being made, its maker sees that and makes another.
            if dead:
                shutil.rmtree(left, ignore_errors=True)
    handle = None
    while handle is None:
        folder = beside.with_name(f".{beside.name[:100]}.{os.urandom(8).hex()}.partial")
        folder.mkdir(mode=0o700)
        # Where folders cannot be locked, none is taken for a dead one either.
        handle = lock_folder(folder)  # None if another process has just taken it for a dead one
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def leftovers(parent: Path) -> list[Path]:
    """The folders in `parent` that were being made when their makers were killed."""
    found = []
    for folder in _candidates(parent):
        with _claimed(folder) as dead:
            if dead:
                found.append(folder)
    return found


def _candidates(parent: Path) -> list[Path]:
    try:
        return sorted(entry for entry in parent.iterdir() if _PARTIAL_FOLDER.fullmatch(entry.name))
    except OSError:
        return []


@contextmanager
def _claimed(folder: Path) -> Iterator[bool]:
    """Whether the folder's maker is dead; we hold the folder locked inside the block."""
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
