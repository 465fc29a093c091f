"""Recording an event of the engine: the event itself and its effect on the rows, in one unit.

The event log is the truth and the rows are its projection: an effect depends on nothing but the
stored event, its time and the rows before it, so replaying a log gives the same rows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from veritas_peewee.database.current import atomic, current_database
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.ledger import log, log_questions
from veritas_peewee.ledger.warming import warm
from veritas_peewee.models import AuditEvent, AuditStatus
from veritas_peewee.queries import images
from veritas_peewee.recording import operations
from veritas_peewee.recording.effects import kind_named
from veritas_peewee.recording.output import RESULT_EVENT
from veritas_peewee.recording.preparing import (
    NOTES,
    PreparedEvent,
    discard_rest,
    prepare,
    prepare_all,
)
from veritas_peewee.recording.projection import Projection, write_all
from veritas_peewee.values.ids import key_of
from veritas_peewee.values.moments import utc_now
from veritas_peewee.values.plain import encode_json

_logger = logging.getLogger("veritas_peewee")


def has_effect(prepared: PreparedEvent) -> bool:
    """Whether the event can change other rows than its own."""
    found = prepared.has_effect
    if found is None:
        found = kind_named(prepared.kind).effect is not None or NOTES in prepared.text
        prepared.has_effect = found
    return found


def is_single(prepared: PreparedEvent) -> bool:
    """Whether recording the event takes a single statement: it has no effect on other rows."""
    return not has_effect(prepared) and not prepared.files


def apply_together(jobs: list[tuple[str, PreparedEvent]]) -> list[int]:
    """Record events, as (audit id, event), and their effects, all or none; returns their ids.

    The events can be of any audits, each of which is changed and sealed once for all of its own.
    What becomes of their images is for the caller, who may try them again one by one. Raises
    AuditNotFound if one of the audits does not exist.
    """
    when = utc_now()
    events = [(key_of(audit_id), one) for audit_id, one in jobs]
    database = current_database()
    with database.unit():
        warm(database, [audit_id for audit_id, _ in events], _findings_of(events))
        ids = log.append_events([(audit_id, one.kind, one.text) for audit_id, one in events], when)
        if waiting := [image for _, one in events for image in one.waiting]:
            images.insert(waiting)
        projections: dict[str, Projection] = {}
        for event_id, (audit_id, one) in zip(ids, events, strict=True):
            if not one.has_effect and not has_effect(one):
                continue
            projection = projections.get(audit_id)
            if projection is None:
                projection = projections[audit_id] = Projection(audit_id)
            project(projection, event_id, one, when)
        write_all(projections.values())
        database.seal_changes()
    return ids


@atomic
def apply(audit_id: str, prepared: PreparedEvent) -> int:
    """Record one prepared event and its effect; returns the event's id. Raises AuditNotFound."""
    return _apply(key_of(audit_id), [prepared], utc_now())[0]


@atomic
def apply_all(
    audit_id: str, prepared: Iterable[PreparedEvent], *, whole: bool = False
) -> list[int]:
    """Record prepared events and their effects, all or none; returns their ids.

    If they are the `whole` output of an audit, any final status in it closes the audit. Raises
    AuditNotFound, also if there are no events.
    """
    audit_id, events = key_of(audit_id), list(prepared)
    if not events:
        operations.audit_state(audit_id)  # raises AuditNotFound
    return _apply(audit_id, events, utc_now(), whole=whole)


def _apply(
    audit_id: str, events: list[PreparedEvent], when: datetime, *, whole: bool = False
) -> list[int]:
    if len(events) == 1 and is_single(events[0]):  # the most frequent kind: no row but its own
        return [log.append_event(audit_id, events[0].kind, events[0].text, when)]
    for one in events:
        take_over(one)
    warm(current_database(), [audit_id], _findings_of((audit_id, one) for one in events))
    ids = log.append_events([(audit_id, one.kind, one.text) for one in events], when)
    if waiting := [image for one in events for image in one.waiting]:
        images.insert(waiting)
    projection = Projection(audit_id, whole=whole)
    for event_id, one in zip(ids, events, strict=True):
        project(projection, event_id, one, when)
    write_all([projection])
    return ids


def _findings_of(events: Iterable[tuple[str, PreparedEvent]]) -> Iterator[tuple[str, str]]:
    """The findings that events report under an id of the engine's, each with its audit."""
    for audit_id, one in events:
        found: Any = ()
        if one.kind == "finding":
            found = (one.event.get("finding"),)
        elif one.kind == RESULT_EVENT and isinstance(result := one.event.get("result"), dict):
            found = result.get("findings")
        for each in found if isinstance(found, list | tuple) else ():
            if isinstance(each, dict) and isinstance(own := each.get("id"), str) and own:
                yield audit_id, own


def take_over(one: PreparedEvent) -> None:
    """From now on what becomes of an event's image follows the end of the open unit."""
    # What is undone in hope is run again, with its image.
    if one.files and not current_database().hopes:
        current_database().after_rollback(one.discard)
        one.has_begun = True


def project(projection: Projection, event_id: int, one: PreparedEvent, when: datetime) -> None:
    """Add to `projection` what a recorded event changes, if it has an effect.

    The log may have later events already: an effect looks only at those before its own.
    """
    if not has_effect(one):
        return
    kind = kind_named(one.kind)
    if kind.unless is not None and kind.unless(projection) and NOTES not in one.text:
        return
    event = one.stored_event()
    projection.begin(event_id, when, closes=kind.closes)
    if kind.effect is not None:
        kind.effect(projection, event)
    if isinstance(notes := event.get(NOTES), list):
        projection.errors.extend(note for note in notes if isinstance(note, str))
    projection.settle()


def record(audit_id: str, event: dict[str, Any], *, lenient: bool = False) -> int:
    """Record one event and its effect on the rows; returns the event's id.

    Raises AuditNotFound, or InvalidAudit for an event that cannot be stored; see `record_many`.
    """
    return _record(audit_id, [prepare(audit_id, event, images.current_images(), lenient=lenient)])[
        0
    ]


def record_many(
    audit_id: str, events: Iterable[dict[str, Any]], *, lenient: bool = False
) -> list[int]:
    """Record events in order, all or none; returns their ids.

    Raises AuditNotFound, or InvalidAudit if one of the events cannot be stored, which says which
    one (`events[2]` is the third). If `lenient`, a value that cannot be stored is replaced or left
    out instead, with a note in `errors`.
    """
    return _record(
        audit_id, prepare_all(audit_id, events, images.current_images(), lenient=lenient)
    )


def _record(audit_id: str, prepared: list[PreparedEvent]) -> list[int]:
    try:
        return apply_all(audit_id, prepared)
    except BaseException:
        discard_rest(prepared)
        raise


@atomic
def replay(audit_id: str, events: Iterable[AuditEvent]) -> list[int]:
    """Record stored events again, at their own times, into an audit without events.

    Returns the ids of the new events. Raises InvalidAudit if the audit has events already.
    """
    if AuditEvent.select().where(AuditEvent.audit == audit_id).exists():
        raise InvalidAudit(f"audit {audit_id!r} already has events: replay into an empty one")
    added = []
    for stored in events:
        data = stored.data or {}
        text = encode_json(data, "event")
        when = stored.timestamp or utc_now()
        event_id = log.append_event(audit_id, stored.event_type, text, when)
        added.append((event_id, PreparedEvent(data, text, stored.event_type), when))
    projection = Projection(audit_id)  # it reads what it asks of the log once: all has to be there
    for event_id, one, when in added:
        project(projection, event_id, one, when)
    write_all([projection])
    return [event_id for event_id, _, _ in added]


@atomic
def end_of_output(
    audit_id: str, reason: str, *, failed: bool = False, always: bool = False
) -> bool:
    """Nothing more comes from what runs an audit: close it, for `reason`, unless it is closed.

    An audit without a final status becomes disconnected or, if its engine `failed`, an error. One
    whose result is recorded keeps its status; an event closes it, unless the engine's result was
    the last one and nothing failed (then too, if `always`). Returns whether an event was recorded.
    Raises AuditNotFound.
    """
    audit_id = key_of(audit_id)
    state = operations.audit_state(audit_id)
    if state["status"] in (AuditStatus.QUEUED, AuditStatus.RUNNING):
        kind = "audit_error" if failed else "audit_disconnected"
        record(audit_id, {"type": kind, "error": reason}, lenient=True)
        return True
    if operations.runner_of(audit_id) is None:
        return False
    if not (failed or always) and log_questions.last_event(audit_id) == RESULT_EVENT:
        operations.release(audit_id)
        return False
    close(audit_id, state, reason, failed=failed)
    return True


def close(audit_id: str, state: dict[str, Any], reason: str, *, failed: bool = False) -> None:
    """Record the closing event of an audit that has a final status, with `reason` as its message.

    `state` is its `audit_state`. If `failed`, the audit's `errors` have the reason too.
    """
    event: dict[str, Any] = {"type": "audit_complete", "audit_id": audit_id, "message": reason}
    if state["status"] == AuditStatus.ERROR:
        event |= {"type": "audit_error", "error": state["error_message"] or reason}
    elif state["status"] == AuditStatus.DISCONNECTED:
        event |= {"type": "audit_disconnected", "error": reason}
    if failed:
        event[NOTES] = [reason]
    record(audit_id, event, lenient=True)
