"""What differs between POSIX and Windows: locks, folders, identities, forks, and their errors.

This is the only module that knows either system; all others call it. Longer than most, because no
other one may.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

from veritas_peewee.errors import ReadOnlyStore, StoreError, StoreFull

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# To go through a folder, or to read a file in it, takes no permission to list it.
_ON_THE_WAY = getattr(os, "O_PATH", getattr(os, "O_SEARCH", 0)) | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC

_STEP = 100_000_000  # nanoseconds; many times the step of the time in a folder's entry
_FLOCK = "hhqqi"  # struct flock: type, whence, start, length, process

# The errors of a path itself, or of the file or link that is there, and not of the disk.
OF_THE_PATH = (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL)

# The errors that say nothing about whether a file is there, or what is in it.
NOT_OF_THE_FILE = (
    errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN,
    errno.ENOSPC, errno.EDQUOT,
)  # fmt: skip


def os_error(error: OSError, path: object, what: str) -> StoreError:
    """The store's own error for a file that could not be `what` ("stored", "opened", …).

    It is a StoreFull, a ReadOnlyStore or a plain StoreError; its cause is `error`.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        kind: type[StoreError] = StoreFull
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        kind = ReadOnlyStore
    else:
        kind = StoreError
    found = kind(f"{path}: cannot be {what}: {reason_of(error)}")
    found.__cause__ = error
    return found


def reason_of(error: OSError) -> str:
    """The reason of an error of a file, in words."""
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "there is a link or a file where a folder should be"
    return error.strerror or str(error)


Identity = tuple[int, int]
"""A file's device and inode, which no other file on this machine has at the same time."""


class FileState(NamedTuple):
    """Two equal states of a name are of one file, that was not written to in between."""

    identity: Identity
    size: int
    written: int
    changed: int


class Folder:
    """An open folder, held by a descriptor; its methods raise OSError.

    A file that is reached through it is inside it, whatever paths are renamed or linked meanwhile.
    Names are the names of the folder's own entries; no link is followed.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, follow_links: bool = False, to_read: bool = False
    ) -> Self:
        """The folder at a path; if the path's last part is a link, only with `follow_links`.

        With `to_read` files and folders in it can be opened, and nothing else be done: it need not
        be one that may be listed.
        """
        return cls(os.open(path, _flags(follow_links, to_read)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it; may be called again."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def folder(self, name: str, *, follow_links: bool = False, to_read: bool = False) -> Folder:
        """A folder in it, as `open`."""
        return Folder(os.open(name, _flags(follow_links, to_read), dir_fd=self._handle))

    def make_folder(self, name: str) -> None:
        """Make a folder in it, for its owner alone."""
        os.mkdir(name, 0o700, dir_fd=self._handle)

    def names(self) -> list[str]:
        """The names of its entries."""
        return os.listdir(self._handle)

    def is_file(self, name: str) -> bool:
        """Whether an entry is a regular file; OSError if there is no such entry."""
        found = os.stat(name, dir_fd=self._handle, follow_symlinks=False)
        return stat.S_ISREG(found.st_mode)

    def state(self, name: str) -> FileState:
        """The state of an entry; OSError if there is no such entry."""
        found = os.stat(name, dir_fd=self._handle, follow_symlinks=False)
        return FileState(
            (found.st_dev, found.st_ino), found.st_size, found.st_mtime_ns, found.st_ctime_ns
        )

    def open_to_read(self, name: str) -> int:
        """A descriptor for reading an entry; to open a pipe or a device does not block."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(name, flags, dir_fd=self._handle)

    def open_to_lock(self, name: str) -> int:
        """A descriptor of a file in it that can be locked."""
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(name, flags, dir_fd=self._handle)

    def create(self, name: str) -> int:
        """A descriptor of a new file in it, for its owner alone."""
        return os.open(name, _NEW, 0o600, dir_fd=self._handle)

    def rename(self, name: str, new_name: str) -> None:
        """Give a file another name in it, replacing a file that has that name."""
        os.rename(name, new_name, src_dir_fd=self._handle, dst_dir_fd=self._handle)

    def link(self, name: str, other: Folder) -> None:
        """Give a file the same name in another folder of this file system."""
        os.link(
            name,
            name,
            src_dir_fd=self._handle,
            dst_dir_fd=other._handle,
            follow_symlinks=False,
        )

    def remove(self, name: str) -> None:
        """Remove a file from it."""
        os.unlink(name, dir_fd=self._handle)

    def remove_folder(self, name: str) -> None:
        """Remove an empty folder from it."""
        os.rmdir(name, dir_fd=self._handle)

    def sync_file(self, name: str) -> None:
        """Wait until the content of a file in it is on disk."""
        handle = self.open_to_read(name)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def sync(self) -> None:
        """Wait until its entries are on disk."""
        os.fsync(self._handle)


def _flags(follow_links: bool, to_read: bool) -> int:
    flags = _ON_THE_WAY if to_read else _FOLDER
    return flags if follow_links else flags | os.O_NOFOLLOW


def is_regular(handle: int) -> bool:
    """Whether a descriptor is of a regular file."""
    return stat.S_ISREG(os.fstat(handle).st_mode)


def create_private(path: str | os.PathLike[str]) -> int:
    """A descriptor of a new file, for its owner alone; FileExistsError if the name is taken."""
    return os.open(path, _NEW, 0o600)


def create_or_empty(path: str | os.PathLike[str]) -> int:
    """A descriptor of a file that is made, for its owner alone, or emptied if it exists."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def sync(path: str | os.PathLike[str]) -> None:
    """Wait until a file, or the entries of a folder, are on disk; OSError if that fails."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_disks() -> None:
    """Write everything to disk that the system still has in memory; errors are not reported."""
    os.sync()


def temporary_folder() -> Path:
    """The folder in which SQLite makes temporary files: sqlite.org/tempfiles.html, section 5."""
    named = [os.environ.get("SQLITE_TMPDIR"), os.environ.get("TMPDIR")]
    for name in (*named, "/var/tmp", "/usr/tmp", "/tmp"):
        if name and os.path.isdir(name) and os.access(name, os.W_OK | os.X_OK):
            return Path(name)
    return Path()


def lock(handle: int) -> None:
    """Lock an open file or folder, waiting for it; the kernel drops the lock with its process."""
    fcntl.flock(handle, fcntl.LOCK_EX)


def try_lock(handle: int) -> None:
    """Lock an open file or folder; BlockingIOError if another process has locked it."""
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def share_bytes(
    path: str | os.PathLike[str], start: int, length: int
) -> Callable[[], object] | None:
    """Share a lock on some bytes of a file, so that nobody can lock them for themselves, this
    process included; returns what gives it back, or None where the system has no such lock.

    The descriptor stays open for as long as the process lives: to close it would drop the locks
    that SQLite has on the file in this process.
    """
    of_descriptor = getattr(fcntl, "F_OFD_SETLK", None)  # Linux
    if of_descriptor is None:
        return None
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        shared = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, start, length, 0)
        unlocked = struct.pack(_FLOCK, fcntl.F_UNLCK, os.SEEK_SET, start, length, 0)
        fcntl.fcntl(handle, of_descriptor, shared)
        return partial(fcntl.fcntl, handle, of_descriptor, unlocked)
    return None


def try_lock_shared(handle: int) -> None:
    """Share a lock on an open file; BlockingIOError if another process has locked it for itself."""
    fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)


def lock_folder(path: Path) -> int | None:
    """A descriptor that holds a folder locked until it is closed; None if the folder is gone."""
    try:
        handle = os.open(path, _FOLDER | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with suppress(OSError):  # a file system without locks on folders
        lock(handle)
    if path.exists():
        return handle
    os.close(handle)
    return None


def try_lock_folder(path: Path) -> int | None:
    """A descriptor that holds a folder locked until it is closed; None if it cannot be locked."""
    return _try_lock_path(path, _FOLDER)


def try_lock_file(path: Path) -> int | None:
    """A descriptor that holds a file locked until it is closed; None if it cannot be locked."""
    return _try_lock_path(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def _try_lock_path(path: Path, flags: int) -> int | None:
    try:
        handle = os.open(path, flags | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        try_lock(handle)
    except OSError:
        os.close(handle)
        return None
    return handle


def identity_of(path: str | os.PathLike[str]) -> Identity:
    """The identity of the file at a path; OSError if there is no file."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


def in_place(files: Sequence[tuple[str, Identity]]) -> Callable[[], bool]:
    """A function that returns whether these two files of one folder are still at their paths.

    It is called for each write, so it looks at the folder alone where that is enough: whatever
    removes, renames or replaces one of its files changes the time in the folder's own entry. That
    time advances in steps of some milliseconds, so it says nothing until it is older than that.
    The function raises OSError if the folder or a file is missing or cannot be seen.
    """
    (first, (device, number)), (second, (other_device, other_number)) = files
    folder, look = os.path.dirname(first), os.stat
    as_before: tuple[int, int, int] | None = None

    def are_in_place() -> bool:
        nonlocal as_before
        at = look(folder)
        now = at.st_ctime_ns, at.st_ino, at.st_dev
        if now == as_before:
            return True
        found, other = look(first), look(second)
        whether = (
            found.st_ino == number
            and other.st_ino == other_number
            and found.st_dev == device
            and other.st_dev == other_device
        )
        is_old = abs(time.time_ns() - at.st_ctime_ns) > _STEP
        as_before = now if whether and is_old else None
        return whether

    return are_in_place


def names_of(path: str | os.PathLike[str]) -> int:
    """How many names (hard links) the file at a path has; OSError if there is no file."""
    return os.stat(path).st_nlink


def other_owner(path: str | os.PathLike[str]) -> int | None:
    """The id of the user who owns a file; None if it is the user who runs this process."""
    owner = os.stat(path).st_uid
    return None if owner == os.geteuid() else owner


def open_to_others(path: str | os.PathLike[str]) -> str | None:
    """The mode of a file or folder, in digits, if others than its owner may use it; else None."""
    mode = stat.S_IMODE(os.stat(path).st_mode)
    return f"{mode:04o}" if mode & 0o077 else None


def host_name() -> str:
    """The name of this machine."""
    return os.uname().nodename


def after_fork_in_child(fn: Callable[[], object]) -> None:
    """Call `fn` in every process that is forked from this one."""
    os.register_at_fork(after_in_child=fn)


# ---- who has a file open ----

_PROCESSES = Path("/proc")


def has_pidfd() -> bool:
    """Whether the system tells of a process's end by a descriptor."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def end_group(leader: int, *, kill: bool) -> None:
    """Tell a process that began a session, and all that it started, to end; or kill them."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL if kill else signal.SIGTERM)


def group_is_there(leader: int) -> bool:
    """Whether anything is left of what a process that began a session has started, or of itself."""
    with suppress(PermissionError):
        try:
            os.killpg(leader, 0)
        except ProcessLookupError:
            return False
    return True


class Holder(NamedTuple):
    """A process that has a file open."""

    pid: int
    command: str


def holders(path: Path, identity: Identity | None = None) -> list[Holder]:
    """The processes that have the file open, including this one, as far as this user may see them.

    Give the file's `identity` if `path` may name another file by now. Outside Linux the list is
    empty. The file itself is never opened: closing it again would drop the locks that SQLite has
    on it in this process (fcntl locks belong to the process).
    """
    with suppress(OSError):
        wanted = identity or identity_of(path)
        # Only files of that name are examined: a stat of any file can take long, such as of one on
        # a network.
        return _holders(lambda link, file: path.name in link and identity_of(file) == wanted)
    return []


def holders_of_removed(path: Path) -> list[Holder]:
    """The processes that have a file open which was at the path and was removed, or replaced."""
    return _holders(lambda link, _: link == f"{path} (deleted)")


def _holders(wanted: Callable[[str, os.DirEntry[str]], bool]) -> list[Holder]:
    with suppress(OSError):
        return [
            Holder(int(process.name), _command(process))
            for process in _PROCESSES.iterdir()
            if process.name.isdigit() and _has_open(process, wanted)
        ]
    return []


def _has_open(process: Path, wanted: Callable[[str, os.DirEntry[str]], bool]) -> bool:
    with suppress(OSError), os.scandir(process / "fd") as handles:
        for handle in handles:
            with suppress(OSError):
                if wanted(os.readlink(handle.path), handle):
                    return True
    return False


def _command(process: Path) -> str:
    with suppress(OSError):
        if words := (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0"):
            text = b" ".join(words).decode(errors="replace")
            return text or (process / "comm").read_text().strip()
    return "unknown"
