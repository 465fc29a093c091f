"""Input whose length nobody knows before its end: files, pipes, devices; read within limits."""

from __future__ import annotations

from collections import deque
from typing import NoReturn, Protocol, Self

from veritas_peewee.errors import InvalidAudit

MAX_INPUT = 1 << 28
"""The most bytes of a file, or of a line, that are held in memory at once: 268,435,456."""
_AT_ONCE = 1 << 14
"""Bytes that are taken from a stream in one step, if so many have come."""


class Bytes(Protocol):
    """A stream of bytes that can be read."""

    def read(self, size: int, /) -> bytes: ...


class Arriving(Protocol):
    """A stream that gives what has come, and waits only while there is nothing."""

    def read1(self, size: int, /) -> bytes: ...


def read_whole(stream: Bytes) -> bytes:
    """All that is in a stream; InvalidAudit if that is more than MAX_INPUT bytes."""
    data = stream.read(MAX_INPUT + 1)
    if len(data) > MAX_INPUT:
        raise InvalidAudit(f"is longer than {MAX_INPUT} bytes, and is not read any further")
    return data


class Lines:
    """The lines of a stream, as they come; InvalidAudit at one of more than MAX_INPUT bytes.

    Whoever is interrupted while it waits for the next one finds what has come of it in `begun`.
    """

    def __init__(self, stream: Arriving) -> None:
        self._stream = stream
        self._whole: deque[bytes] = deque()
        self._parts: list[bytes] = []
        self._size = 0
        """Of the parts, in bytes."""
        self._number = 1
        """Of the next line."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        while not self._whole:
            chunk = self._stream.read1(_AT_ONCE)
            if not chunk:
                if not self._parts:
                    raise StopIteration
                return self._checked(self.begun())
            *lines, begun = chunk.split(b"\n")
            for line in lines:
                self._whole.append(self.begun() + line + b"\n")
            if begun:
                self._parts.append(begun)
                self._size += len(begun)
            if not self._whole and self._size > MAX_INPUT:
                self._refuse()
        return self._checked(self._whole.popleft())

    def begun(self) -> bytes:
        """The beginning of a line whose end has not come; it is given once."""
        begun = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return begun

    def _checked(self, line: bytes) -> bytes:
        if len(line) > MAX_INPUT:
            self._refuse()
        self._number += 1
        return line

    def _refuse(self) -> NoReturn:
        raise InvalidAudit(
            f"line {self._number} is longer than {MAX_INPUT} bytes, and is not read any further"
        )
