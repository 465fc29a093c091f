"""An event in the form in which it is stored: checked, encoded, its image decoded, and on disk
if images are in a folder.

All of this can run in any thread and needs no database, so the writer's thread only has to write.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable
from typing import Any, cast

from veritas_peewee.errors import InvalidAudit
from veritas_peewee.files.images import read_image
from veritas_peewee.files.platform import reason_of
from veritas_peewee.queries.images import Images, Named
from veritas_peewee.recording.effects import kind_named
from veritas_peewee.recording.forms import NOTES as NOTES
from veritas_peewee.recording.forms import UNKNOWN_EVENT, unreadable_event, with_notes
from veritas_peewee.values import ids
from veritas_peewee.values.moments import engine_time
from veritas_peewee.values.nesting import cut
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

_LARGE_TEXT = 65536
_REPLACEMENT = str.maketrans({"\0": "\ufffd"} | {chr(c): "\ufffd" for c in range(0xD800, 0xE000)})


class PreparedEvent:
    """An event in its stored form; its image, if it has one, is in the folder already, or is here
    until a transaction stores it."""

    __slots__ = (
        "decoded", "event", "files", "has_begun", "has_effect", "images", "kind", "text", "waiting"
    )  # fmt: skip

    def __init__(
        self,
        event: dict[str, Any],
        text: str,
        kind: str = "",
        images: Images | None = None,
    ) -> None:
        self.event = event
        self.text = text
        self.kind = kind
        self.images = images
        self.files: list[str] = []
        """The paths of its images."""
        self.waiting: tuple[Named, ...] = ()
        """Those of its images that are stored with its row."""
        self.has_begun = False
        """Whether a transaction has taken it over: what becomes of it follows that one's end."""
        self.has_effect: bool | None = None
        """Whether it can change other rows than its own; None if that was not looked at yet."""
        self.decoded: dict[str, Any] | None = None
        """What its text decodes to, if that is known and nobody else has it."""

    def stored_event(self) -> dict[str, Any]:
        """The event as its text has it, whatever its caller has made of the dict since."""
        event: dict[str, Any] = json.loads(self.text) if self.decoded is None else self.decoded
        return event

    def discard(self) -> None:
        """Remove its image from disk: the event will never be recorded."""
        if self.images is not None and self.files:
            self.images.remove(self.files)


def is_heavy(event: object) -> bool:
    """Whether preparing the event may take long, by its type or because of a very long text."""
    if not issubclass(type(event), dict):
        return False
    # dict's own methods: a caller's subclass may override them with anything.
    event = cast(dict[str, Any], event)
    for value in dict.values(event):
        text = value if type(value) is str else plain_text(value)
        if text is not None and len(text) > _LARGE_TEXT:
            return True
    return kind_named(plain_text(dict.get(event, "type"))).heavy


def prepare(
    audit_id: str,
    event: object,
    images: Images,
    *,
    lenient: bool = False,
    base: str = "",
) -> PreparedEvent:
    """The event in its stored form, its image stored or ready to be.

    Raises InvalidAudit for a value that cannot be stored. If `lenient`, such a value is replaced or
    left out instead, with a note in the stored event, and from there in the audit's `errors`; what
    is not a dict becomes an event of the type `unknown`. The path of an image is relative to
    `base`. Raises StoreError if the image cannot be written.
    """
    if not issubclass(type(event), dict):
        if not lenient:
            raise invalid("event", "must be a JSON object", event)
        event = unreadable_event(event, "event")
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
        if kind_named(kind).is_ours:
            raise invalid("event.type", "is one that the store alone records", kind)
    except InvalidAudit as error:
        if not lenient:
            raise
        notes.append(str(error))
        kind = UNKNOWN_EVENT
        event = {**event, "type": kind}
    prepared = PreparedEvent(event, "", images=images)
    if kind_named(kind).has_image:
        prepared.event = _store_image(audit_id, event, prepared, images, base, lenient=lenient)
    if notes:
        prepared.event = with_notes(prepared.event, notes)
    prepared.kind = kind
    try:
        # `clean` has encoded the event already, unless a value in it was replaced.
        unchanged = prepared.event is given and text
        prepared.text = text if unchanged else encode_json(prepared.event, "event")
    except InvalidAudit:
        prepared.discard()
        raise
    return prepared


def clean(event: dict[str, Any], notes: list[str]) -> tuple[dict[str, Any], str]:
    """`event` and its JSON text, if strict JSON can hold it.

    Otherwise a copy that strict JSON can hold, and "" in place of the text; `notes` then names the
    first 20 values that were replaced, and how many more there are.
    """
    try:
        return event, encode_json(event, "event")
    except InvalidAudit:
        try:
            reasons = [f"{path}: {reason}" for path, reason in unstorable(event, "event")]
        except EndlessJSON as error:
            notes.append(f"{error}: what is deeper was left out")
            return clean(cut(event), notes)[0], ""
        notes.extend(reasons[:20])
        if len(reasons) > 20:
            notes.append(f"event: {len(reasons) - 20} more values that JSON cannot hold")
        cleaned = _clean(plain(event, "event"))
        return cleaned if isinstance(cleaned, dict) else {}, ""


def _clean(value: object) -> object:
    """`value`, which is made of plain classes, in a form that strict JSON can hold."""
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
        except Exception:  # a caller's class may raise anything
            text = kind_of(value)
    return text.translate(_REPLACEMENT)


def _store_image(
    audit_id: str,
    event: dict[str, Any],
    prepared: PreparedEvent,
    images: Images,
    base: str,
    *,
    lenient: bool,
) -> dict[str, Any]:
    """The event with its image replaced by a reference to the stored one."""
    data, source, label = event.get("data"), plain_text(event.get("url")), event.get("label", "")
    where = f"screenshot {shown(label)}"
    try:
        if data is not None:
            image = _decode(data)
        elif source:
            image = read_image(source, base)
        else:
            return {**event, "data": {"error": f"{where}: has neither data nor a url"}}
    except OSError as error:
        name = source if len(source or "") <= 300 else shown(source)
        place = "" if os.path.isabs(str(source)) else " (in the working directory)"
        problem = f"{where}: {name} cannot be read: {reason_of(error)}{place}"
        return {**event, "data": {"error": problem}}
    except InvalidAudit as error:
        if data is not None and not lenient:
            raise
        return {**event, "data": {"error": f"{where}: {error}"}}
    ids.check_id(audit_id)
    index = plain_number(event.get("index"))
    try:
        stored = images.put(
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
    if images.with_rows:
        prepared.waiting = ((stored.file, image),)
    reference = stored._asdict()
    if taken := engine_time(event.get("taken_at")):
        reference["taken_at"] = taken.isoformat()
    return {**event, "data": reference}


def _decode(data: object) -> bytes:
    text = plain_text(data)
    if text is None:
        raise invalid("screenshot.data", "must be base64 text", data)
    text = text.partition(",")[2] if text.startswith("data:") else text
    try:
        try:
            return base64.b64decode(text, validate=True)
        except ValueError:  # it may be broken into lines
            return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:  # binascii.Error is one
        raise invalid("screenshot.data", f"is not base64 ({error})", data) from None


def listed(events: object) -> list[Any]:
    """Events as a list; raises InvalidAudit for a value that is not a collection of events."""
    if isinstance(events, str | bytes | dict) or not isinstance(events, Iterable):
        raise invalid("events", "must be a list of JSON objects", events)
    return list(events)


def prepare_all(
    audit_id: str,
    events: Iterable[object],
    images: Images,
    *,
    lenient: bool = False,
) -> list[PreparedEvent]:
    """Many events in their stored form, their images stored or ready to be.

    If one is refused, the images of the others are removed; raises what `prepare` does, an
    InvalidAudit with the position of the event, counted from 0.
    """
    done: list[PreparedEvent] = []
    try:
        for event in listed(events):
            try:
                done.append(prepare(audit_id, event, images, lenient=lenient))
            except InvalidAudit as error:
                raise InvalidAudit(f"events[{len(done)}]: {error}") from error
    except BaseException:
        discard_all(done)
        raise
    return done


def discard_all(prepared: Iterable[PreparedEvent]) -> None:
    """Remove the images of events that will never be recorded."""
    for one in prepared:
        one.discard()


def discard_rest(prepared: Iterable[PreparedEvent]) -> None:
    """Remove the images of events that no transaction has taken over.

    With the others its end decides: Ctrl-C, for example, can arrive when they are committed.
    """
    discard_all([one for one in prepared if not one.has_begun])
