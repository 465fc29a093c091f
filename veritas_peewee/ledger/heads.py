"""The heads of a store: at each thousandth event, a digest over those of all events so far."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from peewee import SQL

from veritas_peewee.database.current import current_database, snapshot
from veritas_peewee.database.statements import MARK, execute, rows_of, text_of
from veritas_peewee.errors import StoreError
from veritas_peewee.ledger.memory import Remembered
from veritas_peewee.models import (
    Audit,
    AuditEvent,
    RemovedAudit,
    RemovedEvent,
    StoreChanges,
    StoreHead,
)
from veritas_peewee.values.plain import shown

HEAD_EVERY = 1000
"""The number of events from one stored head to the next."""
UNKNOWN_HEAD = "0" * 64
"""Stored as the only head while events are taken over with their ids; see `kept_ids`."""


def head_digest(before: str, digests: Iterable[bytes | None]) -> str:
    """The digest, in hexadecimal, over a head's digest and the digests of the events after it."""
    return sha256(before.encode() + b"".join([one or b"?" for one in digests])).hexdigest()


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
        position, digest = _last_head()
        rows = execute(_since_sql(), (position, 2**62, position, 2**62))
        audits = Audit.select().count() + RemovedAudit.select().count()
        changes = rows_of(StoreChanges.select(StoreChanges.number))
    if rows:
        position, digest = rows[-1][0], head_digest(digest, [row[1] for row in rows])
    return Head(position, audits, changes[0][0] if changes else 0, digest)


def parse_head(text: str) -> Head:
    """The head that a text represents; raises StoreError if the text is not a head's."""
    if match := re.fullmatch(r"\s*(\d{1,18})-(\d{1,18})-(\d{1,18})-([0-9a-f]{64})\s*", text):
        return Head(int(match[1]), int(match[2]), int(match[3]), match[4])
    raise StoreError(f"{shown(text)} is no head: it is printed by `veritas-peewee head`")


def all_digests() -> Iterator[tuple[int, bytes | None]]:
    """The (id, digest) of every event so far, in order, including removed events."""
    yield from current_database().execute_sql(_since_sql(), (0, 2**62, 0, 2**62))


def _last_head() -> tuple[int, str]:
    rows = execute(_last_head_sql(), ())
    return rows[0] if rows else (0, head_digest("", []))


@functools.cache
def _last_head_sql() -> str:
    query = StoreHead.select(StoreHead.event_id, StoreHead.digest)
    return text_of(query.order_by(StoreHead.event_id.desc()).limit(SQL("1")))


@functools.cache
def _since_sql() -> str:
    """SQL for the events after one id and up to another, including removed events."""
    present = AuditEvent.select(AuditEvent.id, AuditEvent.digest)
    removed = RemovedEvent.select(RemovedEvent.event_id, RemovedEvent.digest)
    present = present.where(AuditEvent.id > MARK, AuditEvent.id <= MARK)
    removed = removed.where(RemovedEvent.event_id > MARK, RemovedEvent.event_id <= MARK)
    return f"{text_of(present)} UNION ALL {text_of(removed)} ORDER BY 1"


def store_heads(memory: Remembered, newest: int) -> None:
    """Store a head for each full thousand events up to `newest`, and note when the next is due."""
    position, digest = _last_head()
    due = position - position % HEAD_EVERY + HEAD_EVERY
    since = memory.since_head
    # If `memory` has the digests of all events since the last head, they are not read again:
    # reading them would cost as much as computing them did.
    known = since is not None and len(since) == newest - position
    while due <= newest:
        if known and since is not None:
            digest = head_digest(digest, since[: due - position])
            del since[: due - position]
        else:
            rows = execute(_since_sql(), (position, due, position, due))
            digest = head_digest(digest, [row[1] for row in rows])
        StoreHead.insert(event_id=due, digest=digest).execute()
        position, due = due, due + HEAD_EVERY
    memory.next_head = due
    if not known:
        rows = execute(_since_sql(), (position, newest, position, newest))
        memory.since_head = [row[1] or b"" for row in rows]
