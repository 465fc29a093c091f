"""Running a peer in a fresh event loop, and checking what is on disk, for several cases."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from benchmarks import peers
from benchmarks.peers.base import Peer

T = TypeVar("T")
WARM_UP = 0.1


def with_peer(name: str, path: Path, use: Callable[[Peer], Awaitable[T]]) -> T:
    """Run `use` with the opened peer on asyncio."""

    async def main() -> T:
        peer = peers.make(name)
        peer.images = path.parent / "screenshots"
        await peer.open(path)
        try:
            return await use(peer)
        finally:
            await peer.close()

    return asyncio.run(main())


def count_rows(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def check_saved(path: Path, table: str, before: int, acknowledged: int) -> None:
    """A figure counts only if every acknowledged row is there, and no other."""
    saved = count_rows(path, table) - before
    if saved != acknowledged:
        raise AssertionError(f"{table}: {acknowledged} rows acknowledged, {saved} on disk")
