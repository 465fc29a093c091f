"""What followers read: stored events in pieces, new events, and whether an audit has ended."""

from __future__ import annotations

import functools
import json
from datetime import timedelta
from typing import Any, NamedTuple

from peewee import SQL, fn

from veritas_peewee.database.current import current_database
from veritas_peewee.database.expressions import JSON_VALUES, passed_over, values_of_json
from veritas_peewee.database.statements import MARK, execute, models_of, text_of, whole
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.ledger.counter import newest_given
from veritas_peewee.ledger.heads import LARGEST_ID
from veritas_peewee.models import Audit, AuditEvent, AuditStatus
from veritas_peewee.recording.effects import KINDS
from veritas_peewee.values.ids import key_of, not_found
from veritas_peewee.values.moments import format_datetime, utc_now
from veritas_peewee.values.plain import invalid

POLL = 0.25
"""Seconds between two checks for events that other processes have written."""
PIECE, BATCH = 256, 4000
"""The most events that are read at once for one follower, and for all of them."""
TEXT = 1_000_000
"""A read ends once the texts of its events have more characters than this, however few they are."""
CLOSING = timedelta(seconds=2)
"""How long after its last event an audit with a final status may still get its closing event."""

_ENDED = (AuditStatus.COMPLETED, AuditStatus.ERROR, AuditStatus.DISCONNECTED)
_AUDIT, _DATA = map(AuditEvent._meta.sorted_field_names.index, ("audit", "data"))


class Piece(NamedTuple):
    """Some stored events of one audit or of all, in order."""

    events: list[AuditEvent]
    upto: int
    """The event id up to which no events are left to read."""
    more: bool
    """Whether more are stored right now."""
    ended: bool
    """Whether the audit has ended and these were its last events."""


class News(NamedTuple):
    """A batch of new events of several audits, in order."""

    events: list[AuditEvent]
    upto: int
    """The event id up to which no events are left to read."""
    more: bool
    """Whether more are stored right now."""
    over: list[str]
    """Audits that have ended or are gone; one that has ended may have events not read yet."""
    size: int
    """Characters of the events' texts."""


def check_after(after: object) -> int:
    """`after`, if it can be an event's id or is 0; else raises InvalidAudit."""
    if isinstance(after, bool) or not isinstance(after, int) or not 0 <= after < 2**63:
        raise invalid("after", "must be an event's id, or 0 to begin with the first", after)
    return after


def stored(audit_id: str | None, after: int | None) -> Piece:
    """The next events of an audit (None: of all) after an id (None: after all stored ones).

    Raises AuditNotFound, and InvalidAudit for an `after` that this store has not given out.
    """
    # Asked in this order, the answers agree without a transaction, whatever is written meanwhile.
    ended = False if audit_id is None else _has_ended(audit_id)
    newest = newest_given()
    if after is None:
        return Piece([], newest, False, False)
    if check_after(after) > newest:
        raise InvalidAudit(
            f"after: this store has no event {after}, its newest is {newest}; begin again with 0"
        )
    values = (after,) if audit_id is None else (audit_id, after)
    rows, more, _ = _read(_stored_sql(audit_id is None), values, PIECE)
    events = models_of(AuditEvent, rows)
    upto = events[-1].id if more else max([newest, *(event.id for event in events[-1:])])
    return Piece(events, upto, more, ended and not more)


def fresh(after: int, audit_ids: list[str], every: bool, whole: bool) -> News:
    """The events after an id of some audits, or of `every` one, and which audits have ended.

    If there are new events, only the audits that have some are checked for having ended, unless
    `whole` is true: checking hundreds takes longer than everything else. Then StoreMoved is
    raised if the file is no longer the one that is open.
    """
    if whole:  # what others write would never be seen
        current_database().check_in_place()
    newest = newest_given()
    values = (after,) if every else (after, json.dumps(audit_ids))
    rows, more, size = _read(_stored_sql(True) if every else _fresh_sql(), values, BATCH)
    if rows and not whole:
        with_news = {row[_AUDIT] for row in rows}
        audit_ids = [audit_id for audit_id in audit_ids if audit_id in with_news]
    ids = json.dumps(audit_ids)
    over = execute(_ended_sql(), (ids, *_just_now())) + execute(_gone_sql(), (ids,))
    upto = rows[-1][0] if more else max([newest, *(row[0] for row in rows[-1:])])
    return News(models_of(AuditEvent, rows), upto, more, [row[0] for row in over], size)


def _has_ended(audit_id: str) -> bool:
    ids = json.dumps([key_of(audit_id)])
    if execute(_ended_sql(), (ids, *_just_now())):
        return True
    if execute(_gone_sql(), (ids,)):
        raise not_found(audit_id)
    return False


def _just_now() -> tuple[str, str]:
    # With an end too: an event from a clock that was ahead would count as new until that time.
    now = utc_now()
    return format_datetime(now - CLOSING), format_datetime(now + CLOSING)


def _read(
    text: str, values: tuple[Any, ...], limit: int
) -> tuple[list[tuple[Any, ...]], bool, int]:
    """Rows of events, whether there may be more, and how long their texts are."""
    rows: list[tuple[Any, ...]] = []
    size = 0
    cursor = current_database().execute_sql(text, (*values, limit))
    for row in cursor:
        rows.append(row)
        data = row[_DATA]
        size += len(data) if isinstance(data, str) else 0  # another program may store any value
        if size > TEXT:
            cursor.close()
            return rows, True, size
    return rows, len(rows) == limit, size


@functools.cache
def _stored_sql(every: bool) -> str:
    query = whole(AuditEvent)
    if not every:
        query = query.where(AuditEvent.audit == MARK)
    query = query.where(AuditEvent.id > MARK, AuditEvent.id <= SQL(str(LARGEST_ID)))
    return text_of(query.order_by(AuditEvent.id).limit(MARK))


@functools.cache
def _fresh_sql() -> str:
    # By the id, not by the index of audits: new events are few, and in order already.
    query = whole(AuditEvent).where(
        AuditEvent.id > MARK,
        AuditEvent.id <= SQL(str(LARGEST_ID)),
        passed_over(AuditEvent.audit).in_(values_of_json()),
    )
    return text_of(query.order_by(AuditEvent.id).limit(MARK))


def _ended_sql() -> str:
    return _ended_but_for(tuple(name for name, kind in KINDS.items() if kind.closes))


@functools.cache
def _ended_but_for(closing: tuple[str, ...]) -> str:
    """SQL for audits with a final status whose last event is of a closing type or is not new."""
    # The engine sends a result that says `completed`, and then more events, before it closes
    # the audit.
    last = AuditEvent.alias()
    newest = last.select(last.id).where(last.audit == Audit.id).order_by(last.id.desc())
    more_to_come = AuditEvent.select(SQL("1")).where(
        AuditEvent.id == newest.limit(SQL("1")),
        AuditEvent.event_type.not_in([SQL(f"'{name}'") for name in closing]),
        AuditEvent.timestamp > MARK,
        AuditEvent.timestamp <= MARK,
    )
    ended = [SQL(f"'{status}'") for status in _ENDED]
    query = Audit.select(Audit.id).where(
        Audit.id.in_(values_of_json()),
        passed_over(Audit.status).in_(ended),
        ~fn.EXISTS(more_to_come),
    )
    return text_of(query)


@functools.cache
def _gone_sql() -> str:
    there = Audit.select(SQL("1")).where(Audit.id == SQL("value"))
    return f"{JSON_VALUES} WHERE NOT EXISTS ({text_of(there)})"
