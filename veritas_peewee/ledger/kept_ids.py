"""Events that are taken over from another store under the ids that they had there.

They come in any order and with gaps between their ids, so the store's own heads cannot follow
them. Each transaction that adds some stores a head of its own (`ImportHead`), over a total that
does not depend on the order. All of these remain, so that a head that was printed meanwhile is
known ever after; the store's own heads continue from the last one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, NamedTuple

from peewee import SQL, fn

from veritas_peewee.database.current import atomic, current_database
from veritas_peewee.database.expressions import is_integer, text_as_bytes
from veritas_peewee.database.statements import MARK, execute, insert_rows, per_backend, text_of
from veritas_peewee.ledger import counter, heads
from veritas_peewee.ledger.memory import remembered
from veritas_peewee.models import AuditEvent, ImportHead, RemovedEvent, StoreHead

PLACEHOLDER = "0" * 64
"""What earlier versions stored, and printed, as the only head during such an import."""
_COLUMNS = ("id", "audit", "event_type", "data", "timestamp", "digest")
_MODULUS = 1 << 256


class Taken(NamedTuple):
    """A stored `ImportHead`."""

    id: int
    position: int
    """The greatest id that any event taken over so far has."""
    digest: str
    total: int
    """The sum over all events taken over so far, also those that were removed since."""
    open: bool
    """Whether the import was not complete then."""


def total_of(events: Iterable[tuple[int, bytes | None]]) -> int:
    """The sum, modulo 2^256, of SHA-256 over each event's id and digest."""
    total = 0
    for event_id, digest in events:
        one = sha256(event_id.to_bytes(8, "big") + (digest or b"?")).digest()
        total += int.from_bytes(one, "big")
    return total % _MODULUS


def digest_of_total(position: int, total: int) -> str:
    """The digest of the head of events taken over."""
    return sha256(f"taken over up to {position}: {_text_of_total(total)}".encode()).hexdigest()


def _text_of_total(total: int) -> str:
    return f"{total:064x}"


def heads_taken() -> list[tuple[int, Taken | None]]:
    """Every stored head of an import, in order, with its id; None for one that does not compute."""
    return [(int(row[0]), _taken(row)) for row in execute(_all_sql(), ())]


def newest_taken() -> Taken | None:
    """The newest head of an import that computes; None if there is none."""
    rows = execute(f"{_all_sql()} DESC LIMIT 1", ())
    return _taken(rows[0]) if rows else None


def _taken(row: tuple[Any, ...]) -> Taken | None:
    row_id, position, digest, total, is_open = row
    try:
        number = int(total.decode(), 16)
        found = Taken(row_id, position, digest.decode(), number, bool(is_open))
        sound = is_open in (0, 1) and 0 < position <= heads.LARGEST_ID
        # As it is written: Python reads other texts as the same number.
        sound = sound and total.decode() == _text_of_total(number)
        sound = sound and digest_of_total(position, number) == found.digest
    except (AttributeError, TypeError, ValueError):
        return None
    return found if sound else None


@per_backend
def _all_sql() -> str:
    columns = (text_as_bytes(ImportHead.digest), text_as_bytes(ImportHead.total))
    numbers = [SQL(f"CASE WHEN {is_integer(name)} THEN {name} END")
               for name in ('"t1"."position"', '"t1"."open"')]  # fmt: skip
    query = ImportHead.select(ImportHead.id, numbers[0], *columns, numbers[1])
    return text_of(query.order_by(ImportHead.id))


def can_keep() -> bool:
    """Whether events can keep their ids, because no head covers other events yet.

    So it is if the store never had an event of its own, or if an import that took events over is
    not complete and no event came after those.
    """
    taken = newest_taken()
    if taken is not None:
        return taken.open and heads.newest_event() <= taken.position
    return counter.never_counted() and not heads.newest_event() and not execute(_all_sql(), ())


def taken(ids: list[int]) -> bool:
    """Whether a stored event has any of these ids."""
    return any(execute(_id_sql(), (one,)) for one in ids)


def removed(ids: list[int]) -> bool:
    """Whether a removed event had any of these ids, which are in ascending order.

    The digest that remains of it is part of the heads, under that id.
    """
    if not ids or not removed_between(ids[0], ids[-1]):
        return False
    return any(removed_between(one, one) for one in ids)


def removed_between(first: int, last: int) -> bool:
    """Whether a removed event had an id from `first` to `last`."""
    return bool(execute(_removed_sql(), (first, last)))


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
    before = newest_taken()
    position, total = (0, 0) if before is None else (before.position, before.total)
    total += total_of((row[0], row[-1]) for row in rows)
    _store(max(position, *(row[0] for row in rows)), total % _MODULUS)
    memory.forget_log()  # the newest id too


def _store(position: int, total: int) -> None:
    digest = digest_of_total(position, total)
    text = _text_of_total(total)
    # Numbered by us: a sequence of a server leaves a gap where a transaction was undone.
    ((last,),) = execute(_last_sql(), ())
    ImportHead.insert(id=last + 1, position=position, digest=digest, total=text, open=1).execute()
    current_database().give_ids_after(ImportHead._meta.table_name)


@functools.cache
def _last_sql() -> str:
    return text_of(ImportHead.select(fn.COALESCE(fn.MAX(ImportHead.id), SQL("0"))))


@atomic
def close() -> None:
    """Note that the import is complete: other events get ids of this store from now on."""
    taken = newest_taken()
    if taken is not None and taken.open:
        ImportHead.update(open=0).where(ImportHead.id == taken.id).execute()


def replace_placeholder() -> None:
    """Replace the head of zeros that an earlier version stored during an import.

    The heads after it, if they are right, are computed again from the new one.
    """
    rows = execute(_heads_sql(), ())
    if not rows or rows[0][1] != PLACEHOLDER.encode():
        return
    start = rows[0][0]
    StoreHead.delete().where(StoreHead.event_id == start).execute()
    events = list(heads.events_between(0, start))
    _store(start, total_of(events))
    old, new = PLACEHOLDER, digest_of_total(start, total_of(events))
    for position, stored in rows[1:]:
        digests = [digest for _, digest in heads.events_between(start, position)]
        old, new = heads.head_digest(old, digests), heads.head_digest(new, digests)
        if stored != old.encode():
            return  # `verify` names it, and what follows
        StoreHead.update(digest=new).where(StoreHead.event_id == position).execute()
        start = position


@per_backend
def _heads_sql() -> str:
    query = StoreHead.select(StoreHead.event_id, text_as_bytes(StoreHead.digest))
    return text_of(query.order_by(StoreHead.event_id))


@per_backend
def _id_sql() -> str:
    return text_of(AuditEvent.select(AuditEvent.id).where(AuditEvent.id == MARK))


@functools.cache
def _removed_sql() -> str:
    query = RemovedEvent.select(RemovedEvent.event_id)
    query = query.where(RemovedEvent.event_id >= MARK, RemovedEvent.event_id <= MARK)
    return text_of(query.limit(SQL("1")))
