"""Stores in memory and on file, on asyncio and on trio; each is checked when it is closed."""

from __future__ import annotations

import base64
import struct
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from veritas_peewee import Audit, AuditStore, connect
from veritas_peewee.maintenance.verify import verify


def check_invariants() -> None:
    """What must hold in every store at any time, checked in the current database.

    That is the integrity of the file, foreign keys, counts, the chain of every log, the digest
    of every row, the seal of every audit, and every screenshot's file.
    """
    assert verify().problems == []
    for audit in Audit.select():
        if audit.status == "completed":
            assert audit.completed_at is not None


@pytest.fixture(params=["memory", "file"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the store under test is."""
    return ":memory:" if request.param == "memory" else str(tmp_path / "audits.db")


@pytest.fixture
async def store(database: str) -> AsyncIterator[AuditStore]:
    async with AuditStore.open(database) as opened:
        yield opened
        await opened.read(check_invariants)


@pytest.fixture
async def file_store(tmp_path: Path) -> AsyncIterator[AuditStore]:
    async with AuditStore.open(tmp_path / "audits.db") as opened:
        yield opened
        await opened.read(check_invariants)


@pytest.fixture
def script(database: str) -> Iterator[Any]:
    """A database opened by a script, for sync code in this thread."""
    with connect(database) as opened:
        yield opened
        check_invariants()


@pytest.fixture
def png() -> Callable[..., bytes]:
    return make_png


@pytest.fixture
def png_base64() -> str:
    return base64.b64encode(make_png()).decode()


def make_png(red: int = 200, size: int = 4) -> bytes:
    """A real little image of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    rows = (b"\0" + bytes((red, 80, 40)) * size) * size
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.fixture
def finding() -> Callable[..., dict[str, Any]]:
    def make(number: int = 1, **changes: Any) -> dict[str, Any]:
        told = {
            "id": f"f{number}",
            "category": "forced_continuity",
            "pattern_type": "hidden_cancel",
            "severity": "high",
            "confidence": 0.8,
            "description": "The cancel link is hidden",
            "plain_english": "It is hard to leave",
        }
        return {"type": "finding", "finding": told | changes}

    return make


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Every writer's thread has ended, or is about to, when its test has."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if thread.name == "veritas-writer":
            thread.join(60)
            assert not thread.is_alive()
