"""POSIX: folders held by descriptors, flock, forks, process groups, /proc.

What these functions promise is said here; `windows` has the same ones. Longer than most modules,
because no other may know this system.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import stat
import struct
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

from veritas_peewee.files.identity import ChildProcess, FileState, Holder, Identity, identity_of

assert sys.platform != "win32"

OPEN_KEEPS_NAME: bool = False
"""Whether a file that somebody has open can be neither removed nor renamed nor replaced."""
HAS_MODES: bool = True
"""Whether the mode of a file says who may use it."""
TEMPORARY_VARIABLE = "SQLITE_TMPDIR"
"""The variable of the environment that names the folder of SQLite's temporary files."""
NEW_GROUP: dict[str, Any] = {"start_new_session": True}
"""The options of `subprocess.Popen` that make a process and what it starts a group of its own."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# To go through a folder, or to read a file in it, takes no permission to list it.
_ON_THE_WAY = getattr(os, "O_PATH", getattr(os, "O_SEARCH", 0)) | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC

_STEP = 100_000_000  # nanoseconds; many times the step of the time in a folder's entry
_FLOCK = "hhqqi"  # struct flock: type, whence, start, length, process

Held = int
"""What holds a folder locked until `let_go`."""


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


def create_private(path: str | os.PathLike[str]) -> int:
    """A descriptor of a new file, for its owner alone; FileExistsError if the name is taken."""
    return os.open(path, _NEW, 0o600)


def new_locked(folder: Path, name: str, content: bytes) -> tuple[int, Identity]:
    """A descriptor of a new file, for its owner alone, that is locked when it gets its name, and
    its identity; FileNotFoundError if somebody removes it or the folder meanwhile, and OSError."""
    hidden = folder / f".{name}"
    handle = create_private(hidden)
    try:
        lock(handle)
        os.write(handle, content)
        identity = identity_of(hidden)
        # Visible only once it is locked: nobody can find it unlocked while its owner lives.
        hidden.rename(folder / name)
    except BaseException:
        os.close(handle)
        with suppress(OSError):
            hidden.unlink()
        raise
    return handle, identity


def rename(path: str | os.PathLike[str], new_path: str | os.PathLike[str]) -> None:
    """Give a file or a folder another path, replacing a file that has it."""
    os.rename(path, new_path)


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


def lock_folder(path: Path) -> Held | None:
    """Lock a folder, waiting for it, until `let_go`; None if the folder is gone."""
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


def try_lock_folder(path: Path) -> Held | None:
    """Lock a folder until `let_go`; None if it cannot be locked."""
    return _try_lock_path(path, _FOLDER)


def let_go(held: Held) -> None:
    """Unlock a folder."""
    os.close(held)


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


def path_parts(path: str, base: str = "") -> tuple[str, list[str]]:
    """The folder where a path of another program begins (the root, or the working directory) and
    the names below it; a relative path begins at `base`. OSError for a path that names no file."""
    path = os.path.join(base, path)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return "/" if path.startswith("/") else ".", parts


# ---- processes ----


def words_of_command(text: str) -> list[str]:
    """The words of a command as a shell reads them; ValueError for a quote without its end."""
    return shlex.split(text)


def is_closed_pipe(error: OSError) -> bool:
    """Whether an error of writing says that nobody reads the pipe any more."""
    return isinstance(error, BrokenPipeError)


def has_pidfd() -> bool:
    """Whether the system tells of a process's end by a descriptor."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def end_group(leader: ChildProcess, *, kill: bool) -> None:
    """Tell a process that was started with NEW_GROUP, and all that it started, to end; or kill
    them."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader.pid, signal.SIGKILL if kill else signal.SIGTERM)


def group_is_there(leader: ChildProcess) -> bool:
    """Whether anything is left of what such a process has started, or of itself."""
    with suppress(PermissionError):
        try:
            os.killpg(leader.pid, 0)
        except ProcessLookupError:
            return False
    return True


# ---- who has a file open ----

_PROCESSES = Path("/proc")


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
