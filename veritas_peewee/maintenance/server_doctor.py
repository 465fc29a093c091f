"""What `doctor` sees of a store on a server: the server, the schema, tables, and who uses them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from veritas_peewee.config import Location
from veritas_peewee.database.current import bound
from veritas_peewee.database.failures import DRIVER_ERRORS, error_code, store_error
from veritas_peewee.database.postgres import PostgresStore
from veritas_peewee.database.postgres_errors import NOT_ALLOWED
from veritas_peewee.errors import StoreBusy, StoreError
from veritas_peewee.maintenance import server_room, server_settings
from veritas_peewee.maintenance.diagnosis import Finding
from veritas_peewee.migrations import server, server_parts

_PATIENCE = 1000
"""Milliseconds to wait for a lock; then it is a finding that the store is locked."""


def examine(location: Location) -> Iterator[Finding]:
    """Examine a store on a server without changing anything of it."""
    try:
        database = PostgresStore(location, "viewer")
        database.connect()
    except (*DRIVER_ERRORS, StoreError) as error:
        yield _trouble("database", store_error(error, location.name) or error)
        return
    try:
        with bound(database):
            database.raw.execute(f"SET lock_timeout = {_PATIENCE}")
            yield from _parts(database, server_settings.PARTS)
            try:
                is_made = server.is_made(database)
            except (*DRIVER_ERRORS, StoreError) as error:
                if error_code(error) == NOT_ALLOWED:
                    yield _unseen(["schema"])
                else:
                    yield _trouble("schema", store_error(error, location.name) or error)
                return
            if is_made:
                yield from _parts(database, (_schema, _contents, *server_room.PARTS))
            else:
                yield Finding(
                    "warning", "schema", "there is no store in this database: `veritas-peewee "
                    "init` makes one", {"applied": [], "pending": list(server.KNOWN)},
                )  # fmt: skip
    finally:
        database.close()


def _parts(
    database: PostgresStore, parts: tuple[Callable[[PostgresStore], Iterator[Finding]], ...]
) -> Iterator[Finding]:
    unseen = []
    for part in parts:
        name = part.__name__.strip("_")
        try:
            yield from part(database)
        except (*DRIVER_ERRORS, StoreError) as error:
            if error_code(error) == NOT_ALLOWED:
                unseen.append(name)
            else:
                yield _trouble(name, store_error(error, database.name) or error)
    if unseen:
        yield _unseen(unseen)


def _unseen(names: list[str]) -> Finding:
    """What `rights` has the reason for, table by table."""
    return Finding("problem", "unseen", f"without rights to be seen are: {', '.join(names)}", names)


def _trouble(name: str, error: Exception) -> Finding:
    if isinstance(error, StoreBusy):
        return Finding("warning", name, f"cannot be seen now: {error}")
    return Finding("problem", name, " ".join(str(error).split()))


def _schema(database: PostgresStore) -> Iterator[Finding]:
    """Its version, what is not ours in it, and what of ours is missing or altered."""
    pending = server.pending(database)
    recorded = server.recorded(database) or []
    value = {"applied": recorded, "pending": pending}
    if pending:
        yield Finding(
            "warning", "schema", f"older than this version ({', '.join(pending)} are to come): "
            "`veritas-peewee init` upgrades it", value,
        )  # fmt: skip
        return
    if recorded != list(server.KNOWN):
        yield Finding(
            "problem", "schema", f"the record of migrations, {server.HISTORY}, is not what was "
            "applied; opening it for writing makes it again", value,
        )  # fmt: skip
    else:
        yield Finding("ok", "schema", f"of this version ({server.KNOWN[-1]})", value)
    found = server_parts.differences(database)
    for text in server_parts.disagreements(found):
        yield Finding("problem", "schema", text)
    for text in server_parts.notes(database, found):
        yield Finding("note", "schema", text)


def _contents(database: PostgresStore) -> Iterator[Finding]:
    rows: list[Any] = database.raw.execute(
        "SELECT lower(status), COUNT(*) FROM audits GROUP BY 1 ORDER BY 1"
    ).fetchall()
    by_status = dict(rows)
    ((events,),) = database.raw.execute("SELECT COUNT(*) FROM audit_events").fetchall()
    audits = sum(by_status.values())
    text = ", ".join(f"{number} {status}" for status, number in by_status.items())
    yield Finding(
        "ok", "contents", f"{audits} audits{f' ({text})' if text else ''}, {events} events",
        {"audits": audits, "events": events, "by_status": by_status},
    )  # fmt: skip
