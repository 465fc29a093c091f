"""The JSON Lines of an export: one audit a line, from which exactly the stored values come back.

A line is an object with `format`, `version`, `audit` (its columns), `findings`, `screenshots`
(each with its image's bytes as base64, or null) and `events`. Digests are hexadecimal. A JSON
column is written as JSON, so that any program can read it; if its stored text is not what our
encoder writes (spaces, other forms of numbers), as `{"$text": …}`. Values that JSON has no form
for, which other programs may have stored, are `{"$blob": …}` or `{"$real": …}`. `spelling` says how
JSON columns were written, for a tool may write the line again (`transfer.spelling`).
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any, NoReturn

import peewee

from veritas_peewee.errors import InvalidAudit
from veritas_peewee.ledger.stored import AUDIT, EVENT, FINDING, SCREENSHOT, Row, StoredAudit
from veritas_peewee.models import Audit, AuditEvent, AuditFinding, AuditScreenshot
from veritas_peewee.transfer.spelling import Spelling, as_float, as_integer, form_of
from veritas_peewee.values.odd_text import OddText
from veritas_peewee.values.plain import check_text, compact_json, decode_json, encode_json, shown

FORMAT = "veritas-peewee audit"
VERSION = 1


class ForeignLine(InvalidAudit):
    """A line that is not of an export, or of a later version of the format."""


IMAGE, TEXT = "image", "$text"


# ---- writing ----


def to_line(stored: StoredAudit, images: list[bytes | None]) -> bytes:
    """The line of an audit, with its line end."""
    shots = _rows(AuditScreenshot, SCREENSHOT[1:], [row[1:] for row in stored.screenshots])
    for shot, image in zip(shots, images, strict=True):
        shot[IMAGE] = None if image is None else base64.b64encode(image).decode()
    line: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "audit": _rows(Audit, AUDIT, [stored.audit])[0],
        "findings": _rows(AuditFinding, FINDING[1:], [row[1:] for row in stored.findings]),
        "screenshots": shots,
        "events": _rows(AuditEvent, EVENT, stored.events),
    }
    # In the order in which they are read.
    spelling = Spelling()
    _note(spelling, Audit, AUDIT, [line["audit"]])
    _note(spelling, AuditScreenshot, SCREENSHOT[1:], shots)
    _note(spelling, AuditFinding, FINDING[1:], line["findings"])
    _note(spelling, AuditEvent, EVENT, line["events"])
    return f"{compact_json({**line, 'spelling': spelling.written()})}\n".encode()


def _rows(model: Any, names: tuple[str, ...], rows: list[Row]) -> list[dict[str, Any]]:
    in_json = _json_names(model, names)
    forms = [
        (name, _json if name in in_json else _hex if name == "digest" else _plain)
        for name in names
    ]  # fmt: skip
    return [
        {name: form(value) for (name, form), value in zip(forms, row, strict=True)} for row in rows
    ]


def _note(
    spelling: Spelling, model: Any, names: tuple[str, ...], rows: list[dict[str, Any]]
) -> None:
    """Note how the JSON values of rows are written; those of which it cannot be become texts."""
    in_json = _json_names(model, names)
    for row in rows:
        for name in in_json:
            if (value := row[name]) is None:
                continue
            if not is_escape(value) and not spelling.note(form_of(value)):
                row[name] = {TEXT: encode_json(value, name)}


def _json_names(model: Any, names: tuple[str, ...]) -> list[str]:
    """The names of those columns that are JSON."""
    fields = model._meta.fields
    return [name for name in names if isinstance(fields[name], peewee.JSONField)]


def _plain(value: Any) -> Any:
    if isinstance(value, OddText):
        value = value.raw
    if isinstance(value, bytes):
        return {"$blob": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$real": repr(value)}
    return value


def _hex(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else _plain(value)


def _json(value: Any) -> Any:
    if type(value) is not str:
        return _plain(value)
    try:
        found = decode_json(value)
        # Whatever `from_line` would not make the same text of is written as text.
        if encode_json(found, "") == value and not is_escape(found):
            return found
    except ValueError:
        pass
    return {TEXT: value}


def is_escape(value: object) -> bool:
    """Whether a value in a line is none of JSON's own."""
    return value is None or (isinstance(value, dict) and any(key[:1] == "$" for key in value))


# ---- reading ----


def from_line(line: bytes, *, spelled: bool = False) -> tuple[StoredAudit, list[bytes | None]]:
    """The audit and the images of a line, as values that the columns need not accept yet.

    With `spelled` JSON columns are written as the line's `spelling` says, and not as the line has
    them. Raises ForeignLine, or InvalidAudit for a line that has not the form of an audit.
    """
    try:
        found = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ForeignLine(f"is cut off, or is no JSON: {_reason(error)}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ForeignLine("is no audit that `veritas-peewee export` has written")
    if found.get("version") != VERSION:
        raise ForeignLine(
            f"has version {shown(found.get('version'))} of the format, this library knows "
            f"{VERSION}: upgrade it"
        )
    spelling = Spelling.read(found.get("spelling")) if spelled else None
    audit = _row("audit", Audit, AUDIT, found.get("audit"), spelling)
    audit_id = audit[AUDIT.index("id")]
    images: list[bytes | None] = []
    shots = []
    for number, shot in enumerate(_list(found, "screenshots"), 1):
        where = f"screenshot {number}"
        image = shot.pop(IMAGE, None) if isinstance(shot, dict) else None
        shots.append((audit_id, *_row(where, AuditScreenshot, SCREENSHOT[1:], shot, spelling)))
        try:
            images.append(None if image is None else image_bytes(image))
        except (AttributeError, ValueError):
            raise InvalidAudit(f"{where}: {IMAGE}: is not base64") from None
    findings = [
        (audit_id, *_row(f"finding {number}", AuditFinding, FINDING[1:], one, spelling))
        for number, one in enumerate(_list(found, "findings"), 1)
    ]
    events = [
        _row(f"event {number}", AuditEvent, EVENT, one, spelling)
        for number, one in enumerate(_list(found, "events"), 1)
    ]
    return StoredAudit(audit, findings, shots, events), images


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _reason(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _list(found: dict[str, Any], name: str) -> list[Any]:
    rows = found.get(name)
    if not isinstance(rows, list):
        raise InvalidAudit(f"{name}: is not a list")
    return rows


def _row(
    where: str, model: Any, names: tuple[str, ...], found: Any, spelling: Spelling | None
) -> Row:
    if not isinstance(found, dict):
        raise InvalidAudit(f"{where}: is not an object")
    if found.keys() != set(names):
        wrong = sorted(found.keys() ^ set(names))[0]
        what = "is missing" if wrong in names else "is no column"
        raise InvalidAudit(f"{where}: {shown(wrong)} {what}")
    values = []
    for name in names:
        value, field = found[name], model._meta.fields[name]
        try:
            values.append(_stored(field, value, spelling))
        except InvalidAudit as error:
            raise InvalidAudit(f"{where}: {error}") from None
    return tuple(values)


def _stored(field: Any, value: Any, spelling: Spelling | None = None) -> Any:
    """The value as it was on disk; a number is what SQLite makes of it in this column."""
    if value is None:
        return None
    if isinstance(field, peewee.JSONField):
        return _json_text(field.name, value, spelling)
    if isinstance(field, peewee.BlobField):
        return _digest(field.name, value)
    if isinstance(value, dict | list | bool):
        raise _not_held(field.name, value)
    if isinstance(value, int | float):
        if isinstance(field, peewee.FloatField):
            return as_float(value)
        return as_integer(value)
    return value


def _json_text(name: str, value: Any, spelling: Spelling | None) -> str:
    if isinstance(value, dict) and TEXT in value:
        return check_text(name, value[TEXT])
    if is_escape(value):
        raise _not_held(name, value)
    return encode_json(spelling.spelled(value) if spelling else value, name)


def _not_held(name: str, value: Any) -> InvalidAudit:
    return InvalidAudit(f"{name}: {shown(value)} is nothing that this column can hold")


def _digest(name: str, value: Any) -> bytes:
    try:
        digest = bytes.fromhex(value)
    except (TypeError, ValueError):
        digest = b""
    if len(digest) != 32:
        raise InvalidAudit(f"{name}: {shown(value)} is no SHA-256")
    return digest


def image_bytes(text: Any) -> bytes:
    """An image as a line has it; AttributeError or ValueError if it is not base64."""
    return base64.b64decode(text.encode("ascii"), validate=True)
