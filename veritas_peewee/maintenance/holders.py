"""Who has a database open: the sessions beside it, and on Linux every process that holds it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from veritas_peewee.config import Location
from veritas_peewee.sessions import is_alive

_PROCESSES = Path("/proc")


class Holder(NamedTuple):
    """A process that has a file open."""

    pid: int
    command: str


def holders(path: Path, found: os.stat_result | None = None) -> list[Holder]:
    """The processes that have the file open, this one too, as far as this user may know.

    `found` is the file if it is no longer the one at `path`. None are found outside Linux. The
    file itself is never opened: closing it again would drop SQLite's locks in this process.
    """
    with suppress(OSError):
        wanted = found or path.stat()
        file = (wanted.st_dev, wanted.st_ino)
        return [
            Holder(int(process.name), _command(process))
            for process in _PROCESSES.iterdir()
            if process.name.isdigit() and _has_open(process, path.name, file)
        ]
    return []


def _has_open(process: Path, name: str, file: tuple[int, int]) -> bool:
    with suppress(OSError):
        for handle in os.scandir(process / "fd"):
            with suppress(OSError):
                # Only what has the name is looked at: asking about any file can take long.
                if name in os.readlink(handle.path):
                    found = handle.stat()
                    if (found.st_dev, found.st_ino) == file:
                        return True
    return False


def _command(process: Path) -> str:
    with suppress(OSError):
        if words := (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0"):
            text = b" ".join(words).decode(errors="replace")
            return text or (process / "comm").read_text().strip()
    return "unknown"


def sessions(location: Location) -> Iterator[tuple[str, bool]]:
    """The sessions beside a database, and whether the process of each still lives."""
    folder = location.sessions
    if folder is not None:
        names: list[str] = []
        with suppress(OSError):
            names = os.listdir(folder)
        for name in sorted(names):
            yield name, is_alive(folder, name)
