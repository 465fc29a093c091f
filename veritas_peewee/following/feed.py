"""What followers read: stored events in pieces, new events, and whether an audit has ended."""

from __future__ import annotations

import functools
import json
from typing import Any, NamedTuple

from peewee import SQL, fn

from veritas_peewee.database.current import current_database
from veritas_peewee.database.expressions import is_among, json_values, passed_over
from veritas_peewee.database.instances import models_of
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of, whole
from veritas_peewee.errors import InvalidAudit, StaleToken
from veritas_peewee.files.sessions import State
from veritas_peewee.ledger.counter import newest_given
from veritas_peewee.ledger.heads import LARGEST_ID
from veritas_peewee.models import Audit, AuditEvent, AuditRunner, RemovedEvent
from veritas_peewee.values.ids import key_of, not_found
from veritas_peewee.values.states import FINAL, Ended
from veritas_peewee.values.tokens import id_in, token_of

POLL = 0.25
"""Seconds between two checks for events that other processes have written."""
PIECE, BATCH = 256, 4000
"""The most events that are read at once for one follower, and for all of them."""
TEXT = 1_000_000
"""A read ends once the texts of its events have more characters than this, however few they are."""
_AUDIT, _DATA = map(AuditEvent._meta.sorted_field_names.index, ("audit", "data"))


class Piece(NamedTuple):
    """Some stored events of one audit or of all, in order."""

    events: list[AuditEvent]
    upto: int
    """The event id up to which no events are left to read."""
    more: bool
    """Whether more are stored right now."""
    ended: Ended | None
    """How the audit has ended, if it has and these were its last events."""
    large: bool
    """Whether the events' texts have more than TEXT characters."""


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
    dead: bool
    """Whether a process has died that was running audits: they are to be ended."""


def stored(audit_id: str | None, after: int | str | None) -> Piece:
    """The next events of an audit (None: of all) after an id or a token (None: after all stored).

    Raises AuditNotFound, InvalidAudit for an id that this store has not given out, and StaleToken
    for a token whose event is not in its history.
    """
    # Asked in this order, the answers agree without a transaction, whatever is written meanwhile.
    ended = None if audit_id is None else _how_ended(audit_id)
    newest = newest_given()
    if after is None:
        return Piece([], newest, False, None, False)
    if isinstance(after, str):
        after = _position_of(after)
    elif after > newest:
        raise InvalidAudit(
            f"after: this store has no event {after}, its newest is {newest}; begin again with 0"
        )
    values = (after,) if audit_id is None else (audit_id, after)
    rows, more, size = _read(_stored_sql(audit_id is None), values, PIECE)
    events = models_of(AuditEvent, rows)
    upto = events[-1].id if more else max([newest, *(event.id for event in events[-1:])])
    return Piece(events, upto, more, None if more else ended, size > TEXT)


def _position_of(token: str) -> int:
    """The id of a token's event; raises StaleToken if it is no event of this store, or another."""
    event_id = id_in(token)
    rows = execute(_digest_sql(), (event_id, event_id))
    if not any(token_of(event_id, digest) == token for (digest,) in rows):
        raise StaleToken(
            f"after: {token}: this event is not in the store's history: it was restored from a "
            "backup, or is another store; begin again with 0"
        )
    return event_id


@per_backend
def _digest_sql() -> str:
    present = AuditEvent.select(AuditEvent.digest).where(AuditEvent.id == MARK)
    removed = RemovedEvent.select(RemovedEvent.digest).where(RemovedEvent.event_id == MARK)
    removed = removed.where(RemovedEvent.audit_id != SQL("''"))
    return f"{text_of(present)} UNION ALL {text_of(removed)}"


def dead_runner() -> bool:
    """Whether a process that was running audits has died, as its session's file proves."""
    look = current_database().session.look
    return any(look(session) is State.DEAD for (session,) in execute(_runners_sql(), ()))


def ended_by_death(audit_id: str) -> Ended | None:
    """How an audit has ended whose process has died, for those who cannot record its end."""
    look = current_database().session.look
    for session, status in execute(_runner_sql(), (audit_id,)):
        if look(session) is State.DEAD:
            return Ended(status) if status in FINAL else Ended.DISCONNECTED
    return None


@functools.cache
def _runners_sql() -> str:
    return text_of(AuditRunner.select(AuditRunner.session).distinct())


@per_backend
def _runner_sql() -> str:
    query = AuditRunner.select(AuditRunner.session, Audit.status).join(Audit)
    return text_of(query.where(AuditRunner.audit == MARK))


def fresh(after: int, audit_ids: list[str], every: bool, whole: bool) -> News:
    """The events after an id of some audits, or of `every` one, and which audits have ended.

    If there are new events, only the audits that have some are checked for having ended, unless
    unless `whole` is true: checking hundreds takes longer than everything else. Then it is also
    looked whether those who run audits are alive, and StoreMoved is raised if the file is no longer
    the one that is open.
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
    over = execute(_ended_sql(), (ids,)) + execute(_gone_sql(), (ids,))
    upto = rows[-1][0] if more else max([newest, *(row[0] for row in rows[-1:])])
    dead = whole and dead_runner()
    return News(models_of(AuditEvent, rows), upto, more, [row[0] for row in over], size, dead)


def _how_ended(audit_id: str) -> Ended | None:
    ids = json.dumps([key_of(audit_id)])
    if rows := execute(_ended_sql(), (ids,)):
        return Ended(rows[0][1])
    if execute(_gone_sql(), (ids,)):
        raise not_found(audit_id)
    return None


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


@per_backend
def _stored_sql(every: bool) -> str:
    query = whole(AuditEvent)
    if not every:
        query = query.where(AuditEvent.audit == MARK)
    query = query.where(AuditEvent.id > MARK, AuditEvent.id <= SQL(str(LARGEST_ID)))
    return text_of(query.order_by(AuditEvent.id).limit(MARK))


@per_backend
def _fresh_sql() -> str:
    # By the id, not by the index of audits: new events are few, and in order already.
    query = whole(AuditEvent).where(
        AuditEvent.id > MARK,
        AuditEvent.id <= SQL(str(LARGEST_ID)),
        is_among(passed_over(AuditEvent.audit)),
    )
    return text_of(query.order_by(AuditEvent.id).limit(MARK))


@per_backend
def _ended_sql() -> str:
    """SQL for audits with a final status that nobody runs any more, and that status.

    Whoever runs an audit stays its runner until its closing event is recorded (`recorder`): no
    time decides, for an engine can take long to end, and clocks jump.
    """
    runner = AuditRunner.select(SQL("1")).where(AuditRunner.audit == Audit.id)
    final = [SQL(f"'{status}'") for status in FINAL]
    query = Audit.select(Audit.id, Audit.status).where(
        is_among(Audit.id), passed_over(Audit.status).in_(final), ~fn.EXISTS(runner)
    )
    return text_of(query)


@per_backend
def _gone_sql() -> str:
    there = Audit.select(SQL("1")).where(Audit.id == SQL("value"))
    return f"{json_values()} WHERE NOT EXISTS ({text_of(there)})"
