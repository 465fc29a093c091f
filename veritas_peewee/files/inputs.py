"""Input whose length nobody knows before its end: files, pipes, devices; read within limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from veritas_peewee.errors import InvalidAudit

MAX_INPUT = 1 << 28
"""The most bytes of a file, or of a line, that are held in memory at once: 268,435,456."""


class Bytes(Protocol):
    """A stream of bytes that can be read."""

    def read(self, size: int, /) -> bytes: ...

    def readline(self, size: int, /) -> bytes: ...


def read_whole(stream: Bytes) -> bytes:
    """All that is in a stream; InvalidAudit if that is more than MAX_INPUT bytes."""
    data = stream.read(MAX_INPUT + 1)
    if len(data) > MAX_INPUT:
        raise InvalidAudit(f"is longer than {MAX_INPUT} bytes, and is not read any further")
    return data


def read_lines(stream: Bytes) -> Iterator[bytes]:
    """The lines of a stream; InvalidAudit at one of more than MAX_INPUT bytes."""
    number = 0
    while line := stream.readline(MAX_INPUT + 1):
        number += 1
        if len(line) > MAX_INPUT:
            raise InvalidAudit(
                f"line {number} is longer than {MAX_INPUT} bytes, and is not read any further"
            )
        yield line
