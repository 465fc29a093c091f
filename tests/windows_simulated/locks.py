"""`msvcrt.locking` of the simulation: locks on bytes, of handles, which others feel.

They are Linux's locks of open files: a range of bytes, dropped when the handle is closed, refused
to another handle of the same process too. That nobody else can read or write the bytes is what
`refuse_locked` adds; it is asked by `os.read` and `os.write` of the simulation alone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

LK_UNLCK, LK_LOCK, LK_NBLCK, LK_RLCK, LK_NBRLCK = range(5)
_FORM = "hhqqi"


def _lock(kind: int, start: int, length: int) -> bytes:
    return struct.pack(_FORM, kind, os.SEEK_SET, start, length, 0)


def is_read_only(handle: int) -> bool:
    return fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY


def locking(handle: int, mode: int, count: int) -> None:
    """Lock or unlock bytes from the handle's position on."""
    start = os.lseek(handle, 0, os.SEEK_CUR)
    kind = fcntl.F_UNLCK if mode == LK_UNLCK else fcntl.F_WRLCK
    assert mode in (LK_UNLCK, LK_NBLCK), "the others wait, and give up after ten seconds"
    assert not is_read_only(handle), "not simulated: a lock by a handle that can only read"
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, _lock(kind, start, count))
    except BlockingIOError:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None


def refuse_locked(handle: int, size: int) -> None:
    """Raise PermissionError if another handle has locked a byte that is to be read or written."""
    try:
        start = os.lseek(handle, 0, os.SEEK_CUR)
        asked = _lock(fcntl.F_RDLCK, start, size)
        answer = fcntl.fcntl(handle, fcntl.F_OFD_GETLK, asked)
    except OSError:  # a pipe, a terminal
        return
    if struct.unpack(_FORM, answer)[0] != fcntl.F_UNLCK:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
