"""A line put together from what is stored, for an audit whose values are all of the usual sort.

A JSON column's text goes into the line as it is, once it is plain that an import makes the same
text of it. Each value is decoded and encoded once, and short texts, which audits have in common,
are remembered. For everything else there is `lines.to_line`.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import peewee

from veritas_peewee.errors import InvalidAudit
from veritas_peewee.ledger.stored import AUDIT, EVENT, FINDING, SCREENSHOT, Row, StoredAudit
from veritas_peewee.models import Audit, AuditEvent, AuditFinding, AuditScreenshot
from veritas_peewee.transfer.lines import FORMAT, IMAGE, TEXT, VERSION, is_escape
from veritas_peewee.transfer.spelling import Form, Spelling, form_of
from veritas_peewee.values.canonical import can_be_json, usual_json
from veritas_peewee.values.plain import compact_json

_REMEMBERED, _SHORT = 4096, 400
"""How many texts of JSON are remembered, and how many characters one has at most."""
_quoted = json.encoder.encode_basestring
_Column = Sequence[Any]
_Writer = Callable[[_Column], Iterable[str]]
_HEAD = f'{{"format":{compact_json(FORMAT)},"version":{VERSION},"audit":'
_JSON: dict[str, Any] = {
    field.name: field
    for model in (Audit, AuditEvent)
    for field in model._meta.sorted_fields
    if isinstance(field, peewee.JSONField)
}
JSON_AT = tuple((at, name) for at, name in enumerate(AUDIT) if name in _JSON)
"""Where an audit's row has JSON columns, and their names."""
assert EVENT == ("id", "event_type", "data", "timestamp", "digest")


class Prepared(NamedTuple):
    """An audit's line but for its images: what comes before the screenshots, each of these without
    its end, and what comes after them."""

    head: str
    screenshots: list[str]
    tail: str

    def line(self, images: list[bytes | None]) -> bytes:
        """The line, with its line end."""
        shots = []
        for text, image in zip(self.screenshots, images, strict=True):
            data = "null" if image is None else f'"{base64.b64encode(image).decode()}"'
            shots.append(f'{text[:-1]},"{IMAGE}":{data}}}')
        return f"{self.head}{','.join(shots)}{self.tail}".encode()


def prepare(some: list[StoredAudit]) -> list[Prepared | None]:
    """What the lines of audits are made of; None for one of which it is not plain that an import
    accepts all of its JSON columns, and makes the same of them.

    The other columns must be of the usual sort (`usual.are_usual`).
    """
    spelled = [_spelled(stored) for stored in some]
    usual = [(one, it) for one, it in zip(some, spelled, strict=True) if it is not None]
    audits = iter(_objects(Audit, AUDIT, [it.audit for _, it in usual]))
    findings = iter(
        _objects(AuditFinding, FINDING, [row for one, _ in usual for row in one.findings])
    )
    shots = iter(
        _objects(AuditScreenshot, SCREENSHOT, [row for one, _ in usual for row in one.screenshots])
    )
    made: list[Prepared | None] = []
    for stored, it in zip(some, spelled, strict=True):
        if it is None:
            made.append(None)
            continue
        found = ",".join(islice(findings, len(stored.findings)))
        made.append(
            Prepared(
                f'{_HEAD}{next(audits)},"findings":[{found}],"screenshots":[',
                list(islice(shots, len(stored.screenshots))),
                f'],"events":[{it.events}],"spelling":{it.spelling}}}\n',
            )
        )
    return made


class _Spelled(NamedTuple):
    audit: Row
    events: str
    spelling: str


def _spelled(stored: StoredAudit) -> _Spelled | None:
    """The rows that have JSON columns, with what a line has for these, and how they are written;
    None if one of them is not of the usual sort."""
    spelling = Spelling()
    # In the order in which they are read.
    audit = list(stored.audit)
    for at, name in JSON_AT:
        if (text := _noted(spelling, name, audit[at])) is None:
            return None
        audit[at] = text
    events = []
    for number, kind, text, moment, digest in stored.events:
        if text is None:
            text = "null"
        elif (text := _noted(spelling, "data", text)) is None:
            return None
        # By hand and not by `_objects`: most rows are events, and all of their columns are known.
        events.append(
            f'{{"id":{number},"event_type":{_quoted(kind)},"data":{text},"timestamp":'
            f"""{"null" if moment is None else f'"{moment}"'},"digest":"""
            f"""{"null" if digest is None else f'"{digest.hex()}"'}}}"""
        )
    return _Spelled(tuple(audit), ",".join(events), compact_json(spelling.written()))


def _noted(spelling: Spelling, column: str, value: Any) -> str | None:
    """What a line has as the value of a JSON column; None if the value is not of the usual sort."""
    if type(value) is not str:
        return None
    short = len(value) <= _SHORT
    form = _remembered(column, value) if short else usual_form(column, value)
    if form is None:
        return None
    return value if spelling.note(form) else compact_json({TEXT: value})


def usual_form(column: str, text: str) -> Form | None:
    """The form of a JSON column's text, if the column accepts it and `encode_json` makes the same
    of its value; None if that is not plain."""
    value = usual_json(text)
    return form_of(value) if _is_accepted(column, value, text) else None


def usual_text(column: str, value: object) -> str:
    """The text of a JSON column's value, which was read from strict JSON; ValueError if it is not
    plain that the column accepts it."""
    text = compact_json(value)
    if not _is_accepted(column, value, text) or not can_be_json(value, text):
        raise ValueError
    return text


def _is_accepted(column: str, value: object, text: str) -> bool:
    kind = type(value)
    if (kind is not dict and kind is not list) or ('"$' in text and is_escape(value)):
        return False
    try:
        _JSON[column].check_parts(value)
    except InvalidAudit:
        return False
    return True


_remembered = functools.lru_cache(_REMEMBERED)(usual_form)


def _objects(model: Any, names: tuple[str, ...], rows: list[Row]) -> list[str]:
    """Rows as JSON objects, without the audit that they belong to; JSON columns are text already.

    Column by column: so most of it is done without a step of Python for each value.
    """
    if not rows:
        return []
    writers, template = _writers(model, names)
    columns = list(zip(*rows, strict=True))
    texts = [writer(column) for column, writer in zip(columns, writers, strict=True) if writer]
    return list(map(template.__mod__, zip(*texts, strict=True)))


@functools.cache
def _writers(model: Any, names: tuple[str, ...]) -> tuple[tuple[_Writer | None, ...], str]:
    fields = [model._meta.fields[name] for name in names]
    writers = tuple(
        None if name == "audit" else _writer(field)
        for name, field in zip(names, fields, strict=True)
    )
    return writers, "{" + ",".join(f'"{name}":%s' for name in names if name != "audit") + "}"


def _writer(field: Any) -> _Writer:
    if isinstance(field, peewee.JSONField):
        return functools.partial(_written, write=str)
    if isinstance(field, peewee.BlobField):
        return _hex
    if isinstance(field, peewee.FloatField):
        return functools.partial(_written, write=float.__repr__)
    if isinstance(field, peewee.IntegerField | peewee.AutoField):
        return functools.partial(_written, write=int.__repr__)
    return functools.partial(_written, write=_quoted)


def _written(column: _Column, *, write: Callable[[Any], str]) -> Iterable[str]:
    if None in column:
        return ["null" if value is None else write(value) for value in column]
    return map(write, column)


def _hex(column: _Column) -> Iterable[str]:
    return ["null" if digest is None else f'"{digest.hex()}"' for digest in column]
