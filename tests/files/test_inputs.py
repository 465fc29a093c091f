"""Input of unknown length is read within limits, and what is longer is an error with its name."""

from __future__ import annotations

import io

import pytest

from veritas_peewee import InvalidAudit, connect, sync
from veritas_peewee.files import inputs
from veritas_peewee.files.inputs import read_lines, read_whole


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(inputs, "MAX_INPUT", 10)
    return 10


def test_up_to_the_limit_all_is_read(limit: int) -> None:
    assert read_whole(io.BytesIO(b"x" * limit)) == b"x" * limit
    lines = [b"x" * (limit - 1) + b"\n"] * 5 + [b"x" * limit]
    assert list(read_lines(io.BytesIO(b"".join(lines)))) == lines
    assert list(read_lines(io.BytesIO())) == []


def test_what_is_longer_is_refused_with_the_limit_and_the_line(limit: int) -> None:
    with pytest.raises(InvalidAudit, match="longer than 10 bytes"):
        read_whole(io.BytesIO(b"x" * (limit + 1)))
    read = read_lines(io.BytesIO(b"a\n" + b"x" * (limit + 1)))
    assert next(read) == b"a\n"
    with pytest.raises(InvalidAudit, match="line 2 is longer than 10 bytes"):
        next(read)


def test_a_device_that_never_ends_is_refused_by_its_name() -> None:
    with connect(":memory:"), pytest.raises(InvalidAudit, match="/dev/zero: is longer than"):
        sync.ingest("/dev/zero")
