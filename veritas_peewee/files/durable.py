"""Files that appear under their names only when they are whole and on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from veritas_peewee.files.platform import Folder, create_private, sync


def write_whole(folder: Folder, name: str, data: bytes, temporary: str | None = None) -> None:
    """Write a file in an open folder, in place of any other of that name; on disk on return.

    `temporary` is the name it has meanwhile; if that is taken, FileExistsError.
    """
    temporary = temporary or f".{name}.tmp"
    try:
        with open(folder.create(temporary), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        folder.rename(temporary, name)
        folder.sync()
    except BaseException:
        with suppress(OSError):
            folder.remove(temporary)
        raise


def partial_name(path: Path) -> Path:
    """A name beside `path` for what is still being made; nobody else has it."""
    return path.with_name(f".{path.name[:200]}.{os.urandom(4).hex()}.partial")


@contextmanager
def appearing(path: Path, partial: Path | None = None) -> Iterator[Path]:
    """A new empty file, for its owner alone, that is named `path` when the block ends.

    It is on disk then; if the block fails, nothing is left of it.
    """
    partial = partial or partial_name(path)
    os.close(create_private(partial))
    try:
        yield partial
        sync(partial)
        os.rename(partial, path)
        sync(path.parent)
    finally:
        with suppress(OSError):
            os.unlink(partial)


@contextmanager
def appearing_stream(path: Path) -> Iterator[BinaryIO]:
    """As `appearing`, with the new file open for writing."""
    with appearing(path) as partial, open(partial, "wb") as file:
        yield file
