"""The heads of a store: one for each thousandth event, over the digests of all events so far."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple

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
"""Events between two heads that are kept."""
UNKNOWN_HEAD = "0" * 64
"""The head of a store that took over events with their ids and has not yet made one of them."""


def head_digest(before: str, digests: Iterable[bytes | None]) -> str:
    """The digest over a head and the events that follow it, by their digests."""
    return sha256(before.encode() + b"".join([one or b"?" for one in digests])).hexdigest()


class Head(NamedTuple):
    """What a store holds, in short: keep its text elsewhere, and `verify` tells what is gone."""

    position: int
    """The newest event's id."""
    audits: int
    """How many audits there were so far, those that were removed among them."""
    changes: int
    """How often rows were changed or removed, also by what is in no log."""
    digest: str

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
    """A head from its text; StoreError if it is none."""
    if match := re.fullmatch(r"\s*(\d{1,18})-(\d{1,18})-(\d{1,18})-([0-9a-f]{64})\s*", text):
        return Head(int(match[1]), int(match[2]), int(match[3]), match[4])
    raise StoreError(f"{shown(text)} is no head: it is printed by `veritas-peewee head`")


def all_digests() -> Iterator[tuple[int, bytes | None]]:
    """The id and digest of every event so far, in order, those that were removed among them."""
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
    """Events after one and up to another, also those that were removed."""
    kept = AuditEvent.select(AuditEvent.id, AuditEvent.digest)
    removed = RemovedEvent.select(RemovedEvent.event_id, RemovedEvent.digest)
    kept = kept.where(AuditEvent.id > MARK, AuditEvent.id <= MARK)
    removed = removed.where(RemovedEvent.event_id > MARK, RemovedEvent.event_id <= MARK)
    return f"{text_of(kept)} UNION ALL {text_of(removed)} ORDER BY 1"


def keep_heads(memory: Remembered, newest: int) -> None:
    """Keep a head for each full thousand up to `newest`, and say when the next one is due."""
    position, digest = _last_head()
    due = position - position % HEAD_EVERY + HEAD_EVERY
    since = memory.since_head
    # What was just written is not read again, if it is all that was: that would cost as much as
    # the digests themselves.
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
