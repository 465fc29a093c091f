"""One engine event → rows: the event itself and its effect, in one unit.

The event log is the truth and the rows are its projection: an effect depends on nothing but the
stored event, its time and the rows before it, so replaying a log gives the same rows.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast

from veritas_peewee import operations
from veritas_peewee.database.current import atomic, current_database
from veritas_peewee.database.statements import rows_of
from veritas_peewee.effects import EFFECTS, RUNS, Projection
from veritas_peewee.engine_output import RESULT_EVENT
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.files.images import ScreenshotFolder, read_image
from veritas_peewee.files.sessions import is_alive, sweep
from veritas_peewee.ledger import log
from veritas_peewee.models import AuditEvent, AuditRunner, AuditStatus
from veritas_peewee.values import ids
from veritas_peewee.values.ids import key_of
from veritas_peewee.values.moments import epoch, utc_now
from veritas_peewee.values.plain import (
    EndlessJSON,
    check_text,
    encode_json,
    invalid,
    kind_of,
    plain,
    plain_number,
    plain_text,
    shown,
    unstorable,
)

NOTES = "store_notes"
"""The key under which a stored event lists what could not be kept as it came."""

_LARGE_TEXT = 65536
_REPLACEMENT = str.maketrans({"\0": "\ufffd"} | {chr(c): "\ufffd" for c in range(0xD800, 0xE000)})


class PreparedEvent:
    """An event in its stored form; its image, if it has one, is on disk already."""

    __slots__ = ("event", "files", "folder", "kind", "text")

    def __init__(
        self,
        event: dict[str, Any],
        text: str,
        kind: str = "",
        folder: ScreenshotFolder | None = None,
    ) -> None:
        self.event = event
        self.text = text
        self.kind = kind
        self.folder = folder
        self.files: list[str] = []

    def discard(self) -> None:
        """Take back what was put on disk: the event will never be recorded."""
        if self.folder is not None and self.files:
            self.folder.remove(self.files)


def is_heavy(event: object) -> bool:
    """Whether preparing the event may take long: an image, a whole result, a very long text."""
    if not issubclass(type(event), dict):
        return False
    # The class's own methods: those of a caller's class may do anything.
    event = cast(dict[str, Any], event)
    for value in dict.values(event):
        text = value if type(value) is str else plain_text(value)
        if text is not None and len(text) > _LARGE_TEXT:
            return True
    return plain_text(dict.get(event, "type")) in ("screenshot", "audit_result", RESULT_EVENT)


def prepare(
    audit_id: str, event: object, folder: ScreenshotFolder, *, lenient: bool = False
) -> PreparedEvent:
    """Check an event and put its image on disk; runs anywhere, needs no database.

    Raises InvalidAudit for what cannot be stored; if `lenient`, that is replaced or left out
    instead, and a note of it goes into the stored event and from there into `errors`.
    """
    if not issubclass(type(event), dict):
        raise invalid("event", "must be a JSON object", event)
    if type(event) is not dict:
        event = dict(dict.items(cast(dict[str, Any], event)))
    notes: list[str] = []
    given, text = event, ""
    if lenient:
        event, text = clean(event, notes)
    try:
        kind = check_text("event.type", event.get("type"), 100)
        if not kind:
            raise invalid("event.type", "cannot be empty", kind)
    except InvalidAudit as error:
        if not lenient:
            raise
        notes.append(str(error))
        kind = "unknown"
        event = {**event, "type": kind}
    prepared = PreparedEvent(event, "", folder=folder)
    if kind == "screenshot":
        prepared.event = _store_image(audit_id, event, prepared, folder, lenient=lenient)
    if notes:
        prepared.event = {**prepared.event, NOTES: notes}
    prepared.kind = kind
    try:
        # Already encoded, unless something of it was replaced.
        unchanged = prepared.event is given and text
        prepared.text = text if unchanged else encode_json(prepared.event, "event")
    except InvalidAudit:
        prepared.discard()
        raise
    return prepared


def clean(event: dict[str, Any], notes: list[str]) -> tuple[dict[str, Any], str]:
    """`event` and its text; if strict JSON cannot hold it, a copy that it can, and no text, with
    a note for each value that it cost."""
    try:
        return event, encode_json(event, "event")
    except EndlessJSON:
        raise
    except InvalidAudit:
        places = [f"{path}: {reason}" for path, reason in unstorable(event, "event")]
        notes.extend(places[:20])
        if len(places) > 20:
            notes.append(f"event: {len(places) - 20} more values that JSON cannot hold")
        cleaned = _clean(plain(event, "event"))
        return cleaned if isinstance(cleaned, dict) else {}, ""


def _clean(value: object) -> object:
    """`value`, whose classes are plain ones, as strict JSON can hold it."""
    if isinstance(value, dict):
        return {_text(key): _clean(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_clean(inner) for inner in value]
    if value is None or isinstance(value, bool):
        return value
    if (number := plain_number(value)) is not None:
        return None if any(unstorable(number, "")) else number
    return _text(value)


def _text(value: object) -> str:
    text = plain_text(value)
    if text is None:
        try:
            text = str(value)
        except Exception:  # a class of a caller's may raise anything
            text = kind_of(value)
    return text.translate(_REPLACEMENT)


def _store_image(
    audit_id: str,
    event: dict[str, Any],
    prepared: PreparedEvent,
    folder: ScreenshotFolder,
    *,
    lenient: bool,
) -> dict[str, Any]:
    """The event with its image replaced by a reference to the stored file."""
    data, source, label = event.get("data"), plain_text(event.get("url")), event.get("label", "")
    where = f"screenshot {shown(label)}"
    try:
        if data is not None:
            image = _decode(data)
        elif source:
            image = read_image(source)
        else:
            return {**event, "data": {"error": f"{where}: has neither data nor a url"}}
    except OSError as error:
        place = source if len(source or "") <= 300 else shown(source)
        return {**event, "data": {"error": f"{where}: {place} cannot be read: {error.strerror}"}}
    except InvalidAudit as error:
        if data is not None and not lenient:
            raise
        return {**event, "data": {"error": f"{where}: {error}"}}
    ids.check_id(audit_id)
    index = plain_number(event.get("index"))
    try:
        stored = folder.put(
            audit_id,
            index if isinstance(index, int) and 0 <= index < 10**9 else 0,
            plain_text(label) or "",
            image,
        )
    except InvalidAudit as error:
        if not lenient:
            raise
        return {**event, "data": {"error": f"{where}: {error}"}}
    prepared.files.append(stored.file)
    reference = stored._asdict()
    if taken := epoch(event.get("taken_at")):
        reference["taken_at"] = taken.isoformat()
    return {**event, "data": reference}


def _decode(data: object) -> bytes:
    text = plain_text(data)
    if text is None:
        raise invalid("screenshot.data", "must be base64 text", data)
    text = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("screenshot.data", f"is not base64 ({error})", data) from None


def is_single(prepared: PreparedEvent) -> bool:
    """Whether recording the event is one statement: it has no effect on other rows."""
    return prepared.kind not in EFFECTS and NOTES not in prepared.text and not prepared.files


def apply_together(jobs: list[tuple[str, PreparedEvent]]) -> list[int]:
    """Record events that have no effect, of any audits, in one statement; returns their ids."""
    return log.append_events([(key_of(a), one.kind, one.text) for a, one in jobs], utc_now())


@atomic
def apply(audit_id: str, prepared: PreparedEvent) -> int:
    """Record one prepared event and its effect; returns the event's id."""
    return _apply(key_of(audit_id), prepared, utc_now())


def _apply(audit_id: str, prepared: PreparedEvent, when: datetime) -> int:
    kind = prepared.kind
    if prepared.files:
        current_database().after_rollback(prepared.discard)
    event_id = log.append_event(audit_id, kind, prepared.text, when)
    effect = EFFECTS.get(kind)
    if effect is not None or NOTES in prepared.text:
        # What is stored, not what was given: the caller may have changed that since.
        event = json.loads(prepared.text)
        projection = Projection(audit_id, event_id, when)
        if effect is not None:
            effect(projection, event)
        if isinstance(notes := event.get(NOTES), list):
            projection.errors.extend(note for note in notes if isinstance(note, str))
        projection.finish()
    return event_id


@atomic
def apply_all(audit_id: str, prepared: Iterable[PreparedEvent]) -> list[int]:
    """Record prepared events, all or none."""
    audit_id, when = key_of(audit_id), utc_now()
    ids: list[int] = []
    for kind, run in itertools.groupby(prepared, _kind_of_run):
        if kind is None:
            ids += [_apply(audit_id, one, when) for one in run]
        else:
            ids += _apply_run(audit_id, kind, list(run), when)
    if not ids:
        operations.audit_state(audit_id)  # there must be such an audit all the same
    return ids


_NO_EFFECT = ""


def _kind_of_run(prepared: PreparedEvent) -> str | None:
    """What lets events that follow each other go in together: no effect, or one for many."""
    if is_single(prepared):
        return _NO_EFFECT
    return prepared.kind if prepared.kind in RUNS and NOTES not in prepared.text else None


def _apply_run(audit_id: str, kind: str, run: list[PreparedEvent], when: datetime) -> list[int]:
    ids = log.append_events([(audit_id, one.kind, one.text) for one in run], when)
    if kind != _NO_EFFECT:
        projection = Projection(audit_id, ids[0], when)
        told = [json.loads(one.text) for one in run]
        RUNS[kind](projection, list(zip(ids, told, strict=True)))
        projection.finish()
    return ids


def listed(events: object) -> list[Any]:
    """Events as a list; InvalidAudit if they are none."""
    if isinstance(events, str | bytes | dict) or not isinstance(events, Iterable):
        raise invalid("events", "must be a list of JSON objects", events)
    return list(events)


def prepare_all(
    audit_id: str,
    events: Iterable[object],
    folder: ScreenshotFolder,
    *,
    lenient: bool = False,
) -> list[PreparedEvent]:
    """Prepare many events; if one is refused, nothing of the others is left on disk."""
    done: list[PreparedEvent] = []
    try:
        for event in listed(events):
            done.append(prepare(audit_id, event, folder, lenient=lenient))
    except BaseException:
        discard_all(done)
        raise
    return done


def discard_all(prepared: Iterable[PreparedEvent]) -> None:
    for one in prepared:
        one.discard()


def record(audit_id: str, event: dict[str, Any], *, lenient: bool = False) -> int:
    """Record one event and its effect on the rows; returns the event's id.

    Raises AuditNotFound, or InvalidAudit for an event that cannot be stored.
    """
    return record_many(audit_id, [event], lenient=lenient)[0]


def record_many(
    audit_id: str, events: Iterable[dict[str, Any]], *, lenient: bool = False
) -> list[int]:
    """Record events in order, all or none; returns their ids."""
    prepared = prepare_all(audit_id, events, operations.screenshot_folder(), lenient=lenient)
    try:
        return apply_all(audit_id, prepared)
    except BaseException:
        discard_all(prepared)
        raise


@atomic
def replay(audit_id: str, events: Iterable[AuditEvent]) -> list[int]:
    """Record stored events again, at their own times, into an audit that has none yet."""
    if AuditEvent.select().where(AuditEvent.audit == audit_id).exists():
        raise InvalidAudit(f"audit {audit_id!r} already has events: replay into an empty one")
    ids = []
    for stored in events:
        data = stored.data or {}
        text = encode_json(data, "event")
        ids.append(_apply(audit_id, PreparedEvent(data, text, stored.event_type), stored.timestamp))
    return ids


@atomic
def end_of_output(audit_id: str, reason: str) -> bool:
    """Mark an audit whose engine went away before its end; False if it had ended."""
    status = operations.audit_state(audit_id)["status"]
    if status not in (AuditStatus.QUEUED, AuditStatus.RUNNING):
        return False
    record(audit_id, {"type": "audit_disconnected", "error": reason})
    return True


def disconnect_dead() -> list[str]:
    """Mark audits that were running in a process which has died; returns their ids."""
    folder = current_database().location.sessions
    rows = rows_of(AuditRunner.select(AuditRunner.audit, AuditRunner.session))
    dead = {session for _, session in rows if not is_alive(folder, session)}
    ended = _disconnect(dead) if dead else []
    sweep(folder)
    return ended


@atomic
def _disconnect(sessions: set[str]) -> list[str]:
    rows = rows_of(AuditRunner.select(AuditRunner.audit, AuditRunner.session))
    ids = [audit_id for audit_id, session in rows if session in sessions]
    reason = "the process that was running this audit has ended"
    ended = [audit_id for audit_id in ids if end_of_output(audit_id, reason)]
    for audit_id in ids:
        AuditRunner.delete().where(AuditRunner.audit == audit_id).execute()
    return ended
