"""Files and folders that appear under their names only when they are whole and on disk."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from veritas_peewee.files.platform import (
    OPEN_KEEPS_NAME,
    Folder,
    Held,
    create_or_empty,
    create_private,
    flush_disks,
    let_go,
    lock,
    lock_folder,
    rename,
    sync,
    try_lock_file,
    try_lock_folder,
)
from veritas_peewee.values.image_files import is_partial

# Earlier versions put the image's own name in the middle.
_TEMPORARY = re.compile(r"\.([0-9a-f]{16}|\d{3,}-.+\.(png|jpg|webp))\.tmp")

_UNFINISHED = r"\.[0-9a-f]{8}\.veritas\.partial"
"""How the name of a file in the making ends, of which only a lock says that it still is."""


def write_whole(folder: Folder, name: str, data: bytes) -> None:
    """Write a file in an open folder, replacing a file of that name; it is on disk on return.

    Until it is whole it has a name that nobody else has: what a killed process left is in nobody's
    way. Raises OSError.
    """
    temporary = f".{os.urandom(8).hex()}.tmp"
    try:
        write_new(folder, temporary, data)
        folder.rename(temporary, name)
        folder.sync()
    except BaseException:
        with suppress(OSError):
            folder.remove(temporary)
        raise


def write_once(folder: Folder, name: str, data: bytes) -> None:
    """Write a file in an open folder, under a name that is its own from the beginning; it is on
    disk on return.

    Nobody looks for it before, so it need not appear whole, and the disk is waited for once: to be
    renamed is one more thing that most file systems write down by itself. Raises FileExistsError if
    the name is taken, and OSError.
    """
    handle = folder.create(name)
    try:
        _write(handle, data)
        folder.sync()
    except BaseException:
        with suppress(OSError):
            folder.remove(name)
        raise


def write_new(folder: Folder, name: str, data: bytes) -> None:
    """Write a new file in an open folder; its content is on disk on return, but not its name.

    Raises FileExistsError if the name is taken, and OSError.
    """
    _write(folder.create(name), data)


def _write(handle: int, data: bytes) -> None:
    with open(handle, "wb") as file:
        file.write(data)
        _sync_open(file)


def make_folders(path: Path, *, mode: int = 0o777) -> None:
    """Make a folder, with this mode, and those above it that are missing; on disk on return."""
    if path.is_dir():
        return
    make_folders(path.parent)
    path.mkdir(mode=mode, exist_ok=True)
    with suppress(PermissionError):  # a folder that may be written but not read
        sync(path.parent)


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
def appearing_stream(path: Path, *, replace: bool = False) -> Iterator[BinaryIO]:
    """As `appearing`, with the new file open for writing, under a name that nobody else has.

    With `replace` it takes the place of a file of that name, and stays there whole even if its name
    cannot be brought to disk, of which OSError tells. The process that writes it holds it
    locked. A file with such a name that is not locked was left by a process that was killed; those
    in the same folder are removed first.
    """
    beginning = f".{path.name[:190]}."
    # Earlier versions left out whose it is, so that only of the same name it is known.
    left = re.compile(rf"\..+{_UNFINISHED}|{re.escape(beginning)}[0-9a-f]{{8}}\.partial")
    for entry in _entries(path.parent, left.fullmatch):
        if (dead := try_lock_file(entry)) is not None:
            if OPEN_KEEPS_NAME:
                os.close(dead)
            with suppress(OSError):
                os.unlink(entry)
            if not OPEN_KEEPS_NAME:
                os.close(dead)
    handle, partial = -1, path
    while handle < 0 or not os.path.lexists(
        partial
    ):  # removed as a dead one's before it was locked
        if handle >= 0:
            os.close(handle)
        partial = path.with_name(f"{beginning}{os.urandom(4).hex()}.veritas.partial")
        handle = create_private(partial)
        with suppress(OSError):  # a file system without locks: then nobody takes it for dead either
            lock(handle)
    with _named_at_the_end(partial, path, replace), open(handle, "wb") as file:
        yield file
        _sync_open(file)


@contextmanager
def _named_at_the_end(partial: Path, path: Path, replace: bool = False) -> Iterator[None]:
    try:
        yield
        if not replace:
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            _rename_durably(partial, path)
            return
        rename(partial, path)
        sync(path.parent)  # not taken back if that fails: there is no other one any more
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
        _rename_durably(folder, path)


def _rename_durably(partial: Path, path: Path) -> None:
    """Give a file or folder its name, on disk; if it cannot be brought to disk it is taken back."""
    rename(partial, path)
    try:
        sync(path.parent)
    except BaseException:
        rename(path, partial)
        raise


@contextmanager
def partial_folder(beside: Path) -> Iterator[Path]:
    """A private folder beside a path, to make something in; removed at the end if still there.

    The process that makes it holds it locked. An unlocked folder was left by a process that was
    killed; such folders are removed first.
    """
    for left in _entries(beside.parent, is_partial):
        with claimed(left) as dead:
            # We hold its lock now. If another process is just making it, that one notices and
            # makes another folder.
            if dead:
                shutil.rmtree(left, ignore_errors=True)
    folder, held = locked_folder(beside)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        let_go(held)


def locked_folder(beside: Path) -> tuple[Path, Held]:
    """A new private folder beside a path, and what holds it locked until `let_go`."""
    while True:
        folder = beside.with_name(f".{beside.name[:100]}.{os.urandom(8).hex()}.partial")
        folder.mkdir(mode=0o700)
        # Where folders cannot be locked, no process takes a folder for a dead one's either.
        held = lock_folder(folder)  # None if another process has just removed it as a dead one's
        if held is not None:
            return folder, held


def leftovers(parent: Path, beginning: str = "") -> list[Path]:
    """The folders in `parent` that killed processes left unfinished; by how their names begin."""
    found = []
    for folder in _entries(parent, is_partial):
        if not folder.name.startswith(beginning):
            continue
        with claimed(folder) as dead:
            if dead:
                found.append(folder)
    return found


def _entries(parent: Path, is_ours: Callable[[str], object]) -> list[Path]:
    try:
        return sorted(entry for entry in parent.iterdir() if is_ours(entry.name))
    except OSError:
        return []


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Whether the process that made the folder is dead; if so, it is locked inside the block."""
    held = try_lock_folder(folder)
    try:
        yield held is not None
    finally:
        if held is not None:
            let_go(held)


def sync_folders(folder: Path) -> None:
    """Wait until the names of everything in a folder are on disk."""
    flush_disks()
    for at, _, _ in os.walk(folder, topdown=False):
        sync(Path(at))


def _sync_all(folder: Path) -> None:
    """Wait until a folder with everything in it is on disk."""
    flush_disks()  # all at once takes a tenth of the time; the fsyncs after it report errors
    for at, _, files in os.walk(folder, topdown=False):
        for name in files:
            sync(Path(at, name))
        sync(Path(at))
