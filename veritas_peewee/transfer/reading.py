"""Audits of lines that are as an export has written them, with values of the usual sort.

All that an import asks of them is asked, many lines at once. What is not plainly right is looked at
again, thoroughly: every refusal comes from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from veritas_peewee.errors import InvalidAudit
from veritas_peewee.ledger.checking import image_problem, problem_of
from veritas_peewee.ledger.stored import AUDIT, EVENT, FINDING, SCREENSHOT, Row, StoredAudit
from veritas_peewee.transfer.accepting import check_images
from veritas_peewee.transfer.files import too_large
from veritas_peewee.transfer.lines import FORMAT, IMAGE, VERSION, image_bytes
from veritas_peewee.transfer.usual import are_usual
from veritas_peewee.transfer.writing import JSON_AT, usual_text
from veritas_peewee.values.plain import scan_json

_AUDIT = itemgetter(*AUDIT)
_FINDING, _SCREENSHOT = itemgetter(*FINDING[1:]), itemgetter(*SCREENSHOT[1:])
_EVENT = itemgetter(*EVENT)
_ID = AUDIT.index("id")
_UNUSUAL = ValueError, KeyError, TypeError, AttributeError, RecursionError


Read = tuple[StoredAudit, list[bytes | None]]
"""An audit and its images."""


def usual_audits(lines: Sequence[bytes | None]) -> list[Read | None]:
    """The audits of lines that an import accepts; None for one of which that is not plain."""
    read = [None if line is None or too_large(line) else usual_audit(line) for line in lines]
    together = are_usual([one[0] for one in read if one is not None])
    return [one if one is not None and _is_right(*one, together) else None for one in read]


def _is_right(stored: StoredAudit, images: list[bytes | None], is_usual: bool) -> bool:
    if not (is_usual or are_usual([stored])) or problem_of(stored, older=True):
        return False
    try:
        check_images(stored, images)
    except InvalidAudit:
        return False
    pairs = zip(stored.screenshots, images, strict=True)
    return not any(image is not None and image_problem(row, image) for row, image in pairs)


def usual_audit(line: bytes) -> Read | None:
    """The audit and the images of a line; None if it is not plain that `from_line` gives the same,
    and that the JSON columns would be accepted.

    Nothing else is checked.
    """
    try:
        text = line.decode()
        found, end = scan_json(text, 0)
        if text[end:] not in ("\n", "") or found["format"] != FORMAT:
            return None
        if found["version"] != VERSION or type(found["version"]) is not int:
            return None
        return _read(found)
    except (*_UNUSUAL, StopIteration):
        return None


def _read(found: dict[str, Any]) -> Read:
    """Raises one of `_UNUSUAL` for what has another form."""
    audit = list(_columns(_AUDIT, found["audit"], len(AUDIT)))
    for at, name in JSON_AT:
        audit[at] = usual_text(name, audit[at])
    audit_id = audit[_ID]
    shots = _list(found["screenshots"])
    images = [None if (image := shot[IMAGE]) is None else image_bytes(image) for shot in shots]
    screenshots = [
        (audit_id, *_digested(_columns(_SCREENSHOT, shot, len(SCREENSHOT)))) for shot in shots
    ]
    findings = [
        (audit_id, *_digested(_columns(_FINDING, one, len(FINDING) - 1)))
        for one in _list(found["findings"])
    ]
    events = []
    for event in _list(found["events"]):
        number, kind, data, moment, digest = _columns(_EVENT, event, len(EVENT))
        text = None if data is None else usual_text("data", data)
        events.append((number, kind, text, moment, _digest(digest)))
    return StoredAudit(tuple(audit), findings, screenshots, events), images


def _columns(columns: Any, row: Any, number: int) -> Row:
    if type(row) is not dict or len(row) != number:
        raise ValueError
    found: Row = columns(row)
    return found


def _list(rows: Any) -> list[Any]:
    if type(rows) is not list:
        raise ValueError
    return rows


def _digested(row: Row) -> Row:
    return (*row[:-1], _digest(row[-1]))


def _digest(text: Any) -> bytes | None:
    if text is None:
        return None
    digest = bytes.fromhex(text)
    if len(digest) != 32:
        raise ValueError
    return digest
