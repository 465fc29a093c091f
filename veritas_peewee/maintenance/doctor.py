"""A look at a store that changes nothing of it, and that works on a damaged or locked one too."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from veritas_peewee import migrations
from veritas_peewee.config import Location, locate
from veritas_peewee.database.connection import Role
from veritas_peewee.database.current import bound
from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.database.sqlite import SqliteStore, has_wal_reset_bug, pragmas_of
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.errors import DatabaseCorrupt, ReadOnlyStore, StoreBusy, StoreError
from veritas_peewee.maintenance.copying import leftovers
from veritas_peewee.maintenance.holders import holders, sessions

Level = Literal["ok", "note", "warning", "problem"]

LARGE_WAL = 64 * 1024 * 1024
"""Bytes of a WAL that say that something keeps it from being taken over."""
LITTLE_SPACE = 100 * 1024 * 1024
_ROLES: tuple[Role, ...] = ("writer", "reader")
_PATIENCE = 1000
"""Milliseconds to wait for a lock: a store that is locked is a finding."""


class Finding(NamedTuple):
    """One thing that was looked at."""

    level: Level
    name: str
    text: str
    value: Any = None
    """The same for programs."""


def diagnose(database: str | os.PathLike[str] | None = None) -> list[Finding]:
    """Look at a store (a path or URL, or the default) without changing anything of it.

    What cannot be found out is a finding too, never an error, but for what is no path at all
    (StoreError).
    """
    location = locate(database)
    path = location.path
    if path is None:
        raise StoreError("a database in memory has no file to look at: give a path")
    found: list[Finding] = []
    found += _sqlite(path)
    parts: list[Callable[[Path], Iterator[Finding]]] = [_file, _space, _leftovers]
    for part in parts:
        try:
            found += part(path)
        except OSError as error:
            found.append(Finding("problem", part.__name__[1:], f"cannot be seen: {error}"))
    found += _screenshots(location)
    found += _holders(location)
    if path.is_file() and path.stat().st_size:
        found += _inside(location)
    return found


# ---- outside ----


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
    if not stat.S_ISREG(found.st_mode):
        yield Finding("problem", "file", f"{path}: is not a file")
        return
    sizes = {"bytes": found.st_size}
    for end in ("wal", "shm"):
        with suppress(OSError):
            sizes[f"{end}_bytes"] = Path(f"{path}-{end}").stat().st_size
    told = ", ".join(f"{name.replace('_', ' ')} {size:,}" for name, size in sizes.items())
    if not found.st_size:
        yield Finding("warning", "file", f"{path}: is empty; `veritas-peewee init` fills it", sizes)
    else:
        yield Finding("ok", "file", f"{path}: {told}", sizes)
    if (wal := sizes.get("wal_bytes", 0)) > LARGE_WAL:
        yield Finding(
            "warning", "wal", f"the WAL has {wal:,} bytes: a reader that does not end keeps it"
        )
    yield from _access(path, found)


def _access(path: Path, found: os.stat_result) -> Iterator[Finding]:
    if found.st_uid != os.geteuid():
        yield Finding("note", "owner", f"{path}: belongs to user {found.st_uid}, not to this one")
    open_to_others = False
    for one in (path, *(Path(f"{path}-{end}") for end in ("wal", "shm", "journal"))):
        with suppress(OSError):
            if (mode := stat.S_IMODE(one.stat().st_mode)) & 0o077:
                open_to_others = True
                yield Finding(
                    "warning", "permissions",
                    f"{one}: others can read it (mode {mode:04o}): chmod 600", f"{mode:04o}",
                )  # fmt: skip
    if not open_to_others:
        yield Finding("ok", "permissions", "nobody else can read the database")
    if not os.access(path, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK):
        yield Finding("warning", "permissions", f"{path}: this user cannot write here")


def _screenshots(location: Location) -> Iterator[Finding]:
    folder = location.screenshots
    if folder is None or not folder.is_dir():
        return
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        yield Finding(
            "warning", "permissions", f"{folder}: others can enter it (mode {mode:04o}): chmod 700",
            f"{mode:04o}",
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
    for left in [*leftovers(path.parent), *path.parent.glob(f".{path.name}.backup-*.partial")]:
        yield Finding(
            "note", "leftover", f"{left}: half a copy, whose maker was killed; the next one of "
            "its kind removes it", str(left),
        )  # fmt: skip


def _holders(location: Location) -> Iterator[Finding]:
    assert location.path is not None
    found = [holder for holder in holders(location.path) if holder.pid != os.getpid()]
    for holder in found:
        yield Finding(
            "note", "holder", f"process {holder.pid} has it open: {holder.command}",
            holder._asdict(),
        )  # fmt: skip
    living = dead = 0
    for _, alive in sessions(location):
        living, dead = living + alive, dead + (not alive)
    if living or dead:
        text = f"{living} living sessions run audits"
        if dead:
            text += f"; {dead} are of dead processes, the next opening tells their audits so"
        yield Finding("note", "sessions", text, {"alive": living, "dead": dead})
    if not found and not living:
        yield Finding("ok", "holder", "no other process that this user can see has it open")


# ---- inside ----


class _Look(SqliteStore):
    """A connection that cannot write and does not wait for long."""

    def __init__(self, location: Location, *, immutable: bool = False) -> None:
        super().__init__(location, "viewer", immutable=immutable)
        self._pragmas = [("busy_timeout", _PATIENCE), ("query_only", "ON")]


def _inside(location: Location) -> Iterator[Finding]:
    try:
        database = _opened(location)
    except (*DRIVER_ERRORS, StoreError) as error:
        yield _trouble("database", store_error(error, location.name) or error)
        return
    told: set[str] = set()
    try:
        with bound(database):
            for part in (_schema, _counts, _pages, _pragmas):
                try:
                    yield from part(database)
                except (*DRIVER_ERRORS, StoreError, UnicodeError) as error:
                    trouble = _trouble(
                        part.__name__[1:], store_error(error, location.name) or error
                    )
                    if trouble.text not in told:
                        yield trouble
                    told.add(trouble.text)
    finally:
        database.close()


def _opened(location: Location) -> SqliteStore:
    for immutable in (False, True):
        database = _Look(location, immutable=immutable)
        try:
            database.connect()
            database.get_tables()
            return database
        except (*DRIVER_ERRORS, StoreError) as error:
            failure = store_error(error, location.name) or error
            if isinstance(failure, DatabaseCorrupt):
                return database  # of which some parts can be told perhaps
            database.close()
            # Where no WAL can be made beside it; see startup.
            unwritable = isinstance(failure, ReadOnlyStore) or type(failure) is StoreError
            if immutable or not unwritable or Path(f"{location.path}-wal").exists():
                raise failure from error
    raise AssertionError("unreachable")


def _trouble(name: str, error: Exception) -> Finding:
    if isinstance(error, StoreBusy):
        text = "another process holds it locked, so this cannot be seen now"
        return Finding("warning", name, text)
    return Finding("problem", name, str(error))


def _schema(database: SqliteStore) -> Iterator[Finding]:
    tables = set(database.get_tables())
    applied: list[str] = []
    if migrations.HISTORY in tables:
        sql = f"SELECT name FROM {migrations.HISTORY} ORDER BY name"
        applied = [row[0] for row in database.execute_sql(sql)]
    pending = migrations.pending(database)
    value = {"applied": applied, "pending": pending}
    if not pending:
        yield Finding("ok", "schema", f"of this version ({applied[-1]})", value)
    elif applied or not tables:
        yield Finding(
            "warning", "schema",
            f"older than this version ({', '.join(pending)} are to come): "
            "`veritas-peewee init` upgrades it", value,
        )  # fmt: skip
    else:
        yield Finding(
            "warning", "schema",
            "of the older SQLAlchemy store: `veritas-peewee init` upgrades it, and keeps a copy",
            value,
        )  # fmt: skip


def _counts(database: SqliteStore) -> Iterator[Finding]:
    if not set(database.get_tables()) >= migrations.LEGACY_TABLES:
        return
    by_status = dict(
        database.execute_sql("SELECT lower(status), COUNT(*) FROM audits GROUP BY 1 ORDER BY 1")
    )
    (events,) = database.execute_sql("SELECT COUNT(*) FROM audit_events").fetchone()
    audits = sum(by_status.values())
    told = ", ".join(f"{number} {status}" for status, number in by_status.items())
    yield Finding(
        "ok", "contents", f"{audits} audits{f' ({told})' if told else ''}, {events} events",
        {"audits": audits, "events": events, "by_status": by_status},
    )  # fmt: skip


def _pages(database: SqliteStore) -> Iterator[Finding]:
    troubles = [row[0] for row in database.execute_sql("PRAGMA quick_check(5)")]
    if troubles == ["ok"]:
        yield Finding("ok", "pages", "the file is sound; `veritas-peewee verify` checks every row")
    for text in troubles:
        if text != "ok":
            yield Finding("problem", "pages", f"SQLite: {text}")


def _pragmas(database: SqliteStore) -> Iterator[Finding]:
    """What SQLite makes of the PRAGMAs of each role: asked of a connection, not of the file."""
    raw = database.raw
    mode = raw.execute("PRAGMA journal_mode").fetchone()[0]
    text = "wal" if mode == "wal" else f"{mode}; opening it for writing switches it to wal"
    yield Finding("ok" if mode == "wal" else "note", "journal_mode", text, mode)
    for role in _ROLES:
        wanted = pragmas_of(role)
        in_force: dict[str, Any] = {}
        for name, value in wanted.items():
            raw.execute(f"PRAGMA {name} = {value}").fetchall()
            in_force[name] = raw.execute(f"PRAGMA {name}").fetchone()[0]
        told = ", ".join(f"{name}={value}" for name, value in in_force.items())
        yield Finding("ok", f"pragmas of a {role}", told, in_force)
