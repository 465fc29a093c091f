"""What `doctor` sees of a store through SQLite: schema, contents, pages, PRAGMAs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from veritas_peewee import migrations
from veritas_peewee.catalog import checking, rebuilding
from veritas_peewee.catalog.segments import pages_agree
from veritas_peewee.config import Location
from veritas_peewee.database.connection import Role
from veritas_peewee.database.current import bound
from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.database.sqlite import SqliteStore, pragmas_of
from veritas_peewee.errors import DatabaseCorrupt, ReadOnlyStore, StoreBusy, StoreError
from veritas_peewee.maintenance.diagnosis import Finding
from veritas_peewee.migrations import history, parts

_ROLES: tuple[Role, ...] = ("writer", "reader")
_PATIENCE = 1000
"""Milliseconds to wait for a lock; then it is a finding that the store is locked."""


class _Look(SqliteStore):
    """A connection that cannot write and does not wait long for a lock."""

    def __init__(self, location: Location, *, immutable: bool = False) -> None:
        super().__init__(location, "viewer", immutable=immutable)
        self._pragmas = [("busy_timeout", _PATIENCE), ("query_only", "ON")]


def inside(location: Location) -> Iterator[Finding]:
    try:
        database = _opened(location)
    except (*DRIVER_ERRORS, StoreError) as error:
        yield _trouble("database", store_error(error, location.name) or error)
        return
    reported: set[str] = set()
    try:
        with bound(database):
            for part in (_schema, _parts, _counts, _pages, _search, _pragmas):
                try:
                    yield from part(database)
                except (*DRIVER_ERRORS, StoreError, UnicodeError) as error:
                    trouble = _trouble(
                        part.__name__[1:], store_error(error, location.name) or error
                    )
                    if trouble.text not in reported:
                        yield trouble
                    reported.add(trouble.text)
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
                return database  # some parts of it may be readable
            database.close()
            # A WAL file cannot be made in its folder; see startup.
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
    found = history.read(database)
    tables, applied = found.tables, list(found.applied)
    pending = migrations.pending(database)
    value = {"applied": applied, "pending": pending}
    if found.trouble:
        yield Finding(
            "problem", "schema", f"{found.trouble}; opening it for writing makes it again"
        )
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


def _parts(database: SqliteStore) -> Iterator[Finding]:
    """What is not ours in the file, and what of ours is missing or altered."""
    if migrations.pending(database):
        return
    found = parts.differences(database)
    for text in parts.disagreements(database, found):
        yield Finding("problem", "schema", text)
    for text in parts.notes(database, found.harmless):
        yield Finding("note", "schema", text)


def _counts(database: SqliteStore) -> Iterator[Finding]:
    if not set(database.get_tables()) >= history.LEGACY_TABLES:
        return
    by_status = dict(
        database.execute_sql("SELECT lower(status), COUNT(*) FROM audits GROUP BY 1 ORDER BY 1")
    )
    (events,) = database.execute_sql("SELECT COUNT(*) FROM audit_events").fetchone()
    audits = sum(by_status.values())
    text = ", ".join(f"{number} {status}" for status, number in by_status.items())
    yield Finding(
        "ok", "contents", f"{audits} audits{f' ({text})' if text else ''}, {events} events",
        {"audits": audits, "events": events, "by_status": by_status},
    )  # fmt: skip


def _pages(database: SqliteStore) -> Iterator[Finding]:
    for (text,) in database.execute_sql("PRAGMA quick_check(5)"):
        if text == "ok":
            sound = "the file is sound; `veritas-peewee verify` checks every row"
            yield Finding("ok", "pages", sound)
        else:
            yield Finding("problem", "pages", f"SQLite: {text}")


def _search(database: SqliteStore) -> Iterator[Finding]:
    if set(database.get_tables()) >= rebuilding.TABLES and not pages_agree():
        yield Finding(
            "problem", "search", f"{checking.INDEX_DISAGREES}: `veritas-peewee verify --fix` makes "
            "it again",
        )  # fmt: skip


def _pragmas(database: SqliteStore) -> Iterator[Finding]:
    """The PRAGMAs that are in force for each role, by setting them on this connection."""
    raw = database.raw
    mode = raw.execute("PRAGMA journal_mode").fetchone()[0]
    text = "wal" if mode == "wal" else f"{mode}; opening it for writing switches it to wal"
    yield Finding("ok" if mode == "wal" else "note", "journal_mode", text, mode)
    for role in _ROLES:
        wanted = pragmas_of(role, timeout=database.location.timeout)
        in_force: dict[str, Any] = {}
        for name, value in wanted.items():
            raw.execute(f"PRAGMA {name} = {value}").fetchall()
            in_force[name] = raw.execute(f"PRAGMA {name}").fetchone()[0]
        text = ", ".join(f"{name}={value}" for name, value in in_force.items())
        yield Finding("ok", f"pragmas of a {role}", text, in_force)
