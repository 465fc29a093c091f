"""Events that are taken over from another store under the ids that they had there.

They come in any order and with gaps between their ids, so the store's heads cannot follow them.
Until `settle`, a placeholder (`UNKNOWN_HEAD`) is stored as the only head. `settle` replaces it by
one head over all events taken over, with which the store's heads begin, as in a file of the older
store.
"""

from __future__ import annotations

import functools
from hashlib import sha256
from typing import Any

from peewee import SQL

from veritas_peewee.database.current import atomic, current_database
from veritas_peewee.database.statements import MARK, execute, insert_rows, text_of
from veritas_peewee.ledger import heads
from veritas_peewee.ledger.heads import UNKNOWN_HEAD
from veritas_peewee.ledger.memory import remembered
from veritas_peewee.models import AuditEvent, RemovedEvent, StoreHead

_NEWEST = (
    "SELECT (SELECT COALESCE(MAX(id), 0) FROM audit_events), "
    "(SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name = 'audit_events')"
)
_COLUMNS = ("id", "audit", "event_type", "data", "timestamp", "digest")


def can_keep() -> bool:
    """Whether events can keep their ids, because no head covers other events yet.

    So it is if no head is stored, or only the placeholder, or if the store never had an event.
    """
    first = execute(_first_head_sql(), ())
    return not first or first[0][1] == UNKNOWN_HEAD or not any(_newest())


def taken(ids: list[int]) -> bool:
    """Whether a stored event has any of these ids."""
    return any(execute(_id_sql(), (one,)) for one in ids)


def removed(ids: list[int]) -> bool:
    """Whether a removed event had any of these ids, which are in ascending order.

    The digest that remains of it is part of the heads, under that id.
    """
    if not ids or not execute(_removed_sql(), (ids[0], ids[-1])):
        return False
    return any(execute(_removed_sql(), (one, one)) for one in ids)


@atomic
def insert_with_ids(rows: list[tuple[Any, ...]]) -> None:
    """Add events of another store under the ids that they have.

    Each row is (id, audit id, type, JSON text, stored time, digest). The rows are whole logs whose
    digests have been checked.
    """
    if not rows:
        return
    memory = remembered(current_database())
    memory.appending = True
    try:
        insert_rows(AuditEvent, _COLUMNS, rows)
    finally:
        memory.appending = False
    _only_head(max(_newest()), UNKNOWN_HEAD)
    memory.forget_log()


@atomic
def settle() -> bool:
    """Replace the placeholder by the head of all events taken over; False if there was none."""
    first = execute(_first_head_sql(), ())
    if not first or first[0][1] != UNKNOWN_HEAD:
        return False
    whole, newest = sha256(heads.head_digest("", []).encode()), 0
    for event_id, digest in heads.all_digests():
        newest = event_id
        whole.update(digest or b"?")
    _only_head(newest, whole.hexdigest())
    remembered(current_database()).forget_log()
    return True


def _only_head(position: int, digest: str) -> None:
    StoreHead.delete().execute()
    StoreHead.insert(event_id=position, digest=digest).execute()


def _newest() -> tuple[int, int]:
    """The largest id that an event has, and the largest that any event ever had."""
    found = current_database().raw.execute(_NEWEST).fetchone()
    return int(found[0]), int(found[1])


@functools.cache
def _first_head_sql() -> str:
    query = StoreHead.select(StoreHead.event_id, StoreHead.digest)
    return text_of(query.order_by(StoreHead.event_id).limit(SQL("1")))


@functools.cache
def _id_sql() -> str:
    return text_of(AuditEvent.select(AuditEvent.id).where(AuditEvent.id == MARK))


@functools.cache
def _removed_sql() -> str:
    query = RemovedEvent.select(RemovedEvent.event_id)
    query = query.where(RemovedEvent.event_id >= MARK, RemovedEvent.event_id <= MARK)
    return text_of(query.limit(SQL("1")))
