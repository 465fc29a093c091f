"""What is at a database's path before it is opened: nothing, the file, or something else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from veritas_peewee.errors import DatabaseCorrupt, StoreError
from veritas_peewee.files.durable import make_folders
from veritas_peewee.files.platform import Identity, create_private, identity_of, names_of

SET_ASIDE = ".replaced-"
"""What follows the database's name in the name of the folder where a restore keeps the old one."""


def identity_or_none(path: str) -> Identity | None:
    """The identity of the file at a path; None if there is none, or it cannot be seen."""
    try:
        return identity_of(path)
    except OSError:
        return None


def check_not_emptied(path: Path) -> None:
    """Raise DatabaseCorrupt for an empty or missing file with a WAL beside it: SQLite would take
    the file for a new store and discard the WAL."""
    size = 0
    with suppress(OSError):
        size = os.path.getsize(path)
    with suppress(OSError):
        if not size and (left := os.path.getsize(f"{path}-wal")):
            how = "the database is empty" if path.exists() else "there is no database"
            raise DatabaseCorrupt(
                f"{path}: {how}, but {left} bytes of its WAL are there: it was cut or moved; put "
                "it back or restore a backup, and keep the WAL until then"
            )


def check_one_name(path: Path, identity: Identity) -> None:
    """Raise StoreError for a file with a second name (a hard link).

    SQLite names the WAL after the name by which the file was opened: who opens it by the other
    name does not see what was written by this one, and damages it.
    """
    if (names := names_of(path)) > 1:
        names -= sum(identity_or_none(name) == identity for name in _names_of_a_restore(path))
        if names > 1:
            raise StoreError(
                f"{path}: the file has {names} names (hard links), and each would get a WAL of its "
                "own: remove the others, or copy the file and give the copy this name"
            )


def _names_of_a_restore(path: Path) -> Iterator[str]:
    """The files that a restore may have left beside a database as a second name of it."""
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(f"{path.name}{SET_ASIDE}") or (
                name.startswith(f".{path.name[:100]}.") and name.endswith(".partial")
            ):
                with suppress(OSError), os.scandir(entry) as files:
                    yield from [file.path for file in files if file.is_file(follow_symlinks=False)]


def uri_of(path: Path) -> str:
    """The URI by which SQLite opens a file; it refuses one with a server's name in it."""
    uri = path.as_uri()
    return uri if uri.startswith("file:///") else uri.replace("file://", "file:////", 1)


def create_empty(path: Path) -> None:
    """Create an empty file for its owner alone; SQLite gives its WAL the same mode."""
    make_folders(path.parent)
    try:
        os.close(create_private(path))
    except (FileExistsError, PermissionError) as error:  # of a folder Windows says the second
        if path.exists() and not path.is_file():
            raise OSError(f"{path} is not a file") from None
        if isinstance(error, PermissionError):
            raise
