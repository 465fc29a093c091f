"""The log of events: each one's digest covers the one before, so that none can go unnoticed.

A digest covers the audit, not the store, so that an audit can be taken elsewhere with it. What
covers the store are its heads: one for each thousandth event, over the digests of all so far.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

from peewee import SQL, IntegrityError

from veritas_peewee.database import SEALED_INSERTS, StoreDatabase, current_database
from veritas_peewee.errors import FOREIGN_KEY, StoreError, sqlite_code
from veritas_peewee.fields import format_datetime, shown
from veritas_peewee.models import (
    Audit,
    AuditEvent,
    RemovedAudit,
    RemovedEvent,
    StoreChanges,
    StoreHead,
    told_finding_id,
)
from veritas_peewee.rows import (
    MARK,
    execute,
    insert_sql,
    insert_values,
    key_of,
    not_found,
    rows_of,
    text_of,
    update_sql,
)

HEAD_EVERY = 1000
"""Events between two heads that are kept."""
UNKNOWN_HEAD = "0" * 64
"""The head of a store that took over events with their ids and has not yet made one of them."""
_CHAINS = 10_000
"""Audits whose last digest is remembered."""
_COLUMNS = ("audit", "event_type", "data", "timestamp", "digest")


def link(before: bytes, event_type: str, timestamp: str | None, data: str | None) -> bytes:
    """An event's digest: SHA-256 over the one before it (the audit's id for the first) and it."""
    text = f"\0{event_type}\0{timestamp or ''}\0{data or ''}"
    return sha256(before + text.encode(errors="surrogatepass")).digest()


def append_event(audit_id: str, event_type: str, text: str, when: datetime) -> int:
    """Add an event whose JSON text is ready to the audit's log; returns its id."""
    return append_events([(audit_id, event_type, text)], when)[0]


def append_events(events: list[tuple[str, str, str]], when: datetime) -> list[int]:
    """Add events, as (audit id, type, JSON text), to the logs; returns their ids.

    As many as `slice_size` says go in as one statement. Raises AuditNotFound.
    """
    database = current_database()
    if database.unchained_after is not None:
        chain_raw(database)
    moment = format_datetime(when)
    chain = database.chain
    digests: list[bytes] = []
    values: list[Any] = []  # of all rows, one after the other
    try:
        for audit_id, kind, text in events:
            before = chain.get(audit_id) or _end(database, audit_id)
            chain[audit_id] = digest = link(before, kind, moment, text)
            digests.append(digest)
            values += audit_id, kind, text, moment, digest
        if len(events) == 1 and not database.raw.in_transaction:
            ids = _append_alone(database, values, before)
            if not ids:  # another process has added to the same log
                chain.clear()
                with database.unit():
                    return append_events(events, when)
        else:
            ids = insert_values(AuditEvent, _COLUMNS, values)
    except BaseException as error:
        database.forget_log()
        if isinstance(error, IntegrityError) and sqlite_code(error) == FOREIGN_KEY:
            audits = sorted({audit_id for audit_id, _, _ in events})
            raise not_found(audits[0] if len(audits) == 1 else audits) from error
        raise
    _added(database, ids, digests)
    return ids


def append_chained(rows: list[tuple[Any, ...]]) -> list[int]:
    """Add events of another store, as (audit id, type, JSON text, stored time, digest): whole logs,
    whose digests have been checked; returns their ids."""
    database = current_database()
    if database.unchained_after is not None:
        chain_raw(database)
    if not rows:
        return []
    ids = insert_values(AuditEvent, _COLUMNS, [value for row in rows for value in row])
    _added(database, ids, [row[-1] for row in rows])
    return ids


def _added(database: StoreDatabase, ids: list[int], digests: list[bytes]) -> None:
    if database.since_head is not None:
        database.since_head += digests
    if ids[-1] >= database.next_head:
        with database.unit():
            _keep_heads(database, ids[-1])


def _append_alone(database: StoreDatabase, row: list[Any], before: bytes) -> list[int]:
    """Insert one event without a transaction around it, if its audit's log ends as we know it."""
    last = None if before == row[0].encode() else before
    cursor = database.execute_sql(_alone_sql(), (*row, row[0], last))
    return [int(cursor.lastrowid)] if cursor.rowcount == 1 else []


@functools.cache
def _alone_sql() -> str:
    insert, _, _ = insert_sql(AuditEvent, *_COLUMNS).rpartition(" VALUES ")
    last = AuditEvent.select(AuditEvent.digest).where(AuditEvent.audit == MARK)
    last = last.order_by(AuditEvent.id.desc()).limit(SQL("1"))
    text = f"{insert} SELECT ?, ?, ?, ?, ? WHERE ({text_of(last)}) IS ?"
    SEALED_INSERTS.add(text)
    return text


def _end(database: StoreDatabase, audit_id: str) -> bytes:
    """The digest of the last event in an audit's log."""
    rows = execute(_end_sql(), (key_of(audit_id),))
    if len(database.chain) >= _CHAINS:
        database.chain.clear()
    return rows[0][0] if rows else audit_id.encode()


@functools.cache
def _end_sql() -> str:
    query = AuditEvent.select(AuditEvent.digest)
    query = query.where(AuditEvent.audit == MARK, AuditEvent.digest.is_null(False))
    return text_of(query.order_by(AuditEvent.id.desc()).limit(SQL("1")))


def chain_raw(database: StoreDatabase) -> None:
    """Give events that were inserted past `append_events` their place in the chain."""
    after, database.unchained_after = database.unchained_after, None
    for event_id, audit_id, kind, moment, data in execute(_raw_sql(), (after,)):
        before = database.chain.get(audit_id) or _end(database, audit_id)
        database.chain[audit_id] = digest = link(before, kind, moment, data)
        database.execute_sql(update_sql(AuditEvent, "digest"), (digest, event_id))
        database.since_head = None


@functools.cache
def _raw_sql() -> str:
    query = AuditEvent.select(
        AuditEvent.id,
        AuditEvent.audit,
        AuditEvent.event_type,
        AuditEvent.timestamp,
        AuditEvent.data,
    )
    query = query.where(AuditEvent.id > MARK, AuditEvent.digest.is_null())
    return text_of(query.order_by(AuditEvent.id))


# ---- the store's heads ----


def head(before: str, digests: Iterable[bytes | None]) -> str:
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
    """The head of the current database."""
    position, digest = _last_head()
    rows = execute(_since_sql(), (position, 2**62, position, 2**62))
    if rows:
        position, digest = rows[-1][0], head(digest, [row[1] for row in rows])
    audits = Audit.select().count() + RemovedAudit.select().count()
    changes = rows_of(StoreChanges.select(StoreChanges.number))
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
    return rows[0] if rows else (0, head("", []))


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


def _keep_heads(database: StoreDatabase, newest: int) -> None:
    """Keep a head for each full thousand up to `newest`, and say when the next one is due."""
    position, digest = _last_head()
    due = position - position % HEAD_EVERY + HEAD_EVERY
    since = database.since_head
    # What was just written is not read again, if it is all that was: that would cost as much as
    # the digests themselves.
    known = since is not None and len(since) == newest - position
    while due <= newest:
        if known and since is not None:
            digest = head(digest, since[: due - position])
            del since[: due - position]
        else:
            rows = execute(_since_sql(), (position, due, position, due))
            digest = head(digest, [row[1] for row in rows])
        StoreHead.insert(event_id=due, digest=digest).execute()
        position, due = due, due + HEAD_EVERY
    database.next_head = due
    if not known:
        rows = execute(_since_sql(), (position, newest, position, newest))
        database.since_head = [row[1] or b"" for row in rows]


# ---- what the log tells ----


def event_data(audit_id: str, event_type: str) -> list[dict[str, Any]]:
    """The data of an audit's events of one type, in order."""
    rows = execute(_event_data_sql(), (audit_id, event_type))
    found = [AuditEvent._meta.fields["data"].python_value(text) for (text,) in rows]
    return [data for data in found if isinstance(data, dict)]


@functools.cache
def _event_data_sql() -> str:
    query = AuditEvent.select(AuditEvent.data)
    query = query.where(AuditEvent.audit == MARK, AuditEvent.event_type == MARK)
    return text_of(query.order_by(AuditEvent.id))


def findings_told(audit_id: str, before: int) -> bool:
    """Whether any `finding` event with an id, older than `before`, is in the log."""
    return bool(execute(_findings_told_sql(), (audit_id, before)))


@functools.cache
def _findings_told_sql() -> str:
    query = AuditEvent.select(SQL("1")).where(
        AuditEvent.audit == MARK,
        AuditEvent.event_type == SQL("'finding'"),
        told_finding_id > SQL("''"),  # by the index of those, past all other events
        AuditEvent.id < MARK,
    )
    return text_of(query.limit(SQL("1")))


def finding_told(audit_id: str, finding_id: str, before: int) -> bool:
    """Whether a `finding` event older than `before` told the finding with the engine's id."""
    return bool(execute(finding_told_sql(), (audit_id, finding_id, before)))


@functools.cache
def finding_told_sql() -> str:
    query = AuditEvent.select(SQL("1")).where(
        AuditEvent.audit == MARK,
        # Said in the text: a partial index is used only where its condition is plain to see.
        AuditEvent.event_type == SQL("'finding'"),
        told_finding_id == MARK,
        AuditEvent.id < MARK,
    )
    return text_of(query.limit(SQL("1")))
