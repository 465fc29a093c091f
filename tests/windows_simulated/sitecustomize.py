"""Linux as if it were Windows, for this project's own modules: a simulation, and NOT Windows.

Python imports a module of this name first, in each process whose PYTHONPATH has this folder; the
processes that are started from there have it too. The package, its tests and `torture` then find no
name that only POSIX has, `sys.platform` is "win32", and files behave in those ways of Windows by
which a program that was written on POSIX fails there:

- what is open in any of these processes can be neither removed nor renamed nor replaced;
- a byte that is locked can be read and written by nobody else (`locks`);
- nothing is opened relative to a folder, and no folder is opened;
- a handle that can only read brings nothing to disk;
- names of devices, of streams, and with dots or spaces at their ends cannot be made;
- to ask a process to end is to end it.

Not simulated: capitals in names, access lists, junctions, consoles, drives.
"""

from __future__ import annotations

import builtins
import errno
import functools
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import types

import locks

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
ON_BEHALF = {module.__file__ for module in (pathlib, shutil, tempfile, functools, os)}
"""Modules of Python that do to files what their callers ask."""

HIDDEN = {
    name: set(names.split())
    for line in pathlib.Path(HERE, "names_of_posix.txt").read_text().split("\n\n")
    for name, _, names in [line.partition(":")]
}
MODULES = HIDDEN["modules"]
CTRL_BREAK_EVENT, CREATE_NEW_PROCESS_GROUP, SIGBREAK = 1001, 0x200, 21
O_BINARY, O_NOINHERIT = 1 << 28, 1 << 29
DEVICE = re.compile(r"(CON|PRN|AUX|NUL|(COM|LPT)[0-9]) *(\.|$)", re.IGNORECASE)
NO_NAME = re.compile(r'[\x00-\x1f<>:"|?*\\]|[. ]$')


def is_of_the_project(file: object) -> bool:
    return (
        isinstance(file, str)
        and file.startswith(ROOT + os.sep)
        and not file.startswith((HERE + os.sep, os.path.join(ROOT, ".venv")))
    )


def is_asked_by_the_project() -> bool:
    """Whether the function of Python's that calls this is called by a module of the project."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename in ON_BEHALF | {__file__}:
        frame = frame.f_back
    return frame is not None and is_of_the_project(frame.f_code.co_filename)


# ---- files ----


def fail(number: int, path: object, winerror: int | None = None) -> OSError:
    error = OSError(number, os.strerror(number), os.fsdecode(path))
    error.winerror = winerror
    return error


def check_name(path: object) -> None:
    name = os.path.basename(os.fsdecode(path))
    if (NO_NAME.search(name) and name not in ("", ".", "..")) or DEVICE.match(name):
        raise fail(errno.EINVAL, path, 123)


def processes() -> set[str]:
    """The processes of this simulation."""
    found, new = set(), {os.environ["SIMULATED_WINDOWS"]}
    while new:
        pid = new.pop()
        found.add(pid)
        try:
            for task in real_listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as children:
                    new |= set(children.read().split()) - found
        except OSError:
            pass
    return found | {str(os.getpid())}


def is_open(path: object) -> bool:
    """Whether anybody has a file, or a file in a folder, open."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    below = os.path.realpath(os.fsdecode(path)) + os.sep if stat.S_ISDIR(found.st_mode) else None
    if below is None and not stat.S_ISREG(found.st_mode):
        return False
    for pid in processes():
        try:
            for handle in real_listdir(f"/proc/{pid}/fd"):
                link = f"/proc/{pid}/fd/{handle}"
                if below is not None:
                    if os.readlink(link).startswith(below):
                        return True
                elif os.path.samestat(os.stat(link), found):
                    return True
        except OSError:
            pass
    return False


def refuse_open(path: object) -> None:
    if is_open(path):
        raise fail(errno.EACCES, path, 32)


def guarded(name: str, before: object) -> None:
    """Have a function of `os` call `before` with its arguments if the project asks for it."""
    real = getattr(os, name)

    @functools.wraps(real)
    def call(*given, **named):
        if is_asked_by_the_project():
            if {"dir_fd", "src_dir_fd", "dst_dir_fd"} & named.keys():
                raise NotImplementedError(f"{name}: dir_fd unavailable on this platform")
            before(*given)
        return real(*given, **named)

    setattr(os, name, call)


def before_rename(path: object, new_path: object) -> None:
    check_name(new_path)
    if os.path.lexists(new_path):
        raise fail(errno.EEXIST, new_path, 183)
    refuse_open(path)


def before_replace(path: object, new_path: object) -> None:
    check_name(new_path)
    if os.path.isdir(new_path):
        raise fail(errno.EACCES, new_path, 5)
    refuse_open(path)
    refuse_open(new_path)


def refuse_handle(path: object = ".", *_: object) -> None:
    if isinstance(path, int):
        raise TypeError("path should be string, bytes, os.PathLike or None, not int")


real_listdir, real_kill, real_open, real_fsync = os.listdir, os.kill, os.open, os.fsync
real_read, real_write, real_killpg = os.read, os.write, os.killpg


def open_file(path, flags, mode=0o777, *, dir_fd=None):
    if dir_fd is not None:
        raise NotImplementedError("open: dir_fd unavailable on this platform")
    by = sys._getframe(1).f_code.co_filename
    if by.startswith(os.path.join(ROOT, "veritas_peewee")) and path != os.devnull:
        assert flags & O_BINARY, f"{by}: a file opened as text"
        assert flags & O_NOINHERIT, f"{by}: a file that what is started inherits"
    if flags & os.O_CREAT:
        check_name(path)
    if os.path.isdir(path):
        raise fail(errno.EACCES, path, 5)
    return real_open(path, flags & ~(O_BINARY | O_NOINHERIT) | os.O_CLOEXEC, mode)


def fsync(handle):
    number = handle if isinstance(handle, int) else handle.fileno()
    if locks.is_read_only(number):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return real_fsync(number)


def read(handle, size):
    locks.refuse_locked(handle, size)
    return real_read(handle, size)


def write(handle, data):
    locks.refuse_locked(handle, len(data))
    return real_write(handle, data)


# ---- processes ----


def kill(pid, number):
    if number == CTRL_BREAK_EVENT:
        real_killpg(pid, signal.SIGTERM)
    elif number == signal.SIGINT and pid != 0:
        real_kill(pid, number)  # stands for Ctrl-C in its console
    else:
        real_kill(pid, signal.SIGKILL)


class Popen(subprocess.Popen):
    def __init__(self, *given, creationflags=0, env=None, **named):
        if creationflags & CREATE_NEW_PROCESS_GROUP:
            named["process_group"] = 0
        if named.get("preexec_fn") is not None and is_asked_by_the_project():
            raise ValueError("preexec_fn is not supported on Windows platforms")
        env = dict(os.environ if env is None else env)
        paths = [HERE, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
        env |= {
            "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
            "SIMULATED_WINDOWS": os.environ["SIMULATED_WINDOWS"],
        }
        super().__init__(*given, env=env, **named)

    def send_signal(self, number):
        if number == CTRL_BREAK_EVENT and self.poll() is None:
            real_killpg(self.pid, signal.SIGTERM)
        else:
            super().send_signal(signal.SIGKILL if number == signal.SIGTERM else number)

    def _handle_exitstatus(self, *given, **named):
        super()._handle_exitstatus(*given, **named)
        if self.returncode == -signal.SIGKILL:
            self.returncode = 9

    def terminate(self):
        self.send_signal(signal.SIGKILL)


# ---- what the project sees ----


class SeenSys(types.ModuleType):
    """`sys` as the project sees it; what others set in it is seen at once."""

    def __init__(self):
        super().__init__("sys")
        self.__dict__.update(platform="win32", _before={})

    def __getattr__(self, name):
        return getattr(sys, name)

    def __setattr__(self, name, value):
        self._before.setdefault(name, getattr(sys, name, None))
        setattr(sys, name, value)

    def __delattr__(self, name):
        setattr(sys, name, self._before.pop(name))


class Seen(types.ModuleType):
    """A module without some of its names and with others, as the project sees it."""

    def __init__(self, real, hidden=(), own=None):
        super().__init__(real.__name__)
        own = own or {}
        seen = {name: value for name, value in vars(real).items() if name not in hidden}
        self.__dict__.update(seen | own, _real=real, _own=frozenset(own))

    def __setattr__(self, name, value):
        self.__dict__[name] = value
        if name not in self._own:
            setattr(self._real, name, value)

    def __delattr__(self, name):
        del self.__dict__[name]
        if name not in self._own:
            delattr(self._real, name)


real_import = builtins.__import__
SEEN = {}


def import_seen(name, globals=None, locals=None, fromlist=(), level=0):
    if level or not globals or not is_of_the_project(globals.get("__file__")):
        return real_import(name, globals, locals, fromlist, level)
    if name in MODULES:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    if name == "os.path" and not fromlist:
        name = "os"
    return SEEN.get(name) or real_import(name, globals, locals, fromlist, level)


def simulate() -> None:
    os.environ.setdefault("SIMULATED_WINDOWS", str(os.getpid()))
    shutil._use_fd_functions = False
    guarded("rename", before_rename)
    guarded("replace", before_replace)
    for name in ("unlink", "remove"):
        guarded(name, lambda path: refuse_open(path))
    guarded("rmdir", lambda path: None)
    guarded("mkdir", lambda path, *_: check_name(path))
    guarded("link", lambda path, other: check_name(other))
    guarded("listdir", refuse_handle)
    subprocess.Popen = Popen
    SEEN.update(
        os=Seen(
            os,
            HIDDEN["os"],
            {
                "O_BINARY": O_BINARY, "O_NOINHERIT": O_NOINHERIT, "name": "nt", "open": open_file,
                "fsync": fsync, "read": read, "write": write, "kill": kill,
            },
        ),
        sys=SeenSys(),
        signal=Seen(
            signal, HIDDEN["signal"], {"CTRL_BREAK_EVENT": CTRL_BREAK_EVENT, "SIGBREAK": SIGBREAK}
        ),
        subprocess=Seen(
            subprocess, (), {"CREATE_NEW_PROCESS_GROUP": CREATE_NEW_PROCESS_GROUP, "Popen": Popen}
        ),
        msvcrt=locks,
    )  # fmt: skip
    builtins.__import__ = import_seen


simulate()
