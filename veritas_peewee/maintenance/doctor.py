"""Examine a store without changing anything of it, even a damaged or locked one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from veritas_peewee import migrations
from veritas_peewee.config import Location, locate
from veritas_peewee.database.backends import check_driver
from veritas_peewee.database.sqlite import has_wal_reset_bug
from veritas_peewee.database.sqlite_driver import driver
from veritas_peewee.errors import StoreError
from veritas_peewee.files.arrivals import left_behind
from veritas_peewee.files.database_path import check_one_name
from veritas_peewee.files.durable import leftovers
from veritas_peewee.files.images import ScreenshotFolder
from veritas_peewee.files.platform import (
    HAS_MODES,
    holders,
    holders_of_removed,
    identity_of,
    names_of,
    open_to_others,
    other_owner,
    reason_of,
)
from veritas_peewee.files.sessions import State
from veritas_peewee.maintenance.diagnosis import Finding
from veritas_peewee.maintenance.holders import sessions
from veritas_peewee.maintenance.inside import inside

LARGE_WAL = 64 * 1024 * 1024
"""Bytes of a WAL above which something must be preventing checkpoints."""
LITTLE_SPACE = 100 * 1024 * 1024
"""Free bytes on the file system below which there is a warning."""


def diagnose(database: str | os.PathLike[str] | None = None) -> list[Finding]:
    """Examine a store (a path or URL, or the default) without changing anything of it.

    Whatever cannot be found out is a finding too. The only error is StoreError, for a database
    in memory.
    """
    location = locate(database)
    if location.server is not None:
        check_driver(location)
        from veritas_peewee.maintenance.server_doctor import examine

        return list(examine(location))
    path = location.path
    if path is None:
        raise StoreError("a database in memory has no file to look at: give a path")
    found: list[Finding] = []
    found += _sqlite(path)
    parts: list[Callable[[Path], Iterator[Finding]]] = [_file, _lost, _space, _leftovers]
    for part in parts:
        try:
            found += part(path)
        except OSError as error:
            found.append(
                Finding("problem", part.__name__[1:], f"cannot be seen: {reason_of(error)}")
            )
    found += _screenshots(location)
    found += _arrivals(location)
    found += _holders(location)
    if path.is_file() and path.stat().st_size:
        found += inside(location)
    return found


def _sqlite(path: Path) -> Iterator[Finding]:
    version: str = driver.sqlite_version
    name = driver.__name__.partition(".")[0]
    value = {"version": version, "driver": name, "wal_reset_bug": has_wal_reset_bug(version)}
    if not value["wal_reset_bug"]:
        yield Finding("ok", "sqlite", f"SQLite {version}, by {name}", value)
        return
    others = len(holders(path)) > 1
    yield Finding(
        "warning" if others else "note",
        "sqlite",
        f"SQLite {version}, by {name}, can lose commits when two processes write to one file "
        "(the WAL-reset bug, mended in 3.51.3): "
        + ("more than one has it open" if others else "let one process do all writing"),
        value,
    )


def _file(path: Path) -> Iterator[Finding]:
    try:
        found = path.stat()
    except FileNotFoundError:
        yield Finding("problem", "file", f"{path}: there is no such database")
        return
    if not path.is_file():
        yield Finding("problem", "file", f"{path}: is not a file")
        return
    sizes = {"bytes": found.st_size}
    for end in ("wal", "shm"):
        with suppress(OSError):
            sizes[f"{end}_bytes"] = Path(f"{path}-{end}").stat().st_size
    text = ", ".join(f"{name.replace('_', ' ')} {size:,}" for name, size in sizes.items())
    if not found.st_size:
        yield Finding("warning", "file", f"{path}: is empty; `veritas-peewee init` fills it", sizes)
    else:
        yield Finding("ok", "file", f"{path}: {text}", sizes)
    if (wal := sizes.get("wal_bytes", 0)) > LARGE_WAL:
        yield Finding(
            "warning", "wal", f"the WAL has {wal:,} bytes: a reader that does not end keeps it"
        )
    try:
        check_one_name(path, identity_of(path))
    except StoreError as error:
        yield Finding("problem", "names", str(error), names_of(path))
    yield from _access(path)


def _lost(path: Path) -> Iterator[Finding]:
    """Files that somebody writes and nobody else will ever find."""
    for name, file in (("file", path), ("wal", Path(f"{path}-wal"))):
        for holder in holders_of_removed(file):
            yield Finding(
                "problem", name, f"process {holder.pid} has a file open that is not at its path "
                f"any more, {file}, and what it writes goes there: stop it ({holder.command})",
                holder._asdict(),
            )  # fmt: skip


def _access(path: Path) -> Iterator[Finding]:
    if (owner := other_owner(path)) is not None:
        yield Finding("note", "owner", f"{path}: belongs to user {owner}, not to this one")
    private = True
    for one in (path, *(Path(f"{path}-{end}") for end in ("wal", "shm", "journal"))):
        with suppress(OSError):
            if mode := open_to_others(one):
                private = False
                yield Finding(
                    "warning", "permissions",
                    f"{one}: others can read it (mode {mode}): chmod 600", mode,
                )  # fmt: skip
    if private and HAS_MODES:
        yield Finding("ok", "permissions", "nobody else can read the database")
    elif private:
        yield Finding(
            "note", "permissions", "who can read the database is in the folder's access list, "
            "which is not looked at"
        )  # fmt: skip
    if not os.access(path, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK):
        yield Finding("warning", "permissions", f"{path}: this user cannot write here")


def _screenshots(location: Location) -> Iterator[Finding]:
    folder = location.screenshots
    if folder is None or not folder.is_dir():
        return
    if mode := open_to_others(folder):
        yield Finding(
            "warning", "permissions", f"{folder}: others can enter it (mode {mode}): chmod 700",
            mode,
        )  # fmt: skip


def _space(path: Path) -> Iterator[Finding]:
    folder = path.parent
    while not folder.is_dir():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    size = path.stat().st_size if path.is_file() else 0
    text = f"{free / 2**20:,.0f} MB are free on the file system"
    if free < max(LITTLE_SPACE, size):
        yield Finding("warning", "space", f"{text}: too little for a copy of the file", free)
    else:
        yield Finding("ok", "space", text, free)


def _leftovers(path: Path) -> Iterator[Finding]:
    for left in [*leftovers(path.parent), *migrations.unfinished_backups(path)]:
        yield Finding(
            "note", "leftover", f"{left}: half a copy, whose maker was killed; the next one of "
            "its kind removes it", str(left),
        )  # fmt: skip


def _arrivals(location: Location) -> Iterator[Finding]:
    if location.screenshots is not None:
        for left, images in left_behind(ScreenshotFolder(location.screenshots), location.name):
            yield Finding(
                "note", "leftover", f"{left}: {len(images)} images of an import that was killed; "
                "the next import, or `verify --fix`, removes them", str(left),
            )  # fmt: skip


def _holders(location: Location) -> Iterator[Finding]:
    assert location.path is not None
    found = [holder for holder in holders(location.path) if holder.pid != os.getpid()]
    for holder in found:
        yield Finding(
            "note", "holder", f"process {holder.pid} has it open: {holder.command}",
            holder._asdict(),
        )  # fmt: skip
    counts = dict.fromkeys(State, 0)
    unseen = False
    try:
        for _, state in sessions(location):
            counts[state] += 1
    except OSError as error:
        unseen = True
        yield Finding(
            "warning", "sessions", f"{location.sessions}: cannot be looked at: {error.strerror}; "
            "all audits stay running, dead or alive", {"unknown": None},
        )  # fmt: skip
    if (unknown := counts[State.UNKNOWN]) and location.sessions is not None:
        yield Finding(
            "warning", "sessions", f"{location.sessions}: {unknown} sessions in it cannot be "
            "looked at: their audits stay running, dead or alive", {"unknown": unknown},
        )  # fmt: skip
    living, dead = counts[State.ALIVE], counts[State.DEAD]
    if living or dead:
        text = f"{living} living sessions run audits"
        if dead:
            text += f"; {dead} are of dead processes, the next opening tells their audits so"
        yield Finding("note", "sessions", text, {"alive": living, "dead": dead})
    if not found and not living and not unknown and not unseen:
        yield Finding("ok", "holder", "no other process that this user can see has it open")
