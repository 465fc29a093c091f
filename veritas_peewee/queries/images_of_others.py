"""Other databases beside a store's own, whose rows may name the same images.

A database that was copied, restored or imported beside another one has by default the same
screenshot folder, and its rows name the same files: they are not only its neighbour's to remove.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

from veritas_peewee.config import SCREENSHOTS, Location
from veritas_peewee.database.failures import DRIVER_ERRORS
from veritas_peewee.database.sqlite_driver import connect
from veritas_peewee.database.sqlite_errors import NOTADB, code_of
from veritas_peewee.files.database_path import uri_of
from veritas_peewee.models import AuditScreenshot

_KINDS = frozenset((".db", ".db3", ".sqlite", ".sqlite3"))
_BESIDE = ("-journal", "-shm", "-wal")
"""Never opened: whoever closes such a file takes away the locks that its process has on it."""
_PATIENCE = 1.0
"""Seconds to wait for a lock."""
_TABLE = AuditScreenshot._meta.table_name
_AT_ONCE = 500
"""How many images one statement asks for."""
_logger = logging.getLogger("veritas_peewee")


def named_by_others(location: Location, files: Sequence[str]) -> set[str]:
    """Those of these images that a row of another database beside this one may name.

    They stay, and the log says why. A database that cannot be read may name any of them.
    """
    found: set[str] = set()
    for path in _of_the_same_folder(location) if files else ():
        try:
            named, why = _named_in(path, files), "names them too"
        except DRIVER_ERRORS as error:
            named, why = set(files), f"may name them too: it cannot be read ({error})"
        if named:
            _logger.warning(
                "%s: %d image files stay in %s, because %s %s",
                location.name,
                len(named),
                location.screenshots,
                path,
                why,
            )
        found |= named
    return found


def databases_beside(location: Location) -> Iterator[Path]:
    """The other files that can be databases, by their names, in the folder of this one and in that
    of its screenshot folder."""
    folders, kinds, own = [], _KINDS, None
    if location.path is not None:
        folders, own = [location.path.parent], _state(location.path)
        kinds |= {location.path.suffix}
    if location.screenshots is not None:
        folders.append(location.screenshots.parent)
    for folder in dict.fromkeys(folders):
        for path in _files_in(folder):
            if path.suffix not in kinds or path.name.endswith(_BESIDE):
                continue
            state = _state(path)
            if state is not None and (own is None or not os.path.samestat(own, state)):
                yield path


def _of_the_same_folder(location: Location) -> Iterator[Path]:
    """The databases whose screenshot folder is this one's, unless they were given another one."""
    root = location.screenshots
    if root is None or root.name != SCREENSHOTS:
        return
    for path in databases_beside(location):
        if path.parent == root.parent:
            yield path


def _files_in(folder: Path) -> list[Path]:
    with suppress(OSError), os.scandir(folder) as entries:
        return [Path(one.path) for one in entries if one.is_file() and one.name[0] != "."]
    return []


def _state(path: Path) -> os.stat_result | None:
    with suppress(OSError):
        return path.stat()
    return None


def _named_in(path: Path, files: Sequence[str]) -> set[str]:
    """Those of these files that rows of a file name, if it is a store; a driver's error if that
    cannot be told."""
    # By SQLite alone: if this process has that file open, to read it otherwise would cost it its
    # locks.
    found: set[str] = set()
    with closing(connect(f"{uri_of(path)}?mode=ro", uri=True, timeout=_PATIENCE)) as database:
        for start in range(0, len(files), _AT_ONCE):
            some = files[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            text = f"SELECT file_path FROM {_TABLE} WHERE file_path IN ({marks})"
            try:
                found.update(file for (file,) in database.execute(text, some))
            except DRIVER_ERRORS as error:
                if code_of(error) == NOTADB or f"no such table: {_TABLE}" in str(error):
                    return set()
                raise
    return found
