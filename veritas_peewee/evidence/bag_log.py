"""What the log in a bag says, byte for byte: which forms of it are allowed, and what they tell.

A digest covers values one after the other, so where one ends must be fixed by the values' form: the
id of an audit has no NUL and is short, and an event is NUL, its type, NUL, its time, NUL, its text.
Without that a part of an id could be passed off as one of the first event, or a digest as an id.
"""

from __future__ import annotations

import re

from veritas_peewee.errors import NotProven
from veritas_peewee.evidence import bags
from veritas_peewee.values.details import SEALED

MOST_BYTES = 1_000_000_000
"""The most bytes of an event: more than any text of it that a store takes."""
SCREENSHOT = b"screenshot"

_ID = re.compile(rb"[A-Za-z0-9_-][A-Za-z0-9._-]{0,15}")
_TIME = re.compile(rb"(?:[0-9][0-9T :.+Z-]*)?")
_TEXT = rb'"(?:[^"\\]++|\\.)*+"'
_NAME = rb'[^"\\\x00-\x1f\x7f]*'
_IMAGE = rb'"media_type":"image/[a-z]+","sha256":"([0-9a-f]{64})"'
_STATED = rb'\{"type":"audit_sealed","version":[0-9]+,"seal":(?:"[0-9a-f]{64}"|null),' \
    rb'"sealed_events":(?:[0-9]+|null),"audit":\{"id":"%b",'  # fmt: skip


def check_id(audit_id: bytes) -> str:
    """The text of an audit's id; NotProven if no audit can have it."""
    if _ID.fullmatch(audit_id) is None:
        raise NotProven(f"{bags.AUDIT_ID} is not the id of an audit")
    return audit_id.decode()


def split_event(event: bytes) -> tuple[bytes, bytes]:
    """An event's type and its text, from the bytes that its digest covers.

    Raises NotProven unless they have the form of an event.
    """
    parts = event.split(b"\0", 4)
    if len(parts) != 4 or parts[0] or len(event) > MOST_BYTES or not _TIME.fullmatch(parts[2]):
        raise NotProven(f"{bags.EVENTS} has not the form of events")
    return parts[1], parts[3]


class Told:
    """The images of which an audit's log tells.

    A text in an event can hold whatever a recorded site says. So only what this library itself has
    written counts: what a screenshot event says of the image that it brought, and the statement of
    the rows at the log's end.
    """

    def __init__(self, audit_id: str) -> None:
        own = re.escape(audit_id.encode())
        name = rb'"(' + own + rb"/" + _NAME + rb')"'
        scalar = rb"(?:" + _TEXT + rb"|[0-9.eE+-]+|true|false|null)"
        self._brought = re.compile(
            rb"\{(?:" + _TEXT + rb":" + scalar + rb",)*"
            rb'"data":\{"file":' + name + rb',"size":[0-9]+,' + _IMAGE,
            re.S,
        )
        self._stated = re.compile(
            rb'"file_path":' + name + rb',"label":' + _TEXT + rb',"index_num":[0-9]+,'
            rb'"file_size_bytes":[0-9]+,' + _IMAGE,
            re.S,
        )
        self._begins = re.compile(_STATED % own)
        self.images: set[tuple[bytes, bytes]] = set()
        """Their paths and SHA-256, in hexadecimal."""

    def add(self, kind: bytes, text: bytes) -> None:
        """Read an event that is not the log's last one."""
        if kind == SCREENSHOT and (found := self._brought.match(text)):
            self.images.add((found[1], found[2]))

    def end(self, kind: bytes, text: bytes) -> bool:
        """Read the log's last event; returns whether it states the audit's rows.

        Raises NotProven if it should, and does not state those of this audit.
        """
        if kind != SEALED.encode():
            self.add(kind, text)
            return False
        if self._begins.match(text) is None:
            raise NotProven(
                f"the last event of {bags.EVENTS} does not state the rows of this audit"
            )
        self.images.update((found[1], found[2]) for found in self._stated.finditer(text))
        return True
