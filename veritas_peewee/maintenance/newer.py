"""Whether a store holds anything newer than a backup of it, which restoring would lose."""

from __future__ import annotations

from typing import NamedTuple

from peewee import fn

from veritas_peewee import migrations
from veritas_peewee.config import Location
from veritas_peewee.database.failures import DRIVER_ERRORS
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.database.statements import rows_of
from veritas_peewee.errors import StoreError
from veritas_peewee.ledger import continued
from veritas_peewee.ledger.heads import Head, digest_at, newest_head
from veritas_peewee.maintenance.copying import opened
from veritas_peewee.models import Audit, RemovedAudit


class State(NamedTuple):
    """What shows whether one store holds something that another does not."""

    head: Head
    updated_at: str
    removed: int


def state_of_store() -> State:
    """The state of the current database."""
    updated = Audit.select(fn.MAX(Audit.updated_at)).tuples()
    return State(
        newest_head(),
        str(next(iter(rows_of(updated)))[0] or ""),
        RemovedAudit.select().count(),
    )


def newer_than(old: SqliteStore, new: State, copy: Location) -> str | None:
    """What the store `old` holds and the backup does not, in words; None if there is nothing."""
    try:
        if not old.get_tables():
            return None
        if migrations.pending(old):
            return "has an older schema, so it cannot be told whether the backup holds all of it"
        there = state_of_store()
        # A restore may have left ids out since; that is nothing to lose.
        position = continued.newest_own()
        digest = digest_at(position)
    except (*DRIVER_ERRORS, StoreError) as error:
        return f"it cannot be told whether the backup holds all of it ({error})"
    if position > new.head.position:
        return f"holds {position - new.head.position} newer events than the backup"
    with opened(SqliteStore(copy, "viewer")):
        if digest_at(position) != digest:
            return "holds events that the backup does not: it is no older state of the same store"
    if there.head.audits > new.head.audits:
        return f"holds {there.head.audits - new.head.audits} newer audits than the backup"
    if there.removed > new.removed:
        return f"{there.removed - new.removed} audits were deleted there that the backup still has"
    if there.updated_at > new.updated_at:
        return f"was last changed at {there.updated_at} UTC, the backup at {new.updated_at or '-'}"
    return None
