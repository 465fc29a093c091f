"""Messages of a stream as they are sent: an event's form is made once for all who are sent it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from veritas_peewee.models import AuditEvent
from veritas_peewee.web.answers import event_text

PIECE = 1 << 16
"""The most bytes of several messages that are sent at once, and of a longer one."""


class Message(NamedTuple):
    """A message of a stream other than an event."""

    name: str
    text: str
    """Its data as JSON."""


def pieces(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of at most PIECE: all that a server holds for a viewer who does not
    read, and it copies what it sends."""
    small: list[bytes] = []
    size = 0
    for block in blocks:
        if small and size + len(block) > PIECE:
            yield b"".join(small)
            small, size = [], 0
        if len(block) > PIECE:
            yield from (block[at : at + PIECE] for at in range(0, len(block), PIECE))
        else:
            small.append(block)
            size += len(block)
    if small:
        yield b"".join(small)


def sse_bytes(message: Message | AuditEvent) -> bytes:
    """A message as a server-sent event."""
    if isinstance(message, Message):
        return f"event: {message.name}\ndata: {message.text}\n\n".encode()
    # Made once for all who are sent the same event.
    known: bytes | None = message.__dict__.get("_sse")
    if known is None:
        known = f"id: {message.token}\ndata: {event_text(message)}\n\n".encode()
        message.__dict__["_sse"] = known
    return known


def socket_text(message: Message | AuditEvent) -> str:
    """A message as JSON, for a WebSocket."""
    if isinstance(message, Message):
        return f'{{"message":"{message.name}","data":{message.text}}}'
    known: str | None = message.__dict__.get("_socket")
    if known is None:
        known = f'{{"message":"event","token":"{message.token}","data":{event_text(message)}}}'
        message.__dict__["_socket"] = known
    return known
