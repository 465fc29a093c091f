"""The heads of a store: at each thousandth event, a digest over those of all events so far."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

import peewee
from peewee import SQL

from veritas_peewee.database.current import current_database, snapshot
from veritas_peewee.database.expressions import blob_as_read, greatest, is_integer, text_as_bytes
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of
from veritas_peewee.errors import StoreError
from veritas_peewee.ledger.memory import Remembered
from veritas_peewee.models import (
    Audit,
    AuditEvent,
    ImportHead,
    RemovedAudit,
    RemovedEvent,
    StoreChanges,
    StoreHead,
)
from veritas_peewee.values.plain import shown

HEAD_EVERY = 1000
"""The number of events from one stored head to the next."""
LARGEST_ID = 2**53 - 1
"""An event with a greater id is not one that this library has stored: JSON has no such numbers."""
_MOST_SINCE = 10 * HEAD_EVERY
"""The most events whose digests are read at once."""
_HEX = re.compile(rb"[0-9a-f]{64}")


def head_digest(before: str, digests: Iterable[bytes | None]) -> str:
    """The digest, in hexadecimal, over a head's digest and the digests of the events after it."""
    return sha256(before.encode() + b"".join([one or b"?" for one in digests])).hexdigest()


def from_head(digest: str, events: Iterable[tuple[int, bytes | None]]) -> str:
    """The digest over all events so far, from a head and the (id, digest) of those after it."""
    for _, rows in itertools.groupby(events, lambda row: (row[0] - 1) // HEAD_EVERY):
        digest = head_digest(digest, [row[1] for row in rows])
    return digest


@dataclass(frozen=True, slots=True)
class Head:
    """What a store holds, in short.

    If its text is written down outside the store, `verify --against` later finds what was lost.
    """

    position: int
    """The newest event's id."""
    audits: int
    """How many audits there have been so far, including removed ones."""
    changes: int
    """How often rows were changed or removed, including changes that no log records."""
    digest: str
    """The digest over the digests of all events so far, in hexadecimal."""

    def __str__(self) -> str:
        return f"{self.position}-{self.audits}-{self.changes}-{self.digest}"


def newest_head() -> Head:
    """The head of the current database: what it holds now, in short.

    Keep its text where this machine cannot lose it: `veritas-peewee verify --against` then
    reports what is gone, the newest writes too.
    """
    with snapshot():
        newest = newest_event()
        position, digest = last_head(newest)
        rows = execute(_since_sql(), (position, newest, position, newest))
        audits = Audit.select().count() + RemovedAudit.select().count()
        changes = execute(_changes_sql(), ())
    return Head(
        rows[-1][0] if rows else position,
        audits,
        changes[0][0] if changes else 0,
        from_head(digest, rows),
    )


@per_backend
def _changes_sql() -> str:
    sound = f"{is_integer('number')} AND number >= 0 AND number < 1000000000000000000"
    return text_of(StoreChanges.select(StoreChanges.number).where(SQL(sound)))


def parse_head(text: str) -> Head:
    """The head that a text represents; raises StoreError if the text is not a head's."""
    if match := re.fullmatch(r"\s*(\d{1,18})-(\d{1,18})-(\d{1,18})-([0-9a-f]{64})\s*", text):
        return Head(int(match[1]), int(match[2]), int(match[3]), match[4])
    raise StoreError(f"{shown(text)} is no head: it is printed by `veritas-peewee head`")


def all_digests() -> Iterator[tuple[int, bytes | None]]:
    """The (id, digest) of every event so far, in order, including removed events.

    Nothing else is asked of the database meanwhile.
    """
    return digests_after(0)


def digests_after(after: int) -> Iterator[tuple[int, bytes | None]]:
    """As `all_digests`, of the events after an id."""
    return current_database().each_row(_since_sql(), (after, LARGEST_ID, after, LARGEST_ID))


def events_between(after: int, upto: int) -> Iterator[tuple[int, bytes | None]]:
    """The (id, digest) of the events after one id and up to another, including removed ones."""
    yield from current_database().execute_sql(_since_sql(), (after, upto, after, upto))


def digest_at(position: int) -> str:
    """The digest over all events so far, as it was when this event was the newest."""
    start, digest = last_head(position)
    return from_head(digest, events_between(start, position))


def newest_event() -> int:
    """The newest event's id, also if it was removed; 0 if there is none."""
    found = current_database().raw.execute(newest_sql()).fetchone()
    return int(found[0])


@per_backend
def newest_sql() -> str:
    present = AuditEvent.select(peewee.fn.MAX(AuditEvent.id))
    present = present.where(AuditEvent.id <= SQL(str(LARGEST_ID)))
    removed = RemovedEvent.select(peewee.fn.MAX(RemovedEvent.event_id))
    removed = removed.where(RemovedEvent.event_id <= SQL(str(LARGEST_ID)))
    newest = [f"COALESCE(({text_of(query)}), 0)" for query in (present, removed)]
    return f"SELECT {greatest(*newest)}"


def last_head(upto: int) -> tuple[int, str]:
    """The newest stored head that is not of an event after `upto`, as (event id, digest)."""
    found = (0, head_digest("", []))
    for position, digest in execute(_last_head_sql(), (upto, upto)):
        if position >= found[0]:
            # One that is not a digest is continued like any text; `verify` names it.
            known = _HEX.fullmatch(digest)
            found = position, digest.decode() if known else head_digest("", [digest])
    return found


@per_backend
def _last_head_sql() -> str:
    own = StoreHead.select(StoreHead.event_id, text_as_bytes(StoreHead.digest))
    own = own.where(StoreHead.event_id >= SQL("0"), StoreHead.event_id <= MARK)
    own = own.order_by(StoreHead.event_id.desc()).limit(SQL("1"))
    # Own heads continue from the last one of an import, which so is that of the same event.
    taken = ImportHead.select(ImportHead.position, text_as_bytes(ImportHead.digest))
    taken = taken.where(SQL(is_integer("position")), ImportHead.position <= MARK)
    taken = taken.order_by(ImportHead.id.desc()).limit(SQL("1"))
    return (
        f"SELECT * FROM ({text_of(own)}) AS own UNION ALL SELECT * FROM ({text_of(taken)}) AS taken"
    )


@per_backend
def _since_sql() -> str:
    """SQL for the events after one id and up to another, including removed events."""
    present = AuditEvent.select(AuditEvent.id, blob_as_read(AuditEvent.digest))
    removed = RemovedEvent.select(RemovedEvent.event_id, blob_as_read(RemovedEvent.digest))
    present = present.where(AuditEvent.id > MARK, AuditEvent.id <= MARK)
    removed = removed.where(RemovedEvent.event_id > MARK, RemovedEvent.event_id <= MARK)
    return f"{text_of(present)} UNION ALL {text_of(removed)} ORDER BY 1"


def store_heads(memory: Remembered, newest: int) -> None:
    """Store a head for each full thousand events up to `newest`, and note when the next is due."""
    position, digest = last_head(newest)
    due = position - position % HEAD_EVERY + HEAD_EVERY
    # What `memory` has of the digests since the last head is not read again: reading them would
    # cost as much as computing them did. Others can only have added events after those.
    since, upto = memory.since_head, memory.since_upto
    if since is None or memory.since_from != position:
        since, upto = [], position
    if newest - position <= _MOST_SINCE:
        since += [one or b"" for _, one in events_between(upto, newest)]
    in_turn = len(since) == newest - position  # without gaps between their ids
    while due <= newest:
        if in_turn:
            digest = head_digest(digest, since[: due - position])
            del since[: due - position]
        else:
            rows = list(events_between(position, due))
            if not rows:  # another program has moved SQLite's counter of events
                due = _next_due(position)
                continue
            digest = head_digest(digest, [row[1] for row in rows])
        StoreHead.insert(event_id=due, digest=digest).execute()
        position, due = due, due + HEAD_EVERY
    if not in_turn:
        since = [one or b"" for _, one in events_between(position, newest)]
    memory.next_head = due
    memory.since_head, memory.since_from, memory.since_upto = since, position, newest


def _next_due(position: int) -> int:
    """The end of the thousand that the next event after a position is in."""
    first = next(events_between(position, LARGEST_ID))[0]
    return first + -first % HEAD_EVERY
