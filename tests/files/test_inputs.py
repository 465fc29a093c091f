"""Input of unknown length is read within limits, and what is longer is an error with its name."""

from __future__ import annotations

import io

import pytest

from veritas_peewee import InvalidAudit, connect, sync
from veritas_peewee.files import inputs
from veritas_peewee.files.inputs import Lines, read_whole


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(inputs, "MAX_INPUT", 10)
    return 10


def test_up_to_the_limit_all_is_read(limit: int) -> None:
    assert read_whole(io.BytesIO(b"x" * limit)) == b"x" * limit
    lines = [b"x" * (limit - 1) + b"\n"] * 5 + [b"x" * limit]
    assert list(Lines(io.BytesIO(b"".join(lines)))) == lines
    assert list(Lines(io.BytesIO())) == []


def test_what_is_longer_is_refused_with_the_limit_and_the_line(limit: int) -> None:
    with pytest.raises(InvalidAudit, match="longer than 10 bytes"):
        read_whole(io.BytesIO(b"x" * (limit + 1)))
    read = Lines(io.BytesIO(b"a\n" + b"x" * (limit + 1)))
    assert next(read) == b"a\n"
    with pytest.raises(InvalidAudit, match="line 2 is longer than 10 bytes"):
        next(read)


def test_lines_come_whole_however_they_arrive() -> None:
    """A byte a step, several lines a step, empty ones, and a last one without its end."""
    data = b"one\n\ntwo\r\n\n\nlast"
    for size in range(1, len(data) + 1):
        stream = io.BytesIO(data)
        arriving = Arriving([stream.read(size) for _ in range(len(data) + 1)])
        assert list(Lines(arriving)) == [b"one\n", b"\n", b"two\r\n", b"\n", b"\n", b"last"]


class Arriving:
    """A stream that gives these pieces, one a step, and is interrupted by a None."""

    def __init__(self, pieces: list[bytes | None] | list[bytes]) -> None:
        self.pieces = iter(pieces)

    def read1(self, size: int, /) -> bytes:
        piece = next(self.pieces)
        if piece is None:
            raise KeyboardInterrupt
        return piece


def test_whoever_is_interrupted_has_what_came_of_the_next_line() -> None:
    lines = Lines(Arriving([b"one\nt", b"w", None, b"o\n", None, b""]))
    assert next(lines) == b"one\n"
    with pytest.raises(KeyboardInterrupt):
        next(lines)
    assert (lines.begun(), lines.begun()) == (b"tw", b"")
    assert next(lines) == b"o\n"
    with pytest.raises(KeyboardInterrupt):
        next(lines)
    assert lines.begun() == b""
    assert list(lines) == []


def test_a_device_that_never_ends_is_refused_by_its_name() -> None:
    with connect(":memory:"), pytest.raises(InvalidAudit, match="/dev/zero: is longer than"):
        sync.ingest("/dev/zero")
