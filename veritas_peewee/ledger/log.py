"""The log of events: each digest covers the one before it, so that no change goes unnoticed.

Each audit's log is a chain of its own, so its digests stay valid when the audit is taken to
another store; the heads (`heads`) cover the store as a whole.
"""

from __future__ import annotations

import logging
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

from peewee import SQL

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import current_database
from veritas_peewee.database.expressions import blob_as_read
from veritas_peewee.database.failures import DRIVER_ERRORS, error_code, is_missing_parent
from veritas_peewee.database.sqlite_errors import AUTH
from veritas_peewee.database.statements import (
    MARK,
    execute,
    insert_sql,
    insert_values,
    per_backend,
    store_rows,
    text_of,
    update_sql,
)
from veritas_peewee.ledger import counter, heads, sent_alone
from veritas_peewee.ledger.contents import MOST_CHAINS
from veritas_peewee.ledger.memory import Remembered, remembered
from veritas_peewee.models import Audit, AuditEvent
from veritas_peewee.values.ids import key_of, not_found
from veritas_peewee.values.moments import format_datetime

if TYPE_CHECKING:
    from veritas_peewee.database.postgres import PostgresStore

_COLUMNS = ("audit", "event_type", "data", "timestamp", "digest")
_logger = logging.getLogger("veritas_peewee")


def link(before: bytes, event_type: str, timestamp: str | None, data: str | None) -> bytes:
    """An event's digest: SHA-256 over the digest before it and the event's stored values.

    For the first event of a log `before` is the audit's id in UTF-8.
    """
    return sha256(before + hashed(event_type, timestamp, data)).digest()


def hashed(event_type: str, timestamp: str | None, data: str | None) -> bytes:
    """What an event's digest covers of the event itself, byte for byte."""
    text = f"\0{event_type}\0{timestamp or ''}\0{data or ''}"
    return text.encode(errors="surrogatepass")


def append_event(audit_id: str, event_type: str, text: str, when: datetime) -> int:
    """Add an event with the JSON text `text` to the audit's log; returns its id.

    Raises AuditNotFound.
    """
    return append_events([(audit_id, event_type, text)], when)[0]


def append_events(events: list[tuple[str, str, str]], when: datetime) -> list[int]:
    """Add events, as (audit id, type, JSON text), to the logs of their audits; returns their ids.

    `when` is stored as the time of all of them. One statement inserts as many events as
    `statement_size` says. Raises AuditNotFound if one of the audits does not exist.
    """
    if not events:
        return []
    database = current_database()
    memory = remembered(database)
    is_alone = len(events) == 1 and not database.transaction_is_open
    if is_alone and (memory.has_triggers or database.query_hooks):
        # What a caller's trigger changes is sealed with it; what a hook of his raises undoes it.
        with database.unit():
            return append_events(events, when)
    if memory.unchained_after is not None:
        chain_raw(database, memory)
    if not memory.next_head:
        memory.gives_ids = not _is_counted(database)
    moment = format_datetime(when)
    chain = memory.chain
    if len(chain) > MOST_CHAINS:  # not among the events, whose ends are in no file yet
        chain.clear()
    digests: list[bytes] = []
    values: list[Any] = []  # of all rows, one after the other
    try:
        for audit_id, kind, text in events:
            before = chain.get(audit_id) or _end(memory, audit_id)
            chain[audit_id] = digest = link(before, kind, moment, text)
            digests.append(digest)
            values += audit_id, kind, text, moment, digest
        memory.trace.newest = audit_id, digest
        memory.appending = True
        if is_alone:
            ids = _append_alone(database, memory, values, before)
        else:
            ids = _insert(memory, values)
    except BaseException as error:
        memory.forget_log()
        if is_missing_parent(error):
            audits = sorted({audit_id for audit_id, _, _ in events})
            raise not_found(audits[0] if len(audits) == 1 else audits) from error
        raise
    finally:
        memory.appending = False
    if not ids:  # another process has added to the same log, or changed the schema
        chain.clear()
        with database.unit():
            if not memory.gives_ids:
                _compile_alone(database)
            return append_events(events, when)
    if memory.followed:
        for audit_id, _, _ in events:
            if (followed := memory.followed.get(audit_id)) is not None:
                followed.events += 1
    _added(database, memory, ids, digests)
    return ids


def _is_counted(database: StoreDatabase) -> bool:
    """Whether SQLite can go on counting the events."""
    try:
        return counter.is_sound()
    except DRIVER_ERRORS:
        if database.transaction_is_open:
            raise
        return False  # a table is gone: with a transaction around it, the schema is looked at first


def append_chained(rows: list[tuple[Any, ...]]) -> list[int]:
    """Add events of another store with the digests that they have; returns their new ids.

    Each row is (audit id, type, JSON text, stored time, digest). The rows are whole logs whose
    digests have been checked.
    """
    database = current_database()
    memory = remembered(database)
    chain_raw(database, memory)
    if not rows:
        return []
    if not memory.next_head:
        memory.gives_ids = not _is_counted(database)
    memory.appending = True
    try:
        ids = _insert(memory, [value for row in rows for value in row])
    finally:
        memory.appending = False
    memory.trace.newest = rows[-1][0], rows[-1][-1]
    _added(database, memory, ids, [row[-1] for row in rows])
    return ids


def _insert(memory: Remembered, values: list[Any]) -> list[int]:
    """Insert events, given as the stored values of all rows; returns their ids."""
    if not memory.gives_ids:
        return insert_values(AuditEvent, _COLUMNS, values)
    newest = heads.newest_event() if memory.newest is None else memory.newest
    first, width = newest + 1, len(_COLUMNS)
    rows = [values[start : start + width] for start in range(0, len(values), width)]
    ids = list(range(first, first + len(rows)))
    numbered = [(event_id, *row) for event_id, row in zip(ids, rows, strict=True)]
    store_rows(AuditEvent, ("id", *_COLUMNS), numbered)
    if memory.newest is not None:
        memory.newest = ids[-1]
    return ids


def _added(
    database: StoreDatabase, memory: Remembered, ids: list[int], digests: list[bytes]
) -> None:
    if memory.since_head is not None and ids[0] == memory.since_upto + 1:
        memory.since_head += digests
        memory.since_upto = ids[-1]
    if ids[-1] < memory.next_head:
        return
    is_stored = not database.state.transactions  # a lone event, which nothing can undo any more
    try:
        with database.unit():
            heads.store_heads(memory, ids[-1])
    except Exception:
        if not is_stored:
            raise
        # Its caller must not hear that it failed, or it would be stored twice. The head is due
        # with the next event.
        memory.next_head = 0
        _logger.warning("%s: a head was not stored", database.name, exc_info=True)


def _append_alone(
    database: StoreDatabase, memory: Remembered, row: list[Any], before: bytes
) -> list[int]:
    """Insert one event without a transaction around it; returns its id in a list.

    The list is empty if the audit's log does not end with the digest `before`, or if the statement
    would have to be compiled first.
    """
    if database.reads_ahead:
        return sent_alone.append(cast("PostgresStore", database), memory, row, before)
    if memory.gives_ids:
        return []
    last = None if before == row[0].encode() else before
    memory.alone = alone = database.role == "writer"  # in a script a transaction is around it
    try:
        cursor = database.execute_sql(_alone_sql(), (*row, row[0], last))
    except DRIVER_ERRORS as error:
        memory.alone = False
        if alone and error_code(error) == AUTH:
            return []
        if alone:
            database.check_refused(error)
        raise
    finally:
        memory.alone = False
    return [int(cursor.lastrowid)] if cursor.rowcount == 1 else []


def _compile_alone(database: StoreDatabase) -> None:
    """Have SQLite compile the statement of a lone event, in a transaction that has looked at the
    schema."""
    database.execute_sql(_alone_sql(), (None, None, None, None, None, None, b""))  # adds nothing


@per_backend
def _alone_sql() -> str:
    insert, _, _ = insert_sql(AuditEvent, *_COLUMNS).rpartition(" VALUES ")
    last = AuditEvent.select(AuditEvent.digest).where(AuditEvent.audit == MARK)
    last = last.order_by(AuditEvent.id.desc()).limit(SQL("1"))
    return f"{insert} SELECT ?, ?, ?, ?, ? WHERE ({text_of(last)}) IS ?"


def _end(memory: Remembered, audit_id: str) -> bytes:
    """The digest of the last event in an audit's log; for an empty log the audit's id."""
    rows = execute(_end_sql(), (key_of(audit_id),))
    if not rows and current_database().reads_ahead and not execute(_there_sql(), (audit_id,)):
        raise not_found(audit_id)  # an INSERT that is only sent would not tell it here
    return rows[0][0] if rows else audit_id.encode()


@per_backend
def _there_sql() -> str:
    return text_of(Audit.select(SQL("1")).where(Audit.id == MARK))


@per_backend
def _end_sql() -> str:
    query = AuditEvent.select(blob_as_read(AuditEvent.digest))
    query = query.where(AuditEvent.audit == MARK, AuditEvent.digest.is_null(False))
    return text_of(query.order_by(AuditEvent.id.desc()).limit(SQL("1")))


def chain_raw(database: StoreDatabase, memory: Remembered) -> None:
    """Give digests to the events that were inserted without `append_events`."""
    after, memory.unchained_after = memory.unchained_after, None
    if after is None:
        return
    for event_id, audit_id, kind, moment, data in execute(_raw_sql(), (after,)):
        before = memory.chain.get(audit_id) or _end(memory, audit_id)
        memory.chain[audit_id] = digest = link(before, kind, moment, data)
        database.execute_sql(update_sql(AuditEvent, "digest"), (digest, event_id))
        memory.since_head = None


@per_backend
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
