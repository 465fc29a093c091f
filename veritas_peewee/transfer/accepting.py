"""What an import accepts of an audit: exactly the values that the store's own writes would store.

The rules are the fields' own. An export asks here too, so it names what an import would refuse.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import peewee

from veritas_peewee.errors import InvalidAudit
from veritas_peewee.files.images import check_image
from veritas_peewee.ledger.stored import (
    AUDIT,
    EVENT,
    FINDING,
    SCREENSHOT,
    Row,
    StoredAudit,
    image_file,
)
from veritas_peewee.models import Audit, AuditEvent, AuditFinding, AuditScreenshot
from veritas_peewee.transfer.spelling import EXACT
from veritas_peewee.values.plain import check_text, shown

MAX_EVENT_ID = EXACT
"""The largest event id that is accepted: every tool reads it as it is."""
MAX_KEPT_ID = 2**52
"""The largest event id that an imported event keeps: the ids of later events follow it, and these
too must be accepted elsewhere."""
assert SCREENSHOT[1] == "file_path"
_MEDIA_TYPE, _SHA256 = SCREENSHOT.index("media_type"), SCREENSHOT.index("sha256")


def check_values(stored: StoredAudit, images: list[bytes | None]) -> None:
    """Raise InvalidAudit for the first value that no write of the store would have stored.

    Digests and the seal are not checked here; see `ledger.checking`.
    """
    _check("audit", Audit, AUDIT, stored.audit)
    for number, row in enumerate(stored.findings, 1):
        _check(f"finding {number}", AuditFinding, FINDING[1:], row[1:])
    for number, (row, image) in enumerate(zip(stored.screenshots, images, strict=True), 1):
        _check_screenshot(f"screenshot {number}", row, image)
    last = 0
    for number, row in enumerate(stored.events, 1):
        _check(f"event {number}", AuditEvent, EVENT[1:], row[1:])
        if type(row[0]) is not int or not last < row[0] <= MAX_EVENT_ID:
            raise InvalidAudit(
                f"event {number}: id {shown(row[0])} is not after {last}, or too large"
            )
        last = row[0]


def check_images(stored: StoredAudit, images: list[bytes | None]) -> None:
    """Raise InvalidAudit for the first image that is not of a type that its row can state."""
    for number, (row, image) in enumerate(zip(stored.screenshots, images, strict=True), 1):
        try:
            _check_image(row, image)
        except InvalidAudit as error:
            raise InvalidAudit(f"screenshot {number}: {error}") from None


def _check(where: str, model: Any, names: tuple[str, ...], row: Row) -> None:
    try:
        for check, value in zip(_checks(model, names), row, strict=True):
            if check is not None:
                check(value)
    except InvalidAudit as error:
        raise InvalidAudit(f"{where}: {error}") from None


@functools.cache
def _checks(model: Any, names: tuple[str, ...]) -> tuple[Callable[[Any], object] | None, ...]:
    """The check of each column; None for a digest."""
    fields = [model._meta.fields[name] for name in names]
    return tuple(
        None if isinstance(field, peewee.BlobField) else field.check_stored for field in fields
    )


def _check_screenshot(where: str, row: Row, image: bytes | None) -> None:
    _check(where, AuditScreenshot, SCREENSHOT[2:], row[2:])
    try:
        # Paths of the older store may be of another machine, and then lead to no image.
        if image is None and row[_SHA256] is None:
            check_text("file_path", row[1], 1000)
        else:
            AuditScreenshot._meta.fields["file_path"].check_stored(row[1])
        _check_image(row, image)
    except InvalidAudit as error:
        raise InvalidAudit(f"{where}: {error}") from None


def _check_image(row: Row, image: bytes | None) -> None:
    if image is not None:
        kind = check_image(image, f"the image {shown(image_file(row))}")
        if row[_MEDIA_TYPE] not in (None, kind):
            raise InvalidAudit(f"media_type: {row[_MEDIA_TYPE]}, but its image is {kind}")
