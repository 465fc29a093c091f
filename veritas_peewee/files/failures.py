"""What the system's errors of files mean: the store's own errors, and reasons in words."""

from __future__ import annotations

import errno

from veritas_peewee.errors import ReadOnlyStore, StoreBusy, StoreError, StoreFull

# The errors of a path itself, or of the file or link that is there, and not of the disk.
OF_THE_PATH = (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL)

# The errors that say nothing about whether a file is there, or what is in it.
NOT_OF_THE_FILE = (
    errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN,
    errno.ENOSPC, errno.EDQUOT,
)  # fmt: skip
_IN_USE = (32, 33)  # Windows: a sharing violation, a lock violation


def os_error(error: OSError, path: object, what: str) -> StoreError:
    """The store's own error for a file that could not be `what` ("stored", "opened", …).

    It is a StoreFull, a ReadOnlyStore, on Windows for a file in use a StoreBusy, or a plain
    StoreError; its cause is `error`.
    """
    if getattr(error, "winerror", None) in _IN_USE:
        kind: type[StoreError] = StoreBusy
    elif error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        kind = StoreFull
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
