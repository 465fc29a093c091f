"""Windows: folders by their paths, locks on bytes, files whose names stay while they are open.

What the functions promise, and what is different here, is said in `posix` and in GUARANTEES.md.
Longer than most modules, because no other may know this system.
"""

from __future__ import annotations

import msvcrt
import ntpath
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from errno import EACCES, EINVAL, ELOOP, ENOTDIR, EPIPE
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from veritas_peewee.files.identity import ChildProcess, FileState, Holder, Identity, identity_of

assert sys.platform == "win32"

OPEN_KEEPS_NAME: bool = True
HAS_MODES: bool = False  # who may use a file is in access lists, which nobody here looks at
TEMPORARY_VARIABLE = "TMP"
# Ctrl-C in the console is for this program; what it has started is told by this program.
NEW_GROUP: dict[str, Any] = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}

Result = TypeVar("Result")

_PLAIN = os.O_BINARY | os.O_NOINHERIT
_NEW = os.O_CREAT | os.O_EXCL | os.O_RDWR | _PLAIN

_LOCKED = 0x7FFF_FFFE
"""The byte by which a file is locked: nobody can read or write a locked byte, so it is one that no
file of ours has."""
_SESSION = 4095
"""The byte by which a session's file is locked, its last one: who can read it knows that it is not
locked, and is in nobody's way meanwhile, as one who tried to lock it would be."""
_LOOK_AGAIN = 0.01
_PATIENCE = 1.0
"""Seconds for which a file that somebody has open is tried again: whatever looks for viruses, or
makes an index, has each new file open for a moment."""

_STANDS_FOR_ANOTHER = 0x2000_0000  # in the tag of a link or a junction, not of a file in a cloud
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³]) *(\.|$)", re.IGNORECASE)
_NO_NAME = re.compile(r'[\x00-\x1f<>:"/\\|?*]|[. ]$')


def _check_name(name: str) -> None:
    """OSError for a name that no file can have here, or that means something else: a device, a
    stream of another file (`a.png:b`), the same name without the dots and spaces at its end."""
    if _NO_NAME.search(name) or _DEVICE.match(name):
        raise OSError(EINVAL, "Windows has no file of that name", name)


def _is_link(found: os.stat_result) -> bool:
    """Whether an entry is a link or a junction."""
    tag: int = getattr(found, "st_reparse_tag", 0)
    return stat.S_ISLNK(found.st_mode) or bool(tag & _STANDS_FOR_ANOTHER)


def _patiently(call: Callable[[], Result]) -> Result:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return call()
        except PermissionError:
            if time.monotonic() > until:
                raise
            time.sleep(_LOOK_AGAIN)


class Folder:
    """A folder, by its path: Windows opens nothing relative to a folder that is open.

    Each name is looked at before it is used: no link and no junction is followed, and none of
    another spelling. Whoever can replace a folder between the look and the use is not noticed,
    unless it is the file itself that was replaced.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, follow_links: bool = False, to_read: bool = False
    ) -> Self:
        text = os.path.abspath(path)
        _check_folder(os.stat(text) if follow_links else os.lstat(text), text)
        return cls(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def close(self) -> None:
        pass

    def _entry(self, name: str) -> str:
        _check_name(name)
        return os.path.join(self._path, name)

    def _found(self, name: str) -> os.stat_result:
        """What is at a name, whose spelling is its own: another in capitals, or a short one such as
        `IMAGES~1`, would give one file two names."""
        path = self._entry(name)
        found = os.lstat(path)
        if not _is_link(found) and os.path.basename(os.path.realpath(path)) != name:
            raise OSError(EINVAL, "it is there with another spelling", path)
        return found

    def folder(self, name: str, *, follow_links: bool = False, to_read: bool = False) -> Folder:
        if name == ".":
            return Folder(self._path)
        if name == "..":
            return Folder.open(os.path.join(self._path, name))
        _check_folder(self._found(name), name)
        return Folder(self._entry(name))

    def make_folder(self, name: str) -> None:
        os.mkdir(self._entry(name), 0o700)

    def names(self) -> list[str]:
        return os.listdir(self._path)

    def is_file(self, name: str) -> bool:
        found = self._found(name)
        return stat.S_ISREG(found.st_mode) and not _is_link(found)

    def state(self, name: str) -> FileState:
        found = self._found(name)
        # Windows has no time of the last change of an entry: its last one is that of its making.
        return FileState(
            (found.st_dev, found.st_ino), found.st_size, found.st_mtime_ns, found.st_ctime_ns
        )

    def open_to_read(self, name: str) -> int:
        return self._opened(name, os.O_RDONLY)

    def _opened(self, name: str, access: int) -> int:
        found = self._found(name)
        if _is_link(found):
            raise OSError(ELOOP, os.strerror(ELOOP), self._entry(name))
        if not stat.S_ISREG(found.st_mode):
            raise OSError(EINVAL, "it is not a regular file", self._entry(name))
        handle = os.open(self._entry(name), access | _PLAIN)
        if os.fstat(handle).st_ino != found.st_ino:  # it was replaced just now, maybe by a link
            os.close(handle)
            raise OSError(ELOOP, os.strerror(ELOOP), self._entry(name))
        return handle

    def create(self, name: str) -> int:
        return create_private(self._entry(name))

    def rename(self, name: str, new_name: str) -> None:
        rename(self._entry(name), self._entry(new_name))

    def link(self, name: str, other: Folder) -> None:
        if _is_link(self._found(name)):
            raise OSError(ELOOP, os.strerror(ELOOP), self._entry(name))
        os.link(self._entry(name), other._entry(name))

    def remove(self, name: str) -> None:
        self._found(name)
        _remove(self._entry(name))

    def remove_folder(self, name: str) -> None:
        os.rmdir(self._entry(name))

    def sync_file(self, name: str) -> None:
        handle = self._opened(name, os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def sync(self) -> None:
        """Nothing: Windows has no way to wait for the entries of a folder."""


def _check_folder(found: os.stat_result, name: str) -> None:
    if _is_link(found) or not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), name)


def create_private(path: str | os.PathLike[str]) -> int:
    """As in `posix`; who may use it is what the folder's access list passes on."""
    _check_name(os.path.basename(path))
    return os.open(path, _NEW, 0o600)


def create_or_empty(path: str | os.PathLike[str]) -> int:
    _check_name(os.path.basename(path))
    if os.path.lexists(path) and _is_link(os.lstat(path)):
        raise OSError(ELOOP, os.strerror(ELOOP), os.fspath(path))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _PLAIN, 0o600)


def new_locked(folder: Path, name: str, content: bytes) -> tuple[int, Identity]:
    # It has its name a moment before it is locked, for a file that is open cannot be renamed. In
    # that moment nobody knows the name, and nobody can remove the file.
    handle = create_private(folder / name)
    try:
        os.ftruncate(handle, _SESSION + 1)
        _lock(handle, _SESSION)
        os.write(handle, content[:_SESSION])
        return handle, identity_of(folder / name)
    except BaseException:
        os.close(handle)
        with suppress(OSError):
            os.unlink(folder / name)
        raise


def rename(path: str | os.PathLike[str], new_path: str | os.PathLike[str]) -> None:
    _check_name(os.path.basename(new_path))
    # A folder takes nothing's place, and FileExistsError says so.
    move = os.rename if os.path.isdir(path) else os.replace
    _patiently(lambda: move(path, new_path))


def _remove(path: str | os.PathLike[str]) -> None:
    _patiently(lambda: os.unlink(path))


def sync(path: str | os.PathLike[str]) -> None:
    if not os.path.isdir(path):
        # Windows writes nothing to disk for a handle that can only read.
        handle = os.open(path, os.O_RDWR | _PLAIN)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def flush_disks() -> None:
    """Nothing: Windows has no such call for everybody."""


def temporary_folder() -> Path:
    for name in ("TMP", "TEMP", "USERPROFILE"):
        folder = os.environ.get(name)
        if folder and os.path.isdir(folder):
            return Path(folder)
    return Path()


# ---- locks ----


def _lock(handle: int, byte: int) -> None:
    """Lock a byte that the file need not have; BlockingIOError if another handle has it locked."""
    position = os.lseek(handle, 0, os.SEEK_CUR)
    os.lseek(handle, byte, os.SEEK_SET)
    try:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    except PermissionError as error:
        raise BlockingIOError(EACCES, "another one has it locked") from error
    finally:
        os.lseek(handle, position, os.SEEK_SET)


def try_lock(handle: int) -> None:
    _lock(handle, _LOCKED)


def lock(handle: int) -> None:
    while True:  # `LK_LOCK` looks once a second, and gives up after ten
        with suppress(BlockingIOError):
            return try_lock(handle)
        time.sleep(_LOOK_AGAIN)


def try_lock_shared(handle: int) -> None:
    """BlockingIOError if a session's file is locked; nothing is locked by that."""
    os.lseek(handle, _SESSION, os.SEEK_SET)
    try:
        os.read(handle, 1)
    except PermissionError as error:
        raise BlockingIOError(EACCES, "another one has it locked") from error


class Held(NamedTuple):
    """A folder that is locked, by a file beside it: a folder has no bytes."""

    folder: Path
    handle: int
    is_ours: bool
    """Whether the file was made by who holds it."""


def _beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _open_beside(folder: Path) -> tuple[int, bool]:
    try:
        return os.open(_beside(folder), os.O_RDWR | _PLAIN), False
    except FileNotFoundError:
        return os.open(_beside(folder), os.O_RDWR | os.O_CREAT | _PLAIN, 0o600), True


def _remove_left(parent: Path) -> None:
    """Remove the files beside folders that are gone; one that is in use cannot be removed."""
    for entry in parent.glob(".*.partial.lock"):
        if not entry.with_suffix("").exists():
            with suppress(OSError):
                os.unlink(entry)


def lock_folder(path: Path) -> Held | None:
    _remove_left(path.parent)
    held = Held(path, *_open_beside(path))
    with suppress(OSError):  # a file system without locks
        lock(held.handle)
    if path.exists():
        return held
    let_go(held)
    return None


def try_lock_folder(path: Path) -> Held | None:
    with suppress(OSError):
        if not _is_link(os.lstat(path)):
            held = Held(path, *_open_beside(path))
            try:
                try_lock(held.handle)
            except OSError:
                os.close(held.handle)
            else:
                return held
    return None


def let_go(held: Held) -> None:
    os.close(held.handle)
    if held.is_ours or not held.folder.exists():
        with suppress(OSError):
            os.unlink(_beside(held.folder))


def try_lock_file(path: Path) -> int | None:
    with suppress(OSError):
        if stat.S_ISREG(os.lstat(path).st_mode):
            handle = os.open(path, os.O_RDWR | _PLAIN)
            try:
                try_lock(handle)
            except OSError:
                os.close(handle)
            else:
                return handle
    return None


def share_bytes(
    path: str | os.PathLike[str], start: int, length: int
) -> Callable[[], object] | None:
    """None: a file that SQLite has open is not replaced here."""
    return None


# ---- what is at a path ----


def in_place(files: Sequence[tuple[str, Identity]]) -> Callable[[], bool]:
    """As in `posix`; the time in a folder's entry says nothing here, so each file is looked at."""
    (first, its), (second, of_other) = files

    def are_in_place() -> bool:
        return identity_of(first) == its and identity_of(second) == of_other

    return are_in_place


def other_owner(path: str | os.PathLike[str]) -> int | None:
    """None: an owner has no number here."""
    return None


def open_to_others(path: str | os.PathLike[str]) -> str | None:
    """None: see HAS_MODES."""
    return None


def path_parts(path: str, base: str = "") -> tuple[str, list[str]]:
    """As in `posix`, for `C:\\a\\b.png`, `C:/a/b.png`, `a\\b.png` and `\\\\server\\share\\a.png`.

    Another machine is asked only if the working directory, or `base`, is there: to whoever a path
    names, Windows would show the user's credentials.
    """
    joined = ntpath.join(base, path)
    drive, rest = ntpath.splitdrive(joined)
    parts = [part for part in re.split(r"[\\/]", rest) if part not in ("", ".")]
    begins_at_root = rest[:1] in ("\\", "/")
    if drive and not begins_at_root:
        raise OSError(EINVAL, "a path on a drive must begin at its root", path)
    if not drive and not begins_at_root:
        return ".", parts
    if drive and drive[1] != ":":
        known = {ntpath.normcase(ntpath.splitdrive(one)[0]) for one in (os.getcwd(), base)}
        if ntpath.normcase(drive) not in known:
            raise OSError(EINVAL, "it is a device, or on another machine", path)
    return drive + "\\" if drive else "/", parts


def holders(path: Path, identity: Identity | None = None) -> list[Holder]:
    """None that can be named; but while anybody has the file open it cannot be replaced."""
    return []


def holders_of_removed(path: Path) -> list[Holder]:
    """None: a file that is open cannot be removed."""
    return []


# ---- processes ----


def words_of_command(text: str) -> list[str]:
    """As in `posix`, but a backslash is what it is in a path."""
    reader = shlex.shlex(text, posix=True, punctuation_chars=False)
    reader.whitespace_split, reader.commenters, reader.escape = True, "", ""
    return list(reader)


def is_closed_pipe(error: OSError) -> bool:
    return error.errno in (EPIPE, EINVAL)


def host_name() -> str:
    import socket  # for whoever runs audits only

    return socket.gethostname()


def after_fork_in_child(fn: Callable[[], object]) -> None:
    """Nothing: no process is forked."""


def has_pidfd() -> bool:
    return False


def end_group(leader: ChildProcess, *, kill: bool) -> None:
    """As in `posix`; to be killed is for the process alone, for nothing holds together what it has
    started."""
    if leader.returncode is not None:
        return  # its group is gone, and an event for one that is not there goes to everybody
    with suppress(ProcessLookupError, PermissionError):
        if kill:
            leader.kill()
            return
        try:
            os.kill(leader.pid, signal.CTRL_BREAK_EVENT)
        except OSError:  # this program has no console
            leader.terminate()


def group_is_there(leader: ChildProcess) -> bool:
    """False: see `end_group`."""
    return False
